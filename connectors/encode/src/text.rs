//! JSON documents as lines of text.

pub mod csv;

use memchr::memchr2;

/// Appends a JSON document as one line. In valid JSON line breaks stand between tokens only, where a space does as well.
pub fn push_on_one_line(out: &mut Vec<u8>, document: &[u8]) {
    let mut rest = document.trim_ascii();
    while let Some(at) = memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..at]);
        out.push(b' ');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\n');
}
