//! Waiting, and early notice of a stop.
//!
//! Time spent waiting counts towards the call's time limit.

use std::time::Duration;

use tokio::sync::watch;
use wasmtime::component::{HasSelf, Linker};

use crate::component::bindings::millrace::connect::control;
use crate::component::state::GuestState;

/// Whether the task is being stopped; clones see the same.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Watches the flag that a worker raises.
    #[must_use]
    pub fn new(flag: watch::Receiver<bool>) -> Self {
        Self(flag)
    }

    /// One that is never raised: for calls outside a task.
    #[must_use]
    pub fn never() -> Self {
        Self(watch::channel(false).1)
    }

    /// Whether the flag is up.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        *self.0.borrow()
    }

    /// Comes back when the flag goes up.
    pub async fn raised(&mut self) {
        // An error means that nobody is left who could raise it.
        if self.0.wait_for(|raised| *raised).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits; says whether the flag went up meanwhile.
    pub async fn sleep(&mut self, pause: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.raised() => true,
            () = tokio::time::sleep(pause) => self.is_raised(),
        }
    }
}

pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    control::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl control::Host for GuestState {
    async fn sleep(&mut self, ms: u32) -> bool {
        self.stopping.sleep(Duration::from_millis(u64::from(ms))).await
    }

    fn stopping(&mut self) -> bool {
        self.stopping.is_raised()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait() {
        let (raise, flag) = watch::channel(false);
        let mut stopping = Stopping::new(flag);
        assert!(!stopping.sleep(Duration::from_secs(5)).await);
        let waiting = tokio::spawn(async move { stopping.sleep(Duration::from_secs(3600)).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        raise.send_replace(true);
        assert!(waiting.await.unwrap());
        assert!(!Stopping::never().sleep(Duration::from_secs(1)).await);
    }
}
