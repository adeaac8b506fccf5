//! The herder itself: from what the topics ask for and what it was assigned to what has to start and stop here.
//!
//! Without I/O, clock or randomness: `step(event, now) -> effects`, so that scripts (`tests/scripts/`) drive it.
//!
//! ```text
//! connect-configs ─> configs ─┐
//! assignment ─────────────────┼─> reconcile ─> plan, fence, start, stop, write states
//! news of tasks and plans ────┘
//! ```
//!
//! A connector's owner plans it whenever its configuration is new, writes the tasks (`commit-…`), takes the transactional ids of
//! all tasks that may have run before, and says so (`tasks-fencing-count-…`). Invariants:
//! - A task starts only for the newest commit, made of the newest configuration, after the fencing for that very commit; so no
//!   task of an earlier commit can still write, on whichever worker it hangs.
//! - At most one start of a task is under way here; the next one waits for the end of the last.

use std::collections::{BTreeMap, BTreeSet};

use super::configs::{Configs, Tasks, Wanted};
use super::event::{Effect, Event, StartTask};
use super::local::{self, Local};
use super::owned::{Health, Owned};
use super::ownership::{Assignment, Holdings, Report, TaskId};
use super::record::{ConfigRecord, RunState, Status, StatusKey, StatusRecord, UsedTopic};
use super::statuses::Statuses;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Herder {
    /// `host:port` of this worker's REST API.
    pub(super) worker_id: String,
    pub(super) configs: Configs,
    pub(super) statuses: Statuses,
    loaded: bool,
    assignment: Assignment,
    /// Connectors that this worker speaks for.
    owned: BTreeMap<String, Owned>,
    /// Tasks of this worker, until nothing is left of them.
    tasks: BTreeMap<TaskId, Local>,
    /// Last word of this worker on each state; none: forgotten.
    told: BTreeMap<StatusKey, Option<Status>>,
    /// Topics that this worker noted or forgot, by connector and name, until the topic says the same.
    told_topics: BTreeSet<(String, String)>,
    reported: Option<Report>,
    /// For numbers of plans and starts.
    next_number: u64,
    /// How often sinks are looked at; none: never.
    look_every_ms: Option<i64>,
    /// How long new components have to run before they are taken for good.
    probation_ms: i64,
    pub(super) effects: Vec<Effect>,
}

impl Herder {
    pub(super) fn new(worker_id: String) -> Self {
        Self {
            worker_id,
            configs: Configs::default(),
            statuses: Statuses::default(),
            loaded: false,
            assignment: Assignment::default(),
            owned: BTreeMap::new(),
            tasks: BTreeMap::new(),
            told: BTreeMap::new(),
            told_topics: BTreeSet::new(),
            reported: None,
            next_number: 0,
            look_every_ms: None,
            probation_ms: 0,
            effects: Vec::new(),
        }
    }

    /// Plans sinks anew when their topics have got partitions.
    pub(super) fn looking_every(mut self, ms: i64) -> Self {
        self.look_every_ms = Some(ms);
        self
    }

    /// New components that fail earlier are left again.
    pub(super) fn on_probation_for(mut self, ms: i64) -> Self {
        self.probation_ms = ms;
        self
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// One step.
    pub(super) fn step(&mut self, event: Event, now_ms: i64) -> Vec<Effect> {
        match event {
            Event::Config(offset, record) => self.config(offset, record),
            Event::ConfigsRead(offset) => self.configs.read_to(offset),
            Event::Status(record) => self.status(record),
            Event::Loaded => self.loaded = true,
            Event::Assigned(assignment) => self.assigned(assignment),
            Event::Planned { connector, attempt, builds, planned } => {
                let wanted = self.configs.get(&connector);
                let look_ms = now_ms.saturating_add(self.look_every_ms.unwrap_or(0));
                if let (Some(owned), Some(wanted)) = (self.owned.get_mut(&connector), wanted)
                    && let Some(commit) = owned
                        .looked(attempt, &builds, &planned, wanted, look_ms)
                        .or_else(|| owned.planned(attempt, builds, planned, wanted, now_ms))
                {
                    self.effects.push(Effect::Config(
                        connector.clone(),
                        ConfigRecord::Commit(connector, Some(commit)),
                    ));
                }
            }
            Event::Fenced { connector, commit, fenced } => self.fenced(connector, commit, fenced, now_ms),
            Event::Written { connector, written } => {
                if let Some(owned) = self.owned.get_mut(&connector) {
                    owned.written(written, now_ms);
                }
            }
            Event::Task { id, start, news } => {
                let local = self.tasks.get_mut(&id).filter(|local| local.start == start);
                if let Some(local) = local {
                    if news.is_end() && local.is_stopping() {
                        self.tasks.remove(&id);
                    } else {
                        local.news(news);
                    }
                    self.note_topic(&id, now_ms);
                }
            }
            Event::Tick => {}
        }
        if self.loaded {
            self.reconcile(now_ms);
        }
        std::mem::take(&mut self.effects)
    }

    /// When it wants to be woken, in milliseconds since 1970.
    pub(super) fn next_deadline(&self) -> Option<i64> {
        self.owned.values().filter_map(|owned| owned.deadline(self.probation_ms)).min()
    }

    /// Nothing to run any more, in place of what was assigned last.
    pub(super) fn nothing(&self) -> Assignment {
        let Assignment { generation, revision, .. } = self.assignment;
        Assignment { generation, revision, ..Assignment::default() }
    }

    fn assigned(&mut self, assignment: Assignment) {
        if assignment.lost {
            self.tasks.retain(|_, local| local.kill());
            // Others speak of all that from now on: should it come back here, the same words are news.
            self.told.retain(|_, told| told.is_none());
            self.effects.extend(self.tasks.keys().cloned().map(Effect::Kill));
        }
        self.assignment = assignment;
    }

    fn config(&mut self, offset: i64, record: ConfigRecord) {
        // What was asked for before this worker read along was for others.
        if self.loaded {
            match &record {
                ConfigRecord::Restart(name, restart) => {
                    if let Some(owned) = self.owned.get_mut(name) {
                        owned.restart(restart.only_failed);
                    }
                    if restart.include_tasks {
                        let theirs = self.tasks.iter_mut().filter(|(id, _)| id.connector == *name);
                        theirs.for_each(|(_, local)| local.restart(restart.only_failed));
                    }
                }
                ConfigRecord::RestartTask(id) => {
                    if let Some(local) = self.tasks.get_mut(id) {
                        local.restart(false);
                    }
                }
                _ => {}
            }
        }
        self.configs.apply(offset, record);
    }

    fn status(&mut self, record: StatusRecord) {
        match &record {
            // Somebody speaks of what was forgotten: it has to be forgotten again.
            StatusRecord::Status(key, Some(_)) if self.told.get(key) == Some(&None) => {
                drop(self.told.remove(key))
            }
            StatusRecord::Status(key, None) if self.told.get(key) == Some(&None) => {
                drop(self.told.remove(key))
            }
            StatusRecord::Topic(topic, connector, _) => {
                self.told_topics.remove(&(connector.clone(), topic.clone()));
            }
            StatusRecord::Status(..) => {}
        }
        self.statuses.apply(record);
    }

    fn fenced(&mut self, connector: String, commit: i64, fenced: Result<(), String>, now_ms: i64) {
        let tasks = self.configs.get(&connector).map_or(0, Wanted::task_count);
        let Some(owned) = self.owned.get_mut(&connector) else { return };
        if let Some(fencing) = owned.fenced(commit, fenced, tasks, now_ms) {
            self.effects
                .push(Effect::Config(connector.clone(), ConfigRecord::Fencing(connector, Some(fencing))));
        }
    }

    fn reconcile(&mut self, now_ms: i64) {
        self.reconcile_connectors(now_ms);
        self.reconcile_tasks();
        if self.assignment.leader {
            self.forget();
        }
        self.report();
    }

    fn reconcile_connectors(&mut self, now_ms: i64) {
        let names: BTreeSet<String> = self.owned.keys().chain(&self.assignment.connectors).cloned().collect();
        for name in names {
            let mine = self.assignment.connectors.contains(&name);
            let wanted = self.configs.get(&name).cloned().filter(|_| mine);
            let Some(wanted) = wanted else {
                if self.owned.remove(&name).is_some_and(|owned| owned.is_fencing()) {
                    self.effects.push(Effect::Unfence(name.clone()));
                }
                self.say_no_more(&StatusKey::Connector(name));
                continue;
            };
            let owned = self.owned.entry(name.clone()).or_default();
            if let Some(attempt) = owned.plan(&wanted, now_ms, &mut self.next_number) {
                let (config, builds) = (wanted.config.clone(), wanted.builds().cloned().unwrap_or_default());
                self.effects.push(Effect::Plan { connector: name.clone(), attempt, config, builds });
            }
            if let Some(attempt) = owned.look(&wanted, now_ms, self.look_every_ms, &mut self.next_number) {
                let (config, builds) = (wanted.config.clone(), wanted.builds().cloned().unwrap_or_default());
                self.effects.push(Effect::Look { connector: name.clone(), attempt, config, builds });
            }
            let unfenced = wanted.current_tasks().filter(|tasks| !self.configs.is_fenced(&name, tasks));
            // What ends here by itself is not cut off in the middle of a transaction.
            let is_alone = |tasks: &&Tasks| {
                let mut mine = self.tasks.iter().filter(|(id, _)| id.connector == name);
                mine.all(|(_, local)| local.version() == tasks.version)
            };
            let unfenced = unfenced.filter(is_alone).map(|tasks| tasks.version);
            if let Some(commit) = owned.fence(&wanted, unfenced, now_ms) {
                let ids = self.configs.ids_to_fence(&name, wanted.task_count());
                self.effects.push(Effect::Fence { connector: name.clone(), commit, ids });
            }
            let health = |tasks: &Tasks| health(&self.statuses, &name, tasks);
            if let Some(verdict) = owned.judge(&wanted, health, now_ms, self.probation_ms) {
                let record = ConfigRecord::Upgrade(name.clone(), Some(verdict));
                self.effects.push(Effect::Config(name.clone(), record));
            }
            let (state, trace) = owned.state(&wanted);
            self.tell(StatusKey::Connector(name), (state, trace), None, false);
        }
    }

    fn reconcile_tasks(&mut self) {
        // What was spoken of and has ended for others is here, too: a last word is due, and whatever comes back is news.
        let told = self.told.iter().filter_map(|(key, told)| match (key, told) {
            (StatusKey::Task(id), Some(_)) => Some(id),
            _ => None,
        });
        let ids: BTreeSet<TaskId> =
            self.tasks.keys().chain(&self.assignment.tasks).chain(told).cloned().collect();
        for id in ids {
            let mine = self.assignment.tasks.contains(&id);
            let connector = self.configs.get(&id.connector).cloned();
            let exists = connector.as_ref().is_some_and(|wanted| id.task < wanted.task_count());
            let start = connector.as_ref().filter(|_| mine).and_then(|wanted| self.startable(&id, wanted));
            // What runs for an older configuration goes on until there is a commit for the new one.
            let keeps = mine && connector.as_ref().is_some_and(|wanted| wanted.target.is_started());
            let version =
                connector.as_ref().and_then(|wanted| wanted.tasks.as_ref()).map(|tasks| tasks.version);
            let keep = version.filter(|_| keeps && exists);
            if let Some(local) = self.tasks.get_mut(&id) {
                if local.keep(keep) {
                    self.effects.push(Effect::Stop(id.clone()));
                }
                if local.is_gone(keep) {
                    self.tasks.remove(&id);
                }
            }
            if let (Some(mut start), false) = (start, self.tasks.contains_key(&id)) {
                self.next_number += 1;
                start.start = self.next_number;
                self.tasks.insert(id.clone(), Local::started(start.start, start.version));
                self.effects.push(Effect::Start(start));
            }
            match connector.filter(|_| exists) {
                Some(wanted) => self.tell_task(&id, &wanted, mine),
                None => self.say_no_more(&StatusKey::Task(id)),
            }
        }
    }

    /// The start of a task, if it may start now.
    fn startable(&self, id: &TaskId, wanted: &Wanted) -> Option<Box<StartTask>> {
        let tasks = wanted.current_tasks()?;
        let task_config = tasks.configs.get(id.task as usize)?.clone();
        let may = wanted.target.is_started() && self.configs.is_fenced(&id.connector, tasks);
        may.then(|| {
            Box::new(StartTask {
                id: id.clone(),
                start: 0,
                version: tasks.version,
                tasks: wanted.task_count(),
                config: wanted.config.clone(),
                task_config,
                builds: wanted.builds().cloned().unwrap_or_default(),
            })
        })
    }

    fn tell_task(&mut self, id: &TaskId, wanted: &Wanted, mine: bool) {
        let key = StatusKey::Task(id.clone());
        let is_known = self.told.contains_key(&key);
        let local = self.tasks.get(id);
        let (commit, outage) = (local.map(Local::version), local.is_some_and(Local::is_interrupted));
        match local::state(local, wanted.target, mine, is_known) {
            Some(state) => self.tell(key.clone(), state, commit, outage),
            None if !mine => {}
            None => return,
        }
        if !mine && !self.tasks.contains_key(id) {
            self.told.remove(&key);
        }
    }

    fn tell(
        &mut self,
        key: StatusKey,
        (state, trace): (RunState, Option<String>),
        commit: Option<i64>,
        outage: bool,
    ) {
        let (worker_id, generation) = (self.worker_id.clone(), self.assignment.generation);
        let status = Status { state, trace, worker_id, generation, commit, outage };
        // A new assignment alone is no news.
        let same = |told: &Status| Status { generation, ..told.clone() } == status;
        if self.told.get(&key).and_then(Option::as_ref).is_some_and(same) {
            return;
        }
        self.told.insert(key.clone(), Some(status.clone()));
        self.effects.push(Effect::Status(StatusRecord::Status(key, Some(status))));
    }

    /// Whether a task of the newest commit failed.
    pub(super) fn has_failed(&self, name: &str, wanted: &Wanted) -> bool {
        let health = wanted.current_tasks().map(|tasks| health(&self.statuses, name, tasks));
        matches!(health, Some(Health::Failed(_)))
    }

    /// What this worker said is no longer its business; that it is to be forgotten stands until the topic says so.
    fn say_no_more(&mut self, key: &StatusKey) {
        if self.told.get(key) != Some(&None) {
            self.told.remove(key);
        }
    }

    /// Notes that a running task uses its connector's topic.
    fn note_topic(&mut self, id: &TaskId, now_ms: i64) {
        let runs = self.tasks.get(id).is_some_and(Local::is_running);
        let Some(wanted) = self.configs.get(&id.connector).filter(|_| runs) else { return };
        let Some(topic) = wanted.config.get("topic").or_else(|| wanted.config.get("topics")) else { return };
        let known =
            self.statuses.topics().any(|(connector, known)| connector == id.connector && known == topic);
        if !known && self.told_topics.insert((id.connector.clone(), topic.clone())) {
            let used = UsedTopic {
                name: topic.clone(),
                connector: id.connector.clone(),
                task: id.task,
                discover_timestamp: now_ms,
            };
            let record = StatusRecord::Topic(topic.clone(), id.connector.clone(), Some(used));
            self.effects.push(Effect::Status(record));
        }
    }

    /// Forgets states of what is no longer there; one worker does, for all.
    fn forget(&mut self) {
        let is_there = |key: &&StatusKey| match key {
            StatusKey::Connector(name) => self.configs.get(name).is_some(),
            StatusKey::Task(id) => {
                let wanted = self.configs.get(&id.connector);
                wanted.is_some_and(|wanted| wanted.tasks.is_none() || id.task < wanted.task_count())
            }
        };
        let gone = self.statuses.keys().filter(|key| !is_there(key) && self.told.get(key) != Some(&None));
        for key in gone.cloned().collect::<Vec<_>>() {
            self.told.insert(key.clone(), None);
            self.effects.push(Effect::Status(StatusRecord::Status(key, None)));
        }
        let topics = self.statuses.topics().filter(|(connector, _)| self.configs.get(connector).is_none());
        for (connector, topic) in topics.map(|(c, t)| (c.to_owned(), t.to_owned())).collect::<Vec<_>>() {
            if self.told_topics.insert((connector.clone(), topic.clone())) {
                self.effects.push(Effect::Status(StatusRecord::Topic(topic, connector, None)));
            }
        }
    }

    fn report(&mut self) {
        let held = Holdings {
            connectors: self.owned.keys().cloned().collect(),
            tasks: self.tasks.keys().cloned().collect(),
        };
        let report = Report { work: self.configs.work(), held, revision: self.assignment.revision };
        if self.reported.as_ref() != Some(&report) {
            self.reported = Some(report.clone());
            self.effects.push(Effect::Report(report));
        }
    }
}

/// How the tasks of a commit are, by what their workers say.
fn health(statuses: &Statuses, connector: &str, tasks: &Tasks) -> Health {
    let mut all = Health::Well;
    for task in 0..u32::try_from(tasks.configs.len()).unwrap_or(u32::MAX) {
        let status = statuses.task(&TaskId { connector: connector.to_owned(), task });
        let status = status.filter(|status| status.commit == Some(tasks.version));
        match status.map(|status| (status.state, &status.trace, status.outage)) {
            Some((RunState::Running, ..)) => {}
            Some((RunState::Failed, trace, _) | (RunState::Restarting, trace @ Some(_), false)) => {
                return Health::Failed(trace.clone().unwrap_or_default());
            }
            _ => all = Health::Waits,
        }
    }
    all
}
