//! A real PostgreSQL server for a test: its own data folder, its own port, gone with the value.
//!
//! Its programs come from the distribution; `cargo xtask test` installs them where it may. The server does not run as root: then
//! it becomes the user `postgres`.

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use crate::broker::free_address;
use crate::process::{Process, command, wait_until};

/// Longest time until a server answers, or has ended, on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// The password of the roles that need one.
pub const PASSWORD: &str = "hunter2's secret";

/// Who may come in, and how. Everything else is trusted.
const HBA: &str = "\
local all all trust
host all scram 127.0.0.0/8 scram-sha-256
host all md5 127.0.0.0/8 md5
hostssl all clear 127.0.0.0/8 password
hostnossl all clear 127.0.0.0/8 password
hostssl all only_tls 127.0.0.0/8 trust
host all only_tls 127.0.0.0/8 reject
host all all 127.0.0.0/8 trust
host replication all 127.0.0.0/8 trust
";

/// A server; ends when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    folder: TempDir,
    address: SocketAddr,
    /// Where it listens, too, and what its certificate does not name.
    unnamed: IpAddr,
    /// What a shell does before it becomes the server.
    before: Option<String>,
}

impl Postgres {
    /// Starts a server with logical replication and TLS, as `name = value` lines of its configuration have it besides.
    pub fn start(settings: &[&str]) -> Postgres {
        Postgres::start_after(None, settings)
    }

    /// Starts a server that sees a file system of its own below [`Postgres::small_folder`], of a size as `mount` takes it. It ends with the server, so
    /// that a restart finds it empty. The user must be allowed to `unshare -m`.
    pub fn start_with_small_disk(size: &str) -> Postgres {
        Postgres::start_after(Some(size), &[])
    }

    fn start_after(small_disk: Option<&str>, settings: &[&str]) -> Postgres {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (address, unnamed) = (free_address(), free_address().ip());
        let mut server = Postgres { process: None, folder, address, unnamed, before: None };
        if let Some(size) = small_disk {
            let small = server.small_folder();
            fs::create_dir(&small).expect("a folder can be made");
            let owner =
                server_user().map_or(String::new(), |(user, group)| format!(",uid={user},gid={group}"));
            let options = format!("size={size},mode=700{owner}");
            server.before = Some(format!("mount -t tmpfs -o {options} none '{}'", small.display()));
        }
        if let Some((user, group)) = server_user() {
            chown(server.folder.path(), Some(user), Some(group)).expect("the folder can be given away");
        }
        let mut initdb = server.program("initdb");
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]);
        let output = initdb.arg("-D").arg(server.data()).output().expect("initdb can be run");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        server.configure(settings);
        server.restart();
        let roles = format!(
            "SET password_encryption = 'scram-sha-256'; CREATE ROLE scram LOGIN SUPERUSER PASSWORD '{password}';
             CREATE ROLE clear LOGIN PASSWORD '{password}'; CREATE ROLE only_tls LOGIN;
             SET password_encryption = 'md5'; CREATE ROLE md5 LOGIN PASSWORD '{password}'",
            password = PASSWORD.replace('\'', "''")
        );
        server.sql("postgres", &roles);
        server
    }

    fn configure(&self, settings: &[&str]) {
        let made = rcgen::generate_simple_self_signed([self.host()]).expect("a certificate");
        self.write("server.crt", &made.cert.pem());
        self.write("server.key", &made.signing_key.serialize_pem());
        self.write("pg_hba.conf", HBA);
        let mut own = format!(
            "listen_addresses = '{},{}'\nport = {}\nunix_socket_directories = '{}'\nssl = on\n\
             wal_level = logical\nmax_wal_senders = 10\nmax_replication_slots = 10\nmax_connections = 60\n\
             fsync = off\nlog_line_prefix = '%m [%p] %u %a '\n",
            self.address.ip(),
            self.unnamed,
            self.port(),
            self.folder.path().display()
        );
        for setting in settings {
            own.push_str(setting);
            own.push('\n');
        }
        let file = self.data().join("postgresql.conf");
        let standard = fs::read_to_string(&file).expect("initdb wrote one");
        fs::write(&file, standard + &own).expect("the configuration can be written");
    }

    /// A file that the server reads.
    fn write(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        fs::write(&path, text).expect("the data folder can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode can be set");
        if let Some((user, group)) = server_user() {
            chown(&path, Some(user), Some(group)).expect("it can be given away");
        }
    }

    /// Starts it on its data and port; it must have ended.
    pub fn restart(&mut self) {
        let mut start = self.server();
        let mut process = Process::spawn(&mut start, self.log_file());
        wait_until("the database to answer", LIMIT, || {
            assert!(process.ended().is_none(), "the server ended:\n{}", process.output());
            self.try_sql("postgres", "SELECT 1").status.success()
        });
        self.process = Some(process);
    }

    /// The command that becomes the server.
    fn server(&self) -> Command {
        let Some(before) = &self.before else {
            let mut start = self.program("postgres");
            start.arg("-D").arg(self.data());
            return start;
        };
        let (postgres, data) = (programs().join("postgres"), self.data());
        let become_user = server_user().map_or(String::new(), |(user, group)| {
            format!("setpriv --reuid {user} --regid {group} --clear-groups ")
        });
        let script =
            format!("{before} && exec {become_user}'{}' -D '{}'", postgres.display(), data.display());
        let mut start = command("unshare");
        start.args(["-m", "sh", "-c", &script]);
        start.current_dir(self.folder.path()).env("LC_ALL", "C").env_remove("PGDATA");
        start
    }

    /// Where the small file system is, for a tablespace.
    pub fn small_folder(&self) -> PathBuf {
        self.folder.path().join("small")
    }

    /// Ends it as a crash does: sessions break off, nothing is tidied up; what was committed is in the log of the next start.
    pub fn crash(&mut self) {
        self.end("QUIT");
    }

    /// Ends it in order: sessions are told.
    pub fn stop(&mut self) {
        self.end("INT");
    }

    fn end(&mut self, signal: &str) {
        if let Some(mut process) = self.process.take() {
            let _ = Command::new("kill").args([&format!("-{signal}"), &process.id().to_string()]).status();
            process.wait(LIMIT);
        }
    }

    /// The address that its certificate names.
    pub fn host(&self) -> String {
        self.address.ip().to_string()
    }

    /// Another address of it.
    pub fn unnamed_host(&self) -> String {
        self.unnamed.to_string()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of a database, as a superuser without a password.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }

    /// The folder of its Unix socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its own certificate, as PEM.
    pub fn certificate(&self) -> String {
        fs::read_to_string(self.data().join("server.crt")).expect("it was written")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Makes an empty database.
    pub fn create(&self, database: &str) {
        self.sql("postgres", &format!("CREATE DATABASE \"{database}\""));
    }

    /// Runs statements with psql; what they give, a line per row, values with `|` between them.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let output = self.try_sql(database, statements);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statements}: {said}\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// The same, whatever comes of it.
    pub fn try_sql(&self, database: &str, statements: &str) -> Output {
        let mut psql = command(programs().join("psql"));
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &self.url(database),
            "-c",
            statements,
        ]);
        psql.env("PGOPTIONS", "-c timezone=UTC").output().expect("psql can be run")
    }

    /// Columns, count and hash of the rows of each table: alike in two databases whose tables hold the same. None: one of them is not
    /// there.
    pub fn fingerprint(&self, database: &str, tables: &[&str]) -> Option<String> {
        let of = |table: &&str| {
            format!(
                "SELECT '{table}', (SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = '{table}'::regclass \
                 AND attnum > 0), count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM {table} t"
            )
        };
        let queries: Vec<String> = tables.iter().map(of).collect();
        let output = self.try_sql(database, &queries.join("; "));
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// pgbench on a database.
    pub fn pgbench(&self, database: &str) -> Command {
        let mut bench = self.program("pgbench");
        bench.env("PGHOST", self.host()).env("PGPORT", self.port().to_string());
        bench.env("PGUSER", "postgres").env("PGDATABASE", database);
        bench
    }

    fn program(&self, name: impl AsRef<Path>) -> Command {
        let mut program = command(programs().join(name));
        program.current_dir(self.folder.path()).env("LC_ALL", "C").env_remove("PGDATA");
        if let Some((user, group)) = server_user() {
            program.uid(user).gid(group);
        }
        program
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}

/// The folder of the newest server's programs.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("initdb")).find(|file| file.exists());
    if let Some(folder) = on_path.and_then(|file| Some(file.canonicalize().ok()?.parent()?.to_owned())) {
        return folder;
    }
    let version =
        |path: &PathBuf| path.file_name().and_then(OsStr::to_str).and_then(|name| name.parse::<u32>().ok());
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed.map(|entry| entry.path()).filter(|path| path.join("bin/initdb").exists());
    let newest = newest.max_by_key(version).unwrap_or_else(|| {
        panic!("no PostgreSQL server is installed; run `cargo xtask test --only setup`, or apt-get install postgresql")
    });
    newest.join("bin")
}

/// Whom a server becomes that was started by root: user and group.
fn server_user() -> Option<(u32, u32)> {
    let own = fs::metadata("/proc/self").ok().map(|about| std::os::unix::fs::MetadataExt::uid(&about));
    if own != Some(0) {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("users are listed");
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("there is a user postgres");
    let mut fields = line.split(':').skip(2);
    let mut number = || fields.next().and_then(|field| field.parse().ok()).expect("users have numbers");
    Some((number(), number()))
}
