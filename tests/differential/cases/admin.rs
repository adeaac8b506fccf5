//! Leaders, reassignments, the quorum, brokers, configuration resources.

use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, BrokerId, DescribeLogDirsRequest,
    DescribeQuorumRequest, ElectLeadersRequest, ListConfigResourcesRequest,
    ListPartitionReassignmentsRequest, UnregisterBrokerRequest, describe_quorum_request,
};

use super::{create, text, topic};
use crate::both::{Both, Peer};

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(super) fn ask(both: &mut Both) {
    create(both, "admin", 2);
    elections(both);
    reassignments(both);
    log_dirs(both);
    let unregister = |id| UnregisterBrokerRequest::default().with_broker_id(BrokerId(id));
    both.same("a broker that is not there", [0], |_| unregister(99));
    both.same("a broker of no id", [0], |_| unregister(-1));
    // Its own id is refused by Millrace; Kafka would take itself off the list.
    for types in [vec![], vec![2], vec![4], vec![8], vec![16], vec![32], vec![4, 16], vec![77]] {
        both.same(&format!("config resources {types:?}"), [1], |_| {
            ListConfigResourcesRequest::default().with_resource_types(types.clone())
        });
    }
    both.same("client metrics", [0], |_| ListConfigResourcesRequest::default());
    for (name, index) in [("admin", 0), ("none", 0), ("__cluster_metadata", 1)] {
        let partition = describe_quorum_request::PartitionData::default().with_partition_index(index);
        let one = describe_quorum_request::TopicData::default()
            .with_topic_name(topic(name))
            .with_partitions(vec![partition]);
        both.same(&format!("quorum of {name} {index}"), 0..=2, |_| {
            DescribeQuorumRequest::default().with_topics(vec![one.clone()])
        });
    }
}

fn elections(both: &mut Both) {
    let of = |election: i8, parts: Option<&[(&str, &[i32])]>| {
        let parts = parts.map(|parts| {
            let one = |(name, partitions): &(&str, &[i32])| {
                TopicPartitions::default().with_topic(topic(name)).with_partitions(partitions.to_vec())
            };
            parts.iter().map(one).collect()
        });
        ElectLeadersRequest::default()
            .with_election_type(election)
            .with_topic_partitions(parts)
            .with_timeout_ms(5000)
    };
    both.same("one leader", [0], |_| of(PREFERRED, Some(&[("admin", &[0])])));
    for election in [PREFERRED, UNCLEAN, 7] {
        let what = |rest: &str| format!("election {election} of {rest}");
        both.same(&what("one"), 1..=2, |_| of(election, Some(&[("admin", &[0])])));
        both.same(&what("two"), 1..=2, |_| of(election, Some(&[("admin", &[0, 1])])));
        both.same(&what("one that is not there"), 1..=2, |_| of(election, Some(&[("admin", &[9])])));
        both.same(&what("a topic that is not there"), 1..=2, |_| of(election, Some(&[("none", &[0])])));
        both.same(&what("none"), 1..=2, |_| of(election, Some(&[])));
        both.same(&what("all"), 1..=2, |_| of(election, None));
    }
}

fn reassignments(both: &mut Both) {
    let to = |name: &str, index: i32, replicas: Option<&[i32]>| {
        let replicas = replicas.map(|ids| ids.iter().copied().map(BrokerId).collect());
        let partition = ReassignablePartition::default().with_partition_index(index).with_replicas(replicas);
        let one = ReassignableTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
        AlterPartitionReassignmentsRequest::default().with_timeout_ms(5000).with_topics(vec![one])
    };
    let cases: [(&str, i32, Option<&[i32]>); 8] = [
        ("admin", 0, Some(&[1])),
        ("admin", 0, Some(&[1, 2])),
        ("admin", 0, Some(&[2])),
        ("admin", 0, Some(&[])),
        ("admin", 0, Some(&[1, 1])),
        ("admin", 0, None),
        ("admin", 9, Some(&[1])),
        ("none", 0, Some(&[1])),
    ];
    for (name, index, replicas) in cases {
        both.same(&format!("{name} {index} to {replicas:?}"), 0..=1, |_| to(name, index, replicas));
    }
    both.same("the replication factor stays", [1], |_| {
        to("admin", 0, Some(&[1, 2])).with_allow_replication_factor_change(false)
    });
    both.same("nothing", 0..=1, |_| AlterPartitionReassignmentsRequest::default().with_timeout_ms(5000));
    both.same("all reassignments", [0], |_| ListPartitionReassignmentsRequest::default().with_topics(None));
    for (name, index) in [("admin", 0), ("admin", 9), ("none", 0)] {
        let one = ListPartitionReassignmentsTopics::default()
            .with_name(topic(name))
            .with_partition_indexes(vec![index]);
        both.same(&format!("reassignments of {name} {index}"), [0], |_| {
            ListPartitionReassignmentsRequest::default().with_topics(Some(vec![one.clone()]))
        });
    }
}

fn log_dirs(both: &mut Both) {
    both.each(|peer| {
        let dirs =
            peer.ask(1, &DescribeLogDirsRequest::default().with_topics(None)).expect("log directories");
        peer.noted.insert("dir".to_owned(), dirs.results[0].log_dir.to_string());
    });
    for own in [false, true] {
        for (name, index) in [("admin", 0), ("admin", 9), ("none", 0)] {
            for version in 1..=2 {
                let what = format!("{name} {index} to {} directory", if own { "its" } else { "another" });
                let request = |peer: &Peer| {
                    let path = if own { peer.noted["dir"].as_str() } else { "/nowhere" };
                    let one = AlterReplicaLogDirTopic::default()
                        .with_name(topic(name))
                        .with_partitions(vec![index]);
                    let dir = AlterReplicaLogDir::default().with_path(text(path)).with_topics(vec![one]);
                    AlterReplicaLogDirsRequest::default().with_dirs(vec![dir])
                };
                both.compare(&what, version, request, |_, _| ());
            }
        }
    }
}
