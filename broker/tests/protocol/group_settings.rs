//! Settings of single consumer groups (KIP-848): DescribeConfigs, IncrementalAlterConfigs, AlterConfigs and
//! ListConfigResources of groups, and their effect.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::alter_configs_request::{self, AlterConfigsResource};
use kafka_protocol::messages::{
    AlterConfigsRequest, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest,
    ListConfigResourcesRequest,
};
use millrace_broker::BrokerHandle;
use millrace_log::disk::SimDisk;

use crate::consumer_groups::{group, join, stay};
use crate::settings::{alter_kind, describe};
use crate::support::{Client, broker, broker_on, text};
use crate::topics::create;

const GROUP: i8 = 32;
const SESSION: &str = "consumer.session.timeout.ms";
const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

/// Value and source of a setting, and the sources of its synonyms.
async fn value(client: &mut Client, group: &str, name: &str) -> (String, i8, Vec<i8>) {
    let found = describe(client, 4, GROUP, group, &[name]).await.configs.remove(0);
    assert!(!found.read_only && !found.is_sensitive);
    let synonyms = found.synonyms.iter().map(|synonym| synonym.source).collect();
    (found.value.unwrap().to_string(), found.config_source, synonyms)
}

async fn members(client: &mut Client, id: &str) -> usize {
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group(id)]);
    client.call(1, request).await.groups[0].members.len()
}

async fn listed(client: &mut Client) -> Vec<String> {
    let request = ListConfigResourcesRequest::default().with_resource_types(vec![GROUP]);
    let resources = client.call(1, request).await.config_resources;
    resources.into_iter().map(|resource| resource.resource_name.to_string()).collect()
}

fn of(id: &str, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatRequest {
    request.with_group_id(group(id))
}

async fn running(disk: &Arc<SimDisk>) -> (BrokerHandle, Client) {
    let running = broker_on(disk.clone(), &[]).await;
    let client = Client::new(&running);
    (running, client)
}

#[tokio::test(start_paused = true)]
async fn they_take_effect_for_one_group_and_outlive_a_restart() {
    let disk = Arc::new(SimDisk::new());
    let (broker, mut client) = running(&disk).await;
    create(&mut client, "t", 1).await;
    let changes = [(SESSION, SET, Some("60000")), (HEARTBEAT, SET, Some("10000"))];
    assert_eq!(alter_kind(&mut client, GROUP, "own", &changes).await, 0);
    assert_eq!(value(&mut client, "own", SESSION).await, ("60000".to_owned(), 8, vec![8, 5]));
    assert_eq!(value(&mut client, "other", SESSION).await, ("45000".to_owned(), 5, vec![5]));
    assert_eq!(listed(&mut client).await, ["own"]);
    broker.shutdown().await.unwrap();

    let (_broker, mut client) = running(&disk).await;
    assert_eq!(client.call(1, of("own", join("a"))).await.heartbeat_interval_ms, 10_000);
    assert_eq!(client.call(1, of("other", join("a"))).await.heartbeat_interval_ms, 5_000);
    tokio::time::sleep(Duration::from_millis(45_500)).await;
    assert_eq!((members(&mut client, "own").await, members(&mut client, "other").await), (1, 0));
    tokio::time::sleep(Duration::from_millis(15_000)).await;
    assert_eq!(members(&mut client, "own").await, 0);

    // A change holds from the next heartbeat on, and back at the broker's the group is on no list.
    assert_eq!(client.call(1, of("own", join("b"))).await.error_code, 0);
    assert_eq!(alter_kind(&mut client, GROUP, "own", &[(HEARTBEAT, DELETE, None)]).await, 0);
    assert_eq!(listed(&mut client).await, ["own"]);
    let epoch = client.call(1, of("own", join("b"))).await.member_epoch;
    assert_eq!(client.call(1, of("own", stay("b", epoch))).await.heartbeat_interval_ms, 5_000);
    assert_eq!(alter_kind(&mut client, GROUP, "own", &[(SESSION, DELETE, None)]).await, 0);
    assert!(listed(&mut client).await.is_empty());
    assert_eq!(client.call(1, of("own", stay("b", epoch))).await.error_code, 0);
    tokio::time::sleep(Duration::from_millis(45_500)).await;
    assert_eq!(members(&mut client, "own").await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_unknown_or_beyond_the_brokers_limits_is_refused() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    for (name, change, error) in [
        ("g", (SESSION, SET, Some("44999")), 40),
        ("g", (SESSION, SET, Some("60001")), 40),
        ("g", (HEARTBEAT, SET, Some("4999")), 40),
        ("g", (HEARTBEAT, SET, Some("15001")), 40),
        ("g", (HEARTBEAT, SET, Some("x")), 40),
        ("g", (HEARTBEAT, APPEND, Some("6000")), 40),
        ("g", (HEARTBEAT, SET, None), 42),
        ("g", ("share.session.timeout.ms", SET, Some("50000")), 40),
        ("g", ("no.such", DELETE, None), 0),
        ("", (SESSION, SET, Some("50000")), 42),
    ] {
        assert_eq!(alter_kind(&mut client, GROUP, name, &[change]).await, error, "{name:?} {change:?}");
    }
    assert!(listed(&mut client).await.is_empty());
    assert_eq!(describe(&mut client, 4, GROUP, "", &[]).await.error_code, 42);
    assert_eq!(describe(&mut client, 4, GROUP, "g", &[]).await.configs.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_brokers_values_and_limits_are_its_own_settings() {
    let disk = Arc::new(SimDisk::new());
    let settings = [
        ("group.consumer.session.timeout.ms", "3000"),
        ("group.consumer.min.session.timeout.ms", "2000"),
        ("group.consumer.min.heartbeat.interval.ms", "100"),
        ("group.consumer.heartbeat.interval.ms", "200"),
    ];
    let broker = broker_on(disk.clone(), &settings).await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    assert_eq!(value(&mut client, "g", SESSION).await, ("3000".to_owned(), 4, vec![4, 5]));
    assert_eq!(alter_kind(&mut client, GROUP, "g", &[(HEARTBEAT, SET, Some("3000"))]).await, 40, "not below");
    assert_eq!(alter_kind(&mut client, GROUP, "g", &[(HEARTBEAT, SET, Some("300"))]).await, 0);
    assert_eq!(client.call(1, of("g", join("a"))).await.heartbeat_interval_ms, 300);
    broker.shutdown().await.unwrap();
    // With limits that the stored value is not within any more.
    let (_broker, mut client) = running(&disk).await;
    assert_eq!(client.call(1, of("g", join("a"))).await.heartbeat_interval_ms, 5_000);
    assert_eq!(value(&mut client, "g", HEARTBEAT).await.0, "300");
}

#[tokio::test(start_paused = true)]
async fn the_older_request_replaces_them() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    assert_eq!(alter_kind(&mut client, GROUP, "g", &[(HEARTBEAT, SET, Some("6000"))]).await, 0);
    let config = alter_configs_request::AlterableConfig::default()
        .with_name(text(SESSION))
        .with_value(Some(text("50000")));
    let resource = AlterConfigsResource::default()
        .with_resource_type(GROUP)
        .with_resource_name(text("g"))
        .with_configs(vec![config]);
    let request = AlterConfigsRequest::default().with_resources(vec![resource]);
    assert_eq!(client.call(2, request).await.responses[0].error_code, 0);
    assert_eq!(value(&mut client, "g", HEARTBEAT).await.1, 5);
    assert_eq!(value(&mut client, "g", SESSION).await, ("50000".to_owned(), 8, vec![8, 5]));
}
