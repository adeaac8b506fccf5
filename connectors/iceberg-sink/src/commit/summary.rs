//! What a snapshot says of itself (specification, "Snapshot Summary").

use std::collections::BTreeMap;

use super::NewRows;
use super::rewrite::Replaced;
use crate::manifest::{Content, DataFile};
use crate::metadata::Metadata;

/// What a snapshot says of itself.
pub(super) fn summary(
    rows: Option<&NewRows>,
    partitions: usize,
    replaced: Option<&Replaced>,
    metadata: &Metadata,
) -> BTreeMap<&'static str, String> {
    let (files, deletes) = rows.map_or((&[][..], &[][..]), |rows| (&rows.files[..], &rows.deletes[..]));
    let count = |files: &[&DataFile]| -> u64 {
        files.iter().filter_map(|file| u64::try_from(file.summary.rows).ok()).sum()
    };
    let (positions, keys): (Vec<_>, Vec<_>) =
        deletes.iter().partition(|file| matches!(file.content, Content::Positions));
    let records = count(&files.iter().collect::<Vec<_>>());
    let bytes: u64 = files.iter().chain(deletes).map(|file| file.bytes).sum();
    let operation = match (files.is_empty(), deletes.is_empty()) {
        (_, true) => "append",
        (true, false) => "delete",
        (false, false) => "overwrite",
    };
    let mut summary = BTreeMap::from([
        ("operation", operation.to_owned()),
        ("added-data-files", files.len().to_string()),
        ("added-records", records.to_string()),
        ("added-files-size", bytes.to_string()),
        ("changed-partition-count", partitions.to_string()),
    ]);
    for (name, files, rows, all) in [
        ("added-position-delete-files", positions.len() as u64, "added-position-deletes", count(&positions)),
        ("added-equality-delete-files", keys.len() as u64, "added-equality-deletes", count(&keys)),
    ] {
        if files > 0 {
            summary.extend([(name, files.to_string()), (rows, all.to_string())]);
        }
    }
    if !deletes.is_empty() {
        summary.insert("added-delete-files", deletes.len().to_string());
    }
    let mut less = [0; 3];
    if let Some(replaced) = replaced {
        // What is in the new files is what was in the old ones.
        less = [replaced.files.len() as u64, records, replaced.bytes];
        summary.insert("operation", "replace".to_owned());
        for (name, less) in
            ["deleted-data-files", "deleted-records", "removed-files-size"].into_iter().zip(less)
        {
            summary.insert(name, less.to_string());
        }
    }
    // Totals go on from those of the snapshot before, if it has them.
    let before = metadata.snapshot();
    for (name, more, less) in [
        ("total-data-files", files.len() as u64, less[0]),
        ("total-records", records, less[1]),
        ("total-files-size", bytes, less[2]),
        ("total-delete-files", deletes.len() as u64, 0),
        ("total-position-deletes", count(&positions), 0),
        ("total-equality-deletes", count(&keys), 0),
    ] {
        let total = match before {
            None => Some(0),
            Some(snapshot) => snapshot["summary"][name].as_str().and_then(|text| text.parse::<u64>().ok()),
        };
        if let Some(total) = total {
            summary.insert(name, (total + more).saturating_sub(less).to_string());
        }
    }
    summary
}
