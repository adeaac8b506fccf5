//! A client of a worker's REST API.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::exit::Failure;

/// How long a worker may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to answer; its own limit for a change is 90 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(100);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Talks to one worker, one connection a request.
#[derive(Debug)]
pub(crate) struct Rest {
    /// `host:port`
    authority: String,
}

/// A worker said no.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    message: String,
}

impl Refused {
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

/// Why there is no answer to work with.
#[derive(Debug)]
pub(crate) enum Error {
    Refused(Refused),
    Other(Failure),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(Refused { status: StatusCode::BAD_REQUEST, message }) => {
                Failure::Validation(message)
            }
            Error::Refused(Refused { message, .. }) => Failure::Runtime(message),
            Error::Other(failure) => failure,
        }
    }
}

impl Rest {
    /// `http://host:port`
    pub(crate) fn new(url: &str) -> Result<Self, Failure> {
        let authority = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let is_fit =
            |authority: &&str| !authority.is_empty() && !authority.contains(['/', '?', '#', '@', ' ']);
        let authority = authority.filter(is_fit).ok_or_else(|| {
            Failure::validation(format!(
                "--url {url}: expected http://HOST:PORT, such as http://127.0.0.1:8083"
            ))
        })?;
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Self { authority: if has_port { authority.to_owned() } else { format!("{authority}:80") } })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Error> {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn put(&self, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        self.ask(Method::PUT, path, body).await
    }

    pub(crate) async fn post(&self, path: &str) -> Result<Value, Error> {
        self.ask(Method::POST, path, None).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.ask(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value, Error> {
        self.ask(Method::DELETE, path, None).await
    }

    /// The answer's body; null if it has none.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        let asked = timeout(ANSWER_TIMEOUT, self.exchange(method, path, body)).await;
        let late = || format!("no answer from {} within {ANSWER_TIMEOUT:?}", self.authority);
        let (status, bytes) =
            asked.map_err(|_| Error::Other(Failure::Runtime(late())))?.map_err(Error::Other)?;
        let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let message = value.get("message").and_then(Value::as_str);
        let message = message.map_or_else(|| format!("{} answers {status}", self.authority), str::to_owned);
        Err(Error::Refused(Refused { status, message }))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let unreachable = |error: &dyn std::fmt::Display| {
            Failure::Environment(format!(
                "no worker answers at http://{}: {error}; is `millrace connect` running there? --url says where",
                self.authority
            ))
        };
        let connect = timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.authority)).await;
        let stream = connect.map_err(|error| unreachable(&error))?.map_err(|error| unreachable(&error))?;
        let failed = |error: hyper::Error| Failure::Runtime(format!("{}: {error}", self.authority));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // It ends with the exchange; its error is that of the request.
        tokio::spawn(connection);
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(text)))
            .map_err(|error| Failure::Validation(format!("{path}: {error}")))?;
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Failure::Runtime(format!("{}: {error}", self.authority)))?;
        Ok((status, body.to_bytes()))
    }
}

/// A part of a path, as RFC 3986 wants it.
pub(crate) fn encoded(part: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let each = part.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, wanted) in [
            ("http://127.0.0.1:8083", Some("127.0.0.1:8083")),
            ("http://worker/", Some("worker:80")),
            ("http://[::1]:8083", Some("[::1]:8083")),
            ("https://worker:8083", None),
            ("worker:8083", None),
            ("http://", None),
            ("http://u@worker:1", None),
        ] {
            assert_eq!(Rest::new(url).ok().map(|rest| rest.authority).as_deref(), wanted, "{url}");
        }
    }

    #[test]
    fn parts_of_paths() {
        assert_eq!(encoded("orders.source"), "orders.source");
        assert_eq!(encoded("./a b.wasm"), ".%2Fa%20b.wasm");
    }
}
