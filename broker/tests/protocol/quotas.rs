//! DescribeClientQuotas, AlterClientQuotas, and what a client over its quota notices.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteTopicsRequest, DescribeClientQuotasRequest, ProduceRequest,
};
use millrace_broker::BrokerHandle;
use millrace_log::disk::SimDisk;
use tokio::time::Instant;

use crate::fetch;
use crate::produce;
use crate::support::{Client, batch, broker, broker_on, text, topic};
use crate::topics::{create, new_topic};

type Entity = [(&'static str, Option<&'static str>)];

async fn alter(client: &mut Client, entity: &Entity, changes: &[(&str, Option<f64>)]) -> i16 {
    let parts = entity.iter().map(|(kind, name)| {
        EntityData::default().with_entity_type(text(kind)).with_entity_name(name.map(text))
    });
    let ops = changes.iter().map(|(key, value)| {
        OpData::default().with_key(text(key)).with_value(value.unwrap_or(0.0)).with_remove(value.is_none())
    });
    let entry = EntryData::default().with_entity(parts.collect()).with_ops(ops.collect());
    let request = AlterClientQuotasRequest::default().with_entries(vec![entry]);
    client.call(1, request).await.entries[0].error_code
}

/// Entities and quotas as text, or the error.
async fn describe(
    client: &mut Client,
    filter: &[(&str, i8, Option<&str>)],
    strict: bool,
) -> Result<Vec<String>, i16> {
    let components = filter.iter().map(|(kind, match_type, name)| {
        ComponentData::default()
            .with_entity_type(text(kind))
            .with_match_type(*match_type)
            .with_match(name.map(text))
    });
    let request =
        DescribeClientQuotasRequest::default().with_components(components.collect()).with_strict(strict);
    let response = client.call(1, request).await;
    let Some(entries) = response.entries else { return Err(response.error_code) };
    let describe = |entry: &kafka_protocol::messages::describe_client_quotas_response::EntryData| {
        let parts = entry.entity.iter().map(|part| match &part.entity_name {
            Some(name) => format!("{}={}", &*part.entity_type, &**name),
            None => format!("{}=default", &*part.entity_type),
        });
        let values = entry.values.iter().map(|value| format!("{}={}", &*value.key, value.value));
        format!("{}: {}", parts.collect::<Vec<_>>().join(","), values.collect::<Vec<_>>().join(","))
    };
    Ok(entries.iter().map(describe).collect())
}

#[tokio::test(start_paused = true)]
async fn quotas_are_set_found_and_kept() {
    let disk = Arc::new(SimDisk::new());
    let broker = broker_on(disk.clone(), &[]).await;
    let mut client = Client::new(&broker);
    let both = [("producer_byte_rate", Some(1000.0)), ("request_percentage", Some(12.5))];
    assert_eq!(alter(&mut client, &[("client-id", Some("c"))], &both).await, 0);
    assert_eq!(alter(&mut client, &[("client-id", None)], &[("consumer_byte_rate", Some(5.0))]).await, 0);
    let user_and_client = [("user", Some("u")), ("client-id", Some("c"))];
    assert_eq!(alter(&mut client, &user_and_client, &[("producer_byte_rate", Some(7.0))]).await, 0);
    assert_eq!(
        alter(&mut client, &[("ip", Some("10.0.0.1"))], &[("connection_creation_rate", Some(9.0))]).await,
        0
    );
    assert_eq!(alter(&mut client, &[("client-id", Some("c"))], &[("request_percentage", None)]).await, 0);
    broker.shutdown().await.unwrap();

    let broker = broker_on(disk, &[]).await;
    let mut client = Client::new(&broker);
    let c = "client-id=c: producer_byte_rate=1000";
    let default = "client-id=default: consumer_byte_rate=5";
    let pair = "user=u,client-id=c: producer_byte_rate=7";
    let ip = "ip=10.0.0.1: connection_creation_rate=9";
    let found = async |client: &mut Client, filter: &[(&str, i8, Option<&str>)], strict: bool| {
        describe(client, filter, strict).await.unwrap()
    };
    assert_eq!(found(&mut client, &[], false).await.len(), 4);
    assert_eq!(found(&mut client, &[("client-id", 0, Some("c"))], true).await, [c]);
    assert_eq!(found(&mut client, &[("client-id", 0, Some("c"))], false).await, [c, pair]);
    assert_eq!(found(&mut client, &[("client-id", 1, None)], false).await, [default]);
    assert_eq!(found(&mut client, &[("user", 2, None), ("client-id", 2, None)], true).await, [pair]);
    assert_eq!(found(&mut client, &[("ip", 2, None)], true).await, [ip]);
    assert_eq!(describe(&mut client, &[("group", 2, None)], false).await, Err(35));
    assert_eq!(describe(&mut client, &[("ip", 2, None), ("user", 2, None)], false).await, Err(42));
    assert_eq!(describe(&mut client, &[("user", 0, None)], false).await, Err(42));
}

#[tokio::test(start_paused = true)]
async fn quotas_that_make_no_sense_are_refused() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let rate = [("producer_byte_rate", Some(1000.0))];
    for entity in
        [&[][..], &[("group", Some("x"))], &[("user", Some(""))], &[("ip", Some("1.2.3.4")), ("user", None)]]
    {
        assert_eq!(alter(&mut client, entity, &rate).await, 42, "{entity:?}");
    }
    for change in [
        ("producer_byte_rate", 0.0),
        ("producer_byte_rate", 0.5),
        ("connection_creation_rate", 5.0),
        ("x", 1.0),
    ] {
        let refused = alter(&mut client, &[("user", None)], &[rate[0], (change.0, Some(change.1))]).await;
        assert_eq!(refused, 42, "{change:?}");
    }
    assert_eq!(describe(&mut client, &[], false).await, Ok(vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_producer_over_its_quota_is_told_and_then_muted() {
    let broker = broker().await;
    let (mut client, mut admin) = (Client::new(&broker), Client::new(&broker));
    create(&mut admin, "t", 1).await;
    assert_eq!(
        alter(&mut admin, &[("client-id", Some("test"))], &[("producer_byte_rate", Some(1000.0))]).await,
        0
    );
    let big = "x".repeat(20_000);
    let request = produce::request(-1, "t", 0, Some(batch(&[&big])));
    let started = Instant::now();
    let response = client.call(9, request.clone()).await;
    // 20 kB are 10 s more than eleven windows of 1 kB less one let through.
    let told = Duration::from_millis(response.throttle_time_ms as u64);
    assert!(told > Duration::from_secs(9) && told < Duration::from_secs(12), "{told:?}");
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    assert!(started.elapsed() < Duration::from_secs(1), "the answer itself must not be late");
    client.call(0, ApiVersionsRequest::default()).await;
    assert!(started.elapsed() >= told, "after {:?} the next request is answered", started.elapsed());
    // Others are not slowed down; the quota taken back, neither is this one.
    assert_eq!(alter(&mut admin, &[("client-id", Some("test"))], &[("producer_byte_rate", None)]).await, 0);
    assert_eq!(client.call(9, request).await.throttle_time_ms, 0);
}

#[tokio::test(start_paused = true)]
async fn a_producer_without_answers_is_muted_all_the_same() {
    let broker = broker().await;
    let (mut client, mut admin) = (Client::new(&broker), Client::new(&broker));
    create(&mut admin, "t", 1).await;
    assert_eq!(alter(&mut admin, &[("client-id", None)], &[("producer_byte_rate", Some(1000.0))]).await, 0);
    let started = Instant::now();
    let big = "x".repeat(20_000);
    client.send::<ProduceRequest>(9, &produce::request(0, "t", 0, Some(batch(&[&big])))).await;
    client.call(0, ApiVersionsRequest::default()).await;
    assert!(started.elapsed() >= Duration::from_secs(9), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_muted_for_longer_than_it_may_be_idle_is_closed() {
    let broker = broker_on(Arc::new(SimDisk::new()), &[("connections.max.idle.ms", "60000")]).await;
    let (mut client, mut admin) = (Client::new(&broker), Client::new(&broker));
    create(&mut admin, "t", 1).await;
    assert_eq!(alter(&mut admin, &[("client-id", None)], &[("producer_byte_rate", Some(1.0))]).await, 0);
    let big = "x".repeat(20_000);
    let response = client.call(9, produce::request(-1, "t", 0, Some(batch(&[&big])))).await;
    assert!(response.throttle_time_ms > 10_000_000, "{}", response.throttle_time_ms);
    let started = Instant::now();
    assert!(client.receive_raw().await.is_none());
    assert!(started.elapsed() < Duration::from_secs(70), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_consumer_over_its_quota_gets_nothing_and_then_everything() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let big = "x".repeat(6_000);
    for _ in 0..3 {
        assert_eq!(produce::produce(&mut client, 9, -1, "t", 0, batch(&[&big])).await.error_code, 0);
    }
    assert_eq!(alter(&mut client, &[("user", None)], &[("consumer_byte_rate", Some(1000.0))]).await, 0);
    // A fetch is cut to what the quota lets through at once: one batch of 6 kB.
    let first = client.call(12, fetch::request("t", 0, 0)).await;
    assert_eq!(first.throttle_time_ms, 0);
    assert_eq!(fetch::texts(fetch::partition(&first).records.clone()).len(), 1);
    let second = client.call(12, fetch::request("t", 0, 1)).await;
    assert!(second.throttle_time_ms > 0);
    assert!(second.responses.is_empty());
    tokio::time::sleep(Duration::from_secs(20)).await;
    let third = client.call(12, fetch::request("t", 0, 2)).await;
    assert_eq!(
        (third.throttle_time_ms, fetch::texts(fetch::partition(&third).records.clone()).len()),
        (0, 1)
    );
}

/// THROTTLING_QUOTA_EXCEEDED.
const QUOTA_EXCEEDED: i16 = 89;

fn creation(name: &str, partitions: i32, validate_only: bool) -> CreateTopicsRequest {
    CreateTopicsRequest::default()
        .with_topics(vec![new_topic(name, partitions)])
        .with_timeout_ms(1000)
        .with_validate_only(validate_only)
}

/// A client with this quota of partitions per second, which makes a burst of eleven times as many.
async fn with_mutation_rate(broker: &BrokerHandle, rate: f64) -> Client {
    let mut client = Client::new(broker);
    let changes = [("controller_mutation_rate", Some(rate))];
    assert_eq!(alter(&mut client, &[("client-id", Some("test"))], &changes).await, 0);
    client
}

/// The error code and the time to wait, rounded to seconds.
async fn create_at(client: &mut Client, version: i16, request: CreateTopicsRequest) -> (i16, i32) {
    let response = client.call(version, request).await;
    (response.topics[0].error_code, (response.throttle_time_ms + 500) / 1000)
}

#[tokio::test(start_paused = true)]
async fn partitions_cannot_be_created_and_deleted_without_end() {
    let broker = broker().await;
    let mut first = with_mutation_rate(&broker, 1.0).await;
    // The last one that is paid for may be larger than what is left.
    assert_eq!(create_at(&mut first, 7, creation("a", 20, false)).await, (0, 9));
    // Each on a connection of its own, since those that were told to wait are muted.
    let mut other = Client::new(&broker);
    assert_eq!(create_at(&mut other, 7, creation("b", 1, false)).await, (QUOTA_EXCEEDED, 9));
    let named = |name: &str| DeleteTopicState::default().with_name(Some(topic(name)));
    let response = Client::new(&broker)
        .call(6, DeleteTopicsRequest::default().with_topics(vec![named("a")]).with_timeout_ms(1000))
        .await;
    assert_eq!(response.responses[0].error_code, QUOTA_EXCEEDED);
    let more = |count| {
        let wanted =
            CreatePartitionsTopic::default().with_name(topic("a")).with_count(count).with_assignments(None);
        CreatePartitionsRequest::default().with_topics(vec![wanted]).with_timeout_ms(1000)
    };
    let response = Client::new(&broker).call(3, more(21)).await;
    assert_eq!((response.results[0].error_code, response.throttle_time_ms > 0), (QUOTA_EXCEEDED, true));
    // Older versions don't know the error: they get it on credit, and wait the longer.
    assert_eq!(create_at(&mut Client::new(&broker), 5, creation("b", 2, false)).await, (0, 11));
    let response = Client::new(&broker).call(2, more(21)).await;
    assert_eq!(response.results[0].error_code, 0);
    let names = DeleteTopicsRequest::default().with_topic_names(vec![topic("b")]).with_timeout_ms(1000);
    let response = Client::new(&broker).call(4, names).await;
    assert_eq!((response.responses[0].error_code, (response.throttle_time_ms + 500) / 1000), (0, 14));
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(create_at(&mut Client::new(&broker), 7, creation("b", 1, false)).await.0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_over_its_mutation_rate_is_muted() {
    let broker = broker().await;
    let mut client = with_mutation_rate(&broker, 1.0).await;
    assert_eq!(create_at(&mut client, 7, creation("a", 13, false)).await, (0, 2));
    let started = Instant::now();
    client.call(0, ApiVersionsRequest::default()).await;
    assert!(started.elapsed() >= Duration::from_millis(1900), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_costs_nothing_and_what_is_validated_does() {
    let broker = broker().await;
    let mut client = with_mutation_rate(&broker, 0.5).await;
    create(&mut client, "a", 1).await;
    for _ in 0..30 {
        assert_eq!(create_at(&mut client, 7, creation("a", 5, false)).await, (36, 0), "it exists");
    }
    // Topic by topic, until nothing is left.
    let topics = ["b", "c", "d"].map(|name| new_topic(name, 4)).to_vec();
    let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(1000);
    let response = client.call(7, request).await;
    let codes: Vec<i16> = response.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [0, 0, QUOTA_EXCEEDED]);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(create_at(&mut client, 7, creation("e", 9, true)).await, (0, 7));
    assert_eq!(create_at(&mut Client::new(&broker), 7, creation("e", 1, false)).await.0, QUOTA_EXCEEDED);
}
