//! The checks of what a component hands back, for the fuzz target: whatever passes them has to be safe to use.
//!
//! An [`Answer`] is what the calls of `wit/` may return, before anything of it was looked at. Texts are valid UTF-8 because the engine
//! checks that when it lifts them; bytes are anything.

use super::batch::{Batch, BatchBuilder, RecordView};
use super::bindings::millrace::connect::types::RecordBatch;
use super::sink::check_taken;
use super::source::{check_checkpoints, check_rejected};
use super::transform::check_origin;
use super::{Checkpoint, RecordError};

/// Anything that a component may hand back.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the columns of wit/types.wit, under their names")]
pub struct Answer {
    pub count: u32,
    pub topics: Vec<String>,
    pub topic_index: Vec<u32>,
    pub partitions: Vec<i32>,
    pub offsets: Vec<i64>,
    pub timestamps: Vec<i64>,
    pub key_lens: Vec<i32>,
    pub value_lens: Vec<i32>,
    pub data: Vec<u8>,
    pub header_counts: Vec<u32>,
    pub header_lens: Vec<i32>,
    pub header_data: Vec<u8>,
    pub rejected: Vec<(u32, String, String)>,
    pub origin: Vec<u32>,
    pub checkpoints: Vec<(String, Vec<u8>)>,
    pub accepted: u32,
    /// Records that the component was given; a transform's answer is judged by it.
    pub given: u8,
}

/// Checks an answer as the host does, and uses what passes as the worker does. Says whether a batch passed.
///
/// # Panics
/// When something passes that breaks what the rest of the runtime relies on.
#[must_use]
pub fn judge(answer: Answer) -> bool {
    let checkpoints = answer.checkpoints.into_iter();
    let checkpoints: Vec<_> =
        checkpoints.map(|(partition, position)| Checkpoint { partition, position }).collect();
    // Any answer is fine as long as there is one.
    let _ = check_checkpoints(&checkpoints);
    let rejections = |count| {
        let errors = answer.rejected.iter().cloned();
        check_rejected(
            errors.map(|(index, code, message)| RecordError { index, code, message }).collect(),
            count,
        )
    };
    let given = usize::from(answer.given);
    if let Ok(taken) = check_taken(answer.accepted, given)
        && let Ok(rejected) = rejections(taken)
    {
        assert!(taken <= given);
        assert_rising(&rejected, taken);
    }
    let checked = Batch::checked(RecordBatch {
        count: answer.count,
        topics: answer.topics,
        topic_index: answer.topic_index,
        partitions: answer.partitions,
        offsets: answer.offsets,
        timestamps: answer.timestamps,
        key_lens: answer.key_lens,
        value_lens: answer.value_lens,
        data: answer.data,
        header_counts: answer.header_counts,
        header_lens: answer.header_lens,
        header_data: answer.header_data,
    });
    let Ok(mut batch) = checked else { return false };
    assert_readable(&batch);
    // Of a source.
    if let Ok(rejected) = rejections(batch.len()) {
        assert_rising(&rejected, batch.len());
        let numbers: Vec<u32> = rejected.iter().map(|error| error.index).collect();
        assert_eq!(batch.pick(&numbers).count(), numbers.len());
        let good = batch.filtered(|index| !numbers.contains(&(index as u32)));
        assert_eq!(good.len(), batch.len() - numbers.len());
        assert_readable(&good);
    }
    // Of a transform.
    if let Ok(rejected) = rejections(given)
        && check_origin(&answer.origin, given, batch.len(), &rejected).is_ok()
    {
        let origin = (!answer.origin.is_empty()).then_some(&answer.origin[..]);
        let input = input(given);
        batch.name_topic("topic");
        assert!(batch.iter().all(|record| record.topic.is_some_and(|topic| !topic.is_empty())));
        batch.set_places_of(&input, origin);
        for (index, record) in batch.iter().enumerate() {
            let from = origin.map_or(index, |origin| origin[index] as usize);
            assert_eq!((record.partition, record.offset), (Some(0), Some(from as i64)));
        }
        assert_readable(&batch);
    }
    for start in [0, batch.len() / 2, batch.len()] {
        assert_eq!(batch.slice(start..batch.len()).len(), batch.len() - start);
    }
    true
}

/// What a transform was given: its place is the number of the record.
fn input(records: usize) -> Batch {
    let mut builder = BatchBuilder::default();
    for offset in 0..records as i64 {
        builder.push(&RecordView { partition: Some(0), offset: Some(offset), ..RecordView::default() });
    }
    builder.build()
}

/// Every record can be read, and all of them together are what the batch holds.
fn assert_readable(batch: &Batch) {
    let mut bytes = 0;
    for record in batch.iter() {
        bytes += record.size_bytes();
        for (name, value) in record.headers {
            assert!(std::str::from_utf8(name).is_ok(), "a header's name is no text");
            assert!(value.is_none_or(|value| value.len() <= batch.size_bytes()));
        }
        assert!(record.partition.is_none_or(|partition| partition >= 0));
        assert!(record.timestamp_ms.is_none_or(|timestamp| timestamp >= 0));
    }
    assert_eq!(batch.iter().count(), batch.len());
    assert_eq!(bytes, batch.size_bytes());
}

fn assert_rising(rejected: &[RecordError], count: usize) {
    assert!(rejected.windows(2).all(|pair| pair[0].index < pair[1].index));
    assert!(rejected.iter().all(|error| (error.index as usize) < count));
    assert!(rejected.iter().all(|error| !error.message.contains(char::is_control)));
}
