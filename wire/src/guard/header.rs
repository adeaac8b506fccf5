//! The header in front of every request (versions 1 and 2), read without trusting it.
//!
//! Version 2, of flexible requests, adds tagged fields at the end; the client id stays a string with a 16-bit length in
//! both. A key or version that is not in the table is still told, so that the caller can answer it (ApiVersions) or name
//! it in a log.

use bytes::Bytes;

use super::{Error, Fault, REQUESTS};
use crate::varint;

/// Who asks what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API.
    pub api_key: i16,
    /// Which version of it.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// What the client calls itself; `None` for null or not UTF-8.
    pub client_id: Option<Bytes>,
}

/// Splits a frame (without its length) into header and body. Does not check the body: [`super::request`] does.
///
/// For a key or version that is not in the table the body's place is not known for sure: it is what follows the client
/// id, tagged fields included.
pub fn request_header(frame: &Bytes) -> Result<(RequestHeader, Bytes), Error> {
    let truncated = |need: usize, have: usize| Error::Header(Fault::Truncated { need, have });
    let Some((fixed, mut rest)) = frame.split_first_chunk::<10>() else {
        return Err(truncated(10, frame.len()));
    };
    let [k0, k1, v0, v1, c0, c1, c2, c3, l0, l1] = *fixed;
    let api_key = i16::from_be_bytes([k0, k1]);
    let api_version = i16::from_be_bytes([v0, v1]);
    let correlation_id = i32::from_be_bytes([c0, c1, c2, c3]);
    let client_id = match i16::from_be_bytes([l0, l1]) {
        -1 => None,
        len => {
            let bad = Error::Header(Fault::Length { len: i64::from(len), have: rest.len() });
            let (id, after) =
                usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len)).ok_or(bad)?;
            rest = after;
            std::str::from_utf8(id).is_ok().then(|| frame.slice_ref(id))
        }
    };
    let known = REQUESTS.get(api_key).filter(|message| message.versions.contains(&api_version));
    if known.is_some_and(|message| message.is_flexible(api_version)) {
        skip_tagged_fields(&mut rest).map_err(Error::Header)?;
    }
    let header = RequestHeader { api_key, api_version, correlation_id, client_id };
    Ok((header, frame.slice_ref(rest)))
}

fn skip_tagged_fields(rest: &mut &[u8]) -> Result<(), Fault> {
    for _ in 0..varint::read_u32(rest)? {
        varint::read_u32(rest)?;
        let size = varint::read_u32(rest)?;
        let fault = Fault::Length { len: i64::from(size), have: rest.len() };
        *rest = rest.get(size as usize..).ok_or(fault)?;
    }
    Ok(())
}
