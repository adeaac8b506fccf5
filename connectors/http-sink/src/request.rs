//! Records made into requests.

use millrace_sdk::http::{self, Request};
use millrace_sdk::{RecordRef, Rejection};

use crate::settings::{Format, Settings, Templates, Tombstones};
use crate::template::Form;

/// What a record is sent as.
#[derive(Debug)]
pub enum Body {
    /// This.
    Sent(Vec<u8>),
    /// Nothing; the target is told to delete.
    Deleted,
    /// It is passed over.
    Skipped,
}

/// A record's own body.
pub fn body(settings: &Settings, templates: &Templates, record: &RecordRef<'_>) -> Result<Body, Rejection> {
    let Some(value) = record.value else {
        return match settings.tombstones {
            Tombstones::Skip => Ok(Body::Skipped),
            Tombstones::Delete => Ok(Body::Deleted),
            Tombstones::Send if settings.batch.is_some() => Ok(Body::Sent(b"null".to_vec())),
            Tombstones::Send => Ok(Body::Sent(Vec::new())),
            Tombstones::Reject => {
                let message = "a record without a value; `tombstones` says what may become of it";
                Err(Rejection::new("http.tombstone", message))
            }
        };
    };
    let body = match &templates.body {
        Some(template) => template.render(record, settings.body_form())?.into_bytes(),
        None => value.to_vec(),
    };
    if settings.batch.is_some() {
        serde_json::from_slice::<serde::de::IgnoredAny>(&body)
            .map_err(|error| Rejection::new("json.syntax", format!("not a JSON document: {error}")))?;
    }
    Ok(Body::Sent(body))
}

/// Bodies of several records as one.
pub fn joined(format: Format, bodies: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bodies.iter().map(|body| body.len() + 1).sum::<usize>() + 1);
    match format {
        Format::Array => {
            out.push(b'[');
            for (at, body) in bodies.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(body);
            }
            out.push(b']');
        }
        Format::Lines => {
            for body in bodies {
                // Within JSON a line break can only be space between its parts.
                out.extend(body.iter().map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
                out.push(b'\n');
            }
        }
    }
    out
}

/// What repetitions of a request have in common, and no other request of this or another sink: names don't have colons. A topic that was made anew has
/// the same offsets, but not at the same time.
pub fn idempotency_key(connector: &str, record: &RecordRef<'_>, offsets: &str) -> String {
    let RecordRef { topic, partition, timestamp, .. } = record;
    format!("{}:{topic}:{partition}:{offsets}:{timestamp}", http::encoded(connector))
}

/// A request without its body; `record` is the first of those that it is for.
pub fn head(
    settings: &Settings,
    templates: &Templates,
    record: &RecordRef<'_>,
    method: &str,
    idempotency_key: String,
) -> Result<Request, Rejection> {
    let mut request = Request::new(method, templates.url.render(record, Form::Url)?);
    let own = |name: &str| settings.headers.keys().any(|known| known.eq_ignore_ascii_case(name));
    if method != "DELETE" && !own("content-type") {
        request = request.header("Content-Type", settings.content_type());
    }
    for (name, value) in &templates.headers {
        request = request.header(name, value.render(record, Form::Header)?);
    }
    let header = &settings.idempotency_header;
    if !header.is_empty() && !own(header) {
        request = request.header(header, idempotency_key);
    }
    Ok(request)
}
