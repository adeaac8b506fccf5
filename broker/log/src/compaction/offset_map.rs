//! The newest offset of each key, in bounded memory.
//!
//! Keys are not kept, only 128 bits of their SHA-256: two keys with the same bits would lose a record, so the function is
//! one for which nobody can find such keys (Apache Kafka uses MD5). An entry has 24 bytes. The table grows by doubling;
//! while it does, the old and the new one together stay within the limit.

use sha2::{Digest, Sha256};

/// One place of the table.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: [u64; 2],
    /// Or [`EMPTY`].
    offset: i64,
}

const EMPTY: i64 = -1;
const SLOT_BYTES: usize = size_of::<Slot>();
/// Fewer would not hold the keys of one batch.
const SLOTS_MIN: usize = 16;
/// Fuller than this, a table that may grow does.
const GROW_AT: f64 = 0.7;
/// An idle map gives memory above this back.
const IDLE_BYTES_MAX: usize = 1 << 20;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct OffsetMap {
    slots: Vec<Slot>,
    len: usize,
    bytes_max: usize,
    load_factor: f64,
    /// Everything up to this offset was taken in; -1 before anything was.
    latest: i64,
}

impl OffsetMap {
    pub(crate) fn new(bytes_max: usize, load_factor: f64) -> Self {
        Self { slots: Vec::new(), len: 0, bytes_max, load_factor: load_factor.clamp(0.1, 0.95), latest: -1 }
    }

    /// Forgets everything, and gives back what a small log does not need.
    pub(crate) fn clear(&mut self) {
        if self.slots.len() * SLOT_BYTES > IDLE_BYTES_MAX {
            self.slots = Vec::new();
        }
        self.slots.fill(VACANT);
        (self.len, self.latest) = (0, -1);
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn latest(&self) -> i64 {
        self.latest
    }

    /// Everything up to `offset` was taken in, whether it had keys or not.
    pub(crate) fn set_latest(&mut self, offset: i64) {
        self.latest = self.latest.max(offset);
    }

    /// Notes a key at an offset above all before it. `false`: there is no room.
    pub(crate) fn put(&mut self, key: &[u8], offset: i64) -> bool {
        if !self.make_room() {
            return false;
        }
        self.latest = offset;
        let hash = hash(key);
        let at = self.find(hash);
        if self.slots[at].offset == EMPTY {
            self.len += 1;
        }
        self.slots[at] = Slot { hash, offset };
        true
    }

    /// The newest offset of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<i64> {
        if self.slots.is_empty() {
            return None;
        }
        Some(self.slots[self.find(hash(key))].offset).filter(|offset| *offset != EMPTY)
    }

    /// The key's place, or the empty one where it belongs.
    fn find(&self, hash: [u64; 2]) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash[0] as usize & mask;
        while self.slots[at].offset != EMPTY && self.slots[at].hash != hash {
            at = (at + 1) & mask;
        }
        at
    }

    /// Whether one more key fits; grows the table if it may.
    fn make_room(&mut self) -> bool {
        let slots = self.slots.len();
        let wanted = (self.len + 1) as f64;
        if wanted <= slots as f64 * GROW_AT {
            return true;
        }
        let doubled = (slots * 2).max(SLOTS_MIN);
        if doubled == SLOTS_MIN || (slots + doubled) * SLOT_BYTES <= self.bytes_max {
            let old = std::mem::replace(&mut self.slots, vec![VACANT; doubled]);
            for slot in old.into_iter().filter(|slot| slot.offset != EMPTY) {
                let at = self.find(slot.hash);
                self.slots[at] = slot;
            }
            return true;
        }
        wanted <= slots as f64 * self.load_factor
    }
}

const VACANT: Slot = Slot { hash: [0; 2], offset: EMPTY };

fn hash(key: &[u8]) -> [u64; 2] {
    let digest = Sha256::digest(key);
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[at..at + 8]);
        u64::from_be_bytes(bytes)
    };
    [word(0), word(8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_offset_counts_and_memory_is_bounded() {
        let mut map = OffsetMap::new(30_000, 0.9);
        assert_eq!(map.get(b"a"), None);
        let mut taken = 0;
        while map.put(format!("key {taken}").as_bytes(), taken) {
            taken += 1;
        }
        assert!(map.slots.len() * SLOT_BYTES * 3 / 2 <= 30_000);
        assert_eq!((map.len(), map.latest()), (taken as usize, taken - 1));
        assert!(taken > 400, "{taken}");
        for n in 0..taken {
            assert_eq!(map.get(format!("key {n}").as_bytes()), Some(n));
        }
        assert_eq!(map.get(b"no such key"), None);

        map.clear();
        assert_eq!((map.len(), map.latest(), map.get(b"key 1")), (0, -1, None));
        assert!(map.put(b"", 5) && map.put(b"x", 6) && map.put(b"", 7));
        assert_eq!((map.get(b""), map.get(b"x"), map.len()), (Some(7), Some(6), 2));
    }

    #[test]
    fn the_smallest_map_takes_some_keys() {
        let mut map = OffsetMap::new(0, 0.9);
        assert!((0..14).all(|n| map.put(&[n], i64::from(n))));
        assert!(!map.put(&[14], 14));
    }
}
