//! Where the source stands: what the next request asks for. It is the checkpoint, so whatever has an influence on the next
//! request is in it.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use millrace_sdk::{Checkpoint, Error};
use serde::{Deserialize, Serialize};

/// Most records with the greatest position that are remembered.
const BOUNDARY_MAX: usize = 2_000;

/// What the next request asks for.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct State {
    /// Which page.
    #[serde(default)]
    pub page: Page,
    /// Records of that page that were read already: it was the last one, and is asked for again.
    #[serde(default)]
    pub skip: u64,
    /// Records of the page before that one.
    #[serde(default)]
    pub before: u64,
    /// Where the window begins, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<i64>,
    /// The position that this round asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Hashes of the records with that position that were there before this round.
    #[serde(default)]
    pub known: BTreeSet<u64>,
    /// The greatest position seen, and the records that had it.
    #[serde(default)]
    pub seen: Seen,
    /// The first page's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When the first page was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// A source without `poll_every` that has been to its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
}

/// A page of a round.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Page {
    /// The first one.
    #[default]
    First,
    /// The one at this URL, found on the page at the other.
    At {
        /// As it was found.
        url: String,
        /// The page that it was found on.
        on: String,
    },
    /// The one that this word asks for.
    Cursor(String),
    /// The one with this number, or behind so many records.
    Number(u64),
}

/// The greatest position seen. Records that have it may come again, when the service takes "since" to include it: they are
/// known by their hash.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Seen {
    /// The position as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greatest: Option<String>,
    /// Hashes of the records that have it.
    #[serde(default)]
    pub with_it: BTreeSet<u64>,
}

impl State {
    /// The newest checkpoint of this partition.
    pub fn resume(partition: &str, all: &[Checkpoint]) -> Result<Option<Self>, Error> {
        let Some(found) = all.iter().find(|checkpoint| checkpoint.partition == partition) else {
            return Ok(None);
        };
        let mut state: Self = serde_json::from_slice(&found.position).map_err(|error| {
            let message =
                format!("position of {partition}: {error}; it is not one of http-source, reset the offsets");
            Error::fatal("http.position", message)
        })?;
        if state.known.is_empty() && state.since.is_some() && state.since == state.seen.greatest {
            // Kept by a version that didn't tell them apart.
            state.known.clone_from(&state.seen.with_it);
        }
        Ok(Some(state))
    }

    /// Notes a record; false: it was here before. In whatever order the service gives them.
    pub fn note(&mut self, position: &str, record: &[u8]) -> Result<bool, Error> {
        let is_at_since = self.since.as_deref().is_some_and(|since| compare(position, since).is_eq());
        if is_at_since && self.known.contains(&hash(record)) {
            return Ok(false);
        }
        self.seen.note(position, record)
    }

    /// From here on it is asked for what has the greatest position seen, or more.
    pub fn ask_from_greatest(&mut self) {
        if let Some(greatest) = self.seen.greatest.clone() {
            self.since = Some(greatest);
            self.known.clone_from(&self.seen.with_it);
        }
    }

    /// As it is kept.
    pub fn position(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Seen {
    /// Notes a record; false: it was here before.
    pub fn note(&mut self, position: &str, record: &[u8]) -> Result<bool, Error> {
        let order =
            self.greatest.as_deref().map_or(Ordering::Greater, |greatest| compare(position, greatest));
        match order {
            Ordering::Less => return Ok(true),
            Ordering::Equal => {}
            Ordering::Greater => {
                self.greatest = Some(position.to_owned());
                self.with_it.clear();
            }
        }
        if self.with_it.contains(&hash(record)) {
            return Ok(false);
        }
        if self.with_it.len() >= BOUNDARY_MAX {
            let message = format!(
                "more than {BOUNDARY_MAX} records have the same position; choose a finer `position.field`"
            );
            return Err(Error::fatal("http.position", message));
        }
        self.with_it.insert(hash(record));
        Ok(true)
    }
}

/// Numbers by their size, anything else as text: moments in RFC 3339 and identifiers of one length sort as they should.
fn compare(one: &str, other: &str) -> Ordering {
    if let (Ok(one), Ok(other)) = (one.parse::<i128>(), other.parse::<i128>()) {
        return one.cmp(&other);
    }
    match (one.parse::<f64>(), other.parse::<f64>()) {
        (Ok(one), Ok(other)) => one.total_cmp(&other),
        _ => one.cmp(other),
    }
}

/// FNV-1a: kept in checkpoints, so it must stay what it is.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_compared_as_what_it_is() {
        assert_eq!(compare("9", "10"), Ordering::Less);
        assert_eq!(compare("12345678901234567891", "12345678901234567890"), Ordering::Greater);
        assert_eq!(compare("1.5", "1.25"), Ordering::Greater);
        assert_eq!(compare("2026-01-02T00:00:00Z", "2026-01-10T00:00:00Z"), Ordering::Less);
    }

    #[test]
    fn records_at_the_boundary_are_known_again() {
        let mut seen = Seen::default();
        let mut note = |position: &str, record: &str| seen.note(position, record.as_bytes()).expect("noted");
        assert!(note("1", "a") && note("2", "b") && note("2", "c"));
        assert!(!note("2", "b") && note("2", "d") && note("1", "a"));
        assert!(note("3", "b") && !note("3", "b"));
        let mut full = Seen::default();
        let noted: Result<Vec<bool>, Error> =
            (0..=BOUNDARY_MAX).map(|n| full.note("1", n.to_string().as_bytes())).collect();
        assert!(noted.expect_err("too many").message.contains("choose a finer"));
    }

    #[test]
    fn a_state_survives() {
        let mut state = State {
            page: Page::At { url: "?p=2".into(), on: "https://a/?p=1".into() },
            skip: 3,
            ..State::default()
        };
        state.seen.note("5", b"x").expect("noted");
        let kept = Checkpoint { partition: "p".into(), position: state.position() };
        assert_eq!(State::resume("p", std::slice::from_ref(&kept)).expect("read"), Some(state));
        assert_eq!(State::resume("q", &[kept]).expect("read"), None);
        let torn = Checkpoint { partition: "p".into(), position: b"{".to_vec() };
        assert!(State::resume("p", &[torn]).expect_err("torn").message.contains("reset the offsets"));
    }
}
