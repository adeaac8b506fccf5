//! Settings of the group coordinator, named and defaulted as in Kafka.

use crate::config::group::{HEARTBEAT_INTERVAL, Limits, SESSION_TIMEOUT};
use crate::controller::Image;
use crate::group::consumer::assignor::Assignor;

/// How groups and their offsets are kept. Each field is the Kafka property of the same name, with dots for underscores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// `group.min.session.timeout.ms`: members may not ask for a shorter session.
    pub(crate) group_min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`: members may not ask for a longer session.
    pub(crate) group_max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members after the first.
    pub(crate) group_initial_rebalance_delay_ms: i32,
    /// `group.max.size`: how many members a group may have; past it a join is refused with GROUP_MAX_SIZE_REACHED.
    pub(crate) group_max_size: i32,
    /// `group.consumer.session.timeout.ms` and `group.consumer.heartbeat.interval.ms`: how long a member of a consumer
    /// group may be silent and how often it is told to come, and what single groups may have of their own instead.
    pub(crate) group_consumer_limits: Limits,
    /// `group.consumer.max.size`: how many members a consumer group may have; past it GROUP_MAX_SIZE_REACHED.
    pub(crate) group_consumer_max_size: i32,
    /// `group.consumer.assignors`: which may be asked for; the first one is for those who do not ask.
    pub(crate) group_consumer_assignors: Vec<Assignor>,
    /// `group.consumer.migration.policy`: which groups change their type while they have members.
    pub(crate) group_consumer_migration_policy: Migration,
    /// `offset.metadata.max.bytes`: how long the text beside an offset may be; past it OFFSET_METADATA_TOO_LARGE.
    pub(crate) offset_metadata_max_bytes: i32,
    /// `offsets.retention.minutes`: how long offsets outlive their group's last member.
    pub(crate) offsets_retention_minutes: i32,
    /// `offsets.retention.check.interval.ms`: how often that is looked at.
    pub(crate) offsets_retention_check_interval_ms: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            group_min_session_timeout_ms: 6_000,
            group_max_session_timeout_ms: 1_800_000,
            group_initial_rebalance_delay_ms: 3_000,
            group_max_size: i32::MAX,
            group_consumer_limits: Limits::default(),
            group_consumer_max_size: i32::MAX,
            group_consumer_assignors: vec![Assignor::Uniform, Assignor::Range],
            group_consumer_migration_policy: Migration::Bidirectional,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_minutes: 7 * 24 * 60,
            offsets_retention_check_interval_ms: 600_000,
        }
    }
}

impl Config {
    /// How long a member of consumer group `group` may be silent: what the group's own settings say, or the broker's.
    pub(crate) fn consumer_session_timeout_ms(&self, image: &Image, group: &str) -> i32 {
        self.group_consumer_limits.session_timeout_ms(image.group_setting(group, SESSION_TIMEOUT))
    }

    /// How often a member of consumer group `group` is told to come.
    pub(crate) fn consumer_heartbeat_interval_ms(&self, image: &Image, group: &str) -> i32 {
        self.group_consumer_limits.heartbeat_interval_ms(image.group_setting(group, HEARTBEAT_INTERVAL))
    }
}

/// `group.consumer.migration.policy`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Migration {
    /// `disabled`
    Disabled,
    /// `upgrade`
    Upgrade,
    /// `downgrade`
    Downgrade,
    /// `bidirectional`
    Bidirectional,
}

impl Migration {
    /// The policy called `name`, in any case.
    pub(crate) fn named(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "upgrade" => Self::Upgrade,
            "downgrade" => Self::Downgrade,
            "bidirectional" => Self::Bidirectional,
            _ => Self::Disabled,
        }
    }

    /// Whether classic groups may become consumer groups.
    pub(crate) fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    /// Whether consumer groups may become classic ones.
    pub(crate) fn downgrades(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// How long a new member that parked in a join is believed to be there. It has no id to send heartbeats with, and
/// nobody notices when its connection breaks; after this it has to ask again.
pub(crate) const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1_000;

/// How many groups one partition of `__consumer_offsets` holds; past it new groups are refused.
pub(crate) const GROUPS_MAX: usize = 100_000;

/// How many members of one group may have an id and not yet have joined; past it a join is refused.
pub(crate) const PENDING_JOINS_MAX: usize = 10_000;
