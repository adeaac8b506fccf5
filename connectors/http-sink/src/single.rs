//! A request for each record, one after the other or several at once.

use std::collections::BTreeSet;

use millrace_sdk::http::{self, Request};
use millrace_sdk::{Error, RecordRef, Records, Rejection};

use crate::Put;
use crate::request::{Body, body, head, idempotency_key};
use crate::verdict::{Verdict, verdict};

/// Bodies that are given to the host at once, unless a single one is larger.
const WINDOW_BYTES_MAX: usize = 8 << 20;

/// What becomes of a record of the window.
enum Planned {
    /// The answer of this place decides.
    Sent(usize),
    Skipped,
    Refused(Rejection),
}

impl Put<'_> {
    pub(super) fn singly(&mut self, records: &Records<'_>) -> Result<(), Error> {
        let mut left = records.iter().peekable();
        while left.peek().is_some() && !self.is_late() {
            let (mut window, mut requests) = (Vec::new(), Vec::new());
            let (mut keys, mut bytes) = (BTreeSet::new(), 0);
            // A key that is there already waits for the next window: its records go in order.
            while let Some(record) = left.next_if(|record| {
                requests.len() < self.sink.settings.in_flight as usize
                    && bytes < WINDOW_BYTES_MAX
                    && record.key.is_none_or(|key| !keys.contains(key))
            }) {
                keys.extend(record.key);
                let planned = match self.request(&record) {
                    Ok(Some(request)) => {
                        bytes += request.body.as_ref().map_or(0, Vec::len);
                        requests.push(request);
                        Planned::Sent(requests.len() - 1)
                    }
                    Ok(None) => Planned::Skipped,
                    Err(why) => Planned::Refused(why),
                };
                window.push((record, planned));
            }
            self.settle(window, requests)?;
        }
        Ok(())
    }

    fn request(&self, record: &RecordRef<'_>) -> Result<Option<Request>, Rejection> {
        let (settings, templates) = (&self.sink.settings, &self.sink.templates);
        let key = idempotency_key(&self.sink.connector, record, &self.piece(record).to_string());
        let head = |method| head(settings, templates, record, method, key);
        match body(settings, templates, record)? {
            Body::Skipped => Ok(None),
            Body::Deleted => Ok(Some(head("DELETE")?)),
            Body::Sent(body) => Ok(Some(head(settings.method.name())?.body(body))),
        }
    }

    /// Sends a window and answers for its records, up to the first that has to wait.
    fn settle(&mut self, window: Vec<(RecordRef<'_>, Planned)>, requests: Vec<Request>) -> Result<(), Error> {
        let settings = &self.sink.settings;
        let answers = http::send_all(&settings.connection, requests, settings.in_flight);
        for (record, planned) in window {
            match planned {
                Planned::Skipped => {}
                Planned::Refused(why) => self.rejected.push(&record, why),
                Planned::Sent(at) => match verdict(settings, answers[at].as_ref()) {
                    Verdict::Done => {}
                    Verdict::Refused(why) => self.rejected.push(&record, why),
                    Verdict::Failed(error) => return Err(error),
                },
            }
            self.done = record.index + 1;
        }
        Ok(())
    }
}
