//! The task that keeps the buffers filled: at most one Fetch per leader, each for all partitions there that have room.
//!
//! A long poll for quiet partitions must not hold up one that the application has just emptied. So partitions are fetched
//! ahead while there is room, and when one is left out because its buffer is full, the others wait only briefly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use kafka_protocol::protocol::StrBytes;
use millrace_wire::batch::{RawBatch, split_whole};
use millrace_wire::ids::ProducerId;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::aborted::{Aborted, visible};
use super::config::OffsetReset;
use super::fetched::FetchedPartition;
use super::positions::{self, Lost};
use super::{Position, Shared};
use crate::error::{Error, Result};
use crate::topic::{TopicPartition, by_topic, topic_name};

/// Pause after an error before a partition is asked for again.
pub(super) const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait of a fetch that leaves a partition out.
const SHORT_WAIT: Duration = Duration::from_millis(20);

/// A partition in a request: its epoch and the offset asked for.
type Asked = BTreeMap<TopicPartition, (u64, i64)>;

#[derive(Default)]
struct Plan {
    by_leader: BTreeMap<i32, Asked>,
    /// Leaders of partitions that were left out for their full buffers.
    crowded: BTreeSet<i32>,
    lost: Lost,
    homeless: bool,
    wake_at: Option<Instant>,
}

/// Runs until the consumer is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut fetches: JoinSet<i32> = JoinSet::new();
    let mut busy: BTreeSet<i32> = BTreeSet::new();
    let mut asides: JoinSet<()> = JoinSet::new();
    let mut refreshing = false;
    loop {
        let plan = shared.plan(&busy);
        for (leader, asked) in plan.by_leader {
            busy.insert(leader);
            let wait = match plan.crowded.contains(&leader) {
                true => shared.config.fetch_max_wait.min(SHORT_WAIT),
                false => shared.config.fetch_max_wait,
            };
            fetches.spawn(fetch(shared.clone(), leader, asked, wait));
        }
        if !plan.lost.is_empty() {
            asides.spawn(positions::find(shared.clone(), plan.lost));
        }
        if (plan.homeless || shared.cluster.metadata_is_stale()) && !refreshing {
            refreshing = true;
            asides.spawn(refresh(shared.clone()));
        }
        let timer = async {
            match plan.wake_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(Ok(leader)) = fetches.join_next() => { busy.remove(&leader); }
            Some(_) = asides.join_next() => refreshing = false,
            () = shared.wanted.notified() => {}
            () = timer => {}
        }
    }
}

async fn refresh(shared: Arc<Shared>) {
    let seen = shared.cluster.metadata().version;
    if let Err(error) = shared.cluster.refresh(seen).await {
        tracing::debug!(%error, "metadata was not refreshed");
    }
    // A leader may still be missing; asking at once would not find it sooner.
    tokio::time::sleep(ERROR_PAUSE).await;
}

impl Shared {
    /// What to ask whom, and marks it as asked.
    fn plan(&self, busy: &BTreeSet<i32>) -> Plan {
        let metadata = self.cluster.metadata();
        let now = Instant::now();
        let mut plan = Plan::default();
        let mut state = self.state.lock();
        let is_full = state.buffered_bytes >= self.config.buffer_bytes;
        let room = 2 * self.config.max_partition_fetch_bytes as usize;
        for (tp, partition) in state.partitions.iter_mut() {
            if partition.is_asked || partition.is_paused {
                continue;
            }
            if let Some(at) = partition.not_before.filter(|at| *at > now) {
                plan.wake_at = Some(plan.wake_at.map_or(at, |earlier| earlier.min(at)));
                continue;
            }
            let Some(from) = partition.fetch_from else {
                partition.is_asked = true;
                plan.lost.insert(tp.clone(), (partition.epoch, partition.wanted));
                continue;
            };
            let Some(leader) = metadata.leader(tp) else {
                plan.homeless = true;
                continue;
            };
            if is_full || partition.buffered_bytes >= room {
                plan.crowded.insert(leader);
            } else if !busy.contains(&leader) {
                partition.is_asked = true;
                plan.by_leader.entry(leader).or_default().insert(tp.clone(), (partition.epoch, from));
            }
        }
        plan
    }
}

async fn fetch(shared: Arc<Shared>, leader: i32, asked: Asked, wait: Duration) -> i32 {
    let response = ask(&shared, leader, &asked, wait).await;
    let wants_metadata = match response {
        Ok(response) => settle(&shared, &asked, response),
        Err(error) => {
            tracing::debug!(%error, leader, "fetch failed");
            fail_all(&shared, &asked, &error);
            error.wants_metadata()
        }
    };
    if wants_metadata {
        let seen = shared.cluster.metadata().version;
        let _ = shared.cluster.refresh(seen).await;
    }
    shared.arrived.notify_one();
    leader
}

async fn ask(shared: &Shared, leader: i32, asked: &Asked, wait: Duration) -> Result<FetchResponse> {
    let connection = shared.cluster.broker(leader).await?;
    let config = &shared.config;
    let topics =
        by_topic(asked.iter().map(|(tp, (_, from))| (tp, *from))).into_iter().map(|(topic, partitions)| {
            let partitions = partitions.into_iter().map(|(partition, from)| {
                FetchPartition::default()
                    .with_partition(partition)
                    .with_fetch_offset(from)
                    .with_partition_max_bytes(config.max_partition_fetch_bytes)
            });
            FetchTopic::default().with_topic(topic_name(&topic)).with_partitions(partitions.collect())
        });
    let version = connection.version_of::<FetchRequest>()?;
    let mut request = FetchRequest::default()
        .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(config.fetch_min_bytes)
        .with_max_bytes(config.fetch_max_bytes)
        .with_isolation_level(config.isolation.level())
        .with_session_epoch(NO_SESSION)
        .with_topics(topics.collect());
    if version >= FIRST_WITH_RACK {
        request = request.with_rack_id(StrBytes::from_string(config.client_rack.clone()));
    }
    let limit = shared.cluster.config().request_timeout + wait;
    let response = connection.request_within(&request, version, limit).await?;
    Error::check("Fetch", || format!("broker {leader}"), response.error_code)?;
    Ok(response)
}

/// Every request names all its partitions (KIP-227 sessions are not used).
const NO_SESSION: i32 = -1;
const FIRST_WITH_RACK: i16 = 11;

/// Buffers what came. Says whether a leader seems to have moved.
fn settle(shared: &Shared, asked: &Asked, response: FetchResponse) -> bool {
    let mut wants_metadata = false;
    let mut open = asked.clone();
    for topic in response.responses {
        let name: Arc<str> = topic.topic.0.as_str().into();
        for data in topic.partitions {
            let tp = TopicPartition::new(name.clone(), data.partition_index);
            let Some((epoch, from)) = open.remove(&tp) else { continue };
            // Cutting, checking and filtering take time: not under the lock.
            let outcome = take(shared, &tp, from, data);
            let mut state = shared.state.lock();
            let Some(partition) = state.partitions.get_mut(&tp).filter(|p| p.epoch == epoch) else {
                continue;
            };
            partition.is_asked = false;
            match outcome {
                Ok(fetched) => {
                    partition.high_watermark = Some(fetched.high_watermark);
                    if fetched.next_offset > from {
                        state.buffer(&tp, fetched);
                    }
                }
                Err(error) => wants_metadata |= note_error(shared, partition, &tp, error),
            }
        }
    }
    // Whatever the broker left out is asked for again.
    let mut state = shared.state.lock();
    for (tp, (epoch, _)) in open {
        if let Some(partition) = state.partitions.get_mut(&tp).filter(|p| p.epoch == epoch) {
            partition.is_asked = false;
            partition.not_before = Some(Instant::now() + ERROR_PAUSE);
        }
    }
    wants_metadata
}

/// Checks and filters a partition's batches.
fn take(shared: &Shared, tp: &TopicPartition, from: i64, data: PartitionData) -> Result<FetchedPartition> {
    Error::check("Fetch", || tp.to_string(), data.error_code)?;
    let malformed = |reason: String| Error::malformed("", format!("{tp}: {reason}"));
    let records = data.records.unwrap_or_default();
    let is_empty = records.is_empty();
    let batches: Vec<RawBatch> =
        split_whole(records).collect::<std::result::Result<_, _>>().map_err(|e| malformed(e.to_string()))?;
    if batches.is_empty() && !is_empty {
        return Err(malformed(
            "less than one whole batch; max.partition.fetch.bytes may be too small".to_owned(),
        ));
    }
    for batch in &batches {
        batch.verify_crc().map_err(|error| malformed(error.to_string()))?;
    }
    // A compacted batch may end before the offset that was asked for.
    let next_offset = batches.last().map_or(from, |last| last.next_offset().0.max(from));
    let aborted = data.aborted_transactions.unwrap_or_default().into_iter();
    let aborted = aborted
        .map(|a| Aborted { producer: ProducerId(a.producer_id.0), first_offset: a.first_offset })
        .collect();
    let mut batches = visible(batches, aborted);
    batches.retain(|batch| batch.last_offset().0 >= from);
    Ok(FetchedPartition {
        topic: tp.topic.clone(),
        partition: tp.partition,
        batches,
        from,
        next_offset,
        high_watermark: data.high_watermark,
        last_stable_offset: data.last_stable_offset,
        max_uncompressed: shared.config.max_uncompressed_batch_bytes,
    })
}

/// Decides what an error means for a partition. Says whether a leader seems to have moved.
fn note_error(
    shared: &Shared,
    partition: &mut super::state::Partition,
    tp: &TopicPartition,
    error: Error,
) -> bool {
    partition.not_before = Some(Instant::now() + ERROR_PAUSE);
    if error.code() == Some(Code::OffsetOutOfRange) {
        let reset = match shared.config.auto_offset_reset {
            OffsetReset::Earliest => Position::Earliest,
            OffsetReset::Latest => Position::Latest,
            OffsetReset::None => {
                partition.error = Some(error);
                return false;
            }
        };
        // What is buffered was read before and still counts.
        if partition.buffer.is_empty() {
            tracing::warn!(topic = %tp.topic, partition = tp.partition, ?reset, "offset out of range, resetting");
            partition.seek(reset);
        }
        return false;
    }
    let wants_metadata = error.wants_metadata();
    if !error.is_retriable() && !wants_metadata {
        partition.error = Some(error);
    }
    wants_metadata
}

fn fail_all(shared: &Shared, asked: &Asked, error: &Error) {
    let mut state = shared.state.lock();
    for (tp, (epoch, _)) in asked {
        if let Some(partition) = state.partitions.get_mut(tp).filter(|p| p.epoch == *epoch) {
            partition.is_asked = false;
            partition.not_before = Some(Instant::now() + ERROR_PAUSE);
            partition.error = Some(error.clone()).filter(|error| !error.is_retriable());
        }
    }
}
