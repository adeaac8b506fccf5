//! Tables of Apache Iceberg over two real S3 servers that have no code in common, read back by two engines that have none either: pyiceberg
//! and DuckDB.

mod catalog;
mod data;
mod faults;
mod lake;
mod sink;

use std::fs;
use std::path::Path;
use std::process::Command;

use millrace_tests::binary;
use millrace_tests::process::command;
use millrace_tests::s3::{Kind, S3, SECRET_KEY};

/// Both servers.
const KINDS: [Kind; 2] = [Kind::VersityGw, Kind::S3sFs];

/// `millrace run` of `pipeline.yaml` of `folder` to its end.
fn run(folder: &Path) -> Command {
    let mut run = command(binary());
    run.args(["run", "pipeline.yaml", "--data-dir", "data", "--listen", "127.0.0.1:0", "--exit-when-done"]);
    run.current_dir(folder).env("MILLRACE_LOG", "warn").env("S3_SECRET", SECRET_KEY);
    run
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    fs::write(folder.join(name), text).expect("the temporary folder can be written");
}

/// A folder with a server of this kind.
fn server(kind: Kind) -> (tempfile::TempDir, S3) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = S3::start(kind, folder.path());
    (folder, server)
}
