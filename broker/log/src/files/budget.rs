//! How many files may be open, and which one gives way to another.
//!
//! The files that stay open stand in a circle, and a hand goes round (the "clock", which comes close to "least recently
//! used" and costs a use nothing but a mark): a file used since the hand last came by is passed over once. A file with
//! writes that are not synced is passed over as long as another gives way, as it has to be synced first.
//!
//! Only files in use right now can exceed the budget: who finds all in use waits a little, then takes one more all the same.
//! The caller leaves room for that.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::lazy::Slot;

/// How long to wait for a place when all files are in use: who works on one lets it go before it wants another (but for recovery
/// and compaction, a few threads), so that this ends as soon as the disk has done something.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait for a descriptor when others have taken those that should be here.
pub(super) const PATIENCE_WITH_OTHERS: Duration = Duration::from_secs(1);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(2);
/// One part in so many of all files may be on loan.
const LOANS_SHARE: usize = 2;

/// How many files of logs, indexes and what belongs to them may be open at a time; shared by all logs of a process.
#[derive(Debug)]
pub struct FileBudget {
    files_max: usize,
    open: AtomicUsize,
    on_loan: AtomicUsize,
    clock: Mutex<Clock>,
}

/// The files that stay open.
#[derive(Debug, Default)]
struct Clock {
    slots: Vec<Weak<Slot>>,
    free: Vec<usize>,
    hand: usize,
}

/// An open file's place in the budget.
#[derive(Debug)]
pub(super) struct Place(Arc<FileBudget>);

/// A file that is in the hands of somebody slow, and can't give way.
#[derive(Debug)]
pub(crate) struct Loan(Arc<FileBudget>);

impl Default for FileBudget {
    /// As many as there are.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl FileBudget {
    /// At most `files_max` files, but for those that are all in use at the same moment.
    pub fn new(files_max: usize) -> Self {
        let clock = Mutex::default();
        Self { files_max, open: AtomicUsize::new(0), on_loan: AtomicUsize::new(0), clock }
    }

    /// How many are open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// A place for a file about to be opened.
    pub(super) fn take(self: &Arc<Self>, may_wait: bool) -> Place {
        let began = Instant::now();
        loop {
            let free = |open| (open < self.files_max).then_some(open + 1);
            if self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_ok() {
                return Place(self.clone());
            }
            let may_try_again = self.evict() || may_wait && wait(began, PATIENCE);
            if !may_try_again {
                self.open.fetch_add(1, Ordering::Relaxed);
                return Place(self.clone());
            }
        }
    }

    /// Closes a file that nobody uses at this moment; whether there was one.
    pub(super) fn evict(&self) -> bool {
        for even_unsynced in [false, true] {
            // Twice round: the first time takes the marks away.
            let steps = 2 * self.clock.lock().slots.len();
            for _ in 0..steps {
                let slot = self.clock.lock().next();
                if slot.is_some_and(|slot| slot.give_way(even_unsynced)) {
                    return true;
                }
            }
        }
        false
    }

    /// Lets a file out of hand, if not too many are already.
    pub(super) fn lend(self: &Arc<Self>) -> Option<Loan> {
        let free = |on_loan| (on_loan < self.files_max / LOANS_SHARE).then_some(on_loan + 1);
        let lent = self.on_loan.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free);
        lent.is_ok().then(|| Loan(self.clone()))
    }

    /// A file that was opened to stay; returns where it stands.
    pub(super) fn enter(&self, slot: Weak<Slot>) -> usize {
        let mut clock = self.clock.lock();
        match clock.free.pop() {
            Some(at) => {
                clock.slots[at] = slot;
                at
            }
            None => {
                clock.slots.push(slot);
                clock.slots.len() - 1
            }
        }
    }

    /// The file that stood there was closed.
    pub(super) fn leave(&self, at: usize) {
        let mut clock = self.clock.lock();
        clock.slots[at] = Weak::new();
        clock.free.push(at);
    }
}

impl Clock {
    /// Moves the hand on.
    fn next(&mut self) -> Option<Arc<Slot>> {
        self.hand = (self.hand + 1) % self.slots.len().max(1);
        self.slots.get(self.hand)?.upgrade()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.0.on_loan.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A pause, unless it has lasted long enough since `began`; whether there was one.
pub(super) fn wait(began: Instant, patience: Duration) -> bool {
    let is_early = began.elapsed() < patience;
    if is_early {
        std::thread::sleep(PAUSE);
    }
    is_early
}
