//! Reads a golden script, plays it, and writes it out with the answers. The form is that of the group's scripts.

use super::harness::Harness;
use crate::coordinators::{Producer, Token, TopicPartition};
use crate::transaction::config::Config;
use crate::transaction::event::{AddPartitions, Effect, End, Event, Init, Reply};
use crate::transaction::records;
use crate::transaction::state::{NONE, Protocol, Stored};
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

fn play(harness: &mut Harness, command: &str) -> String {
    let mut words = command.split_whitespace();
    let now_ms: i64 = words.next().and_then(|word| word.parse().ok()).expect("a time");
    let verb = words.next().expect("a verb");
    let mut token = Token(0);
    let mut by_key: BTreeMap<&str, &str> = BTreeMap::new();
    let mut bare_words = Vec::new();
    for word in words {
        match (word.strip_prefix('#'), word.split_once('=')) {
            (Some(number), _) => token = Token(number.parse().expect("a number after #")),
            (None, Some((key, value))) => drop(by_key.insert(key, value)),
            (None, None) => {
                by_key.insert("", word);
                bare_words.push(word);
            }
        }
    }
    let transactional_id = by_key.get("tx").copied().unwrap_or_default().to_owned();
    let bare = by_key.get("").copied().unwrap_or_default();
    let protocol = if by_key.contains_key("v") { Protocol::Second } else { Protocol::First };
    let answer = || if bare == "ok" { Ok(()) } else { Err(ResponseError::NotCoordinator) };
    let effects = match verb {
        "init" => {
            let timeout_ms = by_key.get("timeout").map_or(60_000, |word| word.parse().expect("a timeout"));
            let expected = by_key.get("was").map(|word| producer(word));
            let init = Init { transactional_id, timeout_ms, expected, fresh_producer_id: None };
            harness.step(Event::Init(token, init), now_ms)
        }
        "add" => {
            let list = by_key.get("of").copied().unwrap_or_default();
            let partitions = list.split(',').map(partition).collect();
            let add =
                AddPartitions { transactional_id, producer: producer(by_key["as"]), partitions, protocol };
            harness.step(Event::AddPartitions(token, add), now_ms)
        }
        "end" => {
            let producer = producer(by_key["as"]);
            let commit = bare == "commit";
            let end = End { transactional_id, producer, commit, protocol, fresh_producer_id: None };
            harness.step(Event::End(token, end), now_ms)
        }
        "tick" => harness.step(Event::Tick, now_ms),
        "disk" => harness.disk(answer(), now_ms),
        "partitions" => harness.partitions(answer(), now_ms),
        "epoch" => {
            let (epoch, id) = (bare_words[0], bare_words[1]);
            harness.set_epoch(id, epoch.parse().expect("an epoch"));
            Vec::new()
        }
        "restart" => harness.restart(now_ms),
        "describe" => {
            return match harness.coordinator.describe(bare) {
                Some(stored) => format!("  {bare} {}\n", show_stored(stored)),
                None => format!("  {bare} is not known\n"),
            };
        }
        other => panic!("no such command: {other}"),
    };
    show(&effects)
}

/// `1000/3`: producer id and epoch.
fn producer(text: &str) -> Producer {
    let (id, epoch) = text.split_once('/').expect("id/epoch");
    Producer { id: id.parse().expect("an id"), epoch: epoch.parse().expect("an epoch") }
}

fn partition(text: &str) -> TopicPartition {
    let (topic, number) = text.rsplit_once('-').expect("topic-partition");
    TopicPartition::new(topic, number.parse().expect("a partition number"))
}

fn show(effects: &[Effect]) -> String {
    let mut out = String::new();
    for effect in effects {
        let line = match effect {
            Effect::Reply(token, Reply::Init(Ok(producer))) => {
                format!("#{} is {}/{}", token.0, producer.id, producer.epoch)
            }
            Effect::Reply(token, Reply::Done(Ok(()))) => format!("#{} ok", token.0),
            Effect::Reply(token, Reply::Ended(Ok(producer))) => {
                format!("#{} ok, {}/{} from here on", token.0, producer.id, producer.epoch)
            }
            Effect::Reply(
                token,
                Reply::Init(Err(error)) | Reply::Done(Err(error)) | Reply::Ended(Err(error)),
            ) => {
                format!("#{} {error:?}", token.0)
            }
            Effect::AllocateProducerId(token, _) => format!("#{} needs a producer id", token.0),
            Effect::Append(_, record) => {
                let id = records::read_key(record.key.clone()).expect("a key");
                match record.value.clone() {
                    Some(value) => {
                        format!("append: {id} {}", show_stored(&records::read(value).expect("a value")))
                    }
                    None => format!("append: {id} gone"),
                }
            }
            Effect::WriteMarkers(markers) => {
                let kind = if markers.commit { "commit" } else { "abort" };
                let mut to: Vec<_> = markers.partitions.iter().map(ToString::to_string).collect();
                if to.is_empty() {
                    to.push("none".to_owned());
                }
                format!(
                    "markers: {kind} of {}/{} to {}",
                    markers.producer.id,
                    markers.producer.epoch,
                    to.join(" ")
                )
            }
        };
        let _ = writeln!(out, "  {line}");
    }
    out
}

fn show_stored(stored: &Stored) -> String {
    let mut line = format!("{} of {}/{}", stored.state.name(), stored.producer.id, stored.producer.epoch);
    if stored.next_producer_id != NONE {
        let _ = write!(line, " then {}/0", stored.next_producer_id);
    }
    for partition in &stored.partitions {
        let _ = write!(line, " {partition}");
    }
    line
}
