//! Connections that are slow, come in pieces and break, and requests that come once more, long after.
//!
//! What is repeated is EndTxn of the second transaction protocol, as a network may hold it back while its client tries again: by
//! that protocol it must not end another transaction than its own (KIP-890). The first one has no defence against it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millrace_client::transport::{BoxFuture, Stream, Transport};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use millrace_client::Random;

/// Bytes under way in one direction of one connection.
const PIPE_BYTES: usize = 64 * 1024;
/// Longest piece that is carried at once.
const PIECE_MAX: u64 = 16 * 1024;
/// Longest time that a piece takes, in microseconds.
const DELAY_MAX_US: u64 = 3000;

/// Longest time that a request is held back before it comes once more, in microseconds.
const LATE_MAX_US: u64 = 300_000;
/// EndTxn's key and its version of the second transaction protocol.
const END_TXN: (i16, i16) = (26, 5);

/// Opens a connection to the broker that runs at the moment.
type Door = Box<dyn Fn() -> DuplexStream + Send + Sync>;

/// The network between the clients and the broker. Cheap to clone: all clones are one network.
#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<Inner>>);

struct Inner {
    door: Option<Door>,
    open: Vec<AbortHandle>,
    random: Random,
}

impl Network {
    pub(crate) fn new(random: Random) -> Self {
        Self(Arc::new(Mutex::new(Inner { door: None, open: Vec::new(), random })))
    }

    /// The broker takes connections from now on, or (none) no longer.
    pub(crate) fn set_door(&self, door: Option<Door>) {
        self.0.lock().door = door;
    }

    /// Breaks each connection with a chance of one in `one_in`.
    pub(crate) fn sever(&self, one_in: u64) {
        let inner = &mut *self.0.lock();
        inner.open.retain(|connection| {
            let breaks = inner.random.below(one_in) == 0;
            if breaks {
                connection.abort();
            }
            !breaks && !connection.is_finished()
        });
    }

    /// Sends some of what it is given once more, on connections of their own.
    async fn repeat(self, mut late: mpsc::UnboundedReceiver<Bytes>, mut random: Random) {
        while let Some(frame) = late.recv().await {
            if random.below(4) != 0 {
                continue;
            }
            let network = self.clone();
            let wait = Duration::from_micros(random.below(LATE_MAX_US));
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                let door = network.0.lock().door.as_ref().map(|door| door());
                let Some(mut broker) = door else { return };
                if broker.write_all(&frame).await.is_ok() {
                    // Who asked has gone; the answer is read so that it can be given.
                    let _ = tokio::time::timeout(Duration::from_secs(1), broker.read(&mut [0; 256])).await;
                }
            });
        }
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let inner = &mut *self.0.lock();
        let Some(door) = &inner.door else { return Err(io::ErrorKind::ConnectionRefused.into()) };
        let (client, near) = tokio::io::duplex(PIPE_BYTES);
        let (near_read, near_write) = tokio::io::split(near);
        let (far_read, far_write) = tokio::io::split(door());
        let (copies, late) = mpsc::unbounded_channel();
        tokio::spawn(self.clone().repeat(late, inner.random.split()));
        let (out, back) = (inner.random.split(), inner.random.split());
        let connection = tokio::spawn(async move {
            // Either end's end is the end of the connection.
            tokio::select! {
                biased;
                _ = carry(near_read, far_write, out, Some(copies)) => {}
                _ = carry(far_read, near_write, back, None) => {}
            }
        });
        inner.open.push(connection.abort_handle());
        Ok(Box::new(client))
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

impl Transport for Network {
    fn connect<'a>(&'a self, _host: &'a str, _port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move { Self::connect(self) })
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut random: Random,
    copies: Option<mpsc::UnboundedSender<Bytes>>,
) -> io::Result<()> {
    let mut frames = BytesMut::new();
    let mut piece = vec![0; PIECE_MAX as usize];
    loop {
        let most = 1 + random.below(PIECE_MAX) as usize;
        let count = from.read(&mut piece[..most]).await?;
        if count == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_micros(random.below(DELAY_MAX_US))).await;
        to.write_all(&piece[..count]).await?;
        to.flush().await?;
        if let Some(copies) = &copies {
            frames.extend_from_slice(&piece[..count]);
            while let Some(frame) = next_frame(&mut frames) {
                // Nobody repeats it if the run is over.
                let _ = if is_end_of_transaction(&frame) { copies.send(frame) } else { Ok(()) };
            }
        }
    }
}

/// The next whole frame, with its length.
fn next_frame(bytes: &mut BytesMut) -> Option<Bytes> {
    let length = i32::from_be_bytes(*bytes.first_chunk::<4>()?);
    let end = 4 + usize::try_from(length).ok()?;
    (bytes.len() >= end).then(|| bytes.split_to(end).freeze())
}

fn is_end_of_transaction(frame: &[u8]) -> bool {
    let number = |at: usize| frame.get(at..at + 2).map(|two| i16::from_be_bytes([two[0], two[1]]));
    (number(4), number(6)) == (Some(END_TXN.0), Some(END_TXN.1))
}
