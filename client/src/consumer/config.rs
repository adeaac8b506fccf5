//! Settings of a consumer, with Kafka's names and defaults where Kafka has the thing.

use std::time::Duration;

use super::group::Assignor;
use crate::error::{Error, Result};
use crate::offsets::Isolation;

/// Where reading begins without a committed offset, or when the offset is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record.
    Earliest,
    /// Behind the last.
    #[default]
    Latest,
    /// Nowhere: [`super::Consumer::poll`] says [`Error::NoPosition`].
    None,
}

/// How a consumer behaves.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// `group.id`; needed for committing and subscribing.
    pub group_id: Option<String>,
    /// `group.instance.id` of a static member (KIP-345).
    pub group_instance_id: Option<String>,
    /// `auto.offset.reset`
    pub auto_offset_reset: OffsetReset,
    /// `isolation.level`
    pub isolation: Isolation,
    /// `fetch.min.bytes`
    pub fetch_min_bytes: i32,
    /// `fetch.max.bytes` of one response; also the most that one poll hands out (but for one batch).
    pub fetch_max_bytes: i32,
    /// `max.partition.fetch.bytes`
    pub max_partition_fetch_bytes: i32,
    /// `fetch.max.wait.ms`
    pub fetch_max_wait: Duration,
    /// Bytes that are fetched ahead; past it fetching waits for `poll`.
    pub buffer_bytes: usize,
    /// Most bytes that a compressed batch may unpack to.
    pub max_uncompressed_batch_bytes: usize,
    /// `client.rack`
    pub client_rack: String,
    /// `session.timeout.ms`
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: a member that polls less often leaves the group; also how long a rebalance waits for it.
    pub max_poll_interval: Duration,
    /// `partition.assignment.strategy`, the preferred one first.
    pub assignors: Vec<Assignor>,
    /// `auto.commit.interval.ms`; `None`: the application commits (`enable.auto.commit=false`).
    pub auto_commit_interval: Option<Duration>,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            group_id: None,
            group_instance_id: None,
            auto_offset_reset: OffsetReset::Latest,
            isolation: Isolation::ReadUncommitted,
            fetch_min_bytes: 1,
            fetch_max_bytes: 50 * 1024 * 1024,
            max_partition_fetch_bytes: 1024 * 1024,
            fetch_max_wait: Duration::from_millis(500),
            buffer_bytes: 64 * 1024 * 1024,
            max_uncompressed_batch_bytes: 128 * 1024 * 1024,
            client_rack: String::new(),
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            assignors: vec![Assignor::Range, Assignor::RoundRobin],
            auto_commit_interval: None,
        }
    }
}

impl ConsumerConfig {
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |name, value: String, expected| Err(Error::Config { name, value, expected });
        if self.group_id.as_deref() == Some("") {
            return refuse("group.id", String::new(), "expected a name or nothing");
        }
        if self.fetch_max_bytes <= 0 {
            return refuse("fetch.max.bytes", self.fetch_max_bytes.to_string(), "expected more than 0");
        }
        if self.max_partition_fetch_bytes <= 0 {
            let value = self.max_partition_fetch_bytes.to_string();
            return refuse("max.partition.fetch.bytes", value, "expected more than 0");
        }
        if self.assignors.is_empty() {
            return refuse("partition.assignment.strategy", String::new(), "expected at least one");
        }
        if self.heartbeat_interval >= self.session_timeout {
            let value = self.heartbeat_interval.as_millis().to_string();
            return refuse("heartbeat.interval.ms", value, "expected less than session.timeout.ms");
        }
        Ok(())
    }
}
