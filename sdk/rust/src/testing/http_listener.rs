//! Senders for native tests: what [`crate::http_listener`] takes and answers.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::error::Error;
use crate::http_listener::{Answer, Request};

#[derive(Default)]
struct Senders {
    waiting: VecDeque<Request>,
    numbers: u64,
    answers: Vec<Answer>,
}

thread_local! {
    static SENDERS: RefCell<Senders> = RefCell::default();
}

/// The listener of this thread.
#[derive(Debug)]
pub struct Listener(());

/// Sends a request to the listener of this thread, and gives its number.
pub fn send(request: Request) -> u64 {
    SENDERS.with(|senders| {
        let senders = &mut *senders.borrow_mut();
        senders.numbers += 1;
        senders.waiting.push_back(Request { id: senders.numbers, ..request });
        senders.numbers
    })
}

/// What was answered since the last time.
pub fn answers() -> Vec<Answer> {
    SENDERS.with(|senders| std::mem::take(&mut senders.borrow_mut().answers))
}

pub(crate) fn open(_connection: &str) -> Result<Listener, Error> {
    Ok(Listener(()))
}

impl Listener {
    pub(crate) fn take(&mut self, requests_max: u32, bytes_max: u32) -> Vec<Request> {
        SENDERS.with(|senders| {
            let waiting = &mut senders.borrow_mut().waiting;
            let (mut taken, mut bytes) = (Vec::new(), 0);
            while taken.len() < requests_max as usize && bytes < bytes_max as usize {
                let Some(request) = waiting.pop_front() else { break };
                bytes += request.body.len();
                taken.push(request);
            }
            taken
        })
    }

    pub(crate) fn answer(&mut self, answers: Vec<Answer>) {
        SENDERS.with(|senders| senders.borrow_mut().answers.extend(answers));
    }
}
