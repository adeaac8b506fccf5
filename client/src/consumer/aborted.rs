//! Leaves out what no reader may see: control batches always, batches of aborted transactions if the broker listed them
//! (which it does for read_committed only).
//!
//! The list names each aborted transaction by producer and first offset. From that offset on the producer's transactional
//! batches are void, up to the abort marker, which stands before the producer's next transaction (KIP-98).

use std::collections::BTreeSet;

use millrace_wire::batch::RawBatch;
use millrace_wire::ids::ProducerId;
use millrace_wire::record::{ControlKind, ControlRecord, decode};

/// A control record has some ten bytes; brokers do not compress it.
const MAX_CONTROL_BYTES: usize = 1024;

/// An aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Aborted {
    pub(super) first_offset: i64,
    pub(super) producer: ProducerId,
}

/// Keeps what may be seen.
pub(super) fn visible(batches: Vec<RawBatch>, mut aborted: Vec<Aborted>) -> Vec<RawBatch> {
    aborted.sort();
    let mut coming = aborted.into_iter().peekable();
    let mut void: BTreeSet<ProducerId> = BTreeSet::new();
    let mut kept = Vec::with_capacity(batches.len());
    for batch in batches {
        let producer = batch.header.producer_id;
        let attributes = batch.header.attributes;
        while let Some(begun) = coming.next_if(|aborted| aborted.first_offset <= batch.last_offset().0) {
            void.insert(begun.producer);
        }
        if attributes.is_control() {
            if ends_in_abort(&batch) {
                void.remove(&producer);
            }
        } else if !(attributes.is_transactional() && void.contains(&producer)) {
            kept.push(batch);
        }
    }
    kept
}

fn ends_in_abort(batch: &RawBatch) -> bool {
    let record = decode(batch, MAX_CONTROL_BYTES).ok().and_then(|mut records| records.next()?.ok());
    let marker = record.and_then(|record| ControlRecord::parse(&record).ok()?);
    marker.is_some_and(|marker| marker.kind == ControlKind::Abort)
}

#[cfg(test)]
mod tests {
    use millrace_wire::ids::{LeaderEpoch, Offset, ProducerEpoch};
    use millrace_wire::record::{BatchBuilder, BatchOptions, ProducerStamp, control_batch};

    use super::*;

    /// `d<producer>`: data, `t<producer>`: transactional data, `A`/`C<producer>`: markers; one offset each.
    fn log(script: &str) -> Vec<RawBatch> {
        let entries = script.split_whitespace().enumerate();
        entries
            .map(|(offset, entry)| {
                let (kind, producer) = entry.split_at(1);
                let id = ProducerId(producer.parse().unwrap());
                let epoch = ProducerEpoch(0);
                let bytes = match kind {
                    "A" => control_batch(ControlKind::Abort, 0, id, epoch, 0),
                    "C" => control_batch(ControlKind::Commit, 0, id, epoch, 0),
                    _ => {
                        let producer = Some(ProducerStamp { id, epoch, base_sequence: 0 });
                        let transactional = kind == "t";
                        let options = BatchOptions { producer, transactional, ..Default::default() };
                        let mut builder = BatchBuilder::new(options);
                        builder.push(0, None, Some(b"v"), []).unwrap();
                        builder.build(Offset(0)).unwrap()
                    }
                };
                let batch = RawBatch::parse(&bytes).unwrap();
                let prefix = batch.header.prefix(Offset(offset as i64), LeaderEpoch(0));
                RawBatch::parse(&[&prefix[..], &batch.after_prefix()].concat().into()).unwrap()
            })
            .collect()
    }

    fn check(script: &str, aborted: &[(i64, i64)], expected: &[i64]) {
        let aborted = aborted
            .iter()
            .map(|(producer, first_offset)| Aborted {
                first_offset: *first_offset,
                producer: ProducerId(*producer),
            })
            .collect();
        let offsets: Vec<_> = visible(log(script), aborted).iter().map(|b| b.header.base_offset.0).collect();
        assert_eq!(offsets, expected, "{script}");
    }

    #[test]
    fn aborted_transactions_and_markers_are_left_out() {
        check("t1 t1 C1 d9", &[], &[0, 1, 3]);
        check("t1 d9 t1 A1 d9", &[(1, 0)], &[1, 4]);
        // The producer's next transaction counts.
        check("t1 A1 t1 C1", &[(1, 0)], &[2]);
        check("t1 A1 t1 C1 t1 A1", &[(1, 0), (1, 4)], &[2]);
        // Interleaved producers.
        check("t1 t2 t1 A1 t2 C2", &[(1, 0)], &[1, 4]);
        // The transaction began before this part of the log.
        check("t1 t1 A1 t1 C1", &[(1, -50)], &[3]);
        // Not transactional: the list does not concern it.
        check("d1 t1 A1", &[(1, 1)], &[0]);
    }
}
