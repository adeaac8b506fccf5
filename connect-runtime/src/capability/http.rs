//! HTTP over connections of kind `http` (`wit/http.wit`): the host sends, the guest never sees an address or a secret.
//!
//! | file | what is in it |
//! |---|---|
//! | `settings` | a connection's settings made into a [`Target`] |
//! | `allow` | which origins may be reached |
//! | `address` | which addresses they may be at |
//! | `auth` | credentials, and tokens that are renewed |
//! | `client` | a request with its redirects and limits |
//! | `check` | whether a connection is reached, for `doctor` |
//!
//! Deliberately absent: proxies (they would resolve names by themselves), cookies, caches, HTTP/2, compression.

pub(super) mod address;
mod allow;
mod auth;
mod check;
mod client;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use wasmtime::component::{HasSelf, Linker};

pub(crate) use check::check;
pub(crate) use client::{Failed, Target, builder, built, cause};
pub(crate) use settings::{open, target};

use crate::component::bindings::millrace::connect::http;
pub(crate) use crate::component::bindings::millrace::connect::http::{Request, Response};
use crate::component::bindings::millrace::connect::types::Error as GuestError;
use crate::component::state::GuestState;
use crate::connection::{self, Connection};

/// Most requests of one `send-all`.
const REQUESTS_MAX: usize = 10_000;
/// No request of one `send-all` is begun later: a call of a guest is ended after a minute, and what was sent would be sent again.
const BEGIN_TIME: Duration = Duration::from_secs(15);
/// Most bytes of the answers of one `send-all`: the rest of the requests is not sent.
const ANSWERS_BYTES_MAX: usize = 64 << 20;

pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    http::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl http::Host for GuestState {
    async fn send(&mut self, connection: String, request: Request) -> Result<Response, GuestError> {
        let granted = self.granted(&connection).map_err(denied)?;
        send(&granted, request).await
    }

    async fn send_all(
        &mut self,
        connection: String,
        requests: Vec<Request>,
        in_flight: u32,
    ) -> Vec<Result<Response, GuestError>> {
        match self.granted(&connection).map_err(denied) {
            Ok(granted) => {
                send_all(&granted, requests, in_flight as usize, Instant::now() + BEGIN_TIME).await
            }
            Err(error) => requests.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

async fn send(connection: &Connection, request: Request) -> Result<Response, GuestError> {
    of(connection)?.send(connection.name(), request).await.map_err(|Failed(error)| error)
}

fn denied(why: String) -> GuestError {
    GuestError::fatal("http.denied", why)
}

/// What a connection of kind `http` works with.
fn of(connection: &Connection) -> Result<&Target, GuestError> {
    match connection.target() {
        connection::Target::Http(target) => Ok(target.as_ref()),
        _ => Err(denied(connection.is_not("http"))),
    }
}

/// Keeps as many under way as may be, in order; none is begun after `until`.
async fn send_all(
    connection: &Arc<Connection>,
    requests: Vec<Request>,
    in_flight: usize,
    until: Instant,
) -> Vec<Result<Response, GuestError>> {
    let target = match of(connection) {
        Ok(target) => target,
        Err(error) => return requests.iter().map(|_| Err(error.clone())).collect(),
    };
    let in_flight = in_flight.clamp(1, target.in_flight());
    let count = requests.len();
    let not_sent = |why: String| Err(GuestError::retriable("http.not-sent", why));
    let mut answers: Vec<_> = (0..count)
        .map(|_| {
            not_sent(format!(
                "not sent: of {count} requests at once at most {REQUESTS_MAX} are, with answers of 64 MiB, and none after {BEGIN_TIME:?}"
            ))
        })
        .collect();
    let mut waiting: VecDeque<_> = requests.into_iter().take(REQUESTS_MAX).enumerate().collect();
    let (mut running, mut bytes) = (JoinSet::new(), 0);
    loop {
        while running.len() < in_flight
            && bytes <= ANSWERS_BYTES_MAX
            && Instant::now() < until
            && let Some((at, request)) = waiting.pop_front()
        {
            let connection = Arc::clone(connection);
            running.spawn(async move { (at, send(&connection, request).await) });
        }
        match running.join_next().await {
            Some(Ok((at, answer))) => {
                bytes += answer.as_ref().map_or(0, |answer| answer.body.len());
                answers[at] = answer;
            }
            Some(Err(error)) => tracing::error!(%error, "a request ended without an answer"),
            None => return answers,
        }
    }
}
