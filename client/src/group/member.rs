//! A member of a group whose protocol is the application's.
//!
//! Heartbeats go on by themselves from the first join to [`GroupMember::leave`], also while the member joins again, over a
//! connection of their own: a join is answered when all have joined, and this member keeps what it holds meanwhile. What they
//! show is in [`Vitals`]; to act on it is up to the application, which alone knows what it has to give up.
//!
//! Invariant: `alive_at` is the time at which a request was *sent* that the coordinator answered as this member's. The
//! coordinator's clock of the session began later than that, so nobody is given this member's place before
//! `alive_at + session.timeout.ms`.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError as Code;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::requests::{Again, Identity};
use super::{GroupConfig, GroupProtocol, GroupRequests, Round};
use crate::backoff::Backoff;
use crate::client::{Client, ClientConfig};
use crate::cluster::Cluster;
use crate::error::{Error, Result};

/// Waits of a heartbeat per session: so many can fail before it ends.
const BEATS_PER_SESSION: u32 = 3;

/// See the head of this file. Dropping it ends the heartbeats, without leaving the group.
#[derive(Debug)]
pub struct GroupMember {
    cluster: Arc<Cluster>,
    requests: Arc<GroupRequests>,
    vitals: watch::Sender<Vitals>,
    heart: AbortHandle,
}

/// What requests have shown of a membership.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vitals {
    /// See the invariant of the module. None: not a member.
    pub alive_at: Option<Instant>,
    /// The group settles anew: join again. Nothing has to be given up for it.
    pub is_rebalancing: bool,
    /// The coordinator doesn't know this member any more: others may be given its place.
    pub is_lost: bool,
    /// Another process has joined with this static member's `group.instance.id`. It stays out from now on: joining again would
    /// throw that one out in turn.
    pub is_fenced: bool,
}

impl Vitals {
    fn alive(&mut self, sent: Instant) {
        self.alive_at = self.alive_at.max(Some(sent));
    }
}

impl GroupMember {
    /// A member of nothing yet.
    pub fn new(client: &Client, config: GroupConfig) -> Result<Self> {
        config.check()?;
        let cluster = Arc::new(client.cluster());
        let wait = config.session_timeout / BEATS_PER_SESSION;
        let hasty = ClientConfig { request_timeout: wait, connect_timeout: wait, ..client.config().clone() };
        let pulse = Arc::new(Client::new(hasty)?.cluster());
        let requests = Arc::new(GroupRequests::new(cluster.clone(), pulse, config));
        let vitals = watch::Sender::new(Vitals::default());
        let heart = tokio::spawn(beat(requests.clone(), vitals.clone())).abort_handle();
        Ok(Self { cluster, requests, vitals, heart })
    }

    /// What there is to see now, and whatever changes.
    #[must_use]
    pub fn vitals(&self) -> watch::Receiver<Vitals> {
        self.vitals.subscribe()
    }

    /// Joins, for the first time or again; repeats what may yet succeed. `None`: the membership is lost, and with it whatever
    /// the group had given; once that has been let go of, joining again begins a new one.
    pub async fn join(&self, protocols: &[GroupProtocol]) -> Result<Option<Round>> {
        let mut backoff = self.cluster.backoff();
        loop {
            if self.vitals.borrow().is_fenced {
                return Err(self.requests.refused("JoinGroup", Code::FencedInstanceId));
            }
            let sent = Instant::now();
            let error = match self.requests.join(protocols).await {
                Ok(round) => {
                    self.vitals.send_modify(|vitals| {
                        vitals.alive(sent);
                        (vitals.is_rebalancing, vitals.is_lost) = (false, false);
                    });
                    return Ok(Some(round));
                }
                Err(error) => error,
            };
            match self.requests.join_again(&error) {
                Again::AtOnce => {}
                Again::AsAnother => {
                    lose(&self.requests, &self.vitals, None, Code::UnknownMemberId);
                    return Ok(None);
                }
                Again::Later => pause(&mut backoff, &error).await,
                Again::No => return Err(error),
            }
        }
    }

    /// Asks for this member's assignment; a leader brings everybody's. `None`: the group settles anew already, or does not know
    /// this member any more; [`Self::vitals`] say which.
    pub async fn sync(&self, round: &Round, assignments: Vec<(String, Bytes)>) -> Result<Option<Bytes>> {
        let mut backoff = self.cluster.backoff();
        let this = Identity { id: round.member_id.clone(), generation: round.generation_id };
        loop {
            let sent = Instant::now();
            let error = match self.requests.sync(round, assignments.clone()).await {
                Ok(assignment) => {
                    self.vitals.send_modify(|vitals| vitals.alive(sent));
                    return Ok(Some(assignment));
                }
                Err(error) => error,
            };
            match error.code() {
                Some(Code::RebalanceInProgress | Code::IllegalGeneration) => {
                    self.vitals.send_modify(|vitals| vitals.is_rebalancing = true);
                    return Ok(None);
                }
                Some(code @ (Code::UnknownMemberId | Code::FencedInstanceId)) => {
                    lose(&self.requests, &self.vitals, Some(&this), code);
                    return Ok(None);
                }
                _ if error.is_retriable() => pause(&mut backoff, &error).await,
                _ => return Err(error),
            }
        }
    }

    /// Ends the heartbeats and tells the coordinator, unless the member is static: such a one is expected back.
    pub async fn leave(&self) -> Result<()> {
        self.heart.abort();
        self.requests.leave().await
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

/// Forgets who it was: it is in the group no more. `who`: only if this is still who it is.
fn lose(requests: &GroupRequests, vitals: &watch::Sender<Vitals>, who: Option<&Identity>, code: Code) {
    vitals.send_if_modified(|vitals| {
        let is_meant = who.is_none_or(|who| *who == requests.identity());
        if is_meant {
            requests.forget_member();
            let is_fenced = code == Code::FencedInstanceId;
            *vitals = Vitals { is_lost: true, is_fenced, ..Vitals::default() };
        }
        is_meant
    });
}

async fn pause(backoff: &mut Backoff, error: &Error) {
    tracing::debug!(%error, "asking the group's coordinator again");
    backoff.pause().await;
}

/// Runs until it is aborted.
async fn beat(requests: Arc<GroupRequests>, vitals: watch::Sender<Vitals>) {
    let config = requests.config();
    let wait = config.session_timeout / BEATS_PER_SESSION;
    let mut next = Instant::now();
    loop {
        next += config.heartbeat_interval;
        // After a pause of the whole process there is nothing to catch up with.
        next = next.max(Instant::now());
        sleep_until(next).await;
        let member = requests.identity();
        if !member.is_member() {
            continue;
        }
        let sent = Instant::now();
        let Ok(answer) = timeout(wait, requests.beat(&member)).await else {
            tracing::warn!(group = config.group_id, "a heartbeat was not answered within {wait:?}");
            continue;
        };
        let code = answer.as_ref().err().map(Error::code);
        match code {
            None => vitals.send_modify(|vitals| vitals.alive(sent)),
            Some(Some(Code::RebalanceInProgress)) => vitals.send_modify(|vitals| {
                vitals.alive(sent);
                // A join that was answered meanwhile is the newer news.
                vitals.is_rebalancing |= requests.identity() == member;
            }),
            // The answer to a join did not arrive; the group counts on this member all the same.
            Some(Some(Code::IllegalGeneration)) => vitals.send_modify(|vitals| {
                vitals.is_rebalancing |= requests.identity() == member;
            }),
            Some(Some(code @ (Code::UnknownMemberId | Code::FencedInstanceId))) => {
                lose(&requests, &vitals, Some(&member), code);
            }
            // Not a word on the membership; its session goes on running out.
            Some(_) => {
                if let Err(error) = answer {
                    tracing::warn!(%error, group = config.group_id, "a heartbeat failed");
                }
            }
        }
    }
}
