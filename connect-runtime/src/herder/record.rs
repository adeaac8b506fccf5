//! Records of the topics that hold a herder's state, in Kafka Connect's shapes.
//!
//! | topic | key | value |
//! |---|---|---|
//! | `connect-configs` | `connector-<name>` | `{"properties":{...}}`; null: deleted |
//! | | `target-state-<name>` | `{"state":"STARTED"}`; `PAUSED`, with `"state.v2":"STOPPED"` for stopped, as Kafka Connect writes it for workers older than 3.5 |
//! | | `commit-<name>` | `{"tasks":2,"config":17,"configs":["...","..."]}` |
//! | | `tasks-fencing-count-<name>` | `{"tasks":2,"commit":19}` |
//! | | `proven-<name>` | `{"properties":{...},"components":{"/a.wasm":{"version":"1.0.0","digest":"sha256:..."}}}`: what ran last that may be gone back to |
//! | | `upgrade-<name>` | `{"config":17}`: that configuration's components passed their probation; with `"rolled_back":{"reason",...}`: they did not |
//! | | `restart-connector-<name>` | `{"include-tasks":true,"only-failed":false}` |
//! | | `restart-task-<name>-<n>` | `{}` |
//! | `connect-status` | `status-connector-<name>`, `status-task-<name>-<n>` | `{"state","trace","worker_id","generation"}` |
//! | | `status-topic-<topic>:connector-<name>` | `{"topic":{"name","connector","task","discoverTimestamp"}}` |
//!
//! Two records differ from Kafka Connect's (docs/adr/0012): the tasks' configurations are in one record, so that they are
//! there together or not at all, with the offset of the connector's configuration that they were made of; and a fencing names
//! the commit that it was for. Two are our own (docs/adr/0025): what an upgrade may go back to, and how it went. A restart counts only for who reads it as it comes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ownership::TaskId;
use crate::plan::Builds;
use crate::spec::flat::ConnectorConfig;

/// Largest key or value that is read: what Kafka's brokers take by default.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// A record to be written: the key, and the value or a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: String,
    /// JSON; none: a tombstone.
    pub value: Option<String>,
}

/// What a connector is asked to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetState {
    /// Running.
    #[default]
    Started,
    /// Keeps its tasks' assignment and moves nothing.
    Paused,
    /// Has no tasks.
    Stopped,
}

impl TargetState {
    /// Whether tasks should run.
    #[must_use]
    pub fn is_started(self) -> bool {
        self == Self::Started
    }

    /// As Kafka Connect's REST API takes it (`initial_state`).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "RUNNING" => Some(Self::Started),
            "PAUSED" => Some(Self::Paused),
            "STOPPED" => Some(Self::Stopped),
            _ => None,
        }
    }
}

/// A record of `connect-configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigRecord {
    /// A connector's configuration; none: it was deleted.
    Connector(String, Option<ConnectorConfig>),
    /// What it is asked to be; none: started.
    Target(String, Option<TargetState>),
    /// Its tasks; none: it has none.
    Commit(String, Option<Commit>),
    /// Tasks of earlier commits can no longer write.
    Fencing(String, Option<Fencing>),
    /// What ran before the configuration that comes next, to go back to; none: nothing.
    Proven(String, Option<Proven>),
    /// How an upgrade went.
    Upgrade(String, Option<Verdict>),
    /// The connector, and perhaps its tasks, should start anew.
    Restart(String, Restart),
    /// A task should start anew.
    RestartTask(TaskId),
}

/// The tasks of a connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// How many.
    pub tasks: u32,
    /// Offset of the connector's configuration that they were made of; -1: of none, because the connector is stopped.
    pub config: i64,
    /// What each is given, references unresolved.
    pub configs: Vec<String>,
    /// What they are made of; none: an older worker wrote this.
    #[serde(rename = "components", default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
}

/// The components of a configuration: chosen once, when it is planned first, whatever becomes of their files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Offset of the configuration.
    pub config: i64,
    /// Each component.
    pub builds: Builds,
}

/// A configuration that ran, with its components.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// The configuration.
    pub properties: ConnectorConfig,
    /// Its components.
    pub components: Builds,
}

/// How an upgrade went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Offset of the configuration that brought the new components.
    pub config: i64,
    /// None: they passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBack>,
}

/// An upgrade that was undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// What was wrong with it.
    pub reason: String,
    /// The components that were left.
    pub failed: Builds,
    /// What runs again.
    #[serde(flatten)]
    pub back_to: Proven,
}

/// Every task of a connector that ran before was fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fencing {
    /// How many tasks may run from now on.
    pub tasks: u32,
    /// Offset of the commit that this was for.
    pub commit: i64,
}

/// What to start anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Restart {
    /// Also the tasks.
    pub include_tasks: bool,
    /// Only what failed.
    pub only_failed: bool,
}

#[derive(Serialize, Deserialize)]
struct Properties {
    properties: ConnectorConfig,
}

impl ConfigRecord {
    /// Takes a record of the topic apart; none: it isn't one of these, or can't be read.
    #[must_use]
    pub fn parse(key: &[u8], value: Option<&[u8]>) -> Option<Self> {
        if key.len().max(value.map_or(0, <[u8]>::len)) > RECORD_BYTES_MAX {
            return None;
        }
        let key = std::str::from_utf8(key).ok()?;
        let named = |prefix| key.strip_prefix(prefix).filter(|name| !name.is_empty()).map(str::to_owned);
        if let Some(name) = named("target-state-") {
            let state = value.map(target_state);
            return match state {
                Some(None) => None,
                state => Some(Self::Target(name, state.flatten())),
            };
        }
        if let Some(name) = named("commit-") {
            return Some(Self::Commit(name, json_of(value)?));
        }
        if let Some(name) = named("tasks-fencing-count-") {
            return Some(Self::Fencing(name, json_of(value)?));
        }
        if let Some(name) = named("proven-") {
            return Some(Self::Proven(name, json_of(value)?));
        }
        if let Some(name) = named("upgrade-") {
            return Some(Self::Upgrade(name, json_of(value)?));
        }
        if let Some(name) = named("restart-connector-") {
            return Some(Self::Restart(name, json_of(value)??));
        }
        if let Some(id) = key.strip_prefix("restart-task-") {
            return value.and_then(|_| task_id(id)).map(Self::RestartTask);
        }
        let name = named("connector-")?;
        let properties: Option<Properties> = json_of(value)?;
        Some(Self::Connector(name, properties.map(|value| value.properties)))
    }

    /// As it is written.
    #[must_use]
    pub fn record(&self) -> Record {
        let (key, value) = match self {
            Self::Connector(name, config) => {
                let value = config.as_ref().map(|properties| json!({ "properties": properties }));
                (format!("connector-{name}"), value)
            }
            Self::Target(name, state) => {
                let value = state.map(|state| match state {
                    TargetState::Started => json!({ "state": "STARTED" }),
                    TargetState::Paused => json!({ "state": "PAUSED" }),
                    TargetState::Stopped => json!({ "state": "PAUSED", "state.v2": "STOPPED" }),
                });
                (format!("target-state-{name}"), value)
            }
            Self::Commit(name, commit) => {
                (format!("commit-{name}"), commit.as_ref().map(|commit| json!(commit)))
            }
            Self::Fencing(name, fencing) => {
                (format!("tasks-fencing-count-{name}"), fencing.map(|fencing| json!(fencing)))
            }
            Self::Proven(name, proven) => {
                (format!("proven-{name}"), proven.as_ref().map(|proven| json!(proven)))
            }
            Self::Upgrade(name, verdict) => {
                (format!("upgrade-{name}"), verdict.as_ref().map(|verdict| json!(verdict)))
            }
            Self::Restart(name, restart) => (format!("restart-connector-{name}"), Some(json!(restart))),
            Self::RestartTask(id) => (format!("restart-task-{id}"), Some(json!({}))),
        };
        Record { key, value: value.map(|value| value.to_string()) }
    }
}

fn target_state(value: &[u8]) -> Option<TargetState> {
    let fields: BTreeMap<String, Value> = serde_json::from_slice(value).ok()?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    match (text("state.v2"), text("state")?) {
        (Some("STOPPED"), _) => Some(TargetState::Stopped),
        (_, "STARTED") => Some(TargetState::Started),
        (_, "PAUSED") => Some(TargetState::Paused),
        _ => None,
    }
}

/// `Some(None)` for a tombstone, `None` for what can't be read.
fn json_of<T: serde::de::DeserializeOwned>(value: Option<&[u8]>) -> Option<Option<T>> {
    value.map_or(Some(None), |value| serde_json::from_slice(value).ok().map(Some))
}

fn task_id(text: &str) -> Option<TaskId> {
    let (connector, task) = text.rsplit_once('-')?;
    Some(TaskId { connector: connector.to_owned(), task: task.parse().ok()? })
}

/// Whose state it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusKey {
    /// A connector's.
    Connector(String),
    /// A task's.
    Task(TaskId),
}

/// State of a connector or a task, by Kafka Connect's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunState {
    /// Nobody runs it.
    Unassigned,
    /// It runs, or has come to its end.
    Running,
    /// It moves nothing.
    Paused,
    /// It has no tasks.
    Stopped,
    /// It was given up.
    Failed,
    /// It starts anew.
    Restarting,
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unassigned => "UNASSIGNED",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Stopped => "STOPPED",
            Self::Failed => "FAILED",
            Self::Restarting => "RESTARTING",
        })
    }
}

/// A state with who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The state.
    pub state: RunState,
    /// Why it failed.
    #[serde(default)]
    pub trace: Option<String>,
    /// The worker.
    pub worker_id: String,
    /// Of the assignment under which it was written.
    #[serde(default)]
    pub generation: i32,
    /// A task's: offset of the commit that it was started for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<i64>,
    /// It starts anew because the cluster could not be reached, which says nothing against the task.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outage: bool,
}

/// That a connector used a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedTopic {
    /// The topic.
    pub name: String,
    /// The connector.
    pub connector: String,
    /// The task that was first.
    pub task: u32,
    /// When, in milliseconds since 1970.
    #[serde(rename = "discoverTimestamp")]
    pub discover_timestamp: i64,
}

/// A record of `connect-status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusRecord {
    /// A state; none: forget it.
    Status(StatusKey, Option<Status>),
    /// A topic that a connector used, by topic and connector; none: forget it.
    Topic(String, String, Option<UsedTopic>),
}

#[derive(Deserialize)]
struct TopicValue {
    topic: UsedTopic,
}

impl StatusRecord {
    /// Takes a record of the topic apart; none: it isn't one of these, or can't be read.
    #[must_use]
    pub fn parse(key: &[u8], value: Option<&[u8]>) -> Option<Self> {
        if key.len().max(value.map_or(0, <[u8]>::len)) > RECORD_BYTES_MAX {
            return None;
        }
        let key = std::str::from_utf8(key).ok()?;
        if let Some(name) = key.strip_prefix("status-connector-") {
            return Some(Self::Status(StatusKey::Connector(name.to_owned()), json_of(value)?));
        }
        if let Some(id) = key.strip_prefix("status-task-") {
            return Some(Self::Status(StatusKey::Task(task_id(id)?), json_of(value)?));
        }
        let (topic, connector) = key.strip_prefix("status-topic-")?.split_once(":connector-")?;
        let used: Option<TopicValue> = json_of(value)?;
        Some(Self::Topic(topic.to_owned(), connector.to_owned(), used.map(|used| used.topic)))
    }

    /// As it is written.
    #[must_use]
    pub fn record(&self) -> Record {
        let (key, value) = match self {
            Self::Status(StatusKey::Connector(name), status) => {
                (format!("status-connector-{name}"), status.as_ref().map(|status| json!(status)))
            }
            Self::Status(StatusKey::Task(id), status) => {
                (format!("status-task-{id}"), status.as_ref().map(|status| json!(status)))
            }
            Self::Topic(topic, connector, used) => {
                let value = used.as_ref().map(|used| json!({ "topic": used }));
                (format!("status-topic-{topic}:connector-{connector}"), value)
            }
        };
        Record { key, value: value.map(|value| value.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(record: &Record) -> (Option<ConfigRecord>, Option<StatusRecord>) {
        let value = record.value.as_ref().map(String::as_bytes);
        (ConfigRecord::parse(record.key.as_bytes(), value), StatusRecord::parse(record.key.as_bytes(), value))
    }

    #[test]
    fn configurations_are_kafka_connects() {
        let config = ConnectorConfig::from([("a".to_owned(), "1".to_owned())]);
        let task = TaskId { connector: "c-1".into(), task: 12 };
        let restart = Restart { include_tasks: true, only_failed: false };
        let all = [
            (ConfigRecord::Connector("c".into(), Some(config)), r#"connector-c {"properties":{"a":"1"}}"#),
            (ConfigRecord::Connector("c".into(), None), "connector-c null"),
            (
                ConfigRecord::Target("c".into(), Some(TargetState::Started)),
                r#"target-state-c {"state":"STARTED"}"#,
            ),
            (
                ConfigRecord::Target("c".into(), Some(TargetState::Stopped)),
                r#"target-state-c {"state":"PAUSED","state.v2":"STOPPED"}"#,
            ),
            (ConfigRecord::Target("c".into(), None), "target-state-c null"),
            (
                ConfigRecord::Commit(
                    "c".into(),
                    Some(Commit { tasks: 1, config: 7, configs: vec!["{}".into()], chosen: None }),
                ),
                r#"commit-c {"config":7,"configs":["{}"],"tasks":1}"#,
            ),
            (
                ConfigRecord::Fencing("c".into(), Some(Fencing { tasks: 1, commit: 8 })),
                r#"tasks-fencing-count-c {"commit":8,"tasks":1}"#,
            ),
            (
                ConfigRecord::Restart("c".into(), restart),
                r#"restart-connector-c {"include-tasks":true,"only-failed":false}"#,
            ),
            (ConfigRecord::RestartTask(task), "restart-task-c-1-12 {}"),
        ];
        for (record, wanted) in all {
            let written = record.record();
            assert_eq!(format!("{} {}", written.key, written.value.as_deref().unwrap_or("null")), wanted);
            assert_eq!(read(&written), (Some(record), None));
        }
    }

    #[test]
    fn states_are_kafka_connects() {
        let status = Status {
            state: RunState::Failed,
            trace: Some("why".into()),
            worker_id: "w:1".into(),
            generation: 3,
            commit: None,
            outage: false,
        };
        let used = UsedTopic { name: "t:x".into(), connector: "c".into(), task: 1, discover_timestamp: 5 };
        let id = TaskId { connector: "c".into(), task: 1 };
        let all = [
            (
                StatusRecord::Status(StatusKey::Connector("c".into()), Some(status)),
                r#"status-connector-c {"generation":3,"state":"FAILED","trace":"why","worker_id":"w:1"}"#,
            ),
            (StatusRecord::Status(StatusKey::Task(id), None), "status-task-c-1 null"),
            (
                StatusRecord::Topic("t".into(), "c".into(), Some(used)),
                r#"status-topic-t:connector-c {"topic":{"connector":"c","discoverTimestamp":5,"name":"t:x","task":1}}"#,
            ),
        ];
        for (record, wanted) in all {
            let written = record.record();
            assert_eq!(format!("{} {}", written.key, written.value.as_deref().unwrap_or("null")), wanted);
            assert_eq!(read(&written), (None, Some(record)));
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_passed_over(key in "(connector-|commit-|target-state-|restart-task-|status-task-|status-topic-)?.{0,9}", value in proptest::option::of(".{0,9}|[{}\":a-z]{0,20}")) {
            read(&Record { key, value });
        }
    }
}
