//! Who gets what: a pure function of what there is to run and what each member holds.
//!
//! Invariants, each with a property test:
//! - Nobody is given what somebody else still holds: it is revoked first, and given out in the round after it was let go of.
//! - Once nothing is held by two and all is given out, members have the same number of things or one more.
//! - As few things move as that allows. What moves from a lost member moves to whoever has the fewest.
//! - The same input gives the same output, whatever worker computes it.
//!
//! Connectors and tasks are divided separately, each evenly: a connector's own part is to plan and costs next to nothing, tasks
//! move records.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A thing that one member runs at a time.
pub(super) trait Item: Ord + Clone {
    /// Things of the same kind are spread over members where that costs no move.
    fn kind(&self) -> &str;
}

/// What one member has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held<T> {
    /// All that it runs, or has not ended yet.
    pub(super) all: BTreeSet<T>,
    /// What of that it is ending already.
    pub(super) ending: BTreeSet<T>,
}

/// What one member is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part<T> {
    /// To run.
    pub(super) given: BTreeSet<T>,
    /// To end, so that another member can be given it.
    pub(super) revoked: BTreeSet<T>,
}

// Not derived: that would ask for `T: Default`.
impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { all: BTreeSet::new(), ending: BTreeSet::new() }
    }
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self { given: BTreeSet::new(), revoked: BTreeSet::new() }
    }
}

/// Divides `wanted` among members. What is `withheld` and free is given to nobody, but room is left for it.
pub(super) fn divide<T: Item>(
    members: &BTreeMap<String, Held<T>>,
    wanted: &BTreeSet<T>,
    withheld: &BTreeSet<T>,
) -> BTreeMap<String, Part<T>> {
    let mut parts: BTreeMap<String, Part<T>> = BTreeMap::new();
    let mut taken: BTreeSet<&T> = BTreeSet::new();
    for (member, held) in members {
        let part = parts.entry(member.clone()).or_default();
        for item in held.all.iter().filter(|item| wanted.contains(item)) {
            // Two members claim it: whichever comes first keeps it, the other one has to end it.
            let part = if taken.insert(item) { &mut part.given } else { &mut part.revoked };
            part.insert(item.clone());
        }
    }
    let quotas = quotas(&parts, wanted.len());
    for (member, part) in &mut parts {
        let ending = &members[member].ending;
        while part.given.len() > quotas[member] {
            let Some(item) = surplus(&part.given, ending) else { break };
            part.given.remove(&item);
            part.revoked.insert(item);
        }
    }
    for item in wanted.iter().filter(|item| !taken.contains(item) && !withheld.contains(item)) {
        let fewest = |(member, part): &(&String, &mut Part<T>)| {
            let kin = part.given.iter().filter(|given| given.kind() == item.kind()).count();
            (part.given.len(), kin, (*member).clone())
        };
        let with_room = parts.iter_mut().filter(|(member, part)| part.given.len() < quotas[*member]);
        if let Some((_, part)) = with_room.min_by_key(fewest) {
            part.given.insert(item.clone());
        }
    }
    parts
}

/// How much each member is to have in the end. Those with the most keep the odd ones: so the fewest move.
fn quotas<T>(parts: &BTreeMap<String, Part<T>>, wanted: usize) -> BTreeMap<String, usize> {
    let mut order: Vec<_> = parts.iter().map(|(member, part)| (Reverse(part.given.len()), member)).collect();
    order.sort();
    let each = wanted.checked_div(order.len()).unwrap_or(0);
    let odd = wanted.checked_rem(order.len()).unwrap_or(0);
    let quota =
        |(place, (_, member)): (usize, (_, &String))| (member.clone(), each + usize::from(place < odd));
    order.into_iter().enumerate().map(quota).collect()
}

/// What a member with too much gives up next: what it is ending anyway, else one of those it has the most of a kind of.
fn surplus<T: Item>(given: &BTreeSet<T>, ending: &BTreeSet<T>) -> Option<T> {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    given.iter().for_each(|item| *kinds.entry(item.kind()).or_default() += 1);
    given.iter().max_by_key(|item| (ending.contains(item), kinds[item.kind()], *item)).cloned()
}
