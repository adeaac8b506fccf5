//! Finds fields in one pass over a document's text.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::members::plain;
use crate::path::{Path, Step};

/// Paths to look for, laid out as a tree so that a document is walked once for all of them.
#[derive(Debug)]
pub struct Fields {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// Index of the path that ends here.
    ends: Option<usize>,
    names: Vec<(String, Node)>,
    indexes: Vec<(usize, Node)>,
    each: Option<Box<Node>>,
}

/// A field that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which of the paths.
    pub path: usize,
    /// The bytes of its name with the quotes, for a member of an object.
    pub name: Option<Range<usize>>,
    /// The bytes of its value.
    pub value: Range<usize>,
    /// Where the object or array that holds it begins.
    pub parent: usize,
}

/// The text is no JSON document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON document: {0}")]
pub struct NotJson(String);

impl NotJson {
    /// From what the parser said.
    pub(crate) fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The text of a record's value; JSON is UTF-8 (RFC 8259).
pub fn document(value: &[u8]) -> Result<&str, NotJson> {
    std::str::from_utf8(value).map_err(NotJson::new)
}

impl Fields {
    /// Looks for `paths`; a path's place in the list is its [`Found::path`]. Of two equal paths the later is found.
    pub fn new(paths: &[Path]) -> Self {
        let mut root = Node::default();
        for (index, path) in paths.iter().enumerate() {
            let mut node = &mut root;
            for step in path.steps() {
                node = node.child(step);
            }
            node.ends = Some(index);
        }
        Self { root }
    }

    /// All fields of `text`, in the order in which they stand there; a name that an object repeats is found each time.
    /// `found` is emptied first.
    pub fn find(&self, text: &str, found: &mut Vec<Found>) -> Result<(), NotJson> {
        found.clear();
        let mut document = serde_json::Deserializer::from_str(text);
        let walk = Walk { node: &self.root, text, parent: 0, found };
        walk.deserialize(&mut document).and_then(|()| document.end()).map_err(NotJson::new)
    }
}

impl Node {
    fn child(&mut self, step: &Step) -> &mut Self {
        match step {
            Step::Name(name) => entry(&mut self.names, name.clone()),
            Step::Index(index) => entry(&mut self.indexes, *index),
            Step::Each => self.each.get_or_insert_default(),
        }
    }

    fn is_leaf(&self) -> bool {
        self.names.is_empty() && self.indexes.is_empty() && self.each.is_none()
    }
}

/// The node under `key`, made when it isn't there. Lists are short: a scan beats a map.
fn entry<K: PartialEq>(list: &mut Vec<(K, Node)>, key: K) -> &mut Node {
    let at = list.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
        list.push((key, Node::default()));
        list.len() - 1
    });
    &mut list[at].1
}

/// Walks one value with the part of the tree that hangs there.
struct Walk<'w> {
    node: &'w Node,
    text: &'w str,
    parent: usize,
    found: &'w mut Vec<Found>,
}

impl Walk<'_> {
    /// Notes a value that a path ends at, and walks on into it if others lead further.
    fn value(&mut self, node: &Node, name: Option<&str>, value: &str) -> Result<(), serde_json::Error> {
        if let Some(path) = node.ends {
            let name = name.map(|name| self.range(name));
            self.found.push(Found { path, name, value: self.range(value), parent: self.parent });
        }
        if node.is_leaf() {
            return Ok(());
        }
        let walk = Walk { node, text: self.text, parent: self.range(value).start, found: self.found };
        walk.deserialize(&mut serde_json::Deserializer::from_str(value))
    }

    /// Where a part of the text stands in it.
    fn range(&self, part: &str) -> Range<usize> {
        let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
        start..start + part.len()
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<&RawValue>()? {
            let name = name.get();
            let plain = plain(name);
            match self.node.names.iter().find(|(wanted, _)| *wanted == plain) {
                Some((_, node)) => {
                    let value: &RawValue = map.next_value()?;
                    self.value(node, Some(name), value.get()).map_err(serde::de::Error::custom)?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(value) = seq.next_element::<&RawValue>()? {
            let named = self.node.indexes.iter().find(|(wanted, _)| *wanted == index).map(|(_, node)| node);
            for node in named.into_iter().chain(self.node.each.as_deref()) {
                self.value(node, None, value.get()).map_err(serde::de::Error::custom)?;
            }
            index += 1;
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
