//! Several workers share the work: each is a member of a group of Kafka's protocol (type `connect`), whose leader divides it.
//!
//! ```text
//!   herder ── Report ──> driver ── Event ──> machine ── Effect ──> driver ──> coordinator: JoinGroup, SyncGroup
//!          <─ Assignment ──┘                                          └─────> herder
//!                          heartbeats run in the client, and are an event when they show something
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `machine` | when to join, what to claim, when to give up: a state machine without I/O |
//! | `leader` | what the leader does besides: dividing, and waiting for lost members if asked to |
//! | `assignor` | who gets what, as a pure function |
//! | `wire` | claims and shares as bytes |
//! | `config` | settings, by Kafka Connect's names |
//!
//! What it guarantees is in the heads of `machine` and `assignor`, and why it is so in docs/adr/0010-worker-group.md.
//! Deliberately absent: Kafka Connect's own worker protocols. A Java worker and this one can't run each other's connectors.

mod assignor;
mod config;
mod leader;
mod machine;
mod wire;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_client::{Client, Error, GroupConfig, GroupMember, GroupProtocol, Round};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

pub use self::config::{Error as PropertyError, MembershipConfig};
use self::machine::{Effect, Event, Joined, Machine, Settings};
use super::ownership::{Assignment, Ownership, Report, Running};

/// Pause after the coordinator refused something for a reason that stays: the group is of another kind, say.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// How long a goodbye may take; without one the others wait for the session timeout.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// One of several workers.
#[derive(Debug)]
pub struct Membership {
    member: Arc<GroupMember>,
    settings: Settings,
}

impl Membership {
    /// A member that joins when it is run. Heartbeats need tokio's runtime.
    ///
    /// # Errors
    /// When a setting makes no sense.
    pub fn new(client: &Client, config: MembershipConfig) -> Result<Self, Error> {
        // A third of the session is left for ending tasks before others are given them.
        let lease = config.session_timeout * 2 / 3;
        let settings = Settings { lease, delay_max: config.scheduled_rebalance_max_delay };
        let group = GroupConfig {
            group_id: config.group_id,
            group_instance_id: config.group_instance_id,
            protocol_type: "connect",
            session_timeout: config.session_timeout,
            rebalance_timeout: config.rebalance_timeout,
            heartbeat_interval: config.heartbeat_interval,
        };
        Ok(Self { member: Arc::new(GroupMember::new(client, group)?), settings })
    }
}

impl Ownership for Membership {
    fn run(
        self: Box<Self>,
        reports: watch::Receiver<Report>,
        assignments: watch::Sender<Assignment>,
    ) -> Running {
        Box::pin(async move {
            drive(&self.member, self.settings, reports, assignments).await;
            match timeout(LEAVE_TIMEOUT, self.member.leave()).await {
                Ok(Ok(())) => tracing::info!("left the group of workers"),
                Ok(Err(error)) => tracing::warn!(%error, "leaving failed; the session will time out"),
                Err(_) => tracing::warn!("leaving was not answered; the session will time out"),
            }
        })
    }
}

/// A request to the coordinator that is under way.
type Request = Pin<Box<dyn Future<Output = Answer> + Send>>;

enum Answer {
    Joined(Option<Round>),
    Synced(Option<Bytes>),
}

/// Runs the machine until the herder is gone.
async fn drive(
    member: &Arc<GroupMember>,
    settings: Settings,
    mut reports: watch::Receiver<Report>,
    assignments: watch::Sender<Assignment>,
) {
    let mut machine = Machine::new(settings);
    let mut vitals = member.vitals();
    let mut request: Option<Request> = None;
    // What the group settled on last; its sync belongs to it.
    let mut round: Option<Round> = None;
    reports.mark_changed();
    loop {
        let event = tokio::select! {
            biased;
            changed = vitals.changed() => {
                if changed.is_err() {
                    return;
                }
                None
            }
            answer = answered(&mut request) => {
                request = None;
                Some(match answer {
                    Answer::Joined(joined) => {
                        let event = joined.as_ref().map_or(Event::Refused, |round| Event::Joined(view(round)));
                        round = joined;
                        event
                    }
                    Answer::Synced(share) => share.map_or(Event::Refused, |share| Event::Synced(share.to_vec())),
                })
            }
            changed = reports.changed() => {
                if changed.is_err() {
                    return;
                }
                Some(Event::Reported(reports.borrow_and_update().clone()))
            }
            () = until(machine.wake()) => Some(Event::Tick),
        };
        // An answer is looked at in the light of what is known of the membership now.
        let now = Instant::now();
        let mut effects = machine.step(Event::Vitals(*vitals.borrow_and_update()), now);
        effects.extend(event.into_iter().flat_map(|event| machine.step(event, now)));
        for effect in effects {
            match effect {
                Effect::Join(claim) => request = Some(join(Arc::clone(member), claim)),
                Effect::Sync(shares) => {
                    request = round.take().map(|round| sync(Arc::clone(member), round, shares))
                }
                Effect::Assign(assignment) => {
                    tracing::info!(
                        generation = assignment.generation,
                        leader = assignment.leader,
                        connectors = assignment.connectors.len(),
                        tasks = assignment.tasks.len(),
                        "this worker's share"
                    );
                    assignments.send_replace(assignment);
                }
            }
        }
    }
}

async fn answered(request: &mut Option<Request>) -> Answer {
    match request {
        Some(request) => request.await,
        None => std::future::pending().await,
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

fn join(member: Arc<GroupMember>, claim: Vec<u8>) -> Request {
    Box::pin(async move {
        let protocol = GroupProtocol { name: wire::PROTOCOL, metadata: claim.into() };
        Answer::Joined(or_pause(member.join(&[protocol]).await).await)
    })
}

fn sync(member: Arc<GroupMember>, round: Round, shares: Vec<(String, Vec<u8>)>) -> Request {
    Box::pin(async move {
        let shares = shares.into_iter().map(|(member, share)| (member, Bytes::from(share))).collect();
        Answer::Synced(or_pause(member.sync(&round, shares).await).await)
    })
}

async fn or_pause<T>(answer: Result<Option<T>, Error>) -> Option<T> {
    match answer {
        Ok(answer) => answer,
        Err(error) => {
            tracing::error!(%error, "this worker can't be in its group");
            sleep(REFUSED_PAUSE).await;
            None
        }
    }
}

fn view(round: &Round) -> Joined {
    let members = round.members.iter().map(|member| (member.member_id.clone(), member.metadata.to_vec()));
    let divides = round.is_leader() && !round.keeps_assignment;
    Joined {
        generation: round.generation_id,
        leads: round.is_leader(),
        members: divides.then(|| members.collect::<BTreeMap<_, _>>()),
    }
}
