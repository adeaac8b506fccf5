//! Dead letters that are sent again: each record arrives once, whoever is killed, and what fails again comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use millrace_client::{ProduceRecord, Producer, ProducerConfig};
use millrace_connect_runtime::plan::{Decimals, Format, Plan, SinkPlan, Tolerance};
use millrace_connect_runtime::redrive::{Action, Choice, DeadLetters, Error, Handled};
use serde_json::json;

use crate::setup::{Cluster, errors, file_sink, lines, pipeline, sink, source, transform};

/// Letters of one step of a command that is killed.
const STEP: u64 = 40;

fn some(count: u64) -> Choice {
    Choice { count_max: Some(count), ..Choice::default() }
}

/// A sink that writes values to files below a folder, one line each, after a transform that refuses what holds a 7; or keeps it.
fn to_files(folder: &Path, refuses: bool) -> SinkPlan {
    let mut plan = file_sink(folder, json!({ "rotate": { "every": "100ms" } }));
    plan.tasks = 2;
    plan.transforms = vec![if refuses { transform("reject", "7") } else { transform("nothing", "") }];
    plan.errors = errors(Tolerance::All, Some("p.dlq"));
    plan
}

fn sevens(total: u64) -> u64 {
    (0..total).filter(|number| number.to_string().contains('7')).count() as u64
}

async fn waiting(letters: &DeadLetters, topic: &str) -> u64 {
    letters.heaps(topic).await.unwrap().iter().map(|heap| heap.waiting).sum()
}

/// A transaction's end is answered before the coordinator has marked it in the topics, where it is seen then.
async fn seen(is: impl AsyncFn() -> bool) {
    let seen = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), seen).await.expect("it is never seen");
}

/// Kills commands that retry and workers that take what is retried, wherever they are; then lets both come to their end.
async fn retry_with_kills(
    cluster: &Cluster,
    letters: &DeadLetters,
    connector: &str,
    plan: &Plan,
    wait_ms: u64,
) {
    for round in 0..10u64 {
        let command = {
            let (letters, connector) = (letters.clone(), connector.to_owned());
            tokio::spawn(async move { letters.handle("p.dlq", &connector, &some(STEP), Action::Retry).await })
        };
        let worker = cluster.worker(plan.clone()).await;
        tokio::time::sleep(Duration::from_millis(round * wait_ms)).await;
        command.abort();
        let _ = command.await;
        drop(worker);
    }
    letters.handle("p.dlq", connector, &Choice::default(), Action::Retry).await.unwrap();
    let summary = cluster.run(plan.clone()).await;
    assert!(summary.all_done(), "{summary:?}");
    assert_eq!(waiting(letters, "p.dlq").await, 0);
    assert_eq!(letters.on_their_way(connector).await.unwrap(), 0);
    let again = letters.handle("p.dlq", connector, &Choice::default(), Action::Retry).await.unwrap();
    assert_eq!(again, Handled::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sinks_dead_letters_arrive_once_whoever_is_killed() {
    let cluster = Cluster::start().await;
    let letters = DeadLetters::new(cluster.client().clone());
    let out = tempfile::tempdir().unwrap();
    let total = 2_000;
    let plan = |refuses| pipeline("p", Some(source("count", total)), vec![to_files(out.path(), refuses)]);
    assert!(cluster.run(plan(true)).await.all_done());
    assert_eq!(lines(out.path()).len() as u64, total - sevens(total));
    let heaps = letters.heaps("p.dlq").await.unwrap();
    assert_eq!(heaps.len(), 1, "{heaps:?}");
    assert_eq!(
        (&*heaps[0].connector, &*heaps[0].stage, &*heaps[0].code),
        ("p.sink0", "TRANSFORMATION", "test.rejected")
    );
    assert_eq!((heaps[0].waiting, heaps[0].retries_max), (sevens(total), 0));
    retry_with_kills(&cluster, &letters, "p.sink0", &plan(false), 30).await;
    assert_eq!(lines(out.path()), (0..total).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sources_dead_letters_arrive_once_whoever_is_killed() {
    let cluster = Cluster::start().await;
    let letters = DeadLetters::new(cluster.client().clone());
    let total = 2_000;
    let plan = |transforms| {
        let mut source = source("count", total);
        source.transforms = vec![transforms];
        source.errors = errors(Tolerance::All, Some("p.dlq"));
        pipeline("p", Some(source), vec![])
    };
    assert!(cluster.run(plan(transform("reject", "7"))).await.all_done());
    assert_eq!(cluster.numbers("p").await.len() as u64, total - sevens(total));
    retry_with_kills(&cluster, &letters, "p.source", &plan(transform("nothing", "")), 30).await;
    assert_eq!(cluster.numbers("p").await, (0..total).collect::<Vec<_>>());
    let headers: BTreeSet<String> = cluster
        .records("p")
        .await
        .into_iter()
        .flat_map(|record| record.headers)
        .map(|(name, _)| name)
        .collect();
    assert!(headers.iter().all(|name| !name.starts_with("__connect.errors.")), "{headers:?}");
}

/// What a source's record failed in is the conversion: it goes on there, behind the transforms.
#[tokio::test(flavor = "multi_thread")]
async fn a_sources_record_goes_through_the_conversion_that_refused_it_again() {
    let cluster = Cluster::start().await;
    let letters = DeadLetters::new(cluster.client().clone());
    let plan = |step, format| {
        let mut source = source("count", 100);
        source.transforms = vec![step];
        source.formats.value = format;
        source.errors = errors(Tolerance::All, Some("p.dlq"));
        pipeline("p", Some(source), vec![])
    };
    let all = some(1_000);
    let retry = || letters.handle("p.dlq", "p.source", &all, Action::Retry);
    // Bytes would be texts in base64.
    assert!(cluster.run(plan(transform("nothing", ""), Format::Bytes)).await.all_done());
    assert_eq!(cluster.numbers("p").await, [0; 0]);
    for retries in 0..2 {
        seen(async || waiting(&letters, "p.dlq").await > 0).await;
        let heaps = letters.heaps("p.dlq").await.unwrap();
        let heap = heaps.iter().find(|heap| heap.waiting > 0).unwrap();
        assert_eq!((&*heap.stage, &*heap.code), ("VALUE_CONVERTER", "format"));
        assert_eq!((waiting(&letters, "p.dlq").await, heap.retries_max), (100, retries));
        assert_eq!(retry().await.unwrap().done, 100);
        // The transform would refuse them all; the second time they are what the format wants.
        let format = if retries == 0 { Format::Bytes } else { Format::Json };
        assert!(cluster.run(plan(transform("reject", ""), format)).await.all_done());
    }
    assert_eq!(cluster.numbers("p").await, (0..100).collect::<Vec<_>>());
    assert_eq!(waiting(&letters, "p.dlq").await, 0);
}

/// A sink's begins anew with what was read.
#[tokio::test(flavor = "multi_thread")]
async fn a_sinks_record_goes_through_conversion_and_transforms_again() {
    let cluster = Cluster::start().await;
    let letters = DeadLetters::new(cluster.client().clone());
    let out = tempfile::tempdir().unwrap();
    let total = 100;
    let plan = |format, refuses| {
        let mut sink = to_files(out.path(), refuses);
        sink.formats.value = format;
        pipeline("p", Some(source("count", total)), vec![sink])
    };
    let all = some(1_000);
    let retry = || letters.handle("p.dlq", "p.sink0", &all, Action::Retry);
    let envelope = Format::Envelope { decimals: Decimals::Text };
    assert!(cluster.run(plan(envelope, false)).await.all_done());
    let heaps = letters.heaps("p.dlq").await.unwrap();
    assert_eq!((&*heaps[0].stage, heaps[0].waiting), ("VALUE_CONVERTER", total));
    assert_eq!(retry().await.unwrap().done, total);
    assert!(cluster.run(plan(Format::Json, true)).await.all_done());
    assert_eq!(lines(out.path()).len() as u64, total - sevens(total));
    let heaps = letters.heaps("p.dlq").await.unwrap();
    let heap = heaps.iter().find(|heap| heap.waiting > 0).unwrap();
    assert_eq!((&*heap.stage, heap.waiting, heap.retries_max), ("TRANSFORMATION", sevens(total), 1));
    assert_eq!(retry().await.unwrap().done, sevens(total));
    assert!(cluster.run(plan(Format::Json, false)).await.all_done());
    assert_eq!(lines(out.path()), (0..total).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_again_comes_back_with_its_origin_and_a_count_and_can_be_put_aside() {
    let cluster = Cluster::start().await;
    let letters = DeadLetters::new(cluster.client().clone());
    let plan = || {
        let mut refusing = sink("reject", "7");
        refusing.errors = errors(Tolerance::All, Some("p.dlq"));
        pipeline("p", Some(source("count", 100)), vec![refusing])
    };
    assert!(cluster.run(plan()).await.all_done());
    let origins = |retries: u32| {
        let letters = letters.clone();
        async move {
            let mut origins = BTreeMap::new();
            let take = |found: &millrace_connect_runtime::redrive::Found<'_>| {
                let value = String::from_utf8_lossy(found.value.unwrap_or_default()).into_owned();
                assert_eq!(found.letter.retries, retries, "{found:?}");
                let (topic, partition, offset) = found.letter.origin.clone().unwrap();
                assert_eq!(topic, "p");
                assert!(origins.insert((partition, offset), value).is_none(), "{found:?} twice");
            };
            letters.waiting("p.dlq", "p.sink0", &Choice::default(), take).await.unwrap();
            origins
        }
    };
    let first = origins(0).await;
    assert_eq!(first.len() as u64, sevens(100));
    for retries in 1..3 {
        let all = letters.handle("p.dlq", "p.sink0", &Choice::default(), Action::Retry).await.unwrap();
        assert_eq!(all.done, sevens(100));
        let summary = cluster.run(plan()).await;
        assert!(summary.all_done(), "{summary:?}");
        assert_eq!(summary.connectors[1].dead_lettered, sevens(100), "{summary:?}");
        assert_eq!(origins(retries).await, first);
        assert_eq!(letters.heaps("p.dlq").await.unwrap()[0].retries_max, retries);
    }
    // One by where it was read, the others whatever they are.
    let ((partition, offset), _) = first.iter().next().unwrap();
    let one =
        Choice { places: vec![format!("p-{partition}-{offset}").parse().unwrap()], ..Choice::default() };
    let discarded = letters.handle("p.dlq", "p.sink0", &one, Action::Discard).await.unwrap();
    assert_eq!((discarded.done, waiting(&letters, "p.dlq").await), (1, sevens(100) - 1));
    letters.handle("p.dlq", "p.sink0", &Choice::default(), Action::Discard).await.unwrap();
    assert_eq!(waiting(&letters, "p.dlq").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_could_not_read_is_sent_only_if_asked_for() {
    let cluster = Cluster::start().await;
    let letters = DeadLetters::new(cluster.client().clone());
    let mut source = source("reject", 70);
    source.errors = errors(Tolerance::All, Some("p.dlq"));
    let plan = pipeline("p", Some(source), vec![]);
    assert!(cluster.run(plan.clone()).await.all_done());
    let all = letters.handle("p.dlq", "p.source", &Choice::default(), Action::Retry).await.unwrap();
    assert_eq!((all.done, all.unread), (0, 10), "{all:?}");
    let polled = Choice { stages: vec!["TASK_POLL".to_owned()], ..Choice::default() };
    let all = letters.handle("p.dlq", "p.source", &polled, Action::Retry).await.unwrap();
    assert_eq!((all.done, all.unread), (10, 0), "{all:?}");
    seen(async || letters.on_their_way("p.source").await.unwrap() == 10).await;
    assert!(cluster.run(plan).await.all_done());
    assert_eq!(cluster.numbers("p").await, (0..70).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_was_written_twice_is_retried_once() {
    let cluster = Cluster::start().await;
    let letters = DeadLetters::new(cluster.client().clone());
    let mut refusing = sink("reject", "7");
    refusing.errors = errors(Tolerance::All, Some("p.dlq"));
    assert!(cluster.run(pipeline("p", Some(source("count", 100)), vec![refusing])).await.all_done());
    // As when a worker is killed between its dead letters and its flush.
    let producer = Producer::start(cluster.client(), ProducerConfig::default()).await.unwrap();
    let copies = |count: usize| {
        let (cluster, producer) = (&cluster, &producer);
        async move {
            for record in cluster.records("p.dlq").await.into_iter().take(count) {
                let headers = record.headers.into_iter();
                let copy = ProduceRecord {
                    topic: "p.dlq".into(),
                    value: Some(Bytes::from(record.value)),
                    headers: headers
                        .map(|(name, value)| (Bytes::from(name), Some(Bytes::from(value))))
                        .collect(),
                    ..ProduceRecord::default()
                };
                producer.send(copy).await.unwrap().wait().await.unwrap();
            }
        }
    };
    copies(usize::MAX).await;
    assert_eq!(waiting(&letters, "p.dlq").await, sevens(100));
    let all = letters.handle("p.dlq", "p.sink0", &some(5), Action::Retry).await.unwrap();
    assert_eq!(all.done, 5);
    assert_eq!(waiting(&letters, "p.dlq").await, sevens(100) - 5);
    // Also one that comes after the retry.
    copies(3).await;
    assert_eq!(waiting(&letters, "p.dlq").await, sevens(100) - 5);
    let rest = letters.handle("p.dlq", "p.sink0", &Choice::default(), Action::Retry).await.unwrap();
    assert_eq!((rest.done, waiting(&letters, "p.dlq").await), (sevens(100) - 5, 0));
    seen(async || letters.on_their_way("p.sink0").await.unwrap() == sevens(100)).await;
}

/// The later of two commands wins; what the earlier one had not committed is handled by the later one, and nothing by both.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_commands_at_once_one_is_told_that_it_was_superseded() {
    let cluster = Cluster::start().await;
    let letters = DeadLetters::new(cluster.client().clone());
    let out = tempfile::tempdir().unwrap();
    let total = 2_000;
    let plan = |refuses| pipeline("p", Some(source("count", total)), vec![to_files(out.path(), refuses)]);
    assert!(cluster.run(plan(true)).await.all_done());
    let step = some(10);
    let mut superseded = 0;
    for _ in 0..20 {
        let one = || letters.handle("p.dlq", "p.sink0", &step, Action::Retry);
        for handled in <[_; 2]>::from(tokio::join!(one(), one())) {
            match handled {
                Ok(handled) => assert!(handled.done <= 10, "{handled:?}"),
                Err(Error::Superseded { connector, .. }) => {
                    assert_eq!(connector, "p.sink0");
                    superseded += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(superseded > 0, "forty commands, two at a time, and never one in the way of another");
    letters.handle("p.dlq", "p.sink0", &Choice::default(), Action::Retry).await.unwrap();
    assert!(cluster.run(plan(false)).await.all_done());
    assert_eq!(lines(out.path()), (0..total).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_named() {
    let cluster = Cluster::start().await;
    let letters = DeadLetters::new(cluster.client().clone());
    let missing = letters.handle("p.dlq", "p.sink0", &Choice::default(), Action::Discard).await;
    assert!(matches!(missing, Err(Error::NoTopic(_))), "{missing:?}");
    let unnamable = letters.handle("p.dlq", "a b", &Choice::default(), Action::Retry).await;
    assert!(matches!(unnamable, Err(Error::Unnamable(_))), "{unnamable:?}");
    assert!(letters.topics("connect-configs").await.unwrap().is_empty());
}
