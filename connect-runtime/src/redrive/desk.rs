//! Dead letters for operators: which there are, and what waits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millrace_client::{Admin, Client, TopicPartition};
use millrace_wire::record::RecordRef;

use super::choice::Choice;
use super::marks::{Marks, RANGES_MAX};
use super::retry_topic;
use super::scan::{Found, Scan};
use super::seen::{LETTERS_MAX, Seen};
use crate::component::batch::is_topic_name;
use crate::herder::record::ConfigRecord;
use crate::offsets;
use crate::spec::flat;
use crate::worker::positions::read_log;
use crate::worker::sink::group;
use crate::worker::{WorkerConfig, topics};

/// Why dead letters can't be looked at, or nothing be done with them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster can't be reached, or refuses.
    #[error(transparent)]
    Cluster(#[from] millrace_client::Error),
    /// There is no such topic.
    #[error("there is no dead letter topic {0}; it is made when its connector starts")]
    NoTopic(String),
    /// Another command works on the same connector's letters.
    #[error(
        "another command has taken over the dead letters of {connector}; {done} are done, and stay so: run it again for the rest"
    )]
    Superseded {
        /// The connector.
        connector: String,
        /// How many letters were handled before.
        done: u64,
    },
    /// A retry topic can't have its name.
    #[error("connector {0} has a name that no topic can have, so there is no way back to it")]
    Unnamable(String),
    /// Too much to remember.
    #[error(
        "topic {topic} holds more than {LETTERS_MAX} dead letters of {connector}; let retention remove some"
    )]
    TooMany {
        /// The dead letter topic.
        topic: String,
        /// The connector.
        connector: String,
    },
    /// The marks would not fit in a record.
    #[error(
        "the letters that are handled in topic {topic} partition {partition} would be in more than {RANGES_MAX} pieces; \
         handle those between them, too"
    )]
    Scattered {
        /// The dead letter topic.
        topic: String,
        /// Its partition.
        partition: i32,
    },
}

/// Letters of one kind that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heap {
    /// The connector.
    pub connector: String,
    /// The dead letter topic.
    pub topic: String,
    /// Where they failed.
    pub stage: String,
    /// The code of the error.
    pub code: String,
    /// How many wait.
    pub waiting: u64,
    /// Timestamp of the oldest, in milliseconds since 1970.
    pub oldest_ms: i64,
    /// How often one of them was retried, at most.
    pub retries_max: u32,
}

/// What is done with letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They are sent back to their connector.
    Retry,
    /// They are put aside.
    Discard,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handled {
    /// Letters that were sent back, or put aside.
    pub done: u64,
    /// Letters that can't be retried, because the record is not in them.
    pub left_out: u64,
    /// Letters that a connector could not read, and that were not asked for by their stage.
    pub unread: u64,
}

/// What of a connector is handled, by topic and partition.
type PartitionMarks = BTreeMap<(String, i32), Marks>;

/// The dead letters of a cluster.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    pub(super) client: Client,
    pub(super) offsets_topic: Arc<str>,
    pub(super) offsets_partitions: i32,
}

impl DeadLetters {
    /// Those of a cluster whose workers keep positions in the usual topic.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let WorkerConfig { offsets_topic, offsets_partitions, .. } = WorkerConfig::default();
        Self { client, offsets_topic: offsets_topic.into(), offsets_partitions }
    }

    /// The connectors in `connect-configs` that have a dead letter topic, with it.
    ///
    /// # Errors
    /// When the cluster can't be read.
    pub async fn topics(&self, configs_topic: &str) -> Result<BTreeMap<String, String>, Error> {
        let mut topics = BTreeMap::new();
        if topics::partitions_if_there(&self.client, configs_topic).await?.is_none() {
            return Ok(topics);
        }
        read_log(&self.client, &TopicPartition::new(configs_topic, 0), |record| {
            let parsed = ConfigRecord::parse(record.key.unwrap_or_default(), record.value);
            let Some(ConfigRecord::Connector(name, config)) = parsed else { return };
            match config.and_then(|config| config.get(flat::DEAD_LETTER_TOPIC).cloned()) {
                Some(topic) => drop(topics.insert(name, topic)),
                None => drop(topics.remove(&name)),
            }
        })
        .await?;
        Ok(topics)
    }

    /// What waits in a topic, by connector, stage and code.
    ///
    /// # Errors
    /// When it isn't there, or can't be read.
    pub async fn heaps(&self, topic: &str) -> Result<Vec<Heap>, Error> {
        let mut heaps: BTreeMap<(String, String, String), Heap> = BTreeMap::new();
        self.each(topic, None, |found| {
            let letter = &found.letter;
            let key = (letter.connector.to_string(), letter.stage.to_string(), letter.code.to_string());
            let heap = heaps.entry(key).or_insert_with(|| Heap {
                connector: letter.connector.to_string(),
                topic: topic.to_owned(),
                stage: letter.stage.to_string(),
                code: letter.code.to_string(),
                waiting: 0,
                oldest_ms: i64::MAX,
                retries_max: 0,
            });
            heap.waiting += 1;
            heap.oldest_ms = heap.oldest_ms.min(found.timestamp_ms);
            heap.retries_max = heap.retries_max.max(letter.retries);
            true
        })
        .await?;
        Ok(heaps.into_values().collect())
    }

    /// Hands out the letters of a connector that wait and are meant.
    ///
    /// # Errors
    /// When the topic isn't there, or can't be read.
    pub async fn waiting(
        &self,
        topic: &str,
        connector: &str,
        choice: &Choice,
        mut take: impl FnMut(&Found<'_>),
    ) -> Result<(), Error> {
        let mut left = choice.count_max.unwrap_or(u64::MAX);
        self.each(topic, Some(connector), |found| {
            if left > 0 && choice.includes(found) {
                take(found);
                left -= 1;
            }
            left > 0
        })
        .await
    }

    /// How many retried records the connector has not taken yet.
    ///
    /// # Errors
    /// When the cluster can't be read.
    pub async fn on_their_way(&self, connector: &str) -> Result<u64, Error> {
        let topic = retry_topic(connector);
        if !is_topic_name(&topic) {
            return Ok(0);
        }
        let Some(mut scan) = Scan::open(&self.client, &topic).await? else { return Ok(0) };
        let taken = Admin::new(&self.client).group_offsets(&group(connector)).await?;
        let mut count = 0;
        for tp in scan.partitions() {
            scan.begin(&tp, taken.get(&tp).map(|taken| taken.offset))?;
            while let Some((fetched, end)) = scan.next(&tp).await? {
                for fetched in &fetched {
                    fetched.for_each(|record| count += u64::from(record.offset < end))?;
                }
            }
        }
        scan.close().await?;
        Ok(count)
    }

    /// Visits what waits, each record once; until the visitor says that it is enough.
    async fn each(
        &self,
        topic: &str,
        connector: Option<&str>,
        mut visit: impl FnMut(&Found<'_>) -> bool,
    ) -> Result<(), Error> {
        let mut scan = self.scan(topic).await?;
        let mut known: HashMap<String, (PartitionMarks, Seen)> = HashMap::new();
        'reading: for tp in scan.partitions() {
            scan.begin(&tp, None)?;
            while let Some((fetched, end)) = scan.next(&tp).await? {
                // Whose marks are needed is known when letters were seen; they can't be read in between.
                let mut new = Vec::new();
                for fetched in &fetched {
                    fetched.for_each(|record| {
                        let found = Found::parse(topic, tp.partition, &record);
                        let name = found.map(|found| found.letter.connector.into_owned());
                        new.extend(name.filter(|name| {
                            connector.is_none_or(|one| one == name) && !known.contains_key(name)
                        }));
                    })?;
                    new.sort_unstable();
                    new.dedup();
                }
                for name in new {
                    let marks = self.marks(&name).await?;
                    let seen = self.handled_before(topic, &name, &marks).await?;
                    known.insert(name, (marks, seen));
                }
                let (mut goes_on, mut failed) = (true, None);
                for fetched in &fetched {
                    fetched.for_each(|record| {
                        let found =
                            found_in(topic, &tp, end, &record).filter(|_| goes_on && failed.is_none());
                        let Some(found) = found else { return };
                        let Some((marks, seen)) = known.get_mut(&*found.letter.connector) else { return };
                        let marks = marks.get(&(topic.to_owned(), tp.partition));
                        let is_handled = marks
                            .is_some_and(|marks| marks.is_of(&scan.topic_id) && marks.contains(found.offset));
                        if is_handled || seen.earlier(&found).is_some() {
                            return;
                        }
                        seen.note(&found, false);
                        if seen.count > LETTERS_MAX {
                            failed = Some(too_many(topic, &found.letter.connector));
                            return;
                        }
                        goes_on = visit(&found);
                    })?;
                }
                failed.map_or(Ok(()), Err)?;
                if !goes_on {
                    break 'reading;
                }
            }
        }
        Ok(scan.close().await?)
    }

    pub(super) async fn scan(&self, topic: &str) -> Result<Scan, Error> {
        if !is_topic_name(topic) {
            return Err(Error::NoTopic(topic.to_owned()));
        }
        Scan::open(&self.client, topic).await?.ok_or_else(|| Error::NoTopic(topic.to_owned()))
    }

    /// Where the marks of a connector are; none: there is no topic for them yet.
    pub(super) async fn offsets_of(&self, connector: &str) -> Result<Option<TopicPartition>, Error> {
        let count = topics::partitions_if_there(&self.client, &self.offsets_topic).await?;
        Ok(count.map(|count| offsets::place(&self.offsets_topic, count, connector)))
    }

    /// What of a connector is handled, by topic and partition.
    pub(super) async fn marks(&self, connector: &str) -> Result<PartitionMarks, Error> {
        let mut marks = BTreeMap::new();
        let Some(tp) = self.offsets_of(connector).await? else { return Ok(marks) };
        read_log(&self.client, &tp, |record| {
            let of = Marks::parse_key(record.key.unwrap_or_default());
            let Some((_, topic, partition)) = of.filter(|(name, ..)| name == connector) else { return };
            match record.value.and_then(Marks::parse) {
                Some(read) => drop(marks.insert((topic, partition), read)),
                None => drop(marks.remove(&(topic, partition))),
            }
        })
        .await?;
        Ok(marks)
    }

    /// The letters of a connector that are handled, wherever they are: a copy of one may stand before it in another partition.
    pub(super) async fn handled_before(
        &self,
        topic: &str,
        connector: &str,
        marks: &PartitionMarks,
    ) -> Result<Seen, Error> {
        let mut seen = Seen::default();
        if marks.keys().all(|(of, _)| of != topic) {
            return Ok(seen);
        }
        let mut scan = self.scan(topic).await?;
        for tp in scan.partitions() {
            let marks = marks.get(&(topic.to_owned(), tp.partition));
            let Some(marks) = marks.filter(|marks| marks.is_of(&scan.topic_id)) else { continue };
            scan.begin(&tp, None)?;
            while let Some((fetched, end)) = scan.next(&tp).await? {
                for fetched in &fetched {
                    fetched.for_each(|record| {
                        let found =
                            found_in(topic, &tp, end, &record).filter(|_| marks.contains(record.offset));
                        if let Some(found) = found.filter(|found| found.letter.connector == connector) {
                            seen.note(&found, true);
                        }
                    })?;
                }
                if seen.count > LETTERS_MAX {
                    return Err(too_many(topic, connector));
                }
            }
        }
        scan.close().await?;
        Ok(seen)
    }
}

pub(super) fn found_in<'a>(
    topic: &'a str,
    tp: &TopicPartition,
    end: i64,
    record: &RecordRef<'a>,
) -> Option<Found<'a>> {
    Found::parse(topic, tp.partition, record).filter(|_| record.offset < end)
}

pub(super) fn too_many(topic: &str, connector: &str) -> Error {
    Error::TooMany { topic: topic.to_owned(), connector: connector.to_owned() }
}
