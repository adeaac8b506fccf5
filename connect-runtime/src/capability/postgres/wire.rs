//! Messages over a socket: framed, bounded, and written while what comes meanwhile is taken in.
//!
//! A server that answers early stops reading when nobody takes its answers; a client that only wrote would wait for it for
//! ever. So [`Wire::flush`] reads, too.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use postgres_protocol::message::backend::{Header, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Bytes that a read makes room for.
const READ_BYTES: usize = 64 << 10;
/// Most bytes that are taken in while something is written.
const TAKEN_IN_BYTES_MAX: usize = 16 << 20;
/// Longest time for a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// Tag and length of a message.
const HEAD_BYTES: usize = 5;

/// What a session runs over.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Why the session is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the exchange broke off: {0}")]
    Io(#[from] io::Error),
    #[error("the server closed the session")]
    Closed,
    #[error("the server said nothing for {0:?}")]
    Silent(Duration),
    #[error(
        "the server sends a message of {0} bytes, over the {1} of `result_max`; ask for less at once, or raise it"
    )]
    TooLarge(usize, usize),
    #[error("the server does not keep to the protocol: {0}")]
    Protocol(String),
}

/// What can't be a message.
pub(super) fn garbled(error: io::Error) -> Broken {
    Broken::Protocol(error.to_string())
}

/// A socket with its buffers.
pub(super) struct Wire {
    socket: Box<dyn Socket>,
    input: BytesMut,
    /// What is to be written next.
    pub(super) output: BytesMut,
    message_bytes_max: usize,
}

impl Wire {
    pub(super) fn new(socket: Box<dyn Socket>, message_bytes_max: usize) -> Self {
        Self { socket, input: BytesMut::new(), output: BytesMut::new(), message_bytes_max }
    }

    /// Says goodbye, so that the server does not have to find out by itself.
    pub(super) async fn end(mut self) {
        frontend::terminate(&mut self.output);
        if self.flush(GOODBYE).await.is_ok() {
            let _ = tokio::time::timeout(GOODBYE, self.socket.shutdown()).await;
        }
    }

    /// The message at the front, if all of it is there: its tag and its length without the head.
    pub(super) fn at_hand(&self) -> Result<Option<(u8, usize)>, Broken> {
        let Some(header) = Header::parse(&self.input).map_err(garbled)? else { return Ok(None) };
        let length = usize::try_from(header.len()).unwrap_or_default().saturating_sub(4);
        if length > self.message_bytes_max {
            return Err(Broken::TooLarge(length, self.message_bytes_max));
        }
        Ok((self.input.len() >= HEAD_BYTES + length).then_some((header.tag(), length)))
    }

    /// Waits for a message; fails when nothing comes for so long.
    pub(super) async fn front(&mut self, silence: Duration) -> Result<(u8, usize), Broken> {
        loop {
            if let Some(found) = self.at_hand()? {
                return Ok(found);
            }
            match tokio::time::timeout(silence, self.more()).await {
                Ok(read) => read?,
                Err(_) => return Err(Broken::Silent(silence)),
            }
        }
    }

    /// Reads what comes next. Dropped half way, nothing is lost.
    pub(super) async fn more(&mut self) -> Result<(), Broken> {
        self.input.reserve(READ_BYTES);
        match self.socket.read_buf(&mut self.input).await? {
            0 => Err(Broken::Closed),
            _ => Ok(()),
        }
    }

    /// Reads what is there, without waiting; false: nothing.
    pub(super) async fn more_at_once(&mut self) -> Result<bool, Broken> {
        poll_fn(|context| match self.poll_more(context) {
            Poll::Ready(read) => Poll::Ready(read.map(|()| true)),
            Poll::Pending => Poll::Ready(Ok(false)),
        })
        .await
    }

    /// The body of the message at the front, which has this length.
    pub(super) fn body(&self, length: usize) -> &[u8] {
        &self.input[HEAD_BYTES..HEAD_BYTES + length]
    }

    /// Takes the message at the front away.
    pub(super) fn skip(&mut self, length: usize) {
        self.input.advance(HEAD_BYTES + length);
    }

    /// Takes the message at the front, parsed.
    pub(super) fn take(&mut self) -> Result<Message, Broken> {
        Message::parse(&mut self.input)
            .map_err(garbled)?
            .ok_or_else(|| Broken::Protocol("half a message".to_owned()))
    }

    /// Writes what is to be written; fails when nothing of it goes for so long.
    pub(super) async fn flush(&mut self, silence: Duration) -> Result<(), Broken> {
        while !self.output.is_empty() {
            let written = poll_fn(|context| self.poll_write(context));
            match tokio::time::timeout(silence, written).await {
                Ok(written) => written?,
                Err(_) => return Err(Broken::Silent(silence)),
            }
        }
        if self.output.capacity() > TAKEN_IN_BYTES_MAX / 4 {
            self.output = BytesMut::new(); // what was large once need not stay so
        }
        match tokio::time::timeout(silence, self.socket.flush()).await {
            Ok(flushed) => Ok(flushed?),
            Err(_) => Err(Broken::Silent(silence)),
        }
    }

    /// Writes some; meanwhile takes in what comes.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match Pin::new(&mut self.socket).poll_write(context, &self.output) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(Broken::Closed)),
            Poll::Ready(Ok(written)) => {
                self.output.advance(written);
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            Poll::Pending => {}
        }
        while self.input.len() < TAKEN_IN_BYTES_MAX {
            match self.poll_more(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut room = [std::mem::MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut room);
        match Pin::new(&mut self.socket).poll_read(context, &mut read) {
            Poll::Ready(Ok(())) if read.filled().is_empty() => Poll::Ready(Err(Broken::Closed)),
            Poll::Ready(Ok(())) => {
                self.input.extend_from_slice(read.filled());
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}
