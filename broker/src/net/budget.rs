//! How many bytes of requests may be in memory at a time, for all connections together
//! (`queued.max.request.bytes`), and how many of responses ([`RESPONSE_BYTES_MAX`]).
//!
//! A request takes room for what has arrived of it, not for what its length announces; a connection that finds no room
//! stops reading until others are done. So that requests which have arrived in part can't wait for each other for
//! ever, one of them at a time may go beyond the budget. A response that finds no room is made smaller.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one permit: a semaphore's permits are counted in 32 bits.
const UNIT_BYTES: usize = 1024;
/// Record bytes of Fetch responses in memory at a time, beyond the one batch that each of them may always have.
pub(crate) const RESPONSE_BYTES_MAX: usize = 256 << 20;

/// The shared room.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    units_max: usize,
    /// Whoever holds it may go on without taking room.
    overdraft: Arc<Semaphore>,
}

/// Room taken; dropping it gives the room back.
#[derive(Debug, Default)]
pub(crate) struct Share {
    permit: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// Room for `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        let units_max = bytes.div_ceil(UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { units: Arc::new(Semaphore::new(units_max)), units_max, overdraft: Arc::new(Semaphore::new(1)) }
    }

    /// The whole room.
    pub(crate) fn bytes_max(&self) -> usize {
        self.units_max * UNIT_BYTES
    }

    /// How much of it is taken.
    pub(crate) fn bytes_used(&self) -> usize {
        self.units_max.saturating_sub(self.units.available_permits()) * UNIT_BYTES
    }

    /// Lets `share` grow to `bytes`, waiting for room. No share grows beyond the whole budget. Cancel-safe.
    pub(crate) async fn grow(&self, share: &mut Share, bytes: usize) {
        let missing = self.missing(share, bytes);
        if missing == 0 || share.overdraft.is_some() {
            return;
        }
        // The semaphores are never closed; if they were, the request would simply not be counted.
        tokio::select! {
            biased;
            permit = self.units.clone().acquire_many_owned(missing) => share.add(permit.ok()),
            overdraft = self.overdraft.clone().acquire_owned(), if share.permit.is_some() => {
                share.overdraft = overdraft.ok();
            }
        }
    }

    /// Lets `share` grow to `bytes` if there is room; whether there was.
    pub(crate) fn try_grow(&self, share: &mut Share, bytes: usize) -> bool {
        let missing = self.missing(share, bytes);
        if missing > 0 {
            let permit = self.units.clone().try_acquire_many_owned(missing).ok();
            if permit.is_none() {
                return false;
            }
            share.add(permit);
        }
        true
    }

    fn missing(&self, share: &Share, bytes: usize) -> u32 {
        let wanted = bytes.div_ceil(UNIT_BYTES).min(self.units_max);
        u32::try_from(wanted.saturating_sub(share.units())).unwrap_or(u32::MAX)
    }
}

impl Share {
    fn units(&self) -> usize {
        self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn add(&mut self, permit: Option<OwnedSemaphorePermit>) {
        match (&mut self.permit, permit) {
            (Some(own), Some(more)) => own.merge(more),
            (own @ None, more) => *own = more,
            (Some(_), None) => {}
        }
    }

    /// Gives back what is beyond `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let extra = self.units().saturating_sub(bytes.div_ceil(UNIT_BYTES));
        if let Some(permit) = &mut self.permit {
            drop(permit.split(extra));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_given_back() {
        let budget = Budget::new(10 * UNIT_BYTES);
        let (mut first, mut second) = (Share::default(), Share::default());
        budget.grow(&mut first, 6 * UNIT_BYTES).await;
        assert!(!budget.try_grow(&mut second, 5 * UNIT_BYTES));
        assert!(budget.try_grow(&mut second, 4 * UNIT_BYTES));
        first.shrink(5 * UNIT_BYTES);
        assert!(budget.try_grow(&mut second, 5 * UNIT_BYTES));
        drop(first);
        budget.grow(&mut second, usize::MAX).await;
        assert_eq!(second.units(), 10);
    }

    #[tokio::test]
    async fn of_those_that_wait_with_a_part_one_goes_on() {
        let budget = Budget::new(10 * UNIT_BYTES);
        let (mut first, mut second, mut new) = (Share::default(), Share::default(), Share::default());
        budget.grow(&mut first, 5 * UNIT_BYTES).await;
        budget.grow(&mut second, 5 * UNIT_BYTES).await;
        budget.grow(&mut first, 8 * UNIT_BYTES).await;
        let wait = std::time::Duration::from_millis(5);
        assert!(tokio::time::timeout(wait, budget.grow(&mut second, 8 * UNIT_BYTES)).await.is_err());
        assert!(tokio::time::timeout(wait, budget.grow(&mut new, UNIT_BYTES)).await.is_err());
        drop(first);
        budget.grow(&mut second, 8 * UNIT_BYTES).await;
    }
}
