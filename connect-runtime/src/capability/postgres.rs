//! PostgreSQL over connections of kind `postgres` (`wit/postgres.wit`): the host holds the sessions, the guest never sees an address
//! or a secret.
//!
//! | file | what is in it |
//! |---|---|
//! | `settings`, `address` | a connection's settings made into a [`Target`] |
//! | `connect`, `tls` | how a session begins: hosts, TLS, authentication |
//! | `wire` | messages over a socket, bounded |
//! | `session` | statements, round trip by round trip |
//! | `copy` | COPY, and the stream of a replication |
//! | `problem` | errors in the classes of the contract |
//! | `check` | whether a connection is reached |
//!
//! The protocol's messages are those of `postgres-protocol`. Why no driver is used: docs/adr/0021-postgres-sessions.md.
//!
//! Deliberately absent: pools (a task holds its sessions), types (values are text), LISTEN, GSSAPI, client certificates.

mod address;
mod check;
mod connect;
mod copy;
mod problem;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::task::JoinSet;
use wasmtime::component::{HasSelf, Linker, Resource};

pub(crate) use check::check;
pub(crate) use connect::Target;
pub(crate) use settings::open;

use self::session::Session;
use crate::component::bindings::millrace::connect::postgres;
use crate::component::bindings::millrace::connect::postgres::{
    BatchFailure, Chunk, Mode, Problem, Rows, Statement, Status,
};
use crate::component::state::GuestState;
use crate::connection;

/// A session as a guest holds it. Dropped, it ends, and what it did not commit is rolled back.
#[allow(unreachable_pub, reason = "the derived bindings export it again")]
pub struct Held {
    /// None: it is in `sent`, or was lost there.
    session: Option<Session>,
    sent: Option<Sent>,
    _one: One,
}

/// A round trip that goes on while the guest does something else. Dropped, it ends, and the session with it.
struct Sent {
    /// Where the session stood before.
    status: Status,
    /// The session comes back with the answer. One task.
    answer: JoinSet<(Session, Result<Rows, Problem>)>,
}

impl Held {
    /// The session, for a call that is not about what was sent.
    fn session(&mut self) -> Result<&mut Session, Problem> {
        let sent = self.sent.is_some();
        self.session.as_mut().ok_or_else(|| match sent {
            true => problem::fatal("postgres.usage", "an answer is on its way; receive it first".into()),
            false => closed(),
        })
    }

    fn send(&mut self, sql: String) -> Result<(), Problem> {
        let status = self.session()?.status();
        let Some(mut session) = self.session.take() else { return Err(closed()) };
        let mut answer = JoinSet::new();
        answer.spawn(async move {
            let rows = session.rows_of(&sql).await;
            (session, rows)
        });
        self.sent = Some(Sent { status, answer });
        Ok(())
    }

    async fn receive(&mut self, wait: Duration) -> Result<Option<Rows>, Problem> {
        let Some(sent) = &mut self.sent else {
            return Err(problem::fatal("postgres.usage", "nothing was sent".into()));
        };
        let Ok(came) = tokio::time::timeout(wait, sent.answer.join_next()).await else { return Ok(None) };
        self.sent = None;
        let Some(Ok((session, rows))) = came else { return Err(closed()) };
        self.session = Some(session);
        rows.map(Some)
    }

    fn status(&self) -> Status {
        let sent = self.sent.as_ref().map(|sent| sent.status);
        sent.or_else(|| self.session.as_ref().map(Session::status)).unwrap_or(Status::Closed)
    }
}

/// What was said to a session that is over.
fn closed() -> Problem {
    problem::lost("postgres.closed", "the session is over".into())
}

/// How many sessions an instance has open.
#[derive(Debug, Default)]
pub(crate) struct Open(Arc<AtomicUsize>);

/// One of them.
struct One(Arc<AtomicUsize>);

impl Open {
    /// Another one, if there may be.
    fn one_of(&self, most: usize) -> Option<One> {
        let more = |open: usize| (open < most).then_some(open + 1);
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        Some(One(Arc::clone(&self.0)))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let at_rest = self.session.take().filter(Session::is_at_rest);
        let (Some(session), Ok(runtime)) = (at_rest, tokio::runtime::Handle::try_current()) else { return };
        // The few bytes mostly fit into the socket at once; what comes later may not find a runtime any more.
        let mut end = Box::pin(session.wire.end());
        if end.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            runtime.spawn(end);
        }
    }
}

pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    postgres::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl GuestState {
    async fn open_session(&mut self, name: &str, mode: Mode) -> Result<Resource<Held>, Problem> {
        let denied = |why| problem::fatal("postgres.denied", why);
        let granted = self.granted(name).map_err(denied)?;
        let connection::Target::Postgres(target) = granted.target() else {
            return Err(denied(granted.is_not("postgres")));
        };
        let most = target.sessions();
        let one = self.postgres.one_of(most).ok_or_else(|| {
            let message =
                format!("{most} sessions are open; close one, or raise `sessions` of connection {name}");
            problem::fatal("postgres.sessions", message)
        })?;
        let session = target.open(mode).await?;
        let held = Held { session: Some(session), sent: None, _one: one };
        self.table.push(held).map_err(|error| {
            problem::fatal("postgres.sessions", format!("the session can't be held: {error}"))
        })
    }

    /// What is behind a handle.
    fn held(&mut self, handle: &Resource<Held>) -> Result<&mut Held, Problem> {
        let held = self.table.get_mut(handle).ok();
        held.ok_or_else(|| problem::fatal("postgres.closed", "no such session".into()))
    }

    /// The session behind a handle.
    fn session(&mut self, handle: &Resource<Held>) -> Result<&mut Session, Problem> {
        self.held(handle)?.session()
    }
}

impl postgres::Host for GuestState {}

impl postgres::HostSession for GuestState {
    async fn open(&mut self, connection: String, mode: Mode) -> Result<Resource<Held>, Problem> {
        self.open_session(&connection, mode).await
    }

    fn status(&mut self, session: Resource<Held>) -> Status {
        self.held(&session).map_or(Status::Closed, |held| held.status())
    }

    fn parameter(&mut self, session: Resource<Held>, name: String) -> Option<String> {
        self.session(&session).ok()?.parameter(&name)
    }

    async fn run(&mut self, session: Resource<Held>, sql: String) -> Result<(), Problem> {
        self.session(&session)?.run(&sql).await
    }

    async fn rows_of(&mut self, session: Resource<Held>, sql: String) -> Result<Rows, Problem> {
        self.session(&session)?.rows_of(&sql).await
    }

    fn send(&mut self, session: Resource<Held>, sql: String) -> Result<(), Problem> {
        self.held(&session)?.send(sql)
    }

    async fn receive(&mut self, session: Resource<Held>, wait_ms: u32) -> Result<Option<Rows>, Problem> {
        self.held(&session)?.receive(Duration::from_millis(wait_ms.into())).await
    }

    async fn query(&mut self, session: Resource<Held>, statement: Statement) -> Result<Rows, Problem> {
        self.session(&session)?.query(&statement).await
    }

    async fn batch(
        &mut self,
        session: Resource<Held>,
        statements: Vec<Statement>,
    ) -> Result<Vec<u64>, BatchFailure> {
        let session = self.session(&session).map_err(|problem| BatchFailure { index: 0, problem })?;
        session.batch(&statements).await
    }

    async fn copy(&mut self, session: Resource<Held>, sql: String) -> Result<(), Problem> {
        self.session(&session)?.copy(&sql).await
    }

    async fn copy_write(&mut self, session: Resource<Held>, data: Vec<u8>) -> Result<(), Problem> {
        self.session(&session)?.copy_write(data).await
    }

    async fn copy_read(
        &mut self,
        session: Resource<Held>,
        bytes_max: u32,
        wait_ms: u32,
    ) -> Result<Chunk, Problem> {
        self.session(&session)?.copy_read(bytes_max, Duration::from_millis(wait_ms.into())).await
    }

    async fn copy_finish(&mut self, session: Resource<Held>) -> Result<u64, Problem> {
        self.session(&session)?.copy_finish().await
    }

    async fn copy_abort(&mut self, session: Resource<Held>, reason: String) -> Result<(), Problem> {
        self.session(&session)?.copy_abort(&reason).await
    }

    fn drop(&mut self, session: Resource<Held>) -> wasmtime::Result<()> {
        self.table.delete(session)?;
        Ok(())
    }
}
