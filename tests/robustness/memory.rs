//! Many clients with large requests at the same time: what the broker holds of them stays within its settings.
//!
//! Each client is slow, so that without a limit the broker would have nearly all of every request in memory before the first
//! one is whole. With it, the broker stops reading; the rest waits in the clients and in the system's buffers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiKey, ProduceRequest, ProduceResponse, RequestHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use millrace_client::{Admin, NewTopic};
use millrace_tests::broker::Broker;
use millrace_wire::ids::Offset;
use millrace_wire::record::{BatchBuilder, BatchOptions};

use crate::{PATIENCE, client, runtime};

const CLIENTS: usize = 96;
const RECORD_BYTES: usize = 4 << 20;
/// `queued.max.request.bytes`.
const BUDGET_BYTES: usize = 16 << 20;
/// `socket.request.max.bytes`: one request at a time may go beyond the budget, so that those which have come in part don't wait
/// for each other for ever.
const REQUEST_BYTES_MAX: usize = 5 << 20;
/// The newest records stay in memory for consumers (`CacheBudget` in `broker/log`).
const CACHE_BYTES: usize = 32 << 20;
/// A connection's task, and a buffer for the beginning of a request.
const CONNECTION_BYTES: usize = 64 << 10;
/// What a client sends at once, and its pause after it.
const CHUNK_BYTES: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(5);

/// The version asked for: the header of the answer is the older, shorter one.
const VERSION: i16 = 8;

/// A request of one record, with its length in front.
fn produce(partition: i32) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(0, None, Some(&vec![7; RECORD_BYTES]), []).unwrap();
    let records = builder.build(Offset(0)).unwrap();
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str("large")))
        .with_partition_data(vec![data]);
    let timeout_ms = PATIENCE.as_millis() as i32;
    let request =
        ProduceRequest::default().with_acks(-1).with_timeout_ms(timeout_ms).with_topic_data(vec![topic]);
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    RequestHeader::default()
        .with_request_api_key(ApiKey::Produce as i16)
        .with_request_api_version(VERSION)
        .encode(&mut frame, 1)
        .unwrap();
    request.encode(&mut frame, VERSION).unwrap();
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame.freeze()
}

/// Sends a request piece by piece; the answer's error code.
fn send_slowly(address: &str, request: &[u8]) -> i16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for chunk in request.chunks(CHUNK_BYTES) {
        stream.write_all(chunk).unwrap();
        thread::sleep(PAUSE);
    }
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    let mut body = Bytes::from(answer).split_off(4);
    let answer = ProduceResponse::decode(&mut body, VERSION).unwrap();
    answer.responses[0].partition_responses[0].error_code
}

/// A value of `/proc/<process>/status`, in bytes.
fn status_bytes(process: u32, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn requests_in_flight_stay_within_their_budget_and_all_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        format!("queued.max.request.bytes={BUDGET_BYTES}"),
        format!("socket.request.max.bytes={REQUEST_BYTES_MAX}"),
        format!("message.max.bytes={REQUEST_BYTES_MAX}"),
    ];
    let broker = Broker::start(folder.path(), &settings.each_ref().map(String::as_str));
    runtime().block_on(async {
        let admin = Admin::new(&client(broker.bootstrap()));
        admin.create_topics(&[NewTopic::new("large", 4)]).await.unwrap();
    });
    let idle = status_bytes(broker.id(), "VmRSS");
    let requests: Vec<Bytes> = (0..4).map(produce).collect();
    let address = broker.bootstrap();
    thread::scope(|scope| {
        let send = |nth: usize| send_slowly(&address, &requests[nth % requests.len()]);
        let clients: Vec<_> = (0..CLIENTS).map(|nth| scope.spawn(move || send(nth))).collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), 0);
        }
    });
    let peak = status_bytes(broker.id(), "VmHWM") - idle;
    // Twice: a buffer that grows has its old and its new place for a moment, and the allocator gives nothing back at once.
    let bound = 2 * (BUDGET_BYTES + REQUEST_BYTES_MAX) + CACHE_BYTES + CLIENTS * CONNECTION_BYTES;
    let sent = CLIENTS * RECORD_BYTES;
    assert!(sent > 3 * bound, "{} MiB are sent, {} MiB allowed: enough to tell", sent >> 20, bound >> 20);
    println!("{} MiB sent, {} MiB at most, {} MiB allowed", sent >> 20, peak >> 20, bound >> 20);
    assert!(peak < bound, "{} MiB more than idle, {} MiB allowed", peak >> 20, bound >> 20);
}
