//! gzip (RFC 1952): a header, deflate, a checksum; and perhaps another member behind that. The header is read here, since it may come in
//! pieces; the rest is `flate2`'s, in its Rust implementation.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{Damage, STEP_BYTES, Step};

/// Longest header: a name and a comment are texts of any length.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// Checksum and length.
const TRAILER_BYTES: usize = 8;

const HAS_CRC: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// Where it stands within a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before a header; there may be none.
    #[default]
    Header,
    Body,
    Trailer,
}

/// A decompressor.
#[derive(Debug)]
pub struct Gzip {
    at: At,
    inflate: Decompress,
    crc: Crc,
    members: u64,
}

impl Default for Gzip {
    fn default() -> Self {
        Self { at: At::default(), inflate: Decompress::new(false), crc: Crc::new(), members: 0 }
    }
}

impl Gzip {
    /// See [`super::Unpack::step`].
    pub fn step(&mut self, packed: &[u8], last: bool, out: &mut Vec<u8>) -> Result<Step, Damage> {
        let cut_off = || Damage::new(packed.len(), "the gzip stream is cut off");
        match self.at {
            At::Header if packed.is_empty() => Ok(Step { taken: 0, more: false }),
            // Tapes and some tools fill up with zeros.
            At::Header if self.members > 0 && packed[0] == 0 => {
                let zeros = packed.iter().take_while(|byte| **byte == 0).count();
                Ok(Step { taken: zeros, more: zeros < packed.len() })
            }
            At::Header => {
                let seen = &packed[..packed.len().min(HEADER_BYTES_MAX)];
                match header(seen).map_err(|why| Damage::new(0, why))? {
                    Some(taken) => {
                        self.at = At::Body;
                        Ok(Step { taken, more: true })
                    }
                    None if last => Err(cut_off()),
                    None if seen.len() == HEADER_BYTES_MAX => {
                        Err(Damage::new(0, format!("a gzip header of more than {HEADER_BYTES_MAX} bytes")))
                    }
                    None => Ok(Step { taken: 0, more: false }),
                }
            }
            At::Body => {
                let (before, start) = (self.inflate.total_in(), out.len());
                out.reserve(STEP_BYTES);
                // It writes into what was reserved, and no further.
                let status = self.inflate.decompress_vec(packed, out, FlushDecompress::None);
                let taken = usize::try_from(self.inflate.total_in() - before).unwrap_or(packed.len());
                let status = status
                    .map_err(|error| Damage::new(taken, format!("the gzip stream is damaged: {error}")))?;
                self.crc.update(&out[start..]);
                let is_stuck = taken == 0 && out.len() == start;
                match status {
                    Status::StreamEnd => self.at = At::Trailer,
                    Status::Ok | Status::BufError if is_stuck && last => return Err(cut_off()),
                    Status::Ok | Status::BufError => {}
                }
                Ok(Step { taken, more: !is_stuck })
            }
            At::Trailer => {
                let Some((trailer, _)) = packed.split_first_chunk::<TRAILER_BYTES>() else {
                    return if last { Err(cut_off()) } else { Ok(Step { taken: 0, more: false }) };
                };
                let [a, b, c, d, e, f, g, h] = *trailer;
                let (crc, length) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
                if (crc, length) != (self.crc.sum(), self.crc.amount()) {
                    return Err(Damage::new(0, "the gzip stream is damaged: its checksum is another one"));
                }
                let members = self.members + 1;
                *self = Self { members, ..Self::default() };
                Ok(Step { taken: TRAILER_BYTES, more: true })
            }
        }
    }
}

/// Length of the header at the front; none: it is not whole.
fn header(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let not_gzip = || "it is not compressed with gzip";
    let magic = [0x1f, 0x8b, 8];
    if bytes.iter().zip(magic).any(|(byte, wanted)| *byte != wanted) {
        return Err(not_gzip());
    }
    let Some(flags) = bytes.get(3).copied() else { return Ok(None) };
    if flags & RESERVED != 0 {
        return Err(not_gzip());
    }
    let mut at = 10;
    if flags & HAS_EXTRA != 0 {
        let Some([low, high]) = bytes.get(at..at + 2) else { return Ok(None) };
        at += 2 + usize::from(u16::from_le_bytes([*low, *high]));
    }
    for text in [HAS_NAME, HAS_COMMENT] {
        if flags & text != 0 {
            let Some(rest) = bytes.get(at..) else { return Ok(None) };
            let Some(end) = memchr::memchr(0, rest) else { return Ok(None) };
            at += end + 1;
        }
    }
    if flags & HAS_CRC != 0 {
        at += 2;
    }
    Ok((at <= bytes.len()).then_some(at))
}
