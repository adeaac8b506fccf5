//! Deadlines of consumer groups: a member's session, the time it has to give up partitions, and for members of the
//! classic protocol the times they have to join and to sync.

use super::ConsumerGroup;
use super::member::{Member, MemberState};
use crate::group::context::{Context, Deadline};

/// Gives a member its session timeout from now on.
pub(crate) fn keep_alive(cx: &mut Context, group: &str, member: &Member) {
    let session_ms = match &member.classic {
        Some(classic) => classic.session_timeout_ms,
        None => cx.config.consumer_session_timeout_ms(&cx.image, group),
    };
    let deadline = Deadline::Member(group.to_owned(), member.id.clone());
    cx.timers.set(deadline, cx.now_ms.saturating_add(i64::from(session_ms)));
}

/// Sets and takes back what the way from `before` to `after` asks for.
pub(crate) fn follow(
    cx: &mut Context,
    group: &str,
    before: Option<&ConsumerGroup>,
    after: Option<&ConsumerGroup>,
) {
    for (id, _) in before.into_iter().flat_map(|before| &before.members) {
        if after.is_none_or(|after| !after.members.contains_key(id)) {
            forget(cx, group, id);
        }
    }
    for (id, member) in after.into_iter().flat_map(|after| &after.members) {
        let old = before.and_then(|before| before.members.get(id));
        if !cx.timers.has(&Deadline::Member(group.to_owned(), id.clone())) {
            keep_alive(cx, group, member);
        }
        let reconcile = Deadline::Reconcile(group.to_owned(), id.clone());
        if member.state != MemberState::UnrevokedPartitions || member.classic.is_some() {
            cx.timers.cancel(&reconcile);
        } else if old.is_none_or(|old| !old.same_progress(member)) {
            let at_ms = cx.now_ms.saturating_add(i64::from(member.rebalance_timeout_ms.max(0)));
            cx.timers.set(reconcile, at_ms);
        }
    }
}

/// A member of the classic protocol has its rebalance timeout to come and join.
pub(crate) fn expect_join(cx: &mut Context, group: &str, member: &Member) {
    let deadline = Deadline::ClassicJoin(group.to_owned(), member.id.clone());
    if !cx.timers.has(&deadline) {
        cx.timers.set(deadline, cx.now_ms.saturating_add(i64::from(member.rebalance_timeout_ms.max(0))));
    }
}

/// A member of the classic protocol has joined, and has its rebalance timeout to ask for its assignment.
pub(crate) fn expect_sync(cx: &mut Context, group: &str, member: &Member) {
    cx.timers.cancel(&Deadline::ClassicJoin(group.to_owned(), member.id.clone()));
    let deadline = Deadline::ClassicSync(group.to_owned(), member.id.clone());
    cx.timers.set(deadline, cx.now_ms.saturating_add(i64::from(member.rebalance_timeout_ms.max(0))));
}

/// A member of the classic protocol has asked for its assignment.
pub(crate) fn synced(cx: &mut Context, group: &str, id: &str) {
    cx.timers.cancel(&Deadline::ClassicSync(group.to_owned(), id.to_owned()));
}

fn forget(cx: &mut Context, group: &str, id: &str) {
    for deadline in [Deadline::Member, Deadline::Reconcile, Deadline::ClassicJoin, Deadline::ClassicSync] {
        cx.timers.cancel(&deadline(group.to_owned(), id.to_owned()));
    }
}
