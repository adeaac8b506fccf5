//! Encodings of keys and values: which one a connector is told.
//!
//! The topic's bytes pass as they are: `json`, `utf8` and `bytes` are three views of the same bytes, from strict to lax, and a
//! guest that reads a stricter one than was written answers with a record error. Encodings with schemas (Avro, Protobuf) need
//! a conversion; they are not here yet, and a component that knows no other is refused when its pipeline is planned.

use crate::component::Description;

/// The encodings that this host knows, strictest first.
pub const FORMATS: [&str; 3] = ["json", "utf8", "bytes"];

/// The encodings of keys and values that a component is told: its own best of those that the host knows.
#[must_use]
pub fn formats(description: &Description) -> (String, String) {
    (best(&description.key_formats), best(&description.value_formats))
}

/// Whether this host can feed the component.
#[must_use]
pub fn is_known(description: &Description) -> bool {
    let known =
        |formats: &[String]| formats.is_empty() || formats.iter().any(|f| FORMATS.contains(&f.as_str()));
    known(&description.key_formats) && known(&description.value_formats)
}

fn best(formats: &[String]) -> String {
    let known = formats.iter().find(|format| FORMATS.contains(&format.as_str()));
    known.map_or_else(|| "bytes".to_owned(), Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_known_encoding_is_told() {
        let owned = |formats: &[&str]| formats.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>();
        assert_eq!(best(&owned(&["avro", "utf8", "json"])), "utf8");
        assert_eq!(best(&[]), "bytes");
    }
}
