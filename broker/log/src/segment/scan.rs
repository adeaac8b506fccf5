//! Reads a segment from a position on, batch by batch, trusting nothing: lengths, headers and CRCs are checked.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use millrace_wire::batch::{BatchHeader, HEADER_LEN, MAGIC, PREFIX_LEN, RawBatch};

use crate::disk::DiskFile;

/// How much is read at once; a larger batch is read alone.
const CHUNK_BYTES: usize = 1 << 20;

/// One step of a [`Scanner`].
#[derive(Debug)]
pub(crate) enum Step {
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

#[derive(Debug)]
pub(crate) struct Scanner {
    file: Arc<dyn DiskFile>,
    position: u64,
    end: u64,
    /// Bytes from `position` on.
    ahead: Bytes,
}

impl Scanner {
    /// Scans `position..end` of a file.
    pub(crate) fn new(file: Arc<dyn DiskFile>, position: u64, end: u64) -> Self {
        Self { file, position, end, ahead: Bytes::new() }
    }

    pub(crate) fn next(&mut self) -> io::Result<Step> {
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
            let mut bytes = Vec::new();
            file.read_into(&mut bytes, start, header.size())?;
            if bytes.len() == header.size() && (RawBatch { header, bytes: bytes.into() }).verify_crc().is_ok()
            {
                return Ok(Some(start));
            }
        }
        position += candidates as u64;
    }
    Ok(None)
}
