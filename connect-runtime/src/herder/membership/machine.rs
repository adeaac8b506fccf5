//! A worker's side of its group, as a state machine: `step(event, now)` gives effects; no I/O, no clock, no randomness.
//!
//! ```text
//!             Reported                 Joined (leads, and has read far enough)          Synced
//!   Out ──────────────────> Joining ──────────────────────────────> Syncing ─────────────────────> Member
//!    ▲  nothing is held        │ leads, reads on ─> CatchingUp ────────▲                             │
//!    │                         ▲                                                                     │
//!    │                         └── the group rebalances; what was revoked has ended; there is other ─┤
//!    │                             work to divide; a delay is over                                   │
//!    └──────────── lost: the coordinator took us out, or has not answered for too long ──────────────┘
//! ```
//!
//! Invariants:
//! - Joining gives nothing up. A member runs what it holds through the whole rebalance, and ends only what it is not given any more.
//! - A claim names all that has not ended. So the leader gives out only what nobody runs, or what a member held that is gone.
//! - Who has not heard from the coordinator for [`Settings::lease`] ends everything at once, by itself: the coordinator gives
//!   its place away only after the session timeout, which is longer.
//! - After a loss a member joins again only when it holds nothing: its old claim means nothing any more.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::Vitals;
use tokio::time::Instant;

use super::leader::{Leader, Seat};
use super::wire::{self, Claim, Share, Things};
use crate::herder::ownership::{Assignment, Holdings, Report};

/// How long a leader may read the configurations' topic before it divides what it knows.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);
/// How long what is revoked is gathered, from the first thing that has ended: a round costs everybody a request.
const GATHER: Duration = Duration::from_millis(200);
/// Pause before joining again when what the leader said can't be read, or it could not divide.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How the machine behaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// How long a member counts on its membership after the coordinator last answered.
    pub(super) lease: Duration,
    /// `scheduled.rebalance.max.delay.ms`
    pub(super) delay_max: Duration,
}

/// What happened.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// The herder said what there is to run, or what it runs.
    Reported(Report),
    /// Heartbeats have shown something.
    Vitals(Vitals),
    /// The group has settled on a generation.
    Joined(Joined),
    /// The leader has spoken.
    Synced(Vec<u8>),
    /// Joining or syncing came to nothing, and is to be repeated. Whether the membership is lost is with the vitals.
    Refused,
    /// The time that [`Machine::wake`] named has come.
    Tick,
}

/// The answer to a join.
#[derive(Debug, Clone, Default)]
pub(super) struct Joined {
    pub(super) generation: i32,
    /// What the members say, by member id, if this one has to divide.
    pub(super) members: Option<BTreeMap<String, Vec<u8>>>,
    /// Whether this member is the leader.
    pub(super) leads: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Join with this claim; answer with `Joined` or `Refused`.
    Join(Vec<u8>),
    /// Ask for this member's share, with everybody's as a leader; answer with `Synced` or `Refused`.
    Sync(Vec<(String, Vec<u8>)>),
    /// The herder is to run this and nothing else.
    Assign(Assignment),
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Machine {
    settings: Settings,
    phase: Phase,
    report: Report,
    vitals: Vitals,
    /// What the herder was told last.
    assignment: Assignment,
    /// What it was told before that, as long as it may not have heard the last.
    unheard: Holdings,
    /// What it was told to end for others.
    revoked: Revoked,
    /// Join again then, whatever else.
    retry_at: Option<Instant>,
    leader: Leader,
}

#[derive(Debug)]
enum Phase {
    /// Not in the group.
    Out,
    Joining,
    /// Leads, and others have read more of the configurations' topic.
    CatchingUp {
        joined: Joined,
        seats: Vec<Seat>,
        until: Instant,
    },
    Syncing {
        generation: i32,
        leads: bool,
    },
    Member,
}

/// What is being ended for others.
#[derive(Debug, Default)]
struct Revoked {
    things: Holdings,
    /// When to join again with what has ended by then.
    join_at: Option<Instant>,
}

impl Machine {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            phase: Phase::Out,
            report: Report::default(),
            vitals: Vitals::default(),
            assignment: Assignment::default(),
            unheard: Holdings::default(),
            revoked: Revoked::default(),
            retry_at: None,
            leader: Leader::new(settings.delay_max),
        }
    }

    /// Takes in one event.
    pub(super) fn step(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Reported(report) => self.reported(report, now),
            Event::Vitals(vitals) => self.vitals = vitals,
            Event::Joined(joined) => self.joined(joined, now, &mut effects),
            Event::Synced(share) => self.synced(&share, now, &mut effects),
            Event::Refused => self.refused(),
            Event::Tick => {}
        }
        self.settle(now, &mut effects);
        effects
    }

    /// When to come back with a [`Event::Tick`], if nothing else happens.
    pub(super) fn wake(&self) -> Option<Instant> {
        let lease = self.vitals.alive_at.filter(|_| self.has_something()).map(|at| at + self.settings.lease);
        let waiting = match &self.phase {
            Phase::CatchingUp { until, .. } => [Some(*until), None, None],
            Phase::Member => [self.retry_at, self.revoked.join_at, self.leader.wake()],
            _ => [None, None, None],
        };
        waiting.into_iter().chain([lease]).flatten().min()
    }

    /// Whether the coordinator has not been heard of for too long.
    fn lease_is_over(&self, now: Instant) -> bool {
        self.vitals.alive_at.is_some_and(|at| now >= at + self.settings.lease)
    }

    /// Whether there is something to lose.
    fn has_something(&self) -> bool {
        !self.assignment.lost && !self.claimed().is_empty()
    }

    /// What runs, has not ended, or may start at any moment.
    fn claimed(&self) -> Holdings {
        self.report.held.union(&self.assignment.holdings()).union(&self.unheard)
    }

    /// Whether the herder knows of the newest assignment, so that what it doesn't hold won't start any more.
    fn has_heard(&self) -> bool {
        self.report.revision == self.assignment.revision
    }

    fn reported(&mut self, report: Report, now: Instant) {
        self.report = report;
        if self.has_heard() {
            self.unheard = Holdings::default();
        }
        if self.revoked.things.is_empty() || !self.has_heard() {
            return;
        }
        let held = &self.report.held;
        let waits = !self.revoked.things.is_disjoint(held);
        let has_ended = !self.revoked.things.is_subset(held);
        match (waits, has_ended) {
            (false, _) => self.revoked.join_at = Some(now),
            (true, true) => {
                self.revoked.join_at.get_or_insert(now + GATHER);
            }
            (true, false) => {}
        }
    }

    fn joined(&mut self, joined: Joined, now: Instant, effects: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Joining) {
            return;
        }
        let Some(members) = &joined.members else {
            self.leader.forget();
            return self.sync(&joined, Vec::new(), effects);
        };
        let seats: Vec<_> = members.iter().map(|(member, claim)| Seat::read(member, claim)).collect();
        let until = now + CATCH_UP_MAX;
        self.phase = Phase::CatchingUp { joined, seats, until };
        self.divide(now, effects);
    }

    /// Divides, unless there is more to read first: who knows less than others would take away what they know of.
    fn divide(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Phase::CatchingUp { joined, seats, until } = &mut self.phase else { return };
        let furthest = seats.iter().map(|seat| seat.offset).max().unwrap_or(0);
        let has_read = self.report.work.offset >= furthest;
        if !has_read && now < *until {
            return;
        }
        let (joined, seats) = (std::mem::take(joined), std::mem::take(seats));
        let shares = if has_read {
            self.leader.divide(&seats, &self.report.work, now)
        } else {
            tracing::warn!(
                read = self.report.work.offset,
                furthest,
                "the configurations' topic could not be read as far as others have; nothing moves until then"
            );
            self.retry_at = Some(now + RETRY_PAUSE);
            self.leader.as_it_is(&seats, &self.report.work)
        };
        let shares = shares.iter().map(|(member, share)| (member.clone(), wire::encode(share)));
        self.sync(&joined, shares.collect(), effects);
    }

    fn sync(&mut self, joined: &Joined, shares: Vec<(String, Vec<u8>)>, effects: &mut Vec<Effect>) {
        self.phase = Phase::Syncing { generation: joined.generation, leads: joined.leads };
        effects.push(Effect::Sync(shares));
    }

    fn synced(&mut self, share: &[u8], now: Instant, effects: &mut Vec<Effect>) {
        let Phase::Syncing { generation, leads } = self.phase else { return };
        if self.lease_is_over(now) {
            // It lay here while this process stood still: the group may have given all that to others.
            self.phase = Phase::Out;
            return;
        }
        self.phase = Phase::Member;
        let share = wire::decode(share).unwrap_or_else(|reason| {
            tracing::error!(
                generation,
                reason,
                "what the group's leader says can't be read; nothing runs here until it can"
            );
            self.retry_at = Some(now + RETRY_PAUSE);
            Share::default()
        });
        let Share { gives, revokes } = share;
        self.revoked = Revoked { things: revokes.into(), join_at: None };
        let Holdings { connectors, tasks } = gives.into();
        let assignment = Assignment { connectors, tasks, leader: leads, generation, ..Assignment::default() };
        self.assign(assignment, effects);
        // It may have ended before it was told so.
        let report = std::mem::take(&mut self.report);
        self.reported(report, now);
    }

    fn refused(&mut self) {
        if matches!(self.phase, Phase::Joining | Phase::Syncing { .. }) {
            self.phase = Phase::Out;
        }
    }

    /// Does what is due, whatever has happened last.
    fn settle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let is_lost = self.vitals.is_lost && !self.assignment.lost;
        if is_lost || (self.has_something() && self.lease_is_over(now)) {
            self.lose(effects);
        }
        self.divide(now, effects);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let join = match self.phase {
            // After a loss: when nothing is held any more.
            Phase::Out => !self.assignment.lost || (self.has_heard() && self.report.held.is_empty()),
            Phase::CatchingUp { .. } => self.vitals.is_rebalancing,
            Phase::Member => {
                let other_work = self.assignment.leader && self.leader.has_other_work(&self.report.work);
                let is_due = [self.retry_at, self.revoked.join_at, self.leader.wake()].into_iter().any(due);
                self.vitals.is_rebalancing || other_work || is_due
            }
            _ => false,
        };
        if join {
            (self.retry_at, self.revoked.join_at) = (None, None);
            self.phase = Phase::Joining;
            effects.push(Effect::Join(wire::encode(&self.claim())));
        }
    }

    /// The membership, or the certainty of it, is gone: everything ends at once.
    fn lose(&mut self, effects: &mut Vec<Effect>) {
        tracing::warn!(
            is_lost = self.vitals.is_lost,
            "the group's coordinator {}; everything here ends and begins again elsewhere, or here after joining again",
            if self.vitals.is_lost { "took this worker for gone" } else { "has not answered for too long" }
        );
        self.revoked = Revoked::default();
        self.leader.forget();
        // A request that is under way goes on: its answer decides how it goes on.
        if !matches!(self.phase, Phase::Joining | Phase::Syncing { .. }) {
            self.phase = Phase::Out;
        }
        let generation = self.assignment.generation;
        self.assign(Assignment { lost: true, generation, ..Assignment::default() }, effects);
    }

    fn assign(&mut self, mut assignment: Assignment, effects: &mut Vec<Effect>) {
        self.unheard = self.unheard.union(&self.assignment.holdings());
        assignment.revision = self.assignment.revision + 1;
        self.assignment = assignment.clone();
        effects.push(Effect::Assign(assignment));
    }

    fn claim(&self) -> Claim {
        let held = &self.report.held;
        let ending = Holdings {
            connectors: &held.connectors - &self.assignment.connectors,
            tasks: &held.tasks - &self.assignment.tasks,
        };
        let holds = Things::from(&self.claimed());
        Claim { offset: self.report.work.offset, holds, ending: Things::from(&ending) }
    }
}
