//! What a person at a terminal sees, and how a run ends that doesn't want to.
//!
//! `script` (util-linux) gives the binary a terminal and hands on its exit code. In the place of the sink's file is a pipe that nobody
//! writes to, so that the clean stop takes long enough to be cut short.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::signal;

const PIPELINE: &str = r#"
version: 1
broker: { data: ./data, listen: "127.0.0.1:0" }
pipelines:
  p:
    topic: { name: t, partitions: 1 }
    sinks:
      out: { connector: file-sink, path: ./out, format: lines }
"#;

/// `millrace run` on a terminal, and its process id.
fn start(folder: &Path) -> (Child, u32) {
    std::fs::write(folder.join("p.yaml"), PIPELINE).expect("a file can be written");
    let made = Command::new("mkfifo").arg(folder.join("out")).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo");
    let line = format!("echo pid $$; exec {} run p.yaml", env!("CARGO_BIN_EXE_millrace"));
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .current_dir(folder)
        .env_remove("MILLRACE_LOG")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script (util-linux) starts");
    let mut first = String::new();
    // Byte by byte: what follows the line is for somebody else.
    let out = child.stdout.as_mut().expect("stdout is piped");
    while !first.ends_with('\n') {
        let mut byte = [0];
        assert_eq!(out.read(&mut byte).expect("the terminal can be read"), 1, "{first}");
        first.push(char::from(byte[0]));
    }
    let pid = first.trim().strip_prefix("pid ").and_then(|pid| pid.parse().ok());
    (child, pid.unwrap_or_else(|| panic!("{first:?} is no process id")))
}

fn ended_by(first: &str, second: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut child, pid) = start(folder.path());
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let mut seen = String::new();
    let mut read_to = |part: &str| {
        while !seen.contains(part) {
            let line = lines.next().unwrap_or_else(|| panic!("no {part:?} in {seen}")).expect("text");
            seen.push_str(&line);
        }
    };
    read_to("\x1b[1A\x1b[J");
    signal(pid, first);
    read_to("stopping; once more ends it at once");
    signal(pid, second);
    for _ in lines.map_while(Result::ok) {}
    (child.wait().expect("it ends").code(), seen)
}

#[test]
fn progress_is_drawn_over_on_a_terminal_and_a_second_signal_ends_at_once() {
    let (code, seen) = ended_by("TERM", "INT");
    assert_eq!(code, Some(130), "{seen}");
    assert!(seen.contains("p.out ") && seen.contains("running"), "{seen}");
    let (code, seen) = ended_by("INT", "TERM");
    assert_eq!(code, Some(143), "{seen}");
}
