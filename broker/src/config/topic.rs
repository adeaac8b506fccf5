//! THE table of topic settings, and their typed form.
//!
//! Names, types and defaults are Kafka 4.x's. One default differs on purpose: `flush.messages` is 1, which means that an
//! append is synced to disk before it is acknowledged (`acks=all`) and before consumers see it. A larger value gives
//! Kafka's behaviour: acknowledge from the page cache, sync now and then.
//!
//! Settings without effect yet are listed in docs/NOT_SUPPORTED.md: they are accepted, stored and described.

use std::collections::BTreeMap;

use millrace_wire::compression::Compression;

use super::setting::{Check, Kind, Setting, Unit, items, nearest};
use super::{Config, Error};

const MAX: &str = "9223372036854775807";

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    check: Check,
    synonyms: &'static [(&'static str, Unit)],
    doc: &'static str,
) -> Setting {
    Setting { name, kind, default: Some(default), check, synonyms, doc }
}

/// Every topic setting, in the order of their names.
#[rustfmt::skip]
pub(crate) static TOPIC_SETTINGS: &[Setting] = &[
    row("cleanup.policy", Kind::List, "delete", Check::OneOf(&["compact", "delete"]), &[("log.cleanup.policy", Unit::Same)], "what happens to old data: delete by age and size, compact by key, or both"),
    row("compression.gzip.level", Kind::Int, "-1", Check::BetweenOr(1, 9, -1), &[("compression.gzip.level", Unit::Same)], "gzip level when the broker compresses"),
    row("compression.lz4.level", Kind::Int, "9", Check::Between(1, 17), &[("compression.lz4.level", Unit::Same)], "lz4 level when the broker compresses; without effect"),
    row("compression.type", Kind::Text, "producer", Check::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), &[("compression.type", Unit::Same)], "how the log is compressed; producer keeps what the producer chose"),
    row("compression.zstd.level", Kind::Int, "3", Check::Between(-131072, 22), &[("compression.zstd.level", Unit::Same)], "zstd level when the broker compresses"),
    row("delete.retention.ms", Kind::Long, "86400000", Check::AtLeast(0), &[("log.cleaner.delete.retention.ms", Unit::Same)], "how long tombstones of a compacted topic are kept"),
    row("file.delete.delay.ms", Kind::Long, "60000", Check::AtLeast(0), &[("log.segment.delete.delay.ms", Unit::Same)], "how long a deleted file stays on disk"),
    row("flush.messages", Kind::Long, "1", Check::AtLeast(1), &[("log.flush.interval.messages", Unit::Same)], "records after which the log is synced; 1 syncs before each acknowledgement"),
    row("flush.ms", Kind::Long, MAX, Check::AtLeast(0), &[("log.flush.interval.ms", Unit::Same), ("log.flush.scheduler.interval.ms", Unit::Same)], "time after which the log is synced"),
    row("follower.replication.throttled.replicas", Kind::List, "", Check::Replicas, &[], "replicas whose replication is throttled on the follower; without effect"),
    row("index.interval.bytes", Kind::Int, "4096", Check::AtLeast(0), &[("log.index.interval.bytes", Unit::Same)], "bytes of log between two index entries"),
    row("leader.replication.throttled.replicas", Kind::List, "", Check::Replicas, &[], "replicas whose replication is throttled on the leader; without effect"),
    row("local.retention.bytes", Kind::Long, "-2", Check::AtLeast(-2), &[("log.local.retention.bytes", Unit::Same)], "bytes kept locally of a tiered topic"),
    row("local.retention.ms", Kind::Long, "-2", Check::AtLeast(-2), &[("log.local.retention.ms", Unit::Same)], "time that data of a tiered topic is kept locally"),
    row("max.compaction.lag.ms", Kind::Long, MAX, Check::AtLeast(1), &[("log.cleaner.max.compaction.lag.ms", Unit::Same)], "longest time a record stays uncompacted"),
    row("max.message.bytes", Kind::Int, "1048588", Check::AtLeast(0), &[("message.max.bytes", Unit::Same)], "largest record batch that is accepted"),
    row("message.timestamp.after.max.ms", Kind::Long, "3600000", Check::AtLeast(0), &[("log.message.timestamp.after.max.ms", Unit::Same)], "how far in the future a record's timestamp may lie"),
    row("message.timestamp.before.max.ms", Kind::Long, MAX, Check::AtLeast(0), &[("log.message.timestamp.before.max.ms", Unit::Same)], "how far in the past a record's timestamp may lie"),
    row("message.timestamp.type", Kind::Text, "CreateTime", Check::OneOf(&["CreateTime", "LogAppendTime"]), &[("log.message.timestamp.type", Unit::Same)], "whose clock stamps a record: the producer's or the broker's"),
    row("min.cleanable.dirty.ratio", Kind::Double, "0.5", Check::Fraction, &[("log.cleaner.min.cleanable.ratio", Unit::Same)], "share of uncompacted log that starts compaction"),
    row("min.compaction.lag.ms", Kind::Long, "0", Check::AtLeast(0), &[("log.cleaner.min.compaction.lag.ms", Unit::Same)], "shortest time a record stays uncompacted"),
    row("min.insync.replicas", Kind::Int, "1", Check::AtLeast(1), &[("min.insync.replicas", Unit::Same)], "in-sync replicas without which acks=all is refused"),
    row("preallocate", Kind::Boolean, "false", Check::Any, &[("log.preallocate", Unit::Same)], "whether a new segment's file is allocated in full"),
    row("remote.log.copy.disable", Kind::Boolean, "false", Check::Any, &[], "whether tiering of this topic is paused"),
    row("remote.log.delete.on.disable", Kind::Boolean, "false", Check::Any, &[], "whether tiered data goes when tiering is turned off"),
    row("remote.storage.enable", Kind::Boolean, "false", Check::OneOf(&["false"]), &[], "whether the topic is tiered; not here"),
    row("retention.bytes", Kind::Long, "-1", Check::Any, &[("log.retention.bytes", Unit::Same)], "size after which old segments of a partition are deleted; below 0 never"),
    row("retention.ms", Kind::Long, "604800000", Check::AtLeast(-1), &[("log.retention.ms", Unit::Same), ("log.retention.minutes", Unit::Minutes), ("log.retention.hours", Unit::Hours)], "age after which old segments are deleted; -1 never"),
    row("segment.bytes", Kind::Int, "1073741824", Check::AtLeast(1_048_576), &[("log.segment.bytes", Unit::Same)], "size at which a new segment is begun"),
    row("segment.index.bytes", Kind::Int, "10485760", Check::AtLeast(4), &[("log.index.size.max.bytes", Unit::Same)], "size of a segment's index"),
    row("segment.jitter.ms", Kind::Long, "0", Check::AtLeast(0), &[("log.roll.jitter.ms", Unit::Same), ("log.roll.jitter.hours", Unit::Hours)], "random part taken off segment.ms"),
    row("segment.ms", Kind::Long, "604800000", Check::AtLeast(1), &[("log.roll.ms", Unit::Same), ("log.roll.hours", Unit::Hours)], "age at which a new segment is begun"),
    row("unclean.leader.election.enable", Kind::Boolean, "false", Check::Any, &[("unclean.leader.election.enable", Unit::Same)], "whether a replica that is not in sync may lead"),
];

/// The row called `name`.
pub(crate) fn setting(name: &str) -> Option<&'static Setting> {
    TOPIC_SETTINGS.binary_search_by(|row| row.name.cmp(name)).ok().map(|at| &TOPIC_SETTINGS[at])
}

/// Checks one override of a topic.
///
/// # Errors
/// An unknown name, with the nearest known one; a value that the setting doesn't take.
pub(crate) fn validate(name: &str, value: &str) -> Result<(), Error> {
    find(name)?.validate(value)
}

/// Checks that what a topic has of its own fits together.
///
/// # Errors
/// Two settings that contradict each other.
pub(crate) fn check_together(overrides: &BTreeMap<String, String>) -> Result<(), Error> {
    let long = |name: &str| overrides.get(name).and_then(|value| value.trim().parse::<i64>().ok());
    let (min, max) = (long("min.compaction.lag.ms"), long("max.compaction.lag.ms"));
    match (min, max) {
        (Some(min), Some(max)) if min > max => Err(Error::InvalidValue {
            name: "min.compaction.lag.ms".to_owned(),
            value: min.to_string(),
            expected: format!("no more than max.compaction.lag.ms, which is {max}"),
        }),
        _ => Ok(()),
    }
}

fn find(name: &str) -> Result<&'static Setting, Error> {
    setting(name).ok_or_else(|| Error::UnknownTopicSetting {
        name: name.to_owned(),
        nearest: nearest(name, TOPIC_SETTINGS.iter().map(|row| row.name)).map(str::to_owned),
    })
}

/// The topic settings that change what the broker does, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopicConfig {
    pub(crate) compact: bool,
    pub(crate) delete: bool,
    /// None leaves it to the producer.
    pub(crate) compression: Option<Codec>,
    pub(crate) delete_retention_ms: i64,
    pub(crate) file_delete_delay_ms: i64,
    pub(crate) flush_messages: i64,
    pub(crate) flush_ms: i64,
    pub(crate) index_interval_bytes: i32,
    pub(crate) max_compaction_lag_ms: i64,
    pub(crate) max_message_bytes: i32,
    pub(crate) timestamp_after_max_ms: i64,
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) log_append_time: bool,
    pub(crate) min_cleanable_dirty_ratio: f64,
    pub(crate) min_compaction_lag_ms: i64,
    pub(crate) min_insync_replicas: i32,
    pub(crate) retention_bytes: i64,
    pub(crate) retention_ms: i64,
    pub(crate) segment_bytes: i32,
    pub(crate) segment_index_bytes: i32,
    pub(crate) segment_jitter_ms: i64,
    pub(crate) segment_ms: i64,
}

/// How a log is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Codec {
    pub(crate) compression: Compression,
    /// None is the codec's default.
    pub(crate) level: Option<i32>,
}

impl Codec {
    /// The codec that a `compression.type` names, at the level that the settings give it; none for `producer`.
    fn named(name: &str, setting: impl Fn(&str) -> i32) -> Option<Self> {
        // -1 is gzip's word for its default; one of zstd's levels.
        let gzip_level = || Some(setting("compression.gzip.level")).filter(|level| *level != -1);
        let (compression, level) = match name {
            "uncompressed" => (Compression::None, None),
            "gzip" => (Compression::Gzip, gzip_level()),
            "snappy" => (Compression::Snappy, None),
            "lz4" => (Compression::Lz4, None),
            "zstd" => (Compression::Zstd, Some(setting("compression.zstd.level"))),
            _ => return None,
        };
        Some(Self { compression, level })
    }
}

impl TopicConfig {
    /// What holds for a topic with these overrides on a broker with this configuration.
    pub(crate) fn resolve(overrides: &BTreeMap<String, String>, config: &Config) -> Self {
        let text = |name: &str| effective(name, overrides, config);
        let long = |name: &str| text(name).trim().parse::<i64>().unwrap_or_default();
        // Checked by the table, so that a number fits its type.
        let int = |name: &str| i32::try_from(long(name)).unwrap_or_default();
        let policy = text("cleanup.policy");
        TopicConfig {
            compact: items(&policy).any(|item| item == "compact"),
            delete: items(&policy).any(|item| item == "delete"),
            compression: Codec::named(&text("compression.type"), |name| int(name)),
            delete_retention_ms: long("delete.retention.ms"),
            file_delete_delay_ms: long("file.delete.delay.ms"),
            flush_messages: long("flush.messages"),
            flush_ms: long("flush.ms"),
            index_interval_bytes: int("index.interval.bytes"),
            max_compaction_lag_ms: long("max.compaction.lag.ms"),
            max_message_bytes: int("max.message.bytes"),
            timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            min_cleanable_dirty_ratio: text("min.cleanable.dirty.ratio").trim().parse().unwrap_or(1.0),
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            min_insync_replicas: int("min.insync.replicas"),
            retention_bytes: long("retention.bytes"),
            retention_ms: long("retention.ms"),
            segment_bytes: int("segment.bytes"),
            segment_index_bytes: int("segment.index.bytes"),
            segment_jitter_ms: long("segment.jitter.ms"),
            segment_ms: long("segment.ms"),
        }
    }

    /// Whether an append is synced before it is acknowledged and seen.
    pub(crate) fn durable_before_ack(&self) -> bool {
        self.flush_messages <= 1
    }
}

/// A place where broker settings are given.
type Layer<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The value that holds for `name`: the topic's own, else the broker's, else the default.
pub(crate) fn effective(name: &str, overrides: &BTreeMap<String, String>, config: &Config) -> String {
    if let Some(value) = overrides.get(name) {
        return value.clone();
    }
    let Some(row) = setting(name) else { return String::new() };
    let dynamic = config.dynamic();
    let layers: [Layer<'_>; 3] =
        [&|name| dynamic.broker.get(name).cloned(), &|name| dynamic.default.get(name).cloned(), &|name| {
            config.explicit(name).map(str::to_owned)
        }];
    // A weaker synonym of a stronger layer wins over a stronger synonym of a weaker one.
    for layer in layers {
        for (synonym, unit) in row.synonyms {
            if let Some(value) = layer(synonym) {
                return unit.convert(&value);
            }
        }
    }
    row.default.unwrap_or_default().to_owned()
}
