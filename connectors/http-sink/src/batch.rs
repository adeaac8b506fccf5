//! Several records in one request.

use millrace_sdk::{Error, RecordRef, Records, http};

use crate::Put;
use crate::request::{Body, body, head, idempotency_key, joined};
use crate::settings::Batch;
use crate::verdict::{Verdict, verdict};

/// A record and its body; none: it is answered for without being sent.
type Piece<'r> = (RecordRef<'r>, Option<Vec<u8>>);

impl Put<'_> {
    pub(super) fn in_batches(&mut self, records: &Records<'_>, batch: Batch) -> Result<(), Error> {
        let bytes_max = usize::try_from(batch.bytes.bytes_u64()).unwrap_or(usize::MAX);
        let mut left = records.iter().peekable();
        while let Some(first) = left.peek().copied() {
            if self.is_late() {
                break;
            }
            let (mut pieces, mut refused) = (Vec::new(), None);
            let (mut count, mut bytes) = (0, 0);
            while let Some(record) = left.next_if(|record| {
                refused.is_none()
                    && count < batch.records
                    && bytes < bytes_max
                    && (record.topic, record.partition) == (first.topic, first.partition)
            }) {
                let body = match body(&self.sink.settings, &self.sink.templates, &record) {
                    Ok(Body::Sent(body)) => Some(body),
                    Ok(Body::Skipped | Body::Deleted) => None,
                    Err(why) => {
                        // Rejections have to come in order: it is told when what stands before it is answered for.
                        refused = Some((record, why));
                        continue;
                    }
                };
                count += usize::from(body.is_some());
                bytes += body.as_ref().map_or(0, |body| body.len() + 1);
                pieces.push((record, body));
            }
            if !self.send(&pieces, batch)? {
                break;
            }
            if let Some((record, why)) = refused {
                self.rejected.push(&record, why);
                self.done = record.index + 1;
            }
        }
        Ok(())
    }

    /// Sends pieces of one partition; halves them when the server refuses them, so that a single one is to blame. Recursive,
    /// but no deeper than a batch can be halved. False: there was no time for all of them.
    fn send(&mut self, pieces: &[Piece<'_>], batch: Batch) -> Result<bool, Error> {
        if self.is_late() {
            return Ok(false);
        }
        let sent: Vec<&Piece<'_>> = pieces.iter().filter(|(_, body)| body.is_some()).collect();
        let (Some((first, _)), Some((last, _))) = (sent.first().copied(), sent.last().copied()) else {
            self.done = pieces.last().map_or(self.done, |(record, _)| record.index + 1);
            return Ok(true);
        };
        let settings = &self.sink.settings;
        let bodies: Vec<&[u8]> = sent.iter().filter_map(|(_, body)| body.as_deref()).collect();
        let offsets = format!("{}-{}", self.piece(first), self.piece(last));
        let key = idempotency_key(&self.sink.connector, first, &offsets);
        let answer = match head(settings, &self.sink.templates, first, settings.method.name(), key) {
            Ok(head) => {
                let answer = http::send(&settings.connection, head.body(joined(batch.format, &bodies)));
                verdict(settings, answer.as_ref())
            }
            Err(why) => Verdict::Refused(why),
        };
        match answer {
            Verdict::Done => {}
            Verdict::Failed(error) => return Err(error),
            Verdict::Refused(why) if sent.len() == 1 => self.rejected.push(first, why),
            Verdict::Refused(_) => {
                let (front, back) = pieces.split_at(pieces.len() / 2);
                return Ok(self.send(front, batch)? && self.send(back, batch)?);
            }
        }
        self.done = pieces.last().map_or(self.done, |(record, _)| record.index + 1);
        Ok(true)
    }
}
