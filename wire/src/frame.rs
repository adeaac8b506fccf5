//! Frames: a 32-bit length, then that many bytes. The only part of this crate that touches a stream.
//!
//! Reading takes memory as bytes arrive, not as the length claims, so a peer that says "100 MiB" and sends nothing costs
//! one small buffer. Writing takes the frame as a chain of [`Bytes`] and hands them to the stream vectored, so that
//! record batches go from the page cache's copy to the socket without another one in between.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Default of `socket.request.max.bytes`.
pub const DEFAULT_MAX_BYTES: usize = 100 * 1024 * 1024;

/// Bytes of the length in front of a frame.
const LENGTH: usize = 4;
/// Least and, until that much has arrived, most memory that is reserved for a frame.
const CHUNK: usize = 64 * 1024;
/// Most slices in one vectored write; more are split over several. Systems stop at 1024 (`IOV_MAX`).
const MAX_SLICES: usize = 64;

/// Why a frame was not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The length is negative.
    #[error("frame length {0} is negative; the peer does not speak the Kafka protocol (is it TLS?)")]
    NegativeLength(i32),
    /// The length is above the limit.
    #[error(
        "frame of {len} bytes is larger than the limit of {max_bytes}; raise the limit or send less at once"
    )]
    TooLarge {
        /// What the peer announced.
        len: usize,
        /// Most bytes that are accepted.
        max_bytes: usize,
    },
    /// The stream ended inside a frame.
    #[error("connection closed inside a frame")]
    Closed,
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads one frame and gives it without its length. `None`: the stream ended before a new frame.
///
/// Not cancel-safe, and reads exactly one frame; a connection that serves many uses a [`FrameReader`].
pub async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    max_bytes: usize,
) -> Result<Option<Bytes>, Error> {
    let mut length = [0; LENGTH];
    let mut have = 0;
    while have < LENGTH {
        match stream.read(&mut length[have..]).await? {
            0 if have == 0 => return Ok(None),
            0 => return Err(Error::Closed),
            more => have += more,
        }
    }
    let len = check_length(length, max_bytes)?;
    let mut frame = BytesMut::new();
    while frame.len() < len {
        let left = len - frame.len();
        frame.reserve(next_reserve(frame.len(), left));
        if (&mut *stream).take(left as u64).read_buf(&mut frame).await? == 0 {
            return Err(Error::Closed);
        }
    }
    Ok(Some(frame.freeze()))
}

/// Reads frames off a stream with as few reads as possible: what arrives together is cut apart without a copy.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    max_bytes: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader that refuses frames of more than `max_bytes`.
    pub fn new(stream: R, max_bytes: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), max_bytes }
    }

    /// The next frame, without its length. `None`: the stream ended between frames. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let need = match self.buffer.first_chunk::<LENGTH>() {
                None => LENGTH - self.buffer.len(),
                Some(length) => {
                    let end = LENGTH + check_length(*length, self.max_bytes)?;
                    if self.buffer.len() >= end {
                        let mut frame = self.buffer.split_to(end);
                        frame.advance(LENGTH);
                        return Ok(Some(frame.freeze()));
                    }
                    end - self.buffer.len()
                }
            };
            let more = next_reserve(self.buffer.len(), need.max(CHUNK));
            self.buffer.reserve(more);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(Error::Closed) };
            }
        }
    }
}

/// Doubles what is there, but no further than what is left.
fn next_reserve(have: usize, left: usize) -> usize {
    left.min(have.max(CHUNK))
}

fn check_length(length: [u8; LENGTH], max_bytes: usize) -> Result<usize, Error> {
    let length = i32::from_be_bytes(length);
    let len = usize::try_from(length).map_err(|_| Error::NegativeLength(length))?;
    if len > max_bytes { Err(Error::TooLarge { len, max_bytes }) } else { Ok(len) }
}

/// A frame to be written: its parts back to back, the length first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// The length and what it counts, in any number of pieces.
    pub parts: VecDeque<Bytes>,
}

impl Frame {
    /// A frame around `parts`; the length is put in front.
    pub fn new(parts: impl IntoIterator<Item = Bytes>) -> Self {
        let mut parts: VecDeque<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let len: usize = parts.iter().map(Bytes::len).sum();
        debug_assert!(i32::try_from(len).is_ok(), "a frame of {len} bytes cannot be announced");
        parts.push_front(Bytes::copy_from_slice(&(len as u32).to_be_bytes()));
        Self { parts }
    }

    /// Bytes on the wire, length included.
    pub fn size(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

/// Writes frames in order, as few writes as possible, and flushes. On an error the stream is of no more use.
pub async fn write_frames(
    stream: &mut (impl AsyncWrite + Unpin),
    frames: impl IntoIterator<Item = Frame>,
) -> io::Result<()> {
    let mut parts: VecDeque<Bytes> = frames.into_iter().flat_map(|frame| frame.parts).collect();
    while !parts.is_empty() {
        let slices: Vec<_> = parts.iter().take(MAX_SLICES).map(|part| IoSlice::new(part)).collect();
        let written = stream.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        consume(&mut parts, written);
    }
    stream.flush().await
}

/// Drops `written` bytes from the front, and empty parts with them.
fn consume(parts: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = parts.front_mut() {
        if written < front.len() {
            front.advance(written);
            return;
        }
        written -= front.len();
        parts.pop_front();
    }
}
