//! Incremental fetch sessions (KIP-227): a client that fetches a thousand partitions names them once; after that its
//! requests have only what changed in what it asks, and answers only the partitions about which there is news.
//!
//! The cache has `max.incremental.fetch.session.cache.slots` places. A new session takes the place of one that was not
//! used for [`EVICTION_MS`], or of a smaller one that is older than that; else the client gets no session and goes on
//! with full requests, which is always right. All sessions together know at most [`PARTITIONS_MAX`] partitions.
//!
//! Rooms: `session` (one session's partitions).

mod session;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) use self::session::{Asked, FINAL_EPOCH, INITIAL_EPOCH, Told, TopicKey};
use self::session::{Session, next_epoch};
use crate::env::Random;

/// How long a session is safe from others (`min.incremental.fetch.session.eviction.ms` of older Kafka).
const EVICTION_MS: i64 = 120_000;
/// Most partitions in all sessions together.
const PARTITIONS_MAX: usize = 1 << 20;
/// No session.
pub(crate) const NO_SESSION: i32 = 0;

/// What a request says about sessions.
#[derive(Debug)]
pub(crate) struct Begin {
    pub(crate) session_id: i32,
    pub(crate) epoch: i32,
    /// Topics are named by id.
    pub(crate) by_id: bool,
    pub(crate) asked: Vec<Asked>,
    pub(crate) forgotten: Vec<(TopicKey, i32)>,
}

/// A request's part in a session.
#[derive(Debug)]
pub(crate) enum Part {
    /// None.
    Sessionless,
    /// It would like to begin one.
    Begins {
        /// See [`Begin`].
        by_id: bool,
    },
    /// It goes on with one.
    GoesOn {
        /// The session's id.
        id: i32,
        /// The epoch that the session must still have when the answer is made.
        epoch: i32,
    },
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots_max: usize,
    random: Random,
    started: Instant,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    slots: HashMap<i32, Slot>,
    /// Last use and id.
    by_use: BTreeSet<(i64, i32)>,
    /// Size and id of those that a larger one may replace.
    by_size: BTreeSet<(usize, i32)>,
    partitions: usize,
    evicted: u64,
}

#[derive(Debug)]
struct Slot {
    session: Arc<Mutex<Session>>,
    created_ms: i64,
    used_ms: i64,
    /// As counted in the cache.
    size: usize,
}

impl FetchSessions {
    /// No sessions yet, and never more than `slots_max`.
    pub(crate) fn new(slots_max: usize, random: Random) -> Self {
        Self { slots_max, random, started: Instant::now(), cache: Mutex::default() }
    }

    /// How many sessions there are, how many partitions they know, and how many sessions had to make room for others.
    pub(crate) fn counts(&self) -> (usize, usize, u64) {
        let cache = self.cache.lock();
        (cache.slots.len(), cache.partitions, cache.evicted)
    }

    /// Takes a request in: its part in a session, and everything that it asks for.
    ///
    /// # Errors
    /// No such session, another epoch than is expected, or topics named otherwise than before.
    pub(crate) fn begin(&self, request: Begin) -> Result<(Part, Vec<Asked>), ResponseError> {
        let Begin { session_id, epoch, by_id, asked, forgotten } = request;
        let now_ms = self.now_ms();
        let mut cache = self.cache.lock();
        if matches!(epoch, INITIAL_EPOCH | FINAL_EPOCH) {
            cache.remove(session_id);
            let part = if epoch == FINAL_EPOCH { Part::Sessionless } else { Part::Begins { by_id } };
            return Ok((part, asked));
        }
        let Some(slot) = cache.slots.get(&session_id) else {
            return Err(ResponseError::FetchSessionIdNotFound);
        };
        let shared = slot.session.clone();
        let mut session = shared.lock();
        if session.epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        asked.into_iter().for_each(|asked| session.ask(asked));
        forgotten.into_iter().for_each(|(topic, partition)| session.forget(topic, partition));
        let grown = session.len().saturating_sub(slot.size);
        if session.len() == 0 {
            cache.remove(session_id);
            return Ok((Part::Sessionless, Vec::new()));
        }
        if cache.partitions + grown > PARTITIONS_MAX {
            cache.remove(session_id);
            return Err(ResponseError::FetchSessionIdNotFound);
        }
        session.epoch = next_epoch(epoch);
        cache.touch(session_id, session.len(), now_ms);
        Ok((Part::GoesOn { id: session_id, epoch: session.epoch }, session.asked()))
    }

    /// An answer is to say this, partition by partition: the session's id for it, and for each partition whether the
    /// answer has to have it.
    ///
    /// # Errors
    /// A request that came meanwhile has moved the session on; the answer has its id and this error.
    pub(crate) fn answer<'a>(
        &self,
        part: &Part,
        told: impl ExactSizeIterator<Item = (&'a Asked, Told)>,
    ) -> Result<(i32, Vec<bool>), (i32, ResponseError)> {
        let all = vec![true; told.len()];
        match part {
            Part::Sessionless => Ok((NO_SESSION, all)),
            Part::Begins { by_id } => {
                Ok((self.create(*by_id, told.map(|(asked, told)| (asked.clone(), told))), all))
            }
            Part::GoesOn { id, epoch } => {
                let Some(session) = self.cache.lock().slots.get(id).map(|slot| slot.session.clone()) else {
                    // It had to make room for another one; the client learns that with its next request.
                    return Ok((*id, all));
                };
                let mut session = session.lock();
                if session.epoch != *epoch {
                    return Err((*id, ResponseError::InvalidFetchSessionEpoch));
                }
                let news =
                    told.map(|(asked, told)| session.tell(&asked.topic, asked.partition.partition, told));
                Ok((*id, news.collect()))
            }
        }
    }

    /// The session's id for an answer that says nothing because its client is over a quota.
    ///
    /// # Errors
    /// As for [`FetchSessions::answer`].
    pub(crate) fn answer_nothing(&self, part: &Part) -> Result<i32, (i32, ResponseError)> {
        match part {
            Part::GoesOn { .. } => self.answer(part, std::iter::empty()).map(|(id, _)| id),
            Part::Sessionless | Part::Begins { .. } => Ok(NO_SESSION),
        }
    }

    fn create(&self, by_id: bool, told: impl ExactSizeIterator<Item = (Asked, Told)>) -> i32 {
        let (size, now_ms) = (told.len(), self.now_ms());
        let mut cache = self.cache.lock();
        let has_room = cache.slots.len() < self.slots_max || cache.evict(size, now_ms);
        if !has_room || size == 0 || self.slots_max == 0 || cache.partitions + size > PARTITIONS_MAX {
            return NO_SESSION;
        }
        let id = loop {
            let id = i32::try_from(self.random.next_u64() >> 33).unwrap_or(NO_SESSION);
            if id != NO_SESSION && !cache.slots.contains_key(&id) {
                break id;
            }
        };
        let session = Session::new(by_id, told);
        let size = session.len();
        let session = Arc::new(Mutex::new(session));
        cache.slots.insert(id, Slot { session, created_ms: now_ms, used_ms: now_ms, size: 0 });
        cache.touch(id, size, now_ms);
        id
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

impl Cache {
    /// A session was used and has this size now.
    fn touch(&mut self, id: i32, size: usize, now_ms: i64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        self.by_use.remove(&(slot.used_ms, id));
        self.by_size.remove(&(slot.size, id));
        self.partitions = self.partitions - slot.size + size;
        (slot.used_ms, slot.size) = (now_ms, size);
        self.by_use.insert((now_ms, id));
        if now_ms - slot.created_ms > EVICTION_MS {
            self.by_size.insert((size, id));
        }
    }

    fn remove(&mut self, id: i32) {
        if let Some(slot) = self.slots.remove(&id) {
            self.by_use.remove(&(slot.used_ms, id));
            self.by_size.remove(&(slot.size, id));
            self.partitions -= slot.size;
        }
    }

    /// Makes room for a session of so many partitions, if one is stale or worth less.
    fn evict(&mut self, size: usize, now_ms: i64) -> bool {
        let stale =
            self.by_use.first().filter(|(used_ms, _)| now_ms - used_ms > EVICTION_MS).map(|(_, id)| *id);
        let smaller = || self.by_size.first().filter(|(present, _)| *present < size).map(|(_, id)| *id);
        let Some(id) = stale.or_else(smaller) else { return false };
        self.remove(id);
        self.evicted += 1;
        true
    }
}
