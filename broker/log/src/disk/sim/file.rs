//! The two images of one simulated file, and what a power cut leaves of them.

use std::collections::BTreeSet;

use super::{Dice, PAGE_BYTES, SECTOR_BYTES};

/// A file's bytes as programs see them and as the platter has them.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Pages written since the last sync. A page that differs but isn't here was lost by a failed sync.
    dirty: BTreeSet<usize>,
    /// Whether the length changed since the last sync.
    resized: bool,
}

impl Image {
    /// A file with the same bytes in both images.
    pub(super) fn durable_with(bytes: Vec<u8>) -> Image {
        Image { durable: bytes.clone(), seen: bytes, ..Image::default() }
    }

    pub(super) fn seen(&self) -> &[u8] {
        &self.seen
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = offset as usize;
        let end = start + bytes.len();
        if end > self.seen.len() {
            self.mark(self.seen.len(), end);
            self.seen.resize(end, 0);
            self.resized = true;
        }
        self.seen[start..end].copy_from_slice(bytes);
        self.mark(start, end);
    }

    pub(super) fn set_len(&mut self, len: usize) {
        if len == self.seen.len() {
            return;
        }
        let (low, high) = (len.min(self.seen.len()), len.max(self.seen.len()));
        self.mark(low, high);
        self.seen.resize(len, 0);
        self.resized = true;
    }

    pub(super) fn sync(&mut self) {
        if self.resized {
            self.durable.resize(self.seen.len(), 0);
        }
        for page in std::mem::take(&mut self.dirty) {
            let start = (page * PAGE_BYTES).min(self.durable.len());
            let end = (start + PAGE_BYTES).min(self.durable.len()).min(self.seen.len());
            if start < end {
                self.durable[start..end].copy_from_slice(&self.seen[start..end]);
            }
        }
        self.resized = false;
    }

    /// A sync failed: the pages are clean now as far as the system is concerned, and were never written.
    pub(super) fn forget_unsynced(&mut self) {
        self.dirty.clear();
    }

    /// The same, and the system has let go of the pages, too.
    pub(super) fn drop_unsynced(&mut self) {
        *self = Image::durable_with(std::mem::take(&mut self.durable));
    }

    pub(super) fn power_cut(&mut self, dice: &mut Dice) {
        let mut after = self.durable.clone();
        let (old, new) = (self.durable.len(), self.seen.len());
        if self.resized {
            let len = match dice.up_to(2) {
                0 => old,
                1 => new,
                _ => old.min(new) + dice.up_to(old.abs_diff(new) as u64) as usize,
            };
            after.resize(len, 0);
        }
        let keep_none = dice.up_to(3) == 0;
        let torn = dice.up_to(self.dirty.len() as u64) as usize;
        for (nth, page) in self.dirty.iter().enumerate() {
            let start = page * PAGE_BYTES;
            let sectors = if nth == torn {
                dice.up_to((PAGE_BYTES / SECTOR_BYTES) as u64) as usize
            } else if keep_none || dice.coin() {
                0
            } else {
                PAGE_BYTES / SECTOR_BYTES
            };
            let end = (start + sectors * SECTOR_BYTES).min(after.len()).min(self.seen.len());
            if start < end {
                after[start..end].copy_from_slice(&self.seen[start..end]);
            }
        }
        *self = Image::durable_with(after);
    }

    fn mark(&mut self, start: usize, end: usize) {
        self.dirty.extend(start / PAGE_BYTES..end.div_ceil(PAGE_BYTES));
    }
}
