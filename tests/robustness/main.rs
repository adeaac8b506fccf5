//! The broker's binary where resources are short: a disk that fills up, few open files, little memory. It refuses or slows down, says so, and
//! goes on by itself.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]

mod full_disk;
mod memory;
mod open_files;

use std::time::Duration;

use millrace_client::{Client, ClientConfig};
use tokio::runtime::Runtime;

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn client(address: impl ToString) -> Client {
    Client::new(ClientConfig { bootstrap: vec![address.to_string()], ..ClientConfig::default() }).unwrap()
}
