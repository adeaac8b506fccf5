//! Reading a tree with known shapes: what isn't known is refused, what has the wrong type is named, and reading goes on.

use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::diagnostic::{Diagnostic, Problems};
use super::names::nearest;
use super::reference::{Environment, resolve};
use super::source_file::{SourceFile, Span};
use super::tree::{Data, Key, Node, Plain, plain_type};
use super::units;

/// What all readers of one file share.
pub(super) struct Reader<'e> {
    pub(super) file: Arc<SourceFile>,
    pub(super) env: &'e dyn Environment,
    pub(super) problems: Problems,
}

/// Text with its references filled in.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) value: String,
    pub(super) span: Span,
    pub(super) referenced: bool,
}

impl Text {
    /// The value for a message, unless it came from a reference.
    pub(super) fn shown(&self) -> String {
        if self.referenced { "the value of the reference".into() } else { format!("`{}`", self.value) }
    }
}

impl Reader<'_> {
    pub(super) fn at(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        self.problems.at(span, message)
    }

    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.problems.push(diagnostic);
    }

    /// A path of the file, joined to the file's folder and made absolute.
    pub(super) fn absolute(&self, written: &str) -> PathBuf {
        clean(&self.file.folder().join(written))
    }

    fn mistyped(&mut self, field: &Field<'_>, expected: &str) {
        let message = match field.node.is_null() {
            true => format!("`{}` has no value", field.key.name),
            false => format!("`{}` can't be {}", field.key.name, field.node.kind()),
        };
        let problem = self.at(field.place(), message).expected(expected);
        self.push(problem);
    }

    fn unfit(&mut self, name: &str, text: &Text, expected: impl Into<String>) -> Diagnostic {
        self.at(text.span, format!("`{name}` can't be {}", text.shown())).expected(expected)
    }

    /// A mapping's entries, or a problem at `what`.
    pub(super) fn fields<'n>(
        &mut self,
        field: &Field<'n>,
        known: &'static [&'static str],
    ) -> Option<Fields<'n>> {
        match &field.node.data {
            Data::Map(entries) => Some(Fields {
                what: field.key.name.clone(),
                entries,
                known,
                taken: vec![false; entries.len()],
            }),
            _ => {
                let shape = format!("a mapping with {}", known.join(", "));
                self.mistyped(field, &shape);
                None
            }
        }
    }

    /// A mapping whose keys the user chooses.
    pub(super) fn entries<'n>(&mut self, field: &Field<'n>, expected: &str) -> Vec<Field<'n>> {
        match &field.node.data {
            Data::Map(entries) => entries.iter().map(|(key, node)| Field { key, node }).collect(),
            _ => {
                self.mistyped(field, expected);
                Vec::new()
            }
        }
    }

    pub(super) fn items<'n>(&mut self, field: &Field<'n>, expected: &str) -> &'n [Node] {
        match &field.node.data {
            Data::List(items) => items,
            _ => {
                self.mistyped(field, expected);
                &[]
            }
        }
    }

    /// Text, quoted or not; a number or `true` would be a mistake in most places, so it has to be quoted.
    pub(super) fn text(&mut self, field: &Field<'_>, expected: &str) -> Option<Text> {
        match &field.node.data {
            Data::Scalar { text, plain } if !plain || matches!(plain_type(text), Plain::Text) => {
                self.resolved(text, field.node.span)
            }
            _ => {
                self.mistyped(field, expected);
                None
            }
        }
    }

    /// Any scalar as text: for values whose type is the business of somebody else (Kafka's properties).
    pub(super) fn scalar(&mut self, field: &Field<'_>, expected: &str) -> Option<Text> {
        match &field.node.data {
            Data::Scalar { text, .. } if !field.node.is_null() => self.resolved(text, field.node.span),
            _ => {
                self.mistyped(field, expected);
                None
            }
        }
    }

    /// Fills in references.
    pub(super) fn resolved(&mut self, text: &str, span: Span) -> Option<Text> {
        match resolve(text, self.file.folder(), self.env) {
            Ok(resolved) => Some(Text { value: resolved.text, span, referenced: resolved.referenced }),
            Err(error) => {
                let problem = self.at(span, error.message).suggest(error.suggestion).help(error.help);
                self.push(problem);
                None
            }
        }
    }

    pub(super) fn whole(&mut self, field: &Field<'_>, range: RangeInclusive<i64>) -> Option<i64> {
        let expected = match (range.start(), range.end()) {
            (only, last) if only == last => format!("`{only}`"),
            (first, last) => format!("a whole number from {first} to {last}"),
        };
        let text = self.scalar(field, &expected)?;
        let quoted = matches!(&field.node.data, Data::Scalar { plain: false, .. }) && !text.referenced;
        match plain_type(&text.value) {
            Plain::Int(number) if !quoted && range.contains(&number) => Some(number),
            _ => {
                let problem = self.unfit(&field.key.name, &text, expected);
                self.push(problem);
                None
            }
        }
    }

    pub(super) fn duration(&mut self, field: &Field<'_>) -> Option<Duration> {
        let text = self.scalar(field, units::DURATION_SHAPE)?;
        let duration = units::duration(&text.value);
        if duration.is_none() {
            let problem = self.unfit(&field.key.name, &text, units::DURATION_SHAPE);
            let bare = !text.referenced && units::duration(&format!("{}s", text.value)).is_some();
            self.push(if bare { problem.suggest(Some(format!("{}s", text.value))) } else { problem });
        }
        duration
    }

    pub(super) fn size(&mut self, field: &Field<'_>) -> Option<u64> {
        let text = self.scalar(field, units::SIZE_SHAPE)?;
        let size = units::size(&text.value);
        if size.is_none() {
            let problem = self.unfit(&field.key.name, &text, units::SIZE_SHAPE);
            let guesses = ["iB", "MiB", "B"].map(|unit| format!("{}{unit}", text.value));
            let guess = guesses.into_iter().find(|g| !text.referenced && units::size(g).is_some());
            self.push(problem.suggest(guess));
        }
        size
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, field: &Field<'_>, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let expected = one_of(&names);
        let text = self.scalar(field, &expected)?;
        let found = words.iter().find(|(name, _)| *name == text.value);
        if found.is_none() {
            let suggestion = if text.referenced { None } else { nearest(&text.value, names) };
            let problem = self.unfit(&field.key.name, &text, expected).suggest(suggestion);
            self.push(problem);
        }
        found.map(|(_, value)| *value)
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.env.is_file(path)
    }
}

/// The path made absolute, `.` and `..` taken out by their names: files needn't exist.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// "one of a, b, c".
pub(crate) fn one_of(names: &[&str]) -> String {
    match names {
        [only] => format!("`{only}`"),
        _ => format!("one of {}", names.join(", ")),
    }
}

/// A key and its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'n> {
    pub(super) key: &'n Key,
    pub(super) node: &'n Node,
}

impl Field<'_> {
    /// Where to point: at a scalar itself, at the key of anything larger or absent.
    pub(super) fn place(&self) -> Span {
        match &self.node.data {
            Data::Scalar { .. } if !self.node.is_null() => self.node.span,
            _ => self.key.span,
        }
    }
}

/// The entries of a mapping of which the keys are known.
pub(super) struct Fields<'n> {
    what: String,
    entries: &'n [(Key, Node)],
    known: &'static [&'static str],
    taken: Vec<bool>,
}

impl<'n> Fields<'n> {
    /// An entry; it counts as known from now on.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Field<'n>> {
        let at = self.entries.iter().position(|(key, _)| key.name == name)?;
        self.taken[at] = true;
        let (key, node) = &self.entries[at];
        Some(Field { key, node })
    }

    /// What was not taken: a connector's own settings.
    pub(super) fn rest(&self) -> Vec<Field<'n>> {
        let left = self.entries.iter().zip(&self.taken).filter(|(_, taken)| !**taken);
        left.map(|((key, node), _)| Field { key, node }).collect()
    }

    /// Refuses what was not taken.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
        for field in self.rest() {
            let name = &field.key.name;
            let problem = reader
                .at(field.key.span, format!("unknown key `{name}` in `{}`", self.what))
                .expected(one_of(self.known))
                .suggest(nearest(name, self.known.iter().copied()));
            reader.push(problem);
        }
    }
}
