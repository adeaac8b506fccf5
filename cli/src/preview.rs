//! `millrace preview`: records of a topic before and after each transform of its sinks.
//!
//! Reads as any other client, without a group and without a position that anyone keeps: the running pipeline doesn't notice.

use std::time::Duration;

use millrace_client::{Client, Consumer, ConsumerConfig, FetchedPartition, Isolation, Polled};
use millrace_connect_runtime::component::ComponentHost;
use millrace_connect_runtime::plan::{PipelinePlan, SinkPlan};
use millrace_connect_runtime::rehearsal::{Outcome as Made, Record, Rehearsal, Step};
use millrace_connect_runtime::spec::ClusterSpec;
use serde_json::{Value, json};

use crate::args::{PreviewArgs, PreviewFormat};
use crate::exit::{Failure, Outcome};
use crate::validate::Checked;
use crate::{cluster, components, output, signals, tail, validate};

/// How long one look for records takes; signals are seen in between, too.
const POLL_WAIT: Duration = Duration::from_millis(200);

/// Shows records until the count, the end, or a signal.
pub(crate) async fn run(args: PreviewArgs) -> Outcome {
    let host = components::host()?;
    let checked = validate::check(&host, &args.files).await?;
    let chosen = choose(&checked, &args)?;
    let client = cluster::remote(&addresses(&checked, &args), "millrace-preview")?;
    let mut stop = signals::watch()?;
    for (pipeline, sinks) in chosen {
        let records = tokio::select! {
            biased;
            () = stop.asked() => return Ok(()),
            records = newest(&client, &pipeline.topic.name, args.count) => records?,
        };
        for sink in sinks {
            sink_side(&host, pipeline, sink, &records, args.format).await?;
        }
    }
    Ok(())
}

/// The pipelines and sinks that were asked for.
fn choose<'c>(
    checked: &'c Checked,
    args: &PreviewArgs,
) -> Result<Vec<(&'c PipelinePlan, Vec<&'c SinkPlan>)>, Failure> {
    let sink_name = |sink: &SinkPlan| sink.name.split_once('.').map(|(_, name)| name.to_owned());
    let wanted = |sink: &&SinkPlan| args.sink.is_none() || sink_name(sink) == args.sink;
    let chosen: Vec<(&PipelinePlan, Vec<&SinkPlan>)> = checked
        .plan
        .pipelines
        .iter()
        .filter(|pipeline| args.pipeline.as_ref().is_none_or(|name| *name == pipeline.name))
        .map(|pipeline| (pipeline, pipeline.sinks.iter().filter(wanted).collect::<Vec<_>>()))
        .filter(|(_, sinks)| !sinks.is_empty())
        .collect();
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let all: Vec<&str> =
        checked.plan.pipelines.iter().flat_map(|p| &p.sinks).map(|sink| sink.name.as_str()).collect();
    let known =
        if all.is_empty() { "there is none".to_owned() } else { format!("there are {}", all.join(", ")) };
    Err(Failure::validation(format!("no sink of that name: {known}, each <pipeline>.<sink>")))
}

/// Where the topics are: the command line, the files, or the usual place.
fn addresses(checked: &Checked, args: &PreviewArgs) -> Vec<String> {
    match (&args.bootstrap, checked.cluster()) {
        (Some(addresses), _) => addresses.clone(),
        (None, ClusterSpec::Kafka(kafka)) => kafka.bootstrap.clone(),
        (None, ClusterSpec::Embedded(spec)) if spec.listen.is_some() => spec.listen.iter().cloned().collect(),
        (None, _) => vec![crate::broker::DEFAULT_LISTEN.to_owned()],
    }
}

/// The newest records of a topic, at most `count`, oldest first within a partition.
async fn newest(client: &Client, topic: &str, count: u32) -> Result<Vec<Record>, Failure> {
    let partitions = tail::partitions(client, topic).await?;
    let config = ConsumerConfig { isolation: Isolation::ReadCommitted, ..ConsumerConfig::default() };
    let mut consumer = Consumer::start(client, config).await.map_err(Failure::client)?;
    let (from, ends) = tail::before_end(&consumer, &partitions, i64::from(count)).await?;
    consumer.assign(from).map_err(Failure::client)?;
    let mut records = Vec::new();
    while ends.iter().any(|(tp, end)| consumer.position(tp).is_none_or(|at| at < *end)) {
        let Polled::Records(fetched) = consumer.poll(POLL_WAIT).await.map_err(Failure::client)? else {
            continue;
        };
        for fetched in &fetched {
            take(fetched, &mut records)?;
        }
    }
    consumer.close().await.map_err(Failure::client)?;
    records.sort_by_key(|record| (record.timestamp_ms, record.partition, record.offset));
    let first = records.len().saturating_sub(count as usize);
    Ok(records.split_off(first))
}

fn take(fetched: &FetchedPartition, records: &mut Vec<Record>) -> Outcome {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let visit = |record: millrace_wire::record::RecordRef<'_>| {
        records.push(Record {
            topic: Some(fetched.topic.to_string()),
            partition: Some(fetched.partition),
            offset: Some(record.offset),
            timestamp_ms: Some(record.timestamp),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.map(|(name, value)| (text(name), value.map(<[u8]>::to_vec))).collect(),
        });
    };
    fetched.for_each(visit).map_err(Failure::client)
}

async fn sink_side(
    host: &ComponentHost,
    pipeline: &PipelinePlan,
    sink: &SinkPlan,
    records: &[Record],
    format: PreviewFormat,
) -> Outcome {
    let opened = Rehearsal::of_sink(host, sink, &pipeline.topic.name).await;
    let mut rehearsal = opened.map_err(Failure::runtime)?;
    for record in records {
        let steps = rehearsal.record(record).await.map_err(Failure::runtime)?;
        output::line(match format {
            PreviewFormat::Text => in_text(&sink.name, record, &steps),
            PreviewFormat::Json => in_json(&sink.name, record, &steps).to_string(),
        })?;
    }
    rehearsal.close().await.map_err(Failure::runtime)
}

fn in_text(sink: &str, record: &Record, steps: &[Step]) -> String {
    let place = |record: &Record| {
        let (topic, partition, offset) = (record.topic.as_deref(), record.partition, record.offset);
        format!("{}-{}@{}", topic.unwrap_or_default(), partition.unwrap_or(-1), offset.unwrap_or(-1))
    };
    let mut text = format!("{sink} {}\n    {}", place(record), content(record));
    for (number, step) in (1..).zip(steps) {
        text.push_str(&format!("\n  {number} {}", step.transform));
        match &step.outcome {
            Made::PassedBy => text.push_str(": not for it"),
            Made::Rejected { code, message } => text.push_str(&format!(": rejected: {message} ({code})")),
            Made::Became(records) if records.is_empty() => text.push_str(": dropped"),
            Made::Became(records) => {
                records.iter().for_each(|record| text.push_str(&format!("\n    {}", content(record))));
            }
        }
    }
    text
}

/// Key, headers and value in one line.
fn content(record: &Record) -> String {
    let text = |bytes: &Option<Vec<u8>>| match bytes {
        None => "null".to_owned(),
        Some(bytes) => String::from_utf8_lossy(bytes).replace(char::is_control, " "),
    };
    let mut line = String::new();
    if record.key.is_some() {
        line.push_str(&format!("{} ", text(&record.key)));
    }
    for (name, value) in &record.headers {
        line.push_str(&format!("[{name}: {}] ", text(value)));
    }
    line + &text(&record.value)
}

fn in_json(sink: &str, record: &Record, steps: &[Step]) -> Value {
    let steps = steps.iter().map(|step| match &step.outcome {
        Made::PassedBy => json!({ "transform": step.transform, "outcome": "passed_by" }),
        Made::Rejected { code, message } => {
            json!({ "transform": step.transform, "outcome": "rejected", "code": code, "message": message })
        }
        Made::Became(records) => {
            let outcome = if records.is_empty() { "dropped" } else { "applied" };
            let records: Vec<Value> = records.iter().map(whole).collect();
            json!({ "transform": step.transform, "outcome": outcome, "records": records })
        }
    });
    json!({ "sink": sink, "record": whole(record), "steps": steps.collect::<Vec<_>>() })
}

/// A record as `millrace consume --format json` shows it.
fn whole(record: &Record) -> Value {
    let bytes = |bytes: &Option<Vec<u8>>| crate::consume::shown_bytes(bytes.as_deref());
    let headers = record.headers.iter().map(|(name, value)| json!({ "name": name, "value": bytes(value) }));
    json!({
        "topic": record.topic, "partition": record.partition, "offset": record.offset,
        "timestamp": record.timestamp_ms, "key": bytes(&record.key), "value": bytes(&record.value),
        "headers": headers.collect::<Vec<_>>(),
    })
}
