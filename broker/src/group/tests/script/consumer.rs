//! The words of consumer groups in golden scripts.
//!
//! - `topics a:3 b:1` says which topics there are; topic `a` has the id `a`, and so on;
//! - `consumer #1 g=g id=m epoch=0 topics=a,b owned=a-0,a-1` is a heartbeat; `owned=-` has nothing, none says nothing.

use super::{Harness, Words, text};
use crate::controller::Image;
use crate::controller::record::MetadataRecord;
use crate::coordinators::codec::Writer;
use crate::group::consumer::heartbeat::{Heartbeat, Heartbeated};
use crate::group::consumer::records::{self, Key};
use crate::group::consumer::{Assignment, Refused, embedded, insert, partitions};
use bytes::Bytes;
use std::fmt::Write as _;
use uuid::Uuid;

/// The id of a topic, which says its name.
pub(in crate::group::tests) fn topic_id(name: &str) -> Uuid {
    let mut id = [0; 16];
    id.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    Uuid::from_bytes(id)
}

fn topic_name(id: Uuid) -> String {
    String::from_utf8_lossy(id.as_bytes()).trim_end_matches('\0').to_owned()
}

/// Metadata with these topics.
pub(in crate::group::tests) fn image_of(topics: &[(&str, i32)]) -> Image {
    let mut image = Image::default();
    for (name, count) in topics {
        let topic_id = topic_id(name);
        image.apply(&MetadataRecord::Topic { name: (*name).to_owned(), id: topic_id });
        for partition in 0..*count {
            image.apply(&MetadataRecord::Partition {
                topic_id,
                partition,
                replicas: vec![1],
                directories: Vec::new(),
                isr: vec![1],
                leader: 1,
                leader_epoch: 0,
                partition_epoch: 0,
            });
        }
    }
    image
}

pub(super) fn image(words: &Words<'_>) -> Image {
    let topics: Vec<(&str, i32)> =
        words.pairs("are").into_iter().map(|(name, count)| (name, count.parse().expect("a count"))).collect();
    image_of(&topics)
}

fn assignment(words: &Words<'_>, key: &str) -> Option<Assignment> {
    let list = words.optional(key)?;
    let mut assignment = Assignment::new();
    if list != "-" {
        for partition in words.partitions(key) {
            insert(&mut assignment, (topic_id(&partition.topic), partition.partition));
        }
    }
    Some(assignment)
}

pub(super) fn heartbeat(words: &Words<'_>) -> Heartbeat {
    let epoch = words.number("epoch", 0);
    let names = |list: String| list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Heartbeat {
        group: words.text("g"),
        member_id: words.text("id"),
        epoch,
        instance: words.optional("instance"),
        rack: None,
        rebalance_timeout_ms: (epoch == 0).then_some(60_000),
        topics: words.optional("topics").map(names),
        pattern: words.optional("pattern"),
        assignor: words.optional("assignor"),
        owned: assignment(words, "owned").or((epoch == 0).then(Assignment::new)),
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
    }
}

/// What a member of the classic protocol says of itself: `topics=` makes it a subscription, `owned=` with partitions.
pub(super) fn metadata(words: &Words<'_>, data: &str) -> Bytes {
    let Some(topics) = words.optional("topics") else { return Bytes::from(data.to_owned()) };
    let mut writer = Writer::versioned(1);
    let topics: Vec<&str> = topics.split(',').collect();
    writer.count(topics.len());
    topics.iter().for_each(|topic| writer.string(topic));
    writer.i32(-1);
    let owned = words.partitions("owned");
    writer.count(owned.len());
    for partition in owned {
        writer.string(&partition.topic);
        writer.count(1);
        writer.i32(partition.partition);
    }
    writer.finish()
}

/// A subscription of the classic protocol, or whatever it is.
pub(super) fn show_metadata(bytes: &Bytes) -> String {
    match embedded::read_subscription(bytes.clone()) {
        Ok(subscription) => {
            format!("wants {}", subscription.topics.into_iter().collect::<Vec<_>>().join(","))
        }
        Err(_) => text(bytes),
    }
}

/// An assignment of the classic protocol, or whatever it is.
pub(super) fn show_embedded(bytes: &Bytes) -> String {
    if bytes.first() != Some(&0) {
        return text(bytes);
    }
    let topics = embedded::read_assignment(bytes.clone()).expect("an assignment").into_iter();
    let each = topics.flat_map(|(topic, partitions)| {
        partitions.into_iter().map(move |partition| format!("{topic}-{partition}"))
    });
    format!("[{}]", each.collect::<Vec<_>>().join(" "))
}

fn show(assignment: &Assignment) -> String {
    let each = partitions(assignment).map(|(topic, partition)| format!("{}-{partition}", topic_name(topic)));
    format!("[{}]", each.collect::<Vec<_>>().join(" "))
}

pub(super) fn show_reply(reply: &Result<Heartbeated, Refused>) -> String {
    match reply {
        Err(refused) => format!("{:?}", refused.error),
        Ok(heartbeated) => {
            let mut line = format!("{} epoch {}", heartbeated.member_id, heartbeated.epoch);
            if let Some(assignment) = &heartbeated.assignment {
                let _ = write!(line, " {}", show(assignment));
            }
            line
        }
    }
}

pub(super) fn show_record(key: &Key, value: Option<Bytes>) -> String {
    match (key, value) {
        (Key::Group(group), Some(value)) => {
            format!("{group} epoch {}", records::read_group(value).expect("a group").0)
        }
        (Key::TargetEpoch(group), Some(value)) => {
            format!("{group} target epoch {}", records::read_target_epoch(value).expect("an epoch"))
        }
        (Key::Member(group, id), Some(value)) => {
            let member = records::read_member(id.clone(), value).expect("a member");
            let topics =
                member.topics.into_iter().chain(member.pattern.map(|pattern| format!("/{pattern}/")));
            let kind = if member.classic.is_some() { "classic member" } else { "member" };
            format!("{group} {kind} {id} wants {}", topics.collect::<Vec<_>>().join(" "))
        }
        (Key::Target(group, id), Some(value)) => {
            format!("{group} target {id} {}", show(&records::read_target(value).expect("a target")))
        }
        (Key::Current(group, id), Some(value)) => {
            let at = records::read_current(value).expect("progress");
            let mut line = format!("{group} {id} epoch {} {:?} {}", at.epoch, at.state, show(&at.assigned));
            if !at.revoking.is_empty() {
                let _ = write!(line, " gives up {}", show(&at.revoking));
            }
            line
        }
        (Key::Pattern(group, pattern), Some(value)) => {
            let topics = records::read_pattern(value).expect("a pattern").topics;
            format!("{group} /{pattern}/ is {}", topics.into_iter().collect::<Vec<_>>().join(" "))
        }
        (key, _) => format!("{key:?} gone"),
    }
}

pub(super) fn describe(harness: &Harness, group: &str) -> String {
    let Some(described) = harness.coordinator.describe_consumer(group) else {
        return format!("  {group}: no such consumer group\n");
    };
    let mut out = format!(
        "  {group}: {} epoch {} target epoch {} {}\n",
        described.state, described.epoch, described.assignment_epoch, described.assignor
    );
    for (member, target) in described.members {
        let _ = writeln!(
            out,
            "    {} epoch {} {:?} {} of {}",
            member.id,
            member.epoch,
            member.state,
            show(&member.assigned),
            show(&target)
        );
    }
    out
}
