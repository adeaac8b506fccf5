//! An open file that has a place in the budget, and gives it back when the last who uses it lets it go.

use std::io;
use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::budget::Place;
use crate::disk::DiskFile;

#[derive(Debug)]
pub(crate) struct OpenFile {
    // Closed before its place is free.
    file: Arc<dyn DiskFile>,
    _place: Place,
}

impl OpenFile {
    pub(super) fn new(file: Arc<dyn DiskFile>, place: Place) -> Self {
        Self { file, _place: place }
    }
}

impl DiskFile for OpenFile {
    fn write_all_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.file.write_all_at(parts, offset)
    }

    fn read_into(&self, buffer: &mut Vec<u8>, offset: u64, len: usize) -> io::Result<usize> {
        self.file.read_into(buffer, offset, len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.descriptor()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}
