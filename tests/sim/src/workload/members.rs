//! Members of consumer groups: they join, read, commit, doze off, leave and vanish.
//!
//! Members of a transactional group turn input into output exactly once: each poll's records, what was made of them and the
//! group's offsets are one transaction. Their transactional ids are their own, so that only the group's generation fences
//! one which has lost its partitions (KIP-447). Some leave their group with a transaction open, and end it when others have
//! their partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::{
    Consumer, ConsumerConfig, FetchedPartition, Isolation, OffsetAndMetadata, OffsetReset, Polled, Position,
    Producer, Random, Result,
};
use tokio::time::sleep;

use super::{PAUSE_MAX_MS, Phase, Shared, decode};
use crate::history::{Assignment, Committed, Group, Id, Offsets, Partition, Seen, Sent, Topic};

/// A group of the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// How many work at the same time.
    pub(super) members: u32,
    pub(super) is_transactional: bool,
}

/// All groups of a run.
pub(super) const GROUPS: [Kind; 2] = [
    Kind { name: "exactly-once", members: 3, is_transactional: true },
    Kind { name: "at-least-once", members: 2, is_transactional: false },
];

/// When the coordinator gives up a member that vanished.
const SESSION_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause between heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(300);
/// A member that does not poll for so long leaves its group.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(3);
/// Longest wait of one poll.
const POLL_MAX: Duration = Duration::from_millis(200);
/// Longest doze between reading and committing, in milliseconds: longer than a member may.
const DOZE_MAX_MS: u64 = 4000;
/// Longest time from leaving a group to the end of the transaction that was open then, in milliseconds: the others have the
/// partitions by then.
const PARTING_MAX_MS: u64 = 2500;
/// Bytes of one partition in one fetch, and of all in one poll: little, so that there is more than one after an outage.
const FETCH_BYTES: i32 = 2048;

/// One member at work.
struct Member<'a> {
    shared: &'a Shared,
    group: usize,
    consumer: Consumer,
    /// In a transactional group.
    producer: Option<Producer>,
    /// The id of the next record of the output.
    next_id: Id,
    /// The session in the history.
    session: usize,
}

impl Kind {
    /// As the history begins.
    pub(super) fn history(self) -> Group {
        Group {
            name: self.name,
            is_transactional: self.is_transactional,
            assignments: Vec::new(),
            acknowledged: Vec::new(),
            observed: Vec::new(),
            sessions: Vec::new(),
        }
    }
}

impl Shared {
    /// A group's member, session after session. They work until the run ends.
    pub(super) async fn member(self, group: usize, number: u32, mut random: Random) {
        while !self.is_in(Phase::End) {
            let session = self.member_session(group, number, &mut random).await;
            self.end_of_session("member", session);
            sleep(Duration::from_millis(random.below(PAUSE_MAX_MS))).await;
        }
    }

    async fn member_session(&self, group: usize, number: u32, random: &mut Random) -> anyhow::Result<()> {
        let kind = GROUPS[group];
        let mut producer = None;
        if kind.is_transactional {
            let transactional = self.producer(Some(format!("{}-{number}", kind.name))).await?;
            transactional.init_transactions().await?;
            producer = Some(transactional);
        }
        let mut consumer = Consumer::start(&self.client, kind.consumer()).await?;
        consumer.subscribe(&[Topic::Input.name()])?;
        let session = self.new_member_session(group);
        let next_id = Id { producer: self.new_producer(), number: 0 };
        let mut member = Member { shared: self, group, consumer, producer, next_id, session };
        for _ in 0..10 + random.below(60) {
            if self.is_in(Phase::End) {
                break;
            }
            member.turn(random).await?;
        }
        match random.below(4) {
            0 => Ok(member.consumer.close().await?),
            1 => member.part(random).await,
            // The others vanish without a word.
            _ => Ok(()),
        }
    }

    fn new_member_session(&self, group: usize) -> usize {
        let session = self.new_session(true, false);
        self.history.lock().groups[group].sessions.push(session);
        session
    }

    fn acknowledged(&self, group: usize, offsets: Offsets) {
        let history = &mut *self.history.lock();
        let at = history.tick();
        history.groups[group].acknowledged.push(Committed { at, offsets });
    }
}

impl Kind {
    fn consumer(self) -> ConsumerConfig {
        ConsumerConfig {
            group_id: Some(self.name.to_owned()),
            isolation: Isolation::ReadCommitted,
            auto_offset_reset: OffsetReset::Earliest,
            session_timeout: SESSION_TIMEOUT,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            max_poll_interval: POLL_INTERVAL_MAX,
            max_partition_fetch_bytes: FETCH_BYTES,
            fetch_max_bytes: FETCH_BYTES,
            ..ConsumerConfig::default()
        }
    }
}

impl Member<'_> {
    /// One poll, and what follows from it.
    async fn turn(&mut self, random: &mut Random) -> anyhow::Result<()> {
        match self.consumer.poll(POLL_MAX).await? {
            Polled::Records(fetched) => self.process(&fetched, random).await,
            Polled::Assigned(given) => {
                let who = self.consumer.group_metadata()?;
                let given = given.iter().map(|tp| Partition::of(&tp.topic, tp.partition));
                let partitions = given.collect::<anyhow::Result<_>>()?;
                let assignment =
                    Assignment { generation: who.generation_id, member: who.member_id, partitions };
                self.shared.history.lock().groups[self.group].assignments.push(assignment);
                self.session = self.shared.new_member_session(self.group);
                Ok(())
            }
            Polled::Revoking(_) | Polled::Lost(_) | Polled::Nothing => Ok(()),
        }
    }

    async fn process(&mut self, fetched: &[FetchedPartition], random: &mut Random) -> anyhow::Result<()> {
        let (seen, next) = self.note(fetched)?;
        if let Some(producer) = self.producer.clone() {
            let transaction = self.shared.begin(&producer)?;
            let done = self.transact(&producer, transaction, &seen, &next, random).await;
            return self.rewind_unless(done, &producer, transaction, &next).await;
        }
        doze(random).await;
        // A refusal says that the partitions are another's by now, or soon will be: the next poll tells.
        match self.consumer.commit(wire(&next)).await {
            Err(error) if error.code().is_none() => Err(error.into()),
            Err(_) => Ok(()),
            Ok(()) => {
                self.shared.acknowledged(self.group, next);
                Ok(())
            }
        }
    }

    /// Writes down what was polled; the records, and where the group goes on after them.
    fn note(&self, fetched: &[FetchedPartition]) -> anyhow::Result<(Vec<Seen>, Offsets)> {
        let seen = decode(fetched)?;
        self.shared.note_seen(self.session, &seen);
        let next = fetched
            .iter()
            .map(|fetched| Ok((Partition::of(&fetched.topic, fetched.partition)?, fetched.next_offset)));
        Ok((seen, next.collect::<anyhow::Result<_>>()?))
    }

    /// Makes output of records and commits it, or not. Returns whether it was committed.
    async fn transact(
        &mut self,
        producer: &Producer,
        transaction: usize,
        seen: &[Seen],
        next: &Offsets,
        random: &mut Random,
    ) -> Result<bool> {
        self.transform(producer, transaction, seen, next, random).await?;
        doze(random).await;
        let commits = random.below(6) != 0;
        self.shared.end(producer, transaction, commits).await?;
        if commits {
            self.shared.acknowledged(self.group, next.clone());
        }
        Ok(commits)
    }

    /// Makes output of records, in one transaction with the group's offsets. Once it returns only the transaction's end decides,
    /// whatever generation the group has by then.
    async fn transform(
        &mut self,
        producer: &Producer,
        transaction: usize,
        seen: &[Seen],
        next: &Offsets,
        random: &mut Random,
    ) -> Result<()> {
        {
            let transaction = &mut self.shared.history.lock().transactions[transaction];
            transaction.reads = seen.iter().map(|seen| seen.id).collect();
            transaction.offsets = next.clone();
        }
        let mut deliveries = Vec::new();
        for seen in seen {
            let sent = self.shared.sent(Topic::Output, self.take_id(), random);
            let sent = Sent { transaction: Some(transaction), source: Some(seen.id), ..sent };
            deliveries.push(self.shared.send(producer, sent).await?);
        }
        self.shared.settle(deliveries).await?;
        doze(random).await;
        producer.send_offsets_to_transaction(wire(next), &self.consumer.group_metadata()?).await
    }

    /// The last poll of a member that leaves its group in the middle of a transaction and ends that later: whoever is given
    /// its partitions must wait for it (KIP-447's stable offsets).
    async fn part(mut self, random: &mut Random) -> anyhow::Result<()> {
        let polled = self.consumer.poll(POLL_MAX).await?;
        let (Polled::Records(fetched), Some(producer)) = (polled, self.producer.clone()) else {
            return Ok(self.consumer.close().await?);
        };
        let (seen, next) = self.note(&fetched)?;
        let transaction = self.shared.begin(&producer)?;
        self.transform(&producer, transaction, &seen, &next, random).await?;
        let Self { shared, group, consumer, .. } = self;
        consumer.close().await?;
        sleep(Duration::from_millis(random.below(PARTING_MAX_MS))).await;
        let commits = random.below(6) != 0;
        shared.end(&producer, transaction, commits).await?;
        if commits {
            shared.acknowledged(group, next);
        }
        Ok(())
    }

    /// Aborts what failed; after an abort, reads again what is not committed.
    async fn rewind_unless(
        &mut self,
        done: Result<bool>,
        producer: &Producer,
        transaction: usize,
        next: &Offsets,
    ) -> anyhow::Result<()> {
        match done {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if error.needs_abort() => self.shared.end(producer, transaction, false).await?,
            Err(error) => return Err(error.into()),
        }
        self.session = self.shared.new_member_session(self.group);
        for partition in next.keys() {
            self.consumer.seek(&partition.place(), Position::Committed)?;
        }
        Ok(())
    }

    fn take_id(&mut self) -> Id {
        let id = self.next_id;
        self.next_id.number += 1;
        id
    }
}

/// Now and then, so long that the group may have given the partitions to others.
async fn doze(random: &mut Random) {
    if random.below(20) == 0 {
        sleep(Duration::from_millis(random.below(DOZE_MAX_MS))).await;
    }
}

fn wire(offsets: &Offsets) -> BTreeMap<millrace_client::TopicPartition, OffsetAndMetadata> {
    offsets.iter().map(|(partition, offset)| (partition.place(), (*offset).into())).collect()
}
