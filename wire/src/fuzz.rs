//! Entry points for fuzzers and for whoever wants the whole way from bytes to messages in one call.
//!
//! Each does what a broker or a client does with bytes from a socket, and must neither panic nor reserve memory out of
//! proportion, whatever the bytes.

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};

use crate::{batch, guard, record};

/// Most bytes that a fuzzed batch may unpack to.
const MAX_UNCOMPRESSED: usize = 1 << 20;

/// A request frame (without its length): header, guard, decoding by the crate.
pub fn fuzz_frame(data: &[u8]) {
    let Ok((header, mut body)) = guard::request_header(&Bytes::copy_from_slice(data)) else { return };
    let Ok(extra) = guard::request(header.api_key, header.api_version, &body) else { return };
    let api = ApiKey::try_from(header.api_key).expect("the guard's keys are the crate's");
    if let Ok(request) = RequestKind::decode(api, &mut body, header.api_version) {
        assert_eq!(body.len(), extra, "{api:?} v{}: the guard and the crate disagree", header.api_version);
        if let RequestKind::Produce(produce) = request {
            let partitions = produce.topic_data.into_iter().flat_map(|topic| topic.partition_data);
            partitions.filter_map(|partition| partition.records).for_each(|records| fuzz_batches(&records));
        }
    }
}

/// A response: two bytes of key, two of version, then the body.
pub fn fuzz_response(data: &[u8]) {
    let Some(([k0, k1, v0, v1], body)) = data.split_first_chunk::<4>() else { return };
    let (key, version) = (i16::from_be_bytes([*k0, *k1]), i16::from_be_bytes([*v0, *v1]));
    if guard::response(key, version, body).is_err() {
        return;
    }
    let api = ApiKey::try_from(key).expect("the guard's keys are the crate's");
    let mut body = Bytes::copy_from_slice(body);
    if ResponseKind::decode(api, &mut body, version).is_ok() {
        assert!(body.is_empty(), "{api:?} v{version}: the guard and the crate disagree");
    }
}

/// Record batches back to back.
pub fn fuzz_batches(data: &[u8]) {
    for batch in batch::split(Bytes::copy_from_slice(data)).flatten() {
        let _ = batch.verify_crc();
        if let Ok(records) = record::decode(&batch, MAX_UNCOMPRESSED) {
            for record in records.flatten() {
                let _ = record::ControlRecord::parse(&record);
            }
        }
    }
}
