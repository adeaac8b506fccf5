//! One connection to one broker: requests go out without waiting for each other, responses come back in the same order.
//!
//! Two loops share the stream in one task: one writes what callers queue, the other reads frames and hands each to the
//! caller that is next in line. A broken stream, a response out of order or a request that times out ends the connection
//! for everybody; whoever waited hears [`Error::Disconnected`] and may ask for a new one.
//!
//! Every response passes the guard before it is decoded: a broker is no more trusted than a client.

#[cfg(test)]
mod tests;
mod versions;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::RequestHeader;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};
use millrace_wire::frame::{Frame, FrameReader, write_frames};
use millrace_wire::guard;
use tokio::io::{ReadHalf, WriteHalf, split};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

pub(crate) use self::versions::{Finalized, Versions};
use crate::error::{Error, Result};
use crate::transport::Stream;

/// Most requests that wait for a response; further callers wait to send.
const MAX_IN_FLIGHT: usize = 64;
/// Most frames that are handed to the stream in one write.
const MAX_WRITE: usize = 16;

/// How a connection behaves.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionConfig {
    pub(crate) client_id: StrBytes,
    pub(crate) request_timeout: Duration,
    /// Largest response that is accepted, in bytes.
    pub(crate) max_response_bytes: usize,
}

/// A live connection. Dropping the last handle closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    address: Arc<str>,
    config: ConnectionConfig,
    outgoing: mpsc::Sender<Outgoing>,
    next_correlation_id: AtomicI32,
    closed: Arc<AtomicBool>,
    task: AbortHandle,
    versions: Versions,
}

#[derive(Debug)]
struct Outgoing {
    frame: Frame,
    waiting: Waiting,
}

/// Whoever is next in line for a response.
#[derive(Debug)]
struct Waiting {
    correlation_id: i32,
    reply: oneshot::Sender<Result<Bytes>>,
}

impl Connection {
    /// Takes over a connected stream and asks the broker which versions it speaks.
    pub(crate) async fn start(
        stream: Box<dyn Stream>,
        address: Arc<str>,
        config: ConnectionConfig,
    ) -> Result<Self> {
        let (outgoing, queue) = mpsc::channel(MAX_IN_FLIGHT);
        let closed = Arc::new(AtomicBool::new(false));
        let run = run(stream, queue, address.clone(), config.max_response_bytes, closed.clone());
        let task = tokio::spawn(run).abort_handle();
        let mut connection = Self {
            address,
            config,
            outgoing,
            next_correlation_id: AtomicI32::new(0),
            closed,
            task,
            versions: Versions::default(),
        };
        connection.versions = versions::negotiate(&connection).await?;
        Ok(connection)
    }

    /// `host:port` of the broker.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whether it is of no more use.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The newest version of a request that both sides speak.
    pub(crate) fn version_of<R: Request>(&self) -> Result<i16> {
        self.versions.pick::<R>(&self.address)
    }

    /// The same, and no newer than `limit`.
    pub(crate) fn version_up_to<R: Request>(&self, limit: i16) -> Result<i16> {
        self.versions.pick_up_to::<R>(limit, &self.address)
    }

    /// What the broker says of `transaction.version`.
    pub(crate) fn transaction_version(&self) -> Finalized {
        self.versions.transaction_version()
    }

    /// Sends a request in the newest common version up to `limit` and waits for its response.
    pub(crate) async fn request_up_to<R: Request>(&self, request: &R, limit: i16) -> Result<R::Response> {
        let version = self.version_up_to::<R>(limit)?;
        self.request_within(request, version, self.config.request_timeout).await
    }

    /// Sends a request in the newest common version and waits for its response.
    pub(crate) async fn request<R: Request>(&self, request: &R) -> Result<R::Response> {
        self.request_up_to(request, i16::MAX).await
    }

    /// Sends a request of a given version and waits at most `limit` for its response.
    pub(crate) async fn request_within<R: Request>(
        &self,
        request: &R,
        version: i16,
        limit: Duration,
    ) -> Result<R::Response> {
        let mut body = BytesMut::new();
        let too_new = |error: anyhow::Error| Error::malformed(&self.address, error);
        request.encode(&mut body, version).map_err(too_new)?;
        self.exchange::<R>([body.freeze()], version, limit).await
    }

    /// Sends a request whose body was encoded by the caller, in parts that are not copied.
    async fn exchange<R: Request>(
        &self,
        body: impl IntoIterator<Item = Bytes>,
        version: i16,
        limit: Duration,
    ) -> Result<R::Response> {
        let (frame, waiting, response) = self.prepare::<R>(body, version)?;
        let exchange = async {
            self.outgoing.send(Outgoing { frame, waiting }).await.map_err(|_| self.disconnected())?;
            response.await.map_err(|_| self.disconnected())?
        };
        self.finish::<R>(exchange, version, limit).await
    }

    /// Puts a request into the line and returns; the response is waited for later. Requests that are submitted one after
    /// another go out in that order.
    pub(crate) async fn submit<R: Request>(
        self: &Arc<Self>,
        body: impl IntoIterator<Item = Bytes>,
        version: i16,
    ) -> Result<Pending> {
        let (frame, waiting, response) = self.prepare::<R>(body, version)?;
        self.outgoing.send(Outgoing { frame, waiting }).await.map_err(|_| self.disconnected())?;
        Ok(Pending { connection: self.clone(), response, version })
    }

    fn prepare<R: Request>(
        &self,
        body: impl IntoIterator<Item = Bytes>,
        version: i16,
    ) -> Result<(Frame, Waiting, oneshot::Receiver<Result<Bytes>>)> {
        let correlation_id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        let header = self.header::<R>(version, correlation_id)?;
        let (reply, response) = oneshot::channel();
        Ok((Frame::new(std::iter::once(header).chain(body)), Waiting { correlation_id, reply }, response))
    }

    async fn finish<R: Request>(
        &self,
        response: impl Future<Output = Result<Bytes>>,
        version: i16,
        limit: Duration,
    ) -> Result<R::Response> {
        let what = || format!("{} to broker {}", guard::api_name(R::KEY), self.address);
        let done = crate::backoff::within(limit, what, response).await;
        if matches!(done, Err(Error::Timeout { .. })) {
            // Later responses would be taken for this one's.
            self.close();
        }
        self.decode::<R::Response>(R::KEY, done?, version)
    }

    fn header<R: Request>(&self, version: i16, correlation_id: i32) -> Result<Bytes> {
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(correlation_id)
            .with_client_id(Some(self.config.client_id.clone()));
        let mut bytes = BytesMut::new();
        header
            .encode(&mut bytes, R::header_version(version))
            .map_err(|error| Error::malformed(&self.address, error))?;
        Ok(bytes.freeze())
    }

    fn decode<M: Decodable + HeaderVersion + Message>(
        &self,
        api_key: i16,
        mut frame: Bytes,
        version: i16,
    ) -> Result<M> {
        if M::header_version(version) >= 1 {
            skip_tagged_fields(&mut frame)
                .ok_or_else(|| Error::malformed(&self.address, "response header is cut off"))?;
        }
        guard::response(api_key, version, &frame)
            .map_err(|error| Error::from_guard(&self.address, &error))?;
        M::decode(&mut frame, version).map_err(|error| Error::malformed(&self.address, error))
    }

    fn disconnected(&self) -> Error {
        Error::Disconnected { address: self.address.to_string(), reason: "it was closed".to_owned() }
    }

    /// Ends the connection for all who wait on it.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.task.abort();
    }
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Pending {
    connection: Arc<Connection>,
    response: oneshot::Receiver<Result<Bytes>>,
    version: i16,
}

impl Pending {
    /// Waits at most `limit` for the response.
    pub(crate) async fn wait<R: Request>(self, limit: Duration) -> Result<R::Response> {
        let Self { connection, response, version } = self;
        let response = async { response.await.map_err(|_| connection.disconnected())? };
        connection.finish::<R>(response, version, limit).await
    }
}

/// A response header's tagged fields mean nothing to this client.
fn skip_tagged_fields(frame: &mut Bytes) -> Option<()> {
    let mut rest = &frame[..];
    for _ in 0..millrace_wire::varint::read_u32(&mut rest).ok()? {
        millrace_wire::varint::read_u32(&mut rest).ok()?;
        let size = millrace_wire::varint::read_u32(&mut rest).ok()? as usize;
        rest = rest.get(size..)?;
    }
    let skipped = frame.len() - rest.len();
    frame.advance(skipped);
    Some(())
}

async fn run(
    stream: Box<dyn Stream>,
    queue: mpsc::Receiver<Outgoing>,
    address: Arc<str>,
    max_response_bytes: usize,
    closed: Arc<AtomicBool>,
) {
    let (read, write) = split(stream);
    let (line, waiting) = mpsc::channel(MAX_IN_FLIGHT);
    let reason = tokio::select! {
        biased;
        reason = read_loop(read, waiting, &address, max_response_bytes) => reason,
        reason = write_loop(write, queue, line) => reason,
    };
    closed.store(true, Ordering::Release);
    tracing::debug!(broker = %address, reason, "connection ended");
}

/// Ends when all handles are gone or the stream fails.
async fn write_loop(
    mut stream: WriteHalf<Box<dyn Stream>>,
    mut queue: mpsc::Receiver<Outgoing>,
    line: mpsc::Sender<Waiting>,
) -> String {
    while let Some(first) = queue.recv().await {
        let mut frames = Vec::new();
        let mut next = Some(first);
        while let Some(outgoing) = next {
            // In line before it is on the wire, so that no response comes too early.
            if line.send(outgoing.waiting).await.is_err() {
                return "reading ended".to_owned();
            }
            frames.push(outgoing.frame);
            next = if frames.len() < MAX_WRITE { queue.try_recv().ok() } else { None };
        }
        if let Err(error) = write_frames(&mut stream, frames).await {
            return error.to_string();
        }
    }
    "no longer needed".to_owned()
}

/// Ends when the broker closes or says something that cannot be.
async fn read_loop(
    stream: ReadHalf<Box<dyn Stream>>,
    mut waiting: mpsc::Receiver<Waiting>,
    address: &str,
    max_response_bytes: usize,
) -> String {
    let mut reader = FrameReader::new(stream, max_response_bytes);
    loop {
        let frame = reader.next().await;
        let next = waiting.try_recv();
        match (frame, next) {
            (Ok(Some(mut frame)), Ok(next)) => {
                if frame.len() < 4 || frame.get_i32() != next.correlation_id {
                    let error = Error::malformed(address, "a response to another request");
                    let reason = error.to_string();
                    let _ = next.reply.send(Err(error));
                    return reason;
                }
                // A caller that gave up does not want it any more.
                let _ = next.reply.send(Ok(frame));
            }
            (Ok(Some(_)), Err(_)) => return "a response that nobody asked for".to_owned(),
            (Ok(None), _) => return "the broker closed it".to_owned(),
            (Err(error), next) => {
                let error = Error::from_frame(address, error);
                let reason = error.to_string();
                if let Ok(next) = next {
                    let _ = next.reply.send(Err(error));
                }
                return reason;
            }
        }
    }
}
