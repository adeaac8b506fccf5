//! The order of a producer's transactional writes.
//!
//! Whether a partition is part of a transaction is asked of the coordinator, which takes a moment; batches of the same
//! producer that come meanwhile must not overtake the one that waits. Each takes a turn, which comes when the one before is
//! over, however that ended.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Whose turn it is, by producer id. Holds only producers that are waiting for the coordinator.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    last: HashMap<i64, Last>,
    next: u64,
}

/// The latest turn that was taken, and the news of its end.
#[derive(Debug)]
struct Last {
    number: u64,
    over: oneshot::Receiver<()>,
}

/// A place in the line. Dropping it lets the next one come.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    producer_id: i64,
    number: u64,
    before: Option<oneshot::Receiver<()>>,
    _over: oneshot::Sender<()>,
}

impl Turns {
    /// Whether a write of this producer is waiting.
    pub(crate) fn is_taken(&self, producer_id: i64) -> bool {
        self.0.lock().last.contains_key(&producer_id)
    }

    /// Gets in line.
    pub(crate) fn take(self: &Arc<Self>, producer_id: i64) -> Turn {
        let (over, is_over) = oneshot::channel();
        let mut inner = self.0.lock();
        inner.next += 1;
        let number = inner.next;
        let before = inner.last.insert(producer_id, Last { number, over: is_over }).map(|last| last.over);
        Turn { turns: self.clone(), producer_id, number, before, _over: over }
    }
}

impl Turn {
    /// Waits until all that came before are over.
    pub(crate) async fn comes(&mut self) {
        if let Some(before) = self.before.take() {
            // The sender is never used: it tells by going.
            let _ = before.await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut inner = self.turns.0.lock();
        if inner.last.get(&self.producer_id).is_some_and(|last| last.number == self.number) {
            inner.last.remove(&self.producer_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn turns_come_one_after_the_other() {
        let turns = Arc::new(Turns::default());
        let mut first = turns.take(7);
        let mut second = turns.take(7);
        let mut other = turns.take(8);
        first.comes().await;
        other.comes().await;
        assert!(timeout(Duration::from_secs(1), second.comes()).await.is_err());
        drop(first);
        assert!(turns.is_taken(7));
        // The wait that was given up took the news with it; a new one behind it has its own.
        let mut third = turns.take(7);
        drop(second);
        third.comes().await;
        drop(third);
        assert!(!turns.is_taken(7));
    }
}
