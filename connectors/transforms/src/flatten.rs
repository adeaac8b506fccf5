//! `flatten`: the fields of nested objects as fields of the one at the top, under names made of all on the way.

use millrace_connector_fields::Member;
use millrace_sdk::{Description, Error, Output, RecordRef, Rejection, Task, Transform};
use serde::Deserialize;

use crate::part::{Part, object, quoted};

/// Deepest nesting that is flattened.
const DEPTH_MAX: usize = 128;

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false,
  "properties": {
    "delimiter": { "type": "string", "default": ".", "description": "Between the parts of a name." },
    "of": { "enum": ["value", "key"], "default": "value", "description": "Which part of the record." }
  }
}"#;

/// The connector.
#[derive(Debug)]
pub struct Flatten {
    settings: Settings,
    names: Vec<String>,
}

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default = "dot")]
    delimiter: String,
    #[serde(default)]
    of: Part,
}

fn dot() -> String {
    ".".to_owned()
}

impl Transform for Flatten {
    type Settings = Settings;

    fn describe() -> Description {
        let about = "Lifts the fields of nested objects to the top; lists stay as they are";
        Description::new("flatten", env!("CARGO_PKG_VERSION"), about).settings(SCHEMA).key_formats(&["bytes"])
    }

    fn open(_: &Task, settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings, names: Vec::new() })
    }

    fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        let Self { settings, names } = self;
        settings.of.rewrite(record, out, |text, into| {
            names.clear();
            into.push(b'{');
            level(text, "", &settings.delimiter, DEPTH_MAX, names, into)?;
            into.push(b'}');
            names.sort_unstable();
            match names.windows(2).find(|pair| pair[0] == pair[1]) {
                None => Ok(()),
                Some(pair) => Err(Rejection::new(
                    "name-taken",
                    format!("two fields would be called {}: choose another delimiter", pair[0]),
                )),
            }
        })
    }
}

/// Appends the fields of the object `text`, at most `depth` levels of it.
fn level(
    text: &str,
    prefix: &str,
    delimiter: &str,
    depth: usize,
    names: &mut Vec<String>,
    into: &mut Vec<u8>,
) -> Result<(), Rejection> {
    let deep = || Rejection::new("json.deep", format!("objects are nested deeper than {DEPTH_MAX} levels"));
    let depth = depth.checked_sub(1).ok_or_else(deep)?;
    let mut members: Vec<Member> = Vec::new();
    object(text, &mut members)?;
    for member in &members {
        let name = format!("{prefix}{}", member.plain_name(text));
        let value = &text[member.value.clone()];
        if value.starts_with('{') {
            level(value, &format!("{name}{delimiter}"), delimiter, depth, names, into)?;
            continue;
        }
        if !names.is_empty() {
            into.push(b',');
        }
        into.extend_from_slice(quoted(&name).as_bytes());
        into.push(b':');
        into.extend_from_slice(value.as_bytes());
        names.push(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::check;

    #[test]
    fn nested_fields_are_lifted_and_keep_their_text() {
        let flat = |settings| {
            check::value::<Flatten>(settings, r#" {"a":1.50,"b":{"c":{"d e":[{"x":1}]},"f":null},"g":{}} "#)
        };
        assert_eq!(flat(json!({})), Ok(r#"{"a":1.50,"b.c.d e":[{"x":1}],"b.f":null}"#.to_owned()));
        assert_eq!(
            flat(json!({ "delimiter": "_" })),
            Ok(r#"{"a":1.50,"b_c_d e":[{"x":1}],"b_f":null}"#.to_owned())
        );
        check::keeps_tombstones::<Flatten>(json!({}));
    }

    #[test]
    fn a_name_is_not_given_twice() {
        let error = check::value::<Flatten>(json!({}), r#"{"a.b":1,"a":{"b":2}}"#).expect_err("taken");
        assert_eq!(error, "name-taken: two fields would be called a.b: choose another delimiter");
        let deep = |depth| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        check::value::<Flatten>(json!({}), &deep(DEPTH_MAX)).expect("as deep as may be");
        let error = check::value::<Flatten>(json!({}), &deep(2_000)).expect_err("too deep");
        assert!(error.starts_with("json.deep: "), "{error}");
        let error = check::value::<Flatten>(json!({}), "[{}]").expect_err("a list");
        assert!(error.starts_with("json.object: the document is not an object"), "{error}");
    }

    /// As it is commonly done, over values.
    fn model(prefix: &str, object: &Map<String, Value>, flat: &mut Map<String, Value>) {
        for (name, value) in object {
            match value {
                Value::Object(inner) => model(&format!("{prefix}{name}/"), inner, flat),
                value => drop(flat.insert(format!("{prefix}{name}"), value.clone())),
            }
        }
    }

    fn any_object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i64>().prop_map(Value::from), ".{0,3}".prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop::collection::btree_map("[a-d\"\\\\]{0,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        })
        .prop_filter("an object", Value::is_object)
    }

    proptest! {
        #[test]
        fn the_text_says_what_the_model_says(value in any_object()) {
            let Value::Object(object) = &value else { unreachable!("filtered") };
            let mut flat = Map::new();
            model("", object, &mut flat);
            let text = check::value::<Flatten>(json!({ "delimiter": "/" }), &value.to_string());
            let read: Value = serde_json::from_str(&text.expect("no name has a slash")).expect("JSON");
            prop_assert_eq!(read, Value::Object(flat));
        }
    }
}
