//! Checkpoints: one for the stream, one for each table.

use std::collections::BTreeMap;

use millrace_sdk::{Checkpoint, Error};
use serde::{Deserialize, Serialize};

use crate::lsn::Lsn;
use crate::tables::Table;

/// Partition of the stream's checkpoint.
pub(crate) const STREAM: &str = "stream";
/// Beginning of the partitions of the tables' checkpoints.
const TABLE: &str = "table ";
/// Beginning of the partitions of the mode query.
pub(crate) const CURSOR: &str = "cursor ";

/// How far the stream was taken: transactions that committed before `lsn` are whole; of the one that committed there, so many
/// changes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Position {
    pub(crate) lsn: Lsn,
    #[serde(default)]
    pub(crate) index: u64,
    /// The database system that the log belongs to.
    #[serde(default)]
    pub(crate) system: String,
}

/// What an earlier run has kept: the stream's place, and tables by name.
pub(crate) type Kept = (Position, BTreeMap<String, Table>);

/// What was kept; none: nothing, it is the first run.
pub(crate) fn resume(kept: &[Checkpoint]) -> Result<Option<Kept>, Error> {
    let Some(stream) = kept.iter().find(|checkpoint| checkpoint.partition == STREAM) else {
        if kept.iter().any(|checkpoint| checkpoint.partition.starts_with(CURSOR)) {
            return Err(other_mode("query"));
        }
        return Ok(None);
    };
    let mut tables = BTreeMap::new();
    for checkpoint in kept {
        if let Some(name) = checkpoint.partition.strip_prefix(TABLE) {
            tables.insert(name.to_owned(), read(checkpoint)?);
        }
    }
    Ok(Some((read(stream)?, tables)))
}

/// The place that a checkpoint of the stream stands for.
pub(crate) fn confirmed(done: &[Checkpoint]) -> Result<Option<Lsn>, Error> {
    let stream = done.iter().find(|checkpoint| checkpoint.partition == STREAM);
    stream.map(|checkpoint| read::<Position>(checkpoint).map(|position| position.lsn)).transpose()
}

/// The partition of a table's checkpoint.
pub(crate) fn partition(table: &str) -> String {
    format!("{TABLE}{table}")
}

/// As it is kept.
pub(crate) fn written<T: Serialize>(position: &T) -> Vec<u8> {
    serde_json::to_vec(position).unwrap_or_default()
}

/// Positions are of the other mode.
pub(crate) fn other_mode(name: &str) -> Error {
    let message =
        format!("the source's positions are of the mode {name}; set `mode: {name}`, or reset the offsets");
    Error::fatal("postgres.position", message)
}

pub(crate) fn read<T: for<'a> Deserialize<'a>>(checkpoint: &Checkpoint) -> Result<T, Error> {
    serde_json::from_slice(&checkpoint.position).map_err(|error| {
        let message = format!(
            "position of {}: {error}; it is not one of postgres-source, reset the offsets",
            checkpoint.partition
        );
        Error::fatal("postgres.position", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back() {
        let position = Position { lsn: Lsn(0x1_0000_0010), index: 3, system: "7".into() };
        let mut table = Table::default();
        table.key = vec!["id".into()];
        let snapshot = "10:14:10,12".parse().expect("a snapshot");
        table.read(Some(vec!["5".into()]), 5, &snapshot, Lsn(9));
        let kept = [
            Checkpoint { partition: STREAM.into(), position: written(&position) },
            Checkpoint { partition: partition("public.a b"), position: written(&table) },
        ];
        let tables = BTreeMap::from([("public.a b".to_owned(), table)]);
        assert_eq!(resume(&kept).expect("read"), Some((position, tables)));
        assert_eq!(confirmed(&kept).expect("read"), Some(Lsn(0x1_0000_0010)));
        assert_eq!(resume(&kept[1..]).expect("read"), None);
        let torn = Checkpoint { partition: STREAM.into(), position: b"{".to_vec() };
        assert!(resume(&[torn]).expect_err("torn").message.contains("reset the offsets"));
    }
}
