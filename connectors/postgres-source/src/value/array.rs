//! Arrays in PostgreSQL's text format: `{1,NULL,{"a\"b",c}}`. One with bounds before it, because they are not those that arrays have by
//! themselves (`[0:1]={1,2}`), is none here: JSON has no place for them.

use super::{Style, write_scalar};
use crate::types::Scalar;

/// PostgreSQL's most.
const DIMENSIONS_MAX: usize = 6;

/// Appends the JSON of an array; none: it is no array, and what was appended is worth nothing.
pub(super) fn write(
    out: &mut Vec<u8>,
    element: Scalar,
    delimiter: u8,
    text: &str,
    style: Style,
) -> Option<()> {
    let mut rest = text;
    let mut depth = 0;
    let mut scratch = String::new();
    let between = char::from(delimiter);
    loop {
        // A value is due: an array or an element.
        if let Some(inner) = rest.strip_prefix('{') {
            depth += 1;
            if depth > DIMENSIONS_MAX {
                return None;
            }
            out.push(b'[');
            rest = inner;
            if !rest.starts_with('}') {
                continue;
            }
        } else {
            let (is_quoted, after) = take(rest, between, &mut scratch)?;
            if depth == 0 || (!is_quoted && scratch.is_empty()) {
                return None;
            }
            if !is_quoted && scratch.eq_ignore_ascii_case("null") {
                out.extend_from_slice(b"null");
            } else {
                write_scalar(out, element, &scratch, style);
            }
            rest = after;
        }
        // One is over: what ends with it, and whether another one follows.
        while let Some(after) = rest.strip_prefix('}') {
            depth = usize::checked_sub(depth, 1)?;
            out.push(b']');
            rest = after;
        }
        match rest.strip_prefix(between) {
            Some(after) if depth > 0 => {
                out.push(b',');
                rest = after;
            }
            _ => return (depth == 0 && rest.is_empty()).then_some(()),
        }
    }
}

/// Takes an element off the front; whether it was quoted, and what follows.
fn take<'a>(text: &'a str, delimiter: char, element: &mut String) -> Option<(bool, &'a str)> {
    element.clear();
    let is_quoted = text.starts_with('"');
    let mut chars = text.char_indices().skip(usize::from(is_quoted));
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => element.push(chars.next()?.1),
            '"' if is_quoted => return Some((true, &text[at + 1..])),
            '}' if !is_quoted => return Some((false, &text[at..])),
            '"' | '{' if !is_quoted => return None,
            char if char == delimiter && !is_quoted => return Some((false, &text[at..])),
            char => element.push(char),
        }
    }
    None
}
