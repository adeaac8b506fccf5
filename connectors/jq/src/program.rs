//! An expression, compiled.
//!
//! The library's errors of running programs say what happened, not where. So an expression is compiled in steps, cut at the
//! pipes of its top level; a step knows where it begins. Cutting ends where a name begins to hold for all that comes behind it
//! (`as`, `def`, `label`, ...): from there on it is one step. Each result of a step goes through the rest before the next is asked
//! for, just as jq does it.

use jaq_core::data::JustLut;
use jaq_core::load::lex::{Lexer, Tok};
use jaq_core::load::{Arena, Error as LoadError, File, Loader, span};
use jaq_core::{Compiler, Ctx, Filter, Vars};
use jaq_json::Val;

use crate::document::shown;

/// What an expression may ask of the record, in the order of [`Program::run`]'s values.
pub(crate) const VARIABLES: [&str; 6] = ["$key", "$headers", "$topic", "$partition", "$offset", "$timestamp"];
/// Words behind which an expression is not cut.
const BINDING: [&str; 9] = ["as", "def", "label", "if", "reduce", "foreach", "import", "include", "try"];

/// An expression that can be run.
pub(crate) struct Program {
    steps: Vec<Step>,
    /// Which of [`VARIABLES`] it mentions.
    mentions: [bool; VARIABLES.len()],
}

struct Step {
    filter: Filter<JustLut<Val>>,
    place: Place,
    /// The beginning of its text.
    shown: String,
}

/// A place in an expression, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// What is wrong with the text of an expression.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {} column {}: {message}", place.line, place.column)]
pub(crate) struct Invalid {
    pub(crate) place: Place,
    pub(crate) message: String,
}

/// Why a run did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed<E> {
    /// The expression's own error.
    #[error("line {} column {} ({step}): {message}", place.line, place.column)]
    Expression { place: Place, step: String, message: String },
    /// What whoever takes the results said.
    #[error(transparent)]
    Taken(E),
}

impl Program {
    /// Compiles an expression.
    pub(crate) fn new(code: &str) -> Result<Self, Invalid> {
        // Whole first: its errors are the ones to tell.
        let whole = compile(code).map_err(|(at, message)| Invalid { place: place(code, at), message })?;
        let cut: Option<Vec<(usize, Filter<JustLut<Val>>)>> =
            cuts(code).into_iter().map(|range| Some((range.start, compile(&code[range]).ok()?))).collect();
        let steps = cut.unwrap_or_else(|| vec![(0, whole)]);
        let step = |(start, filter)| {
            let text = code[start..].split_whitespace().collect::<Vec<_>>().join(" ");
            Step { filter, place: place(code, start), shown: shown(&text) }
        };
        Ok(Self {
            steps: steps.into_iter().map(step).collect(),
            mentions: VARIABLES.map(|variable| code.contains(variable)),
        })
    }

    /// Whether it asks for variable number `variable`.
    pub(crate) fn mentions(&self, variable: usize) -> bool {
        self.mentions[variable]
    }

    /// Gives each result for `input` to `take`.
    pub(crate) fn run<E>(
        &self,
        variables: &[Val; VARIABLES.len()],
        input: Val,
        take: &mut dyn FnMut(Val) -> Result<(), E>,
    ) -> Result<(), Failed<E>> {
        run(&self.steps, &Vars::new(variables.iter().cloned()), input, take)
    }
}

fn run<E>(
    steps: &[Step],
    variables: &Vars<Val>,
    input: Val,
    take: &mut dyn FnMut(Val) -> Result<(), E>,
) -> Result<(), Failed<E>> {
    let Some((step, rest)) = steps.split_first() else { return take(input).map_err(Failed::Taken) };
    let context = Ctx::<JustLut<Val>>::new(&step.filter.lut, variables.clone());
    for result in step.filter.id.run((context, input)) {
        let result = result.map_err(|exception| {
            let message = match exception.get_err() {
                Ok(error) => match error.into_val() {
                    // What `error("...")` says, without quotes.
                    Val::TStr(text) => String::from_utf8_lossy(&text).into_owned(),
                    other => other.to_string(),
                },
                Err(_) => "halt has no place in a pipeline; use empty to drop a record, error to reject it"
                    .to_owned(),
            };
            Failed::Expression { place: step.place, step: step.shown.clone(), message: shown(&message) }
        })?;
        run(rest, variables, result, take)?;
    }
    Ok(())
}

/// The parts between the pipes of the top level.
fn cuts(code: &str) -> Vec<std::ops::Range<usize>> {
    let Ok(tokens) = Lexer::new(code).lex() else { return std::iter::once(0..code.len()).collect() };
    let (mut parts, mut start) = (Vec::new(), None);
    for token in &tokens {
        let range = span(code, token.0);
        match &token.1 {
            Tok::Sym if token.0 == "|" => parts.extend(start.take().map(|start| start..range.start)),
            Tok::Word if BINDING.contains(&token.0) => {
                start.get_or_insert(range.start);
                break;
            }
            _ => {
                start.get_or_insert(range.start);
            }
        }
    }
    parts.extend(start.map(|start| start..code.len()));
    parts
}

/// The filter, or where the text is wrong and how.
fn compile(code: &str) -> Result<Filter<JustLut<Val>>, (usize, String)> {
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let loaded = Loader::new(defs).load(&arena, File { code, path: () });
    let at = |part: &str| span(code, part).start;
    let modules = loaded.map_err(|errors| {
        let error = errors.into_iter().next().map(|(_, error)| error);
        match error {
            Some(LoadError::Lex(errors)) => errors.first().map(|(expected, found)| {
                (at(found), format!("{} is missing{}", expected.as_str(), before(found)))
            }),
            Some(LoadError::Parse(errors)) => errors.first().map(|(expected, found)| {
                (at(found), format!("{} is missing{}", expected.as_str(), before(found)))
            }),
            Some(LoadError::Io(errors)) => {
                errors.first().map(|(path, _)| (at(path), "modules can't be imported".to_owned()))
            }
            None => None,
        }
        .unwrap_or((0, "not an expression of jq".to_owned()))
    })?;
    Compiler::default().with_funs(funs).with_global_vars(VARIABLES).compile(modules).map_err(|errors| {
        let error = errors.into_iter().flat_map(|(_, errors)| errors).next();
        error.map_or((0, "not an expression of jq".to_owned()), |(name, kind)| {
            (at(name), format!("{} {} is not defined", kind.as_str(), shown(name)))
        })
    })
}

fn before(found: &str) -> String {
    if found.is_empty() { " at the end".to_owned() } else { format!(" before {}", shown(found)) }
}

fn place(code: &str, at: usize) -> Place {
    let before = &code[..at.min(code.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Place { line, column }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|step| &step.shown)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(code: &str) -> Vec<&str> {
        cuts(code).into_iter().map(|range| code[range].trim()).collect()
    }

    #[test]
    fn an_expression_is_cut_at_its_outer_pipes() {
        assert_eq!(
            parts(".a | map(.b | .c) | \"x|\\(.d | .e)\" | .f |= (. | 1)"),
            [".a", "map(.b | .c)", "\"x|\\(.d | .e)\"", ".f |= (. | 1)"]
        );
        assert_eq!(parts(".a | .b as $x | .c | .d"), [".a", ".b as $x | .c | .d"]);
        assert_eq!(parts("def f: . | 1; f | f"), ["def f: . | 1; f | f"]);
        assert_eq!(parts(".a | if . then 1 | 2 else 3 end | 4"), [".a", "if . then 1 | 2 else 3 end | 4"]);
        assert_eq!(parts("# a | comment\n.x"), [".x"]);
    }

    /// What the expression makes of `input`, in steps and as a whole.
    fn both(code: &str, input: &str) -> [Vec<String>; 2] {
        let program = Program::new(code).expect(code);
        let whole = Step {
            filter: compile(code).expect(code),
            place: Place { line: 1, column: 1 },
            shown: String::new(),
        };
        [program.steps, vec![whole]].map(|steps| {
            let mut results = Vec::new();
            let variables = Vars::new(VARIABLES.map(|_| Val::Null));
            let input = crate::document::parse(input.as_bytes()).expect("JSON");
            let mut take = |value: Val| {
                results.push(value.to_string());
                Ok::<(), std::convert::Infallible>(())
            };
            if let Err(Failed::Expression { message, .. }) = run(&steps, &variables, input, &mut take) {
                results.push(format!("error: {message}"));
            }
            results
        })
    }

    #[test]
    fn steps_give_what_the_whole_gives() {
        for code in [
            ".",
            ".items[] | {id, price} | select(.price > 1)",
            ".items | map(.price) | add",
            "[.items[] | .id], .name | tostring | ascii_upcase",
            ".name | ., error(\"no\") | length",
            ".items[] as {id: $i} | $i | . + 1",
            "first(.items[] | .id) | limit(2; repeat(.))",
            "label $out | .items[] | if .id == 2 then ., break $out else . end | .id",
            ".items[] | try error(.id) catch . | . * 2",
            ".name |= (. | test(\"a\")) | .",
            "reduce .items[] as $i (0; . + $i.price) | . / 2",
            ".. | numbers",
        ] {
            let [steps, whole] =
                both(code, r#"{"name":"an","items":[{"id":1,"price":2.5},{"id":2,"price":0.5}]}"#);
            assert_eq!(steps, whole, "{code}");
            assert!(!steps.is_empty(), "{code}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (code, message) in [
            (".a |", "line 1 column 5: term is missing at the end"),
            (".a |\n  map(.b", "line 2 column 9: closing parenthesis is missing at the end"),
            (".a | nosuch", "line 1 column 6: filter nosuch is not defined"),
            ("$kye", "line 1 column 1: variable $kye is not defined"),
            ("{a: 1", "line 1 column 6: closing brace is missing at the end"),
        ] {
            let invalid = Program::new(code).expect_err(code).to_string();
            assert!(invalid.starts_with(message), "{invalid}");
        }
    }

    #[test]
    fn an_error_says_where() {
        let program = Program::new(".a | .b\n| .c | tonumber").expect("good");
        let input = crate::document::parse(br#"{"a":{"b":{"c":"x"}}}"#).expect("JSON");
        let mut take = |_| Ok::<(), std::convert::Infallible>(());
        let failed = program.run(&VARIABLES.map(|_| Val::Null), input, &mut take).expect_err("no number");
        assert!(failed.to_string().starts_with("line 2 column 8 (tonumber): "), "{failed}");
    }
}
