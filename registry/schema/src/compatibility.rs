//! Confluent's compatibility levels: which earlier versions a new one is held against, and in which direction.

use crate::{Schema, avro, json, protobuf};

/// Most differences that are told.
const DIFFERENCES_MAX: usize = 20;

/// How new versions of a subject must fit the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing is checked.
    None,
    /// The new version reads what the last one wrote.
    Backward,
    /// The new version reads what any earlier one wrote.
    BackwardTransitive,
    /// The last version reads what the new one writes.
    Forward,
    /// All earlier versions read what the new one writes.
    ForwardTransitive,
    /// Both, with the last one.
    Full,
    /// Both, with all.
    FullTransitive,
}

impl Level {
    const ALL: [(Self, &'static str); 7] = [
        (Self::None, "NONE"),
        (Self::Backward, "BACKWARD"),
        (Self::BackwardTransitive, "BACKWARD_TRANSITIVE"),
        (Self::Forward, "FORWARD"),
        (Self::ForwardTransitive, "FORWARD_TRANSITIVE"),
        (Self::Full, "FULL"),
        (Self::FullTransitive, "FULL_TRANSITIVE"),
    ];

    /// Confluent's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(level, _)| *level == self).map_or("NONE", |(_, name)| *name)
    }

    /// The level of this name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(level, _)| *level)
    }

    /// Whether only the last version counts.
    #[must_use]
    pub fn looks_at_last_only(self) -> bool {
        matches!(self, Self::Backward | Self::Forward | Self::Full)
    }

    fn is_backward(self) -> bool {
        !matches!(self, Self::None | Self::Forward | Self::ForwardTransitive)
    }

    fn is_forward(self) -> bool {
        !matches!(self, Self::None | Self::Backward | Self::BackwardTransitive)
    }
}

/// What speaks against `new` after `earlier`; empty: nothing.
#[must_use]
pub fn differences(level: Level, new: &Schema, earlier: &Schema) -> Vec<String> {
    let mut found = Vec::new();
    if level.is_backward() {
        let told = unreadable(new, earlier).into_iter();
        found.extend(told.map(|what| format!("the new schema can't read data of the earlier one: {what}")));
    }
    if level.is_forward() {
        let told = unreadable(earlier, new).into_iter();
        found.extend(told.map(|what| format!("the earlier schema can't read data of the new one: {what}")));
    }
    found.truncate(DIFFERENCES_MAX);
    found
}

/// Why `reader` can't read all that `writer` writes.
fn unreadable(reader: &Schema, writer: &Schema) -> Vec<String> {
    match (reader, writer) {
        (Schema::Avro(reader), Schema::Avro(writer)) => avro::unreadable(reader, writer),
        (Schema::Json(reader), Schema::Json(writer)) => json::unaccepted(reader, writer),
        (Schema::Protobuf(reader), Schema::Protobuf(writer)) => protobuf::unreadable(reader, writer),
        (reader, writer) => vec![format!("one is of type {}, the other of {}", reader.kind(), writer.kind())],
    }
}
