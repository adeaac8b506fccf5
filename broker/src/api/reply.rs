//! Responses to frames: length, header, body in one allocation of the right size.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Encodable, StrBytes};
use millrace_wire::frame::Frame;
use millrace_wire::guard;
use tracing::{debug, error};

use super::{Answer, Reply, RequestContext};

/// Bytes of length, correlation id and (from header version 1 on) an empty list of tagged fields.
pub(super) const HEADER_BYTES: usize = 4 + 4 + 1;

/// The version of the response's header. ApiVersions always has 0: its reader doesn't know yet what we speak.
fn header_version(context: &RequestContext) -> i16 {
    match context.api_key {
        ApiKey::ApiVersions => 0,
        key => key.response_header_version(context.version),
    }
}

/// Writes a response's header; `body_bytes` follow it.
pub(super) fn put_header(context: &RequestContext, body_bytes: usize, out: &mut BytesMut) {
    let flexible = header_version(context) >= 1;
    let length = 4 + usize::from(flexible) + body_bytes;
    // A response is far smaller than 2 GiB: Fetch is bounded by fetch.max.bytes and one batch.
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    out.put_i32(context.correlation_id);
    if flexible {
        out.put_u8(0);
    }
}

/// The frame of a response in the request's version.
pub(super) fn encode<R: Encodable>(context: &RequestContext, response: &R) -> Reply {
    encode_as(context, response, context.version)
}

/// The frame of a response in a given version.
pub(super) fn encode_as<R: Encodable>(context: &RequestContext, response: &R, version: i16) -> Reply {
    let encoded = response.compute_size(version).and_then(|bytes| {
        let mut out = BytesMut::with_capacity(HEADER_BYTES + bytes);
        put_header(context, bytes, &mut out);
        let body_at = out.len();
        response.encode(&mut out, version)?;
        count_errors(context, version, &out[body_at..]);
        Ok(out.freeze())
    });
    match encoded {
        Ok(bytes) => Answer::Frame(Frame { parts: [bytes].into() }, None).into(),
        Err(reason) => {
            // Only a field set that the version doesn't have, which a test over all versions would show.
            error!(api = ?context.api_key, version, error = %reason, "a response cannot be encoded");
            Answer::Close.into()
        }
    }
}

/// Counts the error codes that stand in a response's body.
fn count_errors(context: &RequestContext, version: i16, body: &[u8]) {
    let mut count = |code| context.broker.metrics.error(context.api_key, code);
    if let Err(error) = guard::error_codes(context.api_key as i16, version, body, &mut count) {
        // The table of fields lacks something: what was counted is not complete, the response is as good as ever.
        debug!(%error, "a response's error codes cannot be counted");
    }
}

/// A text of our own for a response.
pub(super) fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}
