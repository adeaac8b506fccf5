//! Reads a file of batches from a position on, batch by batch, trusting nothing: lengths, headers and CRCs are checked.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use millrace_wire::batch::{BatchHeader, HEADER_LEN, MAGIC, PREFIX_LEN, RawBatch};

use crate::disk::DiskFile;

/// How much is read at once; a larger batch is read alone.
const CHUNK_BYTES: usize = 1 << 20;

/// Where in a batch the bytes begin that its CRC is over.
const CRC_START: u64 = 21;

/// One step of a [`Scanner`].
#[derive(Debug)]
pub enum Step {
    /// A batch whose CRC is right.
    Batch {
        /// Where it begins.
        position: u64,
        /// Header and bytes.
        batch: RawBatch,
    },
    /// The end, right after a batch.
    End,
    /// Bytes that are not a batch.
    Bad {
        /// Where they begin.
        position: u64,
        /// What is wrong.
        reason: String,
    },
}

/// See the module's head.
#[derive(Debug)]
pub struct Scanner {
    file: Arc<dyn DiskFile>,
    position: u64,
    end: u64,
    /// Bytes from `position` on.
    ahead: Bytes,
}

impl Scanner {
    /// Scans `position..end` of a file.
    pub fn new(file: Arc<dyn DiskFile>, position: u64, end: u64) -> Self {
        Self { file, position, end, ahead: Bytes::new() }
    }

    /// The next batch. After the end, or after bytes that are no batch, it comes no further.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn step(&mut self) -> io::Result<Step> {
        let position = self.position;
        let left = self.end.saturating_sub(position);
        if left == 0 {
            return Ok(Step::End);
        }
        if left < HEADER_LEN as u64 {
            return Ok(Step::Bad { position, reason: format!("{left} bytes are too few for a batch") });
        }
        self.fill(HEADER_LEN)?;
        let header = match BatchHeader::parse(&self.ahead) {
            Ok(header) => header,
            Err(error) => return Ok(Step::Bad { position, reason: error.to_string() }),
        };
        if header.size() as u64 > left {
            let reason = format!("the batch has {} bytes and the file {left} more", header.size());
            return Ok(Step::Bad { position, reason });
        }
        if header.size() > CHUNK_BYTES && !crc_is_right(&*self.file, position, &header)? {
            // A length that was damaged makes no room for itself.
            let reason = format!("the CRC over {} bytes does not match", header.size());
            return Ok(Step::Bad { position, reason });
        }
        self.fill(header.size())?;
        let batch = RawBatch { header, bytes: self.ahead.slice(..header.size()) };
        if let Err(error) = batch.verify_crc() {
            return Ok(Step::Bad { position, reason: error.to_string() });
        }
        self.ahead = self.ahead.slice(header.size()..);
        self.position += header.size() as u64;
        Ok(Step::Batch { position, batch })
    }

    /// Makes sure of `bytes` bytes ahead, which are in the file.
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        if self.ahead.len() >= bytes {
            return Ok(());
        }
        let left = (self.end - self.position) as usize;
        let mut buffer = Vec::new();
        self.file.read_into(&mut buffer, self.position, bytes.max(CHUNK_BYTES).min(left))?;
        if buffer.len() < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.ahead = Bytes::from(buffer);
        Ok(())
    }
}

/// Whether the batch at `start` has the CRC that its header says. However long it claims to be, little memory is used.
fn crc_is_right(file: &dyn DiskFile, start: u64, header: &BatchHeader) -> io::Result<bool> {
    let (mut at, end) = (start + CRC_START, start + header.size() as u64);
    let (mut crc, mut chunk) = (0, Vec::new());
    while at < end {
        chunk.clear();
        let read = file.read_into(&mut chunk, at, CHUNK_BYTES.min((end - at) as usize))?;
        if read == 0 {
            return Ok(false);
        }
        crc = crc32c::crc32c_append(crc, &chunk);
        at += read as u64;
    }
    Ok(crc == header.crc)
}

/// Looks for a whole batch with a right CRC and an offset of at least `offset` anywhere in `from..end`: whether
/// something was written after bytes that are no batch. Returns its position.
///
/// The work is bounded: CRCs are computed over at most four times the bytes searched.
pub(crate) fn find_batch(file: &dyn DiskFile, from: u64, end: u64, offset: i64) -> io::Result<Option<u64>> {
    const MAGIC_BYTE: u8 = MAGIC as u8;
    let mut crc_budget = end.saturating_sub(from).saturating_mul(4);
    let mut position = from;
    let mut window = Vec::new();
    while position + HEADER_LEN as u64 <= end {
        window.clear();
        file.read_into(&mut window, position, CHUNK_BYTES.min((end - position) as usize))?;
        if window.len() < HEADER_LEN {
            break;
        }
        let candidates = window.len() - HEADER_LEN + 1;
        for at in (0..candidates).filter(|at| window[at + PREFIX_LEN] == MAGIC_BYTE) {
            let Ok(header) = BatchHeader::parse(&window[at..]) else { continue };
            let start = position + at as u64;
            let size = header.size() as u64;
            if header.base_offset.0 < offset || size > end - start || size > crc_budget {
                continue;
            }
            crc_budget -= size;
            if crc_is_right(file, start, &header)? {
                return Ok(Some(start));
            }
        }
        position += candidates as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::path::Path;

    use millrace_wire::ids::Offset;
    use millrace_wire::record::{BatchBuilder, BatchOptions};

    use super::*;
    use crate::disk::{Disk, OpenMode, SimDisk};

    #[test]
    fn batches_larger_than_a_chunk_are_read_and_damaged_ones_told() {
        let disk = SimDisk::new();
        let file = disk.open(Path::new("a"), OpenMode::Create).unwrap();
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for len in [10, 3 * CHUNK_BYTES, CHUNK_BYTES] {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            builder.push(0, None, Some(&vec![7; len]), []).unwrap();
            starts.push(bytes.len() as u64);
            bytes.extend_from_slice(&builder.build(Offset(0)).unwrap());
        }
        file.write_all_at(&[IoSlice::new(&bytes)], 0).unwrap();
        let steps = |end| {
            let mut scanner = Scanner::new(file.clone(), 0, end);
            let mut batches = 0;
            loop {
                match scanner.step().unwrap() {
                    Step::Batch { .. } => batches += 1,
                    Step::End => return (batches, None),
                    Step::Bad { position, .. } => return (batches, Some(position)),
                }
            }
        };
        let end = bytes.len() as u64;
        assert_eq!(steps(end), (3, None));
        assert_eq!(steps(end - 1), (2, Some(starts[2])));
        assert_eq!(find_batch(&*file, 1, end, 0).unwrap(), Some(starts[1]));
        file.write_all_at(&[IoSlice::new(&[8])], 2 * CHUNK_BYTES as u64).unwrap();
        assert_eq!(steps(end), (1, Some(starts[1])));
        assert_eq!(find_batch(&*file, 1, end, 0).unwrap(), Some(starts[2]));
    }
}
