//! Hostile and greedy clients over real sockets: the broker slows them down or closes them, and serves the others.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use millrace_broker::{Broker, BrokerHandle, Config, Env};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long something may take that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long is waited for what must not happen.
const SHORT: Duration = Duration::from_millis(300);

/// A broker on the machine's own disk and network; its folder goes with it.
async fn broker(settings: &[(&str, &str)]) -> (BrokerHandle, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new();
    config.set_data_dir(folder.path());
    config.set_listen("127.0.0.1:0").unwrap();
    for (name, value) in settings {
        config.set(name, value).unwrap();
    }
    (Broker::start(config, Env::real()).await.unwrap(), folder)
}

async fn connect(broker: &BrokerHandle) -> TcpStream {
    TcpStream::connect(broker.local_addr()).await.unwrap()
}

/// Sends ApiVersions version 0 and reads the length of the answer; false if the broker closes the connection instead.
async fn is_served(stream: &mut TcpStream) -> bool {
    let request = [&10_i32.to_be_bytes()[..], &[0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]].concat();
    if stream.write_all(&request).await.is_err() {
        return false;
    }
    let Ok(length) = stream.read_i32().await else { return false };
    let mut rest = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut rest).await.is_ok()
}

#[tokio::test]
async fn past_max_connections_a_client_waits_until_another_leaves() {
    let (broker, _folder) = broker(&[("max.connections", "2")]).await;
    let (mut first, mut second) = (connect(&broker).await, connect(&broker).await);
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    let mut third = connect(&broker).await;
    assert!(timeout(SHORT, is_served(&mut third)).await.is_err(), "a third connection is served");
    drop(first);
    let mut rest = Vec::new();
    // The request sent before is answered now.
    assert!(timeout(PATIENCE, third.read_buf(&mut rest)).await.unwrap().unwrap() > 0);
    assert!(is_served(&mut second).await);
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn past_its_own_limit_an_address_is_refused() {
    let (broker, _folder) = broker(&[("max.connections.per.ip", "1")]).await;
    let mut first = connect(&broker).await;
    assert!(is_served(&mut first).await);
    assert!(!timeout(PATIENCE, is_served(&mut connect(&broker).await)).await.unwrap());
    assert!(is_served(&mut first).await);
    broker.shutdown().await.unwrap();

    let settings =
        [("max.connections.per.ip", "1"), ("max.connections.per.ip.overrides", "10.0.0.9:0,127.0.0.1:2")];
    let (broker, _folder) = self::broker(&settings).await;
    let (mut first, mut second) = (connect(&broker).await, connect(&broker).await);
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    assert!(!timeout(PATIENCE, is_served(&mut connect(&broker).await)).await.unwrap());
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn past_the_creation_rate_connections_are_accepted_later() {
    // Ten at once are what a rate of one lets through over its windows.
    let (broker, _folder) = broker(&[("max.connection.creation.rate", "1")]).await;
    let started = Instant::now();
    for _ in 0..12 {
        assert!(timeout(PATIENCE, is_served(&mut connect(&broker).await)).await.unwrap());
    }
    assert!(started.elapsed() >= Duration::from_secs(1), "12 connections in {:?}", started.elapsed());
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_crowd_of_half_open_requests_leaves_room_for_others() {
    let settings = [("queued.max.request.bytes", "1048576"), ("max.connections", "400")];
    let (broker, _folder) = broker(&settings).await;
    let mut crowd = Vec::new();
    for n in 0..100_u32 {
        let mut stream = connect(&broker).await;
        // A length, and a beginning of what it announces; then nothing more.
        stream.write_all(&(1_000_000 + n).to_be_bytes()).await.unwrap();
        stream.write_all(&[0; 512]).await.unwrap();
        crowd.push(stream);
    }
    for _ in 0..20 {
        assert!(timeout(PATIENCE, is_served(&mut connect(&broker).await)).await.unwrap());
    }
    drop(crowd);
    assert!(timeout(PATIENCE, is_served(&mut connect(&broker).await)).await.unwrap());
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn clients_that_hang_up_at_any_byte_leave_nothing_behind() {
    let (broker, _folder) = broker(&[("max.connections", "8")]).await;
    let request = [&10_i32.to_be_bytes()[..], &[0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]].concat();
    for end in 0..=request.len() {
        for _ in 0..8 {
            let mut stream = connect(&broker).await;
            stream.write_all(&request[..end]).await.unwrap();
        }
    }
    sleep(SHORT).await;
    assert!(timeout(PATIENCE, is_served(&mut connect(&broker).await)).await.unwrap());
    broker.shutdown().await.unwrap();
}
