//! What a snapshot says of itself (specification, "Snapshot Summary").

use std::collections::BTreeMap;

use super::rewrite::Replaced;
use crate::manifest::DataFile;
use crate::metadata::Metadata;

/// What a snapshot says of itself.
pub(super) fn summary(
    files: &[DataFile],
    partitions: usize,
    replaced: Option<&Replaced>,
    metadata: &Metadata,
) -> BTreeMap<&'static str, String> {
    let rows: u64 = files.iter().filter_map(|file| u64::try_from(file.summary.rows).ok()).sum();
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let files = files.len() as u64;
    let mut summary = BTreeMap::from([
        ("operation", "append".to_owned()),
        ("added-data-files", files.to_string()),
        ("added-records", rows.to_string()),
        ("added-files-size", bytes.to_string()),
        ("changed-partition-count", partitions.to_string()),
    ]);
    let mut less = [0; 3];
    if let Some(replaced) = replaced {
        // What is in the new files is what was in the old ones.
        less = [replaced.files.len() as u64, rows, replaced.bytes];
        summary.insert("operation", "replace".to_owned());
        for (name, less) in
            ["deleted-data-files", "deleted-records", "removed-files-size"].into_iter().zip(less)
        {
            summary.insert(name, less.to_string());
        }
    }
    // Totals go on from those of the snapshot before, if it has them.
    let before = metadata.snapshot();
    let totals = [("total-data-files", files), ("total-records", rows), ("total-files-size", bytes)];
    for ((name, more), less) in totals.into_iter().zip(less) {
        let total = match before {
            None => Some(0),
            Some(snapshot) => snapshot["summary"][name].as_str().and_then(|text| text.parse::<u64>().ok()),
        };
        if let Some(total) = total {
            summary.insert(name, (total + more).saturating_sub(less).to_string());
        }
    }
    for name in ["total-delete-files", "total-position-deletes", "total-equality-deletes"] {
        let total = before.map_or(Some("0"), |snapshot| snapshot["summary"][name].as_str());
        if let Some(total) = total {
            summary.insert(name, total.to_owned());
        }
    }
    summary
}
