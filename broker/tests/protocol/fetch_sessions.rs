//! Incremental fetch sessions (KIP-227), as a client sees them.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse, MetadataRequest};
use uuid::Uuid;

use crate::fetch::{self, texts};
use crate::produce::produce;
use crate::support::{Client, batch, broker, broker_with, topic};
use crate::topics::create;

/// Partitions from offsets on, in a session.
fn request(session: (i32, i32), partitions: &[(i32, i64)]) -> FetchRequest {
    let asked = partitions.iter().map(|(index, offset)| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    });
    let asked: Vec<FetchPartition> = asked.collect();
    let topics = if asked.is_empty() {
        Vec::new()
    } else {
        vec![FetchTopic::default().with_topic(topic("t")).with_partitions(asked)]
    };
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_topics(topics)
        .with_session_id(session.0)
        .with_session_epoch(session.1)
}

/// Partitions in an answer, with their error and values.
fn told(response: &FetchResponse) -> Vec<(i32, i16, Vec<String>)> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|data| (data.partition_index, data.error_code, texts(data.records.clone()))).collect()
}

/// A session of all partitions of topic `t`, from offset 0 on.
async fn begin(client: &mut Client, partitions: i32) -> i32 {
    let all: Vec<(i32, i64)> = (0..partitions).map(|index| (index, 0)).collect();
    let response = client.call(12, request((0, 0), &all)).await;
    assert_eq!((response.error_code, told(&response).len()), (0, all.len()));
    response.session_id
}

#[tokio::test(start_paused = true)]
async fn answers_have_only_news() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 100).await;
    let id = begin(&mut client, 100).await;
    assert!(id > 0);
    let mut go_on = async |epoch: i32, partitions: &[(i32, i64)]| {
        let response = client.call(12, request((id, epoch), partitions)).await;
        assert_eq!((response.error_code, response.session_id), (0, id));
        told(&response)
    };
    let mut producer = Client::new(&broker);
    assert_eq!(go_on(1, &[]).await, []);
    produce(&mut producer, 9, -1, "t", 42, batch(&["a"])).await;
    let a = (42, 0, vec!["a".to_owned()]);
    assert_eq!(go_on(2, &[]).await, std::slice::from_ref(&a));
    // Until the client says that it goes on behind it.
    assert_eq!(go_on(3, &[]).await, [a]);
    assert_eq!(go_on(4, &[(42, 1)]).await, []);
    // An error is told, also when nothing else has changed; and told again.
    assert_eq!(go_on(5, &[(7, 99)]).await, [(7, 1, vec![])]);
    assert_eq!(go_on(6, &[]).await, [(7, 1, vec![])]);
    assert_eq!(go_on(7, &[(7, 0)]).await, [(7, 0, vec![])], "what follows an error is told");
    assert_eq!(go_on(8, &[(100, 0)]).await, [(100, 3, vec![])], "a partition that does not exist");
}

#[tokio::test(start_paused = true)]
async fn forgotten_partitions_are_left_out() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 2).await;
    let id = begin(&mut client, 2).await;
    for partition in [0, 1] {
        produce(&mut client, 9, -1, "t", partition, batch(&["a"])).await;
    }
    let forget = ForgottenTopic::default().with_topic(topic("t")).with_partitions(vec![0]);
    let asked = request((id, 1), &[]).with_forgotten_topics_data(vec![forget.clone()]);
    let response = client.call(12, asked).await;
    assert_eq!(told(&response), [(1, 0, vec!["a".to_owned()])]);
    // Without partitions there is no session.
    let asked = request((id, 2), &[]).with_forgotten_topics_data(vec![forget.with_partitions(vec![1])]);
    assert_eq!(client.call(12, asked).await.session_id, 0);
    assert_eq!(client.call(12, request((id, 3), &[])).await.error_code, 70);
}

#[tokio::test(start_paused = true)]
async fn sessions_and_epochs_are_checked() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let id = begin(&mut client, 1).await;
    for (asked, error) in [((id, 2), 71), ((id ^ 1, 1), 70), ((0, 3), 70), ((id, 1), 0)] {
        let response = client.call(12, request(asked, &[])).await;
        assert_eq!(response.error_code, error, "{asked:?}");
        assert_eq!(response.responses.len(), 0);
    }
    let by_id = FetchTopic::default().with_topic_id(Uuid::from_u128(7));
    let response = client.call(13, request((id, 2), &[]).with_topics(vec![by_id])).await;
    assert_eq!(response.error_code, 106);
    // Epoch -1 ends the session and is answered in full; epoch 0 begins another one in its place.
    let response = client.call(12, request((id, -1), &[(0, 0)])).await;
    assert_eq!((response.session_id, told(&response).len()), (0, 1));
    assert_eq!(client.call(12, request((id, 2), &[])).await.error_code, 70);
    let first = begin(&mut client, 1).await;
    let second = client.call(12, request((first, 0), &[(0, 0)])).await.session_id;
    assert_eq!(client.call(12, request((first, 1), &[])).await.error_code, 70);
    assert_eq!(client.call(12, request((second, 1), &[])).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_slot_there_is_no_session() {
    let broker = broker_with(&[("max.incremental.fetch.session.cache.slots", "1")]).await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 2).await;
    assert_ne!(begin(&mut client, 1).await, 0);
    assert_eq!(begin(&mut client, 2).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_by_ids_outlives_a_topic_that_is_made_later() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let metadata = client.call(12, MetadataRequest::default().with_topics(None)).await;
    let known = metadata.topics.iter().find(|found| found.name == Some(topic("t"))).unwrap().topic_id;
    let asked = |id: Uuid| {
        let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
        FetchTopic::default().with_topic_id(id).with_partitions(vec![partition])
    };
    let full = request((0, 0), &[]).with_topics(vec![asked(known), asked(Uuid::from_u128(7))]);
    let response = client.call(16, full).await;
    let errors: Vec<i16> = told(&response).iter().map(|(_, error, _)| *error).collect();
    assert_eq!(errors, [0, 100]);
    produce(&mut client, 9, -1, "t", 0, batch(&["a"])).await;
    let response = client.call(16, request((response.session_id, 1), &[])).await;
    assert_eq!(told(&response), [(0, 0, vec!["a".to_owned()]), (0, 100, vec![])]);
}

#[tokio::test(start_paused = true)]
async fn a_session_waits_for_news() {
    let broker = broker().await;
    let (mut client, mut producer) = (Client::new(&broker), Client::new(&broker));
    create(&mut client, "t", 3).await;
    let id = begin(&mut client, 3).await;
    let waiting = request((id, 1), &[]).with_min_bytes(1).with_max_wait_ms(60_000);
    client.send(12, &waiting).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    produce(&mut producer, 9, -1, "t", 2, batch(&["late"])).await;
    let (_, response) = client.receive::<FetchRequest>(12).await;
    assert_eq!(told(&response), [(2, 0, vec!["late".to_owned()])]);
    assert_eq!(fetch::partition(&response).high_watermark, 1);
}
