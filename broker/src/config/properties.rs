//! The two file formats of a broker's configuration: Java properties and a flat YAML mapping.
//!
//! The YAML form is deliberately small: `name: value` lines, comments and quoted values, since the settings are a flat
//! list of plain values. Nested mappings, sequences and anchors are refused with their line.

use super::Error;

/// A key with its value and the line that it stands on, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) key: String,
    pub(super) value: String,
}

/// Java properties: `key=value`, `key: value`, `#` and `!` comments, a `\` at the end continues the line.
pub(super) fn properties(text: &str, origin: &str) -> Result<Vec<Line>, Error> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = line.to_owned();
        while whole.ends_with('\\') {
            whole.pop();
            let Some((_, next)) = lines.next() else { break };
            whole.push_str(next.trim());
        }
        let Some((key, value)) = whole.split_once(['=', ':']) else {
            return Err(Error::Syntax {
                origin: origin.to_owned(),
                line: at + 1,
                expected: "key=value",
                found: whole,
            });
        };
        found.push(Line { number: at + 1, key: key.trim().to_owned(), value: value.trim().to_owned() });
    }
    Ok(found)
}

/// A flat YAML mapping.
pub(super) fn flat_yaml(text: &str, origin: &str) -> Result<Vec<Line>, Error> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let bare = line.trim_end();
        if bare.trim().is_empty() || bare.trim_start().starts_with('#') || bare == "---" {
            continue;
        }
        let syntax = || Error::Syntax {
            origin: origin.to_owned(),
            line: at + 1,
            expected: "`name: value` at the start of a line",
            found: bare.to_owned(),
        };
        if bare.starts_with([' ', '\t', '-']) {
            return Err(syntax());
        }
        let (key, value) = bare.split_once(':').ok_or_else(syntax)?;
        if !value.is_empty() && !value.starts_with([' ', '\t']) {
            return Err(syntax());
        }
        let value = scalar(value.trim()).ok_or_else(syntax)?;
        found.push(Line { number: at + 1, key: unquoted(key.trim()).to_owned(), value });
    }
    Ok(found)
}

/// A plain or quoted value without its comment; `None` for what is not a plain value.
fn scalar(text: &str) -> Option<String> {
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            let (value, after) = rest.split_once(quote)?;
            let after = after.trim();
            return (after.is_empty() || after.starts_with('#')).then(|| value.to_owned());
        }
    }
    if text.starts_with(['{', '[', '&', '*', '|', '>', '!']) {
        return None;
    }
    let value = text.split(" #").next().unwrap_or_default().trim();
    Some(if value.starts_with('#') { String::new() } else { value.to_owned() })
}

fn unquoted(key: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = key.strip_prefix(quote).and_then(|key| key.strip_suffix(quote)) {
            return inner;
        }
    }
    key
}
