//! Frames out of a byte stream: a four-byte big-endian length, then that many bytes.
//!
//! `next` may be dropped at any await and called again: all state is in the reader. One read call takes whatever the
//! socket has, so that pipelined requests cost one system call together, and a frame is handed out as a slice of the
//! buffer it was read into: the record batches in it reach the log uncopied.
//!
//! Memory: the buffer's size follows the frames that the client has sent. A frame's bytes are reserved, and taken from the
//! shared budget, only as they arrive, so that a length of 100 MB with nothing behind it costs [`CHUNK_BYTES_FIRST`]: a
//! crowd of such connections must not take the room of everybody else.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use super::budget::{Budget, Share};

/// Smallest and largest piece read at a time.
const CHUNK_BYTES_MIN: usize = 1 << 10;
/// What is reserved at most for a frame of which nothing has arrived yet, if the client hasn't sent a larger one before.
const CHUNK_BYTES_FIRST: usize = 1 << 13;
/// See [`CHUNK_BYTES_MIN`]; also what is reserved at most if it has. Requests of the default `max.request.size` of Kafka's
/// producers (1 MiB) fit.
const CHUNK_BYTES_MAX: usize = (1 << 20) + (1 << 10);
/// A frame of more is read by itself: what came of the next one would be moved when room is made for the rest of it.
const LARGE_FRAME_BYTES: usize = 1 << 16;
/// No request is shorter: API key, version and correlation id.
const FRAME_BYTES_MIN: usize = 8;

/// Why no further frame can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The length is negative, too small for a header or above the limit.
    #[error(
        "a request of {length} bytes was announced; from {FRAME_BYTES_MIN} to {limit} are accepted (socket.request.max.bytes)"
    )]
    Length { length: i32, limit: usize },
    /// The stream ended within a frame.
    #[error("the stream ended within a request, after {have} of its bytes")]
    Truncated { have: usize },
    /// The socket failed.
    #[error("cannot read from the socket: {0}")]
    Io(#[from] std::io::Error),
}

/// A request as it came, with the room that it takes.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) bytes: Bytes,
    pub(crate) share: Share,
}

/// Reads frames; see the module's head.
pub(crate) struct FrameReader {
    buffer: BytesMut,
    /// The length of the frame being read and the room taken for it.
    current: Option<(usize, Share)>,
    length_max: usize,
    chunk: usize,
    /// The largest frame that has come, as far as a chunk may be as large.
    trusted: usize,
    budget: Budget,
    /// When bytes came last, or reading went on after a pause.
    last_read: Instant,
    /// When the frame being read was begun, or reading it went on after a pause.
    begun: Instant,
    /// Nobody reads at present, or there is no room: the client is not to blame that nothing comes.
    paused: bool,
}

impl FrameReader {
    /// A reader that accepts frames of up to `length_max` bytes.
    pub(crate) fn new(length_max: usize, budget: Budget) -> Self {
        Self {
            buffer: BytesMut::new(),
            current: None,
            length_max,
            chunk: CHUNK_BYTES_MIN,
            trusted: CHUNK_BYTES_FIRST,
            budget,
            last_read: Instant::now(),
            begun: Instant::now(),
            paused: false,
        }
    }

    /// Says whether reading pauses now. The end of a pause counts as a sign of life.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        if std::mem::replace(&mut self.paused, paused) && !paused {
            self.last_read = Instant::now();
            self.begun = self.last_read;
        }
    }

    /// Whether a whole frame has been read already, so that `next` would not wait for the socket.
    pub(crate) fn has_frame(&self) -> bool {
        match &self.current {
            Some((length, _)) => self.buffer.len() >= *length,
            None => match self.buffer.first_chunk::<4>() {
                Some(length) => {
                    let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
                    self.buffer.len() - 4 >= length
                }
                None => false,
            },
        }
    }

    /// Whether a part of a frame has arrived and the rest doesn't come: nothing for `silent_max`, or, after that time,
    /// less than so many bytes a second.
    pub(crate) fn is_stalled(&self, silent_max: Duration, bytes_per_second_min: usize) -> bool {
        if self.paused || (self.current.is_none() && self.buffer.is_empty()) {
            return false;
        }
        let arrived = Duration::from_secs((self.buffer.len() / bytes_per_second_min) as u64);
        self.last_read.elapsed() >= silent_max || self.begun.elapsed() >= silent_max + arrived
    }

    /// When bytes came last, whole frames or not.
    pub(crate) fn last_read(&self) -> Instant {
        self.last_read
    }

    /// The next frame; none when the stream ended between frames. Cancel-safe.
    pub(crate) async fn next<R>(&mut self, stream: &mut R) -> Result<Option<Request>, Error>
    where
        R: AsyncRead + Unpin,
    {
        loop {
            if self.current.is_none() && self.buffer.len() >= 4 {
                let length = self.announced_length()?;
                self.buffer.advance(4);
                self.chunk = chunk_for(length).clamp(CHUNK_BYTES_MIN, self.trusted);
                self.current = Some((length, Share::default()));
            }
            if let Some((length, share)) = &mut self.current {
                // What has arrived, and what the next read may bring.
                let held = (*length).min(self.buffer.len() + self.chunk);
                if !self.budget.try_grow(share, held) {
                    self.paused = true;
                    self.budget.grow(share, held).await;
                    self.set_paused(false);
                }
            }
            if let Some((length, share)) = self.current.take_if(|(length, _)| self.buffer.len() >= *length) {
                self.begun = Instant::now();
                self.trusted = self.trusted.max(chunk_for(length).min(CHUNK_BYTES_MAX));
                return Ok(Some(Request { bytes: self.buffer.split_to(length).freeze(), share }));
            }
            self.reserve();
            let have = self.buffer.len();
            let most = self.read_max();
            if stream.read_buf(&mut (&mut self.buffer).limit(most)).await? == 0 {
                return if have == 0 && self.current.is_none() {
                    Ok(None)
                } else {
                    Err(Error::Truncated { have })
                };
            }
            self.last_read = Instant::now();
            if self.current.is_none() && have == 0 {
                self.begun = self.last_read;
            }
        }
    }

    fn announced_length(&self) -> Result<usize, Error> {
        let length = self.buffer.first_chunk::<4>().map_or(0, |length| i32::from_be_bytes(*length));
        let limit = self.length_max;
        match usize::try_from(length) {
            Ok(good) if (FRAME_BYTES_MIN..=limit).contains(&good) => Ok(good),
            _ => Err(Error::Length { length, limit }),
        }
    }

    /// Most bytes to take with the next read, however much room there is: not beyond a large frame, and only the beginning
    /// of what is one if the client goes on as before.
    fn read_max(&self) -> usize {
        match &self.current {
            Some((length, _)) if *length > LARGE_FRAME_BYTES => {
                length.saturating_sub(self.buffer.len()).max(1)
            }
            None if self.chunk > LARGE_FRAME_BYTES => CHUNK_BYTES_FIRST,
            _ => usize::MAX,
        }
    }

    /// Makes room for the next read.
    fn reserve(&mut self) {
        let arrived = self.buffer.len();
        let missing = self.current.as_ref().map_or(0, |(length, _)| length.saturating_sub(arrived));
        // A large frame grows with what has arrived; a small one is read with whatever follows it.
        let wanted = missing.min(arrived).max(self.chunk).min(self.read_max());
        if self.buffer.capacity() - arrived < missing.min(wanted).max(CHUNK_BYTES_MIN / 4) {
            self.buffer.reserve(wanted);
        }
    }
}

/// What is read at a time from a client that sends frames of `length` bytes: several small ones with one call, a large one
/// alone.
fn chunk_for(length: usize) -> usize {
    let whole = length + 4;
    if whole > LARGE_FRAME_BYTES { whole } else { whole.next_power_of_two() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::{AsyncWriteExt, ReadBuf};

    fn reader() -> FrameReader {
        FrameReader::new(1 << 20, Budget::new(1 << 22))
    }

    #[tokio::test]
    async fn pipelined_frames_of_all_sizes() {
        let (mut near, mut far) = tokio::io::duplex(1 << 16);
        let sizes = [8, 9, 300, 70_000, 1 << 20, 8];
        tokio::spawn(async move {
            for (n, size) in sizes.into_iter().enumerate() {
                near.write_i32(size as i32).await.unwrap();
                near.write_all(&vec![n as u8; size]).await.unwrap();
            }
        });
        let mut reader = reader();
        for (n, size) in sizes.into_iter().enumerate() {
            let request = reader.next(&mut far).await.unwrap().unwrap();
            assert_eq!(request.bytes, vec![n as u8; size]);
        }
        assert!(reader.next(&mut far).await.unwrap().is_none());
    }

    /// Has all that is asked for at once, and counts how often it is asked.
    struct Counting<'a>(&'a [u8], usize);

    impl AsyncRead for Counting<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            self.1 += 1;
            Pin::new(&mut self.0).poll_read(cx, into)
        }
    }

    #[tokio::test]
    async fn large_frames_cost_two_reads_each_and_are_not_moved() {
        let mut reader = reader();
        for length in [LARGE_FRAME_BYTES + 1, 300_000, 1 << 20] {
            let frame = [&i32::try_from(length).unwrap().to_be_bytes()[..], &vec![7; length]].concat();
            // Until the client is trusted with its size.
            reader.next(&mut frame.as_slice()).await.unwrap().unwrap();
            let many = frame.repeat(8);
            let mut stream = Counting(&many, 0);
            for _ in 0..8 {
                reader.next(&mut stream).await.unwrap().unwrap();
                assert_eq!(reader.buffer.len(), 0, "frames of {length} bytes: nothing of the next one");
            }
            assert!(stream.1 <= 2 * 8, "frames of {length} bytes: {} reads for 8 of them", stream.1);
        }
    }

    #[tokio::test]
    async fn hostile_lengths_are_refused_and_cost_nothing() {
        for length in [i32::MIN, -1, 0, 7, (1 << 20) + 1, i32::MAX] {
            let bytes = length.to_be_bytes();
            let error = reader().next(&mut &bytes[..]).await.unwrap_err();
            assert!(matches!(error, Error::Length { .. }), "{error}");
        }
        let mut reader = reader();
        let announced = (1_i32 << 20).to_be_bytes();
        let error = reader.next(&mut &announced[..]).await.unwrap_err();
        assert!(matches!(error, Error::Truncated { have: 0 }), "{error}");
        assert!(reader.buffer.capacity() <= 2 * CHUNK_BYTES_FIRST);
    }

    #[tokio::test]
    async fn a_cut_header_is_an_error() {
        let error = reader().next(&mut &[0_u8, 0][..]).await.unwrap_err();
        assert!(matches!(error, Error::Truncated { have: 2 }), "{error}");
    }
}
