//! What the host does with a sink between a start and the end of a topic.

use super::{Record, SinkTest, clock};
use crate::connector::Sink;
use crate::error::{Error, ErrorKind};

/// Times that a call is repeated which fails for now.
const TRIES_MAX: u32 = 1000;

/// Repeats what failed for now.
///
/// # Panics
/// When it never succeeds.
pub fn again<T>(mut call: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 0..TRIES_MAX {
        match call() {
            Err(error) if error.kind == ErrorKind::Retriable => {}
            result => return result,
        }
    }
    panic!("it never succeeds");
}

impl<T: Sink> SinkTest<T> {
    /// Gives the sink those of `records`, of topic `t`, that are behind the positions that it holds for `partitions`: about `batch` at a time, with
    /// flushes between some, offering again what was not taken, and again what failed for now. `ms` pass with each batch. Then it ends.
    ///
    /// # Errors
    /// What does not go away.
    ///
    /// # Panics
    /// When a record is rejected.
    pub fn deliver(
        mut self,
        partitions: &[i32],
        mut records: Vec<Record>,
        batch: usize,
        ms: i64,
    ) -> Result<(), Error> {
        let held = again(|| self.assign("t", partitions))?;
        records.retain(|record| {
            let held = held.iter().find(|at| at.partition == record.partition);
            held.is_none_or(|held| record.offset >= held.offset)
        });
        while !records.is_empty() {
            let place = |at: usize| (records[at].partition, records[at].offset);
            let mut end = batch.min(records.len());
            // A record's pieces come within one batch.
            while end < records.len() && place(end) == place(end - 1) {
                end += 1;
            }
            let (taken, rejected) = again(|| self.put(&records[..end]))?;
            assert!(rejected.is_empty(), "{rejected:?}");
            records.drain(..taken);
            clock::advance(ms);
            if records.len().is_multiple_of(3) {
                again(|| self.flush())?;
            }
        }
        self.end()
    }

    /// Flushes and closes, as often as it takes.
    ///
    /// # Errors
    /// What does not go away.
    pub fn end(mut self) -> Result<(), Error> {
        again(|| self.flush())?;
        again(|| self.sink.close())
    }
}
