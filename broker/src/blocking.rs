//! Work that waits for a disk: on a blocking thread, or right here when the disk is simulated (a simulation has one
//! thread and a clock that must not run while nothing happens); and a limit on how much of it goes on at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// So many at a time; the others wait in the order in which they came.
#[derive(Debug)]
pub(crate) struct Slots {
    semaphore: Semaphore,
    /// How many slots there are, taken or not.
    size: AtomicUsize,
}

impl Slots {
    /// At least one.
    pub(crate) fn new(size: i64) -> Self {
        let size = bounded(size);
        Self { semaphore: Semaphore::new(size), size: AtomicUsize::new(size) }
    }

    /// Waits for a slot, which is free again when it is dropped.
    pub(crate) async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed; if it were, nobody would have to wait.
        self.semaphore.acquire().await.ok()
    }

    /// From now on so many. Slots that are taken must be free first, so that this may have to be said again. One caller at a time.
    pub(crate) fn resize(&self, size: i64) {
        let (wanted, present) = (bounded(size), self.size.load(Ordering::Acquire));
        let new = if wanted >= present {
            self.semaphore.add_permits(wanted - present);
            wanted
        } else {
            present - self.semaphore.forget_permits(present - wanted)
        };
        self.size.store(new, Ordering::Release);
    }
}

fn bounded(size: i64) -> usize {
    usize::try_from(size).unwrap_or(1).clamp(1, Semaphore::MAX_PERMITS)
}

/// Runs `work` and gives back its result. A panic in `work` goes on here.
pub(crate) async fn run<T, F>(simulated: bool, work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    if simulated {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being torn down; nobody waits for this task any more.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn slots_grow_and_shrink() {
        let slots = Slots::new(1);
        let first = slots.slot().await;
        slots.resize(3);
        let (second, third) = (slots.slot().await, slots.slot().await);
        assert_eq!(slots.semaphore.available_permits(), 0);
        slots.resize(0);
        drop((first, second));
        // Said again once slots are free.
        slots.resize(0);
        drop(third);
        slots.resize(0);
        assert_eq!((slots.semaphore.available_permits(), slots.size.load(Ordering::Acquire)), (1, 1));
    }
}
