//! What members tell each other through the group's coordinator, as JSON: a [`Claim`] when they join, a [`Share`] from the leader.
//!
//! Fields may be added: whoever doesn't know them passes them over. Bytes come from other processes and are checked like any
//! others; the coordinator keeps them in one record, which bounds a group at about ten thousand connectors.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::herder::ownership::{Holdings, TaskId};

/// Name of the protocol. The group's protocol type is `connect`, as of Kafka Connect's workers, which know only protocols of
/// other names: such a worker can't join by mistake.
pub(super) const PROTOCOL: &str = "millrace";

/// Longest claim or share that is read.
const BYTES_MAX: usize = 8 << 20;

/// What a member says when it joins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// How far it has read the configurations' topic.
    pub(super) offset: i64,
    /// What it runs, or has not ended yet.
    pub(super) holds: Things,
    /// What of that it is ending already.
    #[serde(default)]
    pub(super) ending: Things,
}

/// What the leader says to a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Share {
    /// All that it is to run.
    pub(super) gives: Things,
    /// What it is to end and then join again, so that another member can be given it.
    #[serde(default)]
    pub(super) revokes: Things,
}

impl Share {
    /// What the member has until it has done as it is told.
    pub(super) fn all(&self) -> Holdings {
        Holdings::from(self.gives.clone()).union(&Holdings::from(self.revokes.clone()))
    }
}

/// Holdings in few bytes: tasks by connector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Things {
    connectors: BTreeSet<String>,
    tasks: BTreeMap<String, BTreeSet<u32>>,
}

impl From<&Holdings> for Things {
    fn from(holdings: &Holdings) -> Self {
        let mut tasks: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for TaskId { connector, task } in &holdings.tasks {
            tasks.entry(connector.clone()).or_default().insert(*task);
        }
        Self { connectors: holdings.connectors.clone(), tasks }
    }
}

impl From<Things> for Holdings {
    fn from(things: Things) -> Self {
        let of = |(connector, tasks): (String, BTreeSet<u32>)| {
            tasks.into_iter().map(move |task| TaskId { connector: connector.clone(), task })
        };
        Self { connectors: things.connectors, tasks: things.tasks.into_iter().flat_map(of).collect() }
    }
}

pub(super) fn encode(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("texts and numbers can be written as JSON")
}

/// What is wrong, if it can't be read.
pub(super) fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, String> {
    if bytes.len() > BYTES_MAX {
        return Err(format!("{} bytes, more than {BYTES_MAX}", bytes.len()));
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holdings() -> Holdings {
        let task = |connector: &str, task| TaskId { connector: connector.to_owned(), task };
        Holdings {
            connectors: BTreeSet::from(["a".to_owned()]),
            tasks: BTreeSet::from([task("a", 0), task("a", 2), task("b", 1)]),
        }
    }

    #[test]
    fn a_claim_reads_back() {
        let claim = Claim { offset: 7, holds: Things::from(&holdings()), ending: Things::default() };
        let read: Claim = decode(&encode(&claim)).unwrap();
        assert_eq!(read, claim);
        assert_eq!(Holdings::from(read.holds), holdings());
    }

    #[test]
    fn a_later_version_s_fields_are_passed_over_and_rubbish_is_refused() {
        let later = br#"{"offset":1,"holds":{"connectors":[],"tasks":{}},"colour":"green"}"#;
        assert_eq!(decode::<Claim>(later).unwrap().offset, 1);
        for rubbish in [&b""[..], b"\0\x01consumer", b"{}", b"[]", &vec![b'['; 100_000]] {
            assert!(decode::<Claim>(rubbish).is_err());
        }
    }
}
