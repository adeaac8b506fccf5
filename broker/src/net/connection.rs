//! One client: its requests are started in the order they came and answered in that order.
//!
//! Kafka mutes a connection while a request of it is being served, so clients may rely on one request's effect being
//! there before the next one is looked at. Here a request waits for all before it, with one exception that Kafka's
//! order allows: a Produce request starts as soon as every earlier one is a Produce whose records are in the log, so
//! that several of them share one wait for the disk. Answers still go out in order.
//!
//! Limits: [`IN_FLIGHT_MAX`] started requests, the shared byte budget, quotas; past these the connection is not read
//! from for a while. `connections.max.idle.ms` of silence, [`READ_STALL_MAX`] without a byte of a request that was begun,
//! [`WRITE_STALL_MAX`] without a byte taken of an answer, and either at less than [`BYTES_PER_SECOND_MIN`]: past these it
//! is closed. Time in which the broker itself doesn't read is not held against the client.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use millrace_log::Piece;
use millrace_wire::frame::Frame;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::budget::Share;
use super::frame;
use super::reader::{self, FrameReader, Request};
use super::transport::Transport;
use crate::api::{self, Answer, BoxFuture, Outcome, Reply, Started};
use crate::metrics::Metrics;
use crate::shared::Shared;

/// Requests of one connection that have been started and not answered.
const IN_FLIGHT_MAX: usize = 32;
/// How long the rest of a request may keep the broker waiting, with the room that it takes.
const READ_STALL_MAX: Duration = Duration::from_secs(30);
/// Shortest time between two looks at whether a connection is idle.
const IDLE_LOOK_MIN: Duration = Duration::from_millis(100);
/// How long a write may make no headway.
const WRITE_STALL_MAX: Duration = Duration::from_secs(60);

/// What a request must come, and an answer be taken with, once the time above is over: a client that sends or reads a
/// byte now and then would hold memory for hours.
const BYTES_PER_SECOND_MIN: usize = 1 << 10;

/// Why a connection ended other than by the client's wish.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Read(#[from] reader::Error),
    #[error("cannot write to the socket: {0}")]
    Write(#[from] std::io::Error),
    #[error("{0}")]
    Request(#[from] api::Error),
    #[error(
        "the client does not read its responses, or at less than {BYTES_PER_SECOND_MIN} bytes per second"
    )]
    WriteStalled,
    #[error("the rest of a request does not come, or at less than {BYTES_PER_SECOND_MIN} bytes per second")]
    ReadStalled,
}

/// A started request.
struct Slot {
    api: ApiKey,
    started: Instant,
    state: State,
    /// The room that the request takes.
    _share: Share,
}

/// What became of it so far.
enum State {
    Done(Reply),
    Waiting(BoxFuture<Reply>),
}

/// Answers on their way out, and the room they take until they are written.
#[derive(Default)]
struct Outgoing {
    parts: VecDeque<Piece>,
    shares: Vec<Share>,
    /// How long nothing is read after them.
    mute: Duration,
}

/// The started requests, oldest first.
#[derive(Default)]
struct InFlight {
    slots: VecDeque<Slot>,
    /// How many of them are not Produce requests.
    ordered: usize,
}

/// Serves a client until it leaves, breaks the protocol or the broker stops.
pub(crate) async fn serve<S>(mut stream: S, peer: api::Peer, shared: Arc<Shared>, stop: CancellationToken)
where
    S: Transport,
{
    let _open = shared.metrics.connections_open.enter();
    let ended = run(&mut stream, &peer, &shared, &stop).await;
    if let Err(Error::Request(_) | Error::Read(reader::Error::Length { .. })) = &ended {
        shared.metrics.requests_refused.add(1);
    }
    match ended {
        Ok(()) => debug!(client = %peer.host, "connection ended"),
        Err(Error::Write(error)) => debug!(client = %peer.host, %error, "connection lost"),
        Err(Error::Read(reader::Error::Io(error))) => debug!(client = %peer.host, %error, "connection lost"),
        Err(error) => match shared.broken_connections.may_log() {
            Some(left_out) => warn!(client = %peer.host, %error, left_out, "connection closed"),
            None => debug!(client = %peer.host, %error, "connection closed"),
        },
    }
}

async fn run<S>(
    stream: &mut S,
    peer: &api::Peer,
    shared: &Arc<Shared>,
    stop: &CancellationToken,
) -> Result<(), Error>
where
    S: Transport,
{
    let limits = &shared.limits;
    let mut reader = FrameReader::new(limits.request_bytes_max, shared.request_budget.clone());
    let mut in_flight = InFlight::default();
    let mut next: Option<Request> = None;
    let mut outgoing = Outgoing::default();
    let look_again = limits.connection_idle_max.min(READ_STALL_MAX);
    let mut idle = std::pin::pin!(sleep_until(Instant::now() + look_again));
    let mut last_write = Instant::now();
    let mut muted_until: Option<Instant> = None;

    loop {
        muted_until = muted_until.filter(|until| Instant::now() < *until);
        if muted_until.is_none()
            && let Some(request) = next.take_if(|request| in_flight.may_start(&request.bytes))
        {
            shared.metrics.received_bytes.add(request.bytes.len());
            let started = Instant::now();
            in_flight.push(api::start(shared, peer, request.bytes.clone())?, started, request);
            if reader.has_frame() && in_flight.slots.len() < IN_FLIGHT_MAX {
                // Without waiting: there may be no room for it until those in flight are done.
                let mut reading = std::pin::pin!(reader.next(stream));
                if let Poll::Ready(request) = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
                    next = request?;
                }
                continue;
            }
        }
        if !in_flight.take_done(&mut outgoing, &shared.metrics) {
            return Ok(());
        }
        if !outgoing.parts.is_empty() {
            write(stream, &mut outgoing.parts).await?;
            outgoing.shares.clear();
            last_write = Instant::now();
        }
        if !outgoing.mute.is_zero() {
            let until = Instant::now() + std::mem::take(&mut outgoing.mute);
            muted_until = Some(muted_until.map_or(until, |earlier| earlier.max(until)));
        }
        if muted_until.is_none() && next.as_ref().is_some_and(|request| in_flight.may_start(&request.bytes)) {
            continue;
        }
        let reads = muted_until.is_none() && next.is_none() && in_flight.slots.len() < IN_FLIGHT_MAX;
        reader.set_paused(!reads);
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = in_flight.front_done(), if !in_flight.slots.is_empty() => {}
            () = sleep_until(muted_until.unwrap_or_else(Instant::now)), if muted_until.is_some() => {}
            request = reader.next(stream), if reads => {
                match request? {
                    Some(request) => next = Some(request),
                    // Nobody is there to read an answer; what has been appended stays.
                    None => return Ok(()),
                }
            }
            () = idle.as_mut() => {
                let now = Instant::now();
                if reader.is_stalled(READ_STALL_MAX, BYTES_PER_SECOND_MIN) {
                    return Err(Error::ReadStalled);
                }
                // Muted time counts, as in Kafka: whether the client is still there is not seen while it is not read from.
                let silent = now.duration_since(reader.last_read().max(last_write));
                if in_flight.slots.is_empty() && silent >= limits.connection_idle_max {
                    debug!(client = %peer.host, "connection closed: idle for connections.max.idle.ms");
                    return Ok(());
                }
                let left = limits.connection_idle_max.saturating_sub(silent);
                idle.as_mut().reset(now + left.clamp(IDLE_LOOK_MIN, look_again.max(IDLE_LOOK_MIN)));
            }
        }
    }
}

/// Writes all of `parts`; a client that takes nothing for too long, or too little, is given up.
async fn write<S: Transport>(stream: &mut S, parts: &mut VecDeque<Piece>) -> Result<(), Error> {
    let bytes: usize = parts.iter().map(Piece::len).sum();
    let slowest = WRITE_STALL_MAX + Duration::from_secs((bytes / BYTES_PER_SECOND_MIN) as u64);
    let give_up = Instant::now() + slowest;
    while !parts.is_empty() {
        let mut writing = std::pin::pin!(frame::write_some(stream, parts));
        // Most writes fit the socket's buffer: no timer for those.
        match poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx))).await {
            Poll::Ready(written) => written?,
            Poll::Pending => {
                let until = give_up.min(Instant::now() + WRITE_STALL_MAX);
                timeout_at(until, writing).await.map_err(|_| Error::WriteStalled)??;
            }
        }
    }
    Ok(())
}

impl InFlight {
    /// Whether a request may start beside those that are not finished.
    fn may_start(&self, request: &[u8]) -> bool {
        self.slots.is_empty() || (self.ordered == 0 && api::is_produce(request))
    }

    fn push(&mut self, Started { api, outcome }: Started, started: Instant, request: Request) {
        if api != ApiKey::Produce {
            self.ordered += 1;
        }
        let state = match outcome {
            Outcome::Done(reply) => State::Done(reply),
            Outcome::Later(future) => State::Waiting(future),
        };
        self.slots.push_back(Slot { api, started, state, _share: request.share });
    }

    /// Moves finished answers at the front to `outgoing`; false if the connection is to be closed.
    fn take_done(&mut self, outgoing: &mut Outgoing, metrics: &Metrics) -> bool {
        while let Some(slot) = self.slots.pop_front_if(|slot| matches!(slot.state, State::Done(_))) {
            metrics.answered(slot.api, slot.started.elapsed());
            let State::Done(Reply { answer, mute }) = slot.state else { continue };
            outgoing.mute = outgoing.mute.max(mute);
            match answer {
                Answer::Frame(Frame { mut parts }, share) => {
                    metrics.sent_bytes.add(parts.iter().map(Bytes::len).sum());
                    outgoing.parts.extend(parts.drain(..).map(Piece::Memory));
                    outgoing.shares.extend(share);
                }
                Answer::Pieces(pieces, share) => {
                    metrics.sent_bytes.add(pieces.iter().map(Piece::len).sum());
                    outgoing.parts.extend(pieces);
                    outgoing.shares.push(share);
                }
                Answer::Nothing => {}
                Answer::Close => return false,
            }
        }
        if self.slots.is_empty() {
            self.ordered = 0;
        }
        true
    }

    /// Waits until the oldest request is finished, and takes along those behind it that are finished too.
    async fn front_done(&mut self) {
        poll_fn(|cx| {
            let mut any = false;
            for slot in &mut self.slots {
                if let State::Waiting(future) = &mut slot.state {
                    let Poll::Ready(reply) = future.as_mut().poll(cx) else { break };
                    slot.state = State::Done(reply);
                }
                any = true;
            }
            if any { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
