//! Random runs of consumer groups: whatever members, disk, topics and time do, a partition has one owner, reading the log
//! gives the state that is in memory, and when everybody behaves the group comes to rest.

use super::harness::Harness;
use super::script::image_of;
use crate::coordinators::Token;
use crate::group::config::Config;
use crate::group::consumer::heartbeat::Heartbeat;
use crate::group::consumer::{Assignment, ConsumerGroup, GroupState, partitions};
use crate::group::event::{Event, Reply};
use kafka_protocol::ResponseError;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const MEMBERS: usize = 5;

/// What happens next. Small numbers choose who.
#[derive(Clone, Debug)]
enum Move {
    /// A member's next heartbeat: it joins if it is not in, and says what it has if `tells`.
    Beat { who: usize, tells: bool },
    /// The member subscribes to other topics.
    Subscribe { who: usize, topics: u8, pattern: bool },
    /// The answer to its last heartbeat does not reach it.
    Lose { who: usize },
    /// It leaves.
    Leave { who: usize },
    /// It dies and comes back as somebody new.
    Die { who: usize },
    /// Topics get other numbers of partitions; 0 is none.
    Topics { counts: [i32; 3] },
    /// The disk answers.
    Disk { ok: bool },
    /// Time passes.
    Wait { ms: i64 },
    /// The broker is killed.
    Restart,
}

fn moves() -> impl Strategy<Value = Move> {
    let who = 0..MEMBERS;
    prop_oneof![
        20 => (who.clone(), any::<bool>()).prop_map(|(who, tells)| Move::Beat { who, tells }),
        2 => (who.clone(), 1..8_u8, any::<bool>()).prop_map(|(who, topics, pattern)| Move::Subscribe { who, topics, pattern }),
        2 => who.clone().prop_map(|who| Move::Lose { who }),
        1 => who.clone().prop_map(|who| Move::Leave { who }),
        1 => who.prop_map(|who| Move::Die { who }),
        1 => [0..4_i32, 1..4_i32, 1..7_i32].prop_map(|counts| Move::Topics { counts }),
        20 => proptest::bool::weighted(0.95).prop_map(|ok| Move::Disk { ok }),
        2 => (1..50_000_i64).prop_map(|ms| Move::Wait { ms }),
        1 => Just(Move::Restart),
    ]
}

/// A client.
#[derive(Clone, Debug, Default)]
struct Client {
    id: String,
    epoch: i32,
    topics: u8,
    pattern: bool,
    /// It has to tell everything in its next heartbeat.
    full: bool,
    has: Assignment,
    waits_for: Option<u64>,
}

struct World {
    harness: Harness,
    now_ms: i64,
    token: u64,
    names: u32,
    clients: Vec<Client>,
}

impl World {
    fn new() -> Self {
        let mut harness = Harness::new(Config::default());
        harness.learn(image_of(&[("a", 3), ("b", 2), ("c", 4)]));
        let mut world = Self { harness, now_ms: 0, token: 0, names: 0, clients: Vec::new() };
        for number in 0..MEMBERS {
            world.clients.push(Client { topics: 1 + number as u8 % 3, ..Client::default() });
            world.born(number);
        }
        world
    }

    fn born(&mut self, who: usize) {
        self.names += 1;
        let client = &mut self.clients[who];
        let (topics, pattern) = (client.topics, client.pattern);
        *client = Client { id: format!("m{}", self.names), topics, pattern, full: true, ..Client::default() };
    }

    fn group(&self) -> Option<&ConsumerGroup> {
        self.harness.coordinator.group("g").and_then(|group| group.consumer.as_ref())
    }

    fn beat(&mut self, who: usize, tells: bool) {
        self.token += 1;
        let token = self.token;
        let client = &mut self.clients[who];
        if client.waits_for.is_some() {
            return;
        }
        client.waits_for = Some(token);
        let joins = client.epoch == 0;
        if joins {
            client.has.clear();
        }
        let full = client.full || joins;
        let names = ["a", "b", "c"].into_iter().enumerate();
        let names: Vec<String> = names
            .filter(|(bit, _)| client.topics & (1 << bit) != 0)
            .map(|(_, name)| name.to_owned())
            .collect();
        let heartbeat = Heartbeat {
            group: "g".to_owned(),
            member_id: client.id.clone(),
            epoch: client.epoch,
            rebalance_timeout_ms: full.then_some(30_000),
            topics: full
                .then(|| if client.pattern { BTreeSet::new() } else { names.iter().cloned().collect() }),
            pattern: full.then(|| if client.pattern { names.join("|") } else { String::new() }),
            owned: (tells || full).then(|| client.has.clone()),
            ..Heartbeat::default()
        };
        client.full = false;
        self.harness.step(Event::ConsumerHeartbeat(Token(token), Box::new(heartbeat)), self.now_ms);
        self.read_replies();
    }

    fn read_replies(&mut self) {
        for (token, reply) in std::mem::take(&mut self.harness.replies) {
            let Some(client) = self.clients.iter_mut().find(|client| client.waits_for == Some(token)) else {
                continue;
            };
            client.waits_for = None;
            match reply {
                Reply::ConsumerHeartbeat(Ok(answer)) => {
                    client.epoch = answer.epoch;
                    if let Some(assignment) = answer.assignment {
                        client.has = assignment;
                    }
                }
                // Not to be known what became of it: a Kafka client tells everything again.
                Reply::ConsumerHeartbeat(Err(refused)) if refused.error == ResponseError::NotCoordinator => {
                    client.full = true;
                }
                Reply::ConsumerHeartbeat(Err(_)) => {
                    client.epoch = 0;
                    client.full = true;
                    client.has.clear();
                }
                other => panic!("{other:?} to a heartbeat"),
            }
        }
    }

    fn play(&mut self, step: Move) {
        match step {
            Move::Beat { who, tells } => self.beat(who, tells),
            Move::Subscribe { who, topics, pattern } => {
                let client = &mut self.clients[who];
                (client.topics, client.pattern, client.full) = (topics, pattern, true);
            }
            Move::Lose { who } => {
                let client = &mut self.clients[who];
                if client.waits_for.take().is_some() {
                    client.full = true;
                }
            }
            Move::Leave { who } => {
                let client = self.clients[who].clone();
                let heartbeat = Heartbeat {
                    group: "g".to_owned(),
                    member_id: client.id,
                    epoch: -1,
                    ..Heartbeat::default()
                };
                self.token += 1;
                let event = Event::ConsumerHeartbeat(Token(self.token), Box::new(heartbeat));
                self.harness.step(event, self.now_ms);
                self.born(who);
            }
            Move::Die { who } => self.born(who),
            Move::Topics { counts: [a, b, c] } => {
                let topics = [("a", a), ("b", b), ("c", c)];
                let there: Vec<_> = topics.into_iter().filter(|(_, count)| *count > 0).collect();
                self.harness.learn(image_of(&there));
            }
            Move::Disk { ok } => {
                let result = if ok { Ok(()) } else { Err(ResponseError::NotCoordinator) };
                self.harness.disk(result, self.now_ms);
                self.read_replies();
            }
            Move::Wait { ms } => {
                self.now_ms += ms;
                self.harness.step(Event::Tick, self.now_ms);
                self.read_replies();
            }
            Move::Restart => {
                self.harness.restart(self.now_ms);
                for client in &mut self.clients {
                    if client.waits_for.take().is_some() {
                        client.full = true;
                    }
                }
            }
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let Some(group) = self.group() else { return Ok(()) };
        let mut owners = BTreeMap::new();
        for (id, member) in &group.members {
            for partition in partitions(&member.assigned).chain(partitions(&member.revoking)) {
                let other = owners.insert(partition, id);
                prop_assert!(other.is_none(), "{:?} is with {} and {:?}", partition, id, other);
            }
            prop_assert!(member.epoch <= group.epoch, "{} is ahead of its group", id);
        }
        prop_assert!(group.assignment_epoch <= group.epoch);
        let reread = self.harness.reread(self.now_ms);
        let reread = reread.group("g").and_then(|group| group.consumer.as_ref()).expect("it is in the log");
        prop_assert_eq!(&reread.members, &group.members);
        prop_assert_eq!(&reread.targets, &group.targets);
        prop_assert_eq!(
            (reread.epoch, reread.assignment_epoch, reread.metadata_hash),
            (group.epoch, group.assignment_epoch, group.metadata_hash)
        );
        prop_assert!(reread.patterns.keys().eq(group.patterns.keys()));
        Ok(())
    }

    /// Everybody behaves: sessions end, the disk works, all come again and again.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        while !self.harness.in_flight.is_empty() {
            self.play(Move::Disk { ok: true });
        }
        for client in &mut self.clients {
            if client.waits_for.take().is_some() {
                client.full = true;
            }
        }
        self.play(Move::Wait { ms: 100_000 });
        for _ in 0..40 {
            for who in 0..MEMBERS {
                self.beat(who, true);
                while !self.harness.in_flight.is_empty() {
                    self.play(Move::Disk { ok: true });
                    self.check()?;
                }
            }
        }
        let group = self.group().expect("a group with members");
        prop_assert_eq!(group.state(), GroupState::Stable, "{:?}", group);
        prop_assert_eq!(group.members.len(), MEMBERS);
        for client in &self.clients {
            prop_assert_eq!(&client.has, &group.members[&client.id].assigned);
            prop_assert_eq!(&client.has, &*group.target(&client.id));
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_partition_has_one_owner_and_the_group_comes_to_rest(steps in proptest::collection::vec(moves(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.play(step);
            world.check()?;
        }
        world.settle()?;
    }
}
