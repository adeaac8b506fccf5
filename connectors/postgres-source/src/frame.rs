//! What the stream of a replication carries: pieces of the log, and signs of life.
//!
//! Source: PostgreSQL's documentation, "Streaming Replication Protocol".

use millrace_sdk::Error;

use crate::lsn::Lsn;

/// One message from the server.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Frame<'a> {
    /// A message of the output plugin.
    Log {
        /// Where in the log it begins.
        start: Lsn,
        payload: &'a [u8],
    },
    /// All before `end` was sent.
    Alive {
        end: Lsn,
        /// Whether an answer is wanted at once.
        asks: bool,
    },
}

/// Microseconds from 1970 to 2000, where PostgreSQL's time begins.
const EPOCH_US: i64 = 946_684_800_000_000;

/// Milliseconds since 1970.
pub(crate) fn ms_since_1970(us_since_2000: i64) -> i64 {
    us_since_2000.saturating_add(EPOCH_US).div_euclid(1000)
}

/// Reads a message.
pub(crate) fn read(bytes: &[u8]) -> Result<Frame<'_>, Error> {
    let parsed = || {
        let (kind, rest) = bytes.split_first()?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let first = Lsn(u64::from_be_bytes(*first));
        match kind {
            // Start, end and time come before the payload.
            b'w' => Some(Frame::Log { start: first, payload: rest.get(16..)? }),
            b'k' => Some(Frame::Alive { end: first, asks: *rest.get(8)? != 0 }),
            _ => None,
        }
    };
    parsed().ok_or_else(|| {
        let message = "the server sent a message of replication that is not known; report it";
        Error::fatal("postgres.protocol", message)
    })
}

/// The message that says how far everything is safe.
pub(crate) fn status(flushed: Lsn, now_ms: i64, asks: bool) -> Vec<u8> {
    let mut out = vec![b'r'];
    for lsn in [flushed; 3] {
        out.extend_from_slice(&lsn.0.to_be_bytes());
    }
    let now = now_ms.saturating_mul(1000).saturating_sub(EPOCH_US);
    out.extend_from_slice(&now.to_be_bytes());
    out.push(u8::from(asks));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read() {
        let log = [b"w".as_slice(), &7u64.to_be_bytes(), &[0; 16], b"payload"].concat();
        assert_eq!(read(&log), Ok(Frame::Log { start: Lsn(7), payload: b"payload" }));
        let alive = [b"k".as_slice(), &9u64.to_be_bytes(), &[0; 8], &[1]].concat();
        assert_eq!(read(&alive), Ok(Frame::Alive { end: Lsn(9), asks: true }));
        for whole in [&log[..25], &alive] {
            for end in 0..whole.len() {
                assert!(read(&whole[..end]).is_err(), "cut at {end}");
            }
        }
        assert!(read(&[b'x'; 30]).is_err());
    }

    #[test]
    fn a_status_tells_one_place_three_times() {
        let status = status(Lsn(5), 946_684_800_001, true);
        assert_eq!((status.len(), status[0], status[33]), (34, b'r', 1));
        assert_eq!(status[1..25], [5u64.to_be_bytes(); 3].concat());
        assert_eq!(status[25..33], 1000i64.to_be_bytes());
        assert_eq!(ms_since_1970(1999), 946_684_800_001);
    }
}
