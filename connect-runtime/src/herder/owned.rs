//! A connector that this worker speaks for: its plan, the fencing of what ran before, and whether new components are healthy.

use super::configs::{Tasks, Wanted};
use super::event::PlanFailure;
use super::record::{Chosen, Commit, Fencing, Proven, RolledBack, RunState, TargetState, Verdict};
use crate::plan::Builds;

/// Pause before something that failed for a reason that may pass is tried again.
const RETRY_MS: i64 = 2_000;

/// How far the plan is. Versions are those of the connector's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Plan {
    /// To be looked at.
    #[default]
    Open,
    /// Under way.
    Asked { version: i64, attempt: u64 },
    /// Its tasks are being written.
    Writing { version: i64 },
    /// The tasks in the topic are those of this version.
    Done { version: i64 },
    /// It could not be planned, with these components.
    Failed { version: i64, trace: String, builds: Builds },
    /// It is tried again.
    Again { at_ms: i64, trace: String },
}

/// How far the fencing for a commit is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fence {
    #[default]
    Idle,
    /// Under way, or the record of it.
    Asked {
        commit: i64,
    },
    Again {
        at_ms: i64,
    },
}

/// Whether a sink's tasks are still right: partitions may be added to its topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Look {
    /// Now, or when the plan is done.
    #[default]
    Due,
    At(i64),
    Asked(u64),
}

/// How the tasks of the newest commit are, all together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// All run.
    Well,
    /// Some don't run yet, or can't reach the cluster.
    Waits,
    /// One failed.
    Failed(String),
}

/// How far it is known whether new components are healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Probation {
    #[default]
    Idle,
    /// All tasks of a commit have run since then.
    Well { commit: i64, since_ms: i64 },
    /// The verdict about a configuration, with the reason if it is a bad one, is being written; again at that time if it could not be.
    Judged { version: i64, reason: Option<String>, again_ms: Option<i64> },
}

/// See the module's head.
#[derive(Clone, Debug, Default)]
pub(super) struct Owned {
    plan: Plan,
    fence: Fence,
    look: Look,
    probation: Probation,
    /// Plan again, though the tasks in the topic are of the present configuration.
    anew: bool,
}

impl Owned {
    /// Gives a number if the connector has to be planned now.
    pub(super) fn plan(&mut self, wanted: &Wanted, now_ms: i64, next_number: &mut u64) -> Option<u64> {
        if !wanted.target.is_started() {
            self.plan = Plan::Open;
            self.anew = false;
            return None;
        }
        let is_current = wanted.current_tasks().is_some();
        match &self.plan {
            Plan::Asked { version, .. } | Plan::Failed { version, .. } if *version == wanted.version => {
                return None;
            }
            Plan::Again { at_ms, .. } if now_ms < *at_ms => return None,
            Plan::Writing { version } if *version == wanted.version && !is_current => return None,
            _ => {}
        }
        if is_current && !self.anew {
            self.plan = Plan::Done { version: wanted.version };
            return None;
        }
        *next_number += 1;
        self.anew = false;
        self.plan = Plan::Asked { version: wanted.version, attempt: *next_number };
        Some(*next_number)
    }

    /// Gives a number if a sink that runs has to be planned once more now: its topic may have got partitions.
    pub(super) fn look(
        &mut self,
        wanted: &Wanted,
        now_ms: i64,
        every_ms: Option<i64>,
        next_number: &mut u64,
    ) -> Option<u64> {
        every_ms?;
        let runs = matches!(self.plan, Plan::Done { .. }) && wanted.config.contains_key("topics");
        match self.look {
            _ if !runs => self.look = Look::Due,
            Look::Asked(_) => {}
            Look::At(at_ms) if now_ms < at_ms => {}
            Look::Due | Look::At(_) => {
                *next_number += 1;
                self.look = Look::Asked(*next_number);
                return Some(*next_number);
            }
        }
        None
    }

    /// What a look brought; gives the tasks to be written if they have to be others.
    pub(super) fn looked(
        &mut self,
        attempt: u64,
        builds: &Builds,
        planned: &Result<Vec<String>, PlanFailure>,
        wanted: &Wanted,
        at_ms: i64,
    ) -> Option<Commit> {
        if self.look != Look::Asked(attempt) {
            return None;
        }
        self.look = Look::At(at_ms);
        // The tasks that run need no plan: what fails here is seen when one is needed.
        let (Ok(configs), Some(tasks)) = (planned, wanted.current_tasks()) else { return None };
        (*tasks.configs != **configs).then(|| commit_of(wanted.version, configs.clone(), builds.clone()))
    }

    /// What a plan brought; gives the tasks to be written if they are others than those in the topic.
    pub(super) fn planned(
        &mut self,
        attempt: u64,
        builds: Builds,
        planned: Result<Vec<String>, PlanFailure>,
        wanted: &Wanted,
        now_ms: i64,
    ) -> Option<Commit> {
        let Plan::Asked { version, attempt: asked } = self.plan else { return None };
        if asked != attempt {
            return None;
        }
        match planned {
            Err(PlanFailure::Later(trace)) => self.plan = Plan::Again { at_ms: now_ms + RETRY_MS, trace },
            Err(PlanFailure::Failed(trace)) => self.plan = Plan::Failed { version, trace, builds },
            Ok(configs) => {
                let same = wanted.current_tasks().is_some_and(|tasks| *tasks.configs == *configs);
                if same || wanted.version != version {
                    self.plan = Plan::Done { version };
                    return None;
                }
                self.plan = Plan::Writing { version };
                return Some(commit_of(version, configs, builds));
            }
        }
        None
    }

    /// Gives back the commit if what ran before it has to be fenced now.
    pub(super) fn fence(&mut self, wanted: &Wanted, unfenced: Option<i64>, now_ms: i64) -> Option<i64> {
        let commit = unfenced.filter(|_| wanted.target.is_started());
        match (commit, self.fence) {
            (None, _) => self.fence = Fence::Idle,
            (Some(commit), Fence::Asked { commit: asked }) if asked == commit => {}
            (Some(_), Fence::Again { at_ms }) if now_ms < at_ms => {}
            (Some(commit), _) => {
                self.fence = Fence::Asked { commit };
                return Some(commit);
            }
        }
        None
    }

    /// Whether a fencing may be under way.
    pub(super) fn is_fencing(&self) -> bool {
        matches!(self.fence, Fence::Asked { .. })
    }

    /// What a fencing brought; gives the record of it.
    pub(super) fn fenced(
        &mut self,
        commit: i64,
        fenced: Result<(), String>,
        tasks: u32,
        now_ms: i64,
    ) -> Option<Fencing> {
        if self.fence != (Fence::Asked { commit }) {
            return None;
        }
        match fenced {
            Ok(()) => Some(Fencing { tasks, commit }),
            Err(error) => {
                tracing::warn!(error, "earlier tasks could not be fenced; trying again");
                self.fence = Fence::Again { at_ms: now_ms + RETRY_MS };
                None
            }
        }
    }

    /// What became of a record for the topic of configurations.
    pub(super) fn written(&mut self, written: Result<(), String>, now_ms: i64) {
        let Err(error) = written else { return };
        let at_ms = now_ms + RETRY_MS;
        if matches!(self.plan, Plan::Writing { .. }) {
            self.plan = Plan::Again { at_ms, trace: format!("its tasks could not be written: {error}") };
        }
        if matches!(self.fence, Fence::Asked { .. }) {
            self.fence = Fence::Again { at_ms };
        }
        if let Probation::Judged { again_ms, .. } = &mut self.probation {
            tracing::warn!(error, "whether an upgrade is healthy could not be written; trying again");
            *again_ms = Some(at_ms);
        }
    }

    /// Gives the verdict about an upgrade, once there is one: its components can't be planned with, a task failed, or all have run
    /// for `probation_ms` without failing.
    pub(super) fn judge(
        &mut self,
        wanted: &Wanted,
        health: impl FnOnce(&Tasks) -> Health,
        now_ms: i64,
        probation_ms: i64,
    ) -> Option<Verdict> {
        let is_due = match &self.probation {
            Probation::Judged { version, again_ms, .. } => {
                *version != wanted.version || again_ms.is_some_and(|at_ms| now_ms >= at_ms)
            }
            Probation::Idle | Probation::Well { .. } => true,
        };
        if !is_due {
            return None;
        }
        let (rolled_back, reason) = match self.failure(wanted, health, now_ms, probation_ms)? {
            Ok(()) => (None, None),
            Err(back) => (Some(back.clone()), Some(back.reason)),
        };
        self.probation = Probation::Judged { version: wanted.version, reason, again_ms: None };
        Some(Verdict { config: wanted.version, rolled_back })
    }

    /// What speaks against an upgrade, or that it passed; none: that is open, or there is none.
    fn failure(
        &mut self,
        wanted: &Wanted,
        health: impl FnOnce(&Tasks) -> Health,
        now_ms: i64,
        probation_ms: i64,
    ) -> Option<Result<(), RolledBack>> {
        let well = std::mem::take(&mut self.probation);
        if !wanted.target.is_started() {
            return None;
        }
        let back = |reason: &str, failed: &Builds, proven: &Proven| {
            let (reason, failed) = (reason.to_owned(), failed.clone());
            Some(Err(RolledBack { reason, failed, back_to: proven.clone() }))
        };
        if let Plan::Failed { version, trace, builds } = &self.plan
            && *version == wanted.version
            && wanted.builds().is_none()
        {
            return back(trace, builds, wanted.upgrade_from(builds)?);
        }
        let (tasks, builds, proven) = (wanted.current_tasks()?, wanted.builds()?, wanted.probation()?);
        match health(tasks) {
            Health::Failed(trace) => back(&trace, builds, proven),
            Health::Waits => None,
            Health::Well => {
                let since_ms = match well {
                    Probation::Well { commit, since_ms } if commit == tasks.version => since_ms,
                    _ => now_ms,
                };
                if now_ms >= since_ms.saturating_add(probation_ms) {
                    return Some(Ok(()));
                }
                self.probation = Probation::Well { commit: tasks.version, since_ms };
                None
            }
        }
    }

    /// Somebody asked for a new start.
    pub(super) fn restart(&mut self, only_failed: bool) {
        if !only_failed || matches!(self.plan, Plan::Failed { .. }) {
            self.plan = Plan::Open;
            self.anew = true;
        }
    }

    pub(super) fn state(&self, wanted: &Wanted) -> (RunState, Option<String>) {
        match (wanted.target, &self.plan) {
            (TargetState::Stopped, _) => (RunState::Stopped, None),
            (TargetState::Paused, _) => (RunState::Paused, None),
            (TargetState::Started, _) if let Some(why) = self.goes_back(wanted) => {
                (RunState::Restarting, Some(format!("goes back to what it was: {why}")))
            }
            (TargetState::Started, Plan::Failed { trace, .. }) => (RunState::Failed, Some(trace.clone())),
            (TargetState::Started, Plan::Again { trace, .. }) => (RunState::Unassigned, Some(trace.clone())),
            (TargetState::Started, _) if wanted.tasks.is_none() => (RunState::Unassigned, None),
            (TargetState::Started, _) if wanted.current_tasks().is_none() => (RunState::Restarting, None),
            (TargetState::Started, _) => (RunState::Running, None),
        }
    }

    fn goes_back(&self, wanted: &Wanted) -> Option<&str> {
        match &self.probation {
            // Another worker's verdict may have been the first.
            Probation::Judged { version, reason, .. }
                if *version == wanted.version && !wanted.is_judged() =>
            {
                reason.as_deref()
            }
            _ => None,
        }
    }

    /// `probation_ms`: as in [`Self::judge`].
    pub(super) fn deadline(&self, probation_ms: i64) -> Option<i64> {
        let plan = match self.plan {
            Plan::Again { at_ms, .. } => Some(at_ms),
            _ => None,
        };
        let fence = match self.fence {
            Fence::Again { at_ms } => Some(at_ms),
            _ => None,
        };
        let look = match self.look {
            Look::At(at_ms) => Some(at_ms),
            _ => None,
        };
        let probation = match self.probation {
            Probation::Well { since_ms, .. } => Some(since_ms.saturating_add(probation_ms)),
            Probation::Judged { again_ms, .. } => again_ms,
            Probation::Idle => None,
        };
        plan.into_iter().chain(fence).chain(look).chain(probation).min()
    }
}

fn commit_of(config: i64, configs: Vec<String>, builds: Builds) -> Commit {
    let chosen = (!builds.is_empty()).then_some(Chosen { config, builds });
    Commit { tasks: u32::try_from(configs.len()).unwrap_or(u32::MAX), config, configs, chosen }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::configs::Upgrade;
    use super::*;
    use crate::spec::flat::ConnectorConfig;

    fn sink(key: &str) -> Wanted {
        let config = ConnectorConfig::from([(key.to_owned(), "t".to_owned())]);
        let configs = vec!["0,1".to_owned()].into();
        let tasks = Tasks { version: 2, config_version: 1, configs, chosen: None };
        Wanted {
            config: Arc::new(config),
            version: 1,
            target: TargetState::Started,
            tasks: Some(tasks),
            upgrade: Upgrade::default(),
        }
    }

    #[test]
    fn a_sink_is_looked_at_when_it_is_taken_over_and_now_and_then() {
        let (mut owned, wanted, mut number) = (Owned::default(), sink("topics"), 0);
        assert_eq!(owned.plan(&wanted, 0, &mut number), None);
        assert_eq!(owned.look(&wanted, 0, Some(100), &mut number), Some(1));
        assert_eq!(owned.look(&wanted, 50, Some(100), &mut number), None, "one at a time");
        let same = Ok(vec!["0,1".to_owned()]);
        assert_eq!(owned.looked(1, &Builds::new(), &same, &wanted, 150), None);
        assert_eq!((owned.deadline(0), owned.look(&wanted, 149, Some(100), &mut number)), (Some(150), None));
        assert_eq!(owned.look(&wanted, 150, Some(100), &mut number), Some(2));
        assert_eq!(owned.looked(1, &Builds::new(), &same, &wanted, 250), None, "late");
        let lost = Err(PlanFailure::Failed("no broker".to_owned()));
        assert_eq!(owned.looked(2, &Builds::new(), &lost, &wanted, 250), None);
        assert_eq!(owned.state(&wanted), (RunState::Running, None));
        assert_eq!(owned.look(&wanted, 250, Some(100), &mut number), Some(3));
        let grown = Ok(vec!["0,1,2".to_owned()]);
        assert_eq!(
            owned.looked(3, &Builds::new(), &grown, &wanted, 350),
            Some(commit_of(1, vec!["0,1,2".to_owned()], Builds::new()))
        );
    }

    #[test]
    fn sources_and_what_rests_are_not_looked_at() {
        let (mut owned, mut number) = (Owned::default(), 0);
        let mut resting = sink("topics");
        resting.target = TargetState::Paused;
        for wanted in [sink("topic"), resting] {
            owned.plan(&wanted, 0, &mut number);
            assert_eq!(owned.look(&wanted, 0, Some(100), &mut number), None);
        }
        let wanted = sink("topics");
        owned.plan(&wanted, 0, &mut number);
        assert_eq!(owned.look(&wanted, 0, None, &mut number), None);
    }
}
