//! Bytes that can be read from any place: an object of a bucket, a file.

use bytes::Bytes;
use millrace_sdk::Error;

use crate::Trouble;

/// A file whose content does not change while it is read; whoever implements it makes sure of that.
pub trait Blob: Send {
    /// Bytes of the whole.
    fn size(&self) -> u64;

    /// `length` bytes from `offset` on; fewer only at the end.
    fn read_at(&mut self, offset: u64, length: usize) -> Result<Bytes, Error>;
}

impl Blob for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&mut self, offset: u64, length: usize) -> Result<Bytes, Error> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        Ok(self.slice(start..start.saturating_add(length).min(self.len())))
    }
}

/// Exactly so many bytes from there, or the file is cut off.
pub fn exactly(blob: &mut dyn Blob, offset: u64, length: usize) -> Result<Bytes, Trouble> {
    let bytes = blob.read_at(offset, length)?;
    if bytes.len() < length {
        let end = offset.saturating_add(bytes.len() as u64);
        return Err(Trouble::rotten(format!(
            "it ends at byte {end}, within {length} bytes that begin at byte {offset}"
        )));
    }
    Ok(bytes)
}

/// What was read ahead of a blob.
#[derive(Debug, Default)]
pub struct Window {
    held: Bytes,
    /// Where `held` begins.
    at: u64,
}

impl Window {
    /// Exactly so many bytes from there. What is not held is read with at least `ahead` bytes, as far as `end`.
    pub fn get(
        &mut self,
        blob: &mut dyn Blob,
        offset: u64,
        length: usize,
        ahead: usize,
        end: u64,
    ) -> Result<Bytes, Trouble> {
        let within = offset.checked_sub(self.at).and_then(|start| usize::try_from(start).ok());
        if let Some(start) = within
            && let Some(bytes) = start.checked_add(length).and_then(|end| self.held.get(start..end))
        {
            return Ok(self.held.slice_ref(bytes));
        }
        let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.held = exactly(blob, offset, length.max(ahead.min(left)))?;
        self.at = offset;
        Ok(self.held.slice(..length))
    }
}
