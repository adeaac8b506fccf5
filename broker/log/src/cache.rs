//! The newest batches of a log in memory, as they came from the socket: a consumer at the tail costs no read and no copy.
//!
//! A batch is kept as the producer's bytes with a new 16-byte prefix before them; small batches are kept in the one
//! buffer they were copied into for writing, so that many of them leave as one piece.
//!
//! Each log keeps at most its own share, and all logs together at most what [`CacheBudget`] allows: whoever appends
//! beyond that drops its own oldest batches first. Batches not read for a while are dropped by [`TailCache::shrink`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use millrace_wire::ids::Offset;
use parking_lot::Mutex;

/// What all caches together may hold.
#[derive(Debug)]
pub struct CacheBudget {
    total_bytes_max: usize,
    log_bytes_max: usize,
    used_bytes: AtomicUsize,
}

/// Default of [`CacheBudget`] for all logs together.
const TOTAL_BYTES_DEFAULT: usize = 32 << 20;
/// Default of [`CacheBudget`] for one log.
const LOG_BYTES_DEFAULT: usize = 4 << 20;

impl Default for CacheBudget {
    fn default() -> Self {
        Self::new(TOTAL_BYTES_DEFAULT, LOG_BYTES_DEFAULT)
    }
}

impl CacheBudget {
    /// At most `total_bytes_max` for all logs, at most `log_bytes_max` for one; 0 turns the caches off.
    pub fn new(total_bytes_max: usize, log_bytes_max: usize) -> Self {
        Self { total_bytes_max, log_bytes_max, used_bytes: AtomicUsize::new(0) }
    }

    /// What the caches hold now.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    fn is_exceeded(&self, log_bytes: usize) -> bool {
        log_bytes > self.log_bytes_max || self.used_bytes() > self.total_bytes_max
    }
}

/// A batch in the cache.
#[derive(Clone, Debug)]
pub(crate) struct CachedBatch {
    pub(crate) first: Offset,
    pub(crate) next: Offset,
    /// The buffer that has the batch's prefix, or all of it when `body` is `None`.
    pub(crate) chunk: Bytes,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// The producer's bytes after the prefix.
    pub(crate) body: Option<Bytes>,
}

impl CachedBatch {
    pub(crate) fn bytes(&self) -> usize {
        self.end - self.start + self.body.as_ref().map_or(0, Bytes::len)
    }
}

/// A run of batches, in order and without a gap.
#[derive(Debug, Default)]
pub(crate) struct CachedRead {
    pub(crate) parts: Vec<Bytes>,
    pub(crate) bytes: usize,
    pub(crate) next: Offset,
}

#[derive(Debug)]
pub(crate) struct TailCache {
    budget: Arc<CacheBudget>,
    batches: Mutex<Batches>,
}

/// Invariant: each batch begins where the one before it ends; `bytes` is their sum.
#[derive(Debug, Default)]
struct Batches {
    queue: VecDeque<CachedBatch>,
    bytes: usize,
    /// Whether someone read or appended since the last [`TailCache::shrink`].
    used: bool,
}

impl Batches {
    fn pop(&mut self) -> usize {
        let bytes = self.queue.pop_front().map_or(0, |batch| batch.bytes());
        self.bytes -= bytes;
        bytes
    }
}

impl TailCache {
    pub(crate) fn new(budget: Arc<CacheBudget>) -> Self {
        Self { budget, batches: Mutex::default() }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.budget.total_bytes_max == 0 || self.budget.log_bytes_max == 0
    }

    pub(crate) fn push(&self, new: impl Iterator<Item = CachedBatch>) {
        let mut batches = self.batches.lock();
        batches.used = true;
        for batch in new {
            if batches.queue.back().is_some_and(|last| last.next != batch.first) {
                self.drop_all(&mut batches);
            }
            let bytes = batch.bytes();
            batches.bytes += bytes;
            self.budget.used_bytes.fetch_add(bytes, Ordering::Relaxed);
            batches.queue.push_back(batch);
        }
        while self.budget.is_exceeded(batches.bytes) && !batches.queue.is_empty() {
            self.budget.used_bytes.fetch_sub(batches.pop(), Ordering::Relaxed);
        }
    }

    /// Whether a read from `from` on would be answered.
    pub(crate) fn reaches(&self, from: Offset) -> bool {
        self.batches.lock().queue.front().is_some_and(|first| first.first <= from)
    }

    /// The batches from the one that has `from` on, up to `bytes_max` and below `upper`; the first one may be
    /// larger with `at_least_one`. `None` if the cache does not reach back to `from`.
    pub(crate) fn read(
        &self,
        from: Offset,
        bytes_max: usize,
        upper: Offset,
        at_least_one: bool,
    ) -> Option<CachedRead> {
        let mut batches = self.batches.lock();
        if batches.queue.front().is_none_or(|first| first.first > from) {
            return None;
        }
        batches.used = true;
        let start = batches.queue.partition_point(|batch| batch.next <= from);
        let mut read = CachedRead { next: from, ..CachedRead::default() };
        // The piece being put together: neighbours in one buffer leave as one slice of it.
        let mut piece: Option<(&Bytes, usize, usize)> = None;
        for batch in batches.queue.range(start..) {
            let fits = read.bytes + batch.bytes() <= bytes_max || (at_least_one && read.bytes == 0);
            if batch.next > upper || !fits {
                break;
            }
            read.bytes += batch.bytes();
            read.next = batch.next;
            match &mut piece {
                Some((chunk, _, end)) if *end == batch.start && chunk.as_ptr() == batch.chunk.as_ptr() => {
                    *end = batch.end;
                }
                _ => {
                    read.parts.extend(piece.map(|(chunk, start, end)| chunk.slice(start..end)));
                    piece = Some((&batch.chunk, batch.start, batch.end));
                }
            }
            if let Some(body) = &batch.body {
                read.parts.extend(piece.take().map(|(chunk, start, end)| chunk.slice(start..end)));
                read.parts.push(body.clone());
            }
        }
        read.parts.extend(piece.map(|(chunk, start, end)| chunk.slice(start..end)));
        Some(read)
    }

    /// Drops everything if nobody came since the last call.
    pub(crate) fn shrink(&self) {
        let mut batches = self.batches.lock();
        if !std::mem::take(&mut batches.used) {
            self.drop_all(&mut batches);
        }
    }

    /// Drops the batches below `offset`: on disk there is less of them now.
    pub(crate) fn forget_below(&self, offset: Offset) {
        let mut batches = self.batches.lock();
        while batches.queue.front().is_some_and(|first| first.first < offset) {
            let bytes = batches.pop();
            self.budget.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn clear(&self) {
        self.drop_all(&mut self.batches.lock());
    }

    fn drop_all(&self, batches: &mut Batches) {
        self.budget.used_bytes.fetch_sub(batches.bytes, Ordering::Relaxed);
        batches.queue = VecDeque::new();
        batches.bytes = 0;
    }
}

impl Drop for TailCache {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(chunk: &Bytes, nth: usize) -> CachedBatch {
        let (first, next) = (Offset(nth as i64), Offset(nth as i64 + 1));
        CachedBatch { first, next, chunk: chunk.clone(), start: nth * 4, end: nth * 4 + 4, body: None }
    }

    #[test]
    fn neighbours_leave_as_one_piece_and_limits_hold() {
        let budget = Arc::new(CacheBudget::new(1000, 40));
        let cache = TailCache::new(budget.clone());
        let chunk = Bytes::from_static(b"aaaabbbbccccdddd");
        let large = CachedBatch { body: Some(Bytes::from_static(b"++++++")), ..small(&chunk, 2) };
        cache.push([small(&chunk, 0), small(&chunk, 1), large, small(&chunk, 3)].into_iter());
        assert_eq!(budget.used_bytes(), 22);

        let read = cache.read(Offset(0), 100, Offset(99), false).unwrap();
        assert_eq!(read.parts, [&b"aaaabbbbcccc"[..], b"++++++", b"dddd"]);
        assert_eq!((read.bytes, read.next), (22, Offset(4)));
        let read = cache.read(Offset(1), 100, Offset(3), false).unwrap();
        assert_eq!((read.bytes, read.next), (14, Offset(3)));
        assert_eq!(cache.read(Offset(2), 3, Offset(9), false).unwrap().parts.len(), 0);
        assert_eq!(cache.read(Offset(2), 3, Offset(9), true).unwrap().bytes, 10);
        assert_eq!(cache.read(Offset(4), 100, Offset(9), true).unwrap().bytes, 0, "at the end");

        let late = |first: i64, len| CachedBatch {
            first: Offset(first),
            next: Offset(first + 1),
            body: Some(Bytes::from(vec![0; len])),
            ..small(&chunk, 0)
        };
        cache.push([late(4, 20)].into_iter());
        assert!(cache.read(Offset(1), 9, Offset(9), true).is_none(), "the oldest went");
        assert!(cache.read(Offset(2), 9, Offset(9), true).is_some());
        cache.push([late(9, 1)].into_iter());
        assert_eq!(budget.used_bytes(), 5, "a gap drops what was before it");
        cache.shrink();
        assert_eq!(budget.used_bytes(), 5);
        cache.shrink();
        assert_eq!(budget.used_bytes(), 0);
        cache.push([late(10, 100)].into_iter());
        assert_eq!(budget.used_bytes(), 0, "larger than the log's share");
    }
}
