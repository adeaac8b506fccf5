//! The members of an object, as they stand in its text.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::find::NotJson;

/// One member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The bytes of its name with the quotes.
    pub name: Range<usize>,
    /// The bytes of its value.
    pub value: Range<usize>,
}

impl Member {
    /// Its name in `text`, without quotes and escapes.
    pub fn plain_name<'t>(&self, text: &'t str) -> Cow<'t, str> {
        plain(&text[self.name.clone()])
    }
}

/// The members of the object `text`, in order; a name that is repeated is there each time. `members` is emptied first. False:
/// the document is no object.
pub fn members(text: &str, members: &mut Vec<Member>) -> Result<bool, NotJson> {
    members.clear();
    if !text.trim_start().starts_with('{') {
        return serde_json::from_str::<serde::de::IgnoredAny>(text).map(|_| false).map_err(NotJson::new);
    }
    let mut document = serde_json::Deserializer::from_str(text);
    document
        .deserialize_map(Collect { text, members })
        .and_then(|()| document.end())
        .map_err(NotJson::new)?;
    Ok(true)
}

/// Appends the object `text` with only the members that `wanted` says yes to. What stands between members is not kept.
pub fn retain(text: &str, members: &[Member], mut wanted: impl FnMut(&Member) -> bool, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut first = true;
    for member in members.iter().filter(|member| wanted(member)) {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        out.extend_from_slice(&text.as_bytes()[member.name.start..member.value.end]);
    }
    out.push(b'}');
}

/// A name as it is meant: without quotes and escapes.
pub(crate) fn plain(quoted: &str) -> Cow<'_, str> {
    if quoted.contains('\\') {
        // The parser has accepted this string already.
        Cow::Owned(serde_json::from_str(quoted).unwrap_or_default())
    } else {
        Cow::Borrowed(quoted.trim_matches('"'))
    }
}

struct Collect<'c> {
    text: &'c str,
    members: &'c mut Vec<Member>,
}

impl<'de> Visitor<'de> for Collect<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let range = |part: &str| {
            let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
            start..start + part.len()
        };
        while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            self.members.push(Member { name: range(name.get()), value: range(value.get()) });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> Result<Option<Vec<(String, String)>>, String> {
        let mut found = Vec::new();
        let is_object = members(text, &mut found).map_err(|e| e.to_string())?;
        let of = |m: &Member| (m.plain_name(text).into_owned(), text[m.value.clone()].to_owned());
        Ok(is_object.then(|| found.iter().map(of).collect()))
    }

    #[test]
    fn members_are_found_as_they_stand() {
        let text = r#" { "a" : 1.50 , "b\"c":{"x":[1, 2]},"a":null } "#;
        let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let wanted = vec![owned("a", "1.50"), owned("b\"c", r#"{"x":[1, 2]}"#), owned("a", "null")];
        assert_eq!(all(text), Ok(Some(wanted)));
        assert_eq!(all(" [1]"), Ok(None));
        assert_eq!(all("{}"), Ok(Some(vec![])));
        for bad in ["", "{", "{\"a\":1}}", "[1", "{'a':1}", "{\"a\":01}"] {
            assert!(all(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn some_members_stay() {
        let text = r#"{ "a" : 1, "b":2 , "c":[3] }"#;
        let kept = |names: &[&str]| {
            let (mut found, mut out) = (Vec::new(), Vec::new());
            members(text, &mut found).expect("JSON");
            retain(text, &found, |m| names.contains(&&*m.plain_name(text)), &mut out);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(kept(&["a", "c"]), r#"{"a" : 1,"c":[3]}"#);
        assert_eq!(kept(&[]), "{}");
    }

    proptest! {
        #[test]
        fn what_is_kept_reads_as_before(
            object in prop::collection::btree_map(".{0,4}", prop_oneof![
                any::<i64>().prop_map(serde_json::Value::from),
                ".{0,4}".prop_map(serde_json::Value::from),
                Just(serde_json::json!({ "x": [1, null] })),
            ], 0..6),
            keep in any::<u8>(),
        ) {
            let text = serde_json::to_string_pretty(&object).expect("JSON");
            let mut found = Vec::new();
            prop_assert!(members(&text, &mut found).expect("JSON"));
            let (mut out, mut number) = (Vec::new(), 0);
            let mut every_other = |_: &Member| {
                number += 1;
                keep >> (number - 1) & 1 == 1
            };
            retain(&text, &found, &mut every_other, &mut out);
            let read: serde_json::Value = serde_json::from_slice(&out).expect("still JSON");
            let wanted: serde_json::Map<_, _> =
                object.into_iter().enumerate().filter(|(n, _)| keep >> n & 1 == 1).map(|(_, m)| m).collect();
            prop_assert_eq!(read, serde_json::Value::Object(wanted));
        }

        #[test]
        fn any_text_has_members_or_an_error(text in ".*") {
            let _ = members(&text, &mut Vec::new());
        }
    }
}
