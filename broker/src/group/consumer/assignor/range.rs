//! `range`: each topic's partitions are cut into runs of equal length, one for each of the topic's subscribers.
//!
//! Subscribers stand in one order in all topics (static members by instance id, then the others by member id), and the
//! first ones get the longer runs. So topics with equally many partitions and the same subscribers are cut at the
//! same places, and records of one key meet at one member.

use super::{Spec, Targets};

/// Cuts.
pub(crate) fn assign(spec: &Spec) -> Targets {
    let mut order: Vec<(&String, _)> = spec.members.iter().collect();
    order.sort_by_key(|(id, member)| (member.instance.is_none(), member.instance.as_deref(), id.as_str()));
    let mut targets: Targets = spec.members.keys().map(|id| (id.clone(), Default::default())).collect();
    for (topic, count) in &spec.topics {
        let subscribers: Vec<&String> =
            order.iter().filter(|(_, member)| member.topics.contains(topic)).map(|(id, _)| *id).collect();
        let many = i32::try_from(subscribers.len()).unwrap_or(i32::MAX);
        if many == 0 {
            continue;
        }
        let (each, longer) = (count / many, count % many);
        let mut from = 0;
        for (at, id) in (0..).zip(subscribers) {
            let to = from + each + i32::from(at < longer);
            if let Some(target) = targets.get_mut(id).filter(|_| to > from) {
                target.insert(*topic, (from..to).collect());
            }
            from = to;
        }
    }
    targets
}
