//! What the settings of topics and groups take.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    alter_configs_request,
};

use super::{create, text};
use crate::both::Both;

const TOPIC: i8 = 2;
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

/// Name and value, at a bound and beyond it.
const OF_TOPICS: &[(&str, &str)] = &[
    ("cleanup.policy", ""),
    ("cleanup.policy", "compact,delete"),
    ("cleanup.policy", "x"),
    ("compression.gzip.level", "0"),
    ("compression.gzip.level", "1"),
    ("compression.gzip.level", "-1"),
    ("compression.gzip.level", "10"),
    ("compression.lz4.level", "0"),
    ("compression.lz4.level", "17"),
    ("compression.lz4.level", "18"),
    ("compression.type", "uncompressed"),
    ("compression.type", "none"),
    ("compression.zstd.level", "-131072"),
    ("compression.zstd.level", "-131073"),
    ("compression.zstd.level", "22"),
    ("compression.zstd.level", "23"),
    ("delete.retention.ms", "-1"),
    ("file.delete.delay.ms", "-1"),
    ("flush.messages", "0"),
    ("flush.ms", "-1"),
    ("follower.replication.throttled.replicas", "0:1,1:1"),
    ("follower.replication.throttled.replicas", "0:1,1:x"),
    ("index.interval.bytes", "-1"),
    ("leader.replication.throttled.replicas", "*"),
    ("leader.replication.throttled.replicas", "x"),
    ("local.retention.bytes", "5"),
    ("local.retention.ms", "-3"),
    ("max.compaction.lag.ms", "0"),
    ("max.message.bytes", "0"),
    ("max.message.bytes", "-1"),
    ("message.downconversion.enable", "true"),
    ("message.format.version", "3.0"),
    ("message.timestamp.after.max.ms", "-1"),
    ("message.timestamp.before.max.ms", "-1"),
    ("message.timestamp.type", "LogAppendTime"),
    ("message.timestamp.type", "x"),
    ("min.cleanable.dirty.ratio", "1.0"),
    ("min.cleanable.dirty.ratio", "1.1"),
    ("min.compaction.lag.ms", "-1"),
    ("min.insync.replicas", "0"),
    ("min.insync.replicas", "5"),
    ("preallocate", "true"),
    ("preallocate", "yes"),
    ("remote.log.copy.disable", "true"),
    ("remote.log.delete.on.disable", "true"),
    ("remote.storage.enable", "true"),
    ("remote.storage.enable", "false"),
    ("retention.bytes", "-2"),
    ("retention.ms", "-1"),
    ("retention.ms", "-2"),
    ("segment.bytes", "1048576"),
    ("segment.bytes", "1048575"),
    ("segment.index.bytes", "3"),
    ("segment.jitter.ms", "-1"),
    ("segment.ms", "0"),
    ("unclean.leader.election.enable", "true"),
];

/// One step after the other, for one group.
const OF_GROUPS: &[(&str, i8, Option<&str>)] = &[
    ("consumer.session.timeout.ms", SET, Some("44999")),
    ("consumer.session.timeout.ms", SET, Some("45000")),
    ("consumer.session.timeout.ms", SET, Some("60001")),
    ("consumer.session.timeout.ms", SET, Some("60000")),
    ("consumer.session.timeout.ms", SET, None),
    ("consumer.session.timeout.ms", APPEND, Some("50000")),
    ("consumer.session.timeout.ms", DELETE, None),
    ("consumer.session.timeout.ms", DELETE, None),
    ("consumer.heartbeat.interval.ms", SET, Some("4999")),
    ("consumer.heartbeat.interval.ms", SET, Some("15001")),
    ("consumer.heartbeat.interval.ms", SET, Some("x")),
    ("consumer.heartbeat.interval.ms", SET, Some("15000")),
    ("no.such.setting", SET, Some("1")),
    ("no.such.setting", DELETE, None),
];

pub(super) fn ask(both: &mut Both) {
    create(both, "settled", 1);
    for (name, value) in OF_TOPICS {
        // Kafka 4.3 leaves out that it comes from `log.retention.hours`.
        let told = (*name, *value) != ("retention.ms", "-2");
        both.same(&format!("{name}={value}"), [1], |_| alter(TOPIC, "settled", &[(name, SET, Some(value))]));
        if told {
            both.same(&format!("{name} after {value}"), [4], |_| describe(TOPIC, "settled", Some(name)));
        }
        both.same(&format!("{name} back"), [1], |_| alter(TOPIC, "settled", &[(name, DELETE, None)]));
    }
    let [min, max] = ["min.compaction.lag.ms", "max.compaction.lag.ms"];
    let lags = |low, high| [(min, SET, Some(low)), (max, SET, Some(high))];
    both.same("a lag beyond the longest", [1], |_| alter(TOPIC, "settled", &lags("100", "50")));
    both.same("a lag below the longest", [1], |_| alter(TOPIC, "settled", &lags("40", "50")));
    both.same("a longest lag below the lag", [1], |_| alter(TOPIC, "settled", &[(max, SET, Some("30"))]));

    for (name, operation, value) in OF_GROUPS {
        let what = format!("of a group: {name} {operation} {value:?}");
        for version in 0..=1 {
            both.same(&what, [version], |_| alter(GROUP, "settled", &[(name, *operation, *value)]));
        }
        both.same(&format!("after {what}"), 1..=4, |_| describe(GROUP, "settled", Some(name)));
        both.same("groups with settings", [1], |_| {
            ListConfigResourcesRequest::default().with_resource_types(vec![GROUP])
        });
    }
    both.same("of all groups", 0..=1, |_| alter(GROUP, "", &[OF_GROUPS[1]]));
    both.same("settings of all groups", 1..=4, |_| describe(GROUP, "", None));
    both.same("no settings of a group", 0..=1, |_| alter(GROUP, "unsettled", &[]));
    let config = alter_configs_request::AlterableConfig::default()
        .with_name(text("consumer.session.timeout.ms"))
        .with_value(Some(text("50000")));
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(GROUP)
        .with_resource_name(text("settled"))
        .with_configs(vec![config]);
    both.same("the older request", 0..=2, |_| {
        AlterConfigsRequest::default().with_resources(vec![resource.clone()])
    });
    for name in ["consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"] {
        both.same(&format!("{name} after the older request"), [4], |_| {
            describe(GROUP, "settled", Some(name))
        });
    }
}

fn alter(kind: i8, name: &str, changes: &[(&str, i8, Option<&str>)]) -> IncrementalAlterConfigsRequest {
    let one = |(name, operation, value): &(&str, i8, Option<&str>)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(changes.iter().map(one).collect());
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

fn describe(kind: i8, name: &str, key: Option<&str>) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(key.map(|key| vec![text(key)]));
    // Of some topic settings the synonyms' defaults differ on purpose.
    DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(kind == GROUP)
}
