//! The client programs by language, and how to read what a group member says.

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

/// What a member said, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Assigned(Vec<u32>),
    Record { partition: u32, offset: u64, value: u64 },
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
    pub(crate) fn member(self, target: &Target, topic: &str, group: &str) -> Process {
        let mut program = self.program();
        match self {
            Language::Java => {
                program.args([
                    "--bootstrap-server",
                    target.bootstrap(),
                    "--topic",
                    topic,
                    "--group-id",
                    group,
                ]);
                program.args(["--session-timeout", "6000", "--reset-policy", "earliest", "--verbose"]);
                program.args(["--assignment-strategy", "org.apache.kafka.clients.consumer.RangeAssignor"]);
            }
            _ => {
                program.args([
                    "member",
                    "--bootstrap",
                    target.bootstrap(),
                    "--topic",
                    topic,
                    "--group",
                    group,
                ]);
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
        let read = if self == Language::Java { said_in_json } else { said_in_words };
        // The last line may be half written.
        output.split_inclusive('\n').filter(|line| line.ends_with('\n')).filter_map(read).collect()
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

fn said_in_json(line: &str) -> Option<Said> {
    let event: Value = serde_json::from_str(line).ok()?;
    match event["name"].as_str()? {
        "partitions_assigned" => {
            let partitions = event["partitions"].as_array()?.iter();
            Some(Said::Assigned(
                partitions.filter_map(|it| it["partition"].as_u64().map(|it| it as u32)).collect(),
            ))
        }
        "partitions_revoked" => Some(Said::Assigned(Vec::new())),
        "record_data" => Some(Said::Record {
            partition: event["partition"].as_u64()? as u32,
            offset: event["offset"].as_u64()?,
            value: event["value"].as_str()?.parse().ok()?,
        }),
        "offsets_committed" => event["success"].as_bool()?.then_some(Said::Committed),
        _ => None,
    }
}

#[test]
fn members_are_understood() {
    let words = "%6|log of the library\nassigned 0,2\nrecord 2 7 41\ncommitted\nrecord 1";
    let record = Said::Record { partition: 2, offset: 7, value: 41 };
    assert_eq!(Language::Go.said(words), [Said::Assigned(vec![0, 2]), record.clone(), Said::Committed]);
    let json = "{\"name\":\"record_data\",\"partition\":2,\"offset\":7,\"value\":\"41\"}\n\
                {\"name\":\"offsets_committed\",\"success\":false}\n";
    assert_eq!(Language::Java.said(json), [record]);
}
