//! Variable-length integers: seven bits per byte, lowest group first, the top bit says "more follows".
//!
//! Records use the zigzag form (small negative numbers stay short); the flexible message versions of KIP-482 use
//! the unsigned form. A decoder never reads past its input and refuses numbers that do not fit their type.

/// Longest encoding of a 32-bit number.
pub const MAX_LEN_32: usize = 5;
/// Longest encoding of a 64-bit number.
pub const MAX_LEN_64: usize = 10;

/// Why bytes are not a variable-length integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The input ended inside the number.
    #[error("input ends inside a variable-length integer")]
    Truncated,
    /// The number needs more bits than its type has.
    #[error("variable-length integer is larger than its type")]
    Overflow,
}

/// Reads an unsigned 32-bit number off the front of `input`.
pub fn read_u32(input: &mut &[u8]) -> Result<u32, Error> {
    let value = read(input, MAX_LEN_32)?;
    u32::try_from(value).map_err(|_| Error::Overflow)
}

/// Reads an unsigned 64-bit number off the front of `input`.
pub fn read_u64(input: &mut &[u8]) -> Result<u64, Error> {
    read(input, MAX_LEN_64)
}

/// Reads a zigzag 32-bit number off the front of `input`.
pub fn read_i32(input: &mut &[u8]) -> Result<i32, Error> {
    // Most numbers in a record (lengths, deltas) take one byte.
    if let [first, rest @ ..] = *input
        && *first < 0x80
    {
        *input = rest;
        return Ok(unzigzag_32(u32::from(*first)));
    }
    read_u32(input).map(unzigzag_32)
}

/// Reads a zigzag 64-bit number off the front of `input`.
pub fn read_i64(input: &mut &[u8]) -> Result<i64, Error> {
    if let [first, rest @ ..] = *input
        && *first < 0x80
    {
        *input = rest;
        return Ok(unzigzag_64(u64::from(*first)));
    }
    read_u64(input).map(unzigzag_64)
}

/// Appends an unsigned number.
pub fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a zigzag 32-bit number.
#[inline]
pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_u64(out, u64::from(zigzag_32(value)));
}

/// Appends a zigzag 64-bit number.
#[inline]
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    write_u64(out, zigzag_64(value));
}

/// Bytes that [`write_u64`] appends.
#[inline]
pub fn len_u64(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Bytes that [`write_i32`] appends.
#[inline]
pub fn len_i32(value: i32) -> usize {
    len_u64(u64::from(zigzag_32(value)))
}

/// Bytes that [`write_i64`] appends.
#[inline]
pub fn len_i64(value: i64) -> usize {
    len_u64(zigzag_64(value))
}

fn read(input: &mut &[u8], max_len: usize) -> Result<u64, Error> {
    let mut value = 0u64;
    for (index, byte) in input.iter().take(max_len).enumerate() {
        let group = u64::from(byte & 0x7f);
        // The tenth byte of a 64-bit number has room for one bit only.
        if index == MAX_LEN_64 - 1 && group > 1 {
            return Err(Error::Overflow);
        }
        value |= group << (7 * index);
        if byte & 0x80 == 0 {
            *input = &input[index + 1..];
            return Ok(value);
        }
    }
    if input.len() < max_len { Err(Error::Truncated) } else { Err(Error::Overflow) }
}

#[inline]
fn zigzag_32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

#[inline]
fn zigzag_64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
fn unzigzag_32(value: u32) -> i32 {
    ((value >> 1) as i32) ^ -((value & 1) as i32)
}

#[inline]
fn unzigzag_64(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(a: i32, b: i64, c: u64, shift in 0u32..64) {
            let (b, c) = (b >> shift, c >> shift);
            let mut out = Vec::new();
            write_i32(&mut out, a);
            write_i64(&mut out, b);
            write_u64(&mut out, c);
            prop_assert_eq!(out.len(), len_i32(a) + len_i64(b) + len_u64(c));
            let mut input = out.as_slice();
            prop_assert_eq!(read_i32(&mut input), Ok(a));
            prop_assert_eq!(read_i64(&mut input), Ok(b));
            prop_assert_eq!(read_u64(&mut input), Ok(c));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>) {
            let mut input = bytes.as_slice();
            while read_i64(&mut input).is_ok() {}
            let mut input = bytes.as_slice();
            while read_i32(&mut input).is_ok() {}
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        assert_eq!(read_u32(&mut [0xff, 0xff, 0xff, 0xff, 0x0f].as_slice()), Ok(u32::MAX));
        assert_eq!(read_u32(&mut [0xff, 0xff, 0xff, 0xff, 0x1f].as_slice()), Err(Error::Overflow));
        assert_eq!(read_u32(&mut [0x80; 5].as_slice()), Err(Error::Overflow));
        assert_eq!(read_u32(&mut [0x80; 4].as_slice()), Err(Error::Truncated));
        let mut ten = [0xff; 10];
        ten[9] = 0x01;
        assert_eq!(read_u64(&mut ten.as_slice()), Ok(u64::MAX));
        ten[9] = 0x02;
        assert_eq!(read_u64(&mut ten.as_slice()), Err(Error::Overflow));
    }
}
