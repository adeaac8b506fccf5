//! Consumer groups: list, describe, delete.

use std::collections::BTreeMap;

use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    ListGroupsRequest,
};

use super::{Admin, Each};
use crate::error::{Error, Result};
use crate::topic::{group_id, str_bytes};

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// The group.
    pub group_id: String,
    /// `consumer`, `connect` or whatever its members agreed on; empty if it has only offsets.
    pub protocol_type: String,
}

/// A group in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupState {
    /// The group.
    pub group_id: String,
    /// `Stable`, `Empty`, `PreparingRebalance`, `CompletingRebalance` or `Dead`.
    pub state: String,
    /// Kind of protocol.
    pub protocol_type: String,
    /// The assignor that its members agreed on.
    pub protocol: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Id that the coordinator gave it.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub group_instance_id: Option<String>,
    /// `client.id`
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
}

impl Admin {
    /// All groups of all brokers.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        let mut groups = BTreeMap::new();
        for broker in self.describe_cluster().await?.brokers {
            // The metadata of this admin may never have been fetched.
            if !self.cluster.metadata().brokers.contains_key(&broker.id) {
                self.cluster.refresh(self.cluster.metadata().version).await?;
            }
            let connection = self.cluster.broker(broker.id).await?;
            let response = connection.request(&ListGroupsRequest::default()).await?;
            Error::check("ListGroups", || format!("broker {}", broker.id), response.error_code)?;
            for group in response.groups {
                groups.insert(group.group_id.0.to_string(), group.protocol_type.to_string());
            }
        }
        let listing = |(group_id, protocol_type)| GroupListing { group_id, protocol_type };
        Ok(groups.into_iter().map(listing).collect())
    }

    /// One group in full. One that does not exist is `Dead`.
    pub async fn describe_group(&self, group: &str) -> Result<GroupState> {
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
        let check = |response: &DescribeGroupsResponse| {
            let code = response.groups.first().map_or(0, |group| group.error_code);
            Error::check("DescribeGroups", || format!("group {group}"), code)
        };
        let response = self.group(group).request_until_done(&request, check).await?;
        let missing = || Error::malformed("", format!("no answer about group {group}"));
        let described = response.groups.into_iter().next().ok_or_else(missing)?;
        let members = described.members.into_iter().map(|member| GroupMember {
            member_id: member.member_id.to_string(),
            group_instance_id: member.group_instance_id.map(|id| id.to_string()),
            client_id: member.client_id.to_string(),
            client_host: member.client_host.to_string(),
        });
        Ok(GroupState {
            group_id: group.to_owned(),
            state: described.group_state.to_string(),
            protocol_type: described.protocol_type.to_string(),
            protocol: described.protocol_data.to_string(),
            members: members.collect(),
        })
    }

    /// Deletes groups with their offsets. A group with members stays and gives `NON_EMPTY_GROUP`.
    pub async fn delete_groups(&self, groups: &[&str]) -> Result<Each<()>> {
        let mut results = Vec::new();
        for group in groups {
            let request = DeleteGroupsRequest::default().with_groups_names(vec![str_bytes(group).into()]);
            let check = |response: &DeleteGroupsResponse| {
                let code = response.results.first().map_or(0, |result| result.error_code);
                Error::check("DeleteGroups", || format!("group {group}"), code)
            };
            let done = self.group(group).request_until_done(&request, check).await;
            results.push((group.to_string(), done.map(drop)));
        }
        Ok(results)
    }
}
