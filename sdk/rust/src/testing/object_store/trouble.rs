//! What goes wrong with requests: who asks is killed, answers are lost, the store says "slow down".

use std::cmp::Ordering;

use super::{Bucket, Fate};
use crate::error::Error;
use crate::object_store::Refusal;

fn killed() -> Refusal {
    Refusal::Failed(Error::fatal("killed", "killed"))
}

fn slow_down() -> Refusal {
    Refusal::Failed(Error::retriable("s3.SlowDown", "slow down"))
}

/// What becomes of a request that meets these in turn: 0 loses it, 1 its answer, anything else nothing.
fn in_turn(trouble: &[u8], request: usize) -> Fate {
    match trouble.get(request % trouble.len().max(1)) {
        Some(0) => Fate::Lost(slow_down()),
        Some(1) => Fate::Unanswered(slow_down()),
        _ => Fate::Done,
    }
}

impl Bucket {
    /// From the request with this number on nothing is done, as if who asks were killed (code `killed`); that one itself is done if `done` says
    /// so.
    pub fn kill_at(&self, number: u32, done: bool) {
        self.kill_in_trouble(number, done, Vec::new());
    }

    /// The same, with `trouble` before it, which requests meet in turn: 0 loses the request, 1 its answer (the store says "slow down"), anything
    /// else nothing.
    pub fn kill_in_trouble(&self, number: u32, done: bool, trouble: Vec<u8>) {
        let number = number as usize;
        self.number_requests(move |now| match now.cmp(&number) {
            Ordering::Less => in_turn(&trouble, now),
            Ordering::Equal if done => Fate::Unanswered(killed()),
            Ordering::Equal | Ordering::Greater => Fate::Lost(killed()),
        });
    }

    /// The first `requests` requests meet `trouble` in turn, as before a kill.
    pub fn trouble(&self, trouble: Vec<u8>, requests: usize) {
        self.number_requests(move |now| if now < requests { in_turn(&trouble, now) } else { Fate::Done });
    }

    /// Lets `decide` say what becomes of each request from here on, by its number.
    fn number_requests(&self, mut decide: impl FnMut(usize) -> Fate + 'static) {
        let mut next = 0;
        self.interfere(Some(Box::new(move |_| {
            next += 1;
            decide(next - 1)
        })));
    }
}
