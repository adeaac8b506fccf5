//! Reads a golden script, plays it, and writes it out with the answers.
//!
//! A line that begins with `> ` is a command, `MILLISECONDS [WORKER] VERB words...`; the lines under it are what the herder
//! wants to have done; everything else is prose. Workers `a`, `b`... share the two topics: what one writes all read, at once and
//! in order. Plans, fencings and tasks answer when the script says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::component::Digest;
use crate::herder::event::{Effect, Event, PlanFailure, TaskNews};
use crate::herder::machine::Herder;
use crate::herder::ownership::{Assignment, TaskId};
use crate::herder::record::{ConfigRecord, Record, Restart, StatusRecord, TargetState};
use crate::herder::request::Request;
use crate::plan::{Build, Builds};
use crate::spec::flat::ConnectorConfig;

/// How long new components have to run.
const PROBATION_MS: i64 = 1_000;

/// Plays `text`; gives it back with today's answers.
pub(super) fn run(text: &str) -> String {
    let mut out = String::new();
    let mut world = World::default();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            out += line;
            out.push('\n');
            world.play(command);
            for line in std::mem::take(&mut world.shown) {
                writeln!(out, "  {line}").unwrap();
            }
        } else if !line.starts_with("  ") {
            out += line;
            out.push('\n');
        }
    }
    out
}

#[derive(Default)]
struct World {
    workers: BTreeMap<String, Herder>,
    configs: Vec<ConfigRecord>,
    statuses: Vec<StatusRecord>,
    /// Newest number of a plan by worker and connector, of a start by worker and task.
    attempts: BTreeMap<(String, String), u64>,
    starts: BTreeMap<(String, String), u64>,
    shown: Vec<String>,
    /// Whether records of herders can't be written.
    is_down: bool,
}

impl World {
    fn play(&mut self, command: &str) {
        let mut words = command.split_whitespace();
        let now: i64 = words.next().unwrap().parse().expect("a time");
        let worker = words.next().expect("a worker").to_owned();
        let verb = words.next().expect("a verb");
        let words: Vec<&str> = words.collect();
        match verb {
            "joins" => self.join(&worker, now),
            "dies" => drop(self.workers.remove(&worker)),
            "down" => self.is_down = true,
            "up" => self.is_down = false,
            "log" => self.log(),
            "compact" => self.compact(),
            verb => match event(verb, &words, &self.attempts, &self.starts, &worker) {
                Some(event) => self.step(&worker, event, now),
                None => self.request(&worker, request(verb, &words), now),
            },
        }
    }

    /// A worker reads both topics and takes part.
    fn join(&mut self, worker: &str, now: i64) {
        let mut herder = Herder::new(format!("{worker}:8083")).on_probation_for(PROBATION_MS);
        for (offset, record) in self.configs.iter().enumerate() {
            assert!(herder.step(Event::Config(offset as i64, record.clone()), now).is_empty());
        }
        for record in &self.statuses {
            assert!(herder.step(Event::Status(record.clone()), now).is_empty());
        }
        self.workers.insert(worker.to_owned(), herder);
        self.step(worker, Event::Loaded, now);
    }

    fn request(&mut self, worker: &str, request: Request, now: i64) {
        match self.workers[worker].records(request) {
            Ok(records) => records.into_iter().for_each(|record| self.append(record, now)),
            Err(refusal) => self.shown.push(format!("refused: {refusal}")),
        }
    }

    fn append(&mut self, record: ConfigRecord, now: i64) {
        let offset = self.configs.len() as i64;
        let Record { key, value } = record.record();
        self.shown.push(format!("{offset}: {key} {}", value.as_deref().unwrap_or("null")));
        self.configs.push(record.clone());
        for worker in self.workers.keys().cloned().collect::<Vec<_>>() {
            self.step(&worker, Event::Config(offset, record.clone()), now);
        }
    }

    fn step(&mut self, worker: &str, event: Event, now: i64) {
        let Some(herder) = self.workers.get_mut(worker) else { return };
        for effect in herder.step(event, now) {
            self.perform(worker, effect, now);
        }
    }

    fn perform(&mut self, worker: &str, effect: Effect, now: i64) {
        let key = |of: &dyn std::fmt::Display| (worker.to_owned(), of.to_string());
        match effect {
            Effect::Config(connector, record) => {
                let written = if self.is_down { Err("no broker".to_owned()) } else { Ok(()) };
                if written.is_ok() {
                    self.append(record, now);
                }
                self.step(worker, Event::Written { connector, written }, now);
            }
            Effect::Status(record) => {
                let Record { key, value } = record.record();
                self.shown.push(format!("{key} {}", value.as_deref().unwrap_or("null")));
                self.statuses.push(record.clone());
                for worker in self.workers.keys().cloned().collect::<Vec<_>>() {
                    self.step(&worker, Event::Status(record.clone()), now);
                }
            }
            Effect::Plan { connector, attempt, config, builds } => {
                self.shown.push(format!("{worker}: plan {connector} {config:?}{}", pinned(&builds)));
                self.attempts.insert(key(&connector), attempt);
            }
            Effect::Look { connector, attempt, .. } => {
                self.shown.push(format!("{worker}: look at {connector}"));
                self.attempts.insert(key(&connector), attempt);
            }
            Effect::Fence { connector, commit, ids } => {
                self.shown.push(format!("{worker}: fence {ids} of {connector} for {commit}"));
            }
            Effect::Unfence(connector) => self.shown.push(format!("{worker}: unfence {connector}")),
            Effect::Start(start) => {
                self.starts.insert(key(&start.id), start.start);
                let (id, version, tasks, config) = (start.id, start.version, start.tasks, start.task_config);
                let pinned = pinned(&start.builds);
                self.shown
                    .push(format!("{worker}: start {id} of {tasks} at {version} with {config}{pinned}"));
            }
            Effect::Kill(id) => self.shown.push(format!("{worker}: kill {id}")),
            Effect::Stop(id) => self.shown.push(format!("{worker}: stop {id}")),
            Effect::Report(report) => {
                let work: Vec<String> =
                    report.work.connectors.iter().map(|(name, tasks)| format!("{name}:{tasks}")).collect();
                let connectors = report.held.connectors.into_iter();
                let held: Vec<String> =
                    connectors.chain(report.held.tasks.iter().map(ToString::to_string)).collect();
                self.shown.push(format!("{worker}: work {} held {}", work.join(","), held.join(",")));
            }
        }
    }

    /// What a new worker would read.
    fn log(&mut self) {
        let records = self.configs.iter().map(ConfigRecord::record);
        let lines =
            records.map(|record| format!("{} {}", record.key, record.value.as_deref().unwrap_or("null")));
        self.shown.extend(lines);
    }

    /// Leaves the newest record of each key of the status topic.
    fn compact(&mut self) {
        let mut newest = BTreeMap::new();
        for record in self.statuses.drain(..) {
            newest.insert(record.record().key, record);
        }
        self.statuses = newest.into_values().collect();
    }
}

/// Components by path and version, which is their digest here, too.
fn pinned(builds: &Builds) -> String {
    builds.iter().map(|(name, build)| format!(" {name}={}", build.version)).collect()
}

/// Words like `/a.wasm=2` are components, the others are not.
fn components<'w>(words: &[&'w str]) -> (Builds, Vec<&'w str>) {
    let mut builds = Builds::new();
    let mut others = Vec::new();
    for word in words {
        match word.split_once('=').filter(|(name, _)| name.starts_with('/')) {
            Some((name, version)) => {
                let digest = Digest::of(version.as_bytes());
                builds.insert(name.to_owned(), Build { version: version.to_owned(), digest });
            }
            None => others.push(*word),
        }
    }
    (builds, others)
}

fn id(text: &str) -> TaskId {
    let (connector, task) = text.rsplit_once('-').expect("connector-task");
    TaskId { connector: connector.to_owned(), task: task.parse().expect("a number") }
}

fn event(
    verb: &str,
    words: &[&str],
    attempts: &BTreeMap<(String, String), u64>,
    starts: &BTreeMap<(String, String), u64>,
    worker: &str,
) -> Option<Event> {
    let (builds, others) = components(words.get(1..).unwrap_or_default());
    let rest = || others.join(" ");
    let task = |news| {
        let start = starts[&(worker.to_owned(), words[0].to_owned())];
        Event::Task { id: id(words[0]), start, news }
    };
    let planned = |planned| {
        let connector = words[0].to_owned();
        let attempt = attempts[&(worker.to_owned(), connector.clone())];
        Event::Planned { connector, attempt, builds: builds.clone(), planned }
    };
    Some(match verb {
        // A plan that was superseded by a newer one.
        "planned-late" => {
            let connector = words[0].to_owned();
            let attempt = attempts[&(worker.to_owned(), connector.clone())] - 1;
            Event::Planned { connector, attempt, builds, planned: Ok(vec!["late".to_owned()]) }
        }
        "planned" => planned(Ok(others.iter().map(|word| (*word).to_owned()).collect())),
        "unplanned" => planned(Err(PlanFailure::Failed(rest()))),
        "unplanned-yet" => planned(Err(PlanFailure::Later(rest()))),
        "fenced" | "unfenced" => Event::Fenced {
            connector: words[0].to_owned(),
            commit: words[1].parse().expect("an offset"),
            fenced: if verb == "fenced" { Ok(()) } else { Err("no broker".to_owned()) },
        },
        "runs" => task(TaskNews::Running),
        "restarts" => task(TaskNews::Restarting(rest())),
        "interrupted" => task(TaskNews::Interrupted(rest())),
        "done" => task(TaskNews::Done),
        "stopped" => task(TaskNews::Stopped),
        "failed" => task(TaskNews::Failed(rest())),
        "tick" => Event::Tick,
        // `assigned GENERATION [leader] connector... connector-task...`
        "assigned" => {
            let mut assignment =
                Assignment { generation: words[0].parse().expect("a generation"), ..Assignment::default() };
            for word in &words[1..] {
                match *word {
                    "leader" => assignment.leader = true,
                    "lost" => assignment.lost = true,
                    word if word.contains('-') => drop(assignment.tasks.insert(id(word))),
                    word => drop(assignment.connectors.insert(word.to_owned())),
                }
            }
            Event::Assigned(assignment)
        }
        _ => return None,
    })
}

fn request(verb: &str, words: &[&str]) -> Request {
    let name = || words[0].to_owned();
    let config = || {
        let pairs = words[1..].iter().filter_map(|word| word.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<ConnectorConfig>()
    };
    match verb {
        "create" => {
            let initial = words.iter().find_map(|word| TargetState::named(word)).unwrap_or_default();
            Request::Create { name: name(), config: config(), initial }
        }
        "put" => Request::Put { name: name(), config: config() },
        "delete" => Request::Delete(name()),
        "pause" => Request::Target(name(), TargetState::Paused),
        "resume" => Request::Target(name(), TargetState::Started),
        "stop" => Request::Target(name(), TargetState::Stopped),
        "restart" => Request::Restart(
            name(),
            Restart { include_tasks: words.contains(&"tasks"), only_failed: words.contains(&"only-failed") },
        ),
        "restart-task" => Request::RestartTask(id(words[0])),
        verb => panic!("{verb}?"),
    }
}
