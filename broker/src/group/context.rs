//! What every transition of the group coordinator has at hand: the time, the settings, deadlines, and the effects
//! and unanswered appends it adds to.

use crate::controller::Image;
use crate::coordinators::timers::Timers;
use crate::coordinators::{KeyValue, Producer, Token, TopicPartition, WriteId};
use crate::group::classic::Group;
use crate::group::config::Config;
use crate::group::consumer::change::Next;
use crate::group::event::{Effect, Joined, Marker, Reply};
use crate::group::offsets::CommittedOffset;
use kafka_protocol::ResponseError;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a deadline is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    /// A member of a group has been silent for its session timeout. Also for ids that have not joined yet.
    Member(String, String),
    /// A group's rebalance has waited long enough.
    Rebalance(String),
    /// Members of a group's new generation have not asked for their assignments.
    PendingSync(String),
    /// Time to look for offsets that expire.
    ExpireOffsets,
    /// A member of a consumer group has to have given up partitions.
    Reconcile(String, String),
    /// A member of a consumer group that speaks the classic protocol has to have joined again.
    ClassicJoin(String, String),
    /// A member of a consumer group that speaks the classic protocol has to have asked for its assignment.
    ClassicSync(String, String),
}

impl Deadline {
    /// The group whose member it is about, if it is about one.
    pub(crate) fn group(&self) -> Option<&String> {
        match self {
            Self::Member(group, _)
            | Self::Reconcile(group, _)
            | Self::ClassicJoin(group, _)
            | Self::ClassicSync(group, _) => Some(group),
            Self::Rebalance(_) | Self::PendingSync(_) | Self::ExpireOffsets => None,
        }
    }
}

/// What happens when an append is durable, or has failed.
#[derive(Debug)]
pub(crate) enum Write {
    /// The leader's assignment for a generation: everybody gets theirs.
    Assignment {
        /// The group.
        group: String,
        /// The generation it is for.
        generation: i32,
    },
    /// A static member came back under a new id: it gets its answer.
    StaticMember {
        /// The group.
        group: String,
        /// Its join.
        token: Token,
        /// The answer if all went well.
        joined: Box<Joined>,
    },
    /// A group became empty; nobody waits.
    EmptyGroup {
        /// The group.
        group: String,
    },
    /// Offsets were committed.
    Commit {
        /// The group.
        group: String,
        /// The request.
        token: Token,
        /// Set if they wait for this producer's transaction.
        producer: Option<Producer>,
        /// The offsets that were acceptable.
        offsets: Vec<(TopicPartition, CommittedOffset)>,
        /// The answer if all went well.
        results: Vec<Result<(), ResponseError>>,
    },
    /// A transaction ended.
    Marker {
        /// The request.
        token: Token,
        /// Which one and how.
        marker: Marker,
    },
    /// Offsets were removed by an administrator, by expiry or with their topic.
    RemoveOffsets {
        /// The group.
        group: String,
        /// The request, if there was one.
        answer: Option<(Token, Reply)>,
        /// Which offsets.
        partitions: Vec<TopicPartition>,
    },
    /// A group becomes another: a consumer group, or no longer one.
    Change {
        /// The group.
        group: String,
        /// What it becomes.
        next: Box<Next>,
        /// The request, if there was one, and its answer if all went well.
        answer: Option<(Token, Reply)>,
    },
    /// A group was deleted with all it had.
    DeleteGroup {
        /// The group.
        group: String,
        /// The request; none if it expired.
        token: Option<Token>,
    },
}

/// The surroundings of a transition.
#[derive(Debug)]
pub(crate) struct Context {
    /// Settings.
    pub(crate) config: Config,
    /// The newest metadata.
    pub(crate) image: Arc<Image>,
    /// The time of this step, in milliseconds since 1970.
    pub(crate) now_ms: i64,
    /// Deadlines.
    pub(crate) timers: Timers<Deadline>,
    /// What this step has to have done.
    pub(crate) effects: Vec<Effect>,
    /// Appends that the disk has not answered.
    pub(crate) writes: BTreeMap<WriteId, Write>,
    next_write: u64,
}

impl Context {
    /// Nothing to do yet.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            image: Arc::default(),
            now_ms: 0,
            timers: Timers::new(),
            effects: Vec::new(),
            writes: BTreeMap::new(),
            next_write: 0,
        }
    }

    fn write_id(&mut self, write: Write) -> WriteId {
        let id = WriteId(self.next_write);
        self.next_write += 1;
        self.writes.insert(id, write);
        id
    }

    /// Has `records` appended for `group`; `write` says what follows.
    pub(crate) fn append(
        &mut self,
        group: &mut Group,
        records: Vec<KeyValue>,
        producer: Option<Producer>,
        write: Write,
    ) {
        group.writes_in_flight += 1;
        let id = self.write_id(write);
        self.effects.push(Effect::Append { id, records, producer });
    }

    /// Has the end of a transaction appended.
    pub(crate) fn append_marker(&mut self, token: Token, marker: Marker) {
        let id = self.write_id(Write::Marker { token, marker });
        let Marker { producer, coordinator_epoch, commit } = marker;
        self.effects.push(Effect::AppendMarker { id, producer, coordinator_epoch, commit });
    }

    /// Answers a request.
    pub(crate) fn reply(&mut self, token: Token, reply: Reply) {
        self.effects.push(Effect::Reply(token, reply));
    }

    /// Refuses a join.
    pub(crate) fn refuse_join(&mut self, token: Token, error: ResponseError, member_id: &str) {
        self.reply(token, Reply::Join(Box::new(Joined::refused(error, member_id))));
    }

    /// Gives a member of `group` its session timeout from now on.
    pub(crate) fn keep_alive(&mut self, group: &Group, member_id: &str) {
        if let Some(member) = group.members.get(member_id) {
            self.expire_member(group, member_id, i64::from(member.session_timeout_ms));
        }
    }

    /// Expires the member or pending id `member_id` unless it is heard of within `after_ms`.
    pub(crate) fn expire_member(&mut self, group: &Group, member_id: &str, after_ms: i64) {
        let deadline = Deadline::Member(group.id.clone(), member_id.to_owned());
        self.timers.set(deadline, self.now_ms.saturating_add(after_ms));
    }

    /// Takes the deadline of `member_id` back.
    pub(crate) fn forget_member(&mut self, group: &Group, member_id: &str) {
        self.timers.cancel(&Deadline::Member(group.id.clone(), member_id.to_owned()));
    }
}
