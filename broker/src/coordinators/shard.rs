//! Runs a coordinator's state machine: one task for each partition of an internal topic.
//!
//! The task reads the partition's log, then takes requests from a bounded mailbox, steps the machine and carries out
//! what it wants. What comes up while appends are on their way to the disk is gathered and goes out together: plain records in
//! one batch, transactional ones and markers in batches of their own behind each other, and all share one sync. Requests that come while the log is still being read wait for it.
//!
//! The task ends when its last [`Handle`] is gone or it is aborted. It holds the broker weakly, so that it never keeps
//! a stopped one alive.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use millrace_wire::batch::RawBatch;
use millrace_wire::ids::{ProducerEpoch, ProducerId};
use millrace_wire::record::{ControlKind, control_batch};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::machine::{Append, Machine, Output, Task};
use super::{KeyValue, Token, WriteId, batch};
use crate::shared::Shared;

/// Requests that may wait for one shard; past it they are told COORDINATOR_LOAD_IN_PROGRESS and come again.
const MAILBOX_MAX: usize = 4_096;

/// A difference between the wall clock and the steady one that is no rounding or slewing.
const CLOCK_SET_MS: i64 = 1_000;

/// Bytes of records gathered into one batch. Below any sensible `max.message.bytes`; a single larger record set is
/// sent alone.
const BATCH_BYTES: usize = 256 * 1024;

/// Most batches that go to the disk together.
const BATCHES_MAX: usize = 256;

/// A message to a shard.
enum Command<M: Machine> {
    /// A request, which gets a token and an answer.
    Ask(Box<dyn FnOnce(Token) -> M::Event + Send>, oneshot::Sender<M::Reply>),
    /// An event that nobody waits for.
    Tell(M::Event),
    /// A look at the machine.
    Look(Box<dyn FnOnce(&M) + Send>),
}

/// The way to a shard.
pub(crate) struct Handle<M: Machine> {
    mailbox: mpsc::Sender<Command<M>>,
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { mailbox: self.mailbox.clone() }
    }
}

impl<M: Machine> Handle<M> {
    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The shard is overloaded or stopping; the client comes again.
    pub(crate) async fn ask(
        &self,
        event: impl FnOnce(Token) -> M::Event + Send + 'static,
    ) -> Result<M::Reply, ResponseError> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Ask(Box::new(event), answer))?;
        answered.await.map_err(|_| ResponseError::NotCoordinator)
    }

    /// Looks at the machine.
    ///
    /// # Errors
    /// As for [`Handle::ask`].
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&M) -> T + Send + 'static,
    ) -> Result<T, ResponseError> {
        let (answer, answered) = oneshot::channel();
        // Who does not wait any more needs no answer.
        self.send(Command::Look(Box::new(move |machine| drop(answer.send(look(machine))))))?;
        answered.await.map_err(|_| ResponseError::NotCoordinator)
    }

    /// Sends an event, waiting for room if need be.
    pub(crate) async fn tell(&self, event: M::Event) {
        // A shard that has stopped has nothing to be told.
        let _ = self.mailbox.send(Command::Tell(event)).await;
    }

    fn send(&self, command: Command<M>) -> Result<(), ResponseError> {
        self.mailbox.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ResponseError::CoordinatorLoadInProgress,
            mpsc::error::TrySendError::Closed(_) => ResponseError::NotCoordinator,
        })
    }
}

/// The life of a shard's task.
pub(crate) struct Life {
    task: AbortHandle,
    /// Tells, by an error, that the task is gone.
    ended: oneshot::Receiver<()>,
}

impl Life {
    /// Ends the task where it stands, and waits until it is gone.
    pub(crate) async fn end(self) {
        self.task.abort();
        // Nothing is ever sent.
        let _ = self.ended.await;
    }
}

/// The task's state.
struct Shard<M: Machine> {
    machine: M,
    partition: i32,
    shared: Weak<Shared>,
    replies: BTreeMap<Token, oneshot::Sender<M::Reply>>,
    next_token: u64,
    appends: VecDeque<(WriteId, Append)>,
    tasks: JoinSet<M::Event>,
    clock: ClockWatch,
}

/// Notices that the wall clock was set, by an operator, by NTP or because the machine slept. Without that, an hour forward
/// would end every member's session and every transaction, and an hour back would keep the dead among the living.
struct ClockWatch {
    wall_ms: i64,
    at: Instant,
}

impl ClockWatch {
    fn new(wall_ms: i64) -> Self {
        Self { wall_ms, at: Instant::now() }
    }

    /// By how much the clock was set since the last look, if it was.
    fn set_by_ms(&mut self, wall_ms: i64) -> Option<i64> {
        let passed_ms = i64::try_from(self.at.elapsed().as_millis()).unwrap_or(i64::MAX);
        let by_ms = wall_ms.saturating_sub(self.wall_ms.saturating_add(passed_ms));
        *self = Self::new(wall_ms);
        (by_ms.abs() >= CLOCK_SET_MS).then_some(by_ms)
    }
}

/// What is on its way to the disk: the appends that each batch answers.
type Writing = Task<Vec<(Vec<WriteId>, Result<(), ResponseError>)>>;

/// A batch for the disk, and the appends that it answers.
type Batch = (Vec<WriteId>, Result<Bytes, ResponseError>);

/// Starts a shard in `tasks`.
pub(crate) fn spawn<M: Machine>(
    machine: M,
    partition: i32,
    shared: &Arc<Shared>,
    tasks: &mut JoinSet<()>,
) -> (Handle<M>, Life) {
    let (mailbox, inbox) = mpsc::channel(MAILBOX_MAX);
    let shared = Arc::downgrade(shared);
    let (gone, ended) = oneshot::channel::<()>();
    let task = tasks.spawn(async move {
        // Dropped with the task, however it ends.
        let _gone = gone;
        let Some((machine, outputs)) = load(machine, partition, &shared).await else { return };
        let Some(now_ms) = shared.upgrade().map(|shared| shared.now_ms()) else { return };
        let mut shard = Shard {
            machine,
            partition,
            shared,
            replies: BTreeMap::new(),
            next_token: 0,
            appends: VecDeque::new(),
            tasks: JoinSet::new(),
            clock: ClockWatch::new(now_ms),
        };
        shard.carry_out(outputs);
        shard.run(inbox).await;
    });
    (Handle { mailbox }, Life { task, ended })
}

/// Shows the machine its log. `None` if that cannot be read: then this partition has no coordinator.
async fn load<M: Machine>(machine: M, partition: i32, shared: &Weak<Shared>) -> Option<(M, Vec<Output<M>>)> {
    let shared = shared.upgrade()?;
    let machine = Arc::new(Mutex::new(machine));
    let reader = machine.clone();
    let reading =
        shared.replay_internal(M::TOPIC, partition, move |batch: RawBatch| reader.lock().load(&batch));
    if let Err(error) = reading.await.map(drop) {
        tracing::error!(topic = M::TOPIC.name(), partition, %error, "a coordinator cannot read its log");
        return None;
    }
    let mut machine = Arc::into_inner(machine).expect("the reader was dropped").into_inner();
    let outputs = machine.loaded(shared.now_ms());
    Some((machine, outputs))
}

impl<M: Machine> Shard<M> {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command<M>>) {
        let mut writing: Option<Writing> = None;
        loop {
            if writing.is_none() {
                writing = self.next_write();
            }
            let Some(now_ms) = self.now_ms() else { return };
            let wake_ms = self.machine.next_deadline().map(|at_ms| at_ms.saturating_sub(now_ms).max(0));
            let wake = Duration::from_millis(wake_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0));
            tokio::select! {
                biased;
                written = async { writing.as_mut().expect("guarded").await }, if writing.is_some() => {
                    writing = None;
                    self.written(written);
                }
                () = sleep(wake), if wake_ms.is_some() => self.step(M::tick()),
                Some(event) = self.tasks.join_next(), if !self.tasks.is_empty() => match event {
                    Ok(event) => self.step(event),
                    Err(error) => tracing::error!(%error, "a coordinator's task failed"),
                },
                command = inbox.recv() => match command {
                    Some(command) => self.obey(command),
                    None if writing.is_none() && self.appends.is_empty() => return,
                    // Stopping: what was accepted is still written, and answered.
                    None => {
                        while let Some(write) = writing.take().or_else(|| self.next_write()) {
                            self.written(write.await);
                        }
                        return;
                    }
                },
            }
        }
    }

    /// The time; the machine's deadlines have moved with it if the clock was set.
    fn now_ms(&mut self) -> Option<i64> {
        let now_ms = self.shared.upgrade()?.now_ms();
        if let Some(by_ms) = self.clock.set_by_ms(now_ms) {
            tracing::info!(topic = M::TOPIC.name(), partition = self.partition, by_ms, "the clock was set");
            self.machine.clock_was_set(by_ms);
        }
        Some(now_ms)
    }

    fn obey(&mut self, command: Command<M>) {
        match command {
            Command::Ask(event, answer) => {
                let token = Token(self.next_token);
                self.next_token += 1;
                self.replies.insert(token, answer);
                self.step(event(token));
            }
            Command::Tell(event) => self.step(event),
            Command::Look(look) => look(&self.machine),
        }
    }

    fn step(&mut self, event: M::Event) {
        let Some(shared) = self.shared.upgrade() else { return };
        self.machine.learn(shared.image());
        let outputs = self.machine.step(event, shared.now_ms());
        self.carry_out(outputs);
    }

    fn carry_out(&mut self, outputs: Vec<Output<M>>) {
        for output in outputs {
            match output {
                Output::Reply(token, reply) => {
                    if let Some(answer) = self.replies.remove(&token) {
                        // The client may have gone.
                        let _ = answer.send(reply);
                    }
                }
                Output::Append(id, append) => self.appends.push_back((id, append)),
                Output::Other(other) => {
                    if let Some(shared) = self.shared.upgrade() {
                        self.tasks.spawn(M::perform(other, shared));
                    }
                }
            }
        }
    }

    /// Tells the machine, in the order of the appends.
    fn written(&mut self, batches: Vec<(Vec<WriteId>, Result<(), ResponseError>)>) {
        for (ids, result) in batches {
            for id in ids {
                self.step(M::written(id, result));
            }
        }
    }

    /// The next batches for the disk: as many as may go together.
    fn next_write(&mut self) -> Option<Writing> {
        let shared = self.shared.upgrade()?;
        let now_ms = shared.now_ms();
        let (mut ids, mut batches, mut bytes) = (Vec::new(), Vec::new(), 0);
        while bytes < BATCH_BYTES && batches.len() < BATCHES_MAX {
            let Some((answers, batch)) = self.next_batch(now_ms) else { break };
            bytes += batch.as_ref().map_or(0, Bytes::len);
            ids.push(answers);
            batches.push(batch);
        }
        if batches.is_empty() {
            return None;
        }
        let partition = self.partition;
        Some(Box::pin(async move {
            let results = shared.append_internal(M::TOPIC, partition, batches).await;
            let results = results.into_iter().map(|result| result.map_err(coordinator_error));
            ids.into_iter().zip(results).collect()
        }))
    }

    /// The next batch: a marker, a transactional one, or as many plain records as fit.
    fn next_batch(&mut self, now_ms: i64) -> Option<Batch> {
        let (id, append) = self.appends.pop_front()?;
        let mut ids = vec![id];
        let batch = match append {
            Append::Marker { producer, coordinator_epoch, commit } => {
                let kind = if commit { ControlKind::Commit } else { ControlKind::Abort };
                let (id, epoch) = (ProducerId(producer.id), ProducerEpoch(producer.epoch));
                Ok(control_batch(kind, coordinator_epoch, id, epoch, now_ms))
            }
            Append::Records(mut records, producer) => {
                if producer.is_none() {
                    self.gather(&mut ids, &mut records);
                }
                batch::build(&records, producer, now_ms)
            }
        };
        Some((ids, batch))
    }

    /// Adds what else waits and may share the batch.
    fn gather(&mut self, ids: &mut Vec<WriteId>, records: &mut Vec<KeyValue>) {
        let mut bytes = batch::size(records);
        while let Some((_, Append::Records(more, None))) = self.appends.front() {
            bytes += batch::size(more);
            if bytes > BATCH_BYTES {
                return;
            }
            if let Some((id, Append::Records(more, None))) = self.appends.pop_front() {
                ids.push(id);
                records.extend(more);
            }
        }
    }
}

/// What a client of the coordinator is told when the coordinator's own partition refuses an append, as in Kafka.
fn coordinator_error(error: ResponseError) -> ResponseError {
    match error {
        ResponseError::UnknownTopicOrPartition
        | ResponseError::NotEnoughReplicas
        | ResponseError::NotEnoughReplicasAfterAppend
        | ResponseError::RequestTimedOut => ResponseError::CoordinatorNotAvailable,
        ResponseError::NotLeaderOrFollower | ResponseError::KafkaStorageError => {
            ResponseError::NotCoordinator
        }
        ResponseError::MessageTooLarge
        | ResponseError::RecordListTooLarge
        | ResponseError::InvalidFetchSize => ResponseError::InvalidCommitOffsetSize,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_is_told_from_one_that_goes() {
        let mut clock = ClockWatch::new(5_000);
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.set_by_ms(3_605_000 + 400), None);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(clock.set_by_ms(3_606_400 + 7_200_000), Some(7_200_000));
        assert_eq!(clock.set_by_ms(3_606_400), Some(-7_200_000));
    }
}
