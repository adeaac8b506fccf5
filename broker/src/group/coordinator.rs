//! The state machine of one partition of `__consumer_offsets`: all groups that hash to it.
//!
//! [`Coordinator::step`] takes an event and the time and says what is to be done. It reads no clock, draws no random
//! number and touches neither disk nor network, so scripts and a seeded simulation drive the very code that serves
//! clients.
//!
//! Invariants:
//! - what was answered as stored is durable: such replies leave only after `Event::Written`;
//! - what `Written` applies is applied in the order of the appends, so reading the log again gives the same state;
//! - every request gets exactly one reply, at once or later.

use crate::controller::Image;
use crate::coordinators::{Producer, Token, WriteId};
use crate::group::classic::{Group, State};
use crate::group::config::{Config, GROUPS_MAX};
use crate::group::context::{Context, Deadline, Write};
use crate::group::event::{Commit, Effect, Event, Join, Marker, Reply};
use crate::group::removal::Ended;
use crate::group::{commit, join, liveness, rebalance, removal, sync};
use kafka_protocol::ResponseError;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All groups of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) cx: Context,
}

impl Coordinator {
    /// A coordinator without groups. Feed it its log (see [`super::replay`]) before the first step.
    pub(crate) fn new(config: Config) -> Self {
        Self { groups: BTreeMap::new(), cx: Context::new(config) }
    }

    /// When to send the next [`Event::Tick`], in milliseconds since 1970.
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        self.cx.timers.next()
    }

    /// A group, if it is here.
    pub(super) fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    /// All groups by name.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// One step. Effects are to be carried out in their order.
    pub(crate) fn step(&mut self, event: Event, now_ms: i64) -> Vec<Effect> {
        self.cx.now_ms = now_ms;
        self.dispatch(event);
        std::mem::take(&mut self.cx.effects)
    }

    /// Takes notice of newer metadata. Groups look at it when they next have something to do.
    pub(crate) fn learn(&mut self, image: Arc<Image>) {
        self.cx.image = image;
    }

    pub(super) fn dispatch(&mut self, event: Event) {
        let Some(event) = self.consumer_event(event) else { return };
        match event {
            Event::Join(token, request) => self.join(token, &request),
            Event::Sync(token, request) => match self.groups.get_mut(&request.member.group) {
                Some(group) => sync::sync(group, &mut self.cx, token, request),
                None => self.cx.reply(token, Reply::Sync(Err(ResponseError::UnknownMemberId))),
            },
            Event::Heartbeat(token, member) => {
                let result = match self.groups.get(&member.group) {
                    Some(group) => liveness::heartbeat(group, &mut self.cx, &member),
                    None => Err(ResponseError::UnknownMemberId),
                };
                self.cx.reply(token, Reply::Done(result));
            }
            Event::Leave(token, request) => match self.groups.get_mut(&request.group) {
                Some(group) => liveness::leave(group, &mut self.cx, token, &request),
                None => {
                    let results =
                        request.members.iter().map(|_| Err(ResponseError::UnknownMemberId)).collect();
                    self.cx.reply(token, Reply::Leave(Ok(results)));
                }
            },
            Event::Commit(token, request) => self.commit(token, None, request),
            Event::TxnCommit(token, producer, request) => self.commit(token, Some(producer), request),
            Event::Marker(token, marker) => self.cx.append_marker(token, marker),
            Event::Delete(token, group) => self.delete(token, &group),
            Event::DeleteOffsets(token, group, partitions) => match self.groups.get_mut(&group) {
                Some(group) => removal::delete_offsets(group, &mut self.cx, token, partitions),
                None => self.cx.reply(token, Reply::Partitions(Err(ResponseError::GroupIdNotFound))),
            },
            Event::TopicsDeleted(topics) => {
                for group in self.groups.values_mut() {
                    removal::topics_deleted(group, &mut self.cx, &topics);
                }
            }
            Event::Written(id, result) => self.written(id, result),
            Event::Due(Deadline::Member(group, member)) => {
                if let Some(found) = self.groups.get_mut(&group) {
                    liveness::session_ended(found, &mut self.cx, &member);
                    self.forget_if_bare(&group);
                }
            }
            // Of a member of a consumer group that is none any more; the other is never given back.
            Event::Due(_) | Event::ConsumerHeartbeat(..) => {}
            Event::Tick => self.tick(),
        }
    }

    fn join(&mut self, token: Token, request: &Join) {
        let timeouts =
            self.cx.config.group_min_session_timeout_ms..=self.cx.config.group_max_session_timeout_ms;
        if !timeouts.contains(&request.session_timeout_ms) {
            self.cx.refuse_join(token, ResponseError::InvalidSessionTimeout, &request.member_id);
            return;
        }
        if !self.groups.contains_key(&request.group) {
            if !request.member_id.is_empty() {
                self.cx.refuse_join(token, ResponseError::UnknownMemberId, &request.member_id);
                return;
            }
            if self.groups.len() >= GROUPS_MAX {
                self.cx.refuse_join(token, ResponseError::GroupMaxSizeReached, "");
                return;
            }
        }
        let group =
            self.groups.entry(request.group.clone()).or_insert_with(|| Group::new(request.group.clone()));
        join::join(group, &mut self.cx, token, request);
        self.forget_if_bare(&request.group);
    }

    fn commit(&mut self, token: Token, producer: Option<Producer>, request: Commit) {
        let id = request.member.group.clone();
        if !self.groups.contains_key(&id) {
            let refused = if request.member.generation >= 0 {
                Some(request.unknown_group)
            } else if self.groups.len() >= GROUPS_MAX {
                Some(ResponseError::CoordinatorNotAvailable)
            } else {
                None
            };
            if let Some(error) = refused {
                self.cx.reply(token, Reply::Partitions(Err(error)));
                return;
            }
        }
        let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone()));
        commit::commit(group, &mut self.cx, token, producer, request);
        self.forget_if_bare(&id);
    }

    fn delete(&mut self, token: Token, id: &str) {
        let result = match self.groups.get_mut(id) {
            Some(group) => removal::delete(group, &mut self.cx, Some(token)),
            None => Err(ResponseError::GroupIdNotFound),
        };
        match result {
            Ok(Ended::Later) => {}
            Ok(Ended::Now) => {
                self.groups.remove(id);
                self.cx.reply(token, Reply::Done(Ok(())));
            }
            Err(error) => self.cx.reply(token, Reply::Done(Err(error))),
        }
    }

    /// Forgets a group that holds nothing at all, such as one whose first commit was refused.
    pub(super) fn forget_if_bare(&mut self, id: &str) {
        if self.groups.get(id).is_some_and(Group::is_bare) {
            self.groups.remove(id);
        }
    }

    fn written(&mut self, id: WriteId, result: Result<(), ResponseError>) {
        let Some(write) = self.cx.writes.remove(&id) else { return };
        let group_id = match &write {
            Write::Marker { token, marker } => {
                if result.is_ok() {
                    self.end_transaction(marker);
                }
                self.cx.reply(*token, Reply::Done(result));
                return;
            }
            Write::Assignment { group, .. }
            | Write::StaticMember { group, .. }
            | Write::EmptyGroup { group }
            | Write::Commit { group, .. }
            | Write::RemoveOffsets { group, .. }
            | Write::Change { group, .. }
            | Write::DeleteGroup { group, .. } => group.clone(),
        };
        // A group with an unanswered append is not forgotten, but one that was deleted may have been.
        let group = self.groups.entry(group_id.clone()).or_insert_with(|| Group::new(group_id.clone()));
        group.writes_in_flight = group.writes_in_flight.saturating_sub(1);
        if let Write::Change { next, answer, .. } = write {
            self.consumer_changed(&group_id, *next, answer, result);
        } else {
            apply(group, &mut self.cx, write, result);
        }
        self.forget_if_bare(&group_id);
    }

    pub(super) fn end_transaction(&mut self, marker: &Marker) {
        for group in self.groups.values_mut() {
            group.offsets.end_transaction(marker.producer.id, marker.commit);
        }
        self.groups.retain(|_, group| !group.is_bare());
    }

    fn tick(&mut self) {
        while let Some(deadline) = self.cx.timers.pop_due(self.cx.now_ms) {
            match deadline {
                Deadline::Rebalance(group) => {
                    if let Some(group) = self.groups.get_mut(&group) {
                        rebalance::timed_out(group, &mut self.cx);
                    }
                }
                Deadline::PendingSync(group) => {
                    if let Some(group) = self.groups.get_mut(&group) {
                        rebalance::sync_timed_out(group, &mut self.cx);
                    }
                }
                Deadline::ExpireOffsets => self.expire_offsets(),
                due => self.dispatch(Event::Due(due)),
            }
        }
    }

    /// Begins to look for offsets that expire, from now on at every interval.
    pub(crate) fn schedule_expiry(&mut self, now_ms: i64) {
        let interval_ms = self.cx.config.offsets_retention_check_interval_ms.max(1);
        self.cx.timers.set(Deadline::ExpireOffsets, now_ms.saturating_add(interval_ms));
    }

    fn expire_offsets(&mut self) {
        let cx = &mut self.cx;
        self.groups.retain(|_, group| removal::expire(group, cx) != Some(Ended::Now));
        self.schedule_expiry(self.cx.now_ms);
    }
}

/// Carries out what an append was for.
fn apply(group: &mut Group, cx: &mut Context, write: Write, result: Result<(), ResponseError>) {
    match write {
        Write::Assignment { generation, .. } => {
            group.stored |= result.is_ok();
            sync::written(group, cx, generation, result);
        }
        Write::StaticMember { token, joined, .. } => {
            group.stored |= result.is_ok();
            join::static_member_written(group, cx, token, *joined, result);
        }
        Write::EmptyGroup { .. } => match result {
            Ok(()) => group.stored = true,
            Err(error) => tracing::warn!(group = %group.id, %error, "the empty generation was not stored"),
        },
        Write::Commit { token, producer, offsets, results, .. } => {
            if result.is_ok() {
                for (partition, offset) in offsets {
                    group.offsets.put(producer.map(|producer| producer.id), partition, offset);
                }
            }
            cx.reply(token, Reply::Partitions(result.map(|()| results)));
        }
        Write::RemoveOffsets { answer, partitions, .. } => {
            if result.is_ok() {
                partitions.iter().for_each(|partition| group.offsets.remove(partition));
            }
            if let Some((token, reply)) = answer {
                cx.reply(token, result.map_or_else(|error| Reply::Partitions(Err(error)), |()| reply));
            }
        }
        Write::DeleteGroup { token, .. } => {
            match result {
                Ok(()) => *group = Group::new(group.id.clone()),
                Err(_) => group.enter(State::Empty, cx.now_ms),
            }
            if let Some(token) = token {
                cx.reply(token, Reply::Done(result));
            }
        }
        // Has no group; is carried out by the coordinator.
        Write::Marker { .. } | Write::Change { .. } => {}
    }
}
