//! What only the group's leader does: it divides the work among the members, by what they claim.
//!
//! Its memory reaches from one round to the next, as long as it leads: whose tasks wait for `scheduled.rebalance.max.delay.ms`. A
//! new leader has none and gives at once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::assignor::{Held, Item, divide};
use super::wire::{self, Claim, Share, Things};
use crate::herder::ownership::{Holdings, TaskId, Work};

/// A member and what it claims.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    member: String,
    pub(super) offset: i64,
    holds: Holdings,
    ending: Holdings,
}

impl Seat {
    /// A claim that can't be read counts as one to nothing: its writer runs no version of this worker.
    pub(super) fn read(member: &str, claim: &[u8]) -> Self {
        let claim: Claim = wire::decode(claim).unwrap_or_else(|reason| {
            tracing::error!(member, reason, "what a member of the group says can't be read");
            Claim::default()
        });
        let Claim { offset, holds, ending } = claim;
        Self { member: member.to_owned(), offset, holds: holds.into(), ending: ending.into() }
    }
}

/// Everybody's share, by member id.
pub(super) type Shares = Vec<(String, Share)>;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Leader {
    delay_max: Duration,
    /// What was divided last: connectors and the number of their tasks.
    divided: Option<BTreeMap<String, u32>>,
    /// What each member had after that.
    given: BTreeMap<String, Holdings>,
    /// What lost members had, and until when it waits for them.
    withheld: Option<(Holdings, Instant)>,
}

impl Leader {
    pub(super) fn new(delay_max: Duration) -> Self {
        Self { delay_max, divided: None, given: BTreeMap::new(), withheld: None }
    }

    /// It leads no more.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.delay_max);
    }

    /// Whether there is something else to divide than was.
    pub(super) fn has_other_work(&self, work: &Work) -> bool {
        self.divided.as_ref() != Some(&work.connectors)
    }

    /// When what is withheld must be given out.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.withheld.as_ref().map(|(_, until)| *until)
    }

    /// Everybody keeps what it claims.
    pub(super) fn as_it_is(&mut self, seats: &[Seat], work: &Work) -> Shares {
        self.divided = Some(work.connectors.clone());
        let share = |seat: &Seat| Share { gives: Things::from(&seat.holds), revokes: Things::default() };
        seats.iter().map(|seat| (seat.member.clone(), share(seat))).collect()
    }

    /// Divides the work by what the members claim.
    pub(super) fn divide(&mut self, seats: &[Seat], work: &Work, now: Instant) -> Shares {
        self.withhold(seats, now);
        let withheld = self.withheld.as_ref().map(|(things, _)| things.clone()).unwrap_or_default();
        let held = |seat: &Seat| {
            let (all, ending) = (seat.holds.tasks.clone(), seat.ending.tasks.clone());
            (seat.member.clone(), Held { all, ending })
        };
        let tasks = divide(&seats.iter().map(held).collect(), &work.tasks().collect(), &withheld.tasks);
        let held = |seat: &Seat| {
            let (all, ending) = (seat.holds.connectors.clone(), seat.ending.connectors.clone());
            (seat.member.clone(), Held { all, ending })
        };
        let wanted = work.connectors.keys().cloned().collect();
        let connectors = divide(&seats.iter().map(held).collect(), &wanted, &withheld.connectors);
        let shares: Shares = tasks
            .into_iter()
            .zip(connectors.into_values())
            .map(|((member, tasks), connectors)| {
                let gives = Holdings { connectors: connectors.given, tasks: tasks.given };
                let revokes = Holdings { connectors: connectors.revoked, tasks: tasks.revoked };
                (member, Share { gives: Things::from(&gives), revokes: Things::from(&revokes) })
            })
            .collect();
        tracing::info!(
            members = shares.len(),
            connectors = work.connectors.len(),
            tasks = work.tasks().count(),
            offset = work.offset,
            "the work is divided"
        );
        self.divided = Some(work.connectors.clone());
        self.given = shares.iter().map(|(member, share)| (member.clone(), share.all())).collect();
        shares
    }

    /// Notes who is gone, and whether what it had waits.
    fn withhold(&mut self, seats: &[Seat], now: Instant) {
        if self.delay_max.is_zero() {
            return;
        }
        let is_here = |member: &String| seats.iter().any(|seat| seat.member == *member);
        let has_newcomer =
            seats.iter().any(|seat| seat.holds.is_empty() && !self.given.contains_key(&seat.member));
        let is_over = self.withheld.as_ref().is_some_and(|(_, until)| *until <= now);
        if is_over || (has_newcomer && self.withheld.is_some()) {
            // Whoever was gone is back under another name, or won't be.
            self.withheld = None;
            return;
        }
        let lost = self.given.iter().filter(|(member, _)| !is_here(member)).map(|(_, had)| had);
        let lost = lost.fold(Holdings::default(), |lost, had| lost.union(had));
        if !lost.is_empty() && !has_newcomer {
            let (things, _) = self.withheld.get_or_insert((Holdings::default(), now + self.delay_max));
            *things = things.union(&lost);
        }
    }
}

impl Item for TaskId {
    fn kind(&self) -> &str {
        &self.connector
    }
}

impl Item for String {
    fn kind(&self) -> &str {
        self
    }
}
