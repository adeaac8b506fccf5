//! The tables are exact: a body made from a table decodes with the crate to the last byte, what the crate then encodes
//! passes the guard, and every length in it, when it lies, is caught.

mod sample;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use proptest::prelude::*;

use self::sample::sample;
use super::schema::Message;
use super::*;

const SAMPLES_PER_VERSION: u64 = 12;

#[derive(Clone, Copy)]
enum Direction {
    Request,
    Response,
}

impl Direction {
    fn messages(self) -> &'static Messages {
        match self {
            Self::Request => &REQUESTS,
            Self::Response => &RESPONSES,
        }
    }

    /// Bytes after the last field count as wrong here: they would hide a field that the table lacks.
    fn check(self, key: i16, version: i16, body: &[u8]) -> Result<(), Error> {
        match self {
            Self::Request => match request(key, version, body)? {
                0 => Ok(()),
                extra => Err(Error::TrailingBytes { message: "request", version, extra }),
            },
            Self::Response => response(key, version, body),
        }
    }

    /// Decodes and encodes again; gives the number of bytes that were left and the new encoding.
    fn through_the_crate(self, key: i16, version: i16, body: &[u8]) -> anyhow::Result<(usize, Bytes)> {
        let api = ApiKey::try_from(key).unwrap();
        let (mut input, mut output) = (Bytes::copy_from_slice(body), BytesMut::new());
        match self {
            Self::Request => RequestKind::decode(api, &mut input, version)?.encode(&mut output, version)?,
            Self::Response => ResponseKind::decode(api, &mut input, version)?.encode(&mut output, version)?,
        }
        Ok((input.len(), output.freeze()))
    }
}

/// Every version of every message, in both directions.
fn each_version(mut visit: impl FnMut(Direction, &Message, i16)) {
    for direction in [Direction::Request, Direction::Response] {
        for message in direction.messages().iter() {
            for version in message.versions.clone() {
                visit(direction, message, version);
            }
        }
    }
}

#[test]
fn tables_agree_with_the_crate_in_all_versions() {
    let mut versions = 0;
    each_version(|direction, message, version| {
        versions += 1;
        for seed in 0..SAMPLES_PER_VERSION {
            let body = sample(message, version, seed).bytes;
            let what = format!("{} v{version} seed {seed}", message.name);
            direction.check(message.key, version, &body).unwrap_or_else(|e| panic!("{what}: {e}"));
            let through = |body| direction.through_the_crate(message.key, version, body);
            let (left, again) = through(&body).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(left, 0, "{what}: the crate leaves bytes");
            direction.check(message.key, version, &again).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(through(&again).unwrap(), (0, again), "{what}: not stable");
        }
    });
    assert!(versions > 400, "only {versions} versions were looked at");
}

#[test]
fn every_lying_length_is_caught() {
    each_version(|direction, message, version| {
        for lie in sample(message, version, 3).lies() {
            let caught = direction.check(message.key, version, &lie).is_err();
            assert!(caught, "{} v{version}: a length of 2 GiB or below null passed", message.name);
        }
    });
}

#[test]
fn every_truncation_is_caught() {
    each_version(|direction, message, version| {
        let body = sample(message, version, 5).bytes;
        for end in 0..body.len() {
            assert!(
                direction.check(message.key, version, &body[..end]).is_err(),
                "{} v{version}",
                message.name
            );
        }
        let longer = [&body[..], &[0]].concat();
        assert!(direction.check(message.key, version, &longer).is_err(), "{} v{version}", message.name);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What the guard lets through never makes the crate panic or reserve beyond the frame (a test process that asks
    /// for gigabytes is killed, as the broker would be).
    #[test]
    fn what_passes_is_safe_to_decode(
        which: prop::sample::Index,
        seed in 0u64..50,
        at: prop::sample::Index,
        with: u8,
        as_response: bool,
    ) {
        let direction = if as_response { Direction::Response } else { Direction::Request };
        let messages: Vec<_> = direction.messages().iter().collect();
        let message = which.get(&messages);
        for version in message.versions.clone() {
            let mut body = sample(message, version, seed).bytes;
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = with;
            }
            if direction.check(message.key, version, &body).is_ok() {
                let _ = direction.through_the_crate(message.key, version, &body);
            }
        }
    }

    #[test]
    fn arbitrary_bodies_never_panic(key in 0i16..80, version in 0i16..19, body: Vec<u8>) {
        for direction in [Direction::Request, Direction::Response] {
            if direction.check(key, version, &body).is_ok() {
                let _ = direction.through_the_crate(key, version, &body);
            }
        }
    }

    #[test]
    fn arbitrary_frames_never_panic(key in 0i16..80, version in 0i16..19, rest: Vec<u8>) {
        let frame = [&key.to_be_bytes()[..], &version.to_be_bytes(), &rest].concat();
        crate::fuzz::fuzz_frame(&frame);
        crate::fuzz::fuzz_response(&frame);
        crate::fuzz::fuzz_batches(&rest);
    }
}

#[test]
fn bytes_after_a_request_are_passed_over() {
    // What librdkafka 2 sends for all topics: null, two booleans, no tags, and the rest of a count of four bytes.
    assert_eq!(request(3, 13, &[0, 0, 0, 0, 1, 0, 0]), Ok(3));
}

#[test]
fn the_fault_that_made_this_module_is_caught() {
    // Metadata v1 that claims 2^31 - 1 topics in four bytes: the crate alone asks for 150 GB and aborts.
    let error = request(3, 1, &i32::MAX.to_be_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Metadata v1 is malformed: topics at byte 4: a length of 2147483647 with 0 bytes left"
    );
}

#[test]
fn element_counts_are_limited() {
    // Two million empty topic names: small on the wire, large when decoded.
    let mut body = 2_000_000i32.to_be_bytes().to_vec();
    body.resize(4 + 2 * 2_000_000, 0);
    let error = request(3, 1, &body).unwrap_err();
    assert!(error.to_string().ends_with("more than 262144 array elements in one message"), "{error}");
}

#[test]
fn unknown_messages_are_named() {
    assert_eq!(request(999, 0, &[]).unwrap_err().to_string(), "api key 999 is not known");
    assert_eq!(request(-1, 0, &[]).unwrap_err().to_string(), "api key -1 is not known");
    let error = request(3, 99, &[]).unwrap_err();
    assert_eq!(error.to_string(), "Metadata has no version 99; known are 0 to 13");
}

#[test]
fn consumer_protocol_messages_are_walked_too() {
    use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
    use kafka_protocol::protocol::Decodable;
    for (kind, key) in [(Embedded::Subscription, 0), (Embedded::Assignment, 1)] {
        let message = EMBEDDED.get(key).unwrap();
        for version in 0..=3 {
            let sample = sample(message, version, 1);
            embedded(kind, version, &sample.bytes).unwrap();
            assert!(sample.lies().all(|lie| embedded(kind, version, &lie).is_err()));
            let mut input = Bytes::from(sample.bytes);
            match kind {
                Embedded::Subscription => {
                    ConsumerProtocolSubscription::decode(&mut input, version).map(drop).unwrap();
                }
                Embedded::Assignment => {
                    ConsumerProtocolAssignment::decode(&mut input, version).map(drop).unwrap();
                }
            }
            assert!(input.is_empty());
        }
    }
}

#[test]
fn headers_of_both_versions_are_split_off() {
    let frame = |version: i16, tail: &[u8]| {
        let fixed = [&3i16.to_be_bytes()[..], &version.to_be_bytes(), &7i32.to_be_bytes(), &[0, 2], b"me"];
        Bytes::from([&fixed.concat()[..], tail].concat())
    };
    let (header, body) = request_header(&frame(1, b"body")).unwrap();
    assert_eq!((header.api_key, header.api_version, header.correlation_id), (3, 1, 7));
    assert_eq!((header.client_id.as_deref(), &body[..]), (Some(&b"me"[..]), &b"body"[..]));
    // Flexible: one tagged field of three bytes before the body.
    let (_, body) = request_header(&frame(9, b"\x01\x05\x03abcbody")).unwrap();
    assert_eq!(&body[..], b"body");
    // A client id that is longer than the frame.
    let error = request_header(&Bytes::from_static(b"\0\x03\0\x01\0\0\0\x07\0\x09me")).unwrap_err();
    assert_eq!(error.to_string(), "request header is malformed: a length of 9 with 2 bytes left");
}

/// A tagged field that nobody knows costs two bytes on the wire and a map's entry in memory.
#[test]
fn unknown_tagged_fields_are_counted() {
    let metadata = ApiKey::Metadata as i16;
    let body = |count: usize| {
        // No topics, no flags, then the fields, each with its number and no content.
        let mut body = vec![1, 0, 0];
        crate::varint::write_u64(&mut body, count as u64);
        for tag in 0..count {
            crate::varint::write_u64(&mut body, tag as u64);
            body.push(0);
        }
        body
    };
    assert_eq!(request(metadata, 12, &body(1000)), Ok(0));
    let error = request(metadata, 12, &body(MAX_REQUEST_ELEMENTS + 1)).unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
}
