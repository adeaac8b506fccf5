//! Checkpoints: one for the stream, one for each part of a table.

use std::collections::BTreeMap;

use millrace_sdk::{Checkpoint, Error};
use serde::{Deserialize, Serialize};

use crate::lsn::Lsn;
use crate::tables::part::Part;
use crate::tables::{PartOf, Table};

/// Partition of the stream's checkpoint.
pub(crate) const STREAM: &str = "stream";
/// Beginning of the partitions of the tables' checkpoints; it is the first part's.
const TABLE: &str = "table ";
/// Beginning of those of other parts: their number and the table follow.
const PART: &str = "part ";
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
    let mut parts: BTreeMap<PartOf, Part> = BTreeMap::new();
    for checkpoint in kept {
        if let Some(of) = part_of(&checkpoint.partition) {
            parts.insert(of, read(checkpoint)?);
        }
    }
    let mut tables: BTreeMap<String, Vec<Part>> = BTreeMap::new();
    for ((name, number), part) in parts {
        let of_table = tables.entry(name).or_default();
        // One that is missing leaves the table without its end.
        if number == of_table.len() {
            of_table.push(part);
        }
    }
    let whole = tables.into_iter().map(|(name, parts)| {
        let table = Table::of(parts).ok_or_else(|| not_whole(&name))?;
        Ok((name, table))
    });
    Ok(Some((read(stream)?, whole.collect::<Result<_, Error>>()?)))
}

/// The part that a checkpoint is of.
fn part_of(partition: &str) -> Option<PartOf> {
    if let Some(name) = partition.strip_prefix(TABLE) {
        return Some((name.to_owned(), 0));
    }
    let (number, name) = partition.strip_prefix(PART)?.split_once(' ')?;
    Some((name.to_owned(), number.parse().ok()?))
}

/// Somebody has changed the positions of some parts, and not of others.
fn not_whole(table: &str) -> Error {
    let message = format!(
        "positions of {table}: some of its parts are missing; delete the others, too (`{TABLE}{table}` and `{PART}NUMBER {table}`), so that the table is \
         read anew, or reset the offsets"
    );
    Error::fatal("postgres.position", message)
}

/// The place that a checkpoint of the stream stands for.
pub(crate) fn confirmed(done: &[Checkpoint]) -> Result<Option<Lsn>, Error> {
    let stream = done.iter().find(|checkpoint| checkpoint.partition == STREAM);
    stream.map(|checkpoint| read::<Position>(checkpoint).map(|position| position.lsn)).transpose()
}

/// The partition of a part's checkpoint.
pub(crate) fn partition((table, part): &PartOf) -> String {
    match part {
        0 => format!("{TABLE}{table}"),
        part => format!("{PART}{part} {table}"),
    }
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

    fn checkpoint(of: PartOf, part: &Part) -> Checkpoint {
        Checkpoint { partition: partition(&of), position: written(part) }
    }

    #[test]
    fn what_was_kept_comes_back() {
        let position = Position { lsn: Lsn(0x1_0000_0010), index: 3, system: "7".into() };
        let name = "public.a b".to_owned();
        let mut table = Table::default();
        table.divide(&["id".into()], vec![vec!["9".into()], vec!["20".into()]], Some(30));
        let snapshot = "10:14:10,12".parse().expect("a snapshot");
        table.part_mut(1).expect("a part").read(Some(vec!["15".into()]), 5, &snapshot, Lsn(9));
        let mut kept = vec![Checkpoint { partition: STREAM.into(), position: written(&position) }];
        let parts = table.parts().iter().enumerate();
        kept.extend(parts.map(|(number, part)| checkpoint((name.clone(), number), part)));
        let partitions: Vec<&str> = kept.iter().map(|kept| kept.partition.as_str()).collect();
        assert_eq!(partitions, ["stream", "table public.a b", "part 1 public.a b", "part 2 public.a b"]);
        let tables = BTreeMap::from([(name, table)]);
        assert_eq!(resume(&kept).expect("read"), Some((position, tables)));
        assert_eq!(confirmed(&kept).expect("read"), Some(Lsn(0x1_0000_0010)));
        assert_eq!(resume(&kept[1..]).expect("read"), None);
        for missing in 1..kept.len() {
            let mut some = kept.clone();
            some.remove(missing);
            let error = resume(&some).expect_err("a part is missing");
            assert!(
                error.message.contains("`table public.a b` and `part NUMBER public.a b`"),
                "{}",
                error.message
            );
        }
        let torn = Checkpoint { partition: STREAM.into(), position: b"{".to_vec() };
        assert!(resume(&[torn]).expect_err("torn").message.contains("reset the offsets"));
    }

    #[test]
    fn tables_of_before_there_were_parts_are_one() {
        let text = br#"{"key":["id"],"settled":["3"],"chunks":[{"bound":["5"],"snapshot":"10:10:","lsn":"0/9"}],"is_read":false,"rows":5}"#;
        let kept = [
            Checkpoint { partition: STREAM.into(), position: written(&Position::default()) },
            Checkpoint { partition: "table public.a".into(), position: text.to_vec() },
        ];
        let (_, tables) = resume(&kept).expect("read").expect("a position");
        let (part, before) = tables["public.a"].part(0).expect("a part");
        assert_eq!(
            (part.last(), before, part.rows, part.wants_chunk()),
            (Some(&vec!["5".to_owned()]), None, 5, true)
        );
    }
}
