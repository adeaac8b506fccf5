//! Which dead letters are meant.

use std::str::FromStr;

use super::scan::Found;

/// `TOPIC-PARTITION-OFFSET`: where a record was read, or where its dead letter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    topic: String,
    partition: i32,
    offset: i64,
}

impl FromStr for RecordPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (rest, offset) = text.rsplit_once('-')?;
            let (topic, partition) = rest.rsplit_once('-')?;
            let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then_some(());
            number(offset).and(number(partition))?;
            let (partition, offset) = (partition.parse().ok()?, offset.parse().ok()?);
            Some(Self { topic: topic.to_owned(), partition, offset }).filter(|_| !topic.is_empty())
        };
        parse().ok_or_else(|| {
            format!("`{text}` is no place; expected TOPIC-PARTITION-OFFSET, such as orders-2-42")
        })
    }
}

/// All of it has to hold; what is empty or none holds for every letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// One of these records.
    pub places: Vec<RecordPlace>,
    /// One of these codes.
    pub codes: Vec<String>,
    /// One of these stages, by Kafka Connect's names.
    pub stages: Vec<String>,
    /// Timestamp of the record at or after this, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Before this.
    pub until_ms: Option<i64>,
    /// No more than this many.
    pub count_max: Option<u64>,
}

impl Choice {
    /// Whether a letter is meant, however many are.
    pub(super) fn includes(&self, found: &Found<'_>) -> bool {
        let letter = &found.letter;
        let is_at = |place: &RecordPlace, topic: &str, partition, offset| {
            place.topic == topic && place.partition == partition && place.offset == offset
        };
        let is_placed = |place: &RecordPlace| {
            let origin = letter.origin.as_ref();
            is_at(place, found.topic, found.partition, found.offset)
                || origin.is_some_and(|(topic, partition, offset)| is_at(place, topic, *partition, *offset))
        };
        let is_of = |list: &[String], what: &str| list.is_empty() || list.iter().any(|one| one == what);
        (self.places.is_empty() || self.places.iter().any(is_placed))
            && is_of(&self.codes, &letter.code)
            && is_of(&self.stages, &letter.stage)
            && self.since_ms.is_none_or(|since| found.timestamp_ms >= since)
            && self.until_ms.is_none_or(|until| found.timestamp_ms < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redrive::Letter;

    fn place(text: &str) -> RecordPlace {
        text.parse().unwrap()
    }

    #[test]
    fn places() {
        assert_eq!(
            place("orders-eu-2-42"),
            RecordPlace { topic: "orders-eu".into(), partition: 2, offset: 42 }
        );
        for bad in ["", "orders", "orders-2", "-2-42", "orders-x-42", "orders-2-", "orders-2-+4"] {
            assert!(bad.parse::<RecordPlace>().is_err(), "{bad}");
        }
    }

    #[test]
    fn all_of_a_choice_has_to_hold() {
        let name = |name: &'static str, value: &'static str| (name.as_bytes(), Some(value.as_bytes()));
        let headers = [
            name("__connect.errors.topic", "orders"),
            name("__connect.errors.partition", "2"),
            name("__connect.errors.offset", "42"),
            name("__connect.errors.connector.name", "orders.archive"),
            name("__connect.errors.stage", "TASK_PUT"),
            name("__connect.errors.exception.class.name", "json"),
        ];
        let letter = Letter::parse(headers.into_iter()).unwrap();
        let found = Found {
            topic: "orders.dlq",
            partition: 0,
            offset: 7,
            timestamp_ms: 1_000,
            key: None,
            value: None,
            letter,
        };
        let yes = |choice: Choice| assert!(choice.includes(&found), "{choice:?}");
        let no = |choice: Choice| assert!(!choice.includes(&found), "{choice:?}");
        yes(Choice::default());
        yes(Choice { places: vec![place("x-0-1"), place("orders-2-42")], ..Choice::default() });
        yes(Choice { places: vec![place("orders.dlq-0-7")], ..Choice::default() });
        no(Choice { places: vec![place("orders-0-7")], ..Choice::default() });
        yes(Choice { codes: vec!["json".into()], stages: vec!["TASK_PUT".into()], ..Choice::default() });
        no(Choice { codes: vec!["json".into()], stages: vec!["TASK_POLL".into()], ..Choice::default() });
        yes(Choice { since_ms: Some(1_000), until_ms: Some(1_001), ..Choice::default() });
        no(Choice { until_ms: Some(1_000), ..Choice::default() });
    }
}
