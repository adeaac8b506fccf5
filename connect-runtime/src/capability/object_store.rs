//! Object stores over connections of kind `s3` (`wit/object-store.wit`): the host signs and sends, the guest knows keys.
//!
//! | file | what is in it |
//! |---|---|
//! | `settings` | a connection's settings made into a [`Target`] |
//! | `key` | what keys may be, and how they stand in a URL |
//! | `client` | one signed request with its limits |
//! | `calls` | what S3 can be asked |
//! | `answer` | what S3 answers: documents, and what its refusals mean |
//!
//! The signature and the search for credentials are the crate `object_store`'s ([ADR 23](../../../docs/adr/0023-object-store-interface.md)).
//! Deliberately absent: repetition (the guest or the worker repeats), redirects, buckets being made, versions of objects.

mod answer;
mod calls;
mod check;
mod client;
mod key;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinSet;
use wasmtime::component::{HasSelf, Linker};

pub(crate) use check::check;
pub(crate) use client::Target;
pub(crate) use settings::open;

use self::answer::fatal;
use crate::component::bindings::millrace::connect::object_store;
use crate::component::bindings::millrace::connect::object_store::{
    ByteRange, Change, Listing, Meta, Object, Refusal, Upload, Uploads,
};
use crate::component::state::GuestState;
use crate::connection::{self, Connection};

/// Most changes of one call.
const CHANGES_MAX: usize = 10_000;

pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    object_store::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl object_store::Host for GuestState {
    async fn get(
        &mut self,
        connection: String,
        key: String,
        range: Option<ByteRange>,
        bytes_max: u32,
    ) -> Result<Object, Refusal> {
        let granted = self.bucket(&connection)?;
        target(&granted)?.get(&key, range, bytes_max).await
    }

    async fn head(&mut self, connection: String, key: String) -> Result<Meta, Refusal> {
        let granted = self.bucket(&connection)?;
        target(&granted)?.head(&key).await
    }

    async fn list(
        &mut self,
        connection: String,
        prefix: String,
        after: Option<String>,
        max: u32,
    ) -> Result<Listing, Refusal> {
        let granted = self.bucket(&connection)?;
        target(&granted)?.list(&prefix, after.as_deref(), max).await
    }

    async fn list_uploads(
        &mut self,
        connection: String,
        prefix: String,
        after: Option<Upload>,
        max: u32,
    ) -> Result<Uploads, Refusal> {
        let granted = self.bucket(&connection)?;
        target(&granted)?.list_uploads(&prefix, after.as_ref(), max).await
    }

    async fn apply(&mut self, connection: String, changes: Vec<Change>) -> Vec<Result<String, Refusal>> {
        let granted = match self.bucket(&connection) {
            Ok(granted) => granted,
            Err(refusal) => return changes.iter().map(|_| Err(refusal.clone())).collect(),
        };
        apply(&granted, changes).await
    }
}

impl GuestState {
    fn bucket(&self, name: &str) -> Result<Arc<Connection>, Refusal> {
        self.granted(name).map_err(|why| fatal("s3.denied", why))
    }
}

/// What the connection leads to; one of another kind is not for this interface.
fn target(connection: &Connection) -> Result<&Target, Refusal> {
    match connection.target() {
        connection::Target::S3(target) => Ok(target),
        _ => Err(fatal("s3.denied", connection.is_not("s3"))),
    }
}

/// Keeps as many changes under way as may be.
async fn apply(connection: &Arc<Connection>, changes: Vec<Change>) -> Vec<Result<String, Refusal>> {
    let in_flight = match target(connection) {
        Ok(target) => target.in_flight(),
        Err(refusal) => return changes.iter().map(|_| Err(refusal.clone())).collect(),
    };
    let count = changes.len();
    let not_done =
        || fatal("s3.limit", format!("not done: of {count} changes at once at most {CHANGES_MAX} are"));
    let mut answers: Vec<_> = (0..count).map(|_| Err(not_done())).collect();
    let mut waiting: VecDeque<_> = changes.into_iter().take(CHANGES_MAX).enumerate().collect();
    let mut running = JoinSet::new();
    loop {
        while running.len() < in_flight
            && let Some((at, change)) = waiting.pop_front()
        {
            let connection = Arc::clone(connection);
            running.spawn(async move {
                match target(&connection) {
                    Ok(target) => (at, target.change(change).await),
                    Err(refusal) => (at, Err(refusal)),
                }
            });
        }
        match running.join_next().await {
            Some(Ok((at, answer))) => answers[at] = answer,
            Some(Err(error)) => {
                tracing::error!(%error, "a request to an object store ended without an answer")
            }
            None => return answers,
        }
    }
}
