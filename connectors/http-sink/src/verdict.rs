//! What an answer means for the records that were sent.

use millrace_sdk::http::Response;
use millrace_sdk::{Error, Rejection};

use crate::settings::Settings;

/// Codes of errors of the host that say something of what was to be sent.
const OF_THE_RECORD: [&str; 3] = ["http.request-size", "http.url", "http.header"];
/// Longest part of an answer's body that goes into a message.
const EXCERPT_CHARS_MAX: usize = 200;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is there.
    Done,
    /// The same again, or stop.
    Failed(Error),
    /// The server will never take it.
    Refused(Rejection),
}

/// Judges an answer. Statuses that say something of us (credentials, the method) and not of the record stop the task: as
/// rejections they would send everything to the dead letters.
pub fn verdict(settings: &Settings, answer: Result<&Response, &Error>) -> Verdict {
    let response = match answer {
        Ok(response) => response,
        // No record is to blame for what is too large, or makes a URL or a header that is none, but the one that is alone.
        Err(error) if OF_THE_RECORD.contains(&error.code.as_str()) => {
            return Verdict::Refused(Rejection::new(error.code.clone(), error.message.clone()));
        }
        Err(error) => return Verdict::Failed(error.clone()),
    };
    let status = response.status;
    if response.is_success() {
        return Verdict::Done;
    }
    let (code, message) = (format!("http.{status}"), message(response));
    let again = |code: String, message: String| {
        let error = Error::retriable(code, message);
        Verdict::Failed(match response.retry_after() {
            Some(wait) => error.after(wait),
            None => error,
        })
    };
    if settings.reject_status.contains(&status) {
        return Verdict::Refused(Rejection::new(code, message));
    }
    // Some services tell of a rate limit so.
    let is_limit = status == 403 && response.header("retry-after").is_some();
    if settings.retry_status.contains(&status) || is_limit {
        return again(code, message);
    }
    match status {
        408 | 425 | 429 | 500..=599 => again(code, message),
        401 | 407 => {
            Verdict::Failed(Error::fatal(code, format!("{message}; check `auth` of the connection")))
        }
        403 | 405 => Verdict::Failed(Error::fatal(
            code,
            format!("{message}; if that is about single records, put {status} into reject_status"),
        )),
        400..=499 => Verdict::Refused(Rejection::new(code, message)),
        _ => Verdict::Failed(Error::fatal(code, format!("{message}; neither success nor failure"))),
    }
}

fn message(response: &Response) -> String {
    let place = response.url.split(['?', '#']).next().unwrap_or_default();
    let body = String::from_utf8_lossy(&response.body);
    let mut said: String = body.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = said.char_indices().nth(EXCERPT_CHARS_MAX) {
        said.truncate(end);
        said.push('…');
    }
    let said = if said.is_empty() { said } else { format!(": {said}") };
    format!("{place} answers {}{said}", response.status)
}
