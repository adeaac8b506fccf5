//! Sessions of the capability `postgres`, and the connectors on them, against a real server.
//!
//! The server's protocol gone wrong is tested beside the host's code. Here is what only a real server can show: its types, its
//! authentication, its errors, its COPY, what is left of a session that ends in the middle.

mod cases;
mod doctor;
mod fence;
mod full_disk;
mod kill;
mod replica;
mod script;
mod sessions;
mod source;
mod tls;
mod types;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use millrace_tests::Postgres;

/// A database of its own, on a server that the tests which run at the same time share. It ends with the last of them.
pub(crate) fn database(name: &str) -> Arc<Postgres> {
    static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let server = shared.upgrade().unwrap_or_else(|| Arc::new(Postgres::start(&[])));
    *shared = Arc::downgrade(&server);
    server.create(name);
    server
}
