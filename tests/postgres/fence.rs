//! A task that was replaced writes nothing more, wherever it was when that happened.

use millrace_connect_runtime::capability::control::Stopping;
use millrace_connect_runtime::capability::metrics::GuestMetrics;
use millrace_connect_runtime::component::batch::{Batch, BatchBuilder, Headers, RecordView};
use millrace_connect_runtime::component::{
    BundledComponent, CallError, ComponentHost, Environment, HostConfig, Label, SinkInstance, TaskContext,
    TopicPartition,
};
use millrace_connect_runtime::plan::{ComponentRef, Grants, Limits};
use serde_json::json;

use crate::database;
use crate::script::connections;

/// Starts task 0 of a sink at this generation; the positions that it says the target holds.
async fn start(host: &ComponentHost, url: &str, generation: u64) -> (SinkInstance, Vec<i64>) {
    let component = host.load(&ComponentRef::Bundled("postgres-sink".into())).await.expect("loads");
    let environment = Environment {
        label: Label { connector: "orders.db".into(), task: 0 },
        grants: Grants { connections: connections(&json!({ "url": url })), ..Grants::default() },
        limits: Limits::default(),
        stopping: Stopping::never(),
        metrics: GuestMetrics::default(),
    };
    let mut sink = component.sink(environment).await.expect("starts");
    let task = TaskContext {
        connector_name: "orders.db".into(),
        task: 0,
        tasks: 1,
        config: json!({ "connection": "db" }).to_string(),
        key_format: "bytes".into(),
        value_format: "json".into(),
        generation,
    };
    sink.open(&task).await.expect("opens");
    let held = sink.assigned(&[TopicPartition { topic: "t".into(), partition: 0 }]).await.expect("assigned");
    (sink, held.into_iter().map(|at| at.offset).collect())
}

fn batch(offsets: std::ops::Range<i64>, value: &str) -> Batch {
    let mut builder = BatchBuilder::default();
    for offset in offsets {
        builder.push(&RecordView {
            topic: Some("t"),
            partition: Some(0),
            offset: Some(offset),
            timestamp_ms: None,
            key: None,
            value: Some(value.replace('#', &offset.to_string()).as_bytes()),
            headers: Headers::default(),
        });
    }
    builder.build()
}

fn code(error: &CallError) -> &str {
    match error {
        CallError::Retriable { failure, .. } | CallError::Fatal { failure, .. } => &failure.code,
        other => panic!("{other}"),
    }
}

#[test]
fn a_zombie_is_fenced() {
    let server = database("fence");
    server.sql("fence", "CREATE TABLE t (n int CHECK (n <> 13))");
    let bundled = millrace_connectors::bundled().iter();
    let bundled = bundled.map(|b| BundledComponent { name: b.name, wasm: b.wasm }).collect();
    let host =
        ComponentHost::new(HostConfig { bundled, ..HostConfig::default() }).expect("the engine starts");
    let rows = || server.sql("fence", "SELECT string_agg(n::text, ',' ORDER BY n) FROM t");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let url = server.url("fence");
        let (mut first, held) = start(&host, &url, 1).await;
        assert_eq!(held, [0_i64; 0]);
        first.put(&batch(0..3, r#"{"n":#}"#)).await.expect("taken");
        assert_eq!(rows(), "0,1,2");

        // Another takes over. The first finds out at its next batch, whether the server cut it off or not.
        let (mut second, held) = start(&host, &url, 2).await;
        assert_eq!(held, [3]);
        let error = first.put(&batch(3..5, r#"{"n":#}"#)).await.expect_err("fenced");
        assert_eq!(code(&error), "positions.moved");
        let error = first.put(&batch(3..5, r#"{"n":#}"#)).await.expect_err("fenced");
        assert_eq!(code(&error), "fenced", "{error}");
        second.put(&batch(3..5, r#"{"n":#}"#)).await.expect("taken");
        assert_eq!(rows(), "0,1,2,3,4");

        // With a transaction that waits for a dead letter: its successor waits for it, or ends it by the server's timeout.
        let outcome = second.put(&batch(13..15, r#"{"n":#}"#)).await.expect("taken");
        assert_eq!(outcome.rejected.len(), 1);
        assert_eq!(rows(), "0,1,2,3,4", "open until the flush");
        server.sql(
            "fence",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'",
        );
        let (_third, held) = start(&host, &url, 3).await;
        assert_eq!(held, [5]);
        let error = loop {
            match second.flush().await {
                Err(error) if error.is_retriable() => {} // its session is lost
                Err(error) => break error,
                Ok(_) => panic!("a zombie has written"),
            }
        };
        assert_eq!(code(&error), "fenced", "{error}");
        assert_eq!(rows(), "0,1,2,3,4");
    });
}

#[test]
fn what_waits_for_a_dead_letter_is_written_again_when_its_session_is_lost() {
    let server = database("again");
    server.sql("again", "CREATE TABLE t (n int CHECK (n <> 13))");
    let bundled = millrace_connectors::bundled().iter();
    let bundled = bundled.map(|b| BundledComponent { name: b.name, wasm: b.wasm }).collect();
    let host =
        ComponentHost::new(HostConfig { bundled, ..HostConfig::default() }).expect("the engine starts");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (mut sink, _) = start(&host, &server.url("again"), 1).await;
        for (from, rejected) in [(12, 1), (16, 0)] {
            let outcome = sink.put(&batch(from..from + 4, r#"{"n":#}"#)).await.expect("taken");
            assert_eq!(outcome.rejected.len(), rejected);
        }
        assert_eq!(server.sql("again", "SELECT count(*) FROM t"), "0");
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'again' AND pid <> pg_backend_pid()";
        server.sql("again", cut);
        while let Err(error) = sink.flush().await {
            assert!(error.is_retriable(), "{error}");
        }
        assert_eq!(server.sql("again", "SELECT count(*), count(DISTINCT n) FROM t"), "7|7");
        assert_eq!(server.sql("again", "SELECT next_offset FROM millrace_positions WHERE topic = 't'"), "20");
    });
}
