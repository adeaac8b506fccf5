//! Zstandard (RFC 8878), by the crate `ruzstd`, which has no C in it. It decodes a frame block by block; that there may be several frames, some of
//! them to be passed over, and that a frame's checksum and length are compared, is done here.

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{Damage, STEP_BYTES, Step};
use crate::Trouble;

/// Largest window, which has to be held in memory: what `zstd` uses up to level 20. `--long` and `--ultra -22` take more.
const WINDOW_BYTES_MAX: u64 = 32 << 20;
/// Most of a frame's header.
const HEADER_BYTES_MAX: usize = 18;
/// A block's header, its content, and the checksum behind the last one.
const BLOCK_BYTES_MAX: usize = 3 + (128 << 10) + 4;

/// A decompressor.
pub struct Zstd {
    decoder: FrameDecoder,
    in_frame: bool,
    /// Of a frame to be passed over.
    skip: u64,
    /// Plain bytes of the frame so far.
    length: u64,
}

impl Default for Zstd {
    fn default() -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_BYTES_MAX);
        Self { decoder, in_frame: false, skip: 0, length: 0 }
    }
}

impl std::fmt::Debug for Zstd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zstd").field("in_frame", &self.in_frame).finish_non_exhaustive()
    }
}

impl Zstd {
    /// See [`super::Unpack::step`].
    pub fn step(&mut self, packed: &[u8], last: bool, out: &mut Vec<u8>) -> Result<Step, Damage> {
        if self.skip > 0 {
            let taken = packed.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            if taken == 0 && last {
                return Err(cut_off(packed));
            }
            self.skip -= taken as u64;
            return Ok(Step { taken, more: taken > 0 });
        }
        if !self.in_frame {
            return self.begin(packed, last);
        }
        // A block that is not there as a whole waits for its rest.
        if !last && packed.len() < BLOCK_BYTES_MAX {
            return Ok(Step { taken: 0, more: false });
        }
        self.blocks(packed, last, out)
    }

    /// At the start of a frame, or the end of the file.
    fn begin(&mut self, packed: &[u8], last: bool) -> Result<Step, Damage> {
        if packed.is_empty() || (!last && packed.len() < HEADER_BYTES_MAX) {
            return Ok(Step { taken: 0, more: false });
        }
        let mut rest = packed;
        match self.decoder.reset(&mut rest) {
            Ok(()) => self.in_frame = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => self.skip = u64::from(length),
            Err(FrameDecoderError::WindowSizeTooBig { requested, .. }) => return Err(too_wide(requested)),
            Err(_) if last && packed.len() < HEADER_BYTES_MAX => return Err(cut_off(packed)),
            Err(error) => return Err(Damage::new(0, format!("it is not compressed with zstd: {error}"))),
        }
        self.length = 0;
        Ok(Step { taken: packed.len() - rest.len(), more: true })
    }

    fn blocks(&mut self, packed: &[u8], last: bool, out: &mut Vec<u8>) -> Result<Step, Damage> {
        let damaged = |at: usize, why: &dyn std::fmt::Display| {
            Damage::new(at, format!("the zstd stream is damaged: {why}"))
        };
        let (mut rest, start) = (packed, out.len());
        while out.len() - start < STEP_BYTES && (last || rest.len() >= BLOCK_BYTES_MAX) {
            let at = packed.len() - rest.len();
            let decoded = self.decoder.decode_blocks(&mut rest, BlockDecodingStrategy::UptoBlocks(1));
            decoded.map_err(|error| if rest.is_empty() { cut_off(packed) } else { damaged(at, &error) })?;
            let before = out.len();
            let drained = self.decoder.collect_to_writer(&mut *out).map_err(|error| damaged(at, &error))?;
            debug_assert_eq!(drained, out.len() - before);
            self.length += drained as u64;
            if self.decoder.is_finished() {
                self.in_frame = false;
                let told = self.decoder.content_size();
                let checksum = self.decoder.get_checksum_from_data();
                if checksum.is_some() && checksum != self.decoder.get_calculated_checksum() {
                    return Err(damaged(packed.len() - rest.len(), &"its checksum is another one"));
                }
                if told != 0 && told != self.length {
                    return Err(damaged(packed.len() - rest.len(), &"its length is another one"));
                }
                break;
            }
        }
        let taken = packed.len() - rest.len();
        Ok(Step { taken, more: taken > 0 })
    }
}

fn cut_off(packed: &[u8]) -> Damage {
    Damage::new(packed.len(), "the zstd stream is cut off")
}

fn too_wide(window: u64) -> Damage {
    let why = format!(
        "its zstd window has {window} bytes, more than {WINDOW_BYTES_MAX}; compress it without --long and --ultra"
    );
    Damage::new(0, why)
}

/// One piece that is there as a whole, of at most `bytes_max` plain bytes: a page, a block.
pub(crate) fn whole(packed: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), Trouble> {
    let mut zstd = Zstd::default();
    let mut rest = packed;
    while !rest.is_empty() || zstd.in_frame || zstd.skip > 0 {
        let step = zstd.step(rest, true, out).map_err(|damage| Trouble::Rotten(damage.why))?;
        rest = &rest[step.taken..];
        if out.len() > bytes_max {
            return Err(Trouble::Rotten(format!("it unpacks to more than {bytes_max} bytes")));
        }
    }
    Ok(())
}
