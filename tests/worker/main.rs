//! The runtime's worker over a real broker: what a pipeline promises, with guests that misbehave and workers that die.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod changes;
mod identity;
mod lifecycle;
mod metrics;
mod redrive;
mod setup;
mod traces;
mod upgrade;

use std::time::Duration;

use millrace_connect_runtime::plan::{ErrorPlan, PredicatePlan, RecordTest, Tolerance, TransformPlan};
use millrace_connect_runtime::worker::progress::State;
use serde_json::json;

use setup::{Cluster, errors, pipeline, sink, source, transform};

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_pipeline_ends_when_everything_has_arrived_and_does_nothing_the_second_time() {
    let cluster = Cluster::start().await;
    let plan = pipeline("p", Some(source("count", 1000)), vec![sink("nothing", "")]);
    let summary = cluster.run(plan.clone()).await;
    assert!(summary.all_done(), "{summary:?}");
    let counts: Vec<u64> = summary.connectors.iter().map(|c| c.records).collect();
    assert_eq!(counts, [1000, 1000], "{summary:?}");
    assert_eq!(summary.connectors[1].lag, Some(0));
    assert_eq!(cluster.numbers("p").await, (0..1000).collect::<Vec<_>>());

    let again = cluster.run(plan).await;
    assert!(again.all_done(), "{again:?}");
    assert_eq!(again.connectors.iter().map(|c| c.records).collect::<Vec<_>>(), [0, 0], "{again:?}");
    assert_eq!(cluster.numbers("p").await.len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_traps_after_every_poll_still_brings_each_record_once() {
    let cluster = Cluster::start().await;
    let mut source = source("trap", 50);
    source.errors = errors(Tolerance::None, None);
    let summary = cluster.run(pipeline("p", Some(source), vec![])).await;
    assert!(summary.all_done(), "{summary:?}");
    assert!(summary.connectors[0].restarts >= 4, "{summary:?}");
    let error = summary.connectors[0].error.as_deref().unwrap_or_default();
    assert!(
        error.contains("connector p.source task 0: trap in poll") && error.contains("on purpose"),
        "{error}"
    );
    assert_eq!(cluster.numbers("p").await, (0..50).collect::<Vec<_>>());
}

/// A stop, or a move to another worker, in the middle of an outage is no failure of the task.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_target_is_out_of_reach_is_stopped_as_any_other() {
    let cluster = Cluster::start().await;
    let plan = pipeline("p", Some(source("count", 50)), vec![sink("retriable", "")]);
    let worker = cluster.worker(plan).await;
    let view = worker.progress_view();
    tokio::time::timeout(Duration::from_secs(60), async {
        while view.snapshot()[0].state != State::Done {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    // The sink is offered the records again and again by now, and will be for `errors.retry_timeout`, a minute.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(view.snapshot()[1].state, State::Running);
    worker.stop();
    let summary = worker.join().await;
    assert_eq!(summary.connectors[1].state, State::Stopped, "{summary:?}");
    assert_eq!(summary.connectors[1].records, 0, "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_guest_fails_alone() {
    let cluster = Cluster::start().await;
    let mut plan = pipeline("good", Some(source("count", 200)), vec![sink("nothing", ""), sink("trap", "")]);
    plan.pipelines.extend(pipeline("bad", Some(source("columns", 10)), vec![sink("nothing", "")]).pipelines);
    plan.pipelines.extend(pipeline("loop", Some(source("loop", 10)), vec![]).pipelines);
    let summary = cluster.run(plan).await;
    let state = |name: &str| summary.connectors.iter().find(|c| c.name == name).map(|c| c.state).unwrap();
    let error = |name: &str| {
        summary.connectors.iter().find(|c| c.name == name).and_then(|c| c.error.clone()).unwrap_or_default()
    };
    assert_eq!(state("good.source"), State::Done, "{summary:?}");
    assert_eq!(state("good.sink0"), State::Done, "{summary:?}");
    assert_eq!(state("good.sink1"), State::Failed, "{summary:?}");
    assert!(error("good.sink1").contains("trap in put: panicked at"), "{summary:?}");
    assert_eq!(state("bad.source"), State::Failed, "{summary:?}");
    assert!(error("bad.source").contains("poll broke the contract"), "{summary:?}");
    assert_eq!(state("loop.source"), State::Failed, "{summary:?}");
    assert!(error("loop.source").contains("time limit"), "{summary:?}");
    assert!(!summary.none_failed());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_stop_the_task_or_go_where_the_pipeline_says() {
    let cluster = Cluster::start().await;
    let with = |name: &str, errors: ErrorPlan| {
        let mut source = source("reject", 70);
        source.errors = errors.clone();
        let mut bad_three = sink("reject", "3");
        bad_three.errors = errors;
        pipeline(name, Some(source), vec![bad_three])
    };
    let summary = cluster.run(with("strict", errors(Tolerance::None, None))).await;
    assert_eq!(summary.connectors[0].state, State::Failed);
    let error = summary.connectors[0].error.clone().unwrap_or_default();
    assert!(error.contains("TASK_POLL") && error.contains("set errors.tolerance to all"), "{error}");

    let summary = cluster.run(with("skip", errors(Tolerance::All, None))).await;
    assert!(summary.all_done(), "{summary:?}");
    assert_eq!((summary.connectors[0].records, summary.connectors[0].skipped), (60, 10), "{summary:?}");
    // Of the numbers below 70 without every seventh (6, 13, …, 69), these hold a 3: 3, 23, 30..=39 without 34, 43, 53, 63.
    let threes = (0..70).filter(|n| n % 7 != 6 && n.to_string().contains('3')).count() as u64;
    assert_eq!(
        (summary.connectors[1].records, summary.connectors[1].skipped),
        (60 - threes, threes),
        "{summary:?}"
    );

    let summary = cluster.run(with("dlq", errors(Tolerance::All, Some("dlq.letters")))).await;
    assert!(summary.all_done(), "{summary:?}");
    let letters = cluster.records("dlq.letters").await;
    assert_eq!(letters.len() as u64, 10 + threes);
    let header = |record: &setup::Record, name: &str| {
        record.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap_or_default()
    };
    let stages: Vec<String> = letters.iter().map(|r| header(r, "__connect.errors.stage")).collect();
    assert_eq!(stages.iter().filter(|s| *s == "TASK_POLL").count(), 10);
    let put = letters.iter().find(|r| header(r, "__connect.errors.stage") == "TASK_PUT").unwrap();
    assert_eq!(header(put, "__connect.errors.topic"), "dlq");
    assert_eq!(header(put, "__connect.errors.connector.name"), "dlq.sink0");
    assert_eq!(header(put, "__connect.errors.exception.message"), "not this one");
}

#[tokio::test(flavor = "multi_thread")]
async fn transforms_work_on_both_sides() {
    let cluster = Cluster::start().await;
    let mut source = source("count", 30);
    source.transforms = vec![transform("double", "")];
    let mut sink = sink("nothing", "");
    sink.transforms = vec![transform("nothing", ""), transform("drop", "")];
    let summary = cluster.run(pipeline("p", Some(source), vec![sink])).await;
    assert!(summary.all_done(), "{summary:?}");
    assert_eq!((summary.connectors[0].records, summary.connectors[1].records), (60, 0), "{summary:?}");
    assert_eq!((summary.connectors[1].dropped, summary.connectors[1].lag), (60, Some(0)), "{summary:?}");
    let twice: Vec<u64> = (0..30).flat_map(|n| [n, n]).collect();
    assert_eq!(cluster.numbers("p").await, twice);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_routed_to_topics_made_like_the_pipelines_own() {
    let cluster = Cluster::start().await;
    let mut routed = source("count", 30);
    routed.transforms = vec![transform("route", "elsewhere")];
    let summary = cluster.run(pipeline("p", Some(routed), vec![])).await;
    assert!(summary.all_done(), "{summary:?}");
    assert_eq!(cluster.numbers("elsewhere").await, (0..30).collect::<Vec<_>>());
    assert_eq!(cluster.partitions("elsewhere").await, 3);
    assert_eq!(cluster.numbers("p").await, [] as [u64; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_record_is_routed_to_a_topic_of_the_cluster_or_on_its_way_to_a_sink() {
    let cluster = Cluster::start().await;
    for topic in ["connect-offsets", "connect-configs", "__consumer_offsets", "__made_up"] {
        let mut routed = source("count", 30);
        routed.transforms = vec![transform("route", topic)];
        let summary = cluster.run(pipeline("p", Some(routed), vec![])).await;
        let error = summary.connectors[0].error.clone().unwrap_or_default();
        assert!(error.contains(&format!("addressed to topic {topic}, which holds the state")), "{error}");
    }
    let mut sink = sink("nothing", "");
    sink.transforms = vec![transform("route", "elsewhere")];
    let summary = cluster.run(pipeline("q", Some(source("count", 30)), vec![sink])).await;
    let error = summary.connectors[1].error.clone().unwrap_or_default();
    assert!(error.contains("routed records to topic elsewhere, on their way to a sink"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_predicate_chooses_what_a_transform_is_given() {
    let cluster = Cluster::start().await;
    let drop = |pattern: &str, negate| {
        let test = RecordTest::TopicNameMatches(pattern.to_owned());
        TransformPlan { predicate: Some(PredicatePlan { test, negate }), ..transform("drop", "") }
    };
    let mut source = source("count", 30);
    // The topic is known though the source names none.
    source.transforms = vec![drop("q", false), drop("p", true)];
    let mut sink = sink("nothing", "");
    sink.transforms = vec![drop("p", false)];
    let summary = cluster.run(pipeline("p", Some(source), vec![sink])).await;
    assert!(summary.all_done(), "{summary:?}");
    assert_eq!(cluster.numbers("p").await, (0..30).collect::<Vec<_>>());
    assert_eq!((summary.connectors[1].dropped, summary.connectors[1].lag), (30, Some(0)), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_may_succeed_later_are_repeated() {
    let cluster = Cluster::start().await;
    let summary = cluster.run(pipeline("p", Some(source("retry", 40)), vec![])).await;
    assert!(summary.all_done(), "{summary:?}");
    assert_eq!((summary.connectors[0].records, summary.connectors[0].restarts), (40, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_at_any_moment_loses_and_doubles_nothing() {
    let cluster = Cluster::start().await;
    let total = 30_000;
    let plan = pipeline("p", Some(source("count", total)), vec![sink("nothing", "")]);
    for kill_after_ms in [5, 20, 40, 60, 90, 120] {
        let worker = cluster.worker(plan.clone()).await;
        tokio::time::sleep(Duration::from_millis(kill_after_ms)).await;
        drop(worker);
    }
    let summary = cluster.run(plan).await;
    assert!(summary.all_done(), "{summary:?}");
    assert_eq!(cluster.numbers("p").await, (0..total).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_takes_over_and_the_first_one_is_fenced() {
    let cluster = Cluster::start().await;
    // Enough that the first is still at it when the second has started, on a busy machine, too.
    let total = 1_000_000;
    let plan = pipeline("p", Some(source("count", total)), vec![]);
    let first = cluster.worker(plan.clone()).await;
    while first.progress()[0].records == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = cluster.run(plan).await;
    let first = first.join().await;
    assert!(second.all_done(), "{second:?}");
    assert_eq!(first.connectors[0].state, State::Failed, "{first:?}");
    assert_eq!(cluster.numbers("p").await, (0..total).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_when_asked_and_goes_on_where_it_was() {
    let cluster = Cluster::start().await;
    let total = 100_000;
    let plan = pipeline("p", Some(source("count", total)), vec![sink("nothing", "")]);
    let worker = cluster.worker(plan.clone()).await;
    while worker.progress()[0].records == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    worker.stop();
    let summary = worker.join().await;
    assert!(
        summary.connectors.iter().all(|c| matches!(c.state, State::Stopped | State::Done)),
        "{summary:?}"
    );
    assert_eq!(cluster.numbers("p").await.len() as u64, summary.connectors[0].records);
    let rest = cluster.run(plan).await;
    assert_eq!(summary.connectors[0].records + rest.connectors[0].records, total, "{rest:?}");
    let settings = json!({"sum": summary.connectors[1].records + rest.connectors[1].records});
    assert_eq!(settings, json!({ "sum": total }), "the sink goes on from the group's offsets: {rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_stands_past_the_end_of_its_topic_says_so() {
    let cluster = Cluster::start().await;
    cluster.run(pipeline("p", Some(source("count", 10)), vec![])).await;
    cluster.commit("connect-p.sink0", "p", 1_000).await;
    let summary = cluster.run(pipeline("p", None, vec![sink("nothing", "")])).await;
    assert!(!summary.none_failed(), "{summary:?}");
    let error = summary.connectors[0].error.as_deref().unwrap_or_default();
    assert!(error.contains("stands at offset 1000 of topic p partition 0, which ends at"), "{error}");
    assert!(error.contains("reset the group connect-p.sink0"), "{error}");
}
