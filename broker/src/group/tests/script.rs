//! Reads a golden script, plays it, and writes it out with the answers.
//!
//! A line that begins with `> ` is a command, `MILLISECONDS VERB key=value...`; the lines under it are what came of it;
//! everything else is prose. Requests carry a number (`#1`) under which they are answered.

mod consumer;

pub(super) use consumer::image_of;

use super::harness::{Entry, Harness};

use crate::coordinators::{KeyValue, Producer, Token, TopicPartition};
use crate::group::config::{Config, Migration};
use crate::group::event::{Commit, Effect, Event, Join, Joined, Leave, Marker, MemberRef, Reply, Sync};
use crate::group::offsets::CommittedOffset;
use crate::group::query::FetchedOffset;
use crate::group::records::{self, Key};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Plays `text`; gives it back with today's answers.
pub(super) fn run(text: &str) -> String {
    let mut out = String::new();
    let mut harness = Harness::new(Config::default());
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            out += line;
            out.push('\n');
            out += &play(&mut harness, command);
        } else if !line.starts_with("  ") {
            out += line;
            out.push('\n');
        }
    }
    out
}

/// The words of a command.
struct Words<'a> {
    by_key: BTreeMap<&'a str, &'a str>,
    token: Token,
}

impl<'a> Words<'a> {
    fn text(&self, key: &str) -> String {
        self.by_key.get(key).copied().unwrap_or_default().to_owned()
    }

    fn optional(&self, key: &str) -> Option<String> {
        self.by_key.get(key).map(|word| (*word).to_owned())
    }

    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> T {
        let word = self.by_key.get(key);
        word.map_or(default, |word| word.parse().unwrap_or_else(|_| panic!("{key}={word} is not a number")))
    }

    /// `a:1,b:2` as pairs; a missing second part is empty.
    fn pairs(&self, key: &str) -> Vec<(&'a str, &'a str)> {
        let list = self.by_key.get(key).copied().unwrap_or_default();
        list.split(',')
            .filter(|part| !part.is_empty())
            .map(|part| part.split_once(':').unwrap_or((part, "")))
            .collect()
    }

    fn partitions(&self, key: &str) -> Vec<TopicPartition> {
        self.pairs(key).into_iter().map(|(tp, _)| partition(tp)).collect()
    }

    fn member(&self) -> MemberRef {
        MemberRef {
            group: self.text("g"),
            member_id: self.text("id"),
            instance: self.optional("instance"),
            generation: self.number("gen", -1),
        }
    }

    fn producer(&self) -> Producer {
        Producer { id: self.number("pid", 1), epoch: self.number("epoch", 0) }
    }
}

fn partition(text: &str) -> TopicPartition {
    let (topic, number) = text.rsplit_once('-').unwrap_or_else(|| panic!("{text} is not topic-partition"));
    TopicPartition::new(topic, number.parse().expect("a partition number"))
}

fn play(harness: &mut Harness, command: &str) -> String {
    let mut words = command.split_whitespace();
    let now_ms: i64 = words.next().and_then(|word| word.parse().ok()).expect("a time");
    let verb = words.next().expect("a verb");
    let mut token = Token(0);
    let mut by_key = BTreeMap::new();
    for word in words {
        match (word.strip_prefix('#'), word.split_once('=')) {
            (Some(number), _) => token = Token(number.parse().expect("a number after #")),
            (None, Some((key, value))) => drop(by_key.insert(key, value)),
            (None, None) => drop(by_key.insert("", word)),
        }
    }
    let words = Words { by_key, token };
    match verb {
        "config" => {
            configure(harness, &words);
            String::new()
        }
        "topics" => {
            harness.learn(consumer::image(&words));
            String::new()
        }
        "describe-consumer" => consumer::describe(harness, &words.text("")),
        "restart" => {
            harness.restart(now_ms);
            String::new()
        }
        "describe" => format!("  {}\n", describe(harness, &words.text(""))),
        "fetch" => fetch(harness, &words),
        "disk" => {
            let result = match words.text("").as_str() {
                "ok" => Ok(()),
                "fails" => Err(ResponseError::NotCoordinator),
                other => panic!("disk {other}?"),
            };
            show(&harness.disk(result, now_ms))
        }
        verb => show(&harness.step(event(verb, &words), now_ms)),
    }
}

fn configure(harness: &mut Harness, words: &Words<'_>) {
    let config = &mut harness.config;
    config.group_consumer_max_size = words.number("consumer_max_size", config.group_consumer_max_size);
    if let Some(policy) = words.optional("migration") {
        config.group_consumer_migration_policy = Migration::named(&policy);
    }
    config.group_max_size = words.number("max_size", config.group_max_size);
    config.group_initial_rebalance_delay_ms = words.number("delay", config.group_initial_rebalance_delay_ms);
    config.offsets_retention_minutes = words.number("retention_minutes", config.offsets_retention_minutes);
    harness.restart(0);
}

fn event(verb: &str, words: &Words<'_>) -> Event {
    let token = words.token;
    match verb {
        "join" => Event::Join(token, join(words)),
        "sync" => {
            let assignments = words.pairs("assign").into_iter();
            Event::Sync(
                token,
                Sync {
                    member: words.member(),
                    protocol_type: words.optional("type"),
                    protocol: words.optional("protocol"),
                    assignments: assignments
                        .map(|(id, what)| (id.to_owned(), Bytes::from(what.to_owned())))
                        .collect(),
                },
            )
        }
        "heartbeat" => Event::Heartbeat(token, words.member()),
        "consumer" => Event::ConsumerHeartbeat(token, Box::new(consumer::heartbeat(words))),
        "leave" => {
            let who = words.pairs("who").into_iter();
            let members = who.map(|(id, instance)| {
                (
                    id.trim_matches('-').to_owned(),
                    Some(instance.to_owned()).filter(|instance| !instance.is_empty()),
                )
            });
            Event::Leave(token, Leave { group: words.text("g"), members: members.collect() })
        }
        "commit" => Event::Commit(token, commit(words)),
        "txn-commit" => Event::TxnCommit(token, words.producer(), commit(words)),
        "marker" => {
            let commit = words.text("") == "commit";
            Event::Marker(token, Marker { producer: words.producer(), coordinator_epoch: 0, commit })
        }
        "delete" => Event::Delete(token, words.text("g")),
        "delete-offsets" => Event::DeleteOffsets(token, words.text("g"), words.partitions("of")),
        "topics-deleted" => Event::TopicsDeleted(vec![words.text("of")]),
        "tick" => Event::Tick,
        other => panic!("no such command: {other}"),
    }
}

fn join(words: &Words<'_>) -> Join {
    let version: i16 = words.number("v", 9);
    let protocols = words.pairs("with").into_iter();
    Join {
        group: words.text("g"),
        member_id: words.text("id"),
        fresh_member_id: words.text("fresh"),
        instance: words.optional("instance"),
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: words.number("session", 10_000),
        rebalance_timeout_ms: words.number("rebalance", 60_000),
        protocol_type: words.optional("type").unwrap_or_else(|| "consumer".to_owned()),
        protocols: protocols.map(|(name, data)| (name.to_owned(), consumer::metadata(words, data))).collect(),
        knows_member_id_required: version >= 4,
        knows_skip_assignment: version >= 9,
    }
}

fn commit(words: &Words<'_>) -> Commit {
    let offsets = words.pairs("at").into_iter().map(|(tp, offset)| {
        let committed = CommittedOffset {
            offset: offset.parse().expect("an offset"),
            leader_epoch: -1,
            metadata: "m".repeat(words.number("metadata", 0)),
            commit_ms: 0,
            expire_ms: words.by_key.get("expire").and_then(|at| at.parse().ok()),
        };
        (partition(tp), committed)
    });
    Commit {
        member: words.member(),
        unknown_group: ResponseError::IllegalGeneration,
        knows_epochs: true,
        offsets: offsets.collect(),
    }
}

fn describe(harness: &Harness, group: &str) -> String {
    let Some(described) = harness.coordinator.describe(group) else {
        return format!("{group}: no such group");
    };
    let mut line = format!("{group}: {} {}", described.state.name(), described.protocol);
    for member in described.members {
        let _ = write!(line, " {}={}", member.id, consumer::show_embedded(&member.assignment));
    }
    line.trim_end().to_owned()
}

fn fetch(harness: &Harness, words: &Words<'_>) -> String {
    let of = words.partitions("of");
    let of = if of.is_empty() { None } else { Some(of) };
    let found =
        harness.coordinator.fetch_offsets(&words.text("g"), of.as_deref(), words.text("") == "stable");
    let line = found.into_iter().map(|(tp, offset)| match offset {
        FetchedOffset::Committed(committed) => format!("  {tp} at {}\n", committed.offset),
        FetchedOffset::None => format!("  {tp} without commit\n"),
        FetchedOffset::Unstable => format!("  {tp} unstable\n"),
    });
    line.collect()
}

fn show(effects: &[Effect]) -> String {
    let mut out = String::new();
    for effect in effects {
        let line = match effect {
            Effect::Reply(token, reply) => format!("#{} {}", token.0, show_reply(reply)),
            Effect::Append { records, producer, .. } => show_entry(&Entry::Batch(records.clone(), *producer)),
            Effect::AppendMarker { producer, commit, .. } => show_entry(&Entry::Marker(*producer, *commit)),
        };
        let _ = writeln!(out, "  {line}");
    }
    out
}

fn show_reply(reply: &Reply) -> String {
    match reply {
        Reply::Join(joined) => show_joined(joined),
        Reply::Sync(Ok(synced)) => format!("synced: {}", consumer::show_embedded(&synced.assignment)),
        Reply::Sync(Err(error)) | Reply::Leave(Err(error)) | Reply::Partitions(Err(error)) => {
            format!("{error:?}")
        }
        Reply::Leave(Ok(results)) | Reply::Partitions(Ok(results)) => {
            results.iter().map(|result| show_result(*result)).collect::<Vec<_>>().join(", ")
        }
        Reply::Done(result) => show_result(*result),
        Reply::ConsumerHeartbeat(result) => consumer::show_reply(result),
    }
}

fn show_result(result: Result<(), ResponseError>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |()| "ok".to_owned())
}

fn show_joined(joined: &Joined) -> String {
    if let Some(error) = joined.error {
        return format!("{error:?} {}", joined.member_id).trim_end().to_owned();
    }
    let protocol = joined.protocol.as_deref().unwrap_or("-");
    let mut line = format!(
        "joined: generation {} {protocol}, leader {}, I am {}",
        joined.generation, joined.leader, joined.member_id
    );
    if !joined.members.is_empty() {
        let each = joined
            .members
            .iter()
            .map(|member| format!("{}:{}", member.id, consumer::show_metadata(&member.metadata)));
        let _ = write!(line, ", members {}", each.collect::<Vec<_>>().join(" "));
    }
    if joined.skip_assignment {
        line += ", skip the assignment";
    }
    line
}

fn show_entry(entry: &Entry) -> String {
    match entry {
        Entry::Batch(records, producer) => {
            let lines = records.iter().map(show_record).collect::<Vec<_>>().join("; ");
            match producer {
                Some(producer) => {
                    format!("append in the transaction of {}/{}: {lines}", producer.id, producer.epoch)
                }
                None => format!("append: {lines}"),
            }
        }
        Entry::Marker(producer, commit) => {
            let kind = if *commit { "commit" } else { "abort" };
            format!("append marker: {kind} of {}/{}", producer.id, producer.epoch)
        }
    }
}

fn show_record(record: &KeyValue) -> String {
    match (records::read_key(record.key.clone()).expect("a key"), record.value.clone()) {
        (Key::Offset { group, partition }, Some(value)) => {
            format!("{group} {partition} at {}", records::read_offset(value).expect("an offset").offset)
        }
        (Key::Offset { group, partition }, None) => format!("{group} {partition} gone"),
        (Key::Group(group), Some(value)) => {
            let stored = records::read_group(value).expect("a group");
            let each = stored.members.iter();
            let each =
                each.map(|member| format!(" {}={}", member.id, consumer::show_embedded(&member.assignment)));
            format!("{group} generation {}{}", stored.generation, each.collect::<String>())
        }
        (Key::Group(group), None) => format!("{group} gone"),
        (Key::Consumer(key), value) => consumer::show_record(&key, value),
        (Key::Other(version), _) => format!("other {version}"),
    }
}

fn text(bytes: &Bytes) -> String {
    if bytes.is_empty() { "-".to_owned() } else { String::from_utf8_lossy(bytes).into_owned() }
}
