//! Which letters of a dead letter topic's partition are handled: ranges of offsets, in `connect-offsets`.
//!
//! Key `["<connector>",{"dead_letter_topic":"orders.dlq","partition":0}]`, value `{"topic_id":"…","handled":[[0,17],[20,21]]}`: from the
//! first offset to before the second. A consumer group's offset would not do: letters are chosen one by one, and groups are forgotten
//! when nobody reads for a while. A topic that was deleted and made again has another id: marks of the old one don't count.
//!
//! Letters of other connectors, and what else takes up offsets, count neither way: ranges run over them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Most ranges of one partition: what has to fit in a record. Whoever chooses every second letter of more has to choose otherwise.
pub(super) const RANGES_MAX: usize = 10_000;

/// Handled letters of one partition, by offset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marks {
    topic_id: String,
    /// Rising, apart from one another; each without its end.
    handled: Vec<(i64, i64)>,
}

impl Marks {
    pub(super) fn new(topic_id: &str) -> Self {
        Self { topic_id: topic_id.to_owned(), handled: Vec::new() }
    }

    /// Whether they speak of this topic, and not of one that had its name before.
    pub(super) fn is_of(&self, topic_id: &str) -> bool {
        self.topic_id == topic_id
    }

    pub(super) fn contains(&self, offset: i64) -> bool {
        let after = self.handled.partition_point(|(start, _)| *start <= offset);
        after > 0 && offset < self.handled[after - 1].1
    }

    pub(super) fn ranges(&self) -> usize {
        self.handled.len()
    }

    /// The key of a partition's marks.
    pub(super) fn key(connector: &str, topic: &str, partition: i32) -> String {
        json!([connector, { "dead_letter_topic": topic, "partition": partition }]).to_string()
    }

    /// Whose marks a key is for: connector, topic, partition.
    pub(super) fn parse_key(key: &[u8]) -> Option<(String, String, i32)> {
        let (connector, of): (String, Value) = serde_json::from_slice(key).ok()?;
        let topic = of.get("dead_letter_topic")?.as_str()?.to_owned();
        let partition = i32::try_from(of.get("partition")?.as_i64()?).ok()?;
        Some((connector, topic, partition))
    }

    pub(super) fn value(&self) -> String {
        json!(self).to_string()
    }

    /// Reads a value back; none: it holds no marks.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let marks: Self = serde_json::from_slice(value).ok()?;
        let rises = marks.handled.iter().all(|(start, end)| start < end);
        let apart = marks.handled.windows(2).all(|pair| pair[0].1 < pair[1].0);
        (rises && apart).then_some(marks)
    }
}

/// The marks of a partition while it is read, letter by letter.
#[derive(Debug)]
pub(super) struct Ledger {
    before: Marks,
    now: Marks,
    /// The last letter of the connector was handled: the next one that is continues its range.
    is_run: bool,
    /// The next offset that was not looked at.
    next: i64,
}

impl Ledger {
    pub(super) fn new(before: Marks) -> Self {
        let now = Marks::new(&before.topic_id);
        Self { before, now, is_run: false, next: 0 }
    }

    /// Whether a letter was handled before.
    pub(super) fn was_handled(&self, offset: i64) -> bool {
        self.before.contains(offset)
    }

    /// A letter of the connector, in rising order.
    pub(super) fn note(&mut self, offset: i64, is_handled: bool) {
        self.next = offset + 1;
        match self.now.handled.last_mut() {
            Some((_, end)) if is_handled && self.is_run => *end = offset + 1,
            _ if is_handled => self.now.handled.push((offset, offset + 1)),
            _ => {}
        }
        self.is_run = is_handled;
    }

    /// The marks as of now: of what was read as noted, of the rest as before.
    pub(super) fn marks(&self) -> Marks {
        let mut marks = self.now.clone();
        for (start, end) in &self.before.handled {
            let start = *start.max(&self.next);
            match marks.handled.last_mut() {
                _ if start >= *end => {}
                Some((_, last)) if *last >= start => *last = (*last).max(*end),
                _ => marks.handled.push((start, *end)),
            }
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks_have_a_shape_that_positions_dont() {
        let mut ledger = Ledger::new(Marks::new("id"));
        for (offset, handled) in [(3, true), (7, true), (8, false), (9, true)] {
            ledger.note(offset, handled);
        }
        let marks = ledger.marks();
        assert_eq!(marks.value(), r#"{"handled":[[3,8],[9,10]],"topic_id":"id"}"#);
        let key = Marks::key("p.s", "p.dlq", 2);
        assert_eq!(key, r#"["p.s",{"dead_letter_topic":"p.dlq","partition":2}]"#);
        assert_eq!(Marks::parse_key(key.as_bytes()), Some(("p.s".into(), "p.dlq".into(), 2)));
        let mut positions = crate::offsets::Positions::default();
        positions.apply("p.s", key.as_bytes(), Some(marks.value().as_bytes()));
        assert!(positions.is_empty());
    }

    #[test]
    fn rubbish_is_no_mark() {
        for bad in
            [r#"{}"#, r#"{"topic_id":"a","handled":[[5,5]]}"#, r#"{"topic_id":"a","handled":[[5,7],[6,9]]}"#]
        {
            assert_eq!(Marks::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn letters_are_handled_exactly_when_somebody_said_so(
            letters in proptest::collection::btree_set(0i64..60, 0..30),
            rounds in proptest::collection::vec((proptest::collection::btree_set(0i64..60, 0..10), 0usize..31), 1..5),
        ) {
            let mut marks = Marks::new("id");
            let mut model = BTreeSet::new();
            for (chosen, read) in rounds {
                let mut ledger = Ledger::new(marks.clone());
                // As when it is killed in the middle.
                for offset in letters.iter().take(read) {
                    let handled = ledger.was_handled(*offset) || chosen.contains(offset);
                    ledger.note(*offset, handled);
                    if handled {
                        model.insert(*offset);
                    }
                }
                marks = ledger.marks();
                prop_assert_eq!(Marks::parse(marks.value().as_bytes()), Some(marks.clone()));
                for offset in &letters {
                    prop_assert_eq!(marks.contains(*offset), model.contains(offset));
                }
            }
        }
    }
}
