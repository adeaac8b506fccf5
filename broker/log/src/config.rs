//! What a log can be told, under Apache Kafka's topic property names.

/// What recovery does with bytes that had been durable and are corrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CorruptionPolicy {
    /// Refuse to open the log, change nothing: an operator decides.
    #[default]
    Refuse,
    /// Cut the log before the first corrupt batch; what is cut off is kept beside it in `.corrupt` files.
    Cut,
}

/// Settings of one log. Limits are inclusive; sizes in bytes, times in milliseconds; -1 means no limit where said.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is rolled before it would grow larger.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment is rolled when its first batch is this much older than the one to append.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: up to so much is taken off `segment_ms`, for each segment anew.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment is rolled when its offset index is this large.
    pub segment_index_bytes: u64,
    /// `index.interval.bytes`: about how many bytes of log lie between two index entries.
    pub index_interval_bytes: u64,
    /// `retention.ms`: segments whose newest record is older are deleted; -1 keeps them.
    pub retention_ms: i64,
    /// `retention.bytes`: the oldest segments above this size are deleted; -1 keeps them.
    pub retention_bytes: i64,
    /// `max.message.bytes`: the largest batch, as it is stored.
    pub max_message_bytes: usize,
    /// `message.timestamp.type=LogAppendTime`: the broker's time replaces the producer's.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `cleanup.policy` contains `compact`: every record needs a key.
    pub compact: bool,
    /// `cleanup.policy` contains `delete`: retention applies.
    pub delete: bool,
    /// `min.cleanable.dirty.ratio`: the share of the log that is not compacted before it is.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: a record is not compacted before it is this old.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: a record is compacted when it is this old, whatever the ratio.
    pub max_compaction_lag_ms: i64,
    /// `delete.retention.ms`: tombstones and markers stay for this long after compaction met them first.
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`: files of deleted segments stay for this long under another name.
    pub file_delete_delay_ms: i64,
    /// `producer.id.expiration.ms`: a producer without an open transaction is forgotten after this time.
    pub producer_id_expiration_ms: i64,
    /// `log.recovery.corruption.policy`, which Apache Kafka does not have.
    pub corruption_policy: CorruptionPolicy,
    /// What a batch may unpack to when the log must look into it (times, keys), in bytes.
    pub max_uncompressed_bytes: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: 7 * DAY_MS,
            retention_bytes: -1,
            max_message_bytes: 1_048_588,
            log_append_time: false,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 60 * 60 * 1000,
            compact: false,
            delete: true,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: DAY_MS,
            file_delete_delay_ms: 60_000,
            producer_id_expiration_ms: DAY_MS,
            corruption_policy: CorruptionPolicy::Refuse,
            max_uncompressed_bytes: 256 << 20,
        }
    }
}
