//! Produce (key 0), versions 3 to 13. KIP-98, KIP-219, KIP-467 (record errors), KIP-516 (topic ids, v13), KIP-951.
//!
//! - `acks`: 0 answers nothing, and an error closes the connection; 1 answers when the records are in the log; -1 (all)
//!   when they are committed, which by default means durable. Others are INVALID_REQUIRED_ACKS for every partition.
//! - Exactly one record batch of magic 2 per partition, else INVALID_RECORD; zstd needs version 7, else
//!   UNSUPPORTED_COMPRESSION_TYPE. What else a batch may be is checked by the log (size, CRC, times, counts, keys,
//!   sequence numbers).
//! - The topics that the broker itself writes are INVALID_TOPIC_EXCEPTION, but for Kafka's own admin tools.
//! - Too few in-sync replicas: NOT_ENOUGH_REPLICAS before the append.
//! - A partition that is led elsewhere is NOT_LEADER_OR_FOLLOWER with the leader and its address (version 10 on).
//! - A transactional batch is written only if its partition is part of the transaction (KIP-890, [`admission`]): from version
//!   12 on it is added, before that it is INVALID_TXN_STATE, or TRANSACTION_ABORTABLE in version 11.
//! - The appends have been made, or queued in order, when `start` returns: the next Produce may start while this one
//!   waits for the disk. Batches that wait for the coordinator keep their order among those of their producer.

mod admission;

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;
use millrace_log::{AppendError, AppendOrigin};
use millrace_wire::batch::{self, RawBatch};
use millrace_wire::compression::Compression;
use std::sync::Arc;
use tokio::time::{Instant, timeout};
use tracing::debug;

use self::admission::Admission;
use super::{Answer, Error, Outcome, Reply, RequestContext, decode, reply, throttle};
use crate::controller::topic_name;
use crate::quota::{Usage, metered};
use crate::replica::recompress::recompress;
use crate::replica::{self, Partition, Ticket, Write};

/// The first version that may carry zstd.
const ZSTD_VERSION_MIN: i16 = 7;
/// What Kafka's admin tools call themselves when they write to internal topics.
const ADMIN_CLIENT_ID: &str = "__admin_client";
/// No record of this answer has an offset or a time.
const NONE: i64 = -1;

/// When a producer wants its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Acks {
    None,
    Leader,
    All,
}

/// Why nothing was appended to one partition.
struct Refused {
    code: i16,
    message: String,
}

impl Refused {
    /// For what cannot happen.
    fn unknown() -> Self {
        replica::Error::Closed.into()
    }
}

impl From<replica::Error> for Refused {
    fn from(error: replica::Error) -> Self {
        Self { code: error.code(), message: error.to_string() }
    }
}

/// One partition of the request: where it goes and what became of it so far.
struct Entry {
    index: i32,
    partition: Option<Arc<Partition>>,
    state: Result<Placed, Refused>,
}

/// Where a batch is.
enum Placed {
    /// In the log, or in its queue.
    Ticket(Ticket),
    /// Held until the transaction's coordinator has answered.
    Held(Write),
}

/// One topic of the request, as it is named in the answer.
struct TopicEntries {
    answer: TopicProduceResponse,
    entries: Vec<Entry>,
}

/// Appends, or queues the appends; the answer may come later.
pub(super) fn start(context: RequestContext, body: Bytes) -> Result<Outcome, Error> {
    let frame_bytes = body.len();
    let started = Instant::now();
    let produced = Usage::produced(body.len());
    let request: ProduceRequest = decode(&context, body)?;
    let acks = match request.acks {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    };
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let transactional_id = request.transactional_id;
    let transactional = transactional_id.is_some();
    let mut topics: Vec<TopicEntries> = request
        .topic_data
        .into_iter()
        .map(|topic| append_topic(&context, topic, acks, transactional, frame_bytes))
        .collect();
    if acks != Some(Acks::All) && topics.iter().flat_map(|topic| &topic.entries).all(is_settled) {
        let (responses, failed) = answer_now(topics);
        return Ok(Outcome::Done(finish(&context, acks, failed, responses, (started.elapsed(), produced))));
    }
    let admission = Admission::new(&context, transactional_id.as_ref().map(|id| &***id), &topics);
    let appending = started.elapsed();
    Ok(Outcome::Later(Box::pin(async move {
        if let Some(admission) = admission {
            admission.resolve(&context, &mut topics).await;
        }
        let ((responses, failed), waiting) = metered(answer(&context, acks, timeout, topics)).await;
        finish(&context, acks, failed, responses, (appending + waiting, produced))
    })))
}

fn is_settled(entry: &Entry) -> bool {
    !matches!(entry.state, Ok(Placed::Ticket(Ticket::Queued(_)) | Placed::Held(_)))
}

fn append_topic(
    context: &RequestContext,
    topic: TopicProduceData,
    acks: Option<Acks>,
    transactional: bool,
    frame_bytes: usize,
) -> TopicEntries {
    let append = |data: PartitionProduceData| {
        let index = data.index;
        let found = if context.version >= 13 {
            context.broker.replicas.partition_by_id(topic.topic_id, index)
        } else {
            context.broker.replicas.partition(&topic.name, index)
        };
        match found {
            Ok(partition) => {
                let state = append(context, &partition, data.records, acks, (transactional, frame_bytes));
                Entry { index, partition: Some(partition), state }
            }
            Err(error) => Entry { index, partition: None, state: Err(error.into()) },
        }
    };
    let entries = topic.partition_data.into_iter().map(append).collect();
    let answer = TopicProduceResponse::default().with_name(topic.name).with_topic_id(topic.topic_id);
    TopicEntries { answer, entries }
}

fn append(
    context: &RequestContext,
    partition: &Arc<Partition>,
    records: Option<Bytes>,
    acks: Option<Acks>,
    (transactional, frame_bytes): (bool, usize),
) -> Result<Placed, Refused> {
    let Some(acks) = acks else {
        let message = "acks must be 0, 1 or -1 (all)".to_owned();
        return Err(Refused { code: ResponseError::InvalidRequiredAcks.code(), message });
    };
    if topic_name::is_internal(&partition.topic) && context.client_id.as_deref() != Some(ADMIN_CLIENT_ID) {
        let message = format!("topic {} is the broker's own; clients must not write to it", partition.topic);
        return Err(Refused { code: ResponseError::InvalidTopicException.code(), message });
    }
    let batch = single_batch(records.unwrap_or_default(), context.version, transactional)?;
    partition.check_usable()?;
    let config = partition.config();
    let (in_sync, wanted) = (partition.in_sync_replicas(), config.min_insync_replicas);
    if acks == Acks::All && in_sync < wanted {
        return Err(replica::Error::NotEnoughReplicas { in_sync, wanted }.into());
    }
    context.broker.metrics.appended_bytes.add(batch.bytes.len());
    let (bytes, bytes_max) = (batch.bytes.len(), usize::try_from(config.max_message_bytes).unwrap_or(0));
    if bytes > bytes_max {
        // As it came; the log looks at what a conversion makes of it.
        return Err(replica::Error::from(AppendError::TooLarge { bytes, bytes_max }).into());
    }
    let batch = recompress(detached(batch, frame_bytes), config.compression)?;
    let write = Write { batch, origin: AppendOrigin::Client };
    if admission::must_wait(context, partition, &write.batch.header) {
        return Ok(Placed::Held(write));
    }
    Ok(Placed::Ticket(partition.append(write)))
}

/// The batch with bytes of its own, unless it is most of the frame it came in. Batches outlive their frame in the log's
/// tail cache, which counts their own bytes: a small one must not keep a large frame in memory.
fn detached(batch: RawBatch, frame_bytes: usize) -> RawBatch {
    if batch.bytes.len() >= frame_bytes / 2 {
        return batch;
    }
    RawBatch { header: batch.header, bytes: Bytes::copy_from_slice(&batch.bytes) }
}

/// The one batch that a partition's records must be.
fn single_batch(records: Bytes, version: i16, transactional: bool) -> Result<RawBatch, Refused> {
    let invalid = |message: String| Refused { code: ResponseError::InvalidRecord.code(), message };
    let mut batches = batch::split(records);
    let first = match batches.next() {
        None => {
            return Err(invalid("a partition's records must be one record batch; there is none".to_owned()));
        }
        // What is left of a batch that is cut off is no batch.
        Some(Err(error @ (batch::Error::UnsupportedMagic(_) | batch::Error::Truncated { .. }))) => {
            return Err(invalid(error.to_string()));
        }
        Some(Err(error)) => {
            return Err(Refused { code: ResponseError::CorruptMessage.code(), message: error.to_string() });
        }
        Some(Ok(first)) => first,
    };
    if batches.remaining() > 0 {
        return Err(invalid("a partition's records must be one record batch; there are more".to_owned()));
    }
    let attributes = first.header.attributes;
    if attributes.is_control() {
        return Err(invalid("a client must not write control records".to_owned()));
    }
    if attributes.is_transactional() && !transactional {
        let message = "a transactional batch came in a request without transactional id".to_owned();
        return Err(Refused { code: ResponseError::InvalidTxnState.code(), message });
    }
    match attributes.compression() {
        Ok(Compression::Zstd) if version < ZSTD_VERSION_MIN => Err(Refused {
            code: ResponseError::UnsupportedCompressionType.code(),
            message: format!("zstd needs Produce version {ZSTD_VERSION_MIN}, not {version}"),
        }),
        Ok(_) => Ok(first),
        Err(error) => Err(Refused {
            code: ResponseError::UnsupportedCompressionType.code(),
            message: error.to_string(),
        }),
    }
}

/// The answer when nothing has to be waited for.
fn answer_now(topics: Vec<TopicEntries>) -> (Vec<TopicProduceResponse>, bool) {
    let mut failed = false;
    let mut responses = Vec::with_capacity(topics.len());
    for TopicEntries { mut answer, entries } in topics {
        for entry in entries {
            let appended = match entry.state {
                Ok(Placed::Ticket(Ticket::Done(result))) => result.map_err(Refused::from),
                // `start` doesn't come here with one of these.
                Ok(Placed::Ticket(Ticket::Queued(_)) | Placed::Held(_)) => Err(Refused::unknown()),
                Err(refused) => Err(refused),
            };
            failed |= appended.is_err();
            answer.partition_responses.push(describe(entry.index, entry.partition.as_deref(), appended));
        }
        responses.push(answer);
    }
    (responses, failed)
}

/// Waits for the log, and with `acks=all` for the commit.
async fn answer(
    context: &RequestContext,
    acks: Option<Acks>,
    timeout_after: Duration,
    topics: Vec<TopicEntries>,
) -> (Vec<TopicProduceResponse>, bool) {
    let mut failed = false;
    let mut responses = Vec::with_capacity(topics.len());
    let deadline = Instant::now() + timeout_after;
    for TopicEntries { mut answer, entries } in topics {
        for Entry { index, partition, state } in entries {
            let mut appended = match state {
                Ok(Placed::Ticket(ticket)) => ticket.appended().await.map_err(Refused::from),
                // All of them were resolved.
                Ok(Placed::Held(_)) => Err(Refused::unknown()),
                Err(refused) => Err(refused),
            };
            if let (Ok(done), Some(partition), Some(Acks::All)) = (&appended, &partition, acks) {
                let left = deadline.saturating_duration_since(Instant::now());
                let _waits = context.broker.metrics.produces_waiting.enter();
                match committed(partition, done, left).await {
                    Ok(()) => {}
                    Err(refused) => appended = Err(refused),
                }
            }
            failed |= appended.is_err();
            answer.partition_responses.push(describe(index, partition.as_deref(), appended));
        }
        responses.push(answer);
    }
    (responses, failed)
}

async fn committed(
    partition: &Arc<Partition>,
    appended: &replica::Appended,
    left: Duration,
) -> Result<(), Refused> {
    match timeout(left, partition.committed(appended)).await {
        Ok(result) => result.map_err(Refused::from),
        Err(_) => Err(Refused {
            code: ResponseError::RequestTimedOut.code(),
            message: "the records were written, but not committed within the request's timeout".to_owned(),
        }),
    }
}

fn describe(
    index: i32,
    partition: Option<&Partition>,
    appended: Result<replica::Appended, Refused>,
) -> PartitionProduceResponse {
    let mut response = PartitionProduceResponse::default().with_index(index);
    match appended {
        Ok(appended) => {
            response.base_offset = appended.first_offset.0;
            response.log_append_time_ms = appended.log_append_time_ms.unwrap_or(NONE);
            response.log_start_offset = partition.map_or(NONE, |partition| partition.log().start_offset().0);
        }
        Err(Refused { code, message }) => {
            debug!(partition = index, code, error = %message, "produce refused");
            response.error_code = code;
            response.base_offset = NONE;
            response.log_append_time_ms = NONE;
            response.log_start_offset = partition.map_or(NONE, |partition| partition.log().start_offset().0);
            let text = StrBytes::from_string(message);
            if code == ResponseError::InvalidRecord.code() || code == ResponseError::InvalidTimestamp.code() {
                let first =
                    BatchIndexAndErrorMessage::default().with_batch_index_error_message(Some(text.clone()));
                response.record_errors = vec![first];
            }
            response.error_message = Some(text);
        }
    }
    response
}

fn finish(
    context: &RequestContext,
    acks: Option<Acks>,
    failed: bool,
    responses: Vec<TopicProduceResponse>,
    (busy, produced): (Duration, Usage),
) -> Reply {
    if acks == Some(Acks::None) {
        // Closing is the only way to tell a producer that listens to nothing.
        let answer = if failed { Answer::Close } else { Answer::Nothing };
        return Reply::from(answer).muting(context.throttle_unanswered(produced));
    }
    let mute = context.throttle(busy, Some(produced));
    let mut response = ProduceResponse::default().with_responses(responses);
    response.throttle_time_ms = throttle::in_ms(mute);
    if context.version >= 10 {
        add_leaders(context, &mut response);
    } else if context.version < 8 {
        for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
            partition.record_errors.clear();
            partition.error_message = None;
        }
    }
    reply::encode(context, &response).muting(mute)
}

/// For partitions led elsewhere: by whom, and where that is (KIP-951).
fn add_leaders(context: &RequestContext, response: &mut ProduceResponse) {
    let not_leader = ResponseError::NotLeaderOrFollower.code();
    if response
        .responses
        .iter()
        .all(|topic| topic.partition_responses.iter().all(|p| p.error_code != not_leader))
    {
        return;
    }
    let image = context.broker.image();
    for topic in &mut response.responses {
        let found =
            if context.version >= 13 { image.topic_by_id(topic.topic_id) } else { image.topic(&topic.name) };
        let Some(found) = found else { continue };
        for partition in topic.partition_responses.iter_mut().filter(|p| p.error_code == not_leader) {
            let index = usize::try_from(partition.index).unwrap_or(usize::MAX);
            let Some(state) = found.partitions.get(index) else { continue };
            partition.current_leader = LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(state.leader))
                .with_leader_epoch(state.leader_epoch.0);
            let known = response.node_endpoints.iter().any(|node| node.node_id.0 == state.leader);
            if let (false, Some(broker)) = (known, image.brokers.get(&state.leader)) {
                response.node_endpoints.push(
                    NodeEndpoint::default()
                        .with_node_id(BrokerId(state.leader))
                        .with_host(StrBytes::from_string(broker.host.clone()))
                        .with_port(broker.port.into())
                        .with_rack(broker.rack.clone().map(StrBytes::from_string)),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_wire::ids::Offset;
    use millrace_wire::record::{BatchBuilder, BatchOptions};

    #[test]
    fn a_small_batch_does_not_keep_its_frame() {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(0, None, Some(b"value"), []).unwrap();
        let batch = RawBatch::parse(&builder.build(Offset(0)).unwrap()).unwrap();
        let size = batch.bytes.len();
        let same = |frame_bytes| detached(batch.clone(), frame_bytes).bytes.as_ptr() == batch.bytes.as_ptr();
        assert!(same(size) && same(size + 40), "most of the frame: not copied");
        assert!(!same(3 * size), "a part of the frame: copied");
        assert_eq!(detached(batch.clone(), 3 * size), batch);
    }
}
