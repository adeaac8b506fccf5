//! Every version of every API that is advertised: a request is answered, in that version's form to its last byte.
//!
//! What the answers say is in the other files; the table of ranges, held against Apache Kafka's, in `versions`.

use std::collections::BTreeMap;

use kafka_protocol::messages::*;
use kafka_protocol::protocol::Request;
use millrace_broker::BrokerHandle;

use crate::support::{Client, broker, text};

/// Asks in each version of the range, on a connection of its own; the versions that were asked.
async fn ask<R: Request>(
    broker: &BrokerHandle,
    served: &BTreeMap<i16, (i16, i16)>,
    request: impl Fn() -> R,
) -> (i16, Vec<i16>) {
    let (first, last) =
        served.get(&R::KEY).copied().unwrap_or_else(|| panic!("{} is not advertised", R::KEY));
    // Advertised from 0 on for old librdkafka, served from 3 on.
    let first = if R::KEY == ApiKey::Produce as i16 { 3 } else { first };
    for version in first..=last {
        // Reads the whole frame or fails.
        Client::new(broker).call(version, request()).await;
    }
    (R::KEY, (first..=last).collect())
}

/// Asks with an empty request of each type.
macro_rules! ask_each {
    ($broker:ident, $served:ident, $asked:ident: $($request:ident)*) => {
        $($asked.push(ask($broker, $served, $request::default).await);)*
    };
}

#[tokio::test(start_paused = true)]
async fn every_advertised_version_is_answered() {
    let broker = &broker().await;
    let versions = ApiVersionsRequest::default()
        .with_client_software_name(text("a"))
        .with_client_software_version(text("1"));
    let answer = Client::new(broker).call(3, versions).await;
    let ranges = answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version)));
    let served: &BTreeMap<i16, (i16, i16)> = &ranges.collect();
    let mut asked = Vec::new();
    // Without acks there is no answer.
    asked.push(ask(broker, served, || ProduceRequest::default().with_acks(-1)).await);
    ask_each! { broker, served, asked:
        FetchRequest
        ListOffsetsRequest
        MetadataRequest
        OffsetCommitRequest
        OffsetFetchRequest
        FindCoordinatorRequest
        JoinGroupRequest
        HeartbeatRequest
        LeaveGroupRequest
        SyncGroupRequest
        DescribeGroupsRequest
        ListGroupsRequest
        SaslHandshakeRequest
        ApiVersionsRequest
        CreateTopicsRequest
        DeleteTopicsRequest
        DeleteRecordsRequest
        InitProducerIdRequest
        OffsetForLeaderEpochRequest
        AddPartitionsToTxnRequest
        AddOffsetsToTxnRequest
        EndTxnRequest
        WriteTxnMarkersRequest
        TxnOffsetCommitRequest
        DescribeAclsRequest
        CreateAclsRequest
        DeleteAclsRequest
        DescribeConfigsRequest
        AlterConfigsRequest
        AlterReplicaLogDirsRequest
        DescribeLogDirsRequest
        SaslAuthenticateRequest
        CreatePartitionsRequest
        CreateDelegationTokenRequest
        RenewDelegationTokenRequest
        ExpireDelegationTokenRequest
        DescribeDelegationTokenRequest
        DeleteGroupsRequest
        ElectLeadersRequest
        IncrementalAlterConfigsRequest
        AlterPartitionReassignmentsRequest
        ListPartitionReassignmentsRequest
        OffsetDeleteRequest
        DescribeClientQuotasRequest
        AlterClientQuotasRequest
        DescribeUserScramCredentialsRequest
        AlterUserScramCredentialsRequest
        DescribeQuorumRequest
        UpdateFeaturesRequest
        DescribeClusterRequest
        DescribeProducersRequest
        UnregisterBrokerRequest
        DescribeTransactionsRequest
        ListTransactionsRequest
        ConsumerGroupHeartbeatRequest
        ConsumerGroupDescribeRequest
        ListConfigResourcesRequest
        DescribeTopicPartitionsRequest
    }
    let keys: Vec<i16> = asked.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, served.keys().copied().collect::<Vec<_>>(), "asked, and advertised");
    let count: usize = asked.iter().map(|(_, versions)| versions.len()).sum();
    assert!(count > 150, "{count} versions");
}
