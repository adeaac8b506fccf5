//! What `connect-status` says, of every worker's connectors and tasks.

use std::collections::BTreeMap;

use super::ownership::TaskId;
use super::record::{Status, StatusKey, StatusRecord, UsedTopic};

/// The newest word on each connector, task and topic.
#[derive(Clone, Debug, Default)]
pub(super) struct Statuses {
    states: BTreeMap<StatusKey, Status>,
    /// By connector and topic.
    topics: BTreeMap<(String, String), UsedTopic>,
}

impl Statuses {
    /// Takes a record into account. The word of an older assignment's owner comes too late.
    pub(super) fn apply(&mut self, record: StatusRecord) {
        match record {
            StatusRecord::Status(key, Some(status)) => {
                let known = self.states.get(&key).map_or(i32::MIN, |known| known.generation);
                if status.generation >= known {
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
    use crate::herder::record::RunState;

    #[test]
    fn an_older_owners_word_does_not_count() {
        let mut statuses = Statuses::default();
        let key = StatusKey::Connector("c".into());
        let mut say = |state, generation| {
            let (commit, outage) = (None, false);
            let status = Status { state, trace: None, worker_id: "w".into(), generation, commit, outage };
            statuses.apply(StatusRecord::Status(key.clone(), Some(status)));
            statuses.connector("c").map(|status| status.state)
        };
        assert_eq!(say(RunState::Running, 2), Some(RunState::Running));
        assert_eq!(say(RunState::Unassigned, 1), Some(RunState::Running));
        assert_eq!(say(RunState::Failed, 2), Some(RunState::Failed));
        statuses.apply(StatusRecord::Status(key, None));
        assert_eq!(statuses.connector("c"), None);
    }
}
