//! The price of the sandbox: the same connectors, compiled natively and as components, do the same work in interleaved rounds.
//!
//! `cargo run --release -p millrace-tests --example sandbox [LINES [CONNECTOR ...]]` prints the CPU time per record of 200 bytes of both, over
//! all threads of the process. The native side calls the exports of the SDK, which a component's macros call: what the component has beyond
//! them is the contract's copy in and out, the checks of the host, its meters, WASI's files, and code that is compiled by wasmtime.
//! What users pay is that difference beside all else that a pipeline does with a record, which `cargo xtask bench connect` measures.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use millrace_connect_runtime::capability::control::Stopping;
use millrace_connect_runtime::capability::metrics::GuestMetrics;
use millrace_connect_runtime::component::batch::{Batch, BatchBuilder, RecordView};
use millrace_connect_runtime::component::{
    BundledComponent, Component, ComponentHost, Environment, Flow, HostConfig, Label, TaskContext,
    TopicPartition,
};
use millrace_connect_runtime::plan::{Access, ComponentRef, FolderGrant, Grants, Limits};
use millrace_connector_file_sink::FileSink;
use millrace_connector_file_source::FileSource;
use millrace_connector_mask::MaskTransform;
use millrace_sdk::{PollLimits, RecordBatch, Sink, Source, Task, Transform, export, settings, testing};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

const LINES: usize = 500_000;
const ROUNDS: usize = 11;
/// What the worker asks of a source at a time (`worker/source/reader.rs`).
const POLL_RECORDS: u32 = 8_192;
const POLL_BYTES: u32 = 1 << 20;
const TOPIC: &str = "bench";
const CONNECTORS: [&str; 3] = ["file-source", "file-sink", "mask"];

#[tokio::main]
async fn main() -> Result<()> {
    let lines = std::env::args().nth(1).map_or(Ok(LINES), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("in.jsonl");
    write_lines(&input, lines)?;
    let bundled = millrace_connectors::bundled();
    let bundled = bundled.iter().map(|b| BundledComponent { name: b.name, wasm: b.wasm }).collect();
    let host = ComponentHost::new(HostConfig { bundled, ..HostConfig::default() })?;
    let records = records(&input)?;

    println!("{lines} lines of 200 bytes, CPU time of a record, median of {ROUNDS} rounds");
    let wanted: Vec<String> = std::env::args().skip(2).collect();
    for name in CONNECTORS.iter().filter(|name| wanted.is_empty() || wanted.iter().any(|w| w == *name)) {
        let component = host.load(&ComponentRef::Bundled((*name).to_owned())).await?;
        let mut rounds = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            let mut bench = Bench { folder: folder.path(), input: &input, records: &records, round, lines };
            let native = bench.measured(async |bench| bench.native(name)).await?;
            let boxed = bench.measured(async |bench| bench.boxed(name, &component).await).await?;
            rounds.push((native, boxed));
        }
        let native = median(rounds.iter().map(|round| round.0));
        let boxed = median(rounds.iter().map(|round| round.1));
        println!("{name:12} native {native:6.1} ns, component {boxed:6.1} ns, {:+6.1} ns", boxed - native);
    }
    Ok(())
}

/// One round: each side begins with nothing and does all of the work.
struct Bench<'a> {
    folder: &'a Path,
    input: &'a Path,
    /// The lines as a sink and a transform get them: for the host, and for the SDK.
    records: &'a [(Batch, RecordBatch)],
    round: usize,
    lines: usize,
}

impl Bench<'_> {
    /// Nanoseconds of CPU a record.
    async fn measured(&mut self, side: impl AsyncFnOnce(&Self) -> Result<usize>) -> Result<f64> {
        let start = cpu_ns()?;
        let moved = side(self).await?;
        let taken = cpu_ns()? - start;
        ensure!(moved == self.lines, "{moved} records of {}", self.lines);
        Ok(taken as f64 / moved as f64)
    }

    fn settings(&self, name: &str, side: &str) -> Value {
        match name {
            "file-source" => json!({ "path": self.input, "format": "lines" }),
            "file-sink" => {
                let file = format!("{side}-{}.jsonl", self.round);
                json!({ "path": self.folder.join(file), "format": "lines" })
            }
            _ => json!({ "fields": ["card"] }),
        }
    }

    fn native(&self, name: &str) -> Result<usize> {
        let task =
            Task { value_format: "utf8".to_owned(), key_format: "bytes".to_owned(), ..testing::task() };
        let config = self.settings(name, "native").to_string();
        let said = |error: millrace_sdk::Error| anyhow!("{error:?}");
        match name {
            "file-source" => {
                let mut source = FileSource::open(&task, settings::parse(&config).map_err(said)?, Vec::new())
                    .map_err(said)?;
                let limits = PollLimits { records: POLL_RECORDS, bytes: POLL_BYTES, wait_ms: 0 };
                let mut moved = 0;
                loop {
                    let polled = black_box(export::poll(&mut source, limits).map_err(said)?);
                    if polled.batch.count == 0 {
                        return Ok(moved);
                    }
                    moved += polled.batch.count as usize;
                }
            }
            "file-sink" => {
                let mut sink =
                    FileSink::open(&task, settings::parse(&config).map_err(said)?).map_err(said)?;
                let all = [millrace_sdk::TopicPartition { topic: TOPIC.to_owned(), partition: 0 }];
                sink.assigned(&all).map_err(said)?;
                let mut moved = 0;
                for (_, batch) in self.records {
                    let (taken, rejected) = export::put(&mut sink, batch).map_err(said)?;
                    ensure!(rejected.is_empty(), "{rejected:?}");
                    moved += taken as usize;
                }
                sink.flush().map_err(said)?;
                Ok(moved)
            }
            _ => {
                let mut mask =
                    MaskTransform::open(&task, settings::parse(&config).map_err(said)?).map_err(said)?;
                let mut moved = 0;
                for (_, batch) in self.records {
                    let (out, _, rejected) = black_box(export::apply(&mut mask, batch).map_err(said)?);
                    ensure!(rejected.is_empty(), "{rejected:?}");
                    moved += out.count as usize;
                }
                Ok(moved)
            }
        }
    }

    async fn boxed(&self, name: &str, component: &Arc<Component>) -> Result<usize> {
        let environment = Environment {
            label: Label { connector: "bench".into(), task: 0 },
            grants: Grants {
                files: vec![FolderGrant {
                    host: self.folder.to_owned(),
                    guest: self.folder.display().to_string(),
                    access: Access::Write,
                }],
                ..Grants::default()
            },
            limits: Limits::default(),
            stopping: Stopping::never(),
            metrics: GuestMetrics::default(),
        };
        let task = TaskContext {
            connector_name: "bench".to_owned(),
            task: 0,
            tasks: 1,
            config: self.settings(name, "boxed").to_string(),
            key_format: "bytes".to_owned(),
            value_format: "utf8".to_owned(),
            generation: 1,
        };
        let mut moved = 0;
        match name {
            "file-source" => {
                let mut source = component.source(environment).await?;
                source.open(&task, &[]).await?;
                loop {
                    let polled = source.poll(POLL_RECORDS, POLL_BYTES, Duration::ZERO).await?;
                    moved += polled.batch.len();
                    if polled.flow == Flow::End {
                        return Ok(moved);
                    }
                }
            }
            "file-sink" => {
                let mut sink = component.sink(environment).await?;
                sink.open(&task).await?;
                sink.assigned(&[TopicPartition { topic: TOPIC.to_owned(), partition: 0 }]).await?;
                for (batch, _) in self.records {
                    moved += sink.put(batch).await?.accepted as usize;
                }
                sink.flush().await?;
                Ok(moved)
            }
            _ => {
                let mut mask = component.transform(environment).await?;
                mask.open(&task).await?;
                for (batch, _) in self.records {
                    moved += mask.apply(batch).await?.batch.len();
                }
                Ok(moved)
            }
        }
    }
}

/// Objects of 200 bytes with their end of line.
fn write_lines(path: &Path, lines: usize) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for id in 0..lines {
        let head = format!(r#"{{"id":{id},"card":"4111-1111-1111-1111","note":""#);
        writeln!(file, "{head}{:x<1$}\"}}", "", 199 - head.len() - 2)?;
    }
    Ok(file.flush()?)
}

/// The lines in batches as they come from a topic.
fn records(input: &Path) -> Result<Vec<(Batch, RecordBatch)>> {
    let text = fs::read_to_string(input)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut batches = Vec::new();
    for (nth, chunk) in lines.chunks(5_000).enumerate() {
        let mut host = BatchBuilder::default();
        let mut sdk = Vec::with_capacity(chunk.len());
        for (at, line) in (nth as i64 * 5_000..).zip(chunk) {
            host.push(&RecordView {
                topic: Some(TOPIC),
                partition: Some(0),
                offset: Some(at),
                value: Some(line.as_bytes()),
                ..RecordView::default()
            });
            sdk.push(testing::Record::value(*line).at(TOPIC, 0, at));
        }
        batches.push((host.build(), testing::batch(&sdk)));
    }
    Ok(batches)
}

/// CPU time of all threads so far, of those that ended, too.
fn cpu_ns() -> Result<u64> {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Ok(u64::try_from(Duration::try_from(time)?.as_nanos())?)
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
