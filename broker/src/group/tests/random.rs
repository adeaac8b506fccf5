//! Random runs: whatever clients, disk and time do, some things hold.
//!
//! Checked after every step: one leader that is a member, the generation never falls, a static instance has one
//! member, nobody is answered twice. Checked against the log, at every point of it: reading it again gives the offsets
//! that the live coordinator has, and the membership it last stored.

use super::harness::{Entry, Harness};
use crate::coordinators::{Producer, Token, TopicPartition};
use crate::group::classic::State;
use crate::group::config::Config;
use crate::group::coordinator::Coordinator;
use crate::group::event::{Commit, Event, Join, Leave, Marker, MemberRef, Reply, Sync};
use crate::group::offsets::CommittedOffset;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const GROUPS: [&str; 2] = ["g", "h"];

/// A client's next move, or the disk's, or the clock's. Small numbers choose among what is there.
#[derive(Clone, Debug)]
enum Move {
    JoinNew { group: usize, instance: Option<u8>, knows_required: bool, protocol: u8 },
    Rejoin { group: usize, member: u8, protocol: u8 },
    Sync { group: usize, member: u8, stale: bool },
    Heartbeat { group: usize, member: u8 },
    Leave { group: usize, member: u8 },
    Commit { group: usize, member: u8, as_member: bool, stale: bool, partition: u8, offset: i64 },
    TxnCommit { group: usize, producer: u8, partition: u8, offset: i64 },
    Marker { producer: u8, commit: bool },
    Delete { group: usize },
    DeleteOffset { group: usize, partition: u8 },
    TopicDeleted,
    Disk { ok: bool },
    Wait { ms: i64 },
}

fn moves() -> impl Strategy<Value = Move> {
    let group = 0..GROUPS.len();
    prop_oneof![
        3 => (group.clone(), proptest::option::weighted(0.3, 0..2_u8), any::<bool>(), 0..3_u8).prop_map(
            |(group, instance, knows_required, protocol)| Move::JoinNew { group, instance, knows_required, protocol }),
        6 => (group.clone(), any::<u8>(), 0..3_u8).prop_map(|(group, member, protocol)| Move::Rejoin { group, member, protocol }),
        8 => (group.clone(), any::<u8>(), proptest::bool::weighted(0.1)).prop_map(|(group, member, stale)| Move::Sync { group, member, stale }),
        3 => (group.clone(), any::<u8>()).prop_map(|(group, member)| Move::Heartbeat { group, member }),
        1 => (group.clone(), any::<u8>()).prop_map(|(group, member)| Move::Leave { group, member }),
        4 => (group.clone(), any::<u8>(), any::<bool>(), proptest::bool::weighted(0.2), 0..3_u8, 0..100_i64).prop_map(
            |(group, member, as_member, stale, partition, offset)| Move::Commit { group, member, as_member, stale, partition, offset }),
        3 => (group.clone(), 0..2_u8, 0..3_u8, 0..100_i64).prop_map(
            |(group, producer, partition, offset)| Move::TxnCommit { group, producer, partition, offset }),
        2 => (0..2_u8, any::<bool>()).prop_map(|(producer, commit)| Move::Marker { producer, commit }),
        1 => group.clone().prop_map(|group| Move::Delete { group }),
        1 => (group, 0..3_u8).prop_map(|(group, partition)| Move::DeleteOffset { group, partition }),
        1 => Just(Move::TopicDeleted),
        14 => proptest::bool::weighted(0.95).prop_map(|ok| Move::Disk { ok }),
        4 => (1..20_000_i64).prop_map(|ms| Move::Wait { ms }),
    ]
}

/// The clients' side: who they are and what they wait for.
struct World {
    harness: Harness,
    now_ms: i64,
    next: u64,
    unanswered: BTreeSet<u64>,
    /// Tokens of commits, with the generation and the coordinator's generation when they were accepted.
    generations: BTreeMap<String, i32>,
}

impl World {
    fn token(&mut self) -> Token {
        self.next += 1;
        self.unanswered.insert(self.next);
        Token(self.next)
    }

    /// Some member id of the group that exists, or one that does not.
    fn member(&self, group: usize, choice: u8) -> MemberRef {
        let found = self.harness.coordinator.group(GROUPS[group]);
        let ids: Vec<_> = found
            .iter()
            .flat_map(|group| group.members.keys().chain(&group.pending_joins))
            .cloned()
            .collect();
        let member_id =
            ids.get(usize::from(choice) % ids.len().max(1)).cloned().unwrap_or_else(|| "ghost".to_owned());
        let instance = found.and_then(|group| group.members.get(&member_id)?.instance.clone());
        let generation = found.map_or(-1, |group| group.generation);
        MemberRef { group: GROUPS[group].to_owned(), member_id, instance, generation }
    }

    fn join(&mut self, member: MemberRef, knows_required: bool, protocol: u8) -> Event {
        let token = self.token();
        let protocols = ["range", "sticky"].iter().take(1 + usize::from(protocol % 2));
        let join = Join {
            group: member.group,
            member_id: member.member_id,
            fresh_member_id: format!("m{}", self.next),
            instance: member.instance,
            client_id: String::new(),
            client_host: String::new(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 15_000,
            protocol_type: "consumer".to_owned(),
            protocols: protocols.map(|name| ((*name).to_owned(), Bytes::from(vec![protocol]))).collect(),
            knows_member_id_required: knows_required,
            knows_skip_assignment: protocol == 2,
        };
        Event::Join(token, join)
    }

    fn event(&mut self, step: Move) -> Option<Event> {
        let partition = |number: u8| TopicPartition::new("t", i32::from(number));
        Some(match step {
            Move::JoinNew { group, instance, knows_required, protocol } => {
                let instance = instance.map(|number| format!("i{number}"));
                let member = MemberRef {
                    group: GROUPS[group].to_owned(),
                    instance,
                    generation: -1,
                    ..MemberRef::default()
                };
                self.join(member, knows_required, protocol)
            }
            Move::Rejoin { group, member, protocol } => {
                let member = self.member(group, member);
                self.join(member, true, protocol)
            }
            Move::Sync { group, member, stale } => {
                let mut member = self.member(group, member);
                member.generation -= i32::from(stale);
                let assignments = vec![(member.member_id.clone(), Bytes::from_static(b"all"))];
                Event::Sync(self.token(), Sync { member, protocol_type: None, protocol: None, assignments })
            }
            Move::Heartbeat { group, member } => Event::Heartbeat(self.token(), self.member(group, member)),
            Move::Leave { group, member } => {
                let member = self.member(group, member);
                Event::Leave(
                    self.token(),
                    Leave { group: member.group, members: vec![(member.member_id, member.instance)] },
                )
            }
            Move::Commit { group, member, as_member, stale, partition: number, offset } => {
                let mut member = self.member(group, member);
                if !as_member {
                    member = MemberRef { group: member.group, generation: -1, ..MemberRef::default() };
                } else {
                    member.generation -= i32::from(stale);
                }
                Event::Commit(self.token(), commit(member, partition(number), offset))
            }
            Move::TxnCommit { group, producer, partition: number, offset } => {
                let member =
                    MemberRef { group: GROUPS[group].to_owned(), generation: -1, ..MemberRef::default() };
                let producer = Producer { id: i64::from(producer), epoch: 0 };
                Event::TxnCommit(self.token(), producer, commit(member, partition(number), offset))
            }
            Move::Marker { producer, commit } => {
                let producer = Producer { id: i64::from(producer), epoch: 0 };
                Event::Marker(self.token(), Marker { producer, coordinator_epoch: 0, commit })
            }
            Move::Delete { group } => Event::Delete(self.token(), GROUPS[group].to_owned()),
            Move::DeleteOffset { group, partition: number } => {
                Event::DeleteOffsets(self.token(), GROUPS[group].to_owned(), vec![partition(number)])
            }
            Move::TopicDeleted => Event::TopicsDeleted(vec!["t".to_owned()]),
            Move::Wait { ms } => {
                self.now_ms += ms;
                Event::Tick
            }
            Move::Disk { .. } => return None,
        })
    }

    fn play(&mut self, step: Move) {
        match (self.event(step.clone()), step) {
            (None, Move::Disk { ok }) => {
                let result = if ok { Ok(()) } else { Err(ResponseError::NotCoordinator) };
                self.harness.disk(result, self.now_ms);
            }
            (Some(event), _) => {
                self.harness.step(event.clone(), self.now_ms);
                self.check_fence(&event);
            }
            (None, _) => {}
        }
        self.check_state();
        self.check_log();
    }

    /// A commit with an old generation is refused on the spot, so it can never reach the log.
    fn check_fence(&self, event: &Event) {
        let Event::Commit(token, commit) = event else { return };
        let group = self.harness.coordinator.group(&commit.member.group);
        let current = group.map_or(0, |group| group.generation);
        if commit.member.generation >= 0 && commit.member.generation != current {
            let reply = self.harness.replies.iter().find(|(number, _)| *number == token.0);
            assert!(
                matches!(reply, Some((_, Reply::Partitions(Err(_))))),
                "a stale commit was not refused: {reply:?}"
            );
        }
    }

    fn check_state(&mut self) {
        for (number, _) in self.harness.replies.drain(..) {
            assert!(self.unanswered.remove(&number), "request {number} was answered twice or never asked");
        }
        for name in GROUPS {
            let Some(group) = self.harness.coordinator.group(name) else {
                self.generations.remove(name);
                continue;
            };
            let before = self.generations.insert(name.to_owned(), group.generation).unwrap_or(0);
            let begins_anew = group.generation == 0 && !group.stored;
            assert!(
                group.generation >= before || begins_anew,
                "{name}: generation {before} then {}",
                group.generation
            );
            if let Some(leader) = &group.leader {
                assert!(group.members.contains_key(leader), "{name}: the leader {leader} is no member");
            }
            if matches!(group.state, State::Completing | State::Stable) {
                assert!(
                    group.leader.is_some() && group.protocol.is_some(),
                    "{name}: {:?} without leader",
                    group.state
                );
            }
            for (instance, id) in &group.instances {
                let holder = group.members.get(id).and_then(|member| member.instance.as_ref());
                assert_eq!(holder, Some(instance), "{name}: instance {instance} points to {id}");
            }
            for member in group.members.values() {
                assert!(
                    member.awaiting_join.is_none() || group.state == State::Preparing,
                    "{name}: stray join"
                );
                assert!(
                    member.awaiting_sync.is_none() || group.state == State::Completing,
                    "{name}: stray sync"
                );
            }
        }
    }

    /// Reading the log again gives what the live coordinator has applied.
    fn check_log(&self) {
        let again = self.harness.reread(self.now_ms);
        for name in GROUPS {
            assert_eq!(offsets(&self.harness.coordinator, name), offsets(&again, name), "offsets of {name}");
            let Some(group) = self.harness.coordinator.group(name) else { continue };
            let in_flight = group.writes_in_flight > 0;
            if group.state == State::Stable && !in_flight {
                let stored = again.group(name).expect("a stable group is stored");
                assert_eq!(stored.generation, group.generation);
                assert_eq!(stored.leader, group.leader);
                assert_eq!(stored.instances, group.instances);
                let assigned = |group: &crate::group::classic::Group| -> Vec<_> {
                    group
                        .members
                        .values()
                        .map(|member| (member.id.clone(), member.assignment.clone()))
                        .collect()
                };
                assert_eq!(assigned(stored), assigned(group));
            }
        }
    }

    /// The clients go away, the disk answers and time passes: everything that was asked is answered.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            while !self.harness.in_flight.is_empty() {
                self.play(Move::Disk { ok: true });
            }
            if self.unanswered.is_empty() {
                return;
            }
            self.play(Move::Wait { ms: 60_000 });
        }
        panic!("never answered: {:?}", self.unanswered);
    }
}

fn commit(member: MemberRef, partition: TopicPartition, offset: i64) -> Commit {
    let offset =
        CommittedOffset { offset, leader_epoch: -1, metadata: String::new(), commit_ms: 0, expire_ms: None };
    Commit {
        member,
        unknown_group: ResponseError::IllegalGeneration,
        knows_epochs: true,
        offsets: vec![(partition, offset)],
    }
}

type Dump = (Vec<(TopicPartition, CommittedOffset)>, Vec<(i64, TopicPartition, CommittedOffset)>);

fn offsets(coordinator: &Coordinator, group: &str) -> Dump {
    let Some(group) = coordinator.group(group) else { return Dump::default() };
    let committed = group.offsets.committed().map(|(tp, offset)| (tp.clone(), offset.clone())).collect();
    let pending = group
        .offsets
        .pending()
        .map(|(producer, tp, offset)| (producer, tp.clone(), offset.clone()))
        .collect();
    (committed, pending)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_and_the_log_tells_the_same_story(steps in proptest::collection::vec(moves(), 1..150)) {
        let config = Config { group_initial_rebalance_delay_ms: 100, ..Config::default() };
        let mut world = World {
            harness: Harness::new(config),
            now_ms: 0,
            next: 0,
            unanswered: BTreeSet::new(),
            generations: BTreeMap::new(),
        };
        for step in steps {
            world.play(step);
        }
        world.settle();
        prop_assert!(world.harness.log.iter().all(|entry| !matches!(entry, Entry::Batch(records, _) if records.is_empty())));
    }
}
