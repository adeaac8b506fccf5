//! Contexts in the headers of a batch's records.

use super::LINKS_MAX;
use super::context::{Context, HEADER, TEXT_LEN};
use crate::component::batch::{Batch, Headers, RecordView};

/// The context that a record's header holds.
pub(crate) fn of(record: &RecordView<'_>) -> Option<Context> {
    let mut headers = record.headers;
    headers.find(|(name, _)| *name == HEADER).and_then(|(_, value)| Context::parse(value?))
}

/// The different contexts of a batch's records, up to as many as a span links to.
pub(crate) fn contexts(batch: &Batch) -> Vec<Context> {
    let mut found: Vec<Context> = Vec::new();
    for context in batch.iter().filter_map(|record| of(&record)) {
        // Most records have the context of the one before.
        if found.last() != Some(&context) && !found.contains(&context) {
            found.push(context);
            if found.len() > LINKS_MAX {
                break;
            }
        }
    }
    found
}

/// Gives records a context; keeps its memory from record to record.
#[derive(Debug, Default)]
pub(crate) struct Marker {
    lens: Vec<i32>,
    data: Vec<u8>,
}

impl Marker {
    /// The record with `context` in a header, unless it has one.
    pub(crate) fn mark<'m>(&'m mut self, record: &RecordView<'m>, context: Context) -> RecordView<'m> {
        let mut headers = record.headers;
        if headers.any(|(name, _)| name == HEADER) {
            return *record;
        }
        self.lens.clear();
        self.data.clear();
        for (name, value) in record.headers {
            self.push(name, value);
        }
        self.push(HEADER, Some(&context.text()));
        RecordView { headers: Headers::known(&self.lens, &self.data), ..*record }
    }

    /// Lengths of names and values of one batch fit the columns that they came from.
    fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.lens.push(name.len() as i32);
        self.lens.push(value.map_or(-1, |value| value.len() as i32));
        self.data.extend_from_slice(name);
        self.data.extend_from_slice(value.unwrap_or_default());
    }
}

/// Bytes that a context adds to a record.
pub(crate) const MARK_BYTES: usize = HEADER.len() + TEXT_LEN;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::batch::BatchBuilder;

    fn context(number: u64) -> Context {
        Context::new([number, 0], number.to_be_bytes())
    }

    #[test]
    fn a_record_keeps_its_context_or_is_given_one() {
        let mut marker = Marker::default();
        let own = context(7).text();
        let mut data = b"aXtraceparent".to_vec();
        data.extend_from_slice(&own);
        let lens = [1, 1, HEADER.len() as i32, TEXT_LEN as i32];
        let has = RecordView { headers: Headers::known(&lens, &data), ..RecordView::default() };
        assert_eq!(of(&marker.mark(&has, context(9))), Some(context(7)));
        let bare = RecordView { headers: Headers::known(&[1, -1], b"a"), ..RecordView::default() };
        let marked = marker.mark(&bare, context(9));
        assert_eq!((of(&marked), marked.headers.count()), (Some(context(9)), 2));
        assert_eq!(marked.size_bytes(), bare.size_bytes() + MARK_BYTES);
    }

    #[test]
    fn contexts_of_a_batch_are_told_once_each_and_bounded() {
        let mut builder = BatchBuilder::default();
        let mut marker = Marker::default();
        for number in [1, 1, 2, 1, 3] {
            builder.push(&marker.mark(&RecordView::default(), context(number)));
        }
        builder.push(&RecordView::default());
        assert_eq!(contexts(&builder.build()), [context(1), context(2), context(3)]);
        let mut builder = BatchBuilder::default();
        for number in 1..1_000 {
            builder.push(&marker.mark(&RecordView::default(), context(number)));
        }
        assert_eq!(contexts(&builder.build()).len(), LINKS_MAX + 1);
    }
}
