//! Real S3 servers, which `cargo xtask test` built: two that have no code in common.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::binary;
use crate::broker::free_address;
use crate::process::{Process, command, wait_until};
use crate::tools;

/// Longest time until a server answers, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The credentials of every server.
pub const ACCESS_KEY: &str = "testaccess";
/// Their secret.
pub const SECRET_KEY: &str = "testsecretkey";
/// The bucket that is there from the start.
pub const BUCKET: &str = "lake";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Versity's gateway, in Go.
    VersityGw,
    /// `s3s-fs`, in Rust. It does not list unfinished uploads.
    S3sFs,
}

/// Both servers.
pub const KINDS: [Kind; 2] = [Kind::VersityGw, Kind::S3sFs];

/// A folder with a server of this kind.
pub fn server(kind: Kind) -> (tempfile::TempDir, S3) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = S3::start(kind, folder.path());
    (folder, server)
}

/// `millrace run` of `pipeline.yaml` of `folder` to its end, which knows the stores' secret.
pub fn run(folder: &Path) -> Command {
    let mut run = command(binary());
    run.args(["run", "pipeline.yaml", "--data-dir", "data", "--listen", "127.0.0.1:0", "--exit-when-done"]);
    run.current_dir(folder).env("MILLRACE_LOG", "warn").env("S3_SECRET", SECRET_KEY);
    run
}

/// Fails unless the table at the end of a run says of every sink that nothing is left for it in the topic.
pub fn check_lag(said: &str) {
    let heading = said.lines().find(|line| line.contains("DEAD LETTERS")).expect("a table");
    // Columns are told apart by two spaces.
    let cells = |line: &str| -> Vec<String> {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let at = cells(heading).iter().position(|name| name == "LAG").expect("a column");
    let mut sinks = 0;
    for row in said
        .lines()
        .map(cells)
        .filter(|row| row.get(1).is_some_and(|state| state == "done") && row.len() > at)
    {
        if row[at] != "-" {
            assert_eq!(row[at], "0", "{said}");
            sinks += 1;
        }
    }
    assert!(sinks > 0, "no sink in {said}");
}

/// Writes a file of a test's folder.
pub fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), text).expect("the temporary folder can be written");
}

/// A server with one bucket. It is killed when the value is dropped.
#[derive(Debug)]
pub struct S3 {
    kind: Kind,
    address: String,
    folder: PathBuf,
    process: Option<Process>,
}

impl S3 {
    /// Starts a server with its data below `folder`.
    pub fn start(kind: Kind, folder: &Path) -> S3 {
        let folder = folder.join("s3");
        std::fs::create_dir_all(folder.join(BUCKET)).expect("the temporary folder can be written");
        let mut server = S3 { kind, address: free_address().to_string(), folder, process: None };
        server.restart();
        server
    }

    /// Starts it again with its data, at its address.
    pub fn restart(&mut self) {
        self.begin(&[]);
    }

    /// The same, and from now on nobody may change anything. Versity's gateway only.
    pub fn restart_read_only(&mut self) {
        assert_eq!(self.kind, Kind::VersityGw);
        self.kill();
        self.begin(&["--readonly"]);
    }

    fn begin(&mut self, further: &[&str]) {
        let mut start = match self.kind {
            Kind::VersityGw => {
                let mut start = command(tools::versitygw());
                start.args(["--port", &self.address, "--access", ACCESS_KEY, "--secret", SECRET_KEY]);
                start.args(["--quiet", "--keep-alive"]).args(further).arg("posix").arg(&self.folder);
                start
            }
            Kind::S3sFs => {
                let (host, port) = self.address.split_once(':').expect("host and port");
                let mut start = command(tools::s3s_fs());
                start.args(["--host", host, "--port", port]);
                start.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]).arg(&self.folder);
                start
            }
        };
        let mut process = Process::spawn(&mut start, self.folder.with_extension("log"));
        wait_until("the S3 server to listen", START_LIMIT, || {
            let ended = process.ended();
            assert!(ended.is_none(), "the S3 server ended: {ended:?}\n{}", process.output());
            TcpStream::connect(&self.address).is_ok()
        });
        self.process = Some(process);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// `http://HOST:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Which server it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What lies in the bucket, as files: keys are paths. What begins with a dot is the server's own.
    pub fn objects(&self) -> Vec<String> {
        let root = self.folder.join(BUCKET);
        let (mut keys, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
                match entry.file_type() {
                    _ if name.starts_with('.') => {}
                    Ok(kind) if kind.is_dir() => folders.push(path),
                    Ok(_) => keys.extend(path.strip_prefix(&root).map(|key| key.display().to_string())),
                    Err(_) => {}
                }
            }
        }
        keys.sort();
        keys
    }

    /// The bucket as a folder.
    pub fn folder(&self) -> PathBuf {
        self.folder.join(BUCKET)
    }

    /// What a pipeline declares under `connections:` for it.
    pub fn connection(&self, name: &str, further: &str) -> String {
        let endpoint = self.endpoint();
        format!(
            "  {name}: {{ s3: {{ bucket: {BUCKET}, endpoint: \"{endpoint}\", allow_http: true, access_key_id: {ACCESS_KEY}, \
             secret_access_key: \"${{env:S3_SECRET}}\"{further} }} }}\n"
        )
    }
}
