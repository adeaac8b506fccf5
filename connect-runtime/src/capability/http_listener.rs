//! HTTP requests that come in, over connections of kind `http_listener` (`wit/http-listener.wit`): the host listens and checks who sends, the
//! guest takes and answers.
//!
//! | file | what is in it |
//! |---|---|
//! | `settings` | a connection's settings made into a [`Target`] |
//! | `auth` | who may send |
//! | `held` | requests from their arrival to their answer |
//!
//! Invariants:
//! - A request is answered once: by the guest, or, when that takes too long or the listener ends, with 503. Nobody is told 200
//!   by the host itself.
//! - Bytes of bodies are taken out of one budget before they are read, and given back when the request has
//!   been taken and its sender answered, or gone.
//!
//! Deliberately absent: TLS, HTTP/2, answers with a body worth the name.

mod auth;
mod held;
mod settings;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use wasmtime::component::{HasSelf, Linker, Resource};

pub(crate) use settings::{Target, open};

use self::held::Held;
use crate::component::bindings::millrace::connect::http_listener::{self, Answer, Request};
use crate::component::bindings::millrace::connect::types::Error as GuestError;
use crate::component::state::GuestState;
use crate::connection;
use crate::doctor::{Reached, Unreached};

/// How long a connection may last; its client makes a new one.
const CONNECTION_TIME: Duration = Duration::from_secs(600);
/// How long a request's header may take to come.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Largest header of a request.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Longest text of an answer.
const ANSWER_BYTES_MAX: usize = 4 << 10;
/// How long answers may take to leave when a listener ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// An address that is listened at, as a guest holds it. Dropped, it is closed.
#[allow(unreachable_pub, reason = "the derived bindings export it again")]
pub struct Listener {
    held: Arc<Held>,
    #[cfg(test)]
    address: SocketAddr,
}

impl Listener {
    /// Listens.
    pub(crate) async fn open(name: &str, target: &Target) -> Result<Self, GuestError> {
        let address = target.listen;
        let listener = TcpListener::bind(address).await.map_err(|error| refused(name, address, &error))?;
        let address = listener.local_addr().unwrap_or(address); // port 0: any
        let limits = millrace_listen::Limits {
            connections: target.connections_max,
            connection_time: CONNECTION_TIME,
            header_time: HEADER_TIME,
            header_bytes: HEADER_BYTES_MAX,
            farewell: FAREWELL,
        };
        let held = Arc::new(Held::new(target.clone()));
        let (serving, ending) = (Arc::clone(&held), Arc::clone(&held));
        let stop = async move { ending.ended().await };
        let serve = move |request| Arc::clone(&serving).serve(request);
        // Ends with the listener, within the farewell.
        tokio::spawn(millrace_listen::serve(listener, limits, "http_listener", stop, serve));
        tracing::info!(connection = name, %address, "listening for requests");
        Ok(Self {
            held,
            #[cfg(test)]
            address,
        })
    }
}

fn fatal(message: String) -> GuestError {
    GuestError::fatal("http-listener.denied", message)
}

/// Whether the address can be listened at, for `millrace doctor`.
pub(crate) async fn check(target: &Target) -> Result<Reached, Unreached> {
    let address = target.listen;
    match TcpListener::bind(address).await {
        Ok(_) => Ok(Reached { said: format!("{address} can be listened at"), ..Reached::default() }),
        Err(error) => Err(Unreached {
            said: format!("{address} can't be listened at: {error}"),
            mend: "end what listens there, or change `listen` of the connection".to_owned(),
        }),
    }
}

/// Why an address can't be listened at.
fn refused(name: &str, address: SocketAddr, error: &std::io::Error) -> GuestError {
    let message = |hint: &str| format!("connection {name} can't listen at {address}: {error}{hint}");
    match error.kind() {
        // The task's predecessor may still be going.
        std::io::ErrorKind::AddrInUse => GuestError::retriable(
            "http-listener.in-use",
            message("; another process or connector listens there: end it, or change `listen`"),
        ),
        _ => GuestError::fatal("http-listener.refused", message("; change `listen`")),
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.held.end();
    }
}

pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    http_listener::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl GuestState {
    fn listener(&self, handle: &Resource<Listener>) -> Option<&Listener> {
        self.table.get(handle).ok()
    }
}

impl http_listener::Host for GuestState {}

impl http_listener::HostListener for GuestState {
    async fn open(&mut self, connection: String) -> Result<Resource<Listener>, GuestError> {
        let granted = self.granted(&connection).map_err(fatal)?;
        let connection::Target::HttpListener(target) = granted.target() else {
            return Err(fatal(granted.is_not("http_listener")));
        };
        let listener = Listener::open(&connection, target).await?;
        self.table.push(listener).map_err(|error| fatal(format!("the listener can't be held: {error}")))
    }

    async fn take(
        &mut self,
        listener: Resource<Listener>,
        requests_max: u32,
        bytes_max: u32,
        wait_ms: u32,
    ) -> Vec<Request> {
        let Some(held) = self.listener(&listener).map(|listener| Arc::clone(&listener.held)) else {
            return Vec::new();
        };
        let wait = Duration::from_millis(u64::from(wait_ms));
        tokio::select! {
            biased;
            () = self.stopping.raised() => Vec::new(),
            taken = held.take(requests_max as usize, bytes_max as usize, wait) => taken,
        }
    }

    fn answer(&mut self, listener: Resource<Listener>, answers: Vec<Answer>) {
        if let Some(listener) = self.listener(&listener) {
            for answer in answers {
                listener.held.answer(answer.id, answer.status, answer.body);
            }
        }
    }

    fn drop(&mut self, listener: Resource<Listener>) -> wasmtime::Result<()> {
        self.table.delete(listener)?;
        Ok(())
    }
}
