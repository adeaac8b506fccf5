//! What the group coordinator is asked, what it does about it, and what it answers.
//!
//! Events are requests already taken out of their wire versions (the files under `api/` do that), answers of the disk
//! to earlier appends, and the passing of time. Effects are carried out by the service in the order they come.

use crate::coordinators::{KeyValue, Producer, Token, TopicPartition, WriteId};
use crate::group::consumer::Refused;
use crate::group::consumer::heartbeat::{Heartbeat, Heartbeated};
use crate::group::context::Deadline;
use crate::group::offsets::CommittedOffset;
use bytes::Bytes;
use kafka_protocol::ResponseError;

/// Something that happens to the coordinator.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A member wants to be in the group's next generation.
    Join(Token, Join),
    /// A member asks for its assignment; the leader brings everybody's.
    Sync(Token, Sync),
    /// A member says it is alive.
    Heartbeat(Token, MemberRef),
    /// Members go, or an administrator sends them away.
    Leave(Token, Leave),
    /// A member of a consumer group joins, stays or leaves (KIP-848).
    ConsumerHeartbeat(Token, Box<Heartbeat>),
    /// A deadline of a member passed; it may have had to wait.
    Due(Deadline),
    /// Offsets to be stored.
    Commit(Token, Commit),
    /// Offsets to be stored when the producer's transaction commits (KIP-98).
    TxnCommit(Token, Producer, Commit),
    /// The transaction of a producer ended in this partition of `__consumer_offsets`.
    Marker(Token, Marker),
    /// An administrator deletes a group.
    Delete(Token, String),
    /// An administrator deletes single offsets of a group.
    DeleteOffsets(Token, String, Vec<TopicPartition>),
    /// Topics are gone for good; their offsets go as well. Nobody waits for an answer.
    TopicsDeleted(Vec<String>),
    /// The disk has answered the append `WriteId`.
    Written(WriteId, Result<(), ResponseError>),
    /// Time has passed: deadlines may be due.
    Tick,
}

/// A JoinGroup request.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    /// The group.
    pub(crate) group: String,
    /// The member id from an earlier answer, or empty.
    pub(crate) member_id: String,
    /// The id this member gets if it needs one. Made by the service, so that the machine stays without randomness.
    pub(crate) fresh_member_id: String,
    /// `group.instance.id` of a static member.
    pub(crate) instance: Option<String>,
    /// `client.id`.
    pub(crate) client_id: String,
    /// Where it connects from.
    pub(crate) client_host: String,
    /// How long it may stay silent.
    pub(crate) session_timeout_ms: i32,
    /// How long a rebalance waits for it.
    pub(crate) rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, ...
    pub(crate) protocol_type: String,
    /// Assignors it can use with its metadata for each, the preferred first.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// The client understands MEMBER_ID_REQUIRED (version 4 and up).
    pub(crate) knows_member_id_required: bool,
    /// The client understands that a leader may skip the assignment (version 9 and up).
    pub(crate) knows_skip_assignment: bool,
}

/// Who in which generation is speaking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemberRef {
    /// The group.
    pub(crate) group: String,
    /// The member's id; empty for clients outside the group management.
    pub(crate) member_id: String,
    /// `group.instance.id` of a static member.
    pub(crate) instance: Option<String>,
    /// The generation it believes in; -1 for clients outside the group management.
    pub(crate) generation: i32,
}

/// A SyncGroup request.
#[derive(Clone, Debug)]
pub(crate) struct Sync {
    /// Who asks.
    pub(crate) member: MemberRef,
    /// The protocol type it knows of (version 5 and up).
    pub(crate) protocol_type: Option<String>,
    /// The protocol it knows of (version 5 and up).
    pub(crate) protocol: Option<String>,
    /// From the leader: assignment by member id.
    pub(crate) assignments: Vec<(String, Bytes)>,
}

/// A LeaveGroup request.
#[derive(Clone, Debug)]
pub(crate) struct Leave {
    /// The group.
    pub(crate) group: String,
    /// Who goes: member id (may be empty if the instance id is there) and instance id.
    pub(crate) members: Vec<(String, Option<String>)>,
}

/// An OffsetCommit or TxnOffsetCommit request.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    /// Who commits.
    pub(crate) member: MemberRef,
    /// What an unknown group is called in this version when a generation is named: GROUP_ID_NOT_FOUND since version 9,
    /// ILLEGAL_GENERATION before.
    pub(crate) unknown_group: ResponseError,
    /// The client knows member epochs (OffsetCommit version 9 and up).
    pub(crate) knows_epochs: bool,
    /// The offsets; `commit_ms` is set by the coordinator.
    pub(crate) offsets: Vec<(TopicPartition, CommittedOffset)>,
}

/// The end of a transaction as it reaches one partition of `__consumer_offsets`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marker {
    /// Whose transaction.
    pub(crate) producer: Producer,
    /// The epoch of the transaction coordinator, which stands in the control record.
    pub(crate) coordinator_epoch: i32,
    /// Commit or abort.
    pub(crate) commit: bool,
}

/// What the service has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Answer a request.
    Reply(Token, Reply),
    /// Append records in one batch and report `Event::Written` once they are durable, in the order of the appends.
    Append {
        /// To report back.
        id: WriteId,
        /// The records.
        records: Vec<KeyValue>,
        /// The batch belongs to this producer's transaction.
        producer: Option<Producer>,
    },
    /// Append the control record that ends a transaction, and report as for `Append`.
    AppendMarker {
        /// To report back.
        id: WriteId,
        /// Whose transaction.
        producer: Producer,
        /// Stands in the control record.
        coordinator_epoch: i32,
        /// Commit or abort.
        commit: bool,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// To `Join`.
    Join(Box<Joined>),
    /// To `Sync`.
    Sync(Result<Synced, ResponseError>),
    /// To `Leave`: one result per member, in the order of the request.
    Leave(Result<Vec<Result<(), ResponseError>>, ResponseError>),
    /// To `Commit`, `TxnCommit` and `DeleteOffsets`: one result per partition, in the order of the request, or one
    /// error for all.
    Partitions(Result<Vec<Result<(), ResponseError>>, ResponseError>),
    /// To `Heartbeat`, `Marker` and `Delete`.
    Done(Result<(), ResponseError>),
    /// To `ConsumerHeartbeat`.
    ConsumerHeartbeat(Result<Heartbeated, Refused>),
}

/// The answer to a join.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    /// Why it failed. MEMBER_ID_REQUIRED comes with the `member_id` to use.
    pub(crate) error: Option<ResponseError>,
    /// The new generation, or -1.
    pub(crate) generation: i32,
    /// The group's protocol type.
    pub(crate) protocol_type: Option<String>,
    /// The chosen protocol.
    pub(crate) protocol: Option<String>,
    /// The leader's member id.
    pub(crate) leader: String,
    /// This member's id.
    pub(crate) member_id: String,
    /// The leader need not compute an assignment (KIP-814).
    pub(crate) skip_assignment: bool,
    /// For the leader: all members with their metadata.
    pub(crate) members: Vec<JoinedMember>,
}

/// One member in the leader's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    /// Its id.
    pub(crate) id: String,
    /// Its instance id.
    pub(crate) instance: Option<String>,
    /// Its metadata for the chosen protocol.
    pub(crate) metadata: Bytes,
}

/// The answer to a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Synced {
    /// The group's protocol type.
    pub(crate) protocol_type: Option<String>,
    /// The chosen protocol.
    pub(crate) protocol: Option<String>,
    /// What this member is to do, opaque.
    pub(crate) assignment: Bytes,
}

impl Joined {
    /// A refusal that gives `member_id` back.
    pub(crate) fn refused(error: ResponseError, member_id: &str) -> Self {
        Self { error: Some(error), generation: -1, member_id: member_id.to_owned(), ..Self::default() }
    }
}
