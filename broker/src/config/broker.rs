//! THE table of broker settings: Kafka's names, types and defaults (4.x), so that a server.properties of Kafka loads.
//!
//! Where a default differs from Kafka's, the row says why. Settings of Kafka that have no meaning here (threads of the
//! JVM broker, its quorum's timeouts) are accepted and described, without effect; docs/NOT_SUPPORTED.md lists them.

use super::setting::{Check, Kind, Setting};

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    check: Check,
    doc: &'static str,
) -> Setting {
    Setting { name, kind, default: Some(default), check, synonyms: &[], doc }
}

const fn unset(name: &'static str, kind: Kind, check: Check, doc: &'static str) -> Setting {
    Setting { name, kind, default: None, check, synonyms: &[], doc }
}

const MAX: &str = "9223372036854775807";
const NO_EFFECT: &str = "accepted for Kafka's sake, without effect";

/// Every broker setting, in the order of their names.
#[rustfmt::skip]
pub(crate) static BROKER_SETTINGS: &[Setting] = &[
    unset("advertised.listeners", Kind::List, Check::Any, "addresses that clients are told to connect to"),
    row("auto.create.topics.enable", Kind::Boolean, "true", Check::Any, "whether Metadata creates a topic that is asked for"),
    row("auto.leader.rebalance.enable", Kind::Boolean, "true", Check::Any, NO_EFFECT),
    row("background.threads", Kind::Int, "10", Check::AtLeast(1), NO_EFFECT),
    row("broker.heartbeat.interval.ms", Kind::Int, "2000", Check::AtLeast(1), NO_EFFECT),
    row("broker.id", Kind::Int, "-1", Check::AtLeast(-1), "older name of node.id"),
    unset("broker.rack", Kind::Text, Check::Any, "where the broker stands, told to clients"),
    row("broker.session.timeout.ms", Kind::Int, "9000", Check::AtLeast(1), NO_EFFECT),
    unset("cluster.id", Kind::Text, Check::Any, "identity given to a data directory that has none yet"),
    row("compression.gzip.level", Kind::Int, "-1", Check::Between(-1, 9), "gzip level when the broker compresses"),
    row("compression.lz4.level", Kind::Int, "9", Check::Between(1, 17), "lz4 level when the broker compresses"),
    row("compression.type", Kind::Text, "producer", Check::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "how logs are compressed; producer keeps what the producer chose"),
    row("compression.zstd.level", Kind::Int, "3", Check::Between(-131072, 22), "zstd level when the broker compresses"),
    row("connections.max.idle.ms", Kind::Long, "600000", Check::AtLeast(-1), "how long a connection may be silent; -1 for ever"),
    row("controller.listener.names", Kind::List, "", Check::Any, "listeners that the controller uses"),
    row("controller.quorum.bootstrap.servers", Kind::List, "", Check::Any, NO_EFFECT),
    row("controller.quorum.election.timeout.ms", Kind::Int, "1000", Check::AtLeast(1), NO_EFFECT),
    row("controller.quorum.fetch.timeout.ms", Kind::Int, "2000", Check::AtLeast(1), NO_EFFECT),
    row("controller.quorum.voters", Kind::List, "", Check::Any, "the controllers, as id@host:port; one, this node, for now"),
    row("default.replication.factor", Kind::Int, "1", Check::AtLeast(1), "replicas of a topic whose creator doesn't say"),
    row("delete.topic.enable", Kind::Boolean, "true", Check::Any, "whether topics can be deleted"),
    row("fetch.max.bytes", Kind::Int, "57671680", Check::AtLeast(1024), "most record bytes in one Fetch response"),
    row("group.initial.rebalance.delay.ms", Kind::Int, "3000", Check::AtLeast(0), "how long a new group waits for more members"),
    row("group.max.session.timeout.ms", Kind::Int, "1800000", Check::AtLeast(1), "longest session timeout of a member"),
    row("group.max.size", Kind::Int, "2147483647", Check::AtLeast(1), "most members of a group"),
    row("group.min.session.timeout.ms", Kind::Int, "6000", Check::AtLeast(1), "shortest session timeout of a member"),
    row("inter.broker.listener.name", Kind::Text, "PLAINTEXT", Check::Any, "listener that brokers use among themselves"),
    row("listener.security.protocol.map", Kind::List, "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", Check::Any, "protocol of each listener; PLAINTEXT for now"),
    row("listeners", Kind::List, "PLAINTEXT://127.0.0.1:9092", Check::Any, "addresses to listen on (Kafka's default is every interface; here it is loopback, as there is no authentication yet)"),
    row("log.cleaner.backoff.ms", Kind::Long, "15000", Check::AtLeast(0), NO_EFFECT),
    row("log.cleaner.dedupe.buffer.size", Kind::Long, "134217728", Check::AtLeast(0), NO_EFFECT),
    row("log.cleaner.delete.retention.ms", Kind::Long, "86400000", Check::AtLeast(0), "how long tombstones of compacted topics are kept"),
    row("log.cleaner.enable", Kind::Boolean, "true", Check::Any, NO_EFFECT),
    row("log.cleaner.max.compaction.lag.ms", Kind::Long, MAX, Check::AtLeast(1), "longest time a record stays uncompacted"),
    row("log.cleaner.min.cleanable.ratio", Kind::Double, "0.5", Check::Fraction, "share of uncompacted log that starts compaction"),
    row("log.cleaner.min.compaction.lag.ms", Kind::Long, "0", Check::AtLeast(0), "shortest time a record stays uncompacted"),
    row("log.cleaner.threads", Kind::Int, "1", Check::AtLeast(0), NO_EFFECT),
    row("log.cleanup.policy", Kind::List, "delete", Check::OneOf(&["compact", "delete"]), "cleanup.policy of topics that don't set it"),
    row("log.dir", Kind::Text, "./data", Check::Any, "the data directory (Kafka's default is under /tmp, which a restart may empty)"),
    unset("log.dirs", Kind::List, Check::Any, "the data directory; one for now"),
    row("log.flush.interval.messages", Kind::Long, "1", Check::AtLeast(1), "flush.messages of topics that don't set it (Kafka's default never syncs; ours syncs before each acknowledgement)"),
    unset("log.flush.interval.ms", Kind::Long, Check::AtLeast(0), "flush.ms of topics that don't set it"),
    row("log.flush.offset.checkpoint.interval.ms", Kind::Int, "5000", Check::AtLeast(1), "how often recovery points are written (Kafka's default is a minute; the nearer they are, the less a restart after a kill reads)"),
    row("log.flush.scheduler.interval.ms", Kind::Long, MAX, Check::AtLeast(0), "how often flush.ms is looked at"),
    row("log.flush.start.offset.checkpoint.interval.ms", Kind::Int, "60000", Check::AtLeast(0), "how often log start offsets are written"),
    row("log.index.interval.bytes", Kind::Int, "4096", Check::AtLeast(0), "bytes of log between two index entries"),
    row("log.index.size.max.bytes", Kind::Int, "10485760", Check::AtLeast(4), "size of a segment's index"),
    row("log.local.retention.bytes", Kind::Long, "-2", Check::AtLeast(-2), NO_EFFECT),
    row("log.local.retention.ms", Kind::Long, "-2", Check::AtLeast(-2), NO_EFFECT),
    row("log.message.timestamp.after.max.ms", Kind::Long, "3600000", Check::AtLeast(0), "how far in the future a timestamp may lie"),
    row("log.message.timestamp.before.max.ms", Kind::Long, MAX, Check::AtLeast(0), "how far in the past a timestamp may lie"),
    row("log.message.timestamp.type", Kind::Text, "CreateTime", Check::OneOf(&["CreateTime", "LogAppendTime"]), "whose clock stamps records"),
    row("log.preallocate", Kind::Boolean, "false", Check::Any, NO_EFFECT),
    row("log.recovery.corruption.policy", Kind::Text, "refuse", Check::OneOf(&["refuse", "cut"]), "what recovery does with corrupt bytes that had been durable: refuse to open the log, or cut it there and keep the rest beside it (Kafka always cuts)"),
    row("log.retention.bytes", Kind::Long, "-1", Check::AtLeast(-1), "retention.bytes of topics that don't set it"),
    row("log.retention.check.interval.ms", Kind::Long, "300000", Check::AtLeast(1), "how often retention is looked at"),
    row("log.retention.hours", Kind::Int, "168", Check::AtLeast(-1), "retention of topics that don't set it, in hours"),
    unset("log.retention.minutes", Kind::Int, Check::AtLeast(-1), "the same in minutes; stronger"),
    unset("log.retention.ms", Kind::Long, Check::AtLeast(-1), "the same in milliseconds; strongest"),
    row("log.roll.hours", Kind::Int, "168", Check::AtLeast(1), "segment.ms of topics that don't set it, in hours"),
    row("log.roll.jitter.hours", Kind::Int, "0", Check::AtLeast(0), NO_EFFECT),
    unset("log.roll.jitter.ms", Kind::Long, Check::AtLeast(0), NO_EFFECT),
    unset("log.roll.ms", Kind::Long, Check::AtLeast(1), "the same in milliseconds; stronger"),
    row("log.segment.bytes", Kind::Int, "1073741824", Check::AtLeast(1_048_576), "segment.bytes of topics that don't set it"),
    row("log.segment.delete.delay.ms", Kind::Long, "60000", Check::AtLeast(0), "how long a deleted file stays on disk"),
    row("max.connections", Kind::Int, "10000", Check::AtLeast(1), "most connections at a time (Kafka has no limit; ours keeps memory bounded)"),
    row("max.connections.per.ip", Kind::Int, "2147483647", Check::AtLeast(0), "most connections at a time from one address"),
    row("max.incremental.fetch.session.cache.slots", Kind::Int, "1000", Check::AtLeast(0), NO_EFFECT),
    row("max.request.partition.size.limit", Kind::Int, "2000", Check::AtLeast(1), "most partitions in one answer to DescribeTopicPartitions"),
    row("message.max.bytes", Kind::Int, "1048588", Check::AtLeast(0), "max.message.bytes of topics that don't set it"),
    unset("metadata.log.dir", Kind::Text, Check::Any, NO_EFFECT),
    row("metadata.log.segment.bytes", Kind::Int, "1073741824", Check::AtLeast(8_388_608), "size at which the metadata log begins a new segment"),
    row("min.insync.replicas", Kind::Int, "1", Check::AtLeast(1), "in-sync replicas without which acks=all is refused"),
    row("node.id", Kind::Int, "1", Check::AtLeast(0), "this node's number"),
    row("num.io.threads", Kind::Int, "8", Check::AtLeast(1), NO_EFFECT),
    row("num.network.threads", Kind::Int, "3", Check::AtLeast(1), NO_EFFECT),
    row("num.partitions", Kind::Int, "1", Check::AtLeast(1), "partitions of a topic whose creator doesn't say"),
    row("num.recovery.threads.per.data.dir", Kind::Int, "2", Check::AtLeast(1), NO_EFFECT),
    row("num.replica.fetchers", Kind::Int, "1", Check::AtLeast(1), NO_EFFECT),
    row("offset.metadata.max.bytes", Kind::Int, "4096", Check::AtLeast(0), "longest metadata of an offset commit"),
    row("offsets.commit.timeout.ms", Kind::Int, "5000", Check::AtLeast(1), "how long an offset commit may take"),
    row("offsets.load.buffer.size", Kind::Int, "5242880", Check::AtLeast(1), NO_EFFECT),
    row("offsets.retention.check.interval.ms", Kind::Long, "600000", Check::AtLeast(1), "how often expired offsets are looked for"),
    row("offsets.retention.minutes", Kind::Int, "10080", Check::AtLeast(1), "how long the offsets of an empty group are kept"),
    row("offsets.topic.compression.codec", Kind::Int, "0", Check::Between(0, 4), NO_EFFECT),
    row("offsets.topic.num.partitions", Kind::Int, "50", Check::AtLeast(1), "partitions of __consumer_offsets when it is created"),
    row("offsets.topic.replication.factor", Kind::Short, "1", Check::AtLeast(1), "replicas of __consumer_offsets (Kafka's default is 3, for a cluster)"),
    row("offsets.topic.segment.bytes", Kind::Int, "104857600", Check::AtLeast(1), "segment size of __consumer_offsets"),
    row("process.roles", Kind::List, "broker,controller", Check::OneOf(&["broker", "controller"]), "what this node is"),
    row("producer.id.expiration.ms", Kind::Int, "86400000", Check::AtLeast(1), "how long the state of a silent idempotent producer is kept"),
    row("queued.max.request.bytes", Kind::Long, "268435456", Check::AtLeast(1_048_576), "most bytes of requests held in memory at a time (Kafka has no limit; ours keeps memory bounded)"),
    row("queued.max.requests", Kind::Int, "500", Check::AtLeast(1), NO_EFFECT),
    row("replica.lag.time.max.ms", Kind::Long, "30000", Check::AtLeast(1), NO_EFFECT),
    row("request.timeout.ms", Kind::Int, "30000", Check::AtLeast(1), NO_EFFECT),
    row("share.coordinator.state.topic.min.isr", Kind::Short, "1", Check::AtLeast(1), NO_EFFECT),
    row("share.coordinator.state.topic.num.partitions", Kind::Int, "50", Check::AtLeast(1), NO_EFFECT),
    row("share.coordinator.state.topic.replication.factor", Kind::Short, "1", Check::AtLeast(1), NO_EFFECT),
    row("socket.listen.backlog.size", Kind::Int, "1024", Check::AtLeast(1), "connections that may wait to be accepted (Kafka's default is 50: a burst beyond it waits a second or more for its next try)"),
    row("socket.receive.buffer.bytes", Kind::Int, "-1", Check::AtLeast(-1), "receive buffer of a socket; -1 leaves it to the system, which adapts it"),
    row("socket.request.max.bytes", Kind::Int, "104857600", Check::AtLeast(1024), "largest request that is read"),
    row("socket.send.buffer.bytes", Kind::Int, "-1", Check::AtLeast(-1), "send buffer of a socket; -1 leaves it to the system, which adapts it"),
    row("transaction.abort.timed.out.transaction.cleanup.interval.ms", Kind::Int, "10000", Check::AtLeast(1), NO_EFFECT),
    row("transaction.max.timeout.ms", Kind::Int, "900000", Check::AtLeast(1), "longest timeout that a transaction may ask for"),
    row("transaction.partition.verification.enable", Kind::Boolean, "true", Check::Any, NO_EFFECT),
    row("transaction.remove.expired.transaction.cleanup.interval.ms", Kind::Int, "3600000", Check::AtLeast(1), "how often expired transactional ids are looked for"),
    row("transaction.state.log.min.isr", Kind::Int, "1", Check::AtLeast(1), "min.insync.replicas of __transaction_state (Kafka's default is 2, for a cluster)"),
    row("transaction.state.log.num.partitions", Kind::Int, "50", Check::AtLeast(1), "partitions of __transaction_state when it is created"),
    row("transaction.state.log.replication.factor", Kind::Short, "1", Check::AtLeast(1), "replicas of __transaction_state (Kafka's default is 3, for a cluster)"),
    row("transaction.state.log.segment.bytes", Kind::Int, "104857600", Check::AtLeast(1), "segment size of __transaction_state"),
    row("transactional.id.expiration.ms", Kind::Int, "604800000", Check::AtLeast(1), "how long a silent transactional id is remembered"),
    row("unclean.leader.election.enable", Kind::Boolean, "false", Check::Any, "whether a replica that is not in sync may lead"),
];

/// The row called `name`.
pub(crate) fn setting(name: &str) -> Option<&'static Setting> {
    BROKER_SETTINGS.binary_search_by(|row| row.name.cmp(name)).ok().map(|at| &BROKER_SETTINGS[at])
}
