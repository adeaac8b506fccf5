//! The broker's binary where resources are short: a disk that fills up, few file descriptors for many partitions, more requests than
//! memory for them. It refuses or slows down, says so, and goes on by itself.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]

mod full_disk;
mod memory;
mod partitions;

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

/// A line of `/proc/<id>/status`, in kB.
fn status_kb(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}
