//! One session: which partitions a client fetches, from where, and what it was told about each of them last.
//!
//! Partitions are visited in the order in which they were last part of an answer, the longest ago first, so that one
//! with much data doesn't keep the others from being read (KIP-227).

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::fetch_request::FetchPartition;
use millrace_wire::ids::Offset;
use uuid::Uuid;

/// The epoch of a request that begins a session, or has no part in one.
pub(crate) const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that ends its session, or wants none.
pub(crate) const FINAL_EPOCH: i32 = -1;

/// How a request names a topic: by name, or from version 13 on by id. The other one is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct TopicKey {
    pub(crate) name: TopicName,
    pub(crate) id: Uuid,
}

/// A partition and what is asked of it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) topic: TopicKey,
    pub(crate) partition: FetchPartition,
}

/// What an answer has to say about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) high_watermark: Offset,
    pub(crate) log_start: Offset,
    pub(crate) has_error: bool,
    /// There are records, or a diverging epoch.
    pub(crate) has_more: bool,
}

type Key = (TopicKey, i32);

/// See the module's head.
#[derive(Debug)]
pub(super) struct Session {
    /// The epoch that the next request must have.
    pub(super) epoch: i32,
    pub(super) by_id: bool,
    places: HashMap<Key, u64>,
    /// By place in the order of visits.
    partitions: BTreeMap<u64, Cached>,
    next_place: u64,
}

#[derive(Debug)]
struct Cached {
    asked: Asked,
    high_watermark: Offset,
    log_start: Offset,
}

/// The epoch after `epoch`.
pub(super) fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        FINAL_EPOCH => FINAL_EPOCH,
        i32::MAX => INITIAL_EPOCH + 1,
        epoch => epoch + 1,
    }
}

impl Session {
    /// A session of these partitions, which have just been told about.
    pub(super) fn new(by_id: bool, partitions: impl IntoIterator<Item = (Asked, Told)>) -> Self {
        let epoch = next_epoch(INITIAL_EPOCH);
        let (places, partitions_of) = (HashMap::new(), BTreeMap::new());
        let mut session = Self { epoch, by_id, places, partitions: partitions_of, next_place: 0 };
        for (asked, told) in partitions {
            session.ask(asked);
            // Just put there, or put there a second time.
            if let Some(mut last) = session.partitions.last_entry() {
                let cached = last.get_mut();
                (cached.high_watermark, cached.log_start) = (told.high_watermark, told.log_start);
            }
        }
        session
    }

    pub(super) fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Takes in what a request asks for anew or otherwise than before.
    pub(super) fn ask(&mut self, asked: Asked) {
        let key = (asked.topic.clone(), asked.partition.partition);
        match self.places.get(&key).and_then(|place| self.partitions.get_mut(place)) {
            Some(cached) => cached.asked = asked,
            None => {
                let place = self.next_place;
                self.next_place += 1;
                self.places.insert(key, place);
                let unknown = Offset(-1);
                self.partitions.insert(place, Cached { asked, high_watermark: unknown, log_start: unknown });
            }
        }
    }

    /// The client doesn't want this partition any more.
    pub(super) fn forget(&mut self, topic: TopicKey, partition: i32) {
        if let Some(place) = self.places.remove(&(topic, partition)) {
            self.partitions.remove(&place);
        }
    }

    /// Everything that is asked for.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.partitions.values().map(|cached| cached.asked.clone()).collect()
    }

    /// Whether an answer must say this: it is not what the client knows. It then knows it, and the partition is visited
    /// last next time.
    pub(super) fn tell(&mut self, topic: &TopicKey, partition: i32, told: Told) -> bool {
        let key = (topic.clone(), partition);
        // Forgotten meanwhile? Not by this session's client, which waits for this answer.
        let Some(place) = self.places.get_mut(&key) else { return true };
        let Some(cached) = self.partitions.get_mut(place) else { return true };
        let changed = told.has_error
            || told.has_more
            || cached.high_watermark != told.high_watermark
            || cached.log_start != told.log_start;
        if !changed {
            return false;
        }
        // After an error all is told again.
        cached.high_watermark = if told.has_error { Offset(-1) } else { told.high_watermark };
        cached.log_start = told.log_start;
        if let Some(cached) = self.partitions.remove(place) {
            *place = self.next_place;
            self.next_place += 1;
            self.partitions.insert(*place, cached);
        }
        true
    }
}
