//! Requests from their arrival to their answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::settings::Target;
use super::{ANSWER_BYTES_MAX, auth};
use crate::component::bindings::millrace::connect::http_listener::Request as GuestRequest;

/// Most requests that are held at once, however small they are.
const REQUESTS_MAX: usize = 10_000;
/// What a request counts besides its body.
const REQUEST_BYTES: usize = 1 << 10;
/// When a sender that was turned away may try again.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// What the guest says of a request.
struct Said {
    status: StatusCode,
    body: String,
}

/// A request with its room, which it takes up until it is taken, even if its sender has gone.
type Arrived = (GuestRequest, Arc<OwnedSemaphorePermit>);

/// Requests that wait to be answered.
#[derive(Default)]
struct Unanswered {
    /// Of the newest request.
    number: u64,
    senders: HashMap<u64, oneshot::Sender<Said>>,
}

/// Requests that wait to be taken, and those that wait to be answered.
pub(super) struct Held {
    target: Target,
    /// Bytes that may still come in.
    room: Arc<Semaphore>,
    /// In the order of their numbers.
    arrived: mpsc::Sender<Arrived>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<Arrived>>,
    unanswered: Mutex<Unanswered>,
    over: watch::Sender<bool>,
}

impl Held {
    pub(super) fn new(target: Target) -> Self {
        let (arrived, waiting) = mpsc::channel(REQUESTS_MAX);
        Self {
            room: Arc::new(Semaphore::new(target.held_bytes_max)),
            target,
            arrived,
            waiting: tokio::sync::Mutex::new(waiting),
            unanswered: Mutex::default(),
            over: watch::channel(false).0,
        }
    }

    /// What is there, in order; waits for the first.
    pub(super) async fn take(
        &self,
        requests_max: usize,
        bytes_max: usize,
        wait: Duration,
    ) -> Vec<GuestRequest> {
        let mut waiting = self.waiting.lock().await;
        let mut taken = Vec::new();
        let mut bytes = 0;
        if requests_max == 0 {
            return taken;
        }
        let mut next = timeout(wait, waiting.recv()).await.ok().flatten();
        while let Some((request, _room)) = next {
            // Nobody is left who would hear of the others: they were told to come again, or have gone.
            if self.unanswered.lock().senders.contains_key(&request.id) {
                bytes += request.body.len();
                taken.push(request);
                if taken.len() >= requests_max || bytes >= bytes_max {
                    break;
                }
            }
            next = waiting.try_recv().ok();
        }
        taken
    }

    /// Answers a request, if its sender still waits.
    pub(super) fn answer(&self, id: u64, status: u16, mut body: String) {
        let Some(sender) = self.unanswered.lock().senders.remove(&id) else { return };
        // 1xx are no answers.
        let status = StatusCode::from_u16(status).ok().filter(|status| !status.is_informational());
        let mut end = ANSWER_BYTES_MAX.min(body.len());
        while !body.is_char_boundary(end) {
            end -= 1;
        }
        body.truncate(end);
        let _ = sender.send(Said { status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body });
    }

    /// No more requests; those that are held are told to come again.
    pub(super) fn end(&self) {
        self.over.send_replace(true);
        self.unanswered.lock().senders.clear();
    }

    /// Comes back after [`Held::end`].
    pub(super) async fn ended(&self) {
        let mut over = self.over.subscribe();
        // The sender lives as long as this.
        let _ = over.wait_for(|over| *over).await;
    }

    /// One request from its header to its answer.
    pub(super) async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let deadline = Instant::now() + self.target.timeout;
        match timeout_at(deadline, self.held(request)).await {
            Ok(answer) => answer,
            Err(_) => later("no answer in time; it may have been taken all the same"),
        }
    }

    async fn held(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if let Err(why) = auth::before_body(self.target.auth.as_ref(), &head.headers) {
            return unauthorized(why);
        }
        let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if declared > self.target.body_bytes_max {
            return too_large(self.target.body_bytes_max);
        }
        // A body of unknown length may become as large as any.
        let most = body.size_hint().exact().map_or(self.target.body_bytes_max, |_| declared);
        let Some(room) = self.room(most).map(Arc::new) else {
            return later("too much is waiting to be taken");
        };
        let body = match Limited::new(body, self.target.body_bytes_max).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return too_large(self.target.body_bytes_max),
            Err(error) => {
                return closing(StatusCode::BAD_REQUEST, format!("the body can't be read: {error}"));
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if let Err(why) = auth::with_body(self.target.auth.as_ref(), &head.headers, &body, now) {
            return unauthorized(why);
        }
        let (tell, told) = oneshot::channel();
        let mut request = GuestRequest {
            id: 0,
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: shown(&head.headers, self.target.auth.as_ref()),
            body: body.to_vec(),
            received: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
        };
        // Under one lock: numbers rise in the order of the queue, and an end meanwhile sees the entry or is seen.
        let (_entry, is_held) = {
            let mut unanswered = self.unanswered.lock();
            unanswered.number += 1;
            let id = unanswered.number;
            request.id = id;
            unanswered.senders.insert(id, tell);
            let is_held = !*self.over.borrow() && self.arrived.try_send((request, Arc::clone(&room))).is_ok();
            (Entry { held: self, id }, is_held)
        };
        if !is_held {
            return later("it is ending, or too much is waiting to be taken");
        }
        match told.await {
            Ok(said) => plain(said.status, said.body),
            Err(_) => later("it ended before the request was done with"),
        }
    }

    /// Takes bytes out of the budget for as long as the request is held.
    fn room(&self, body: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(body.saturating_add(REQUEST_BYTES)).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(bytes).ok()
    }
}

/// A request's entry, which goes when its sender does.
struct Entry<'a> {
    held: &'a Held,
    id: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.held.unanswered.lock().senders.remove(&self.id);
    }
}

/// Headers for the guest: without credentials, and without those about the connection.
fn shown(headers: &HeaderMap, auth: Option<&auth::Auth>) -> Vec<(String, String)> {
    let secret = |name: &str| {
        matches!(name, "authorization" | "proxy-authorization" | "cookie")
            || auth.is_some_and(|auth| auth.header() == name)
    };
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    headers
        .iter()
        .filter(|(name, _)| !secret(name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?)))
        .collect()
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    let mut text = text.into();
    if !text.is_empty() {
        text.push('\n');
    }
    millrace_listen::plain(status, text)
}

/// An answer to a request whose body was not read: the connection can't go on.
fn closing(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    let mut response = plain(status, text);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn later(why: &str) -> Response<Full<Bytes>> {
    let mut response = closing(StatusCode::SERVICE_UNAVAILABLE, format!("come again later: {why}"));
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
    response
}

fn too_large(most: usize) -> Response<Full<Bytes>> {
    closing(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {most} bytes"))
}

fn unauthorized(why: auth::Refused) -> Response<Full<Bytes>> {
    let mut response = closing(StatusCode::UNAUTHORIZED, why.to_string());
    if let Some(challenge) = why.challenge() {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}
