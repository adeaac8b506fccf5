//! Random runs of two workers: requests, assignments, deaths, and plans, fencings and tasks that answer in any order.
//!
//! Checked at every start of a task: it is for the newest commit, which was fenced; it doesn't run already, here or there.
//! A put may bring another component, which is gone back from when a task fails early. A verdict about it may be handed in late, by a worker that has lost the
//! connector meanwhile.
//! Checked at the end, when everything has answered: what is started runs, once, by its newest commit, and nothing else does;
//! and its state says so, with the worker where it runs.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::component::Digest;
use crate::herder::configs::{Configs, Wanted};
use crate::herder::event::{Effect, Event, TaskNews};
use crate::herder::machine::Herder;
use crate::herder::ownership::{Assignment, TaskId};
use crate::herder::record::{ConfigRecord, Restart, RunState, StatusRecord, TargetState, Verdict};
use crate::herder::request::Request;
use crate::plan::{Build, Builds};
use crate::spec::flat::ConnectorConfig;

const WORKERS: usize = 2;
const CONNECTORS: [&str; 2] = ["c", "d"];

/// Something that answers later.
#[derive(Clone, Debug)]
enum Pending {
    Plan { worker: usize, connector: String, attempt: u64, tasks: usize, builds: Builds },
    Fence { worker: usize, connector: String, commit: i64 },
    Verdict { worker: usize, connector: String, verdict: Verdict },
    Task { worker: usize, id: TaskId, start: u64, version: i64, stopping: bool },
}

/// New components are on probation for the time of three steps.
fn herder(worker: usize) -> Herder {
    Herder::new(format!("w{worker}")).on_probation_for(30)
}

#[derive(Default)]
struct Run {
    herders: Vec<Herder>,
    configs: Vec<ConfigRecord>,
    statuses: Vec<StatusRecord>,
    pending: Vec<Pending>,
    generation: i32,
    /// How many tasks plans bring.
    tasks: usize,
    /// Version of the file that is the component of all.
    build: u64,
    now: i64,
}

impl Run {
    fn new() -> Self {
        let mut run = Self { tasks: 1, ..Self::default() };
        for worker in 0..WORKERS {
            run.herders.push(herder(worker));
            run.step(worker, Event::Loaded);
        }
        run
    }

    fn step(&mut self, worker: usize, event: Event) {
        for effect in self.herders[worker].step(event, self.now) {
            self.perform(worker, effect);
        }
    }

    fn perform(&mut self, worker: usize, effect: Effect) {
        match effect {
            Effect::Config(connector, ConfigRecord::Upgrade(_, Some(verdict))) => {
                self.pending.push(Pending::Verdict { worker, connector, verdict });
            }
            Effect::Config(connector, record) => {
                self.append(record);
                self.step(worker, Event::Written { connector, written: Ok(()) });
            }
            Effect::Status(record) => {
                self.statuses.push(record.clone());
                (0..WORKERS).for_each(|worker| self.step(worker, Event::Status(record.clone())));
            }
            Effect::Plan { connector, attempt, builds, .. }
            | Effect::Look { connector, attempt, builds, .. } => {
                let builds = if builds.is_empty() { self.builds() } else { builds };
                self.pending.push(Pending::Plan { worker, connector, attempt, tasks: self.tasks, builds });
            }
            Effect::Fence { connector, commit, .. } => {
                self.pending.push(Pending::Fence { worker, connector, commit });
            }
            Effect::Unfence(connector) => self.pending.retain(|pending| {
                !matches!(pending, Pending::Fence { worker: of, connector: known, .. } if (*of, known) == (worker, &connector))
            }),
            Effect::Start(start) => {
                let (id, start, version) = (start.id, start.start, start.version);
                self.check_start(&id, version);
                self.pending.push(Pending::Task { worker, id, start, version, stopping: false });
            }
            Effect::Stop(stopped) => self.mark(worker, &stopped),
            Effect::Kill(killed) => self.mark(worker, &killed),
            Effect::Report(_) => {}
        }
    }

    fn builds(&self) -> Builds {
        let build = Build { version: String::new(), digest: Digest::of(&self.build.to_le_bytes()) };
        Builds::from([("/x.wasm".to_owned(), build)])
    }

    fn mark(&mut self, at: usize, ended: &TaskId) {
        for pending in &mut self.pending {
            if let Pending::Task { worker, id, stopping, .. } = pending
                && *worker == at
                && id == ended
            {
                *stopping = true;
            }
        }
    }

    fn check_start(&self, starting: &TaskId, version: i64) {
        let newest = self.newest_commit(&starting.connector);
        assert_eq!(newest, Some(version), "{starting} starts for an older commit: {:#?}", self.configs);
        let is_fencing = |record: &ConfigRecord| matches!(record, ConfigRecord::Fencing(name, Some(fencing)) if *name == starting.connector && fencing.commit == version);
        assert!(self.configs.iter().any(is_fencing), "{starting} starts unfenced");
        let runs = |pending: &Pending| matches!(pending, Pending::Task { id, .. } if id == starting);
        assert!(!self.pending.iter().any(runs), "{starting} runs already");
    }

    /// What was found good is not gone back from.
    fn check_verdict(&self, record: &ConfigRecord) {
        let ConfigRecord::Upgrade(name, Some(Verdict { config, rolled_back: Some(_) })) = record else {
            return;
        };
        let good = ConfigRecord::Upgrade(name.clone(), Some(Verdict { config: *config, rolled_back: None }));
        assert!(!self.configs.contains(&good), "{name} was found good: {:#?}", self.configs);
    }

    fn newest_commit(&self, connector: &str) -> Option<i64> {
        let is_commit =
            |record: &ConfigRecord| matches!(record, ConfigRecord::Commit(name, _) if name == connector);
        self.configs.iter().rposition(is_commit).map(|at| at as i64)
    }

    fn append(&mut self, record: ConfigRecord) {
        self.check_verdict(&record);
        let offset = self.configs.len() as i64;
        self.configs.push(record.clone());
        (0..WORKERS).for_each(|worker| self.step(worker, Event::Config(offset, record.clone())));
    }

    fn request(&mut self, request: Request) {
        if let Ok(records) = self.herders[0].records(request) {
            records.into_iter().for_each(|record| self.append(record));
        }
    }

    /// Divides all work anew, as `choice` says; what runs somewhere stays there until it has ended.
    fn assign(&mut self, choice: u64) {
        self.generation += 1;
        let work = self.herders[0].configs.work();
        let mut shares = vec![Assignment::default(); WORKERS];
        for (at, connector) in work.connectors.keys().enumerate() {
            shares[(choice >> at) as usize % WORKERS].connectors.insert(connector.clone());
        }
        let mut tasks: BTreeSet<TaskId> = work.tasks().collect();
        for pending in &self.pending {
            if let Pending::Task { worker, id, .. } = pending
                && tasks.remove(id)
            {
                shares[*worker].tasks.insert(id.clone());
            }
        }
        for (at, id) in tasks.into_iter().enumerate() {
            shares[(choice >> (at + 8)) as usize % WORKERS].tasks.insert(id);
        }
        for (worker, mut share) in shares.into_iter().enumerate() {
            share.leader = worker == 0;
            share.generation = self.generation;
            self.step(worker, Event::Assigned(share));
        }
    }

    /// Something that is pending answers.
    fn answer(&mut self, at: usize) {
        if self.pending.is_empty() {
            return;
        }
        match self.pending.remove(at % self.pending.len()) {
            Pending::Plan { worker, connector, attempt, tasks, builds } => {
                let planned = Ok((0..tasks).map(|task| format!("{connector} {task} of {tasks}")).collect());
                self.step(worker, Event::Planned { connector, attempt, builds, planned });
            }
            Pending::Fence { worker, connector, commit } => {
                self.step(worker, Event::Fenced { connector, commit, fenced: Ok(()) });
            }
            // Whoever hands one in has read all others before, and they can't be followed by earlier ones.
            Pending::Verdict { worker, connector, verdict } => {
                if self.herders[worker].configs.is_open(&connector, &verdict) {
                    self.append(ConfigRecord::Upgrade(connector.clone(), Some(verdict)));
                }
                self.step(worker, Event::Written { connector, written: Ok(()) });
            }
            Pending::Task { worker, id, start, stopping: true, .. } => {
                self.step(worker, Event::Task { id, start, news: TaskNews::Stopped });
            }
            running @ Pending::Task { .. } => {
                let Pending::Task { worker, id, start, .. } = running.clone() else { return };
                self.pending.push(running);
                self.step(worker, Event::Task { id, start, news: TaskNews::Running });
            }
        }
    }

    /// A task gives up.
    fn fail(&mut self, at: usize) {
        if self.pending.is_empty() {
            return;
        }
        let at = at % self.pending.len();
        if let Pending::Task { worker, id, start, stopping: false, .. } = self.pending[at].clone() {
            self.pending.remove(at);
            self.step(worker, Event::Task { id, start, news: TaskNews::Failed("why".into()) });
        }
    }

    /// A worker is killed, and comes again with nothing.
    fn kill(&mut self, at: usize) {
        self.pending.retain(|pending| match pending {
            Pending::Plan { worker, .. }
            | Pending::Fence { worker, .. }
            | Pending::Verdict { worker, .. }
            | Pending::Task { worker, .. } => *worker != at,
        });
        self.herders[at] = herder(at);
        for (offset, record) in self.configs.clone().into_iter().enumerate() {
            self.step(at, Event::Config(offset as i64, record));
        }
        for record in self.statuses.clone() {
            self.step(at, Event::Status(record));
        }
        self.step(at, Event::Loaded);
    }

    fn play(&mut self, op: u8, choice: u64) {
        self.now += 10;
        let name = CONNECTORS[choice as usize % CONNECTORS.len()].to_owned();
        let version = ConnectorConfig::from([("topic".to_owned(), format!("t{choice}"))]);
        match op {
            0 => self.request(Request::Create { name, config: version, initial: TargetState::Started }),
            1 => {
                self.tasks = 1 + choice as usize % 3;
                self.build = choice / 3 % 3;
                self.request(Request::Put { name, config: version });
            }
            2 => self.request(Request::Delete(name)),
            3 => self.request(Request::Target(name, TargetState::Paused)),
            4 => self.request(Request::Target(name, TargetState::Stopped)),
            5 => self.request(Request::Target(name, TargetState::Started)),
            6 => self.request(Request::Restart(
                name,
                Restart { include_tasks: true, only_failed: choice.is_multiple_of(2) },
            )),
            7 => self.fail(choice as usize),
            8 => self.kill(choice as usize % WORKERS),
            9..=11 => self.assign(choice),
            _ => self.answer(choice as usize),
        }
    }

    /// What is read when only the newest record of each key is left.
    fn compacted(&self) -> Configs {
        let mut newest = BTreeMap::new();
        for (offset, record) in self.configs.iter().enumerate() {
            newest.insert(record.record().key, (offset as i64, record.clone()));
        }
        let mut left: Vec<_> = newest.into_values().collect();
        left.sort_by_key(|(offset, _)| *offset);
        let mut configs = Configs::default();
        left.into_iter().for_each(|(offset, record)| configs.apply(offset, record));
        configs
    }

    /// Lets everything answer until nothing changes any more.
    fn settle(&mut self) {
        for round in 0..200 {
            self.assign(5);
            for at in 0..self.pending.len() {
                self.answer(at);
            }
            let is_busy = |pending: &Pending| !matches!(pending, Pending::Task { stopping: false, .. });
            if round > 3 && !self.pending.iter().any(is_busy) {
                break;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn tasks_run_once_and_by_the_newest_plan(ops in proptest::collection::vec((0u8..22, any::<u64>()), 1..120)) {
        let mut run = Run::new();
        for (op, choice) in ops {
            run.play(op, choice);
        }
        run.settle();
        // What was given up stays that until somebody asks for it.
        for name in CONNECTORS {
            run.request(Request::Restart(name.to_owned(), Restart { include_tasks: true, only_failed: true }));
        }
        run.settle();
        let mut wanted = BTreeSet::new();
        for (name, connector) in run.herders[0].configs.iter() {
            if connector.target.is_started() {
                let version = run.newest_commit(name);
                wanted.extend((0..connector.task_count()).map(|task| (TaskId { connector: name.clone(), task }, version)));
                prop_assert!(connector.task_count() > 0, "{name} has no tasks: {:#?}", run.configs);
            }
        }
        let runs = |pending: &Pending| match pending {
            Pending::Task { id, version, .. } => Some((id.clone(), Some(*version))),
            _ => None,
        };
        let running: Vec<_> = run.pending.iter().filter_map(runs).collect();
        prop_assert_eq!(running.len(), wanted.len());
        prop_assert_eq!(running.into_iter().collect::<BTreeSet<_>>(), wanted);
        // Whoever comes when the topic was compacted makes the same of it, also of what was rolled back.
        let compacted = run.compacted();
        for herder in &run.herders {
            for (name, wanted) in herder.configs.iter() {
                let known = |wanted: &Wanted| {
                    let went_back = wanted.rolled_back().cloned();
                    let probation = wanted.probation().cloned();
                    (wanted.config.clone(), wanted.version, wanted.builds().cloned(), went_back, probation)
                };
                prop_assert_eq!(Some(known(wanted)), compacted.get(name).map(known), "{}: {:#?}", name, run.configs);
            }
            prop_assert_eq!(herder.configs.iter().count(), compacted.iter().count());
        }
        // Everybody knows where each runs, once all have said so.
        (0..run.pending.len()).for_each(|_| run.answer(0));
        for pending in &run.pending {
            let Pending::Task { worker, id, .. } = pending else { continue };
            for herder in &run.herders {
                let known = herder.statuses.task(id).map(|status| (status.state, status.worker_id.as_str()));
                prop_assert_eq!(known, Some((RunState::Running, &*format!("w{worker}"))), "{}", id);
            }
        }
    }
}
