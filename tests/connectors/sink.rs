//! file-sink in the sandbox.

use millrace_connect_runtime::component::batch::{Batch, BatchBuilder, Headers, RecordView};
use millrace_connect_runtime::component::{Durable, SinkInstance, TopicPartition};
use millrace_connect_runtime::plan::Access;
use serde_json::json;

use crate::sandbox::Sandbox;

async fn open(sandbox: &mut Sandbox) -> (SinkInstance, Vec<i64>) {
    let mut sink = sandbox.component.sink(sandbox.environment()).await.expect("starts");
    sink.open(&sandbox.next_task()).await.expect("opens");
    let held =
        sink.assigned(&[TopicPartition { topic: "t".to_owned(), partition: 0 }]).await.expect("assigned");
    (sink, held.into_iter().map(|at| at.offset).collect())
}

fn batch(offsets: std::ops::Range<i64>) -> Batch {
    let mut builder = BatchBuilder::default();
    for offset in offsets {
        let value = offset.to_string();
        builder.push(&RecordView {
            topic: Some("t"),
            partition: Some(0),
            offset: Some(offset),
            timestamp_ms: None,
            key: None,
            value: Some(value.as_bytes()),
            headers: Headers::default(),
        });
    }
    builder.build()
}

async fn put(sink: &mut SinkInstance, offsets: std::ops::Range<i64>) {
    let mut from = offsets.start;
    while from < offsets.end {
        let outcome = sink.put(&batch(from..offsets.end)).await.expect("taken");
        assert!(outcome.accepted > 0 && outcome.rejected.is_empty());
        from += i64::from(outcome.accepted);
    }
}

#[tokio::test]
async fn what_was_flushed_survives_a_kill_and_what_was_not_comes_again() {
    for (guest, path) in [
        (".", "out.jsonl"),
        ("./out", "./out/out.jsonl"),
        ("../out", "../out/out.jsonl"),
        ("/o", "/o/out.jsonl"),
    ] {
        let mut sandbox = Sandbox::new("file-sink", guest, Access::Write, json!({ "path": path })).await;
        let (mut sink, held) = open(&mut sandbox).await;
        assert!(held.is_empty());
        put(&mut sink, 0..5).await;
        let durable = sink.flush().await.expect("flushes");
        assert!(matches!(&durable, Durable::UpTo(safe) if safe[0].offset == 5), "{durable:?}");
        put(&mut sink, 5..9).await;
        drop(sink);

        let (mut sink, held) = open(&mut sandbox).await;
        assert_eq!(held, [5], "{path}");
        assert!(!sandbox.path("out.jsonl").exists(), "{path}: not finished, not visible");
        put(&mut sink, 5..7).await;
        sink.flush().await.expect("flushes");
        sink.close().await.expect("closes");
        let text = std::fs::read_to_string(sandbox.path("out.jsonl")).expect("a file");
        assert_eq!(text, "0\n1\n2\n3\n4\n5\n6\n", "{path}");
    }
}

#[tokio::test]
async fn files_rotate() {
    let settings = json!({ "path": "out/o.txt", "rotate": { "records": 3 } });
    let mut sandbox = Sandbox::new("file-sink", "out", Access::Write, settings).await;
    let (mut sink, _) = open(&mut sandbox).await;
    put(&mut sink, 0..7).await;
    sink.close().await.expect("closes");
    let texts =
        [1, 2, 3].map(|n| std::fs::read_to_string(sandbox.path(&format!("o-00000{n}.txt"))).expect("a file"));
    assert_eq!(texts, ["0\n1\n2\n", "3\n4\n5\n", "6\n"]);
}

#[tokio::test]
async fn a_zombie_is_refused() {
    let mut sandbox = Sandbox::new("file-sink", "out", Access::Write, json!({ "path": "out/o.jsonl" })).await;
    let (mut zombie, _) = open(&mut sandbox).await;
    put(&mut zombie, 0..2).await;
    let (mut successor, _) = open(&mut sandbox).await;
    put(&mut successor, 0..3).await;
    successor.close().await.expect("closes");
    let error = zombie.flush().await.expect_err("fenced").to_string();
    assert!(error.contains("another one has taken over;") && error.contains("(fenced)"), "{error}");
    assert_eq!(std::fs::read_to_string(sandbox.path("o.jsonl")).expect("a file"), "0\n1\n2\n");
}

#[tokio::test]
async fn a_folder_granted_to_read_is_not_written_to() {
    let mut sandbox = Sandbox::new("file-sink", "out", Access::Read, json!({ "path": "out/o.jsonl" })).await;
    let mut sink = sandbox.component.sink(sandbox.environment()).await.expect("starts");
    let error = sink.open(&sandbox.next_task()).await.expect_err("read-only").to_string();
    assert!(error.contains("cannot create out/.o.jsonl.0.state.new"), "{error}");
}
