//! Administration: topics (`topics`), settings (`configs`), groups (`groups`), features
//! (`features`), the cluster itself.
//!
//! A call about several things gives a result for each; the outer error means that no broker could be asked. Calls repeat
//! what may yet succeed, up to `default.api.timeout.ms`.

mod configs;
mod features;
mod groups;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::Request;

pub use self::configs::{AlterConfig, ConfigEntry, ConfigOperation, ConfigResource};
pub use self::features::FeatureChange;
pub use self::groups::{GroupListing, GroupMember, GroupState};
pub use self::topics::NewTopic;
use crate::backoff::Retry;
use crate::client::Client;
use crate::cluster::{Broker, Cluster, CoordinatorKind, Coordinators};
use crate::error::{Error, Result};
use crate::offsets::{self, GroupMetadata, Isolation, ListedOffset, OffsetAndMetadata, OffsetSpec};
use crate::topic::TopicPartition;

/// Administers a cluster, over connections of its own.
#[derive(Debug, Clone)]
pub struct Admin {
    cluster: Arc<Cluster>,
}

/// The cluster as a broker describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// The cluster's id.
    pub id: String,
    /// Id of the controller, or -1.
    pub controller: i32,
    /// Live brokers.
    pub brokers: Vec<Broker>,
}

/// Result of each thing that a call was about, in the order of the call.
pub type Each<T> = Vec<(String, Result<T>)>;

impl Admin {
    /// An admin for the client's cluster. Nothing is connected yet.
    pub fn new(client: &Client) -> Self {
        Self { cluster: Arc::new(client.cluster()) }
    }

    /// Asks a broker for the cluster's id, controller and brokers (KIP-700).
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let check = |response: &DescribeClusterResponse| {
            let message = response.error_message.as_deref();
            Error::check_with("DescribeCluster", || "cluster".to_owned(), response.error_code, message)
        };
        let response = self.request(&DescribeClusterRequest::default(), check).await?;
        let brokers = response.brokers.into_iter().filter_map(|broker| {
            Some(Broker {
                id: broker.broker_id.0,
                host: broker.host.to_string(),
                port: u16::try_from(broker.port).ok()?,
                rack: broker.rack.map(|rack| rack.to_string()),
            })
        });
        Ok(ClusterDescription {
            id: response.cluster_id.to_string(),
            controller: response.controller_id.0,
            brokers: brokers.collect(),
        })
    }

    /// Asks the leaders for offsets.
    pub async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, ListedOffset>> {
        offsets::list_offsets(&self.cluster, wanted, isolation).await
    }

    /// A group's committed offsets, all of them.
    pub async fn group_offsets(&self, group: &str) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>> {
        offsets::committed(&self.group(group), group, None).await
    }

    /// Commits offsets for a group that has no members.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<()> {
        offsets::commit(&self.group(group), &GroupMetadata::outside(group), offsets).await
    }

    fn group(&self, group: &str) -> Coordinators {
        Coordinators::new(self.cluster.clone(), CoordinatorKind::Group, group)
    }

    /// Asks any broker, again while that may help.
    async fn request<R: Request>(
        &self,
        request: &R,
        check: impl Fn(&R::Response) -> Result<()>,
    ) -> Result<R::Response> {
        let mut retry = Retry::new(self.cluster.config().api_timeout, self.cluster.backoff());
        loop {
            let done = match self.cluster.request_any(request).await {
                Ok(response) => check(&response).map(|()| response),
                Err(error) => Err(error),
            };
            match done {
                Err(error) if retry.again(&error).await => {}
                done => return done,
            }
        }
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.cluster.config().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}
