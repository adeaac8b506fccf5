//! The coordinator's side of consumer groups: which event meets which group, and what becomes of a change when the disk
//! has answered.

use kafka_protocol::ResponseError;

use super::advance::View;
use super::change::{Next, WAITING_MAX, difference};
use super::heartbeat::{Heartbeat, heartbeat, leave};
use super::{ConsumerGroup, Refused, classic_member, convert, timers};
use crate::coordinators::{KeyValue, Token};
use crate::group::classic::{Group, State};
use crate::group::config::GROUPS_MAX;
use crate::group::context::{Context, Deadline, Write};
use crate::group::coordinator::Coordinator;
use crate::group::event::{Event, Join, Joined, Leave, MemberRef, Reply, Sync};
use crate::group::{rebalance, records};

impl Coordinator {
    /// Handles what concerns a consumer group, or a group that is changing; gives back what does not.
    pub(crate) fn consumer_event(&mut self, event: Event) -> Option<Event> {
        let id = match &event {
            Event::ConsumerHeartbeat(_, request) => &request.group,
            Event::Join(_, request) => &request.group,
            Event::Sync(_, request) => &request.member.group,
            Event::Heartbeat(_, member) => &member.group,
            Event::Leave(_, request) => &request.group,
            Event::Delete(_, group) => group,
            Event::Due(deadline) => deadline.group()?,
            _ => return Some(event),
        };
        let mut is_consumer = false;
        if let Some(group) = self.groups.get_mut(id) {
            if group.changing {
                wait(group, &mut self.cx, event);
                return None;
            }
            is_consumer = group.consumer.is_some() && group.state != State::Dead;
        }
        match event {
            Event::ConsumerHeartbeat(token, request) => self.consumer_heartbeat(token, &request),
            Event::Join(token, request) if is_consumer => self.join_consumer(token, request),
            Event::Sync(token, request) if is_consumer => self.sync_consumer(token, &request),
            Event::Heartbeat(token, member) if is_consumer => self.heartbeat_consumer(token, &member),
            Event::Leave(token, request) if is_consumer => self.leave_consumer(token, &request),
            Event::Due(deadline) if is_consumer => self.fence(&deadline),
            other => return Some(other),
        }
        None
    }

    fn consumer_heartbeat(&mut self, token: Token, request: &Heartbeat) {
        if let Err(refused) = self.take_heartbeat(token, request) {
            self.cx.reply(token, Reply::ConsumerHeartbeat(Err(refused)));
        }
        self.forget_if_bare(&request.group);
    }

    fn take_heartbeat(&mut self, token: Token, request: &Heartbeat) -> Result<(), Refused> {
        let id = &request.group;
        let unknown = || {
            let message = format!("consumer group {id} not found; join it with epoch 0");
            Refused::new(ResponseError::GroupIdNotFound, message)
        };
        if request.epoch == 0 && !self.groups.contains_key(id) {
            if self.groups.len() >= GROUPS_MAX {
                let message = format!("group {id} is one too many for this coordinator");
                return Err(Refused::new(ResponseError::GroupMaxSizeReached, message));
            }
            self.groups.insert(id.clone(), Group::new(id.clone()));
        }
        let group = self.groups.get_mut(id).ok_or_else(unknown)?;
        if group.state == State::Dead {
            return Err(ResponseError::CoordinatorNotAvailable.into());
        }
        let (is_new, base) = match &group.consumer {
            Some(consumer) => (false, consumer.clone()),
            None if request.epoch != 0 => return Err(unknown()),
            None if group.members.is_empty() && group.pending_joins.is_empty() => {
                (true, ConsumerGroup::default())
            }
            None => (true, convert::to_consumer(group, &self.cx.image, &self.cx.config)?),
        };
        let view = View { image: &self.cx.image, config: &self.cx.config, now_ms: self.cx.now_ms };
        if request.epoch < 0 {
            let next = leave(&base, request)?;
            let answer = super::heartbeat::Heartbeated {
                member_id: request.member_id.clone(),
                epoch: request.epoch,
                interval_ms: 0,
                assignment: None,
            };
            let reply = Reply::ConsumerHeartbeat(Ok(answer));
            change_or_downgrade(group, &mut self.cx, next, Some((token, reply)));
            return Ok(());
        }
        let (next, answer) = heartbeat(&base, request, view)?;
        let reply = Reply::ConsumerHeartbeat(Ok(answer));
        match next {
            Some(next) => {
                let tombstone = (is_new && group.stored).then(|| records::group_tombstone(id));
                change(group, &mut self.cx, Next::Consumer(next), tombstone, Some((token, reply)));
            }
            None => self.cx.reply(token, reply),
        }
        if let Some(member) = group.consumer.as_ref().and_then(|group| group.members.get(&request.member_id))
        {
            timers::keep_alive(&mut self.cx, id, member);
        }
        Ok(())
    }

    fn join_consumer(&mut self, token: Token, request: Join) {
        let Some(group) = self.groups.get_mut(&request.group) else { return };
        let Some(consumer) = &group.consumer else { return };
        if consumer.members.is_empty() {
            // Whoever comes first decides what an empty group is.
            change(group, &mut self.cx, Next::Bare, None, None);
            wait(group, &mut self.cx, Event::Join(token, request));
            return;
        }
        let view = View { image: &self.cx.image, config: &self.cx.config, now_ms: self.cx.now_ms };
        match classic_member::join(consumer, &request, view) {
            Ok((next, joined)) => {
                let was_last = consumer.classic_members() < consumer.members.len();
                let reply = Some((token, Reply::Join(Box::new(joined))));
                let classic = was_last
                    .then(|| convert::to_classic(&group.id, &next, view.image, view.config, view.now_ms))
                    .flatten();
                let next = match classic {
                    Some(classic) => Next::Classic { group: Box::new(classic), rebalances: false },
                    None => Next::Consumer(next),
                };
                change(group, &mut self.cx, next, None, reply);
            }
            Err((error, member_id)) => self.cx.refuse_join(token, error, &member_id),
        }
    }

    fn sync_consumer(&mut self, token: Token, request: &Sync) {
        let id = &request.member.group;
        let Some(consumer) = self.groups.get(id).and_then(|group| group.consumer.as_ref()) else { return };
        let view = View { image: &self.cx.image, config: &self.cx.config, now_ms: self.cx.now_ms };
        let result = classic_member::sync(consumer, request, view);
        if let Some(member) = consumer.members.get(&request.member.member_id) {
            match result {
                Ok(_) => {
                    timers::synced(&mut self.cx, id, &member.id);
                    timers::keep_alive(&mut self.cx, id, member);
                }
                Err(ResponseError::RebalanceInProgress) => timers::expect_join(&mut self.cx, id, member),
                Err(_) => {}
            }
        }
        self.cx.reply(token, Reply::Sync(result));
    }

    fn heartbeat_consumer(&mut self, token: Token, who: &MemberRef) {
        let Some(consumer) = self.groups.get(&who.group).and_then(|group| group.consumer.as_ref()) else {
            return;
        };
        let result = classic_member::heartbeat(consumer, who);
        if let (Some(member), Ok(()) | Err(ResponseError::RebalanceInProgress)) =
            (consumer.members.get(&who.member_id), result)
        {
            timers::keep_alive(&mut self.cx, &who.group, member);
            if result.is_err() {
                timers::expect_join(&mut self.cx, &who.group, member);
            }
        }
        self.cx.reply(token, Reply::Done(result));
    }

    fn leave_consumer(&mut self, token: Token, request: &Leave) {
        let Some(group) = self.groups.get_mut(&request.group) else { return };
        let Some(consumer) = &group.consumer else { return };
        let mut next = consumer.clone();
        let mut results = Vec::with_capacity(request.members.len());
        for (member_id, instance) in &request.members {
            let leaver = classic_member::leaver(&next, member_id, instance.as_deref());
            if let Ok(id) = &leaver {
                next.remove(id);
            }
            results.push(leaver.map(drop));
        }
        let gone = results.iter().any(Result::is_ok);
        let reply = Reply::Leave(Ok(results));
        if gone {
            change(group, &mut self.cx, Next::Consumer(next), None, Some((token, reply)));
        } else {
            self.cx.reply(token, reply);
        }
    }

    /// A member was silent, or too slow, for too long.
    fn fence(&mut self, deadline: &Deadline) {
        let (Deadline::Member(group, member)
        | Deadline::Reconcile(group, member)
        | Deadline::ClassicJoin(group, member)
        | Deadline::ClassicSync(group, member)) = deadline
        else {
            return;
        };
        let Some(group) = self.groups.get_mut(group) else { return };
        let Some(consumer) = group.consumer.as_ref().filter(|group| group.members.contains_key(member))
        else {
            return;
        };
        tracing::info!(group = %group.id, member, ?deadline, "a member is fenced from its consumer group");
        let mut next = consumer.clone();
        next.remove(member);
        change_or_downgrade(group, &mut self.cx, next, None);
    }

    /// The disk has answered a change.
    pub(crate) fn consumer_changed(
        &mut self,
        id: &str,
        next: Next,
        answer: Option<(Token, Reply)>,
        result: Result<(), ResponseError>,
    ) {
        let Some(group) = self.groups.get_mut(id) else { return };
        group.changing = false;
        let mut waiting = std::mem::take(&mut group.waiting);
        match result {
            Ok(()) => {
                become_next(group, &mut self.cx, next);
                if let Some((token, reply)) = answer {
                    answered(group, &mut self.cx, &reply);
                    self.cx.reply(token, reply);
                }
            }
            Err(error) => {
                tracing::warn!(group = id, %error, "a change of a consumer group was not stored");
                if let Some((token, reply)) = answer {
                    self.cx.reply(token, failed(&reply, error));
                }
                waiting.drain(..).for_each(|event| refuse(&mut self.cx, event, error));
                let consumer = group.consumer.as_ref();
                timers::follow(&mut self.cx, id, consumer, consumer);
            }
        }
        while let Some(event) = waiting.pop_front() {
            self.dispatch(event);
            if let Some(group) = self.groups.get_mut(id).filter(|group| group.changing) {
                group.waiting.extend(waiting);
                return;
            }
        }
    }
}

/// Lets an event wait for the change that is on its way.
fn wait(group: &mut Group, cx: &mut Context, event: Event) {
    let is_request = !matches!(event, Event::Due(_));
    if is_request && group.waiting.len() >= WAITING_MAX {
        refuse(cx, event, ResponseError::CoordinatorLoadInProgress);
    } else {
        group.waiting.push_back(event);
    }
}

/// Sends a change to the disk.
fn change(
    group: &mut Group,
    cx: &mut Context,
    next: Next,
    first: Option<KeyValue>,
    answer: Option<(Token, Reply)>,
) {
    let before = group.consumer.as_ref();
    let mut records: Vec<KeyValue> = first.into_iter().collect();
    match &next {
        Next::Consumer(next) => records.extend(difference(&group.id, before, Some(next))),
        Next::Bare => records.extend(difference(&group.id, before, None)),
        Next::Classic { group: classic, .. } => {
            records.extend(difference(&group.id, before, None));
            let stored = classic.to_stored(|member| member.assignment.clone());
            records.push(records::group(&group.id, &stored));
        }
    }
    let write = Write::Change { group: group.id.clone(), next: Box::new(next), answer };
    if records.is_empty() {
        // Nothing that a restart would have to know.
        let Write::Change { next, answer, .. } = write else { return };
        become_next(group, cx, *next);
        if let Some((token, reply)) = answer {
            answered(group, cx, &reply);
            cx.reply(token, reply);
        }
        return;
    }
    group.changing = true;
    cx.append(group, records, None, write);
}

/// A member is gone: the group goes on, or is a classic one again if it was the last of its kind.
fn change_or_downgrade(
    group: &mut Group,
    cx: &mut Context,
    next: ConsumerGroup,
    answer: Option<(Token, Reply)>,
) {
    let fewer = |group: &ConsumerGroup| group.members.len() - group.classic_members();
    let lost_one = group.consumer.as_ref().is_some_and(|before| fewer(before) > fewer(&next));
    let classic =
        if lost_one { convert::to_classic(&group.id, &next, &cx.image, &cx.config, cx.now_ms) } else { None };
    let next = match classic {
        Some(classic) => Next::Classic { group: Box::new(classic), rebalances: true },
        None => Next::Consumer(next),
    };
    change(group, cx, next, None, answer);
}

fn become_next(group: &mut Group, cx: &mut Context, next: Next) {
    match next {
        Next::Consumer(next) => {
            if group.consumer.is_none() {
                rebalance::abandon(group, cx);
            }
            timers::follow(cx, &group.id, group.consumer.as_ref(), Some(&next));
            group.consumer = Some(next);
        }
        Next::Bare => {
            timers::follow(cx, &group.id, group.consumer.as_ref(), None);
            group.consumer = None;
        }
        Next::Classic { group: classic, rebalances } => {
            timers::follow(cx, &group.id, group.consumer.as_ref(), None);
            group.consumer = None;
            group.become_classic(*classic);
            for id in group.members.keys() {
                cx.keep_alive(group, id);
            }
            if rebalances {
                rebalance::prepare_or_complete(group, cx);
            }
        }
    }
}

/// What an answer means for the deadlines of the member that gets it.
fn answered(group: &Group, cx: &mut Context, reply: &Reply) {
    let Some(consumer) = &group.consumer else { return };
    match reply {
        Reply::Join(joined) => {
            if let Some(member) = consumer.members.get(&joined.member_id) {
                timers::keep_alive(cx, &group.id, member);
                timers::expect_sync(cx, &group.id, member);
            }
        }
        Reply::ConsumerHeartbeat(Ok(heartbeated)) => {
            if let Some(member) = consumer.members.get(&heartbeated.member_id) {
                timers::keep_alive(cx, &group.id, member);
            }
        }
        _ => {}
    }
}

/// The answer instead of `reply` when it could not be stored.
fn failed(reply: &Reply, error: ResponseError) -> Reply {
    // A group that no batch can hold has no name in these APIs.
    let error = if error == ResponseError::InvalidCommitOffsetSize {
        ResponseError::UnknownServerError
    } else {
        error
    };
    match reply {
        Reply::Join(joined) => Reply::Join(Box::new(Joined::refused(error, &joined.member_id))),
        Reply::Leave(_) => Reply::Leave(Err(error)),
        Reply::Sync(_) => Reply::Sync(Err(error)),
        Reply::Partitions(_) => Reply::Partitions(Err(error)),
        Reply::Done(_) => Reply::Done(Err(error)),
        Reply::ConsumerHeartbeat(_) => Reply::ConsumerHeartbeat(Err(error.into())),
    }
}

/// Refuses a request that waited. A deadline that waited is set again by whoever calls.
fn refuse(cx: &mut Context, event: Event, error: ResponseError) {
    match event {
        Event::Join(token, request) => cx.refuse_join(token, error, &request.member_id),
        Event::Sync(token, _) => cx.reply(token, Reply::Sync(Err(error))),
        Event::Heartbeat(token, _) | Event::Delete(token, _) => cx.reply(token, Reply::Done(Err(error))),
        Event::Leave(token, _) => cx.reply(token, Reply::Leave(Err(error))),
        Event::ConsumerHeartbeat(token, _) => cx.reply(token, Reply::ConsumerHeartbeat(Err(error.into()))),
        _ => {}
    }
}
