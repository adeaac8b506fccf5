//! Random runs with crashes: whatever producers, disk, partitions and time do, some things hold.
//!
//! Checked after every step: no epoch of a producer id falls, nobody is answered twice, a refused producer changes
//! nothing, and reading the log again gives the live state. Checked in the markers: a transaction never gets both a
//! commit and an abort, and a commit that was answered as done is never told as an abort. By the second protocol, an EndTxn
//! that comes late ends no other transaction than the one it was sent for.

use super::harness::Harness;
use crate::coordinators::{Producer, Token, TopicPartition};
use crate::transaction::config::Config;
use crate::transaction::event::{AddPartitions, End, Event, Init, Reply};
use crate::transaction::records;
use crate::transaction::state::{Protocol, State, Stored};
use kafka_protocol::ResponseError;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The first speaks the first protocol, the second the second, and the third changes its mind all the time.
const IDS: [&str; 3] = ["a", "b", "c"];

fn spoken(id: usize, drawn: Protocol) -> Protocol {
    [Protocol::First, Protocol::Second].get(id).copied().unwrap_or(drawn)
}

/// What happens next. Small numbers choose among what is there.
#[derive(Clone, Debug)]
enum Move {
    Init {
        id: usize,
        recover: Option<u8>,
    },
    Add {
        id: usize,
        stale: u8,
        partition: u8,
        protocol: Protocol,
    },
    End {
        id: usize,
        stale: u8,
        commit: bool,
        protocol: Protocol,
    },
    /// An EndTxn that was sent before comes once more, late.
    EndAgain {
        which: usize,
    },
    Disk {
        ok: bool,
    },
    Partitions {
        ok: bool,
    },
    Wait {
        ms: i64,
    },
    Crash,
}

fn moves() -> impl Strategy<Value = Move> {
    let id = 0..IDS.len();
    // Mostly the current epoch, sometimes an older one.
    let stale = prop_oneof![5 => Just(0_u8), 1 => 1..3_u8];
    let protocol = prop_oneof![Just(Protocol::First), Just(Protocol::Second)];
    prop_oneof![
        2 => (id.clone(), proptest::option::of(0..3_u8)).prop_map(|(id, recover)| Move::Init { id, recover }),
        6 => (id.clone(), stale.clone(), 0..3_u8, protocol.clone())
            .prop_map(|(id, stale, partition, protocol)| Move::Add { id, stale, partition, protocol }),
        4 => (id, stale, any::<bool>(), protocol)
            .prop_map(|(id, stale, commit, protocol)| Move::End { id, stale, commit, protocol }),
        2 => (0..8_usize).prop_map(|which| Move::EndAgain { which }),
        14 => proptest::bool::weighted(0.9).prop_map(|ok| Move::Disk { ok }),
        6 => proptest::bool::weighted(0.8).prop_map(|ok| Move::Partitions { ok }),
        2 => (1..3_000_i64).prop_map(|ms| Move::Wait { ms }),
        1 => Just(Move::Crash),
    ]
}

struct World {
    harness: Harness,
    now_ms: i64,
    next: u64,
    unanswered: BTreeMap<u64, Option<(usize, i64)>>,
    epochs: BTreeMap<i64, i16>,
    /// By id and start of a transaction: the decision it was told, and by whom it was promised a commit.
    told: BTreeMap<(usize, i64), bool>,
    promised: BTreeSet<(usize, i64)>,
    /// The latest EndTxn requests, and the transaction that each was about.
    ends: Vec<(End, Option<(usize, i64)>)>,
}

impl World {
    fn current(&self, id: usize) -> Option<Stored> {
        self.harness.coordinator.describe(IDS[id]).cloned()
    }

    fn producer(&self, id: usize, stale: u8) -> Producer {
        let current = self.current(id).map_or(Producer { id: 1, epoch: 0 }, |stored| stored.owner());
        Producer { epoch: current.epoch - i16::from(stale), ..current }
    }

    fn token(&mut self, commit_of: Option<(usize, i64)>) -> Token {
        self.next += 1;
        self.unanswered.insert(self.next, commit_of);
        Token(self.next)
    }

    fn play(&mut self, step: Move) {
        let before: Vec<_> = (0..IDS.len()).map(|id| self.current(id)).collect();
        let mut refused = None;
        match step {
            Move::Init { id, recover } => {
                let expected = recover.map(|stale| self.producer(id, stale));
                let init = Init {
                    transactional_id: IDS[id].to_owned(),
                    timeout_ms: 5_000,
                    expected,
                    fresh_producer_id: None,
                };
                let token = self.token(None);
                self.harness.step(Event::Init(token, init), self.now_ms);
            }
            Move::Add { id, stale, partition, protocol } => {
                let producer = self.producer(id, stale);
                let partitions = vec![TopicPartition::new("t", i32::from(partition))];
                let protocol = spoken(id, protocol);
                let add =
                    AddPartitions { transactional_id: IDS[id].to_owned(), producer, partitions, protocol };
                let token = self.token(None);
                refused = (stale > 0).then_some(token.0);
                self.harness.step(Event::AddPartitions(token, add), self.now_ms);
            }
            Move::End { id, stale, commit, protocol } => {
                let producer = self.producer(id, stale);
                let started = self.current(id).filter(|stored| stored.state == State::Ongoing);
                let about = started.filter(|_| stale == 0).map(|stored| (id, stored.started_ms));
                let token = self.token(about.filter(|_| commit));
                let transactional_id = IDS[id].to_owned();
                let protocol = spoken(id, protocol);
                let end = End { transactional_id, producer, commit, protocol, fresh_producer_id: None };
                // An epoch that was ended by the second protocol names the transaction before.
                let repeats = self.current(id).is_some_and(|stored| stored.was_ended_by(producer));
                refused = (stale > 0 && !repeats).then_some(token.0);
                self.ends.push((end.clone(), about));
                self.harness.step(Event::End(token, end), self.now_ms);
            }
            Move::EndAgain { which } => {
                let Some((end, about)) = self.ends.iter().rev().nth(which).cloned() else { return };
                let token = self.token(None);
                let state = |world: &Self| {
                    let id = IDS.iter().position(|id| *id == end.transactional_id)?;
                    let stored = world.current(id).filter(|stored| stored.state == State::Ongoing)?;
                    Some((id, stored.started_ms))
                };
                let open = state(self);
                self.harness.step(Event::End(token, end.clone()), self.now_ms);
                // It may end the transaction that it was sent for, and by the second protocol no other.
                let is_another = about.is_some() && open.is_some() && open != about;
                let mut late = self.harness.in_flight.iter().filter_map(|(_, record)| record.value.clone());
                let decides = late.any(|value| {
                    let stored = records::read(value).expect("our own record");
                    stored.updated_ms == self.now_ms && stored.state.prepared().is_some()
                });
                assert!(
                    !(is_another && decides && end.transactional_id == IDS[1]),
                    "a late {end:?} of {about:?} ends {open:?}"
                );
            }
            Move::Disk { ok } => drop(self.harness.disk(answer(ok), self.now_ms)),
            Move::Partitions { ok } => {
                self.tell();
                self.harness.partitions(answer(ok), self.now_ms);
            }
            Move::Wait { ms } => {
                self.now_ms += ms;
                self.harness.step(Event::Tick, self.now_ms);
            }
            Move::Crash => {
                self.unanswered.clear();
                self.harness.restart(self.now_ms);
            }
        }
        // A step takes time, so that no two transactions begin in the same millisecond.
        self.now_ms += 1;
        if let Some(token) = refused {
            let reply = self.harness.replies.iter().find(|(number, _)| *number == token);
            assert!(
                matches!(reply, Some((_, Reply::Done(Err(_)) | Reply::Ended(Err(_))))),
                "a stale producer was not refused: {reply:?}"
            );
            let after: Vec<_> = (0..IDS.len()).map(|id| self.current(id)).collect();
            assert_eq!(before, after);
        }
        self.check();
    }

    /// Looks at the markers that are about to be written.
    fn tell(&mut self) {
        let Some(markers) = self.harness.markers.front() else { return };
        let Some(id) = IDS.iter().position(|id| *id == markers.transactional_id) else { return };
        let Some(stored) = self.current(id) else { return };
        if stored.producer != markers.producer || stored.state.prepared().is_none() {
            return;
        }
        let key = (id, stored.started_ms);
        let told = *self.told.entry(key).or_insert(markers.commit);
        assert_eq!(told, markers.commit, "{} was told both ways", IDS[id]);
        assert!(
            markers.commit || !self.promised.contains(&key),
            "a promised commit of {} is aborted",
            IDS[id]
        );
    }

    fn check(&mut self) {
        for (number, reply) in self.harness.replies.drain(..) {
            let asked = self.unanswered.remove(&number);
            let asked = asked.unwrap_or_else(|| panic!("request {number} was answered twice"));
            if let (Some(transaction), Reply::Ended(Ok(_))) = (asked, reply) {
                self.promised.insert(transaction);
            }
        }
        let again = self.harness.reread();
        for (id, name) in IDS.iter().enumerate() {
            let Some(stored) = self.current(id) else { continue };
            let before = self.epochs.insert(stored.producer.id, stored.producer.epoch).unwrap_or(-1);
            assert!(
                stored.producer.epoch >= before,
                "{}: epoch {before} then {}",
                name,
                stored.producer.epoch
            );
            if stored.producer.epoch >= 0 {
                assert_eq!(again.describe(name), Some(&stored), "the log tells another story");
            }
        }
    }
}

fn answer(ok: bool) -> Result<(), ResponseError> {
    if ok { Ok(()) } else { Err(ResponseError::NotCoordinator) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_decision_is_kept_and_a_zombie_changes_nothing(steps in proptest::collection::vec(moves(), 1..150)) {
        let mut world = World {
            harness: Harness::new(Config::default()),
            now_ms: 1,
            next: 0,
            unanswered: BTreeMap::new(),
            epochs: BTreeMap::new(),
            told: BTreeMap::new(),
            promised: BTreeSet::new(),
            ends: Vec::new(),
        };
        for step in steps {
            world.play(step);
        }
        // When nothing fails any more, every request is answered and no decision is left untold.
        for _ in 0..100 {
            while !world.harness.in_flight.is_empty() {
                world.play(Move::Disk { ok: true });
            }
            while !world.harness.markers.is_empty() {
                world.play(Move::Partitions { ok: true });
            }
            world.play(Move::Wait { ms: 200 });
        }
        prop_assert!(world.unanswered.is_empty(), "never answered: {:?}", world.unanswered);
        for (id, name) in IDS.iter().enumerate() {
            let settled = world.current(id).is_none_or(|stored| stored.state.prepared().is_none());
            prop_assert!(settled, "{} is still being told", name);
        }
    }
}
