//! What `connect-status` says, of every worker's connectors and tasks.

use std::collections::BTreeMap;

use super::ownership::TaskId;
use super::record::{RunState, Status, StatusKey, StatusRecord, UsedTopic};

/// The newest word on each connector, task and topic.
#[derive(Clone, Debug, Default)]
pub(super) struct Statuses {
    states: BTreeMap<StatusKey, Status>,
    /// By connector and topic.
    topics: BTreeMap<(String, String), UsedTopic>,
}

impl Statuses {
    /// Takes a record into account. Who says that something ended or failed which another worker has taken over by a later assignment comes too late.
    /// Whatever else is said counts, as in Kafka Connect: assignments are counted anew when the group was forgotten meanwhile.
    pub(super) fn apply(&mut self, record: StatusRecord) {
        match record {
            StatusRecord::Status(key, Some(status)) => {
                let is_end = matches!(status.state, RunState::Unassigned | RunState::Failed);
                let is_late = |known: &Status| {
                    known.worker_id != status.worker_id && known.generation > status.generation
                };
                if !is_end || !self.states.get(&key).is_some_and(is_late) {
                    self.states.insert(key, status);
                }
            }
            StatusRecord::Status(key, None) => drop(self.states.remove(&key)),
            StatusRecord::Topic(topic, connector, Some(used)) => {
                self.topics.insert((connector, topic), used);
            }
            StatusRecord::Topic(topic, connector, None) => drop(self.topics.remove(&(connector, topic))),
        }
    }

    pub(super) fn connector(&self, name: &str) -> Option<&Status> {
        self.states.get(&StatusKey::Connector(name.to_owned()))
    }

    pub(super) fn task(&self, id: &TaskId) -> Option<&Status> {
        self.states.get(&StatusKey::Task(id.clone()))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &StatusKey> {
        self.states.keys()
    }

    /// Topics by connector and name.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&str, &str)> {
        self.topics.keys().map(|(connector, topic)| (connector.as_str(), topic.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_that_an_older_owner_tells_does_not_count() {
        let mut statuses = Statuses::default();
        let key = StatusKey::Connector("c".into());
        let mut say = |worker: &str, state, generation| {
            let (commit, outage) = (None, false);
            let status = Status { state, trace: None, worker_id: worker.into(), generation, commit, outage };
            statuses.apply(StatusRecord::Status(key.clone(), Some(status)));
            statuses.connector("c").map(|status| status.state)
        };
        assert_eq!(say("a", RunState::Running, 1), Some(RunState::Running));
        assert_eq!(say("b", RunState::Running, 2), Some(RunState::Running));
        assert_eq!(say("a", RunState::Unassigned, 1), Some(RunState::Running));
        assert_eq!(say("a", RunState::Failed, 1), Some(RunState::Running));
        assert_eq!(say("b", RunState::Failed, 2), Some(RunState::Failed));
        statuses.apply(StatusRecord::Status(key, None));
        assert_eq!(statuses.connector("c"), None);
    }

    #[test]
    fn assignments_that_are_counted_anew_are_believed() {
        let mut statuses = Statuses::default();
        let id = TaskId { connector: "c".into(), task: 0 };
        let mut say = |state, generation| {
            let (commit, outage) = (None, false);
            let status = Status { state, trace: None, worker_id: "w".into(), generation, commit, outage };
            statuses.apply(StatusRecord::Status(StatusKey::Task(id.clone()), Some(status)));
            statuses.task(&id).map(|status| status.state)
        };
        say(RunState::Running, 40);
        say(RunState::Unassigned, 40);
        assert_eq!(say(RunState::Running, 1), Some(RunState::Running));
        assert_eq!(say(RunState::Failed, 1), Some(RunState::Failed));
    }
}
