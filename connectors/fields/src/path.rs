//! The way to a field: `address.city`, `items[0].price`, `items[*].price`, `Origin State`, `"a.b".c`.
//!
//! A name goes up to the next `.`, `[` or the end, spaces included. One that holds such a character, or none at all, is
//! written in double quotes with JSON's escapes.

use std::fmt;
use std::str::FromStr;

/// Most steps of a path: deeper documents are refused by the parser anyway.
const STEPS_MAX: usize = 64;

/// Where a field stands, from the top of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
}

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into an object's member.
    Name(String),
    /// Into an array's element, from 0.
    Index(usize),
    /// Into every element of an array.
    Each,
}

/// Why text is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "field path {path:?}: {what} at character {position}; write it like address.city, items[0].price or \"a.b\".c"
)]
pub struct PathError {
    path: String,
    what: &'static str,
    position: usize,
}

impl Path {
    /// The steps, at least one.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The same path with its last step replaced by a name.
    pub fn sibling(&self, name: &str) -> Self {
        let mut steps = self.steps.clone();
        steps.pop();
        steps.push(Step::Name(name.to_owned()));
        Self { steps }
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        let fail = |rest: &str, what| PathError {
            path: path.to_owned(),
            what,
            position: path.chars().count() - rest.chars().count() + 1,
        };
        let mut steps = Vec::new();
        let mut rest = path;
        loop {
            let (name, after) = name(rest).map_err(|what| fail(rest, what))?;
            steps.push(Step::Name(name));
            rest = after;
            while let Some(inside) = rest.strip_prefix('[') {
                let (number, after) =
                    inside.split_once(']').ok_or_else(|| fail(rest, "a [ without its ]"))?;
                steps.push(match number {
                    "*" => Step::Each,
                    digits => Step::Index(
                        digits.parse().map_err(|_| fail(inside, "neither a number nor * within [ ]"))?,
                    ),
                });
                rest = after;
            }
            if steps.len() > STEPS_MAX {
                return Err(fail(rest, "more than 64 steps"));
            }
            match rest.strip_prefix('.') {
                Some(after) => rest = after,
                None if rest.is_empty() => return Ok(Self { steps }),
                None => return Err(fail(rest, "neither . nor [ after a step")),
            }
        }
    }
}

/// A name at the front of `rest`, and what follows it.
fn name(rest: &str) -> Result<(String, &str), &'static str> {
    if rest.starts_with('"') {
        let mut names = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let name = names.next().and_then(Result::ok).ok_or("a quoted name that does not end")?;
        return Ok((name, &rest[names.byte_offset()..]));
    }
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    if name.is_empty() { Err("no name") } else { Ok((name.to_owned(), after)) }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.steps.iter().enumerate() {
            match step {
                Step::Name(name) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    if name.is_empty() || name.starts_with('"') || name.contains(['.', '[']) {
                        write!(f, "{}", serde_json::Value::from(name.as_str()))?;
                    } else {
                        f.write_str(name)?;
                    }
                }
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Each => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(name: &str) -> Step {
        Step::Name(name.to_owned())
    }

    #[test]
    fn paths_are_read() {
        let steps = |path: &str| path.parse::<Path>().map(|p| p.steps);
        assert_eq!(steps("card"), Ok(vec![name("card")]));
        assert_eq!(steps("Origin State.code"), Ok(vec![name("Origin State"), name("code")]));
        assert_eq!(
            steps("items[0][*].price"),
            Ok(vec![name("items"), Step::Index(0), Step::Each, name("price")])
        );
        assert_eq!(steps(r#""a.b"."say \"x\"""#), Ok(vec![name("a.b"), name("say \"x\"")]));
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let error = |path: &str| path.parse::<Path>().expect_err("no path").to_string();
        assert!(error("").contains("no name at character 1"), "{}", error(""));
        assert!(error("a..b").contains("no name at character 3"));
        assert!(error("a[1").contains("a [ without its ] at character 2"));
        assert!(error("a[x]").contains("neither a number nor * within [ ] at character 3"));
        assert!(error("\"a").contains("a quoted name that does not end"));
        assert!(error("a[1]b").contains("neither . nor [ after a step at character 5"));
    }

    proptest! {
        #[test]
        fn a_path_is_read_back_as_it_was(
            first in ".*",
            steps in prop::collection::vec(
                prop_oneof![".*".prop_map(Step::Name), (0..99usize).prop_map(Step::Index), Just(Step::Each)], 0..6),
        ) {
            let mut all = vec![Step::Name(first)];
            all.extend(steps);
            let path = Path { steps: all };
            prop_assert_eq!(path.to_string().parse::<Path>(), Ok(path));
        }

        #[test]
        fn any_text_is_a_path_or_an_error(text in ".*") {
            let _ = text.parse::<Path>();
        }
    }
}
