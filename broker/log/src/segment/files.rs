//! The names of a segment's files, and which of them are in a folder.

use std::collections::BTreeMap;

use millrace_wire::ids::Offset;

use crate::disk::DirEntry;

/// The files of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Suffix {
    Log,
    Index,
    TimeIndex,
    TxnIndex,
    Snapshot,
}

/// A segment's own files, in the order in which their names change: the log's name decides, so it comes last.
pub(crate) const FILES: [Suffix; 4] = [Suffix::Index, Suffix::TimeIndex, Suffix::TxnIndex, Suffix::Log];

/// Ends the names of a segment that compaction writes.
pub(crate) const CLEANED: &str = ".cleaned";
/// Ends the names of a segment that is about to take the place of others.
pub(crate) const SWAP: &str = ".swap";
/// Ends the names of files that are no longer part of the log.
pub(crate) const DELETED: &str = ".deleted";

impl Suffix {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Suffix::Log => "log",
            Suffix::Index => "index",
            Suffix::TimeIndex => "timeindex",
            Suffix::TxnIndex => "txnindex",
            Suffix::Snapshot => "snapshot",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Suffix::Log, Suffix::Index, Suffix::TimeIndex, Suffix::TxnIndex, Suffix::Snapshot];
        all.into_iter().find(|suffix| suffix.text() == text)
    }
}

/// `00000000000000000042.log`
pub(crate) fn file_name(base: Offset, suffix: Suffix) -> String {
    format!("{:020}.{}", base.0, suffix.text())
}

/// The offset and kind in a file's name; `None` for names that are not a segment's.
pub(super) fn parse_name(name: &str) -> Option<(Offset, Suffix)> {
    let (digits, suffix) = name.split_once('.')?;
    let base = (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse());
    Some((Offset(base?.ok()?), Suffix::parse(suffix)?))
}

/// The lengths of a segment's files, `None` for those that are not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentFiles {
    pub(crate) base: Offset,
    pub(crate) len: u64,
    pub(crate) index: Option<u64>,
    pub(crate) time_index: Option<u64>,
    pub(crate) txn_index: Option<u64>,
}

/// What a partition's folder holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// By ascending base offset.
    pub(crate) segments: Vec<SegmentFiles>,
    /// Offsets of the producer snapshots, ascending.
    pub(crate) snapshots: Vec<Offset>,
    /// Names of files that belong to nothing and may go: indexes without a segment, temporaries.
    pub(crate) stray: Vec<String>,
}

impl Found {
    pub(crate) fn of(entries: &[DirEntry]) -> Self {
        let mut found = Self::default();
        let mut lens: BTreeMap<(Offset, Suffix), u64> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            match parse_name(&entry.name) {
                Some((base, Suffix::Snapshot)) => found.snapshots.push(base),
                Some(key) => {
                    lens.insert(key, entry.len);
                }
                None if entry.name.ends_with(".tmp") || entry.name.ends_with(DELETED) => {
                    found.stray.push(entry.name.clone());
                }
                None => {}
            }
        }
        for ((base, suffix), len) in &lens {
            let at = |suffix| lens.get(&(*base, suffix)).copied();
            match (suffix, at(Suffix::Log)) {
                (Suffix::Log, _) => found.segments.push(SegmentFiles {
                    base: *base,
                    len: *len,
                    index: at(Suffix::Index),
                    time_index: at(Suffix::TimeIndex),
                    txn_index: at(Suffix::TxnIndex),
                }),
                (_, None) => found.stray.push(file_name(*base, *suffix)),
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_sorted_into_segments_snapshots_and_strays() {
        let names = [
            "00000000000000000000.log",
            "00000000000000000000.index",
            "00000000000000000007.log",
            "00000000000000000007.snapshot",
            "00000000000000000009.timeindex",
            "00000000000000000007.log.corrupt",
            "leader-epoch-checkpoint",
            "leader-epoch-checkpoint.tmp",
            "7.log",
        ];
        let entry = |name: &&str| DirEntry { name: (*name).into(), is_dir: false, len: 5 };
        let found = Found::of(&names.iter().map(entry).collect::<Vec<_>>());
        let bases: Vec<_> = found.segments.iter().map(|s| (s.base.0, s.index)).collect();
        assert_eq!(bases, [(0, Some(5)), (7, None)]);
        assert_eq!(found.snapshots, [Offset(7)]);
        assert_eq!(found.stray, ["leader-epoch-checkpoint.tmp", "00000000000000000009.timeindex"]);
    }
}
