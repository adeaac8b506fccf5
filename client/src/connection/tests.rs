//! A connection against a scripted broker at the other end of a pipe.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsResponse, HeartbeatRequest, HeartbeatResponse, ResponseHeader};
use millrace_wire::guard::RequestHeader as Asked;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::*;

struct Script {
    reader: FrameReader<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
}

impl Script {
    async fn asked(&mut self) -> Asked {
        let frame = self.reader.next().await.unwrap().unwrap();
        let (header, body) = guard::request_header(&frame).unwrap();
        guard::request(header.api_key, header.api_version, &body).unwrap();
        header
    }

    async fn answer<M: Encodable + HeaderVersion>(&mut self, asked: &Asked, message: &M, version: i16) {
        let mut bytes = BytesMut::new();
        let header = ResponseHeader::default().with_correlation_id(asked.correlation_id);
        header.encode(&mut bytes, M::header_version(version)).unwrap();
        message.encode(&mut bytes, version).unwrap();
        write_frames(&mut self.writer, [Frame::new([bytes.freeze()])]).await.unwrap();
    }

    async fn answer_versions(&mut self) {
        let asked = self.asked().await;
        let range = |key, min, max| {
            ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max)
        };
        let keys = vec![range(18, 0, 3), range(12, 0, 4)];
        self.answer(&asked, &ApiVersionsResponse::default().with_api_keys(keys), asked.api_version).await;
    }

    async fn heartbeat(&mut self, asked: &Asked, code: i16) {
        self.answer(asked, &HeartbeatResponse::default().with_error_code(code), asked.api_version).await;
    }
}

fn pipe() -> (Box<dyn Stream>, Script) {
    let (near, far) = duplex(1 << 16);
    let (read, writer) = split(far);
    (Box::new(near), Script { reader: FrameReader::new(read, 1 << 20), writer })
}

fn config() -> ConnectionConfig {
    ConnectionConfig {
        client_id: StrBytes::from_static_str("test"),
        request_timeout: Duration::from_secs(5),
        max_response_bytes: 1 << 20,
    }
}

async fn connected() -> (Arc<Connection>, Script) {
    let (stream, mut script) = pipe();
    let (connection, ()) =
        tokio::join!(Connection::start(stream, "b:1".into(), config()), script.answer_versions());
    (Arc::new(connection.unwrap()), script)
}

fn beat(connection: &Arc<Connection>) -> tokio::task::JoinHandle<Result<i16>> {
    let connection = connection.clone();
    tokio::spawn(async move { Ok(connection.request(&HeartbeatRequest::default()).await?.error_code) })
}

#[tokio::test]
async fn requests_are_pipelined_and_answers_find_their_askers() {
    let (connection, mut script) = connected().await;
    let beats: Vec<_> = (0..20).map(|_| beat(&connection)).collect();
    let mut asked = Vec::new();
    for _ in 0..20 {
        asked.push(script.asked().await);
    }
    // None was answered before all had been sent; the ids say who is who.
    let first = asked[0].correlation_id;
    for asked in &asked {
        script.heartbeat(asked, (asked.correlation_id - first) as i16).await;
    }
    for (index, beat) in beats.into_iter().enumerate() {
        assert_eq!(beat.await.unwrap().unwrap(), index as i16);
    }
}

#[tokio::test]
async fn a_broker_that_is_too_old_for_the_question_is_asked_again() {
    let (stream, mut script) = pipe();
    let (connection, ()) = tokio::join!(Connection::start(stream, "b:1".into(), config()), async {
        let asked = script.asked().await;
        assert_eq!(asked.api_version, 3);
        let refusal =
            ApiVersionsResponse::default().with_error_code(ResponseError::UnsupportedVersion.code());
        script.answer(&asked, &refusal, 0).await;
        let asked = script.asked().await;
        assert_eq!(asked.api_version, 0);
        script.answer(&asked, &ApiVersionsResponse::default(), 0).await;
    });
    let error = connection.unwrap().version_of::<HeartbeatRequest>().unwrap_err();
    assert_eq!(error.to_string(), "broker b:1 does not support Heartbeat in any version from 0 to 4");
}

#[tokio::test]
async fn an_answer_out_of_order_ends_the_connection() {
    let (connection, mut script) = connected().await;
    let beat = beat(&connection);
    let mut asked = script.asked().await;
    asked.correlation_id += 1;
    script.heartbeat(&asked, 0).await;
    let error = beat.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "broker b:1 sent a malformed response: a response to another request");
    tokio::task::yield_now().await;
    assert!(connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_silent_broker_costs_a_timeout_and_the_connection() {
    let (connection, mut script) = connected().await;
    let started = Instant::now();
    let (first, second) = (beat(&connection), beat(&connection));
    script.asked().await;
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "Heartbeat to broker b:1 timed out after 5000 ms");
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert!(connection.is_closed());
    assert!(second.await.unwrap().unwrap_err().is_retriable());
}

#[tokio::test]
async fn a_lying_response_is_refused() {
    let (connection, mut script) = connected().await;
    let beat = beat(&connection);
    let asked = script.asked().await;
    // A flexible body whose tagged fields claim 4 GiB.
    let mut bytes = BytesMut::new();
    bytes.extend_from_slice(&asked.correlation_id.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    write_frames(&mut script.writer, [Frame::new([bytes.freeze()])]).await.unwrap();
    let error = beat.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("Heartbeat v4 is malformed: tagged fields"), "{error}");
}

#[tokio::test]
async fn a_closed_stream_reaches_all_who_wait() {
    let (connection, mut script) = connected().await;
    let beats: Vec<_> = (0..3).map(|_| beat(&connection)).collect();
    script.asked().await;
    script.writer.shutdown().await.unwrap();
    drop(script);
    for beat in beats {
        let error = beat.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Disconnected { .. }), "{error}");
    }
    assert!(connection.is_closed());
}

#[tokio::test]
async fn a_frame_above_the_limit_is_not_read() {
    let (connection, mut script) = connected().await;
    let beat = beat(&connection);
    script.asked().await;
    script.writer.write_all(&i32::MAX.to_be_bytes()).await.unwrap();
    let error = beat.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("larger than the limit of 1048576"), "{error}");
}
