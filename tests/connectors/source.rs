//! file-source in the sandbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_connect_runtime::component::{Checkpoint, Flow, SourceInstance};
use millrace_connect_runtime::plan::Access;
use serde_json::json;

use crate::sandbox::Sandbox;

async fn open(sandbox: &mut Sandbox, resume: &[Checkpoint]) -> SourceInstance {
    let mut source = sandbox.component.source(sandbox.environment()).await.expect("starts");
    let task = sandbox.next_task();
    source.open(&task, resume).await.expect("opens");
    source
}

/// Polls until nothing more comes; values and the newest positions.
async fn drain(source: &mut SourceInstance, resume: &mut Vec<Checkpoint>) -> Vec<String> {
    let mut values = Vec::new();
    let mut idle = 0;
    while idle < 2 {
        let polled = source.poll(2, 1 << 20, Duration::ZERO).await.expect("polls");
        assert!(polled.rejected.is_empty(), "{:?}", polled.rejected);
        values.extend(
            polled.batch.iter().map(|r| String::from_utf8_lossy(r.value.unwrap_or_default()).into_owned()),
        );
        for new in polled.checkpoints {
            resume.retain(|known| known.partition != new.partition);
            resume.push(new);
        }
        match polled.flow {
            Flow::More => {}
            Flow::Idle => idle += 1,
            Flow::End => break,
        }
    }
    values
}

#[tokio::test]
async fn paths_work_as_they_are_written() {
    for (guest, path) in [
        (".", "in.csv"),
        ("./in", "./in/in.csv"),
        ("../data", "../data/in.csv"),
        ("/abs/in", "/abs/in/in.csv"),
    ] {
        let mut sandbox =
            Sandbox::new("file-source", guest, Access::Read, json!({ "path": path, "key": "b" })).await;
        sandbox.write("in.csv", "a,b\n1,\"x\ny\"\n2,z\n3,");
        let mut resume = Vec::new();
        let mut source = open(&mut sandbox, &resume).await;
        let values = drain(&mut source, &mut resume).await;
        assert_eq!(
            values,
            [r#"{"a":"1","b":"x\ny"}"#, r#"{"a":"2","b":"z"}"#, r#"{"a":"3","b":""}"#],
            "{path}"
        );
        source.close().await.expect("closes");
        let mut source = open(&mut sandbox, &resume).await;
        assert!(drain(&mut source, &mut resume).await.is_empty(), "{path}: nothing comes twice");
    }
}

#[tokio::test]
async fn folders_and_globs_are_listed() {
    for settings in [json!({ "folder": "in" }), json!({ "folder": "in/" }), json!({ "glob": "in/*.txt" })] {
        let mut sandbox = Sandbox::new("file-source", "in", Access::Read, settings.clone()).await;
        sandbox.write("a.txt", "1\n");
        sandbox.write("b.txt", "2\n");
        let mut source = sandbox.component.source(sandbox.environment()).await.expect("starts");
        let shares = source.plan(&settings.to_string(), 4).await.expect("plans");
        assert_eq!(shares.len(), 2, "{settings}: {shares:?}");
        let mut resume = Vec::new();
        let mut source = open(&mut sandbox, &resume).await;
        assert_eq!(drain(&mut source, &mut resume).await, ["1", "2"], "{settings}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_listed_while_others_are_at_work_in_it() {
    let settings = json!({ "folder": "in", "follow": true });
    let mut sandbox = Sandbox::new("file-source", "in", Access::Read, settings).await;
    sandbox.write("a.txt", "1\n");
    let done = Arc::new(AtomicBool::new(false));
    let others = [0, 1, 2, 3].map(|other| {
        let (folder, done) = (sandbox.path("."), Arc::clone(&done));
        std::thread::spawn(move || {
            let (new, old) = (folder.join(format!(".new.{other}")), folder.join(format!(".old.{other}")));
            while !done.load(Ordering::Relaxed) {
                std::fs::write(&new, "x").and_then(|()| std::fs::rename(&new, &old)).expect("renamed");
                std::fs::remove_file(&old).expect("removed");
            }
        })
    });
    for _ in 0..300 {
        open(&mut sandbox, &[]).await;
    }
    done.store(true, Ordering::Relaxed);
    for other in others {
        other.join().expect("it worked to the end");
    }
}

#[tokio::test]
async fn a_followed_file_survives_its_rotation() {
    let settings = json!({ "path": "logs/app.log", "follow": true });
    let mut sandbox = Sandbox::new("file-source", "logs", Access::Read, settings).await;
    sandbox.write("app.log", "1\n");
    let mut resume = Vec::new();
    let mut source = open(&mut sandbox, &resume).await;
    assert_eq!(drain(&mut source, &mut resume).await, ["1"]);
    drop(source);
    sandbox.write("app.log", "1\n2\n");
    std::fs::rename(sandbox.path("app.log"), sandbox.path("app.log.1")).expect("renamed");
    std::thread::sleep(Duration::from_millis(20));
    sandbox.write("app.log", "3\n");
    std::fs::rename(sandbox.path("app.log"), sandbox.path("app.log.0")).expect("renamed");
    std::thread::sleep(Duration::from_millis(20));
    sandbox.write("app.log", "4\n");
    // The newest rotated file is given two seconds for late lines.
    let mut source = open(&mut sandbox, &resume).await;
    let mut values = drain(&mut source, &mut resume).await;
    assert_eq!(values, ["2", "3"]);
    std::thread::sleep(Duration::from_millis(2_100));
    values.extend(drain(&mut source, &mut resume).await);
    assert_eq!(values, ["2", "3", "4"]);
}

#[tokio::test]
async fn a_followed_file_is_read_on_after_its_end_was_met() {
    let settings = json!({ "path": "logs/app.log", "follow": true });
    let mut sandbox = Sandbox::new("file-source", "logs", Access::Read, settings).await;
    sandbox.write("app.log", "");
    let (mut resume, mut wanted) = (Vec::new(), Vec::new());
    let mut source = open(&mut sandbox, &resume).await;
    // Well beyond the beginning that positions know a file by.
    for round in 0..8 {
        let line = format!("{round}").repeat(500);
        let mut log = std::fs::OpenOptions::new().append(true).open(sandbox.path("app.log")).expect("opens");
        std::io::Write::write_all(&mut log, format!("{line}\n").as_bytes()).expect("grows");
        wanted.push(line);
        assert_eq!(drain(&mut source, &mut resume).await, wanted[round..], "round {round}");
    }
}

#[tokio::test]
async fn what_is_not_granted_is_not_there() {
    let mut sandbox =
        Sandbox::new("file-source", "in", Access::Read, json!({ "path": "/etc/hostname" })).await;
    let mut source = open(&mut sandbox, &[]).await;
    let error = source.poll(1, 1, Duration::ZERO).await.expect_err("not granted");
    assert!(error.to_string().contains("cannot open /etc/hostname"), "{error}");
}
