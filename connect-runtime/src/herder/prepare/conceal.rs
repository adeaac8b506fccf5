//! Takes the values of references out of a task's configuration, before that is stored, and puts them back.
//!
//! A source makes the configurations of its tasks of settings in which references were filled in. It may carry a setting on as it is,
//! take the part of one that matters, or make it a part of a longer text. Found are:
//!
//! | value | where |
//! |---|---|
//! | of [`LONG_BYTES`] or more | wherever it occurs |
//! | shorter, in the midst of a setting | where it stands beside what it stands beside in the setting, or at an end; no numbers |
//! | shorter, a setting of its own | as the whole text of the same name |
//!
//! A short value occurs by chance: `5` in a table's name is not the port that a reference gave, and must not become another with it.
//! Numbers and booleans that are none by themselves stay: they are no secrets. What a connector encodes or cuts up is not recognized.

use std::path::Path;

use serde_json::Value;

use crate::spec::flat::Referenced;
use crate::spec::{Environment, fill_in};

/// What is this long does not occur by chance.
const LONG_BYTES: usize = 8;

/// A value to be looked for.
struct Secret<'a> {
    value: &'a str,
    reference: &'a str,
    /// What stands before and behind it in its setting; none: the end.
    before: Option<char>,
    after: Option<char>,
    /// The last part of the setting's name, if the value is all of it.
    name: Option<&'a str>,
}

/// See the module's head.
pub(super) fn conceal(referenced: &[Referenced], task_config: &str) -> String {
    let Ok(config) = serde_json::from_str::<Value>(task_config) else { return task_config.to_owned() };
    let mut secrets: Vec<Secret<'_>> = referenced.iter().flat_map(secrets).collect();
    // The longest first: one value may be part of another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.value.len()));
    let whole = |name: &str, text: &str| {
        let is = |known: &&Referenced| {
            known.text == text && (text.len() >= LONG_BYTES || last(&known.key) == name)
        };
        referenced.iter().find(is).filter(|_| !text.is_empty()).map(|known| known.raw.clone())
    };
    let concealed = each_text(config, "", &mut |name, text| {
        Ok::<_, String>(whole(name, &text).unwrap_or_else(|| conceal_text(name, &text, &secrets)))
    });
    concealed.map_or_else(|_| task_config.to_owned(), |config| config.to_string())
}

/// See the module's head.
pub(super) fn reveal(task_config: &str, folder: &Path, env: &dyn Environment) -> Result<String, String> {
    let config: Value = serde_json::from_str(task_config)
        .map_err(|error| format!("the task's configuration is no JSON: {error}"))?;
    Ok(each_text(config, "", &mut |_, text| fill_in(&text, folder, env))?.to_string())
}

fn secrets(known: &Referenced) -> impl Iterator<Item = Secret<'_>> {
    known.values.iter().filter(|(range, _)| !range.is_empty()).map(|(range, reference)| Secret {
        value: &known.text[range.clone()],
        reference,
        before: known.text[..range.start].chars().next_back(),
        after: known.text[range.end..].chars().next(),
        name: (range.len() == known.text.len()).then(|| last(&known.key)),
    })
}

/// Whether a short value is no secret: a number, true or false.
fn is_plain(value: &str) -> bool {
    value.parse::<f64>().is_ok() || value.parse::<bool>().is_ok()
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

impl Secret<'_> {
    /// Whether it stands at `at` of the text.
    fn is_at(&self, name: &str, text: &str, at: usize) -> bool {
        let Some(rest) = text[at..].strip_prefix(self.value) else { return false };
        if self.value.len() >= LONG_BYTES {
            return true;
        }
        let (before, after) = (text[..at].chars().next_back(), rest.chars().next());
        match self.name {
            Some(own) => own == name && before.is_none() && after.is_none(),
            None if is_plain(self.value) => false,
            None => (before.is_none() || before == self.before) && (after.is_none() || after == self.after),
        }
    }
}

/// Replaces values in one go from left to right, so that a reference that was put in is not searched again.
fn conceal_text(name: &str, text: &str, secrets: &[Secret<'_>]) -> String {
    let mut out = String::with_capacity(text.len());
    // What stands between values, as it is.
    let mut plain = String::new();
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        match secrets.iter().find(|secret| secret.is_at(name, text, at)) {
            Some(secret) => {
                // `$${` would be a literal: dollars before a reference become the default of one that is never set.
                let dollars = plain.len() - plain.trim_end_matches('$').len();
                let dollars = plain.split_off(plain.len() - dollars);
                out.push_str(&escaped(&std::mem::take(&mut plain)));
                if !dollars.is_empty() {
                    out.push_str(&format!("${{env::-{dollars}}}"));
                }
                out.push_str(secret.reference);
                at += secret.value.len();
            }
            None => {
                plain.push(next);
                at += next.len_utf8();
            }
        }
    }
    out + &escaped(&plain)
}

fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

/// Changes every text of a value, with the name that it stands under. Recursive, but no deeper than a parsed JSON text.
fn each_text<E>(
    value: Value,
    name: &str,
    change: &mut impl FnMut(&str, String) -> Result<String, E>,
) -> Result<Value, E> {
    Ok(match value {
        Value::String(text) => Value::String(change(name, text)?),
        Value::Array(items) => Value::Array(
            items.into_iter().map(|item| each_text(item, name, change)).collect::<Result<_, _>>()?,
        ),
        Value::Object(map) => {
            let changed = map.into_iter().map(|(name, value)| {
                let value = each_text(value, &name, change)?;
                Ok((name, value))
            });
            Value::Object(changed.collect::<Result<_, _>>()?)
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    struct Secrets;

    impl Environment for Secrets {
        fn variable(&self, name: &str) -> Option<String> {
            match name {
                "A" => Some("hunters1".into()),
                "B" => Some("hunters1${x:y}".into()),
                "PORT" => Some("5".into()),
                "SHORT" => Some("abc".into()),
                _ => None,
            }
        }

        fn read(&self, _: &Path) -> std::io::Result<String> {
            Err(std::io::ErrorKind::NotFound.into())
        }

        fn is_file(&self, _: &Path) -> bool {
            false
        }
    }

    /// What a setting's references give.
    fn known(key: &str, parts: &[(&str, &str)]) -> Referenced {
        let mut known =
            Referenced { key: key.into(), raw: String::new(), text: String::new(), values: vec![] };
        for (value, reference) in parts {
            let start = known.text.len();
            known.text.push_str(value);
            known.raw.push_str(if reference.is_empty() { value } else { reference });
            if !reference.is_empty() {
                known.values.push((start..known.text.len(), (*reference).to_owned()));
            }
        }
        known
    }

    fn all() -> Vec<Referenced> {
        vec![
            known("user", &[("hunters1", "${env:A}")]),
            known("token", &[("hunters1${x:y}", "${env:B}")]),
            known("none", &[("", "${env:C:-}")]),
            known("server.port", &[("5", "${env:PORT}")]),
            known("url", &[("db://u:", ""), ("abc", "${env:SHORT}"), ("@host:", ""), ("5", "${env:PORT}")]),
        ]
    }

    fn check(config: &Value, stored: &Value) {
        let concealed = conceal(&all(), &config.to_string());
        assert_eq!(serde_json::from_str::<Value>(&concealed).unwrap(), *stored);
        let revealed = reveal(&concealed, &PathBuf::from("/"), &Secrets).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&revealed).unwrap(), *config);
    }

    #[test]
    fn values_of_references_are_not_stored() {
        check(
            &json!({ "n": 5, "at": "db://u:hunters1${x:y}@h", "user": "hunters1", "x": ["${topic}"] }),
            &json!({ "n": 5, "at": "db://u:${env:B}@h", "user": "${env:A}", "x": ["$${topic}"] }),
        );
    }

    #[test]
    fn short_values_are_not_taken_for_what_occurs_by_chance() {
        check(
            &json!({ "port": "5", "table": "t5", "partition": "5", "mode": "abc5", "list": ["abcd"] }),
            &json!({ "port": "${env:PORT}", "table": "t5", "partition": "5", "mode": "abc5", "list": ["abcd"] }),
        );
    }

    #[test]
    fn a_short_value_in_the_midst_of_a_setting_is_found_in_its_parts() {
        check(
            &json!({ "url": "db://u:abc@host:5", "login": "u:abc", "password": "abc", "to": "u:abc@other", "no": "xabc" }),
            &json!({
                "url": "db://u:${env:SHORT}@host:${env:PORT}", "login": "u:${env:SHORT}", "password": "${env:SHORT}",
                "to": "u:${env:SHORT}@other", "no": "xabc",
            }),
        );
    }

    proptest! {
        #[test]
        fn whatever_was_concealed_is_revealed(text in "(hunters1|abc|5|:|@|\\$|\\{|x:y|\\}|[a-z]){0,8}") {
            for name in ["url", "port", "other"] {
                let config = json!({ name: text }).to_string();
                let stored = conceal(&all(), &config);
                prop_assert!(!stored.contains("hunters1"));
                prop_assert_eq!(reveal(&stored, &PathBuf::from("/"), &Secrets), Ok(config));
            }
        }
    }
}
