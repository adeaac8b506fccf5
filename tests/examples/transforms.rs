//! What transforms cost per record: a batch of 8,192 records of about 200 bytes goes through each, in the sandbox and back.
//!
//! `cargo run --release -p millrace-tests --example transforms`; the figures in docs/BENCHMARKS.md are medians of its rounds, in CPU
//! time of the thread (Linux), so that other programs add little. What counts are the ratios: `drop` is the price of the way in alone,
//! and what a transform costs beyond a router, which copies each record and looks at none, is its own work.

use std::fs;

use anyhow::{Context, Result, ensure};
use millrace_connect_runtime::capability::control::Stopping;
use millrace_connect_runtime::capability::metrics::GuestMetrics;
use millrace_connect_runtime::component::batch::{Batch, BatchBuilder, RecordView};
use millrace_connect_runtime::component::{
    BundledComponent, ComponentHost, Environment, HostConfig, Label, TaskContext,
};
use millrace_connect_runtime::plan::{ComponentRef, Grants, Limits};
use serde_json::{Value, json};

/// As many as a source's poll gives.
const RECORDS: i64 = 8_192;
const ROUNDS: usize = 101;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let bundled = millrace_connectors::bundled();
    let bundled = bundled.iter().map(|b| BundledComponent { name: b.name, wasm: b.wasm }).collect();
    let host = ComponentHost::new(HostConfig { bundled, ..HostConfig::default() })?;
    let input = batch();
    let bytes = input.size_bytes() as f64 / RECORDS as f64;
    println!("{RECORDS} records of {bytes:.0} bytes, CPU time, median of {ROUNDS} rounds");
    for (name, settings) in [
        ("drop", json!({})),
        ("regex-router", json!({ "regex": "(.*)", "replacement": "$1-eu" })),
        ("timestamp-router", json!({})),
        ("drop-headers", json!({ "headers": ["trace"] })),
        ("insert-header", json!({ "header": "shop", "value": "online" })),
        ("insert-field", json!({ "static_field": "shop", "static_value": "online" })),
        ("extract-field", json!({ "field": "customer.name" })),
        ("mask", json!({ "fields": ["customer.card"] })),
        ("cast", json!({ "spec": { "id": "string" } })),
        ("replace-field", json!({ "exclude": ["note"] })),
        ("flatten", json!({})),
        ("jq", json!({ "value": "." })),
        ("jq", json!({ "value": "select(.total > 10) | {id, total, name: .customer.name}" })),
    ] {
        let median_ns = median_ns(&host, name, &settings, &input).await.with_context(|| name.to_owned())?;
        let each = median_ns as f64 / RECORDS as f64;
        println!("{each:7.1} ns  {name} {settings}");
    }
    Ok(())
}

/// CPU time of this thread so far.
fn cpu_ns() -> Result<u64> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(stat.split(' ').next().context("no time in schedstat")?.parse()?)
}

async fn median_ns(host: &ComponentHost, name: &str, settings: &Value, input: &Batch) -> Result<u64> {
    let component = host.load(&ComponentRef::Bundled(name.to_owned())).await?;
    let environment = Environment {
        label: Label { connector: "bench".into(), task: 0 },
        grants: Grants::default(),
        limits: Limits::default(),
        stopping: Stopping::never(),
        metrics: GuestMetrics::default(),
    };
    let mut transform = component.transform(environment).await?;
    let task = TaskContext {
        connector_name: "bench".to_owned(),
        task: 0,
        tasks: 1,
        config: settings.to_string(),
        key_format: "bytes".to_owned(),
        value_format: "json".to_owned(),
        generation: 1,
    };
    transform.open(&task).await?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = cpu_ns()?;
        let outcome = transform.apply(input).await?;
        rounds.push(cpu_ns()? - start);
        ensure!(outcome.rejected.is_empty(), "{:?}", outcome.rejected.first());
    }
    rounds.sort_unstable();
    Ok(rounds[ROUNDS / 2])
}

fn batch() -> Batch {
    let mut builder = BatchBuilder::default();
    for id in 0..RECORDS {
        let value = json!({
            "id": id, "total": id as f64 / 8.0, "paid": id % 2 == 0,
            "customer": { "name": format!("customer {id}"), "card": "4111-1111-1111-1111" },
            "note": "left at the door, as was asked for, on the second try of three in all",
        });
        let (key, value) = (id.to_string(), value.to_string());
        builder.push(&RecordView {
            topic: Some("orders"),
            timestamp_ms: Some(1_795_248_000_000 + id),
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            ..RecordView::default()
        });
    }
    builder.build()
}
