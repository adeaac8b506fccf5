//! Snapshots of transactions: which of them a query saw.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What `pg_current_snapshot()` says: `xmin:xmax:xip,xip,...`. Numbers of transactions are of 64 bits there.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Snapshot {
    /// All before it are over.
    pub(crate) xmin: u64,
    /// None from here on is.
    xmax: u64,
    /// Those between that are not, in order.
    running: Vec<u64>,
}

impl Snapshot {
    /// Whether it sees a transaction that has committed. Changes carry the lower 32 bits of its number.
    pub(crate) fn sees(&self, xid: u32) -> bool {
        let xid = self.widened(xid);
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// Bytes of its text.
    pub(crate) fn bytes(&self) -> usize {
        self.to_string().len()
    }

    /// The number near `xmax` that has these lower bits: never are two transactions in use that are 2^31 apart.
    fn widened(&self, xid: u32) -> u64 {
        let near = (self.xmax & !u64::from(u32::MAX)) | u64::from(xid);
        let (half, whole) = (1 << 31, 1 << 32);
        if near > self.xmax.saturating_add(half) {
            near.saturating_sub(whole)
        } else if near.saturating_add(half) < self.xmax {
            near.saturating_add(whole)
        } else {
            near
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running: Vec<String> = self.running.iter().map(u64::to_string).collect();
        write!(f, "{}:{}:{}", self.xmin, self.xmax, running.join(","))
    }
}

impl FromStr for Snapshot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let mut parts = text.splitn(3, ':');
            let (xmin, xmax) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let running = parts.next()?.split(',').filter(|part| !part.is_empty());
            let mut running = running.map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
            running.sort_unstable();
            (xmin <= xmax).then_some(Self { xmin, xmax, running })
        };
        parsed().ok_or_else(|| format!("{text:?} is no snapshot of transactions"))
    }
}

impl TryFrom<String> for Snapshot {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Snapshot> for String {
    fn from(snapshot: Snapshot) -> Self {
        snapshot.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sees(snapshot: &str, xid: u32) -> bool {
        snapshot.parse::<Snapshot>().expect("a snapshot").sees(xid)
    }

    #[test]
    fn what_was_over_is_seen() {
        let seen: Vec<u32> = (8..16).filter(|xid| sees("10:14:10,12", *xid)).collect();
        assert_eq!(seen, [8, 9, 11, 13]);
        assert!(sees("10:10:", 9) && !sees("10:10:", 10));
    }

    #[test]
    fn numbers_wrap_around() {
        // Just behind an epoch's beginning; transactions of the one before it are older.
        let snapshot = "4294967290:4294967300:4294967295,4294967297";
        assert!(sees(snapshot, u32::MAX - 6) && !sees(snapshot, u32::MAX));
        assert!(sees(snapshot, 3) && !sees(snapshot, 1) && !sees(snapshot, 4));
        // Just before one: transactions of the next are newer.
        assert!(!sees("4294967290:4294967290:", 5));
    }

    #[test]
    fn texts_survive_and_others_are_refused() {
        for text in ["10:14:10,12", "1:1:"] {
            assert_eq!(text.parse::<Snapshot>().expect("read").to_string(), text);
        }
        for bad in ["", "1", "1:2", "2:1:", "1:2:x", "a:2:"] {
            assert!(bad.parse::<Snapshot>().is_err(), "{bad}");
        }
    }
}
