//! Which part of a log a round of compaction works on, and which segments become one.
//!
//! ```text
//! log start ...... first dirty ........... end ...... last stable ...... log end
//! compacted before  noted and compacted     not yet
//! ```
//!
//! Pure: follows `LogCleanerManager` and `groupSegmentsBySize` of Apache Kafka.

use millrace_wire::ids::Offset;

use crate::config::LogConfig;

/// What is known of a segment that is not the active one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) base: Offset,
    /// The next segment's base.
    pub(crate) end: Offset,
    pub(crate) bytes: u64,
    pub(crate) index_bytes: u64,
    /// Time of its first batch, -1 if it has none.
    pub(crate) oldest_ms: i64,
    /// The newest time in it, -1 if it has none.
    pub(crate) newest_ms: i64,
}

/// The part of a log that a round would work on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionRange {
    /// Everything below was compacted before.
    pub first_dirty: Offset,
    /// Nothing from here on is touched; the beginning of a segment.
    pub end: Offset,
    /// Bytes below `first_dirty`, to the segment.
    pub clean_bytes: u64,
    /// Bytes from there to `end`.
    pub dirty_bytes: u64,
    /// A dirty record is older than `max.compaction.lag.ms`.
    pub is_overdue: bool,
}

impl CompactionRange {
    /// The share of the bytes that were not compacted yet.
    pub fn dirty_ratio(&self) -> f64 {
        self.dirty_bytes as f64 / ((self.clean_bytes + self.dirty_bytes) as f64).max(1.0)
    }

    /// Whether it is time for a round.
    pub fn is_due(&self, config: &LogConfig) -> bool {
        self.dirty_bytes > 0 && (self.is_overdue || self.dirty_ratio() > config.min_cleanable_dirty_ratio)
    }
}

/// The range for segments in order, of which the last is the one before the active one. `stable`: the last stable offset.
pub(crate) fn range(
    segments: &[Candidate],
    first_dirty: Offset,
    stable: Offset,
    config: &LogConfig,
    now_ms: i64,
) -> CompactionRange {
    let youngest_ms = now_ms.saturating_sub(config.min_compaction_lag_ms);
    let overdue_ms = now_ms.saturating_sub(config.max_compaction_lag_ms);
    let mut range =
        CompactionRange { first_dirty, end: first_dirty, clean_bytes: 0, dirty_bytes: 0, is_overdue: false };
    for segment in segments {
        if segment.end <= first_dirty {
            range.clean_bytes += segment.bytes;
            continue;
        }
        let is_too_young = config.min_compaction_lag_ms > 0 && segment.newest_ms > youngest_ms;
        if segment.end > stable || is_too_young {
            break;
        }
        range.dirty_bytes += segment.bytes;
        range.end = segment.end;
        range.is_overdue |= segment.oldest_ms > 0 && segment.oldest_ms < overdue_ms;
    }
    range
}

/// Segments that become one: as many in a row as stay within the limits of one segment. Gives the length of each row.
pub(crate) fn groups(segments: &[Candidate], config: &LogConfig) -> Vec<usize> {
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some(first) = rest.first() {
        let (mut bytes, mut index_bytes) = (0, 0);
        let fitting = rest.iter().take_while(|segment| {
            bytes += segment.bytes;
            index_bytes += segment.index_bytes;
            let in_reach = i32::try_from(segment.end.0 - 1 - first.base.0).is_ok();
            bytes <= config.segment_bytes && index_bytes <= config.segment_index_bytes && in_reach
        });
        let length = fitting.count().max(1);
        groups.push(length);
        rest = &rest[length..];
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(base: i64, end: i64, bytes: u64, times: (i64, i64)) -> Candidate {
        let (oldest_ms, newest_ms) = times;
        Candidate { base: Offset(base), end: Offset(end), bytes, index_bytes: 8, oldest_ms, newest_ms }
    }

    fn segments() -> [Candidate; 3] {
        [
            segment(0, 10, 100, (1000, 1100)),
            segment(10, 20, 200, (1100, 1200)),
            segment(20, 30, 400, (1200, 5000)),
        ]
    }

    #[test]
    fn the_range_ends_before_what_is_unstable_or_young() {
        let config = LogConfig { min_cleanable_dirty_ratio: 0.5, ..LogConfig::default() };
        let range = |first, stable, config: &LogConfig| {
            range(&segments(), Offset(first), Offset(stable), config, 6000)
        };
        let all = range(0, 30, &config);
        assert_eq!((all.end, all.clean_bytes, all.dirty_bytes), (Offset(30), 0, 700));
        assert!(all.is_due(&config) && !all.is_overdue);
        // The transaction that is open in the third segment keeps it out.
        assert_eq!(range(0, 29, &config).end, Offset(20));
        let lag = LogConfig { min_compaction_lag_ms: 4000, ..config.clone() };
        assert_eq!(range(0, 30, &lag).end, Offset(20));

        let few = range(20, 30, &config);
        assert_eq!((few.clean_bytes, few.dirty_bytes), (300, 400));
        let few = range(10, 20, &LogConfig { min_cleanable_dirty_ratio: 0.7, ..config.clone() });
        assert!(!few.is_due(&LogConfig { min_cleanable_dirty_ratio: 0.7, ..config.clone() }));
        let overdue = LogConfig { max_compaction_lag_ms: 4850, min_cleanable_dirty_ratio: 1.0, ..config };
        assert!(range(10, 20, &overdue).is_due(&overdue));
        assert!(!range(30, 30, &overdue).is_due(&overdue), "nothing is left to do");
    }

    #[test]
    fn neighbours_that_fit_into_one_segment_are_put_together() {
        let sized = |bytes| LogConfig { segment_bytes: bytes, ..LogConfig::default() };
        assert_eq!(groups(&segments(), &sized(300)), [2, 1]);
        assert_eq!(groups(&segments(), &sized(50)), [1, 1, 1]);
        assert_eq!(groups(&segments(), &sized(700)), [3]);
        let far = [segment(0, 10, 1, (0, 0)), segment(10, 3_000_000_000, 1, (0, 0))];
        assert_eq!(groups(&far, &sized(700)), [1, 1], "offsets out of a segment's reach");
    }
}
