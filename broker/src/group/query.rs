//! What can be asked of the coordinator without changing anything: committed offsets, descriptions, lists.

use crate::coordinators::TopicPartition;
use crate::group::classic::{CONSUMER, Group, State};
use crate::group::coordinator::Coordinator;
use crate::group::offsets::CommittedOffset;
use bytes::Bytes;

/// What is known about the offset of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FetchedOffset {
    /// Committed.
    Committed(CommittedOffset),
    /// Never committed, or gone.
    None,
    /// A transaction is about to change it, and a stable answer was asked for: UNSTABLE_OFFSET_COMMIT (KIP-447).
    Unstable,
}

/// A group as tools see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// Where it stands.
    pub(crate) state: State,
    /// `consumer`, `connect`, ... or empty.
    pub(crate) protocol_type: String,
    /// The chosen protocol, or empty when the group is not stable.
    pub(crate) protocol: String,
    /// The members.
    pub(crate) members: Vec<DescribedMember>,
}

/// A member as tools see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DescribedMember {
    /// Its id.
    pub(crate) id: String,
    /// Its instance id.
    pub(crate) instance: Option<String>,
    /// `client.id`.
    pub(crate) client_id: String,
    /// Where it connected from.
    pub(crate) client_host: String,
    /// Its metadata, only when the group is stable.
    pub(crate) metadata: Bytes,
    /// Its assignment, only when the group is stable.
    pub(crate) assignment: Bytes,
}

/// A line in the list of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// `group.id`.
    pub(crate) group: String,
    /// `consumer`, `connect`, ... or empty.
    pub(crate) protocol_type: String,
    /// Where it stands.
    pub(crate) state: &'static str,
    /// `classic` or `consumer`.
    pub(crate) kind: &'static str,
}

impl Coordinator {
    /// The offsets of `partitions`, or of all that were committed.
    pub(crate) fn fetch_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
        require_stable: bool,
    ) -> Vec<(TopicPartition, FetchedOffset)> {
        let group = self.group(group).filter(|group| group.state != State::Dead);
        let one = |partition: &TopicPartition| match group {
            Some(group) if require_stable && group.offsets.is_pending(partition) => FetchedOffset::Unstable,
            Some(group) => {
                group.offsets.get(partition).cloned().map_or(FetchedOffset::None, FetchedOffset::Committed)
            }
            None => FetchedOffset::None,
        };
        match (partitions, group) {
            (Some(partitions), _) => {
                partitions.iter().map(|partition| (partition.clone(), one(partition))).collect()
            }
            (None, Some(group)) => {
                group.offsets.committed().map(|(partition, _)| (partition.clone(), one(partition))).collect()
            }
            (None, None) => Vec::new(),
        }
    }

    /// A classic group as tools see it; `None` if there is none.
    pub(crate) fn describe(&self, group: &str) -> Option<Description> {
        let group =
            self.group(group).filter(|group| group.state != State::Dead && group.consumer.is_none())?;
        let stable = group.state == State::Stable;
        let protocol = if stable { group.protocol.as_deref() } else { None };
        let members = group
            .members
            .values()
            .map(|member| DescribedMember {
                id: member.id.clone(),
                instance: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                metadata: if stable { member.metadata(protocol) } else { Bytes::new() },
                assignment: if stable { member.assignment.clone() } else { Bytes::new() },
            })
            .collect();
        Some(Description {
            state: group.state,
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            protocol: protocol.unwrap_or_default().to_owned(),
            members,
        })
    }

    /// All groups of this partition by name.
    pub(crate) fn list(&self) -> Vec<Listed> {
        let line = |group: &Group| Listed {
            group: group.id.clone(),
            protocol_type: match &group.consumer {
                Some(_) => CONSUMER.to_owned(),
                None => group.protocol_type.clone().unwrap_or_default(),
            },
            state: group.state_name(),
            kind: if group.consumer.is_some() { "consumer" } else { "classic" },
        };
        self.groups().map(line).collect()
    }
}
