//! Connections that are slow, come in pieces and break.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::transport::{BoxFuture, Stream, Transport};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::task::AbortHandle;

use millrace_client::Random;

/// Bytes under way in one direction of one connection.
const PIPE_BYTES: usize = 64 * 1024;
/// Longest piece that is carried at once.
const PIECE_MAX: u64 = 16 * 1024;
/// Longest time that a piece takes, in microseconds.
const DELAY_MAX_US: u64 = 3000;

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

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let inner = &mut *self.0.lock();
        let Some(door) = &inner.door else { return Err(io::ErrorKind::ConnectionRefused.into()) };
        let (client, near) = tokio::io::duplex(PIPE_BYTES);
        let (near_read, near_write) = tokio::io::split(near);
        let (far_read, far_write) = tokio::io::split(door());
        let (out, back) = (inner.random.split(), inner.random.split());
        let connection = tokio::spawn(async move {
            // Either end's end is the end of the connection.
            tokio::select! {
                biased;
                _ = carry(near_read, far_write, out) => {}
                _ = carry(far_read, near_write, back) => {}
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
) -> io::Result<()> {
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
    }
}
