//! Fetch (key 1), versions 4 to 18. KIP-98, KIP-227, KIP-320, KIP-516 (topic ids, v13), KIP-951.
//!
//! - Whole batches from the one that holds the offset asked for; the first non-empty partition gives at least one batch
//!   even if that is more than the limits.
//! - Nothing there: waits until `min_bytes` have come or `max_wait_ms` is over. An error answers at once.
//! - At the log's end, or between high watermark and log end: empty, no error. Beyond, or below the log's start:
//!   OFFSET_OUT_OF_RANGE.
//! - `read_committed`: up to the last stable offset, with the aborted transactions in what was read.
//! - Sessions (KIP-227): every request is answered in full with session id 0, which means that the broker keeps no
//!   session; clients then send full requests. A request within a session is FETCH_SESSION_ID_NOT_FOUND.
//! - Over a quota: an empty response with the time to wait.
//! - Leader epochs: FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH; a last fetched epoch that the log ended earlier gives
//!   the diverging epoch (v12).
//! - Records of a zstd topic before version 10: UNSUPPORTED_COMPRESSION_TYPE.
//!
//! Rooms: `encode` (the response's bytes around the records), `read` (one partition).

mod encode;
mod read;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchTopic;
use millrace_wire::ids::Offset;
use tokio::time::{Instant, timeout_at};

use self::encode::{Fetched, FetchedPartition, FetchedTopic};
use self::read::Source;
use super::{Error, Outcome, Reply, RequestContext, decode};
use crate::net::budget::Share;
use crate::purgatory::{Registration, Waiter};
use crate::quota::{Kind, Usage, metered};
use crate::replica::partition::Isolation;

/// Longest wait that is granted, whatever the client asks for.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// What is asked of all partitions together.
struct Limits {
    isolation: Isolation,
    bytes_max: usize,
    bytes_min: usize,
    deadline: Instant,
}

/// Answers at once where it can.
pub(super) fn start(context: RequestContext, body: Bytes) -> Result<Outcome, Error> {
    let started = Instant::now();
    let request: FetchRequest = decode(&context, body)?;
    if let Some(error) = session_error(&request) {
        return Ok(Outcome::Done(encode::refusal(&context, error)));
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let number = |value: i32| usize::try_from(value).unwrap_or(0);
    let limits = Limits {
        isolation: if request.isolation_level == 1 {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        },
        // More than a quota lets through at once would never be answered.
        bytes_max: number(request.max_bytes)
            .min(context.broker.limits.fetch_bytes_max)
            .min(context.most_at_once(Kind::Fetch).unwrap_or(usize::MAX)),
        bytes_min: number(request.min_bytes),
        deadline: Instant::now() + wait,
    };
    let topics: Vec<Topic> = request.topics.into_iter().map(|topic| Topic::find(&context, topic)).collect();
    let starting = started.elapsed();
    Ok(Outcome::Later(Box::pin(async move {
        let ((topics, share), serving) = metered(serve(&context, &limits, topics)).await;
        answer(&context, &limits, topics, share, starting + serving)
    })))
}

/// The response; an empty one with the time to wait if the client is over a quota.
fn answer(
    context: &RequestContext,
    limits: &Limits,
    topics: Vec<FetchedTopic>,
    share: Share,
    busy: Duration,
) -> Reply {
    let bytes = topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.bytes).sum();
    let fetched = Usage::fetched(bytes);
    let throttle = context.throttle(busy, Some(fetched));
    if throttle.is_zero() {
        return encode::reply(context, limits.isolation, Fetched { error: 0, throttle, topics }, share);
    }
    context.not_used(fetched);
    let nothing = Fetched { error: 0, throttle, topics: Vec::new() };
    encode::reply(context, limits.isolation, nothing, Share::default())
}

/// The broker keeps no sessions: only a request that begins one, or wants none, can be served.
fn session_error(request: &FetchRequest) -> Option<ResponseError> {
    match (request.session_id, request.session_epoch) {
        (_, -1) | (0, 0) => None,
        (0, _) => Some(ResponseError::InvalidFetchSessionEpoch),
        (_, 0) => None,
        _ => Some(ResponseError::FetchSessionIdNotFound),
    }
}

/// A topic of the request.
struct Topic {
    answer: FetchedTopic,
    sources: Vec<Source>,
}

impl Topic {
    fn find(context: &RequestContext, topic: FetchTopic) -> Self {
        let replicas = &context.broker.replicas;
        let sources = topic.partitions.into_iter().map(|asked| {
            let found = if context.version >= 13 {
                replicas.partition_by_id(topic.topic_id, asked.partition)
            } else {
                replicas.partition(&topic.topic, asked.partition)
            };
            Source::new(context, found, asked)
        });
        let sources = sources.collect();
        Self {
            answer: FetchedTopic { name: topic.topic, id: topic.topic_id, partitions: Vec::new() },
            sources,
        }
    }
}

/// Reads, waits while there is too little, and reads again.
async fn serve(
    context: &RequestContext,
    limits: &Limits,
    mut topics: Vec<Topic>,
) -> (Vec<FetchedTopic>, Share) {
    let mut waiting: Option<(Waiter, Vec<Registration>)> = None;
    let mut share = Share::default();
    loop {
        let (bytes, settled) = read_all(context, limits, &mut topics, &mut share).await;
        if settled || bytes >= limits.bytes_min || Instant::now() >= limits.deadline {
            break;
        }
        match &waiting {
            // Registered before this read: what came since has woken us or is read.
            Some((waiter, _)) => {
                let _waits = context.broker.metrics.fetches_waiting.enter();
                if timeout_at(limits.deadline, waiter.woken()).await.is_err() {
                    break;
                }
            }
            None => {
                let waiter = Waiter::default();
                let sources = topics.iter().flat_map(|topic| &topic.sources);
                let registrations = sources.filter_map(|source| source.register(&waiter)).collect();
                waiting = Some((waiter, registrations));
            }
        }
    }
    let fetched = topics.into_iter().map(|Topic { mut answer, sources }| {
        answer.partitions = sources.into_iter().map(Source::into_fetched).collect();
        answer
    });
    (fetched.collect(), share)
}

/// Reads what can be read now: how many bytes, and whether there is nothing to wait for (an error, or an empty
/// request). What is read has room in `share`, but for the first batch, without which no client would get on.
async fn read_all(
    context: &RequestContext,
    limits: &Limits,
    topics: &mut [Topic],
    share: &mut Share,
) -> (usize, bool) {
    let budget = &context.broker.response_budget;
    let mut bytes = 0;
    let (mut is_empty, mut failed) = (true, false);
    for source in topics.iter_mut().flat_map(|topic| &mut topic.sources) {
        is_empty = false;
        let mut left = limits.bytes_max.saturating_sub(bytes);
        if !budget.try_grow(share, bytes + source.bytes_wanted(left)) {
            left = 0;
        }
        source.read(context, limits.isolation, left, bytes == 0).await;
        // The others are read all the same: one partition that is never well must not starve them.
        failed |= source.fetched.error != 0 || source.fetched.diverging.is_some();
        bytes += source.fetched.bytes;
        share.shrink(bytes);
    }
    (bytes, is_empty || failed)
}

impl FetchedPartition {
    /// Nothing known, nothing read.
    fn empty(index: i32) -> Self {
        Self {
            index,
            error: 0,
            high_watermark: Offset(-1),
            last_stable: Offset(-1),
            log_start: Offset(-1),
            diverging: None,
            leader: None,
            aborted: Vec::new(),
            parts: Vec::new(),
            bytes: 0,
        }
    }
}
