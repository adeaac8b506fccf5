//! A Fetch response as bytes: our own encoding, since the crate's would copy every record.
//!
//! The fields between the records are written into one buffer; the records are chained in between as the log gave
//! them. A test compares every version with the crate's encoding.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use millrace_log::Piece;
use millrace_wire::ids::{LeaderEpoch, Offset};
use uuid::Uuid;

use crate::api::{Answer, Reply, RequestContext, reply, throttle};
use crate::net::budget::Share;
use crate::replica::partition::Isolation;

/// Everything the response says.
pub(super) struct Fetched {
    pub(super) error: i16,
    pub(super) throttle: Duration,
    /// Of which session the answer is part; 0 for none.
    pub(super) session: i32,
    pub(super) topics: Vec<FetchedTopic>,
}

/// A topic of it.
pub(super) struct FetchedTopic {
    pub(super) name: TopicName,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<FetchedPartition>,
}

/// A partition of it.
pub(super) struct FetchedPartition {
    pub(super) index: i32,
    pub(super) error: i16,
    pub(super) high_watermark: Offset,
    pub(super) last_stable: Offset,
    pub(super) log_start: Offset,
    /// The log ended this epoch at this offset, before what the client has (KIP-595, v12).
    pub(super) diverging: Option<(LeaderEpoch, Offset)>,
    /// The leader's id and epoch are told (v12).
    pub(super) leader: Option<(i32, LeaderEpoch)>,
    pub(super) aborted: Vec<(i64, i64)>,
    pub(super) parts: Vec<Piece>,
    pub(super) bytes: usize,
}

/// The answer to a request that is refused as a whole.
pub(super) fn refusal(context: &RequestContext, session: i32, error: ResponseError) -> Reply {
    let fetched = Fetched { error: error.code(), throttle: Duration::ZERO, session, topics: Vec::new() };
    reply(context, Isolation::ReadUncommitted, fetched, Share::default())
}

/// The response's frame; `share` is the room that its records take.
pub(super) fn reply(context: &RequestContext, isolation: Isolation, fetched: Fetched, share: Share) -> Reply {
    let metrics = &context.broker.metrics;
    metrics.error(context.api_key, fetched.error);
    for partition in fetched.topics.iter().flat_map(|topic| &topic.partitions) {
        metrics.error(context.api_key, partition.error);
        metrics.fetched_bytes.add(partition.bytes);
    }
    let mute = fetched.throttle;
    let mut writer = Writer::new(context.version, isolation);
    writer.response(fetched);
    let mut parts = writer.finish();
    let body_bytes = parts.iter().map(Piece::len).sum();
    let mut header = BytesMut::with_capacity(reply::HEADER_BYTES);
    reply::put_header(context, body_bytes, &mut header);
    parts.insert(0, header.freeze().into());
    Reply::from(Answer::Pieces(parts, share)).muting(mute)
}

/// Writes in one version.
pub(super) struct Writer {
    version: i16,
    flexible: bool,
    isolation: Isolation,
    out: BytesMut,
    parts: Vec<Piece>,
}

impl Writer {
    pub(super) fn new(version: i16, isolation: Isolation) -> Self {
        let out = BytesMut::with_capacity(256);
        Self { version, flexible: version >= 12, isolation, out, parts: Vec::new() }
    }

    /// The body's pieces.
    pub(super) fn finish(mut self) -> Vec<Piece> {
        self.cut();
        self.parts
    }

    pub(super) fn response(&mut self, fetched: Fetched) {
        self.out.put_i32(throttle::in_ms(fetched.throttle));
        if self.version >= 7 {
            self.out.put_i16(fetched.error);
            self.out.put_i32(fetched.session);
        }
        self.count(fetched.topics.len());
        for topic in fetched.topics {
            self.topic(topic);
        }
        self.no_tags();
    }

    fn topic(&mut self, topic: FetchedTopic) {
        if self.version >= 13 {
            self.out.put_slice(topic.id.as_bytes());
        } else if self.flexible {
            self.varint(topic.name.len() + 1);
            self.out.put_slice(topic.name.as_bytes());
        } else {
            self.out.put_i16(i16::try_from(topic.name.len()).unwrap_or(i16::MAX));
            self.out.put_slice(topic.name.as_bytes());
        }
        self.count(topic.partitions.len());
        for partition in topic.partitions {
            self.partition(partition);
        }
        self.no_tags();
    }

    fn partition(&mut self, partition: FetchedPartition) {
        self.out.put_i32(partition.index);
        self.out.put_i16(partition.error);
        self.out.put_i64(partition.high_watermark.0);
        self.out.put_i64(partition.last_stable.0);
        if self.version >= 5 {
            self.out.put_i64(partition.log_start.0);
        }
        match self.isolation {
            Isolation::ReadCommitted => {
                self.count(partition.aborted.len());
                for (producer, first) in &partition.aborted {
                    self.out.put_i64(*producer);
                    self.out.put_i64(*first);
                    self.no_tags();
                }
            }
            Isolation::ReadUncommitted if self.flexible => self.varint(0),
            Isolation::ReadUncommitted => self.out.put_i32(-1),
        }
        if self.version >= 11 {
            self.out.put_i32(-1); // no preferred read replica
        }
        self.records(partition.parts, partition.bytes);
        self.partition_tags(partition.diverging, partition.leader);
    }

    fn records(&mut self, parts: Vec<Piece>, bytes: usize) {
        if self.flexible {
            self.varint(bytes + 1);
        } else {
            self.out.put_i32(i32::try_from(bytes).unwrap_or(i32::MAX));
        }
        if bytes > 0 {
            self.cut();
            self.parts.extend(parts);
        }
    }

    /// Tagged fields 0 (diverging epoch) and 1 (current leader).
    fn partition_tags(
        &mut self,
        diverging: Option<(LeaderEpoch, Offset)>,
        leader: Option<(i32, LeaderEpoch)>,
    ) {
        if !self.flexible {
            return;
        }
        self.varint(usize::from(diverging.is_some()) + usize::from(leader.is_some()));
        if let Some((epoch, end)) = diverging {
            self.varint(0);
            self.varint(4 + 8 + 1);
            self.out.put_i32(epoch.0);
            self.out.put_i64(end.0);
            self.varint(0);
        }
        if let Some((id, epoch)) = leader {
            self.varint(1);
            self.varint(4 + 4 + 1);
            self.out.put_i32(id);
            self.out.put_i32(epoch.0);
            self.varint(0);
        }
    }

    /// An array's length.
    fn count(&mut self, count: usize) {
        if self.flexible {
            self.varint(count + 1);
        } else {
            self.out.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
        }
    }

    fn varint(&mut self, value: usize) {
        let mut value = u32::try_from(value).unwrap_or(u32::MAX);
        while value >= 0x80 {
            self.out.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value as u8);
    }

    fn no_tags(&mut self) {
        if self.flexible {
            self.out.put_u8(0);
        }
    }

    /// Ends the current piece of our own, so that foreign bytes can follow.
    fn cut(&mut self) {
        if !self.out.is_empty() {
            self.parts.push(self.out.split().freeze().into());
        }
    }
}
