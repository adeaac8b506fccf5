//! Requests that wait: a Fetch for records, a Produce with `acks=all` for the disk.
//!
//! Both wait for the same thing: that a partition's high watermark passes an offset. A request has one
//! [`Waiter`]; it registers it at each partition it cares about, looks once more whether it still has to wait (the
//! high watermark may have moved in between), and sleeps until a partition wakes it or its time is up. Dropping a
//! [`Registration`] takes the waiter off the partition's list, so a list holds live requests only: at most one entry
//! for each request in flight, which the connections limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One waiting request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiter(Arc<Notify>);

impl Waiter {
    /// Returns when a partition has woken this waiter since the last call. Cancel-safe.
    pub(crate) async fn woken(&self) {
        self.0.notified().await;
    }
}

/// The requests that wait for one partition.
#[derive(Debug, Default)]
pub(crate) struct WaitList {
    entries: Mutex<Vec<Entry>>,
    /// The list's length, so that an append nobody waits for takes no lock.
    len: AtomicUsize,
}

#[derive(Debug)]
struct Entry {
    /// Wakes when the high watermark is above.
    above: i64,
    waiter: Waiter,
}

impl WaitList {
    /// Wakes `waiter` once the high watermark is above `above`, for as long as the registration lives.
    pub(crate) fn register(self: &Arc<Self>, waiter: &Waiter, above: i64) -> Registration {
        let mut entries = self.entries.lock();
        entries.push(Entry { above, waiter: waiter.clone() });
        // Before the caller looks at the high watermark again: either it sees the new one or `advanced` sees the entry.
        self.len.store(entries.len(), Ordering::SeqCst);
        Registration { list: self.clone(), waiter: waiter.clone() }
    }

    /// The high watermark is now `high_watermark`: wakes those it is enough for.
    pub(crate) fn advanced(&self, high_watermark: i64) {
        if self.len.load(Ordering::SeqCst) == 0 {
            return;
        }
        for entry in self.entries.lock().iter().filter(|entry| entry.above < high_watermark) {
            entry.waiter.0.notify_one();
        }
    }

    /// Something else changed (the partition went offline or away): wakes all.
    pub(crate) fn wake_all(&self) {
        for entry in self.entries.lock().iter() {
            entry.waiter.0.notify_one();
        }
    }
}

/// A waiter's place on a partition's list.
#[derive(Debug)]
pub(crate) struct Registration {
    list: Arc<WaitList>,
    waiter: Waiter,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut entries = self.list.entries.lock();
        if let Some(at) = entries.iter().position(|entry| Arc::ptr_eq(&entry.waiter.0, &self.waiter.0)) {
            entries.swap_remove(at);
        }
        self.list.len.store(entries.len(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn wakes_only_when_the_high_watermark_is_above() {
        let list = Arc::new(WaitList::default());
        let waiter = Waiter::default();
        let registration = list.register(&waiter, 5);
        list.advanced(5);
        assert!(timeout(Duration::from_millis(1), waiter.woken()).await.is_err());
        list.advanced(6);
        waiter.woken().await;
        drop(registration);
        assert_eq!(list.len.load(Ordering::SeqCst), 0);
        list.advanced(7);
        assert!(timeout(Duration::from_millis(1), waiter.woken()).await.is_err());
    }

    #[tokio::test]
    async fn one_waiter_at_many_partitions() {
        let lists: Vec<Arc<WaitList>> = (0..3).map(|_| Arc::default()).collect();
        let waiter = Waiter::default();
        let registrations: Vec<Registration> = lists.iter().map(|list| list.register(&waiter, 0)).collect();
        lists[2].wake_all();
        waiter.woken().await;
        drop(registrations);
        assert!(lists.iter().all(|list| list.entries.lock().is_empty()));
    }
}
