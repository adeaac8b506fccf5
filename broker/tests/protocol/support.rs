//! A broker on a simulated disk, and a client that speaks in raw frames.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use millrace_broker::{Broker, BrokerHandle, Config, Env};
use millrace_log::disk::SimDisk;
use millrace_wire::frame::read_frame;
use millrace_wire::ids::{Offset, ProducerEpoch, ProducerId};
use millrace_wire::record::{BatchBuilder, BatchOptions, ProducerStamp};
use tokio::io::{AsyncWriteExt, DuplexStream};

/// The simulated wall clock at the start of a test.
pub(crate) const START_MS: i64 = 1_700_000_000_000;
/// Largest response that a test reads.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// A broker with settings changed as given.
pub(crate) async fn broker_with(settings: &[(&str, &str)]) -> BrokerHandle {
    broker_on(Arc::new(SimDisk::new()), settings).await
}

/// A broker with all defaults.
pub(crate) async fn broker() -> BrokerHandle {
    broker_with(&[]).await
}

/// A broker on a disk that may have been used before.
pub(crate) async fn broker_on(disk: Arc<SimDisk>, settings: &[(&str, &str)]) -> BrokerHandle {
    let mut config = Config::new();
    config.set("log.dirs", "/data").unwrap();
    for (name, value) in settings {
        config.set(name, value).unwrap();
    }
    Broker::start(config, Env::simulated(disk, 7, START_MS)).await.unwrap()
}

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: DuplexStream,
    next: i32,
}

impl Client {
    /// Connects.
    pub(crate) fn new(broker: &BrokerHandle) -> Self {
        Self { stream: broker.connect(), next: 0 }
    }

    /// Sends a request; its correlation id.
    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.next += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.next)
            .with_client_id(Some(StrBytes::from_static_str("test")));
        let mut body = BytesMut::new();
        header.encode(&mut body, R::header_version(version)).unwrap();
        request.encode(&mut body, version).unwrap();
        self.send_raw(&body).await;
        self.next
    }

    /// Sends a frame.
    pub(crate) async fn send_raw(&mut self, frame: &[u8]) {
        let mut bytes = BytesMut::new();
        bytes.put_i32(frame.len() as i32);
        bytes.put_slice(frame);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next response's bytes; none if the broker closed the connection.
    pub(crate) async fn receive_raw(&mut self) -> Option<Bytes> {
        read_frame(&mut self.stream, FRAME_BYTES_MAX).await.ok().flatten()
    }

    /// The next response, to a request of type `R`; its correlation id too.
    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        let mut frame = self.receive_raw().await.expect("the broker closed the connection");
        let header_version = match ApiKey::try_from(R::KEY).unwrap() {
            ApiKey::ApiVersions => 0,
            _ => <R::Response as HeaderVersion>::header_version(version),
        };
        let header = ResponseHeader::decode(&mut frame, header_version).unwrap();
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert!(frame.is_empty(), "{} bytes follow the response", frame.len());
        (header.correlation_id, response)
    }

    /// Sends a request and waits for its response.
    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: R) -> R::Response {
        let sent = self.send(version, &request).await;
        let (received, response) = self.receive::<R>(version).await;
        assert_eq!(sent, received);
        response
    }
}

/// A topic's name.
pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// Text.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A batch of these values, without keys, stamped with the start of the test.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    build(BatchOptions::default(), values, START_MS)
}

/// A batch of an idempotent producer.
pub(crate) fn idempotent(id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    let producer = ProducerStamp { id: ProducerId(id), epoch: ProducerEpoch(epoch), base_sequence: sequence };
    build(BatchOptions { producer: Some(producer), ..BatchOptions::default() }, values, START_MS)
}

/// A batch with these options and timestamp.
pub(crate) fn build(options: BatchOptions, values: &[&str], timestamp_ms: i64) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder.push(timestamp_ms, None, Some(value.as_bytes()), []).unwrap();
    }
    builder.build(Offset(0)).unwrap()
}
