//! Child processes of a test: output in a file, a time limit, an end with the test.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A child whose output goes to a file. It is killed when the value is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    shown: String,
    output: PathBuf,
}

impl Process {
    /// Starts the command with both outputs in the file.
    pub fn spawn(command: &mut Command, output: PathBuf) -> Process {
        let shown = format!("{command:?}");
        let file = File::options().create(true).append(true).open(&output);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", output.display()));
        let second = file.try_clone().expect("a file handle can be cloned");
        command.stdout(file).stderr(second);
        let child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
        Process { child, shown, output }
    }

    /// What the child has printed so far.
    pub fn output(&self) -> String {
        fs::read(&self.output).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The child's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the child's standard input, if it was piped.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// How the child ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap_or_else(|error| panic!("{}: {error}", self.shown))
    }

    /// Waits for the end; past the limit the test fails with the output.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(
                started.elapsed() < limit,
                "{} still runs after {limit:?}:\n{}",
                self.shown,
                self.output()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a good end.
    pub fn succeed(&mut self, limit: Duration) -> String {
        let status = self.wait(limit);
        assert!(status.success(), "{}: {status}:\n{}", self.shown, self.output());
        self.output()
    }

    /// SIGKILL, then reaps the child.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM: the child may end in its own way.
    pub fn terminate(&self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command with nothing on its standard input.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Asks until the answer is yes; past the limit the test fails with what was waited for.
pub fn wait_until(what: &str, limit: Duration, mut ask: impl FnMut() -> bool) {
    let started = Instant::now();
    while !ask() {
        assert!(started.elapsed() < limit, "waited {limit:?} for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
