//! Keys of objects: what they may be, and how they stand in a URL.
//!
//! Invariant: whatever a guest asks for begins with the connection's prefix. A key is put behind it as it stands, and one that a
//! URL's path could not hold as it stands (`.` and `..` between slashes) is refused, so there is no way out of it.

use super::answer::fatal;
use crate::component::bindings::millrace::connect::object_store::Refusal;

/// Longest key in bytes, prefix included (Amazon's limit).
const KEY_BYTES_MAX: usize = 1024;

/// The whole key behind `prefix`.
pub(super) fn whole(prefix: &str, key: &str) -> Result<String, Refusal> {
    let whole = format!("{prefix}{key}");
    match fault(&whole).filter(|_| !key.is_empty()).or(key.is_empty().then_some("it is empty")) {
        None => Ok(whole),
        Some(why) => Err(fatal("s3.key", format!("key {:?} can't be used: {why}", clip(key)))),
    }
}

/// What keeps a text from being a key.
pub(super) fn fault(key: &str) -> Option<&'static str> {
    match key {
        _ if key.len() > KEY_BYTES_MAX => Some("it has more than 1,024 bytes"),
        _ if key.starts_with('/') => Some("it begins with a slash"),
        _ if key.contains(|c: char| c.is_control() || c == '\u{fffe}' || c == '\u{ffff}') => {
            Some("it holds a control character")
        }
        _ if key.split('/').any(|segment| matches!(segment, "." | "..")) => {
            Some("a part of its path is . or ..")
        }
        _ => None,
    }
}

/// A guest's word for a message.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_the_prefix() {
        assert_eq!(whole("lake/", "a/b+0.json").unwrap(), "lake/a/b+0.json");
        assert_eq!(whole("", "..a/b..").unwrap(), "..a/b..");
        for key in ["", "../x", "a/../../x", "a/.", "a\n", &"x".repeat(1025)] {
            assert!(whole("lake/", key).is_err(), "{key:?}");
        }
        assert!(whole("", "/a").is_err());
    }
}
