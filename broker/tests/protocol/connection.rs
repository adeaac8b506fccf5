//! Order, limits, hostile bytes.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, FetchRequest, MetadataRequest, ProduceRequest};
use millrace_broker::BrokerHandle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::fetch::{self, values};
use crate::produce;
use crate::support::{Client, batch, broker, broker_with};
use crate::topics::{create, create_all, new_topic, with_config};

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let mut sent = Vec::new();
    let texts: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    for (n, text) in texts.iter().enumerate() {
        let acks = if n % 3 == 0 { 1 } else { -1 };
        sent.push(client.send(9, &produce::request(acks, "t", 0, Some(batch(&[text])))).await);
    }
    for (n, id) in sent.into_iter().enumerate() {
        let (received, response) = client.receive::<ProduceRequest>(9).await;
        assert_eq!(received, id);
        assert_eq!(produce::base_offset(&response.responses[0].partition_responses[0]), (0, n as i64));
    }
    // The last one was answered from the log: its sync takes a moment more.
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(values(&mut client, "t", 0).await, texts);
}

#[tokio::test(start_paused = true)]
async fn produce_requests_share_a_sync() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let started = Instant::now();
    for _ in 0..20 {
        client.send(9, &produce::request(-1, "t", 0, Some(batch(&["x"])))).await;
    }
    for _ in 0..20 {
        client.receive::<ProduceRequest>(9).await;
    }
    let waited = started.elapsed();
    assert!(waited <= Duration::from_millis(5), "20 requests took {waited:?} where a sync takes 1 ms");
}

#[tokio::test(start_paused = true)]
async fn a_request_sees_what_was_asked_before_it() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    client.send(9, &produce::request(-1, "t", 0, Some(batch(&["a"])))).await;
    client.send(12, &fetch::request("t", 0, 0)).await;
    client.receive::<ProduceRequest>(9).await;
    let (_, response) = client.receive::<FetchRequest>(12).await;
    assert_eq!(fetch::texts(fetch::partition(&response).records.clone()), ["a"]);
}

/// Whether the broker still serves.
async fn alive(broker: &BrokerHandle) {
    let response = Client::new(broker).call(0, ApiVersionsRequest::default()).await;
    assert_eq!(response.error_code, 0);
}

async fn closes(broker: &BrokerHandle, bytes: &[u8]) {
    let mut stream = broker.connect();
    // The broker may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut rest = Vec::new();
    let end = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "the connection stays open after {bytes:?}");
    alive(broker).await;
}

#[tokio::test(start_paused = true)]
async fn hostile_lengths_close_the_connection() {
    let broker = broker().await;
    for length in [i32::MAX, i32::MIN, -1, 0, 3, 104_857_601] {
        closes(&broker, &length.to_be_bytes()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_length_without_data_holds_no_memory_and_ends_with_the_client() {
    let broker = broker().await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = broker.connect();
        stream.write_all(&2_000_000_i32.to_be_bytes()).await.unwrap();
        streams.push(stream);
    }
    alive(&broker).await;
    drop(streams);
    alive(&broker).await;
}

#[tokio::test(start_paused = true)]
async fn announced_bytes_take_no_room_from_others() {
    let broker = broker_with(&[("queued.max.request.bytes", "1048576")]).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = broker.connect();
        stream.write_all(&100_000_000_i32.to_be_bytes()).await.unwrap();
        streams.push(stream);
    }
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let big = "x".repeat(400_000);
    assert_eq!(produce::produce(&mut client, 9, -1, "t", 0, batch(&[&big])).await.error_code, 0);
    // Who doesn't send the rest is given up.
    tokio::time::sleep(Duration::from_secs(65)).await;
    for mut stream in streams {
        let end = timeout(Duration::from_secs(1), stream.read_to_end(&mut Vec::new())).await;
        assert!(end.is_ok(), "the connection is still there");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_larger_than_the_budget_are_served_in_turn() {
    let broker = broker_with(&[("queued.max.request.bytes", "1048576")]).await;
    let mut admin = Client::new(&broker);
    let wanted = with_config(new_topic("t", 1), "max.message.bytes", "10000000");
    assert_eq!(create_all(&mut admin, vec![wanted]).await, [0]);
    let big = "x".repeat(2_000_000);
    let send = async |mut client: Client| {
        produce::produce(&mut client, 9, -1, "t", 0, batch(&[&big])).await.error_code
    };
    let clients = || Client::new(&broker);
    let (a, b, c) = tokio::join!(send(clients()), send(clients()), send(clients()));
    assert_eq!([a, b, c], [0, 0, 0]);
}

fn header(key: i16, version: i16) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(1);
    frame.put_i16(-1);
    frame
}

fn framed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = (frame.len() as i32).to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    bytes
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_and_versions_close_the_connection() {
    let broker = broker().await;
    for (key, version) in
        [(9999, 0), (-1, 0), (i16::MIN, 3), (3, 99), (3, -1), (0, 2), (0, 0), (1, 3), (7, 0)]
    {
        closes(&broker, &framed(&header(key, version))).await;
    }
}

/// A flexible header keeps the client's id in the old form, and what nobody here knows is passed over, in header and body.
#[tokio::test(start_paused = true)]
async fn unknown_tagged_fields_are_skipped() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    // One field: tag 99, three bytes.
    let unknown = [1, 99, 3, 0xff, 0xff, 0xff];
    for with in [&[0][..], &unknown] {
        let mut frame = BytesMut::new();
        frame.put_i16(ApiKey::Metadata as i16);
        frame.put_i16(12);
        frame.put_i32(7);
        frame.put_i16(2);
        frame.put_slice(b"id");
        frame.put_slice(with);
        // All topics, no creation, no operations.
        frame.put_slice(&[0, 0, 0]);
        frame.put_slice(with);
        client.send_raw(&frame).await;
        let (id, metadata) = client.receive::<MetadataRequest>(12).await;
        assert_eq!((id, metadata.brokers.len()), (7, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn array_lengths_beyond_the_frame_close_the_connection() {
    let broker = broker().await;
    for count in [i32::MAX, 1 << 28, 1000, -2] {
        let mut frame = header(ApiKey::Metadata as i16, 1);
        frame.put_i32(count);
        closes(&broker, &framed(&frame)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn cut_requests_close_the_connection() {
    let broker = broker().await;
    for len in 0..8 {
        closes(&broker, &framed(&header(3, 1)[..len])).await;
    }
    for len in 8..10 {
        closes(&broker, &framed(&header(3, 12)[..len])).await;
    }
}

#[tokio::test(start_paused = true)]
async fn random_bytes_never_stop_the_broker() {
    let broker = broker().await;
    let random = millrace_broker::Random::new(42);
    for key in 0..70_i16 {
        for version in 0..14_i16 {
            let mut frame = header(key, version);
            for _ in 0..random.next_u64() % 12 {
                frame.put_u64(random.next_u64());
            }
            let mut stream = broker.connect();
            stream.write_all(&framed(&frame)).await.unwrap();
            drop(stream);
        }
    }
    alive(&broker).await;
}

#[tokio::test(start_paused = true)]
async fn silent_connections_are_closed() {
    let broker = broker_with(&[("connections.max.idle.ms", "1000")]).await;
    let mut client = Client::new(&broker);
    tokio::time::sleep(Duration::from_millis(900)).await;
    client.call(1, MetadataRequest::default()).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    client.call(1, MetadataRequest::default()).await;
    let gone = timeout(Duration::from_secs(3), client.receive_raw()).await;
    assert!(gone.expect("the connection stays open").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_given_up() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let big = "x".repeat(900_000);
    produce::produce(&mut client, 9, -1, "t", 0, batch(&[&big])).await;
    for _ in 0..4 {
        client.send(12, &fetch::request("t", 0, 0)).await;
    }
    tokio::time::sleep(Duration::from_secs(200)).await;
    let mut rest = Vec::new();
    let end = timeout(Duration::from_secs(1), client.stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "the connection is still there");
    assert!(rest.len() < 900_000);
    alive(&broker).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_byte_by_byte_is_given_up() {
    let broker = broker().await;
    let mut stream = broker.connect();
    stream.write_all(&1_000_000_i32.to_be_bytes()).await.unwrap();
    let started = Instant::now();
    loop {
        let mut rest = [0];
        match timeout(Duration::from_secs(20), stream.read(&mut rest)).await {
            Ok(read) => break assert!(matches!(read, Ok(0) | Err(_)), "{read:?}"),
            Err(_) => stream.write_all(&[0]).await.unwrap(),
        }
        assert!(started.elapsed() < Duration::from_secs(300), "the connection is still there");
    }
    alive(&broker).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_waiting_behind_a_long_poll_is_not_held_against_its_client() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    client.send(12, &fetch::request("t", 0, 0).with_max_wait_ms(90_000)).await;
    client.send(1, &MetadataRequest::default()).await;
    // The beginning of a third request lies in the broker's buffer, where nobody looks for the rest.
    let third = framed(&header(ApiKey::ApiVersions as i16, 0));
    client.stream.write_all(&third[..6]).await.unwrap();
    client.receive::<FetchRequest>(12).await;
    client.receive::<MetadataRequest>(1).await;
    client.stream.write_all(&third[6..]).await.unwrap();
    client.receive::<ApiVersionsRequest>(0).await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_connections_and_long_polls() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    client.send(12, &fetch::request("t", 0, 0).with_max_wait_ms(60_000)).await;
    tokio::task::yield_now().await;
    let started = Instant::now();
    broker.shutdown().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_read_from_is_not_slow() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    // A long poll, a request that waits for it, and half of a third one.
    let poll = fetch::request("t", 0, 0).with_max_wait_ms(100_000);
    client.send(12, &poll).await;
    client.send(12, &MetadataRequest::default().with_topics(None)).await;
    client.stream.write_all(&[0, 0, 0, 100, 0, 3]).await.unwrap();
    let (_, response) = client.receive::<FetchRequest>(12).await;
    assert_eq!(fetch::partition(&response).error_code, 0);
    client.receive::<MetadataRequest>(12).await;
    // Now it is.
    let started = Instant::now();
    assert!(client.receive_raw().await.is_none());
    assert!(started.elapsed() >= Duration::from_secs(30), "{:?}", started.elapsed());
}
