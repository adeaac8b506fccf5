//! A broker as a process of its own, as a user would start it.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::binary;
use crate::process::{Process, command, wait_until};

/// Longest time from start to the first accepted connection on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Ports from here on are given out by [`free_address`]; all are below those of outgoing connections.
const PORT_BASE: u16 = 19_092;

/// Longest time of a clean stop on a busy machine: thousands of partitions wait for the disk a few times each.
const STOP_LIMIT: Duration = Duration::from_secs(120);

/// `millrace broker` on a free port of the loopback address, with its own data directory.
#[derive(Debug)]
pub struct Broker {
    process: Option<Process>,
    data_dir: PathBuf,
    address: SocketAddr,
    settings: Vec<String>,
    /// A shell's words before the broker's command, which narrow what it has.
    narrowed: Option<String>,
}

impl Broker {
    /// Starts a broker that keeps its data and its log (`broker.log`) below `folder`.
    pub fn start(folder: &Path, settings: &[&str]) -> Broker {
        Broker::on(&folder.join("data"), settings)
    }

    /// Starts a broker whose data directory is a file system of its own, of a size as `mount` takes it. It ends with the broker.
    /// The user must be allowed to `unshare -m`.
    pub fn start_on_own_disk(folder: &Path, size: &str, settings: &[&str]) -> Broker {
        let data_dir = folder.join("data");
        std::fs::create_dir_all(&data_dir).expect("a folder for the data can be created");
        let mount = format!("mount -t tmpfs -o size={size} none '{}'", data_dir.display());
        Broker::narrowed(&data_dir, settings, Some(mount))
    }

    /// Starts a broker that may have so many files open, and can't raise that.
    pub fn start_with_open_files(folder: &Path, files_max: u32, settings: &[&str]) -> Broker {
        Broker::narrowed(&folder.join("data"), settings, Some(format!("ulimit -n {files_max}")))
    }

    /// Starts a broker on a data directory, with its log beside that.
    pub fn on(data_dir: &Path, settings: &[&str]) -> Broker {
        Broker::narrowed(data_dir, settings, None)
    }

    fn narrowed(data_dir: &Path, settings: &[&str], narrowed: Option<String>) -> Broker {
        let mut broker = Broker {
            process: None,
            data_dir: data_dir.to_path_buf(),
            address: free_address(),
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            narrowed,
        };
        broker.restart();
        broker
    }

    /// Starts the broker again on the same data and address; it must have ended.
    pub fn restart(&mut self) {
        let mut start = match &self.narrowed {
            None => command(binary()),
            Some(narrow) => {
                let mut shell = command(if narrow.starts_with("mount") { "unshare" } else { "sh" });
                let words: &[&str] = if narrow.starts_with("mount") { &["-m", "sh", "-c"] } else { &["-c"] };
                shell.args(words).arg(format!("{narrow} && exec \"$0\" \"$@\"")).arg(binary());
                shell
            }
        };
        start
            .arg("broker")
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(["--listen", &self.address.to_string()]);
        for setting in &self.settings {
            start.args(["--set", setting]);
        }
        let log = self.data_dir.with_file_name("broker.log");
        let mut process = Process::spawn(&mut start, log);
        wait_until("the broker's port", START_LIMIT, || {
            let ended = process.ended();
            assert!(ended.is_none(), "the broker ended: {ended:?}\n{}", process.output());
            TcpStream::connect(self.address).is_ok()
        });
        self.process = Some(process);
    }

    /// Properties for the next start.
    pub fn set(&mut self, settings: &[&str]) {
        self.settings = settings.iter().map(|&setting| setting.to_owned()).collect();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// SIGTERM, and waits for the clean end.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate();
            process.succeed(STOP_LIMIT);
        }
    }

    /// The process's id; it must run.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("the broker runs").id()
    }

    /// `HOST:PORT`.
    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// Where the partitions lie.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// What the broker has printed so far, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data_dir.with_file_name("broker.log")).unwrap_or_default()
    }
}

/// A loopback address that nobody listens on, and that nobody else is given, also while its broker is down.
///
/// A port that was free a moment ago may be taken by another test, or by a client's outgoing connection. So every
/// broker has an address of its own within 127.0.0.0/8, made of this process's id and a counter: clients' connections
/// come from 127.0.0.1.
pub fn free_address() -> SocketAddr {
    static COUNTER: AtomicU8 = AtomicU8::new(1);
    let last = COUNTER.fetch_add(1, Ordering::Relaxed);
    assert!(last < u8::MAX, "one test process has started 254 brokers; give the address another byte");
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let port = PORT_BASE + u16::from(high);
    SocketAddr::from(([127, middle, low, last], port))
}
