//! The settings, as `settings.schema.json` describes them.

use std::collections::BTreeMap;

use millrace_sdk::settings::Size;
use millrace_sdk::{Error, Problem};
use serde::Deserialize;

use crate::template::{Form, Template};

/// Largest body of a batch: a call of the host takes no more than twice that.
const BATCH_BYTES_MAX: u64 = 8 << 20;

/// Settings of one sink.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Connection that is written to.
    pub connection: String,
    /// Path behind its URL.
    #[serde(default)]
    pub url: String,
    /// Method of requests.
    #[serde(default)]
    pub method: Method,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A record's body; none: its value.
    pub body: Option<String>,
    /// The body's type.
    pub content_type: Option<String>,
    /// Several records in a request.
    pub batch: Option<Batch>,
    /// Requests at once.
    #[serde(default = "one")]
    pub in_flight: u32,
    /// Records without a value.
    #[serde(default)]
    pub tombstones: Tombstones,
    /// Header that names a request; empty: none.
    #[serde(default = "idempotency_header")]
    pub idempotency_header: String,
    /// Further statuses to repeat after.
    #[serde(default)]
    pub retry_status: Vec<u16>,
    /// Further statuses that are the record's fault.
    #[serde(default)]
    pub reject_status: Vec<u16>,
}

/// Methods that change something.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// POST
    #[default]
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

impl Method {
    /// As it is sent.
    pub fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// What becomes of a record without a value.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Tombstones {
    /// It goes the way of bad records.
    #[default]
    Reject,
    /// Nothing.
    Skip,
    /// DELETE without a body.
    Delete,
    /// An empty body, or null.
    Send,
}

/// Several records in a request.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// How they are put together.
    #[serde(default)]
    pub format: Format,
    /// Most records.
    #[serde(default = "batch_records")]
    pub records: usize,
    /// Largest body.
    #[serde(default = "batch_bytes")]
    pub bytes: Size,
}

/// How records are put together.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON array.
    #[default]
    Array,
    /// A JSON document per line.
    Lines,
}

fn one() -> u32 {
    1
}

fn idempotency_header() -> String {
    "Idempotency-Key".to_owned()
}

fn batch_records() -> usize {
    500
}

fn batch_bytes() -> Size {
    Size::from_bytes(1 << 20)
}

/// The templates among the settings.
#[derive(Debug)]
pub struct Templates {
    /// Where requests go.
    pub url: Template,
    /// Headers by name.
    pub headers: Vec<(String, Template)>,
    /// A record's body.
    pub body: Option<Template>,
}

impl Settings {
    /// The body's type.
    pub fn content_type(&self) -> &str {
        match (&self.content_type, self.batch) {
            (Some(own), _) => own,
            (None, Some(Batch { format: Format::Lines, .. })) => "application/x-ndjson",
            (None, _) => "application/json",
        }
    }

    /// How parts of records are put into the body.
    pub fn body_form(&self) -> Form {
        let kind = self.content_type().to_ascii_lowercase();
        if self.batch.is_some() || kind.contains("json") { Form::Json } else { Form::Text }
    }

    /// The templates, or what is wrong with them.
    pub fn templates(&self) -> Result<Templates, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut read = |pointer: String, text: &str| match text.parse::<Template>() {
            Ok(template) => Some(template),
            Err(mistake) => {
                problems.push(Problem::error(pointer, mistake));
                None
            }
        };
        let url = read("/url".into(), &self.url);
        let body = self.body.as_ref().map(|text| read("/body".into(), text));
        let headers: Vec<Option<(String, Template)>> = self
            .headers
            .iter()
            .map(|(name, text)| Some((name.clone(), read(format!("/headers/{}", escaped(name)), text)?)))
            .collect();
        let headers: Option<Vec<(String, Template)>> = headers.into_iter().collect();
        match (url, body, headers) {
            (Some(url), None, Some(headers)) => Ok(Templates { url, headers, body: None }),
            (Some(url), Some(Some(body)), Some(headers)) => Ok(Templates { url, headers, body: Some(body) }),
            _ => Err(problems),
        }
    }

    /// Checks beyond the schema.
    pub fn problems(&self) -> Vec<Problem> {
        let templates = match self.templates() {
            Ok(templates) => templates,
            Err(problems) => return problems,
        };
        let mut problems = Vec::new();
        let lead = templates.url.lead();
        let host_ends = lead.split_once("://").map(|(_, rest)| rest.contains('/'));
        if host_ends == Some(false) && !templates.url.is_constant() {
            problems
                .push(Problem::error("/url", "a record can't choose the host; write scheme and host out"));
        }
        if let Some(body) = templates.body.as_ref().filter(|_| self.body_form() == Form::Json)
            && serde_json::from_str::<serde::de::IgnoredAny>(&body.sample("\"x\"")).is_err()
        {
            let message =
                "is no JSON; parts of the record stand without quotes around, as in {\"id\": ${value.id}}";
            problems.push(Problem::error("/body", message));
        }
        if let Some(batch) = self.batch {
            if batch.bytes.bytes_u64() == 0 || batch.bytes.bytes_u64() > BATCH_BYTES_MAX {
                problems.push(Problem::error("/batch/bytes", "from 1B to 8MiB"));
            }
            if !templates.url.is_of_partition() {
                problems.push(Problem::error(
                    "/url",
                    "with batch, only ${topic} and ${partition} can stand here",
                ));
            }
            for (name, _) in templates.headers.iter().filter(|(_, value)| !value.is_of_partition()) {
                let pointer = format!("/headers/{}", escaped(name));
                problems.push(Problem::error(
                    pointer,
                    "with batch, only ${topic} and ${partition} can stand here",
                ));
            }
            if self.in_flight > 1 {
                problems.push(Problem::error("/in_flight", "batches go one after the other; leave it out"));
            }
            if self.tombstones == Tombstones::Delete {
                problems.push(Problem::error(
                    "/tombstones",
                    "delete needs a request of its own; leave batch out",
                ));
            }
        }
        let both = self.retry_status.iter().find(|status| self.reject_status.contains(status));
        if let Some(status) = both {
            problems.push(Problem::error("/reject_status", format!("{status} is in retry_status, too")));
        }
        problems
    }

    /// The templates of settings without problems.
    pub fn open(&self) -> Result<Templates, Error> {
        let fatal =
            |problem: &Problem| Error::fatal("settings", format!("{}: {}", problem.path, problem.message));
        match self.problems().first() {
            Some(problem) => Err(fatal(problem)),
            None => self.templates().map_err(|problems| match problems.first() {
                Some(problem) => fatal(problem),
                None => Error::fatal("settings", "templates that can't be read"),
            }),
        }
    }
}

/// A name within a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
