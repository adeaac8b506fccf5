//! What the headers of a dead letter tell: those that [`crate::failure::dead_letter`] writes, and Kafka Connect's own workers.
//!
//! A letter's headers stand behind those that its record had. A record may itself have been a dead letter once, so only the last
//! run of them is taken.

use std::borrow::Cow;

use crate::failure::dead_letter::header;

/// Most headers of a record that are looked at; one with more is no letter.
const HEADERS_MAX: usize = 10_000;

/// A header: name and value.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// A dead letter, borrowed from its record.
#[derive(Clone, Debug)]
pub struct Letter<'a> {
    /// The connector that refused the record.
    pub connector: Cow<'a, str>,
    /// Its task.
    pub task: Cow<'a, str>,
    /// Where it failed, by Kafka Connect's name.
    pub stage: Cow<'a, str>,
    /// The component that refused it.
    pub component: Cow<'a, str>,
    /// The code of the error.
    pub code: Cow<'a, str>,
    /// Its words.
    pub message: Cow<'a, str>,
    /// Where a sink's record was read.
    pub origin: Option<(Cow<'a, str>, i32, i64)>,
    /// Topic that a source's record was on its way to.
    pub destination: Option<Cow<'a, str>>,
    /// How often it was retried.
    pub retries: u32,
    /// Whether the record itself stayed away, because it is too large.
    pub is_left_out: bool,
    /// The record's own headers.
    pub headers: Vec<Header<'a>>,
}

impl<'a> Letter<'a> {
    /// Reads a record's headers; none: it is no dead letter.
    #[must_use]
    pub fn parse(headers: impl Iterator<Item = Header<'a>>) -> Option<Self> {
        let mut headers: Vec<Header<'a>> = headers.take(HEADERS_MAX + 1).collect();
        if headers.len() > HEADERS_MAX {
            return None;
        }
        let is = |header: &Header<'_>, name: &str| header.0 == name.as_bytes();
        let at = headers.iter().rposition(|found| is(found, header::CONNECTOR))?;
        // Topic, partition and offset stand before it, for a record that was read from a topic.
        let origin_names = [header::TOPIC, header::PARTITION, header::OFFSET];
        let start = at.checked_sub(origin_names.len()).filter(|start| {
            headers[*start..at].iter().zip(origin_names).all(|(found, name)| is(found, name))
        });
        let reason = headers.split_off(start.unwrap_or(at));
        let get = |name: &str| {
            let found = reason.iter().find(|found| is(found, name)).and_then(|(_, value)| *value);
            found.map(String::from_utf8_lossy)
        };
        let text = |name: &str| get(name).unwrap_or_default();
        let number = |name: &str| get(name).and_then(|text| text.parse::<i64>().ok());
        let origin = || {
            let partition = i32::try_from(number(header::PARTITION)?).ok()?;
            Some((get(header::TOPIC)?, partition, number(header::OFFSET)?))
        };
        Some(Self {
            connector: text(header::CONNECTOR),
            task: text(header::TASK),
            stage: text(header::STAGE),
            component: text(header::COMPONENT),
            code: text(header::CODE),
            message: text(header::MESSAGE),
            origin: origin(),
            destination: get(header::DESTINATION),
            retries: number(header::RETRIES).and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
            is_left_out: get(header::LEFT_OUT).is_some(),
            headers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter<'a>(headers: &'a [(&'a str, &'a str)]) -> Option<Letter<'a>> {
        Letter::parse(headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))))
    }

    #[test]
    fn a_letter_tells_where_its_record_was_and_gives_its_headers_back() {
        let headers = [
            ("trace", "1"),
            ("__connect.errors.topic", "t"),
            ("__connect.errors.partition", "2"),
            ("__connect.errors.offset", "42"),
            ("__connect.errors.connector.name", "p.archive"),
            ("__connect.errors.stage", "TASK_PUT"),
            ("__connect.errors.exception.class.name", "json"),
            ("__connect.errors.retries", "3"),
        ];
        let read = letter(&headers).unwrap();
        assert_eq!(read.origin, Some(("t".into(), 2, 42)));
        assert_eq!(
            (&*read.connector, &*read.stage, &*read.code, read.retries),
            ("p.archive", "TASK_PUT", "json", 3)
        );
        assert_eq!(read.headers, [(&b"trace"[..], Some(&b"1"[..]))]);
        assert!(!read.is_left_out && read.destination.is_none());
    }

    #[test]
    fn a_record_that_was_a_letter_before_keeps_that() {
        let before = [
            ("__connect.errors.topic", "t"),
            ("__connect.errors.partition", "0"),
            ("__connect.errors.offset", "1"),
            ("__connect.errors.connector.name", "p.first"),
        ];
        let after = [
            ("__connect.errors.connector.name", "q.source"),
            ("__connect.errors.destination", "q"),
            ("__connect.errors.left.out", "all"),
        ];
        let headers = [&before[..], &after].concat();
        let read = letter(&headers).unwrap();
        assert_eq!((&*read.connector, read.origin.is_none(), read.headers.len()), ("q.source", true, 4));
        assert_eq!((read.destination.as_deref(), read.is_left_out), (Some("q"), true));
    }

    #[test]
    fn other_records_are_no_letters() {
        assert!(letter(&[]).is_none());
        assert!(letter(&[("__connect.errors.topic", "t")]).is_none());
        let odd =
            letter(&[("__connect.errors.connector.name", "c"), ("__connect.errors.retries", "-1")]).unwrap();
        assert_eq!((odd.retries, odd.origin), (0, None));
        let many = vec![("__connect.errors.connector.name", "c"); HEADERS_MAX + 1];
        assert!(letter(&many).is_none());
    }
}
