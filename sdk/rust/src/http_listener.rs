//! HTTP requests that others send, at an address that the pipeline grants by name.
//!
//! A setting with `"x-connection": "http_listener"` in the schema names the connection; the host knows the address, checks who
//! sends, and holds each request until [`Listener::answer`].
//!
//! Natively requests come from [`crate::testing::http_listener`].

use crate::error::Error;

/// A request that waits for its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// For the answer; rising, from 1 for each listener.
    pub id: u64,
    /// `POST`, ...
    pub method: String,
    /// As it was sent, without the query.
    pub path: String,
    /// Behind the question mark, as it was sent.
    pub query: String,
    /// Headers, their names in lower case, without credentials.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// When it was whole, in milliseconds since 1970.
    pub received: i64,
}

impl Request {
    /// The first header of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a sender is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Of the request.
    pub id: u64,
    /// The status.
    pub status: u16,
    /// A few words.
    pub body: String,
}

impl Answer {
    /// To the request with this number.
    pub fn new(id: u64, status: u16, body: impl Into<String>) -> Self {
        Self { id, status, body: body.into() }
    }
}

/// An open address. Dropped, it is closed, and who still waits is told to come again.
#[derive(Debug)]
pub struct Listener(imports::Listener);

impl Listener {
    /// Listens at the address of the connection of this name.
    pub fn open(connection: &str) -> Result<Self, Error> {
        imports::open(connection).map(Self)
    }

    /// Requests in the order in which they came; waits for the first, at most for `wait_ms`.
    pub fn take(&mut self, requests_max: u32, bytes_max: u32, wait_ms: u32) -> Vec<Request> {
        imports::take(&mut self.0, requests_max, bytes_max, wait_ms)
    }

    /// Answers requests; those whose sender has gone are passed over.
    pub fn answer(&mut self, answers: Vec<Answer>) {
        imports::answer(&mut self.0, answers);
    }
}

#[cfg(target_family = "wasm")]
mod imports {
    use super::{Answer, Request};
    use crate::bindings::http_listener::millrace::connect::http_listener;
    use crate::error::Error;

    pub(super) use http_listener::Listener;

    pub(super) fn open(connection: &str) -> Result<Listener, Error> {
        Ok(Listener::open(connection)?)
    }

    pub(super) fn take(
        listener: &mut Listener,
        requests_max: u32,
        bytes_max: u32,
        wait_ms: u32,
    ) -> Vec<Request> {
        let lifted = |request| {
            let http_listener::Request { id, method, path, query, headers, body, received } = request;
            Request { id, method, path, query, headers, body, received }
        };
        listener.take(requests_max, bytes_max, wait_ms).into_iter().map(lifted).collect()
    }

    pub(super) fn answer(listener: &mut Listener, answers: Vec<Answer>) {
        let lowered = |Answer { id, status, body }| http_listener::Answer { id, status, body };
        listener.answer(&answers.into_iter().map(lowered).collect::<Vec<_>>());
    }
}

#[cfg(not(target_family = "wasm"))]
mod imports {
    use super::{Answer, Request};
    use crate::error::Error;
    use crate::testing::http_listener as test;

    pub(super) use test::Listener;

    pub(super) fn open(connection: &str) -> Result<Listener, Error> {
        test::open(connection)
    }

    pub(super) fn take(
        listener: &mut Listener,
        requests_max: u32,
        bytes_max: u32,
        _wait_ms: u32,
    ) -> Vec<Request> {
        listener.take(requests_max, bytes_max)
    }

    pub(super) fn answer(listener: &mut Listener, answers: Vec<Answer>) {
        listener.answer(answers);
    }
}
