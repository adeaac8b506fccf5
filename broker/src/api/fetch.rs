//! Fetch (key 1), versions 4 to 18. KIP-98, KIP-227, KIP-320, KIP-516 (topic ids, v13), KIP-951.
//!
//! - Whole batches from the one that holds the offset asked for; the first non-empty partition gives at least one batch
//!   even if that is more than the limits.
//! - Nothing there: waits until `min_bytes` have come or `max_wait_ms` is over. An error answers at once.
//! - At the log's end, or between high watermark and log end: empty, no error. Beyond, or below the log's start:
//!   OFFSET_OUT_OF_RANGE.
//! - `read_committed`: up to the last stable offset, with the aborted transactions in what was read.
//! - Sessions (KIP-227, version 7): see [`crate::fetch_session`]. An unknown one is FETCH_SESSION_ID_NOT_FOUND, a wrong epoch
//!   INVALID_FETCH_SESSION_EPOCH, ids where names began it FETCH_SESSION_TOPIC_ID_ERROR. An answer has only news then.
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
use kafka_protocol::messages::FetchRequest;
use millrace_log::Piece;
use millrace_wire::ids::Offset;
use tokio::time::{Instant, timeout_at};

use self::encode::{Fetched, FetchedPartition, FetchedTopic};
use self::read::Source;
use super::{Error, Outcome, Reply, RequestContext, decode};
use crate::fetch_session::{Asked, Begin, NO_SESSION, Part, TopicKey};
use crate::net::budget::Share;
use crate::purgatory::{Registration, Waiter};
use crate::quota::{Kind, Usage, metered};
use crate::replica::partition::Isolation;

/// Longest wait that is granted, whatever the client asks for.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The first version that names topics by their ids.
const TOPIC_IDS: i16 = 13;

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
    let (part, asked) = match context.broker.fetch_sessions.begin(begin(&context, request)) {
        Ok(begun) => begun,
        Err(error) => return Ok(Outcome::Done(encode::refusal(&context, NO_SESSION, error))),
    };
    let sources: Vec<Source> = asked.into_iter().map(|asked| Source::find(&context, asked)).collect();
    let starting = started.elapsed();
    Ok(Outcome::Later(Box::pin(async move {
        let ((sources, share), serving) = metered(serve(&context, &limits, sources)).await;
        answer(&context, &limits, &part, sources, share, starting + serving)
    })))
}

/// What the request says about sessions, and what it asks for.
fn begin(context: &RequestContext, request: FetchRequest) -> Begin {
    let asked = request.topics.into_iter().flat_map(|topic| {
        let key = TopicKey { name: topic.topic, id: topic.topic_id };
        topic.partitions.into_iter().map(move |partition| Asked { topic: key.clone(), partition })
    });
    let forgotten = request.forgotten_topics_data.into_iter().flat_map(|topic| {
        let key = TopicKey { name: topic.topic, id: topic.topic_id };
        topic.partitions.into_iter().map(move |partition| (key.clone(), partition))
    });
    Begin {
        session_id: request.session_id,
        epoch: request.session_epoch,
        by_id: context.version >= TOPIC_IDS,
        asked: asked.collect(),
        forgotten: forgotten.collect(),
    }
}

/// The response; one without partitions, and with the time to wait, if the client is over a quota.
fn answer(
    context: &RequestContext,
    limits: &Limits,
    part: &Part,
    sources: Vec<Source>,
    share: Share,
    busy: Duration,
) -> Reply {
    let sessions = &context.broker.fetch_sessions;
    let fetched = Usage::fetched(sources.iter().map(|source| source.fetched.bytes).sum());
    let throttle = context.throttle(busy, Some(fetched));
    if !throttle.is_zero() {
        context.not_used(fetched);
        let (session, error) = match sessions.answer_nothing(part) {
            Ok(session) => (session, 0),
            Err((session, error)) => (session, error.code()),
        };
        let nothing = Fetched { error, throttle, session, topics: Vec::new() };
        return encode::reply(context, limits.isolation, nothing, Share::default());
    }
    match sessions.answer(part, sources.iter().map(|source| (&source.asked, source.told()))) {
        Ok((session, news)) => {
            let told = sources.into_iter().zip(news).filter_map(|(source, news)| news.then_some(source));
            let fetched = Fetched { error: 0, throttle, session, topics: by_topic(told) };
            encode::reply(context, limits.isolation, fetched, share)
        }
        Err((session, error)) => encode::refusal(context, session, error),
    }
}

/// Partitions of one topic that follow each other are told together.
fn by_topic(sources: impl Iterator<Item = Source>) -> Vec<FetchedTopic> {
    let mut topics: Vec<FetchedTopic> = Vec::new();
    for Source { asked, fetched, .. } in sources {
        let TopicKey { name, id } = asked.topic;
        match topics.last_mut().filter(|topic| topic.name == name && topic.id == id) {
            Some(topic) => topic.partitions.push(fetched),
            None => topics.push(FetchedTopic { name, id, partitions: vec![fetched] }),
        }
    }
    topics
}

/// Reads, waits while there is too little, and reads again.
async fn serve(context: &RequestContext, limits: &Limits, mut sources: Vec<Source>) -> (Vec<Source>, Share) {
    let mut waiting: Option<(Waiter, Vec<Registration>)> = None;
    let mut share = Share::default();
    loop {
        let (bytes, settled) = read_all(context, limits, &mut sources, &mut share).await;
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
                let registrations = sources.iter().filter_map(|source| source.register(&waiter)).collect();
                waiting = Some((waiter, registrations));
            }
        }
    }
    (sources, share)
}

/// Reads what can be read now: how many bytes, and whether there is nothing to wait for (an error, or an empty
/// request). What is read has room in `share`, but for the first batch, without which no client would get on.
async fn read_all(
    context: &RequestContext,
    limits: &Limits,
    sources: &mut [Source],
    share: &mut Share,
) -> (usize, bool) {
    let budget = &context.broker.response_budget;
    // What is held in memory, of all that is read: the rest goes to the client from its file.
    let (mut bytes, mut held) = (0, 0);
    let (mut is_empty, mut failed) = (true, false);
    for source in sources {
        is_empty = false;
        let mut left = limits.bytes_max.saturating_sub(bytes);
        if !budget.try_grow(share, held + source.bytes_wanted(left)) {
            left = 0;
        }
        source.read(context, limits.isolation, left, bytes == 0).await;
        // The others are read all the same: one partition that is never well must not starve them.
        failed |= source.fetched.error != 0 || source.fetched.diverging.is_some();
        bytes += source.fetched.bytes;
        held += source.fetched.held_bytes();
        share.shrink(held);
    }
    (bytes, is_empty || failed)
}

impl FetchedPartition {
    /// The records that are in memory.
    fn held_bytes(&self) -> usize {
        self.parts.iter().map(|part| if let Piece::Memory(bytes) = part { bytes.len() } else { 0 }).sum()
    }

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
