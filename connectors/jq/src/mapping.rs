//! From one record to those that come out.

use jaq_json::{Map, Num, Rc, Val};
use millrace_sdk::{HeaderList, Output, Problem, RecordRef, Rejection};

use crate::document::{self, parse, shown};
use crate::program::{Failed, Program, VARIABLES};
use crate::settings::Settings;

/// Most records that one may become, and most bytes of their values.
const RESULTS_MAX: usize = 10_000;
const RESULT_BYTES_MAX: usize = 16 << 20;

/// The expressions of a transform.
#[derive(Debug)]
pub(crate) struct Mapping {
    value: Option<Program>,
    key: Option<Program>,
    headers: Option<Program>,
    topic: Option<Program>,
    timestamp: Option<Program>,
    /// The value that is being made.
    text: Vec<u8>,
}

/// What becomes of the rest of a record.
struct Rest {
    /// None: it stays; some of none: null.
    key: Option<Option<Vec<u8>>>,
    headers: Option<HeaderList>,
    topic: Option<String>,
    timestamp: Option<i64>,
}

impl Mapping {
    /// Compiles what the settings say.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut compile = |name: &str, code: &Option<String>| match code.as_deref().map(Program::new) {
            None => None,
            Some(Ok(program)) => Some(program),
            Some(Err(invalid)) => {
                problems.push(Problem::error(format!("/{name}"), invalid.to_string()));
                None
            }
        };
        let mapping = Self {
            value: compile("value", &settings.value),
            key: compile("key", &settings.key),
            headers: compile("headers", &settings.headers),
            topic: compile("topic", &settings.topic),
            timestamp: compile("timestamp", &settings.timestamp),
            text: Vec::new(),
        };
        if problems.is_empty() { Ok(mapping) } else { Err(problems) }
    }

    /// Adds to `out` what becomes of a record. A tombstone has nothing to ask of and goes on as it is.
    pub(crate) fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
        let Some(bytes) = record.value else {
            out.keep(record);
            return Ok(());
        };
        let input = parse(bytes).map_err(|error| Rejection::new("json", error.to_string()))?;
        let variables = self.variables(record);
        let mut text = std::mem::take(&mut self.text);
        let result = match &self.value {
            None => self.rest(&variables, &input).map(|rest| rest.push(record, Some(bytes), out)),
            Some(program) => {
                let (mut results, mut size) = (0, 0);
                let mut take = |value: Val| {
                    text.clear();
                    document::write(&value, &mut text).map_err(|error| rejected("value", error))?;
                    (results, size) = (results + 1, size + text.len());
                    if results > RESULTS_MAX || size > RESULT_BYTES_MAX {
                        let message = format!(
                            "more than {RESULTS_MAX} results or {RESULT_BYTES_MAX} bytes come out of one record"
                        );
                        return Err(rejected("value", message));
                    }
                    self.rest(&variables, &value)?.push(record, Some(&text), out);
                    Ok(())
                };
                program.run(&variables, input, &mut take).map_err(|failed| told("value", failed))
            }
        };
        self.text = text;
        result
    }

    /// What the expressions may ask of a record. What none mentions is not made.
    fn variables(&self, record: &RecordRef<'_>) -> [Val; VARIABLES.len()] {
        let programs = [&self.value, &self.key, &self.headers, &self.topic, &self.timestamp];
        std::array::from_fn(|variable| {
            if !programs.into_iter().flatten().any(|program| program.mentions(variable)) {
                return Val::Null;
            }
            let number = |number: i64| match number {
                ..0 => Val::Null,
                number => Val::Num(Num::from_integral(number)),
            };
            match variable {
                0 => record.key.map_or(Val::Null, text),
                1 => {
                    let headers =
                        record.headers.map(|h| (text(h.name.as_bytes()), h.value.map_or(Val::Null, text)));
                    Val::Obj(Rc::new(headers.collect::<Map>()))
                }
                2 => text(record.topic.as_bytes()),
                3 => number(record.partition.into()),
                4 => number(record.offset),
                _ => number(record.timestamp),
            }
        })
    }

    /// Key, headers, topic and timestamp of a record with this value.
    fn rest(&self, variables: &[Val; VARIABLES.len()], value: &Val) -> Result<Rest, Rejection> {
        let one = |name: &'static str, program: &Option<Program>| {
            program.as_ref().map(|program| only(name, program, variables, value.clone())).transpose()
        };
        let key = one("key", &self.key)?.map(|key| scalar("key", &key)).transpose()?;
        let headers = one("headers", &self.headers)?.map(|headers| header_list(&headers)).transpose()?;
        let topic = one("topic", &self.topic)?.map(|topic| match topic {
            Val::TStr(topic) if !topic.is_empty() => Ok(String::from_utf8_lossy(&topic).into_owned()),
            other => Err(rejected("topic", format!("{} is no name of a topic", shown(&other.to_string())))),
        });
        let timestamp = one("timestamp", &self.timestamp)?.map(|timestamp| milliseconds(&timestamp));
        Ok(Rest { key, headers, topic: topic.transpose()?, timestamp: timestamp.transpose()? })
    }
}

impl Rest {
    /// Adds the record with this value.
    fn push(&self, record: &RecordRef<'_>, value: Option<&[u8]>, out: &mut Output<'_>) {
        out.push(&RecordRef {
            key: self.key.as_ref().map_or(record.key, Option::as_deref),
            value,
            headers: self.headers.as_ref().map_or(record.headers, HeaderList::headers),
            topic: self.topic.as_deref().unwrap_or(record.topic),
            timestamp: self.timestamp.unwrap_or(record.timestamp),
            ..*record
        });
    }
}

/// The one result of a program.
fn only(
    name: &str,
    program: &Program,
    variables: &[Val; VARIABLES.len()],
    input: Val,
) -> Result<Val, Rejection> {
    let mut found = None;
    let several = || rejected(name, "it has several results, and one is needed");
    let mut take = |value: Val| if found.replace(value).is_none() { Ok(()) } else { Err(several()) };
    program.run(variables, input, &mut take).map_err(|failed| told(name, failed))?;
    found.ok_or_else(|| rejected(name, "it has no result, and one is needed"))
}

/// A key's or a header's bytes: a text as it is, none for null, anything else as JSON.
fn scalar(name: &str, value: &Val) -> Result<Option<Vec<u8>>, Rejection> {
    match value {
        Val::Null => Ok(None),
        Val::TStr(text) | Val::BStr(text) => Ok(Some(text.to_vec())),
        other => {
            let mut json = Vec::new();
            document::write(other, &mut json).map_err(|error| rejected(name, error))?;
            Ok(Some(json))
        }
    }
}

fn header_list(value: &Val) -> Result<HeaderList, Rejection> {
    let Val::Obj(headers) = value else {
        return Err(rejected("headers", format!("{} is no object of headers", shown(&value.to_string()))));
    };
    let mut list = HeaderList::default();
    for (name, value) in headers.iter() {
        let Val::TStr(name) = name else {
            return Err(rejected("headers", "the name of a header is no text"));
        };
        list.push(&String::from_utf8_lossy(name), scalar("headers", value)?.as_deref());
    }
    Ok(list)
}

/// A timestamp; -1 for null, the time of writing.
fn milliseconds(value: &Val) -> Result<i64, Rejection> {
    let ms = match value {
        Val::Null => Some(-1),
        Val::Num(Num::Int(ms)) => i64::try_from(*ms).ok().filter(|ms| *ms >= 0),
        Val::Num(Num::BigInt(ms)) => ms.to_string().parse().ok().filter(|ms| *ms >= 0),
        _ => None,
    };
    ms.ok_or_else(|| {
        rejected("timestamp", format!("{} is no whole number of milliseconds", shown(&value.to_string())))
    })
}

/// A text, or bytes where it is none.
fn text(bytes: &[u8]) -> Val {
    match std::str::from_utf8(bytes) {
        Ok(text) => Val::utf8_str(text.to_owned()),
        Err(_) => Val::byte_str(bytes.to_vec()),
    }
}

fn rejected(setting: &str, message: impl std::fmt::Display) -> Rejection {
    Rejection::new("jq", format!("`{setting}`: {message}"))
}

fn told(setting: &str, failed: Failed<Rejection>) -> Rejection {
    match failed {
        Failed::Taken(rejection) => rejection,
        failed @ Failed::Expression { .. } => rejected(setting, failed),
    }
}
