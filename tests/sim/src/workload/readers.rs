//! Readers of the input, one of all records and one of committed ones.

use std::time::Duration;

use millrace_client::{Isolation, Position, Random};
use tokio::time::sleep;

use super::{PAUSE_MAX_MS, POLL_MAX, Phase, Shared, poll};
use crate::history::Topic;

impl Shared {
    /// Reads from the first offset on, session after session.
    pub(super) async fn reader(self, committed_only: bool, mut random: Random) {
        while !self.is_in(Phase::Drain) {
            let index = self.new_session(committed_only, true);
            let polls = 20 + random.below(200);
            let session = self.read_session(index, committed_only, polls).await;
            self.end_of_session("reader", session);
            sleep(Duration::from_millis(random.below(PAUSE_MAX_MS))).await;
        }
    }

    async fn read_session(&self, index: usize, committed_only: bool, polls: u64) -> anyhow::Result<()> {
        let isolation = if committed_only { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
        let mut consumer = self.consumer(&[Topic::Input], Position::Offset(0), isolation).await?;
        for _ in 0..polls {
            if self.is_in(Phase::Drain) {
                break;
            }
            let seen = poll(&mut consumer, POLL_MAX).await?;
            self.note_seen(index, &seen);
        }
        Ok(())
    }
}
