//! What tools ask of a cluster that is one node without security: every version of every such request is answered.

use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, AlterUserScramCredentialsRequest,
    BrokerId, CreateAclsRequest, CreateDelegationTokenRequest, DeleteAclsRequest, DescribeAclsRequest,
    DescribeClusterRequest, DescribeDelegationTokenRequest, DescribeQuorumRequest,
    DescribeUserScramCredentialsRequest, ElectLeadersRequest, ExpireDelegationTokenRequest,
    ListConfigResourcesRequest, ListPartitionReassignmentsRequest, MetadataRequest,
    RenewDelegationTokenRequest, SaslAuthenticateRequest, SaslHandshakeRequest, UnregisterBrokerRequest,
    create_acls_request, delete_acls_request, describe_quorum_request,
};

use crate::support::{Client, broker, text, topic};
use crate::topics::create;

const SECURITY_DISABLED: i16 = 54;
const DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: i16 = 64;
const ILLEGAL_SASL_STATE: i16 = 34;

#[tokio::test(start_paused = true)]
async fn without_authorizer_acls_are_refused_one_by_one() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    for version in 1..=3 {
        let any = DescribeAclsRequest::default()
            .with_resource_type_filter(1)
            .with_pattern_type_filter(1)
            .with_operation(1)
            .with_permission_type(1);
        assert_eq!(client.call(version, any).await.error_code, SECURITY_DISABLED);
        let one = create_acls_request::AclCreation::default().with_resource_pattern_type(3);
        let create = CreateAclsRequest::default().with_creations(vec![one.clone(), one]);
        let codes: Vec<i16> =
            client.call(version, create).await.results.iter().map(|it| it.error_code).collect();
        assert_eq!(codes, [SECURITY_DISABLED; 2]);
        let one = delete_acls_request::DeleteAclsFilter::default().with_pattern_type_filter(3);
        let delete = DeleteAclsRequest::default().with_filters(vec![one]);
        assert_eq!(client.call(version, delete).await.filter_results[0].error_code, SECURITY_DISABLED);
    }
}

#[tokio::test(start_paused = true)]
async fn without_authentication_tokens_and_sasl_are_refused_and_the_connection_stays() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let not_allowed = DELEGATION_TOKEN_REQUEST_NOT_ALLOWED;
    for version in 1..=3 {
        let created = client.call(version, CreateDelegationTokenRequest::default()).await;
        assert_eq!((created.error_code, &*created.principal_name), (not_allowed, "ANONYMOUS"));
        let described = client.call(version, DescribeDelegationTokenRequest::default()).await;
        assert_eq!(described.error_code, not_allowed);
    }
    for version in 1..=2 {
        assert_eq!(
            client.call(version, RenewDelegationTokenRequest::default()).await.error_code,
            not_allowed
        );
        assert_eq!(
            client.call(version, ExpireDelegationTokenRequest::default()).await.error_code,
            not_allowed
        );
    }
    for version in 0..=1 {
        let shaken =
            client.call(version, SaslHandshakeRequest::default().with_mechanism(text("PLAIN"))).await;
        assert_eq!((shaken.error_code, shaken.mechanisms.len()), (ILLEGAL_SASL_STATE, 0));
    }
    for version in 0..=2 {
        let answer = client.call(version, SaslAuthenticateRequest::default()).await;
        assert_eq!(answer.error_code, ILLEGAL_SASL_STATE);
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_are_neither_there_nor_taken() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let all = client.call(0, DescribeUserScramCredentialsRequest::default().with_users(None)).await;
    assert_eq!((all.error_code, all.results.len()), (0, 0));
    let new =
        ScramCredentialUpsertion::default().with_name(text("a")).with_mechanism(1).with_iterations(4096);
    let altered =
        client.call(0, AlterUserScramCredentialsRequest::default().with_upsertions(vec![new])).await;
    assert_eq!(altered.results.len(), 1);
    assert_eq!(altered.results[0].error_code, 33);
}

#[tokio::test(start_paused = true)]
async fn the_only_replica_leads_and_stays_where_it_is() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 2).await;
    for version in 0..=2 {
        let of = TopicPartitions::default().with_topic(topic("t")).with_partitions(vec![0, 1, 2]);
        let asked = ElectLeadersRequest::default().with_topic_partitions(Some(vec![of]));
        let results = client.call(version, asked).await.replica_election_results;
        let codes: Vec<i16> = results[0].partition_result.iter().map(|it| it.error_code).collect();
        assert_eq!(codes, [84, 84, 3]);
        let all = ElectLeadersRequest::default().with_topic_partitions(None);
        let results = client.call(version, all).await.replica_election_results;
        assert!(results.iter().all(|topic| topic.partition_result.is_empty()));
    }
    let own = client.call(12, MetadataRequest::default()).await.brokers[0].node_id;
    let cases = [(Some(vec![own]), 0), (Some(vec![BrokerId(99)]), 39), (Some(vec![]), 39), (None, 85)];
    for version in 0..=1 {
        for (replicas, code) in cases.clone() {
            let wanted = ReassignablePartition::default().with_replicas(replicas.clone());
            let wanted = ReassignableTopic::default().with_name(topic("t")).with_partitions(vec![wanted]);
            let asked = AlterPartitionReassignmentsRequest::default().with_topics(vec![wanted]);
            let answer = client.call(version, asked).await;
            assert_eq!(answer.responses[0].partitions[0].error_code, code, "to {replicas:?}");
        }
    }
    let all = ListPartitionReassignmentsRequest::default().with_topics(None);
    assert!(client.call(0, all).await.topics.is_empty());
    for version in 1..=2 {
        for (path, index, code) in [("/data", 0, 0), ("/data", 9, 3), ("/other", 0, 57)] {
            let of = AlterReplicaLogDirTopic::default().with_name(topic("t")).with_partitions(vec![index]);
            let dir = AlterReplicaLogDir::default().with_path(text(path)).with_topics(vec![of]);
            let answer =
                client.call(version, AlterReplicaLogDirsRequest::default().with_dirs(vec![dir])).await;
            assert_eq!(answer.results[0].partitions[0].error_code, code, "{index} to {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_quorum_is_this_node() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let asked = |name: &str| {
        let partition = describe_quorum_request::PartitionData::default();
        let of = describe_quorum_request::TopicData::default()
            .with_topic_name(topic(name))
            .with_partitions(vec![partition]);
        DescribeQuorumRequest::default().with_topics(vec![of])
    };
    for version in 0..=2 {
        let answer = client.call(version, asked("__cluster_metadata")).await;
        let partition = &answer.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.current_voters.len()), (0, 1));
        assert_eq!(partition.leader_id, partition.current_voters[0].replica_id);
        assert!(partition.high_watermark > 0);
        assert_eq!(answer.nodes.len(), usize::from(version >= 2));
        assert_eq!(client.call(version, asked("t")).await.topics[0].partitions[0].error_code, 3);
    }
    let own = client.call(12, MetadataRequest::default()).await.brokers[0].node_id;
    for (id, code) in [(BrokerId(99), 102), (own, 42)] {
        let answer = client.call(0, UnregisterBrokerRequest::default().with_broker_id(id)).await;
        assert_eq!(answer.error_code, code);
    }
}

#[tokio::test(start_paused = true)]
async fn resources_and_operations_are_told() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    assert!(client.call(0, ListConfigResourcesRequest::default()).await.config_resources.is_empty());
    let kinds = async |client: &mut Client, asked: Vec<i8>| {
        let answer = client.call(1, ListConfigResourcesRequest::default().with_resource_types(asked)).await;
        let kinds: Vec<i8> = answer.config_resources.iter().map(|found| found.resource_type).collect();
        (answer.error_code, kinds)
    };
    assert_eq!(kinds(&mut client, vec![]).await, (0, vec![8, 4, 2]));
    assert_eq!(kinds(&mut client, vec![2]).await, (0, vec![2]));
    assert_eq!(kinds(&mut client, vec![2, 99]).await, (35, vec![]));
    for version in 0..=2 {
        let asked = DescribeClusterRequest::default().with_endpoint_type(1);
        let untold = client.call(version, asked.clone()).await.cluster_authorized_operations;
        let told = client.call(version, asked.with_include_cluster_authorized_operations(true)).await;
        assert_eq!((untold, told.cluster_authorized_operations), (i32::MIN, 8096));
    }
    for version in 8..=13 {
        let asked =
            MetadataRequest::default().with_topics(None).with_include_topic_authorized_operations(true);
        assert_eq!(client.call(version, asked).await.topics[0].topic_authorized_operations, 3576);
    }
}
