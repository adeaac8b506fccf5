//! A group coordinator in a few lines: what Kafka's does for one classic group, as far as workers see it.

use std::collections::BTreeMap;

/// `session.timeout.ms`
pub(super) const SESSION_MS: u64 = 6000;
const REBALANCE_MS: u64 = 60_000;

/// What a request is answered with.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Joined {
        member: String,
        generation: i32,
        leads: bool,
        members: BTreeMap<String, Vec<u8>>,
    },
    /// MEMBER_ID_REQUIRED: to be joined with.
    Id(String),
    Synced(Vec<u8>),
    Alive,
    /// REBALANCE_IN_PROGRESS
    Rebalancing,
    /// ILLEGAL_GENERATION
    OtherGeneration,
    /// UNKNOWN_MEMBER_ID
    Unknown,
}

/// Whom an answer is for: a worker, and the number of its request.
pub(super) type To = (usize, u64);

#[derive(Debug, Default)]
pub(super) struct Coordinator {
    state: State,
    pub(super) generation: i32,
    members: BTreeMap<String, Member>,
    leader: String,
    ids: u32,
    /// Ids that were given out and not joined with yet, and how long they are waited for.
    given: BTreeMap<String, u64>,
    pub(super) answers: Vec<(To, Answer)>,
}

#[derive(Debug, Default, PartialEq)]
enum State {
    #[default]
    Empty,
    Preparing {
        until: u64,
    },
    Completing,
    Stable,
}

#[derive(Debug, Default)]
struct Member {
    claim: Vec<u8>,
    share: Vec<u8>,
    joining: Option<To>,
    syncing: Option<To>,
    session_end: u64,
}

impl Coordinator {
    pub(super) fn join(&mut self, now: u64, to: To, member: Option<String>, claim: Vec<u8>) {
        let Some(id) = member else {
            self.ids += 1;
            let id = format!("m{}", self.ids);
            self.given.insert(id.clone(), now + SESSION_MS);
            return self.answers.push((to, Answer::Id(id)));
        };
        let is_new = self.given.remove(&id).is_some();
        if !is_new && !self.members.contains_key(&id) {
            return self.answers.push((to, Answer::Unknown));
        }
        let leads = self.leader == id;
        let known = self.members.entry(id.clone()).or_default();
        known.session_end = now + SESSION_MS;
        let unchanged = !is_new && known.claim == claim;
        if unchanged && (self.state == State::Completing || (self.state == State::Stable && !leads)) {
            let answer = self.joined(&id);
            return self.answers.push((to, answer));
        }
        (known.claim, known.joining) = (claim, Some(to));
        self.prepare(now);
    }

    fn joined(&self, id: &str) -> Answer {
        let leads = self.leader == id;
        let members =
            self.members.iter().filter(|_| leads).map(|(id, member)| (id.clone(), member.claim.clone()));
        Answer::Joined {
            member: id.to_owned(),
            generation: self.generation,
            leads,
            members: members.collect(),
        }
    }

    fn prepare(&mut self, now: u64) {
        if !matches!(self.state, State::Preparing { .. }) {
            for to in self.members.values_mut().filter_map(|member| member.syncing.take()) {
                self.answers.push((to, Answer::Rebalancing));
            }
            self.state = State::Preparing { until: now + REBALANCE_MS };
        }
        self.complete_if_all_joined(now);
    }

    fn complete_if_all_joined(&mut self, now: u64) {
        if matches!(self.state, State::Preparing { .. })
            && self.given.is_empty()
            && self.members.values().all(|member| member.joining.is_some())
        {
            self.complete(now);
        }
    }

    fn complete(&mut self, now: u64) {
        self.members.retain(|_, member| member.joining.is_some());
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        self.generation += 1;
        self.state = if self.members.is_empty() { State::Empty } else { State::Completing };
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let answer = self.joined(&id);
            let member = self.members.get_mut(&id).unwrap();
            member.session_end = now + SESSION_MS;
            self.answers.extend(member.joining.take().map(|to| (to, answer)));
        }
    }

    pub(super) fn sync(
        &mut self,
        now: u64,
        to: To,
        id: &str,
        generation: i32,
        shares: Vec<(String, Vec<u8>)>,
    ) {
        let Some(member) = self.members.get_mut(id) else { return self.answers.push((to, Answer::Unknown)) };
        if generation != self.generation {
            return self.answers.push((to, Answer::OtherGeneration));
        }
        match self.state {
            State::Empty | State::Preparing { .. } => self.answers.push((to, Answer::Rebalancing)),
            State::Stable => {
                member.session_end = now + SESSION_MS;
                let share = member.share.clone();
                self.answers.push((to, Answer::Synced(share)));
            }
            State::Completing => {
                member.syncing = Some(to);
                if self.leader == id {
                    for (member, share) in shares {
                        self.members.get_mut(&member).unwrap().share = share;
                    }
                    self.state = State::Stable;
                    for member in self.members.values_mut() {
                        member.session_end = now + SESSION_MS;
                        let share = Answer::Synced(member.share.clone());
                        self.answers.extend(member.syncing.take().map(|to| (to, share)));
                    }
                }
            }
        }
    }

    pub(super) fn beat(&mut self, now: u64, to: To, id: &str, generation: i32) {
        let answer = match self.members.get_mut(id) {
            None => Answer::Unknown,
            Some(_) if generation != self.generation => Answer::OtherGeneration,
            Some(member) => {
                member.session_end = now + SESSION_MS;
                match self.state {
                    State::Preparing { .. } => Answer::Rebalancing,
                    _ => Answer::Alive,
                }
            }
        };
        self.answers.push((to, answer));
    }

    pub(super) fn leave(&mut self, now: u64, id: &str) {
        if self.members.remove(id).is_some() {
            self.prepare(now);
        }
    }

    /// Ends what has taken too long.
    pub(super) fn tick(&mut self, now: u64) {
        let before = self.members.len();
        self.given.retain(|_, until| now < *until);
        self.members.retain(|_, member| {
            now < member.session_end || member.joining.is_some() || member.syncing.is_some()
        });
        if self.members.len() < before {
            self.prepare(now);
        }
        self.complete_if_all_joined(now);
        if let State::Preparing { until } = self.state
            && until <= now
        {
            self.complete(now);
        }
    }
}
