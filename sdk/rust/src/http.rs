//! HTTP over a connection that the pipeline grants by name.
//!
//! A setting with `"x-connection": "http"` in the schema names the connection; the host knows its URL and credentials, checks
//! where a request goes, and bounds time and sizes. Not reaching the server is an [`Error`] of the right class already, so
//! `?` is mostly right; any status is a [`Response`].
//!
//! Natively requests go to [`crate::testing::http`].

use std::time::Duration;

use crate::error::Error;

/// Longest wait that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Absolute, or a path that is put behind the connection's URL, or relative to `relative_to`.
    pub url: String,
    /// The URL of an earlier response, for links that were found in it.
    pub relative_to: Option<String>,
    /// Headers. Those about the connection itself are the host's.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Vec<u8>>,
    /// Longest time; none: the connection's.
    pub timeout: Option<Duration>,
    /// Largest response; none: the connection's.
    pub response_bytes_max: Option<u32>,
}

impl Request {
    /// Asks for something.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), ..Self::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }
}

/// What a server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Where it came from, after redirects.
    pub url: String,
}

impl Response {
    /// A response with this status and body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    /// The first header of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The wait that the server asks for with `Retry-After`, in seconds and no longer than an hour; dates would need its clock to agree with ours.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.header("retry-after")?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
    }

    /// Whether it is a 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A part of a path or a query: all but RFC 3986's unreserved characters are percent-encoded.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Sends one request over the connection of this name.
pub fn send(connection: &str, request: Request) -> Result<Response, Error> {
    imports::send(connection, request)
}

/// Sends several, at most `in_flight` at once; the answers have their order. Their bodies together: 16 MiB at most.
pub fn send_all(connection: &str, requests: Vec<Request>, in_flight: u32) -> Vec<Result<Response, Error>> {
    imports::send_all(connection, requests, in_flight)
}

#[cfg(target_family = "wasm")]
mod imports {
    use super::{Request, Response};
    use crate::bindings::http::millrace::connect::http;
    use crate::error::Error;

    fn lowered(request: Request) -> http::Request {
        http::Request {
            method: request.method,
            url: request.url,
            relative_to: request.relative_to,
            headers: request.headers,
            body: request.body,
            timeout_ms: request
                .timeout
                .map_or(0, |time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)),
            response_bytes_max: request.response_bytes_max.unwrap_or(0),
        }
    }

    fn lifted(response: http::Response) -> Response {
        let http::Response { status, headers, body, url } = response;
        Response { status, headers, body, url }
    }

    pub(super) fn send(connection: &str, request: Request) -> Result<Response, Error> {
        Ok(lifted(http::send(connection, &lowered(request))?))
    }

    pub(super) fn send_all(
        connection: &str,
        requests: Vec<Request>,
        in_flight: u32,
    ) -> Vec<Result<Response, Error>> {
        let requests: Vec<_> = requests.into_iter().map(lowered).collect();
        let answers = http::send_all(connection, &requests, in_flight);
        answers.into_iter().map(|answer| Ok(lifted(answer?))).collect()
    }
}

#[cfg(not(target_family = "wasm"))]
mod imports {
    use super::{Request, Response};
    use crate::error::Error;
    use crate::testing::http::answer;

    pub(super) fn send(connection: &str, request: Request) -> Result<Response, Error> {
        answer(connection, &request)
    }

    pub(super) fn send_all(
        connection: &str,
        requests: Vec<Request>,
        _in_flight: u32,
    ) -> Vec<Result<Response, Error>> {
        requests.iter().map(|request| answer(connection, request)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_bounded_and_in_seconds() {
        let wait = |value: &str| {
            let headers = vec![("retry-after".to_owned(), value.to_owned())];
            Response { headers, ..Response::new(503, "") }.retry_after().map(|wait| wait.as_secs())
        };
        assert_eq!([wait(" 7 "), wait("86400")], [Some(7), Some(3600)]);
        assert_eq!([wait("Fri, 31 Dec 1999 23:59:59 GMT"), wait("-1"), wait("")], [None; 3]);
        assert_eq!(Response::new(503, "").retry_after(), None);
    }

    #[test]
    fn texts_are_encoded_for_a_url() {
        assert_eq!(encoded("a b/c?d=é&~-._"), "a%20b%2Fc%3Fd%3D%C3%A9%26~-._");
    }
}
