//! What the consumer knows about each of its partitions. No I/O.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use super::fetched::FetchedPartition;
use super::{Position, Shared};
use crate::error::Error;
use crate::offsets::OffsetAndMetadata;
use crate::topic::TopicPartition;

/// All assigned partitions.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) partitions: BTreeMap<TopicPartition, Partition>,
    /// Bytes of all buffers.
    pub(super) buffered_bytes: usize,
    /// Counts assignments and seeks, so that an answer to an older question is told from one to the current.
    epochs: u64,
    /// Where the last poll ended; the next begins behind it.
    turn: Option<TopicPartition>,
}

/// One assigned partition.
#[derive(Debug)]
pub(super) struct Partition {
    /// Changes with every seek.
    pub(super) epoch: u64,
    /// Offset of the next record to hand out.
    pub(super) position: Option<i64>,
    /// Offset of the next record to fetch; ahead of `position` by what is buffered.
    pub(super) fetch_from: Option<i64>,
    /// Where to begin, while `fetch_from` is not known.
    pub(super) wanted: Position,
    pub(super) is_paused: bool,
    /// A request about it is under way.
    pub(super) is_asked: bool,
    pub(super) not_before: Option<Instant>,
    pub(super) buffer: VecDeque<FetchedPartition>,
    pub(super) buffered_bytes: usize,
    pub(super) high_watermark: Option<i64>,
    /// What the application must hear.
    pub(super) error: Option<Error>,
}

impl Partition {
    fn new(epoch: u64, wanted: Position) -> Self {
        let mut partition = Self {
            epoch,
            position: None,
            fetch_from: None,
            wanted,
            is_paused: false,
            is_asked: false,
            not_before: None,
            buffer: VecDeque::new(),
            buffered_bytes: 0,
            high_watermark: None,
            error: None,
        };
        partition.begin(wanted);
        partition
    }

    fn begin(&mut self, wanted: Position) {
        self.wanted = wanted;
        let offset = match wanted {
            Position::Offset(offset) => Some(offset),
            _ => None,
        };
        (self.position, self.fetch_from) = (offset, offset);
    }

    /// Forgets what was fetched and begins elsewhere. The buffer's bytes stay counted until [`State::tidy`].
    pub(super) fn seek(&mut self, wanted: Position) {
        self.epoch += 1 << 32;
        self.is_asked = false;
        self.not_before = None;
        self.error = None;
        self.buffer.clear();
        self.begin(wanted);
    }

    /// The offset is found.
    pub(super) fn found(&mut self, offset: i64) {
        (self.position, self.fetch_from) = (Some(offset), Some(offset));
    }
}

impl State {
    /// Counts buffered bytes anew, after seeks and pauses.
    fn tidy(&mut self) {
        self.buffered_bytes = 0;
        for partition in self.partitions.values_mut() {
            if partition.buffer.is_empty() {
                partition.buffered_bytes = 0;
            }
            self.buffered_bytes += partition.buffered_bytes;
        }
    }

    /// Adds what was fetched.
    pub(super) fn buffer(&mut self, tp: &TopicPartition, fetched: FetchedPartition) {
        let Some(partition) = self.partitions.get_mut(tp) else { return };
        let bytes = fetched.size_bytes();
        partition.fetch_from = Some(fetched.next_offset);
        partition.buffered_bytes += bytes;
        partition.buffer.push_back(fetched);
        self.tidy();
    }
}

impl Shared {
    /// Takes the first buffered piece of each partition in turn, up to the limit of one poll. Also an error, if there is
    /// one; records go first.
    pub(super) fn take_records(&self) -> (Vec<FetchedPartition>, Option<Error>) {
        let limit = self.config.fetch_max_bytes as usize;
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut order: Vec<_> = state.partitions.keys().cloned().collect();
        if let Some(turn) = &state.turn {
            let start = order.partition_point(|tp| tp <= turn);
            order.rotate_left(start);
        }
        let (mut taken, mut size) = (Vec::new(), 0);
        for tp in order {
            let Some(partition) = state.partitions.get_mut(&tp) else { continue };
            if partition.is_paused {
                continue;
            }
            while let Some(next) = partition.buffer.front() {
                let bytes = next.size_bytes();
                if size > 0 && size + bytes > limit {
                    break;
                }
                let Some(next) = partition.buffer.pop_front() else { break };
                partition.buffered_bytes -= bytes;
                partition.position = Some(next.next_offset);
                if !next.batches.is_empty() {
                    size += bytes;
                    state.turn = Some(tp.clone());
                    taken.push(next);
                    break;
                }
            }
        }
        state.tidy();
        let error = match taken.is_empty() {
            true => state.partitions.values_mut().find_map(|partition| partition.error.take()),
            false => None,
        };
        self.wanted.notify_one();
        (taken, error)
    }

    pub(super) fn replace_assignment(&self, partitions: BTreeMap<TopicPartition, Position>) {
        let mut state = self.state.lock();
        state.epochs += 1;
        let epoch = state.epochs;
        for tp in partitions.keys() {
            self.cluster.watch_topic(&tp.topic);
        }
        state.partitions =
            partitions.into_iter().map(|(tp, wanted)| (tp, Partition::new(epoch, wanted))).collect();
        state.tidy();
        drop(state);
        self.wanted.notify_one();
    }

    /// Gives up all partitions; says which.
    pub(super) fn clear_assignment(&self) -> Vec<TopicPartition> {
        let mut state = self.state.lock();
        let partitions = std::mem::take(&mut state.partitions).into_keys().collect();
        state.tidy();
        partitions
    }

    /// Stops handing out; says what is assigned.
    pub(super) fn pause_all(&self) -> Vec<TopicPartition> {
        let mut state = self.state.lock();
        for partition in state.partitions.values_mut() {
            partition.is_paused = true;
        }
        state.partitions.keys().cloned().collect()
    }

    /// Positions to commit.
    pub(super) fn positions(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        let state = self.state.lock();
        let known =
            |(tp, partition): (&TopicPartition, &Partition)| Some((tp.clone(), partition.position?.into()));
        state.partitions.iter().filter_map(known).collect()
    }
}
