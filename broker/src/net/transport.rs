//! What carries a connection: a TCP socket, or a pipe within the process.
//!
//! They differ in how records that lie in a file get on their way. A socket is given the file (`sendfile`), on a thread
//! that may wait for the disk; into a pipe they are read and written.

use std::io;

use millrace_log::FileSlice;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;

use crate::blocking;

/// Bytes that are read from a file at a time, for a carrier that cannot be given the file.
const READ_BYTES: usize = 256 << 10;
/// Bytes sent from a file before the thread goes to somebody else.
#[cfg(target_os = "linux")]
const SEND_BYTES: usize = 4 << 20;

/// See the module's head.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// Sends some of `slice` and takes that off its front. Cancelled midway, the stream is of no more use.
    fn send_some(&mut self, slice: &mut FileSlice) -> impl Future<Output = io::Result<()>> + Send;
}

impl Transport for DuplexStream {
    async fn send_some(&mut self, slice: &mut FileSlice) -> io::Result<()> {
        read_and_write(self, slice).await
    }
}

impl Transport for TcpStream {
    #[cfg(target_os = "linux")]
    async fn send_some(&mut self, slice: &mut FileSlice) -> io::Result<()> {
        use std::os::fd::{AsFd, OwnedFd};

        // Asked of the socket itself: that the thread below found it full is not known to tokio.
        self.async_io(tokio::io::Interest::WRITABLE, || has_room(self.as_fd())).await?;
        let socket: OwnedFd = self.as_fd().try_clone_to_owned()?;
        let mut rest = slice.clone();
        let sending = move || {
            let mut sent = 0;
            while sent < SEND_BYTES && !rest.is_empty() {
                match rest.send(socket.as_fd(), SEND_BYTES - sent) {
                    Ok(bytes) => sent += bytes,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(rest)
        };
        *slice = blocking::run(false, sending).await?;
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    async fn send_some(&mut self, slice: &mut FileSlice) -> io::Result<()> {
        read_and_write(self, slice).await
    }
}

async fn read_and_write<W: AsyncWrite + Unpin>(stream: &mut W, slice: &mut FileSlice) -> io::Result<()> {
    let mut rest = slice.clone();
    let (bytes, rest) =
        blocking::run(false, move || rest.read(READ_BYTES).map(|bytes| (bytes, rest))).await?;
    stream.write_all(&bytes).await?;
    *slice = rest;
    Ok(())
}

/// Whether the socket takes bytes now; broken ones say that they do, and the write then tells what is wrong.
#[cfg(target_os = "linux")]
fn has_room(socket: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::OUT)], Some(&now))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millrace_log::Piece;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    /// A slice of a real log, and the bytes that are in it.
    fn slice(folder: &std::path::Path) -> (FileSlice, Vec<u8>) {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let path = folder.join("bytes");
        std::fs::write(&path, &bytes).unwrap();
        let file = millrace_log::disk::Disk::open(
            &millrace_log::disk::RealDisk,
            &path,
            millrace_log::disk::OpenMode::Existing,
        );
        (FileSlice::new(file.unwrap(), 1000, bytes.len() - 1000), bytes[1000..].to_vec())
    }

    async fn send(stream: &mut impl Transport, mut slice: FileSlice) {
        while !slice.is_empty() {
            stream.send_some(&mut slice).await.unwrap();
        }
        assert_eq!(Piece::File(slice).len(), 0);
    }

    async fn read(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
        let mut all = Vec::new();
        // Slowly at first, so that the sender finds its socket full.
        let mut some = [0; 1000];
        let count = stream.read(&mut some).await.unwrap();
        all.extend_from_slice(&some[..count]);
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.read_to_end(&mut all).await.unwrap();
        all
    }

    #[tokio::test]
    async fn a_slow_reader_gets_every_byte_over_tcp() {
        let folder = tempfile::tempdir().unwrap();
        let (slice, expected) = slice(folder.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let reading = tokio::spawn(read(near));
        send(&mut far, slice).await;
        drop(far);
        assert_eq!(reading.await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_slow_reader_gets_every_byte_over_a_pipe() {
        let folder = tempfile::tempdir().unwrap();
        let (slice, expected) = slice(folder.path());
        let (near, mut far) = tokio::io::duplex(7000);
        let reading = tokio::spawn(read(near));
        send(&mut far, slice).await;
        drop(far);
        assert_eq!(reading.await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_file_that_is_shorter_than_its_slice_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (mut slice, _) = slice(folder.path());
        std::fs::OpenOptions::new()
            .write(true)
            .open(folder.path().join("bytes"))
            .unwrap()
            .set_len(5)
            .unwrap();
        let (_near, mut far) = tokio::io::duplex(7000);
        let error = far.send_some(&mut slice).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
    }
}
