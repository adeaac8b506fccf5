//! What `connect-configs` asks for: the state that its records add up to.
//!
//! Invariant: it is a function of the records read so far and their offsets; compaction, which keeps offsets and the newest
//! record of each key, changes nothing that matters once an owner has looked at it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ownership::Work;
use super::record::{Chosen, Commit, ConfigRecord, Fencing, Proven, RolledBack, TargetState, Verdict};
use crate::plan::Builds;
use crate::spec::flat::ConnectorConfig;

/// A connector as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its configuration, references unresolved.
    pub config: Arc<ConnectorConfig>,
    /// Where that stands in the topic: the configuration's version.
    pub version: i64,
    /// What it is asked to be.
    pub target: TargetState,
    /// Its tasks, once they were planned.
    pub tasks: Option<Tasks>,
    /// How its upgrade goes.
    pub upgrade: Upgrade,
}

/// How a connector came to its components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrade {
    /// What ran before, to go back to.
    proven: Option<Arc<Proven>>,
    /// How it went, as soon as that is known; about this version or an earlier one.
    verdict: Option<Arc<Verdict>>,
    /// The verdict changed the configuration: this is what the connector went back to.
    is_back: bool,
}

/// The tasks of a connector as they are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tasks {
    /// Where they stand in the topic: their version.
    pub version: i64,
    /// Version of the configuration that they were made of.
    pub config_version: i64,
    /// What each is given, references unresolved.
    pub configs: Arc<[String]>,
    /// What they are made of.
    pub chosen: Option<Arc<Chosen>>,
}

impl Wanted {
    /// How many tasks there are.
    #[must_use]
    pub fn task_count(&self) -> u32 {
        self.tasks.as_ref().map_or(0, |tasks| u32::try_from(tasks.configs.len()).unwrap_or(u32::MAX))
    }

    /// Its tasks, if they were made of the present configuration.
    pub(super) fn current_tasks(&self) -> Option<&Tasks> {
        self.tasks.as_ref().filter(|tasks| tasks.config_version == self.version)
    }

    /// Whether it is to run, and its tasks have not been planned yet.
    #[must_use]
    pub fn is_unplanned(&self) -> bool {
        self.target.is_started() && self.current_tasks().is_none()
    }

    /// Its components, once they were chosen: whoever plans or starts it takes these.
    #[must_use]
    pub fn builds(&self) -> Option<&Builds> {
        let chosen = self.tasks.as_ref().and_then(|tasks| tasks.chosen.as_ref());
        let chosen = chosen.filter(|chosen| chosen.config == self.version).map(|chosen| &chosen.builds);
        chosen.or_else(|| self.rolled_back().map(|back| &back.back_to.components))
    }

    /// Why it went back to what it was, if it did.
    #[must_use]
    pub fn rolled_back(&self) -> Option<&RolledBack> {
        let verdict = self.upgrade.verdict.as_ref().filter(|_| self.upgrade.is_back)?;
        verdict.rolled_back.as_ref()
    }

    /// Its components passed their probation, whatever became of it since.
    pub(super) fn was_found_good(&self) -> bool {
        let verdict = self.upgrade.verdict.as_ref().filter(|verdict| verdict.config == self.version);
        verdict.is_some_and(|verdict| verdict.rolled_back.is_none())
    }

    /// Whether there is a verdict about it.
    pub(super) fn is_judged(&self) -> bool {
        self.upgrade.verdict.as_ref().is_some_and(|verdict| verdict.config == self.version)
    }

    /// What to go back to if `builds` don't work; none: they are no others than before, or were found good.
    #[must_use]
    pub fn upgrade_from(&self, builds: &Builds) -> Option<&Arc<Proven>> {
        let proven = self.upgrade.proven.as_ref().filter(|_| !self.is_judged() && !self.upgrade.is_back)?;
        (!is_alike(&proven.components, builds)).then_some(proven)
    }

    /// The same for the components that were chosen: they are on probation.
    #[must_use]
    pub fn probation(&self) -> Option<&Arc<Proven>> {
        self.upgrade_from(self.builds()?)
    }

    /// What a change of it could go back to, unless that is in the topic already.
    pub(super) fn to_prove(&self) -> Option<Proven> {
        if self.probation().is_some() {
            return None;
        }
        let proven = Proven { properties: (*self.config).clone(), components: self.builds()?.clone() };
        (self.upgrade.proven.as_deref() != Some(&proven)).then_some(proven)
    }
}

/// Whether they are the same. What is in the binary goes with that: there is no other to go back to.
fn is_alike(one: &Builds, other: &Builds) -> bool {
    let is_file = |name: &str| name.contains('/');
    one.len() == other.len()
        && one.iter().all(|(name, build)| {
            other.get(name).is_some_and(|other| !is_file(name) || other.digest == build.digest)
        })
}

/// See the module's head.
#[derive(Clone, Debug, Default)]
pub(super) struct Configs {
    connectors: BTreeMap<String, Wanted>,
    /// Also of connectors that are not there (yet): records of one connector may come in any order.
    targets: BTreeMap<String, TargetState>,
    /// Outlive their connectors: tasks of one that was deleted may still run somewhere when it is made again.
    fencings: BTreeMap<String, Fencing>,
    /// What upgrades may go back to.
    proven: BTreeMap<String, Arc<Proven>>,
    /// The next record to be read.
    offset: i64,
}

impl Configs {
    /// Takes the record at `offset` into account.
    pub(super) fn apply(&mut self, offset: i64, record: ConfigRecord) {
        self.read_to(offset + 1);
        match record {
            ConfigRecord::Connector(name, None) => {
                self.connectors.remove(&name);
                self.targets.remove(&name);
            }
            ConfigRecord::Connector(name, Some(config)) => {
                let target = self.targets.get(&name).copied().unwrap_or_default();
                let before = self.connectors.remove(&name);
                let (tasks, verdict) =
                    before.map_or_else(Default::default, |wanted| (wanted.tasks, wanted.upgrade.verdict));
                let upgrade = Upgrade { proven: self.proven.get(&name).cloned(), verdict, is_back: false };
                let config = Arc::new(config);
                self.connectors.insert(name, Wanted { config, version: offset, target, tasks, upgrade });
            }
            ConfigRecord::Target(name, state) => {
                let state = state.unwrap_or_default();
                if let Some(wanted) = self.connectors.get_mut(&name) {
                    wanted.target = state;
                }
                self.targets.insert(name, state);
            }
            ConfigRecord::Commit(name, commit) => {
                if let Some(wanted) = self.connectors.get_mut(&name) {
                    let tasks = |Commit { config, configs, chosen, .. }| Tasks {
                        version: offset,
                        config_version: config,
                        configs: configs.into(),
                        chosen: chosen.map(Arc::new),
                    };
                    wanted.tasks = commit.map(tasks);
                }
            }
            ConfigRecord::Fencing(name, Some(fencing)) => drop(self.fencings.insert(name, fencing)),
            ConfigRecord::Fencing(name, None) => drop(self.fencings.remove(&name)),
            ConfigRecord::Proven(name, proven) => match proven {
                Some(proven) => drop(self.proven.insert(name, Arc::new(proven))),
                None => drop(self.proven.remove(&name)),
            },
            ConfigRecord::Upgrade(name, verdict) => self.judged(offset, &name, verdict),
            ConfigRecord::Restart(..) | ConfigRecord::RestartTask(_) => {}
        }
    }

    /// A verdict about another configuration than the present one comes too late.
    fn judged(&mut self, offset: i64, name: &str, verdict: Option<Verdict>) {
        let Some(wanted) = self.connectors.get_mut(name) else { return };
        let Some(verdict) = verdict.filter(|verdict| verdict.config == wanted.version) else { return };
        if let Some(back) = &verdict.rolled_back {
            wanted.config = Arc::new(back.back_to.properties.clone());
            wanted.version = offset;
            wanted.upgrade.is_back = true;
        }
        wanted.upgrade.verdict = Some(Arc::new(verdict));
    }

    /// Whether a verdict is the first about a connector's present configuration.
    pub(super) fn is_open(&self, name: &str, verdict: &Verdict) -> bool {
        self.get(name).is_some_and(|wanted| wanted.version == verdict.config && !wanted.is_judged())
    }

    /// Everything before `offset` was read.
    pub(super) fn read_to(&mut self, offset: i64) {
        self.offset = self.offset.max(offset);
    }

    pub(super) fn offset(&self) -> i64 {
        self.offset
    }

    /// Whether an upgrade of a connector of this name could go back to something.
    pub(super) fn is_proven(&self, name: &str) -> bool {
        self.proven.contains_key(name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Wanted> {
        self.connectors.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Wanted)> {
        self.connectors.iter()
    }

    /// Whether tasks of this version may start: all of earlier ones were fenced.
    pub(super) fn is_fenced(&self, name: &str, tasks: &Tasks) -> bool {
        self.fencings.get(name).is_some_and(|fencing| fencing.commit == tasks.version)
    }

    /// How many transactional ids the tasks of a connector may ever have used, those of `tasks` included.
    pub(super) fn ids_to_fence(&self, name: &str, tasks: u32) -> u32 {
        self.fencings.get(name).map_or(0, |fencing| fencing.tasks).max(tasks)
    }

    pub(super) fn work(&self) -> Work {
        let connectors = self.connectors.iter().map(|(name, wanted)| (name.clone(), wanted.task_count()));
        Work { connectors: connectors.collect(), offset: self.offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(name: &str) -> ConfigRecord {
        ConfigRecord::Connector(name.into(), Some(ConnectorConfig::new()))
    }

    fn commit(name: &str, config: i64, tasks: usize) -> ConfigRecord {
        let configs = vec![String::new(); tasks];
        ConfigRecord::Commit(name.into(), Some(Commit { tasks: tasks as u32, config, configs, chosen: None }))
    }

    #[test]
    fn a_deleted_connector_leaves_only_its_fencing() {
        let mut configs = Configs::default();
        let target = ConfigRecord::Target("c".into(), Some(TargetState::Paused));
        let fencing = ConfigRecord::Fencing("c".into(), Some(Fencing { tasks: 3, commit: 2 }));
        for (offset, record) in [target, connector("c"), commit("c", 1, 3), fencing].into_iter().enumerate() {
            configs.apply(offset as i64, record);
        }
        let wanted = configs.get("c").unwrap();
        assert_eq!((wanted.target, wanted.task_count(), wanted.version), (TargetState::Paused, 3, 1));
        assert!(configs.is_fenced("c", wanted.current_tasks().unwrap()));
        configs.apply(4, ConfigRecord::Connector("c".into(), None));
        assert!(configs.get("c").is_none());
        configs.apply(5, connector("c"));
        let wanted = configs.get("c").unwrap();
        assert_eq!((wanted.target, wanted.task_count()), (TargetState::Started, 0));
        assert_eq!(configs.ids_to_fence("c", 1), 3);
        assert_eq!(configs.work().offset, 6);
    }

    #[test]
    fn tasks_of_an_older_configuration_are_not_current() {
        let mut configs = Configs::default();
        for (offset, record) in [connector("c"), commit("c", 0, 1), connector("c")].into_iter().enumerate() {
            configs.apply(offset as i64, record);
        }
        let wanted = configs.get("c").unwrap();
        assert_eq!((wanted.task_count(), wanted.current_tasks()), (1, None));
    }
}
