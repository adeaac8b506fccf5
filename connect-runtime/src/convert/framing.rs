//! Confluent's wire format: a zero byte, the schema's id in four bytes, then the record; for Protobuf a path to the message in
//! between.
//!
//! Source: docs.confluent.io, "Wire format" of the schema registry's serializers.

use super::Bad;

/// The first byte.
const MAGIC: u8 = 0;
/// Deepest nesting of a Protobuf message within others.
const INDEXES_MAX: usize = 64;

/// The id of a record's schema, and what follows.
pub(super) fn split(bytes: &[u8]) -> Result<(u32, &[u8]), Bad> {
    match bytes.split_first_chunk::<5>() {
        Some((&[MAGIC, a, b, c, d], rest)) => Ok((u32::from_be_bytes([a, b, c, d]), rest)),
        Some(([first, ..], _)) => Err(Bad::new(format!(
            "it begins with byte {first} instead of 0: it was not written with a schema registry"
        ))),
        None => Err(Bad::new(format!("{} bytes are too few for a record with a schema's id", bytes.len()))),
    }
}

/// Begins a record.
pub(super) fn begin(id: u32, out: &mut Vec<u8>) {
    out.push(MAGIC);
    out.extend_from_slice(&id.to_be_bytes());
}

/// The path to a Protobuf message, and what follows.
pub(super) fn indexes(bytes: &[u8]) -> Result<(Vec<usize>, &[u8]), Bad> {
    let mut rest = bytes;
    let count = number(&mut rest)?;
    // One byte for the usual case, the first message.
    if count == 0 {
        return Ok((vec![0], rest));
    }
    if count > INDEXES_MAX {
        return Err(Bad::new(format!("a message nested {count} levels")));
    }
    let indexes: Result<Vec<usize>, Bad> = (0..count).map(|_| number(&mut rest)).collect();
    Ok((indexes?, rest))
}

/// Writes the path to a Protobuf message.
pub(super) fn put_indexes(indexes: &[usize], out: &mut Vec<u8>) {
    if indexes == [0] {
        return out.push(0);
    }
    put_number(indexes.len(), out);
    indexes.iter().for_each(|index| put_number(*index, out));
}

fn number(bytes: &mut &[u8]) -> Result<usize, Bad> {
    let value = super::varint(bytes)?;
    usize::try_from(super::unzigzag(value)).map_err(|_| Bad::new("a negative message index"))
}

fn put_number(number: usize, out: &mut Vec<u8>) {
    super::put_varint(super::zigzag(number as i64), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        begin(0x0102_0304, &mut out);
        assert_eq!(out, [0, 1, 2, 3, 4]);
        out.push(9);
        assert_eq!(split(&out).unwrap(), (0x0102_0304, &[9][..]));
        for path in [vec![0], vec![1], vec![2, 0, 5]] {
            let mut out = Vec::new();
            put_indexes(&path, &mut out);
            out.push(7);
            assert_eq!(indexes(&out).unwrap(), (path, &[7][..]));
        }
        // As Confluent's documentation gives it: [1, 0] is 4, 2, 0.
        let mut out = Vec::new();
        put_indexes(&[1, 0], &mut out);
        assert_eq!(out, [4, 2, 0]);
        for bad in [&[][..], &[0, 0, 0, 1], b"{\"a\":1}"] {
            assert!(split(bad).is_err());
        }
        for bad in [&[][..], &[4, 2], &[1], &[0xff; 12], &[0xfe, 0xff, 0xff, 0x0f]] {
            assert!(indexes(bad).is_err(), "{bad:?}");
        }
    }
}
