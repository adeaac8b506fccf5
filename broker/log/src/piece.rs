//! Record bytes on their way to a reader: in memory, or still in their file.
//!
//! Bytes that stay in the file go to a socket by `sendfile(2)`: the system hands its cached pages to the network without a
//! copy into this process, and they take no room here while a slow reader takes its time.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::DiskFile;
use crate::files::Loan;

/// Some bytes of a log.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Read already.
    Memory(Bytes),
    /// To be read, or sent, when it is their turn.
    File(FileSlice),
}

impl Piece {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(slice) => slice.len(),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self::Memory(bytes)
    }
}

/// A part of a file that doesn't change any more. The file stays readable while the slice lives, also when retention or
/// compaction has removed its name.
#[derive(Clone)]
pub struct FileSlice {
    file: Arc<dyn DiskFile>,
    position: u64,
    len: usize,
    loan: Option<Arc<Loan>>,
}

impl FileSlice {
    /// `len` bytes from `position` on, which must be in the file.
    pub fn new(file: Arc<dyn DiskFile>, position: u64, len: usize) -> Self {
        Self { file, position, len, loan: None }
    }

    /// The same, counted among the files that are kept open by readers.
    pub(crate) fn on(self, loan: Loan) -> Self {
        Self { loan: Some(Arc::new(loan)), ..self }
    }

    /// Bytes left.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether all was taken.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads up to `bytes_max` bytes and takes them off the front.
    ///
    /// # Errors
    /// The file can't be read, or ends before the slice does.
    pub fn read(&mut self, bytes_max: usize) -> io::Result<Bytes> {
        let mut buffer = Vec::new();
        let read = self.file.read_into(&mut buffer, self.position, self.len.min(bytes_max))?;
        self.take(read)?;
        Ok(buffer.into())
    }

    /// Sends up to `bytes_max` bytes to a socket and takes them off the front; returns how many went. Waits for the disk if
    /// the system doesn't have the bytes in memory, and for the socket unless that is non-blocking.
    ///
    /// # Errors
    /// The socket takes nothing now (`WouldBlock`), it or the file is broken, or the file ends before the slice does.
    #[cfg(target_os = "linux")]
    pub fn send(&mut self, socket: std::os::fd::BorrowedFd<'_>, bytes_max: usize) -> io::Result<usize> {
        let Some(file) = self.file.descriptor() else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a file without a descriptor"));
        };
        let mut position = self.position;
        let sent = rustix::fs::sendfile(socket, file, Some(&mut position), self.len.min(bytes_max))?;
        self.take(sent)?;
        Ok(sent)
    }

    fn take(&mut self, bytes: usize) -> io::Result<()> {
        if bytes == 0 && self.len > 0 {
            let text =
                format!("the file ends at byte {}, before the {} that are in it", self.position, self.len);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.position += bytes as u64;
        self.len -= bytes;
        Ok(())
    }
}

impl fmt::Debug for FileSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, len, loan, .. } = self;
        let lent = if loan.is_some() { ", on loan" } else { "" };
        write!(f, "FileSlice({position}+{len}{lent})")
    }
}
