//! Two clusters that are asked the same, and what is allowed to differ between their answers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use crate::mask::Mask;
use millrace_tests::diff;

/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Longest wait for what a cluster does behind its answers.
const SETTLE_LIMIT: Duration = Duration::from_secs(8);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// One cluster, spoken to in frames.
pub(crate) struct Peer {
    address: String,
    stream: TcpStream,
    correlation_id: i32,
    mask: Mask,
    /// What this cluster gave out and is asked for later: topic ids, member ids, producer ids.
    pub(crate) noted: BTreeMap<String, String>,
}

impl Peer {
    pub(crate) fn connect(address: &str) -> Peer {
        let stream = connect(address);
        let (address, noted) = (address.to_owned(), BTreeMap::new());
        Peer { address, stream, correlation_id: 0, mask: Mask::default(), noted }
    }

    /// The answer; none if the connection is closed instead. The next request then has a new one.
    pub(crate) fn ask<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        self.correlation_id += 1;
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("differential")))
            .encode(&mut frame, R::header_version(version))
            .expect("a request header can be encoded");
        request
            .encode(&mut frame, version)
            .unwrap_or_else(|error| panic!("api key {} version {version}: {error}", R::KEY));
        let length = u32::try_from(frame.len() - 4).expect("a small frame");
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame).expect("the cluster reads");
        let Some(mut answer) = self.read_frame() else {
            self.stream = connect(&self.address);
            return None;
        };
        let header_version = match ApiKey::try_from(R::KEY) {
            Ok(ApiKey::ApiVersions) => 0,
            _ => <R::Response as HeaderVersion>::header_version(version),
        };
        let header = ResponseHeader::decode(&mut answer, header_version).expect("a response header");
        assert_eq!(header.correlation_id, self.correlation_id);
        let response = R::Response::decode(&mut answer, version).expect("a response");
        assert!(answer.is_empty(), "{} bytes follow the response of api key {}", answer.len(), R::KEY);
        Some(response)
    }

    fn read_frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let length = usize::try_from(i32::from_be_bytes(length)).ok()?;
        assert!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        Some(body.into())
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("a timeout can be set");
    stream.set_nodelay(true).expect("an option can be set");
    stream
}

/// Apache Kafka and Millrace.
pub(crate) struct Both {
    pub(crate) kafka: Peer,
    pub(crate) millrace: Peer,
    asked: u32,
    differences: Vec<String>,
}

impl Both {
    pub(crate) fn new(kafka: &str, millrace: &str) -> Both {
        let (kafka, millrace) = (Peer::connect(kafka), Peer::connect(millrace));
        Both { kafka, millrace, asked: 0, differences: Vec::new() }
    }

    /// Asks both in each of the versions and notes where the answers differ.
    pub(crate) fn same<R: Request>(
        &mut self,
        what: &str,
        versions: impl IntoIterator<Item = i16>,
        request: impl Fn(i16) -> R,
    ) where
        R::Response: std::fmt::Debug,
    {
        for version in versions {
            self.compare(what, version, |_| request(version), |_, _| ());
        }
    }

    /// Asks both once, each with what it gave out before, and lets `note` take what comes back.
    pub(crate) fn compare<R: Request>(
        &mut self,
        what: &str,
        version: i16,
        request: impl Fn(&Peer) -> R,
        note: impl Fn(&mut Peer, &R::Response),
    ) where
        R::Response: std::fmt::Debug,
    {
        self.asked += 1;
        let [kafka, millrace] = [&mut self.kafka, &mut self.millrace].map(|peer| {
            let request = request(peer);
            let answer = peer.ask(version, &request);
            if let Some(answer) = &answer {
                note(peer, answer);
            }
            answer.map_or_else(
                || "the connection is closed".to_owned(),
                |answer| peer.mask.shown(&format!("{answer:#?}\n")),
            )
        });
        if kafka != millrace {
            let api = ApiKey::try_from(R::KEY).expect("a known api");
            let difference = diff::lines(&kafka, &millrace);
            self.differences.push(format!("{what}, {api:?} v{version} (- Kafka, + Millrace):\n{difference}"));
        }
    }

    /// Asks both without comparing, as preparation or to wait for something.
    pub(crate) fn each(&mut self, mut act: impl FnMut(&mut Peer)) {
        act(&mut self.kafka);
        act(&mut self.millrace);
    }

    /// Waits until both say yes; who doesn't in time is a difference.
    pub(crate) fn until(&mut self, what: &str, mut ask: impl FnMut(&mut Peer) -> bool) {
        for (name, peer) in [("Apache Kafka", &mut self.kafka), ("Millrace", &mut self.millrace)] {
            let started = Instant::now();
            while !ask(peer) {
                if started.elapsed() > SETTLE_LIMIT {
                    self.differences.push(format!("{name}: waited {SETTLE_LIMIT:?} for {what}"));
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Fails with all differences.
    pub(crate) fn finish(self) {
        let (count, asked) = (self.differences.len(), self.asked);
        assert!(count == 0, "{count} of {asked} answers differ:\n\n{}", self.differences.join("\n"));
        println!("{asked} answers are the same");
    }
}
