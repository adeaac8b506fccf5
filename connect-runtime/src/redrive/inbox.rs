//! A connector's retry topic, as its tasks read it.
//!
//! The topic is not there before somebody retries for the first time: tasks look for it now and then. Only connectors that have a dead
//! letter topic do.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::{Admin, Client, FetchedPartition, TopicPartition};

use super::letter::Letter;
use crate::component::batch::{Batch, BatchBuilder, Headers, RecordView};
use crate::failure::dead_letter::Stage;

/// How often a task looks whether the topic is there.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A retried record as it was before its first retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Where it was read; none: by a source.
    pub(crate) place: Option<(String, i32, i64)>,
    /// How often it was retried, this time included.
    pub(crate) retries: u32,
    /// Where it goes on.
    pub(crate) entry: Entry,
}

/// Where a retried record of a source goes on: before what refused it. A sink's begins anew, for a letter of a sink holds the record as it
/// was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Before the transforms.
    Transforms,
    /// Behind them, before the converters.
    Converters,
    /// Behind both: it stands there as the topic has it.
    Topic,
}

impl Entry {
    /// All of them, in the order of the stages.
    pub(crate) const ALL: [Self; 3] = [Self::Transforms, Self::Converters, Self::Topic];

    fn of(stage: &str) -> Self {
        match stage {
            stage if stage == Stage::KafkaProduce.name() => Self::Topic,
            stage if stage == Stage::KeyConverter.name() || stage == Stage::ValueConverter.name() => {
                Self::Converters
            }
            _ => Self::Transforms,
        }
    }
}

/// Retried records with their own headers and topic, at their place in the retry topic.
#[derive(Debug, Default)]
pub(crate) struct Retried {
    pub(crate) batch: Batch,
    /// One per record.
    pub(crate) origins: Vec<Origin>,
}

/// Takes letters apart. A record without a topic of its own gets `topic`; what is no letter is taken as it is.
pub(crate) fn open(
    fetched: &[FetchedPartition],
    topic: &str,
    wanted: impl Fn(&Origin) -> bool,
) -> Result<Retried, millrace_client::Error> {
    let mut builder = BatchBuilder::default();
    let mut origins = Vec::new();
    let (mut lens, mut data) = (Vec::new(), Vec::new());
    for fetched in fetched {
        fetched.for_each(|record| {
            let letter = Letter::parse(record.headers);
            let origin = origin_of(letter.as_ref());
            if !wanted(&origin) {
                return;
            }
            let destination = letter.as_ref().and_then(|letter| letter.destination.as_deref());
            let read_from = origin.place.as_ref().map(|(topic, ..)| topic.as_str());
            let topic = destination.or(read_from).unwrap_or(topic);
            lens.clear();
            data.clear();
            let mut add = |(name, value): (&[u8], Option<&[u8]>)| {
                lens.extend([name.len() as i32, value.map_or(-1, |value| value.len() as i32)]);
                data.extend_from_slice(name);
                data.extend_from_slice(value.unwrap_or_default());
            };
            match &letter {
                Some(letter) => letter.headers.iter().copied().for_each(&mut add),
                None => record.headers.for_each(&mut add),
            }
            builder.push(&RecordView {
                topic: Some(topic),
                partition: Some(fetched.partition),
                offset: Some(record.offset),
                timestamp_ms: Some(record.timestamp).filter(|time| *time >= 0),
                key: record.key,
                value: record.value,
                headers: Headers::known(&lens, &data),
            });
            origins.push(origin.clone());
        })?;
    }
    Ok(Retried { batch: builder.build(), origins })
}

fn origin_of(letter: Option<&Letter<'_>>) -> Origin {
    let place = letter.and_then(|letter| letter.origin.as_ref());
    Origin {
        place: place.map(|(topic, partition, offset)| (topic.to_string(), *partition, *offset)),
        retries: letter.map_or(0, |letter| letter.retries).saturating_add(1),
        entry: letter.map_or(Entry::Transforms, |letter| Entry::of(&letter.stage)),
    }
}

/// Removes what the connector's group has gone past, so that a place that is forgotten brings nothing back. What can't be removed now
/// is removed the next time.
pub(crate) async fn sweep(client: &Client, done: &BTreeMap<TopicPartition, i64>) {
    let removed = match Admin::new(client).delete_records(done).await {
        Ok(each) => each.into_values().find_map(Result::err),
        Err(error) => Some(error),
    };
    if let Some(error) = removed {
        tracing::warn!(%error, "retried records stay in their topic for now");
    }
}
