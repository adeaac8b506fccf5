//! What people ask for: whether it can be, and the records that make it so.
//!
//! A request is checked against what is there, written, and answered when this worker has read it back, so that the next
//! request sees it. Which worker is asked doesn't matter; of two that say different things at the same time the later
//! record counts.

use super::configs::Wanted;
use super::machine::Herder;
use super::ownership::TaskId;
use super::record::{Chosen, Commit, ConfigRecord, Restart, StatusRecord, TargetState};
use crate::spec::flat::ConnectorConfig;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Make a connector that isn't there.
    Create {
        /// Its name.
        name: String,
        /// Its configuration, checked.
        config: ConnectorConfig,
        /// What it is to be.
        initial: TargetState,
    },
    /// Make a connector, or change it.
    Put {
        /// Its name.
        name: String,
        /// Its configuration, checked.
        config: ConnectorConfig,
    },
    /// Remove a connector; its positions stay.
    Delete(String),
    /// Start, pause or stop a connector.
    Target(String, TargetState),
    /// Start a connector, and perhaps its tasks, anew.
    Restart(String, Restart),
    /// Start a task anew.
    RestartTask(TaskId),
}

/// Why a request can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No connector is called that.
    #[error("connector {0} is not there")]
    NoConnector(String),
    /// The connector has no such task.
    #[error("task {0} is not there")]
    NoTask(TaskId),
    /// It is there already.
    #[error("connector {0} is there already")]
    Exists(String),
}

impl Herder {
    /// The records that make it so.
    pub(super) fn records(&self, request: Request) -> Result<Vec<ConfigRecord>, Refusal> {
        let there = |name: &String| match self.configs.get(name) {
            Some(_) => Ok(()),
            None => Err(Refusal::NoConnector(name.clone())),
        };
        Ok(match request {
            Request::Create { name, config, initial } => {
                if self.configs.get(&name).is_some() {
                    return Err(Refusal::Exists(name));
                }
                // Nothing of one that was deleted is gone back to.
                let left = self.configs.is_proven(&name).then(|| ConfigRecord::Proven(name.clone(), None));
                // What it is to be stands first, so that nobody starts it before reading that.
                let made = [
                    ConfigRecord::Target(name.clone(), Some(initial)),
                    ConfigRecord::Connector(name, Some(config)),
                ];
                left.into_iter().chain(made).collect()
            }
            Request::Put { name, config } => {
                // What failed is nothing to go back to, unless its components had passed their probation by then.
                let before = self.configs.get(&name);
                let before =
                    before.filter(|wanted| wanted.was_found_good() || !self.has_failed(&name, wanted));
                let before = before.and_then(Wanted::to_prove);
                let proven = before.map(|before| ConfigRecord::Proven(name.clone(), Some(before)));
                proven.into_iter().chain([ConfigRecord::Connector(name, Some(config))]).collect()
            }
            Request::Delete(name) => {
                there(&name)?;
                let proven = self.configs.is_proven(&name).then(|| ConfigRecord::Proven(name.clone(), None));
                let gone = [
                    ConfigRecord::Connector(name.clone(), None),
                    ConfigRecord::Target(name.clone(), None),
                    ConfigRecord::Commit(name, None),
                ];
                proven.into_iter().chain(gone).collect()
            }
            Request::Target(name, TargetState::Stopped) => {
                there(&name)?;
                // It is started with the components that it was stopped with.
                let wanted = self.configs.get(&name);
                let chosen = wanted.and_then(|wanted| {
                    let builds = wanted.builds()?.clone();
                    Some(Chosen { config: wanted.version, builds })
                });
                let none = Commit { tasks: 0, config: -1, configs: Vec::new(), chosen };
                vec![
                    ConfigRecord::Target(name.clone(), Some(TargetState::Stopped)),
                    ConfigRecord::Commit(name, Some(none)),
                ]
            }
            Request::Target(name, target) => {
                there(&name)?;
                vec![ConfigRecord::Target(name, Some(target))]
            }
            Request::Restart(name, restart) => {
                there(&name)?;
                vec![ConfigRecord::Restart(name, restart)]
            }
            Request::RestartTask(id) => {
                let wanted = self
                    .configs
                    .get(&id.connector)
                    .ok_or_else(|| Refusal::NoConnector(id.connector.clone()))?;
                if id.task >= wanted.task_count() {
                    return Err(Refusal::NoTask(id));
                }
                vec![ConfigRecord::RestartTask(id)]
            }
        })
    }

    /// The records that forget which topics a connector used.
    pub(super) fn forget_topics(&self, name: &str) -> Vec<StatusRecord> {
        let topics = self.statuses.topics().filter(|(connector, _)| *connector == name);
        topics.map(|(_, topic)| StatusRecord::Topic(topic.to_owned(), name.to_owned(), None)).collect()
    }
}
