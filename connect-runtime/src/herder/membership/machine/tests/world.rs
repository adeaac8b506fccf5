//! Workers, each a machine with a herder that starts and ends things in its own time, around a coordinator, over a network that
//! is slow and breaks. Time is counted in milliseconds; all that is random comes from one seed.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::{Random, Vitals};
use tokio::time::Instant;

use super::coordinator::{Answer, Coordinator, SESSION_MS};
use crate::herder::membership::machine::{Effect, Event, Joined, Machine, Settings};
use crate::herder::ownership::{Assignment, Holdings, Report, TaskId, Work};

const STEP_MS: u64 = 20;
const BEAT_MS: u64 = 500;
/// How often an unanswered request is sent again.
const AGAIN_MS: u64 = 1000;
/// How long an aborted task may still be seen, and a process that was stopped needs to see that time has passed.
const ABORT_MS: u64 = 50;

pub(super) struct World {
    start: Instant,
    pub(super) now: u64,
    pub(super) random: Random,
    pub(super) coordinator: Coordinator,
    pub(super) workers: Vec<Worker>,
    work: Vec<Work>,
    network: Vec<(u64, Message)>,
    /// How often each task was started.
    pub(super) starts: BTreeMap<TaskId, u32>,
    delay_max: Duration,
}

#[derive(Debug, Clone)]
enum Message {
    Request { worker: usize, number: u64, request: Request },
    Answer { worker: usize, number: u64, answer: Answer },
}

#[derive(Debug, Clone)]
enum Request {
    Join { member: Option<String>, claim: Vec<u8> },
    Sync { member: String, generation: i32, shares: Vec<(String, Vec<u8>)> },
    Beat { member: String, generation: i32 },
    Leave { member: String },
}

pub(super) struct Worker {
    machine: Machine,
    pub(super) is_dead: bool,
    /// Until when the process stands still.
    pub(super) stopped_until: u64,
    /// Until when nothing comes through between it and the coordinator.
    pub(super) cut_until: u64,
    member: Option<(String, i32)>,
    vitals: Vitals,
    /// When each unanswered request was sent, and as whom.
    sent: BTreeMap<u64, (u64, Option<String>)>,
    number: u64,
    pending: Option<(Request, u64, u64)>,
    next_beat: u64,
    told: Assignment,
    obeys_at: u64,
    heard: Assignment,
    pub(super) running: Holdings,
    ending: BTreeMap<TaskId, u64>,
    read: usize,
    reported: Option<Report>,
}

impl World {
    pub(super) fn new(seed: u64, delay_max: Duration) -> Self {
        Self {
            start: Instant::now(),
            now: 0,
            random: Random::new(seed),
            coordinator: Coordinator::default(),
            workers: Vec::new(),
            work: vec![Work::default()],
            network: Vec::new(),
            starts: BTreeMap::new(),
            delay_max,
        }
    }

    pub(super) fn add_worker(&mut self) -> usize {
        let settings =
            Settings { lease: Duration::from_millis(SESSION_MS * 2 / 3), delay_max: self.delay_max };
        self.workers.push(Worker {
            machine: Machine::new(settings),
            is_dead: false,
            stopped_until: 0,
            cut_until: 0,
            member: None,
            vitals: Vitals::default(),
            sent: BTreeMap::new(),
            number: 0,
            pending: None,
            next_beat: self.now,
            told: Assignment::default(),
            obeys_at: 0,
            heard: Assignment::default(),
            running: Holdings::default(),
            ending: BTreeMap::new(),
            read: 0,
            reported: None,
        });
        self.workers.len() - 1
    }

    pub(super) fn leader(&self) -> usize {
        self.workers.iter().position(|worker| !worker.is_dead && worker.heard.leader).expect("somebody leads")
    }

    /// The configurations' topic says this from now on.
    pub(super) fn set_work(&mut self, connectors: &[(&str, u32)]) {
        let connectors = connectors.iter().map(|(name, tasks)| ((*name).to_owned(), *tasks)).collect();
        let offset = self.work.len() as i64;
        self.work.push(Work { connectors, offset });
    }

    pub(super) fn work(&self) -> &Work {
        self.work.last().unwrap()
    }

    pub(super) fn kill(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        (worker.is_dead, worker.running) = (true, Holdings::default());
    }

    /// The herder has ended everything and gone.
    pub(super) fn leave(&mut self, worker: usize) {
        if let Some((member, _)) = self.workers[worker].member.clone() {
            self.send(worker, Request::Leave { member });
        }
        self.kill(worker);
    }

    pub(super) fn run(&mut self, ms: u64, mut check: impl FnMut(&Self)) {
        let end = self.now + ms;
        while self.now < end {
            self.now += STEP_MS;
            self.step();
            check(self);
        }
    }

    /// Who runs it, and would write: processes that stand still don't, and are fenced by others' transactional ids.
    pub(super) fn holders(&self, task: &TaskId) -> Vec<usize> {
        let holds = |worker: &Worker| {
            let runs = !worker.is_dead && self.now > worker.stopped_until + ABORT_MS;
            runs && worker.running.tasks.contains(task)
        };
        (0..self.workers.len()).filter(|place| holds(&self.workers[*place])).collect()
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    fn latency(&mut self) -> u64 {
        1 + self.random.below(60)
    }

    fn is_cut(&self, worker: usize) -> bool {
        self.now < self.workers[worker].cut_until
    }

    fn send(&mut self, worker: usize, request: Request) -> u64 {
        let number = self.workers[worker].number + 1;
        let member = self.workers[worker].member.as_ref().map(|(id, _)| id.clone());
        self.workers[worker].number = number;
        self.workers[worker].sent.insert(number, (self.now, member));
        if !self.is_cut(worker) {
            let at = self.now + self.latency();
            self.network.push((at, Message::Request { worker, number, request }));
        }
        number
    }

    fn step(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.network.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, message) in due {
            match message {
                Message::Request { worker, number, request } => self.coordinate((worker, number), request),
                Message::Answer { worker, number, answer } => self.answered(worker, number, answer),
            }
        }
        self.coordinator.tick(now);
        for ((worker, number), answer) in std::mem::take(&mut self.coordinator.answers) {
            if !self.is_cut(worker) {
                let at = now + self.latency();
                self.network.push((at, Message::Answer { worker, number, answer }));
            }
        }
        for worker in 0..self.workers.len() {
            if !self.workers[worker].is_dead && self.workers[worker].stopped_until <= now {
                self.live(worker);
            }
        }
    }

    fn coordinate(&mut self, to: (usize, u64), request: Request) {
        let (now, coordinator) = (self.now, &mut self.coordinator);
        match request {
            Request::Join { member, claim } => coordinator.join(now, to, member, claim),
            Request::Sync { member, generation, shares } => {
                coordinator.sync(now, to, &member, generation, shares)
            }
            Request::Beat { member, generation } => coordinator.beat(now, to, &member, generation),
            Request::Leave { member } => coordinator.leave(now, &member),
        }
    }

    /// What the client's `GroupMember` makes of an answer.
    fn answered(&mut self, place: usize, number: u64, answer: Answer) {
        let at = self.instant();
        let worker = &mut self.workers[place];
        if worker.is_dead {
            return;
        }
        if worker.stopped_until > self.now {
            // It lies in the socket until the process goes on.
            let at = worker.stopped_until + 1;
            return self.network.push((at, Message::Answer { worker: place, number, answer }));
        }
        let Some((sent, asker)) = worker.sent.remove(&number) else { return };
        if asker.is_some() && asker.as_ref() != worker.member.as_ref().map(|(id, _)| id) {
            // It was somebody else then.
            return;
        }
        let sent = self.start + Duration::from_millis(sent);
        let is_pending = worker.pending.as_ref().is_some_and(|(_, pending, _)| *pending == number);
        let alive = |vitals: &mut Vitals| vitals.alive_at = vitals.alive_at.max(Some(sent));
        let event = match answer {
            Answer::Alive => {
                alive(&mut worker.vitals);
                None
            }
            Answer::Joined { member, generation, leads, members } if is_pending => {
                alive(&mut worker.vitals);
                (worker.vitals.is_rebalancing, worker.vitals.is_lost) = (false, false);
                worker.member = Some((member, generation));
                worker.next_beat = self.now;
                Some(Event::Joined(Joined { generation, leads, members: leads.then_some(members) }))
            }
            Answer::Synced(share) if is_pending => {
                alive(&mut worker.vitals);
                Some(Event::Synced(share))
            }
            Answer::Id(id) if is_pending => {
                let Some((Request::Join { claim, .. }, ..)) = worker.pending.take() else { return };
                let request = Request::Join { member: Some(id), claim };
                let number = self.send(place, request.clone());
                self.workers[place].pending = Some((request, number, self.now + AGAIN_MS));
                return;
            }
            Answer::Id(_) | Answer::Joined { .. } | Answer::Synced(_) => return,
            Answer::Rebalancing | Answer::OtherGeneration => {
                if matches!(answer, Answer::Rebalancing) && !is_pending {
                    alive(&mut worker.vitals);
                }
                // A join under way is the newer news.
                worker.vitals.is_rebalancing |= is_pending || worker.pending.is_none();
                is_pending.then_some(Event::Refused)
            }
            Answer::Unknown => {
                worker.member = None;
                worker.vitals = Vitals { is_lost: true, ..Vitals::default() };
                is_pending.then_some(Event::Refused)
            }
        };
        if is_pending {
            worker.pending = None;
        }
        let vitals = worker.vitals;
        let mut effects = worker.machine.step(Event::Vitals(vitals), at);
        effects.extend(event.into_iter().flat_map(|event| worker.machine.step(event, at)));
        self.act(place, effects);
    }

    fn act(&mut self, place: usize, effects: Vec<Effect>) {
        for effect in effects {
            let member = self.workers[place].member.clone();
            let request = match effect {
                Effect::Assign(assignment) => {
                    let delay = if assignment.lost { 0 } else { self.random.below(40) };
                    let worker = &mut self.workers[place];
                    (worker.told, worker.obeys_at) = (assignment, self.now + delay);
                    continue;
                }
                Effect::Join(claim) => Request::Join { member: member.map(|(id, _)| id), claim },
                Effect::Sync(shares) => {
                    let (member, generation) = member.expect("who syncs has joined");
                    Request::Sync { member, generation, shares }
                }
            };
            let number = self.send(place, request.clone());
            self.workers[place].pending = Some((request, number, self.now + AGAIN_MS));
        }
    }

    /// One step of a process that runs.
    fn live(&mut self, place: usize) {
        let at = self.instant();
        self.herd(place);
        let worker = &mut self.workers[place];
        if let Some((request, _, again)) = worker.pending.clone().filter(|(_, _, again)| *again <= self.now) {
            let number = self.send(place, request.clone());
            self.workers[place].pending = Some((request, number, again + AGAIN_MS));
        }
        let worker = &mut self.workers[place];
        if worker.next_beat <= self.now
            && let Some((member, generation)) = worker.member.clone()
        {
            worker.next_beat = self.now + BEAT_MS;
            self.send(place, Request::Beat { member, generation });
        }
        let worker = &mut self.workers[place];
        if worker.machine.wake().is_some_and(|wake| wake <= at) {
            let effects = worker.machine.step(Event::Tick, at);
            self.act(place, effects);
        }
    }

    /// The herder: reads on in the configurations' topic, does what it was told, says what it runs.
    fn herd(&mut self, place: usize) {
        let (now, at) = (self.now, self.instant());
        let reads_on = self.random.below(20) == 0;
        let stop_ms = [20, 200, 3000][self.random.below(3) as usize];
        let newest = self.work.len() - 1;
        let worker = &mut self.workers[place];
        if reads_on {
            worker.read = newest;
        }
        if worker.obeys_at <= now && worker.heard != worker.told {
            worker.heard = worker.told.clone();
        }
        let heard = &worker.heard;
        let work = &self.work[worker.read];
        worker.running.connectors = heard
            .connectors
            .iter()
            .filter(|connector| work.connectors.contains_key(*connector))
            .cloned()
            .collect();
        worker.ending.retain(|task, end| {
            let ended = *end <= now || heard.lost;
            if ended {
                worker.running.tasks.remove(task);
            }
            !ended
        });
        let known: Vec<TaskId> = work.tasks().filter(|task| heard.tasks.contains(task)).collect();
        for task in worker.running.tasks.clone() {
            if !known.contains(&task) {
                let end = if heard.lost { now } else { now + stop_ms };
                worker.ending.entry(task).or_insert(end);
            }
        }
        for task in known {
            if worker.running.tasks.insert(task.clone()) {
                *self.starts.entry(task).or_default() += 1;
            }
        }
        let report =
            Report { work: work.clone(), held: worker.running.clone(), revision: worker.heard.revision };
        if worker.reported.as_ref() != Some(&report) {
            worker.reported = Some(report.clone());
            let effects = worker.machine.step(Event::Reported(report), at);
            self.act(place, effects);
        }
    }
}
