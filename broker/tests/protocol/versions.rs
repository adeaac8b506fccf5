//! ApiVersions, and what is advertised.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::api_versions_response::FinalizedFeatureKey;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, UpdateFeaturesRequest};
use kafka_protocol::protocol::Decodable;

use crate::support::{Client, broker, text};

fn request() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(text("a-client.x"))
        .with_client_software_version(text("1.0.0"))
}

#[tokio::test(start_paused = true)]
async fn every_version_lists_the_same_ranges() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let mut lists = Vec::new();
    for version in 0..=4 {
        let request = if version >= 3 { request() } else { ApiVersionsRequest::default() };
        let response = client.call(version, request).await;
        assert_eq!(response.error_code, 0);
        lists.push(response.api_keys);
    }
    assert!(lists.windows(2).all(|pair| pair[0] == pair[1]));
    let keys: Vec<i16> = lists[0].iter().map(|api| api.api_key).collect();
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "keys are sorted and unique: {keys:?}");
}

#[tokio::test(start_paused = true)]
async fn produce_is_advertised_from_0_for_old_librdkafka() {
    let broker = broker().await;
    let response = Client::new(&broker).call(3, request()).await;
    let range = |key: ApiKey| {
        let api = response.api_keys.iter().find(|api| api.api_key == key as i16).unwrap();
        (api.min_version, api.max_version)
    };
    assert_eq!(range(ApiKey::Produce), (0, 13));
    assert_eq!(range(ApiKey::Fetch), (4, 18));
    assert_eq!(range(ApiKey::Metadata), (0, 13));
    assert_eq!(range(ApiKey::ApiVersions), (0, 4));
}

/// The levels that the cluster agreed on, and since when.
async fn finalized(client: &mut Client) -> (Vec<(String, i16)>, i64) {
    let response = client.call(4, request()).await;
    let level = |key: &FinalizedFeatureKey| (key.name.to_string(), key.max_version_level);
    (response.finalized_features.iter().map(level).collect(), response.finalized_features_epoch)
}

#[tokio::test(start_paused = true)]
async fn a_feature_that_begins_at_0_is_kept_from_clients_that_cannot_read_it() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    for (version, expected) in
        [(3, &["metadata.version"][..]), (4, &["group.version", "metadata.version", "transaction.version"])]
    {
        let response = client.call(version, request()).await;
        let names: Vec<&str> = response.supported_features.iter().map(|feature| &*feature.name).collect();
        assert_eq!(names, expected, "version {version}");
        assert_eq!(response.finalized_features.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn levels_of_features_change_and_the_epoch_with_them() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let level_of = |levels: &[(String, i16)]| {
        levels.iter().find(|(name, _)| name == "transaction.version").map(|(_, level)| *level)
    };
    let (levels, before) = finalized(&mut client).await;
    assert!(level_of(&levels).is_some());
    let update = |level, kind| {
        let update = FeatureUpdateKey::default()
            .with_feature(text("transaction.version"))
            .with_max_version_level(level)
            .with_upgrade_type(kind);
        UpdateFeaturesRequest::default().with_timeout_ms(1000).with_feature_updates(vec![update])
    };
    let refused = client.call(1, update(0, 1)).await;
    assert_eq!((refused.error_code, refused.results[0].error_code), (95, 95));
    let tried = client.call(1, update(0, 2).with_validate_only(true)).await;
    assert_eq!((tried.error_code, tried.results[0].error_code), (0, 0));
    assert_eq!(finalized(&mut client).await, (levels, before));
    assert_eq!(client.call(2, update(0, 2)).await.error_code, 0);
    let (levels, after) = finalized(&mut client).await;
    assert_eq!(level_of(&levels), None);
    assert!(after > before, "{after} is not after {before}");
    assert_eq!(client.call(2, update(1, 1)).await.error_code, 0);
    assert_eq!(level_of(&finalized(&mut client).await.0), Some(1));
}

#[tokio::test(start_paused = true)]
async fn unknown_version_gets_version_0_and_the_range() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let mut frame = BytesMut::new();
    frame.put_i16(ApiKey::ApiVersions as i16);
    frame.put_i16(99);
    frame.put_i32(7);
    frame.put_i16(-1);
    client.send_raw(&frame).await;
    let mut answer = client.receive_raw().await.unwrap();
    assert_eq!(answer.split_to(4), &7_i32.to_be_bytes()[..], "a version 0 header: the correlation id alone");
    let response = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(response.error_code, 35);
    assert_eq!(response.api_keys.len(), 1);
    assert_eq!((response.api_keys[0].min_version, response.api_keys[0].max_version), (0, 4));
    // The connection goes on.
    assert_eq!(client.call(4, request()).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn bad_software_name_is_an_invalid_request() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    for name in ["", "-a", "a-", "a b", "é"] {
        let response = client.call(3, request().with_client_software_name(text(name))).await;
        assert_eq!(response.error_code, 42, "{name:?}");
    }
}

/// What Apache Kafka 4.3 answers to ApiVersions: key, first and last version. Where the crate `kafka-protocol` or Millrace
/// ends earlier, the version that is served at least.
const KAFKA: [(ApiKey, i16, i16, Option<i16>); 60] = [
    (ApiKey::Produce, 0, 13, None),
    (ApiKey::Fetch, 4, 18, None),
    (ApiKey::ListOffsets, 1, 11, Some(10)),
    (ApiKey::Metadata, 0, 13, None),
    (ApiKey::OffsetCommit, 2, 10, Some(9)),
    (ApiKey::OffsetFetch, 1, 10, Some(9)),
    (ApiKey::FindCoordinator, 0, 6, None),
    (ApiKey::JoinGroup, 0, 9, None),
    (ApiKey::Heartbeat, 0, 4, None),
    (ApiKey::LeaveGroup, 0, 5, None),
    (ApiKey::SyncGroup, 0, 5, None),
    (ApiKey::DescribeGroups, 0, 6, None),
    (ApiKey::ListGroups, 0, 5, None),
    (ApiKey::SaslHandshake, 0, 1, None),
    (ApiKey::ApiVersions, 0, 4, None),
    (ApiKey::CreateTopics, 2, 7, None),
    (ApiKey::DeleteTopics, 1, 6, None),
    (ApiKey::DeleteRecords, 0, 2, None),
    (ApiKey::InitProducerId, 0, 5, None),
    (ApiKey::OffsetForLeaderEpoch, 2, 4, None),
    (ApiKey::AddPartitionsToTxn, 0, 5, None),
    (ApiKey::AddOffsetsToTxn, 0, 4, None),
    (ApiKey::EndTxn, 0, 5, None),
    (ApiKey::WriteTxnMarkers, 1, 2, Some(1)),
    (ApiKey::TxnOffsetCommit, 0, 5, None),
    (ApiKey::DescribeAcls, 1, 3, None),
    (ApiKey::CreateAcls, 1, 3, None),
    (ApiKey::DeleteAcls, 1, 3, None),
    (ApiKey::DescribeConfigs, 1, 4, None),
    (ApiKey::AlterConfigs, 0, 2, None),
    (ApiKey::AlterReplicaLogDirs, 1, 2, None),
    (ApiKey::DescribeLogDirs, 1, 5, Some(4)),
    (ApiKey::SaslAuthenticate, 0, 2, None),
    (ApiKey::CreatePartitions, 0, 3, None),
    (ApiKey::CreateDelegationToken, 1, 3, None),
    (ApiKey::RenewDelegationToken, 1, 2, None),
    (ApiKey::ExpireDelegationToken, 1, 2, None),
    (ApiKey::DescribeDelegationToken, 1, 3, None),
    (ApiKey::DeleteGroups, 0, 2, None),
    (ApiKey::ElectLeaders, 0, 2, None),
    (ApiKey::IncrementalAlterConfigs, 0, 1, None),
    (ApiKey::AlterPartitionReassignments, 0, 1, None),
    (ApiKey::ListPartitionReassignments, 0, 0, None),
    (ApiKey::OffsetDelete, 0, 0, None),
    (ApiKey::DescribeClientQuotas, 0, 1, None),
    (ApiKey::AlterClientQuotas, 0, 1, None),
    (ApiKey::DescribeUserScramCredentials, 0, 0, None),
    (ApiKey::AlterUserScramCredentials, 0, 0, None),
    (ApiKey::DescribeQuorum, 0, 2, None),
    (ApiKey::UpdateFeatures, 0, 2, None),
    (ApiKey::DescribeCluster, 0, 2, None),
    (ApiKey::DescribeProducers, 0, 0, None),
    (ApiKey::UnregisterBroker, 0, 0, None),
    (ApiKey::DescribeTransactions, 0, 0, None),
    (ApiKey::ListTransactions, 0, 2, None),
    (ApiKey::ConsumerGroupHeartbeat, 0, 1, None),
    (ApiKey::ConsumerGroupDescribe, 0, 1, None),
    (ApiKey::ListConfigResources, 0, 1, None),
    (ApiKey::DescribeTopicPartitions, 0, 0, None),
    (ApiKey::ShareGroupHeartbeat, 1, 1, Some(-1)),
];

#[tokio::test(start_paused = true)]
async fn the_ranges_are_apache_kafkas() {
    let broker = broker().await;
    let served = Client::new(&broker).call(3, request()).await.api_keys;
    for (key, first, last, at_least) in KAFKA {
        let Some(own) = served.iter().find(|api| api.api_key == key as i16) else {
            assert_eq!(at_least, Some(-1), "{key:?} is not served");
            continue;
        };
        let (min, max) = (own.min_version, own.max_version);
        assert_eq!(min, first, "first version of {key:?}");
        assert!(max <= last && max >= at_least.unwrap_or(last), "last version of {key:?} is {max}");
    }
    let unknown = |key: i16| KAFKA.iter().all(|(known, ..)| *known as i16 != key);
    let unknown: Vec<i16> = served.iter().map(|api| api.api_key).filter(|key| unknown(*key)).collect();
    // Client telemetry is not advertised by a Kafka without a plugin that takes it, either.
    assert!(unknown.is_empty(), "served, and not by Kafka: {unknown:?}");
}
