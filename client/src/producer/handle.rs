//! Ends the sender when the last handle goes.

use std::sync::Arc;

use super::Shared;

/// Held by every [`super::Producer`]; the sender holds only what is inside.
#[derive(Debug)]
pub(super) struct StopOnDrop(pub(super) Arc<Shared>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
