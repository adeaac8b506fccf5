//! Which records of a batch a transform is given, and putting them back among the others.
//!
//! Decided here, on the host: a record that doesn't match costs no copy into the sandbox, and a batch without a match no call.

use regex_lite::Regex;

use crate::component::ApplyOutcome;
use crate::component::batch::{Batch, BatchBuilder, RecordView};
use crate::plan::{PredicatePlan, RecordTest};

/// A predicate that is ready to ask.
#[derive(Debug)]
pub(super) struct Predicate {
    test: Test,
    negate: bool,
}

#[derive(Debug)]
enum Test {
    Topic(Regex),
    Header(String),
    Tombstone,
}

/// Which records of a batch a transform is given.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Picked {
    All,
    None,
    /// These, rising: some, and not all.
    Some(Vec<u32>),
}

impl Predicate {
    /// From a plan.
    ///
    /// # Errors
    /// When its pattern is no regular expression; files are checked for that before.
    pub(super) fn new(plan: &PredicatePlan) -> Result<Self, regex_lite::Error> {
        let test = match &plan.test {
            // The whole name, as Java's `matches` has it.
            RecordTest::TopicNameMatches(pattern) => Test::Topic(Regex::new(&format!("^(?:{pattern})$"))?),
            RecordTest::HasHeaderKey(name) => Test::Header(name.clone()),
            RecordTest::RecordIsTombstone => Test::Tombstone,
        };
        Ok(Self { test, negate: plan.negate })
    }

    /// The records of `batch` that match; those that name no topic are of `topic`.
    pub(super) fn pick(&self, batch: &Batch, topic: &str) -> Picked {
        // Records of one topic stand together: the answer for the last one serves most.
        let mut last: Option<(String, bool)> = None;
        let mut matches = |record: &RecordView<'_>| match &self.test {
            Test::Topic(regex) => {
                let topic = record.topic.unwrap_or(topic);
                if let Some((known, answer)) = &last
                    && known == topic
                {
                    return *answer;
                }
                let answer = regex.is_match(topic);
                last = Some((topic.to_owned(), answer));
                answer
            }
            Test::Header(wanted) => {
                let mut headers = record.headers;
                headers.any(|(name, _)| name == wanted.as_bytes())
            }
            Test::Tombstone => record.value.is_none(),
        };
        let picked: Vec<u32> = (0..)
            .zip(batch.iter())
            .filter(|(_, record)| matches(record) != self.negate)
            .map(|(index, _)| index)
            .collect();
        match picked.len() {
            0 => Picked::None,
            all if all == batch.len() => Picked::All,
            _ => Picked::Some(picked),
        }
    }
}

/// A new batch of the records `picked`.
pub(super) fn take(input: &Batch, picked: &[u32]) -> Batch {
    let mut builder = BatchBuilder::default();
    for (_, record) in input.pick(picked) {
        builder.push(&record);
    }
    builder.build()
}

/// What a transform made of the records `picked` of `input`, among those that passed by, in the order of the input.
pub(super) fn merge(input: &Batch, picked: &[u32], made: ApplyOutcome) -> ApplyOutcome {
    let one_to_one = made.origin.is_empty();
    let mut made_records = made.batch.iter().enumerate().peekable();
    let mut picked_numbers = picked.iter().zip(0u32..).peekable();
    let (mut builder, mut origin) = (BatchBuilder::default(), Vec::new());
    let mut push = |record: &RecordView<'_>, index: u32| {
        builder.push(record);
        origin.push(index);
    };
    for (index, record) in (0u32..).zip(input.iter()) {
        let Some((_, given)) = picked_numbers.next_if(|(number, _)| **number == index) else {
            push(&record, index);
            continue;
        };
        let from = |place: usize| if one_to_one { place as u32 } else { made.origin[place] };
        while let Some((_, record)) = made_records.next_if(|(place, _)| from(*place) == given) {
            push(&record, index);
        }
    }
    let mut rejected = made.rejected;
    for error in &mut rejected {
        error.index = picked[error.index as usize];
    }
    ApplyOutcome { batch: builder.build(), origin, rejected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(records: &[RecordView<'_>]) -> Batch {
        let mut builder = BatchBuilder::default();
        records.iter().for_each(|record| builder.push(record));
        builder.build()
    }

    fn picked(test: RecordTest, negate: bool, batch: &Batch) -> Picked {
        Predicate::new(&PredicatePlan { test, negate }).unwrap().pick(batch, "orders")
    }

    #[test]
    fn a_topic_matches_as_a_whole() {
        let named = |topic| RecordView { topic: Some(topic), ..RecordView::default() };
        let batch = batch(&[named("orders"), named("orders-eu"), named("my-orders"), named("orders")]);
        let matches = |pattern: &str| RecordTest::TopicNameMatches(pattern.to_owned());
        assert_eq!(picked(matches("orders"), false, &batch), Picked::Some(vec![0, 3]));
        assert_eq!(picked(matches("orders|my-.*"), false, &batch), Picked::Some(vec![0, 2, 3]));
        assert_eq!(picked(matches("orders.*"), true, &batch), Picked::Some(vec![2]));
        assert_eq!(picked(matches(".*orders.*"), false, &batch), Picked::All);
        assert_eq!(picked(matches("x"), false, &batch), Picked::None);
    }

    #[test]
    fn tombstones_and_empty_values_differ() {
        let value = |value| RecordView { value, ..RecordView::default() };
        let batch = batch(&[value(None), value(Some(b"")), value(Some(b"1"))]);
        assert_eq!(picked(RecordTest::RecordIsTombstone, false, &batch), Picked::Some(vec![0]));
        assert_eq!(picked(RecordTest::RecordIsTombstone, true, &batch), Picked::Some(vec![1, 2]));
        // Without a topic of their own they are of the pipeline's.
        let orders = RecordTest::TopicNameMatches("orders".to_owned());
        assert_eq!(picked(orders, false, &batch), Picked::All);
    }
}
