//! What a snapshot says of itself (specification, "Snapshot Summary").

use std::collections::BTreeMap;

use crate::manifest::DataFile;
use crate::metadata::Metadata;

/// What a snapshot says of itself.
pub(super) fn summary(
    files: &[DataFile],
    partitions: usize,
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
    // Totals go on from those of the snapshot before, if it has them.
    let before = metadata.snapshot();
    for (name, more) in [("total-data-files", files), ("total-records", rows), ("total-files-size", bytes)] {
        let total = match before {
            None => Some(0),
            Some(snapshot) => snapshot["summary"][name].as_str().and_then(|text| text.parse::<u64>().ok()),
        };
        if let Some(total) = total {
            summary.insert(name, (total + more).to_string());
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
