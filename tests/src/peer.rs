//! A real Apache Kafka beside the broker under test, out of the jars that `cargo xtask test` installed.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use crate::process::command;
use crate::{binary, tools};

/// Ports that a node takes besides its own; `kafka.sh` puts the controller ten above.
const CONTROLLER_ABOVE: u16 = 10;

/// One node, broker and controller in one, in KRaft mode. It is stopped when the value is dropped.
#[derive(Debug)]
pub struct Kafka {
    bootstrap: String,
    folder: PathBuf,
}

impl Kafka {
    /// Starts Apache Kafka with its data below `folder`.
    pub fn start(folder: &Path, settings: &[&str]) -> Kafka {
        let port = free_port();
        let mut start = tools::kafka_script();
        start.env("KAFKA_BROKER_HEAP", "-Xms128M -Xmx512M");
        start.arg("start").args(["--port", &port.to_string(), "--dir"]).arg(folder);
        settings.iter().for_each(|setting| {
            start.args(["--set", setting]);
        });
        let output = start.output().expect("kafka.sh can be run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "Apache Kafka does not start:\n{said}");
        Kafka { bootstrap: format!("127.0.0.1:{port}"), folder: folder.to_path_buf() }
    }

    /// `HOST:PORT`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let mut stop = command(binary::repository().join("bench/peers/kafka.sh"));
        let _ = stop.args(["stop", "--dir"]).arg(&self.folder).output();
    }
}

/// A port of the loopback address that is free, with the controller's.
fn free_port() -> u16 {
    let bound = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
    let free = || {
        let port = bound(0)?.local_addr().ok()?.port();
        bound(port.checked_add(CONTROLLER_ABOVE)?).map(|_| port)
    };
    std::iter::repeat_with(free).take(100).flatten().next().expect("one of 100 pairs of ports is free")
}
