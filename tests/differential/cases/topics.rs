//! Topics, metadata and settings.

use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeConfigsRequest, DescribeTopicPartitionsRequest, IncrementalAlterConfigsRequest, MetadataRequest,
};
use uuid::Uuid;

use super::{create, text, topic};
use crate::both::Both;

/// Kinds of configuration resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// A setting, the number of an operation, and a value.
type Change<'a> = (&'a str, i8, Option<&'a str>);

pub(super) fn ask(both: &mut Both) {
    creation(both);
    metadata(both);
    settings(both);
    more_partitions(both);
    deletion(both);
}

fn new_topic(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic(name))
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
}

fn with(wanted: CreatableTopic, name: &str, value: Option<&str>) -> CreatableTopic {
    let config = CreatableTopicConfig::default().with_name(text(name)).with_value(value.map(text));
    wanted.with_configs(vec![config])
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let one = |(index, brokers): &(i32, &[i32])| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*index)
            .with_broker_ids(brokers.iter().copied().map(BrokerId).collect())
    };
    new_topic(name, -1, -1).with_assignments(assignments.iter().map(one).collect())
}

fn creation(both: &mut Both) {
    for version in 2..=7 {
        let (name, defaults) = (format!("topic.{version}"), format!("defaults-{version}"));
        let request = |wanted: CreatableTopic| {
            CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(30_000)
        };
        both.same("a topic", [version], |_| request(new_topic(&name, 3, 1)));
        both.same("a topic again", [version], |_| request(new_topic(&name, 3, 1)));
        if version >= 4 {
            both.same("a topic of defaults", [version], |_| request(new_topic(&defaults, -1, -1)));
        }
        let refused = [
            ("no name", new_topic("", 1, 1)),
            ("a bad name", new_topic("a b", 1, 1)),
            ("two dots", new_topic("..", 1, 1)),
            ("a long name", new_topic(&"n".repeat(250), 1, 1)),
            ("a collision", new_topic(&name.replace('.', "_"), 1, 1)),
            ("no partitions", new_topic("new", 0, 1)),
            ("fewer than none", new_topic("new", -2, 1)),
            ("no replicas", new_topic("new", 1, 0)),
            ("two replicas", new_topic("new", 1, 2)),
            ("an unknown setting", with(new_topic("new", 1, 1), "no.such.setting", Some("1"))),
            ("a bad value", with(new_topic("new", 1, 1), "retention.ms", Some("x"))),
            ("a value out of range", with(new_topic("new", 1, 1), "segment.bytes", Some("1"))),
            ("a null value", with(new_topic("new", 1, 1), "retention.ms", None)),
            ("an unknown policy", with(new_topic("new", 1, 1), "cleanup.policy", Some("shred"))),
            ("an assignment without partition 0", assigned("new", &[(1, &[1])])),
            ("an assignment to nobody", assigned("new", &[(0, &[])])),
            ("an assignment to a stranger", assigned("new", &[(0, &[7])])),
            ("an assignment twice to one", assigned("new", &[(0, &[1, 1])])),
            ("an assignment of two sizes", assigned("new", &[(0, &[1]), (1, &[])])),
            ("assignment and number", assigned("new", &[(0, &[1])]).with_num_partitions(3)),
        ];
        for (what, wanted) in refused {
            both.same(what, [version], |_| request(wanted.clone()));
        }
        let assigned = assigned(&format!("assigned-{version}"), &[(0, &[1]), (1, &[1])]);
        both.same("an assignment", [version], |_| request(assigned.clone()));
        let new = new_topic("twice", 1, 1);
        both.same("twice in a request", [version], |_| {
            CreateTopicsRequest::default().with_topics(vec![new.clone(), new.clone()]).with_timeout_ms(30_000)
        });
        both.same("only validated", [version], |_| {
            request(new_topic("validated", 1, 1)).with_validate_only(true)
        });
    }
}

fn metadata(both: &mut Both) {
    let of = |names: &[&str]| {
        let one = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic(name)));
        let topics = Some(names.iter().map(one).collect());
        MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(true)
    };
    both.same("one topic", 0..=13, |_| of(&["topic.2"]));
    both.same("an invalid name", 0..=13, |_| of(&["a b"]));
    both.same("a missing topic, not created", 4..=13, |_| {
        of(&["missing"]).with_allow_auto_topic_creation(false)
    });
    both.same("none", 1..=13, |_| of(&[]));
    both.same("with operations", 8..=13, |_| of(&["topic.2"]).with_include_topic_authorized_operations(true));
    both.same("the cluster's operations", 8..=10, |_| {
        of(&[]).with_include_cluster_authorized_operations(true)
    });
    let by_id = MetadataRequestTopic::default().with_topic_id(Uuid::from_u128(77)).with_name(None);
    both.same("an unknown id", 12..=13, |_| {
        MetadataRequest::default().with_topics(Some(vec![by_id.clone()]))
    });
    for endpoints in [1, 2, 3] {
        both.same("the cluster", if endpoints == 1 { 0..=2 } else { 1..=2 }, |_| {
            DescribeClusterRequest::default().with_endpoint_type(endpoints)
        });
    }
    both.same("the cluster with operations", 0..=2, |_| {
        DescribeClusterRequest::default()
            .with_include_cluster_authorized_operations(true)
            .with_endpoint_type(1)
    });
    let pages = |names: &[&str], limit: i32, cursor: Option<(&str, i32)>| {
        let one = |name: &&str| TopicRequest::default().with_name(topic(name));
        let cursor = cursor
            .map(|(name, index)| Cursor::default().with_topic_name(topic(name)).with_partition_index(index));
        DescribeTopicPartitionsRequest::default()
            .with_topics(names.iter().map(one).collect())
            .with_response_partition_limit(limit)
            .with_cursor(cursor)
    };
    both.same("partitions", [0], |_| pages(&["topic.3", "topic.2", "missing"], 2000, None));
    both.same("a page", [0], |_| pages(&["topic.2", "topic.3"], 4, None));
    both.same("the next page", [0], |_| pages(&["topic.2", "topic.3"], 4, Some(("topic.3", 1))));
    both.same("a cursor past the end", [0], |_| pages(&["topic.2"], 4, Some(("topic.2", 9))));
    both.same("a cursor before the start", [0], |_| pages(&["topic.2"], 4, Some(("topic.2", -1))));
    both.same("no page", [0], |_| pages(&["topic.2"], 0, None));
}

fn settings(both: &mut Both) {
    let describe = |kind: i8, name: &str, keys: Option<&[&str]>| {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()));
        DescribeConfigsRequest::default().with_resources(vec![resource])
    };
    // One by one: Kafka's order is that of a hash table.
    let keys = Some(&["retention.ms"][..]);
    for key in ["cleanup.policy", "no.such.key", "segment.bytes"] {
        both.same(&format!("setting {key}"), 1..=4, |_| {
            describe(TOPIC, "topic.2", Some(&[key])).with_include_synonyms(true)
        });
    }
    both.same("settings of no topic", 1..=4, |_| describe(TOPIC, "missing", keys));
    both.same("settings of a bad name", 1..=4, |_| describe(TOPIC, "a b", keys));
    both.same("settings of another broker", 1..=4, |_| describe(BROKER, "77", keys));
    both.same("settings of a broker without number", 1..=4, |_| describe(BROKER, "x", keys));
    for key in ["log.retention.hours", "node.id", "message.max.bytes", "num.partitions"] {
        both.same(&format!("setting {key} of a broker"), [4], |_| describe(BROKER, "1", Some(&[key])));
    }

    let alter = |name: &str, changes: &[Change<'_>]| {
        let one = |(name, operation, value): &Change<'_>| {
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(*operation)
                .with_value(value.map(text))
        };
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(name))
            .with_configs(changes.iter().map(one).collect());
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
    };
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    const APPEND: i8 = 2;
    const SUBTRACT: i8 = 3;
    let changes: [(&str, &str, &[Change<'_>]); 15] = [
        ("set", "topic.2", &[("retention.ms", SET, Some("86400000"))]),
        ("append", "topic.2", &[("cleanup.policy", APPEND, Some("compact"))]),
        ("append what is there", "topic.2", &[("cleanup.policy", APPEND, Some("compact"))]),
        ("subtract", "topic.2", &[("cleanup.policy", SUBTRACT, Some("delete"))]),
        ("subtract what is not there", "topic.2", &[("cleanup.policy", SUBTRACT, Some("delete"))]),
        ("append to a number", "topic.2", &[("retention.ms", APPEND, Some("1"))]),
        ("set to null", "topic.2", &[("retention.ms", SET, None)]),
        ("delete", "topic.2", &[("cleanup.policy", DELETE, None)]),
        ("delete what is not set", "topic.2", &[("segment.ms", DELETE, None)]),
        ("one setting twice", "topic.2", &[("segment.ms", SET, Some("9")), ("segment.ms", DELETE, None)]),
        ("an unknown setting", "topic.2", &[("no.such.setting", SET, Some("9"))]),
        ("a bad value", "topic.2", &[("segment.ms", SET, Some("x"))]),
        ("nothing", "topic.2", &[]),
        ("no topic", "missing", &[("retention.ms", SET, Some("1"))]),
        ("no name", "", &[("retention.ms", SET, Some("1"))]),
    ];
    for (what, name, changes) in changes {
        both.same(&format!("settings: {what}"), 0..=1, |_| alter(name, changes));
        for key in ["retention.ms", "cleanup.policy", "segment.ms"] {
            both.same(&format!("setting {key} after: {what}"), [4], |_| {
                describe(TOPIC, "topic.2", Some(&[key]))
            });
        }
    }
}

fn more_partitions(both: &mut Both) {
    let to = |name: &str, count: i32, assignments: Option<&[i32]>| {
        let one = |id: &i32| CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(*id)]);
        let wanted = CreatePartitionsTopic::default()
            .with_name(topic(name))
            .with_count(count)
            .with_assignments(assignments.map(|ids| ids.iter().map(one).collect()));
        CreatePartitionsRequest::default().with_topics(vec![wanted]).with_timeout_ms(30_000)
    };
    for version in 0..=3 {
        let more = 4 + i32::from(version);
        both.same("more partitions", [version], |_| to("topic.3", more, None));
        both.same("as many partitions", [version], |_| to("topic.3", more, None));
        both.same("fewer partitions", [version], |_| to("topic.3", 1, None));
        both.same("fewer than none", [version], |_| to("topic.3", -1, None));
        both.same("partitions of no topic", [version], |_| to("missing", 3, None));
        both.same("partitions on a stranger", [version], |_| to("topic.3", more + 1, Some(&[9])));
        both.same("too few assignments", [version], |_| to("topic.3", more + 2, Some(&[1])));
    }
    let twice = to("topic.3", 20, None).topics[0].clone();
    both.same("twice in a request", 0..=3, |_| {
        CreatePartitionsRequest::default()
            .with_topics(vec![twice.clone(), twice.clone()])
            .with_timeout_ms(30_000)
    });
}

fn deletion(both: &mut Both) {
    let timeout_ms = 30_000;
    for version in 1..=5 {
        let name = format!("topic.{version}");
        let request = || DeleteTopicsRequest::default().with_timeout_ms(timeout_ms);
        if version >= 2 {
            both.same("deletion", [version], |_| request().with_topic_names(vec![topic(&name)]));
        }
        both.same("deletion of no topic", [version], |_| request().with_topic_names(vec![topic("missing")]));
    }
    create(both, "gone", 1);
    let state = |name: Option<&str>, id: u128| {
        DeleteTopicState::default().with_name(name.map(topic)).with_topic_id(Uuid::from_u128(id))
    };
    for (what, states) in [
        ("by name", vec![state(Some("gone"), 0)]),
        ("of no topic", vec![state(Some("gone"), 0)]),
        ("of no id", vec![state(None, 77)]),
        ("by both", vec![state(Some("topic.7"), 77)]),
        ("by neither", vec![state(None, 0)]),
    ] {
        both.same(&format!("deletion {what}"), [6], |_| {
            DeleteTopicsRequest::default().with_topics(states.clone()).with_timeout_ms(timeout_ms)
        });
    }
}
