//! Running other programs: output into a log, a time limit, an error that shows the end of the log.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cache;

/// Lines of a failed program's log that are printed.
const TAIL_LINES: usize = 60;

/// Longest time one program may take; past it the program and its children are ended.
const TIME_LIMIT: Duration = Duration::from_secs(40 * 60);

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A file that takes the output of one step's programs.
pub(crate) struct Log {
    path: PathBuf,
}

impl Log {
    /// An empty log of this name in the cache folder.
    pub(crate) fn create(name: &str) -> Result<Log> {
        let path = cache::folder("logs")?.join(format!("{name}.log"));
        File::create(&path).with_context(|| format!("log {}", path.display()))?;
        Ok(Log { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn text(&self) -> String {
        fs::read(&self.path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines, for a person who has to find out what went wrong.
    pub(crate) fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Runs a program to its end with its output in this log.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        let shown = show(command);
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        writeln!(file, "$ {shown}")?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{shown}: cannot be started"))?;
        let status = wait(child, &shown)?;
        if !status.success() {
            bail!("{shown}: {status}");
        }
        Ok(())
    }
}

/// Runs a program with the output of this one.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("{shown}: cannot be started"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// The cargo that runs this program, in the clone's root.
pub(crate) fn cargo<I, S>(args: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(cache::repository());
    command
}

/// Finds a program on the PATH, or says how to get it.
pub(crate) fn require(program: &str, way_to_get_it: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{program} is not on the PATH; {way_to_get_it}"))
}

fn wait(mut child: Child, shown: &str) -> Result<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if started.elapsed() > TIME_LIMIT {
            end_with_children(&mut child);
            bail!("{shown}: still running after {} minutes, ended", TIME_LIMIT.as_secs() / 60);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Ends a program and everything it started: a build tool's own children would otherwise live on.
fn end_with_children(child: &mut Child) {
    for pid in descendants(child.id()) {
        let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn descendants(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name may hold spaces and brackets; the parent is the second field after the last bracket.
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        if let Some(parent) = rest.split_whitespace().nth(1).and_then(|field| field.parse::<u32>().ok()) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(_, above)| *above == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

fn show(command: &Command) -> String {
    let mut shown =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    for arg in command.get_args() {
        shown.push(' ');
        shown.push_str(&arg.to_string_lossy());
    }
    shown
}
