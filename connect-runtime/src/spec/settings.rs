//! A connector's own settings: JSON with a place for each node.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::source_file::Span;

/// The settings that stand flat beside `connector:`, references already filled in.
///
/// Places are found by JSON pointer (RFC 6901, `""` for the whole). Values that came from a reference are remembered, so
/// that no message and no `Debug` shows them.
#[derive(Clone, Default)]
pub struct Settings {
    pub(super) value: Map<String, Value>,
    /// The same with references as they are written.
    pub(super) raw: Map<String, Value>,
    pub(super) places: BTreeMap<String, Place>,
    pub(super) referenced: BTreeSet<String>,
    /// References that could not be filled in; their values are null here.
    pub(super) unresolved: BTreeSet<String>,
}

/// Where a setting stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    /// Its key; in a list, the item itself.
    pub key: Span,
    /// Its value.
    pub value: Span,
}

impl Settings {
    /// The settings as one JSON object. It may hold secrets: hand it to the component, never to a log.
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.value
    }

    /// Where the node at `pointer` stands, or else its nearest ancestor that has a place.
    pub fn place(&self, pointer: &str) -> Option<Place> {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.places.get(pointer) {
                return Some(*place);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }

    /// True if a reference at `pointer` could not be filled in, which was told already.
    pub fn is_unresolved(&self, pointer: &str) -> bool {
        self.unresolved.contains(pointer)
    }

    /// True if every reference was filled in.
    pub fn is_whole(&self) -> bool {
        self.unresolved.is_empty()
    }

    /// True if the value at `pointer` was filled in from a reference and must not be shown.
    pub fn is_referenced(&self, pointer: &str) -> bool {
        self.referenced.contains(pointer)
    }
}

impl std::fmt::Debug for Settings {
    /// Keys only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.value.keys()).finish()
    }
}

/// A JSON pointer's next step: `~` and `/` escaped as RFC 6901 asks.
pub(crate) fn pointer_join(parent: &str, step: &str) -> String {
    format!("{parent}/{}", step.replace('~', "~0").replace('/', "~1"))
}
