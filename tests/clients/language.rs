//! The client programs by language, and how to read what a group member says.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use millrace_tests::binary::repository;
use millrace_tests::process::Process;
use millrace_tests::tools;
use serde_json::Value;

use crate::target::Target;

/// A client library, by the language of its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// librdkafka through confluent-kafka.
    Python,
    /// franz-go.
    Go,
    /// KafkaJS.
    JavaScript,
    /// Apache Kafka's own client, in its VerifiableConsumer; only a group member.
    Java,
}

/// How members and their coordinator come to an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The members' leader assigns, between two barriers.
    Classic,
    /// The coordinator assigns (KIP-848).
    Consumer,
}

/// Which group a member joins, and as what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Membership<'a> {
    pub(crate) topic: &'a str,
    pub(crate) group: &'a str,
    pub(crate) protocol: Protocol,
    /// `group.instance.id`, if it is static.
    pub(crate) instance: Option<&'a str>,
}

/// What a member said, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// All partitions that it now has.
    Assigned(Vec<u32>),
    Record {
        partition: u32,
        offset: u64,
        value: u64,
    },
    Committed,
}

impl Language {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Language::Python => "librdkafka",
            Language::Go => "franz-go",
            Language::JavaScript => "kafkajs",
            Language::Java => "java",
        }
    }

    pub(crate) fn program(self) -> Command {
        let source = |path: &str| repository().join("tests/clients").join(path);
        match self {
            Language::Python => {
                let mut python = tools::python();
                python.arg(source("python/client.py"));
                python
            }
            Language::Go => tools::franz_go(),
            Language::JavaScript => {
                let mut node = tools::node();
                node.arg(source("javascript/client.js"));
                node
            }
            Language::Java => tools::kafka("verifiable-consumer"),
        }
    }

    /// Starts a member of a group.
    pub(crate) fn member(self, target: &Target, membership: &Membership<'_>) -> Process {
        let Membership { topic, group, protocol, instance } = *membership;
        let mut program = self.program();
        let bootstrap = target.bootstrap();
        match self {
            Language::Java => {
                program.args(["--bootstrap-server", bootstrap, "--topic", topic, "--group-id", group]);
                program.args(["--reset-policy", "earliest", "--verbose"]);
                match protocol {
                    Protocol::Classic => program.args(["--session-timeout", "6000"]),
                    Protocol::Consumer => program.args(["--group-protocol", "consumer"]),
                };
                instance.map(|instance| program.args(["--group-instance-id", instance]));
            }
            _ => {
                program.args(["member", "--bootstrap", bootstrap, "--topic", topic, "--group", group]);
                if protocol == Protocol::Consumer {
                    program.args(["--protocol", "consumer"]);
                }
                instance.map(|instance| program.args(["--instance", instance]));
                program.stdin(Stdio::piped());
            }
        }
        Process::spawn(&mut program, target.output())
    }

    /// Asks a member to leave its group, and waits for its end.
    pub(crate) fn leave(self, member: &mut Process, limit: Duration) {
        if self == Language::Java {
            // A Java program that ends in order after SIGTERM says so by its exit code.
            member.terminate();
            let status = member.wait(limit);
            assert!(matches!(status.code(), Some(0 | 143)), "{status}:\n{}", member.output());
        } else {
            member.close_stdin();
            member.succeed(limit);
        }
    }

    /// Reads a member's output; other lines are the library's own log.
    pub(crate) fn said(self, output: &str) -> Vec<Said> {
        // The last line may be half written.
        let lines = output.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        if self != Language::Java {
            return lines.filter_map(said_in_words).collect();
        }
        let mut assigned = BTreeSet::new();
        lines.filter_map(|line| said_in_json(line, &mut assigned)).collect()
    }
}

fn said_in_words(line: &str) -> Option<Said> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["assigned"] => Some(Said::Assigned(Vec::new())),
        ["assigned", list] => {
            Some(Said::Assigned(list.split(',').filter_map(|word| word.parse().ok()).collect()))
        }
        ["record", partition, offset, value] => Some(Said::Record {
            partition: partition.parse().ok()?,
            offset: offset.parse().ok()?,
            value: value.parse().ok()?,
        }),
        ["committed"] => Some(Said::Committed),
        _ => None,
    }
}

/// The tool says what was added or taken away; `assigned` is what it has.
fn said_in_json(line: &str, assigned: &mut BTreeSet<u32>) -> Option<Said> {
    let event: Value = serde_json::from_str(line).ok()?;
    let partitions = || -> Option<BTreeSet<u32>> {
        let named = event["partitions"].as_array()?.iter();
        Some(named.filter_map(|it| it["partition"].as_u64().map(|it| it as u32)).collect())
    };
    match event["name"].as_str()? {
        "partitions_assigned" => assigned.extend(partitions()?),
        "partitions_revoked" => {
            let revoked = partitions()?;
            assigned.retain(|partition| !revoked.contains(partition));
        }
        "record_data" => {
            return Some(Said::Record {
                partition: event["partition"].as_u64()? as u32,
                offset: event["offset"].as_u64()?,
                value: event["value"].as_str()?.parse().ok()?,
            });
        }
        "offsets_committed" => return event["success"].as_bool()?.then_some(Said::Committed),
        _ => return None,
    }
    Some(Said::Assigned(assigned.iter().copied().collect()))
}

#[test]
fn members_are_understood() {
    let words = "%6|log of the library\nassigned 0,2\nrecord 2 7 41\ncommitted\nrecord 1";
    let record = Said::Record { partition: 2, offset: 7, value: 41 };
    assert_eq!(Language::Go.said(words), [Said::Assigned(vec![0, 2]), record.clone(), Said::Committed]);
    let json = "{\"name\":\"partitions_assigned\",\"partitions\":[{\"partition\":2},{\"partition\":0}]}\n\
                {\"name\":\"record_data\",\"partition\":2,\"offset\":7,\"value\":\"41\"}\n\
                {\"name\":\"offsets_committed\",\"success\":false}\n\
                {\"name\":\"partitions_revoked\",\"partitions\":[{\"partition\":0}]}\n";
    let (both, rest) = (Said::Assigned(vec![0, 2]), Said::Assigned(vec![2]));
    assert_eq!(Language::Java.said(json), [both, record, rest]);
}
