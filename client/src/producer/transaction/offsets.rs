//! A consumer group's offsets as part of a transaction (KIP-447): the transaction's coordinator hears which group, the
//! group's coordinator gets the offsets and keeps them back until the transaction ends. By the second protocol (KIP-890) the
//! group's coordinator tells the other one.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use super::{BUSY_BACKOFF, Protocol, TXN_OFFSET_COMMIT_FIRST, Transactions, in_transaction};
use crate::cluster::{CoordinatorKind, Coordinators};
use crate::error::{Error, Result};
use crate::offsets::{GroupMetadata, OffsetAndMetadata};
use crate::topic::{TopicPartition, by_topic, group_id, str_bytes, topic_name, transactional_id};

impl Transactions {
    pub(in crate::producer) async fn send_offsets(
        &self,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        group: &GroupMetadata,
    ) -> Result<()> {
        let done = self.try_send_offsets(offsets, group).await;
        done.map_err(|error| {
            self.fail(&error);
            in_transaction(error)
        })
    }

    async fn try_send_offsets(
        &self,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
        group: &GroupMetadata,
    ) -> Result<()> {
        let ((id, epoch), protocol) = {
            let state = self.state.lock();
            (self.identity_in(&state)?, state.protocol)
        };
        if protocol == Protocol::First {
            let request = AddOffsetsToTxnRequest::default()
                .with_transactional_id(transactional_id(&self.id))
                .with_producer_id(id.0.into())
                .with_producer_epoch(epoch.0)
                .with_group_id(group_id(&group.group_id));
            let check = |response: &AddOffsetsToTxnResponse| {
                Error::check("AddOffsetsToTxn", || self.coordinator.subject(), response.error_code)
            };
            self.coordinator.request_with_pauses(&request, check, BUSY_BACKOFF).await?;
        }
        self.state.lock().has_offsets = true;

        let topics = by_topic(&offsets).into_iter().map(|(topic, partitions)| {
            let partitions = partitions.into_iter().map(|(partition, offset)| {
                TxnOffsetCommitRequestPartition::default()
                    .with_partition_index(partition)
                    .with_committed_offset(offset.offset)
                    .with_committed_leader_epoch(offset.leader_epoch.unwrap_or(-1))
                    .with_committed_metadata(Some(str_bytes(&offset.metadata)))
            });
            TxnOffsetCommitRequestTopic::default()
                .with_name(topic_name(&topic))
                .with_partitions(partitions.collect())
        });
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(transactional_id(&self.id))
            .with_group_id(group_id(&group.group_id))
            .with_producer_id(id.0.into())
            .with_producer_epoch(epoch.0)
            .with_generation_id(group.generation_id)
            .with_member_id(str_bytes(&group.member_id))
            .with_group_instance_id(group.group_instance_id.as_deref().map(str_bytes))
            .with_topics(topics.collect());
        let version_max = protocol.version_max(TXN_OFFSET_COMMIT_FIRST);
        let group = self.group(&group.group_id);
        group.request_up_to(&request, check_committed, BUSY_BACKOFF, version_max).await.map(drop)
    }

    fn group(&self, group: &str) -> Arc<Coordinators> {
        let make = || Arc::new(Coordinators::new(self.cluster.clone(), CoordinatorKind::Group, group));
        self.groups.lock().entry(group.to_owned()).or_insert_with(make).clone()
    }
}

fn check_committed(response: &TxnOffsetCommitResponse) -> Result<()> {
    for topic in &response.topics {
        for partition in &topic.partitions {
            let subject = || format!("topic {} partition {}", topic.name.0, partition.partition_index);
            Error::check("TxnOffsetCommit", subject, partition.error_code)?;
        }
    }
    Ok(())
}
