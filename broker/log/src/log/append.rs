//! Appending: checks, offsets, one vectored write for all requests that wait, and back again if it fails.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use millrace_wire::batch::{RawBatch, TimestampType};
use millrace_wire::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use millrace_wire::record::{ControlKind, control_batch};

use super::stage::Stage;
use super::transactions;
use super::validate::validate;
use super::{Log, Writer};
use crate::config::LogConfig;
use crate::error::{AppendError, io_error};
use crate::producer::{AppendOrigin, Checked, ProducerBatch};

/// Batches that are appended together or not at all.
#[derive(Clone, Copy, Debug)]
pub struct AppendRequest<'a> {
    /// One batch or more. Base offset and leader epoch in them are replaced, unless the origin is replication.
    pub batches: &'a [RawBatch],
    /// The epoch under which this broker leads the partition.
    pub leader_epoch: LeaderEpoch,
    /// Who sends them.
    pub origin: AppendOrigin,
}

/// Where batches are in the log. They are readable at once and durable when [`Log::durable_end`] is above
/// `last_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendInfo {
    /// Offset of the first record.
    pub first_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// The broker's time if it replaced the producer's, else -1; of a duplicate the time that is in the log.
    pub log_append_time: i64,
    /// The log start offset.
    pub log_start_offset: Offset,
    /// Whether they were in the log already (a producer's retry).
    pub duplicate: bool,
    /// The log's [`opening`](Log::opening) that the offsets are of.
    pub opening: u64,
}

impl Log {
    /// Appends one request; see [`Log::append_many`].
    pub fn append(&self, request: AppendRequest<'_>, now_ms: i64) -> Result<AppendInfo, AppendError> {
        let missing = || AppendError::InvalidRecord("nothing to append".into());
        self.append_many(&[request], now_ms).pop().ok_or_else(missing)?
    }

    /// Appends the end of a transaction, as a coordinator.
    pub fn append_marker(
        &self,
        kind: ControlKind,
        producer: (ProducerId, ProducerEpoch),
        coordinator_epoch: i32,
        leader_epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<AppendInfo, AppendError> {
        let bytes = control_batch(kind, coordinator_epoch, producer.0, producer.1, now_ms);
        let batch = RawBatch::parse(&bytes).map_err(|error| AppendError::Corrupt(error.to_string()))?;
        let batches = [batch];
        self.append(
            AppendRequest { batches: &batches, leader_epoch, origin: AppendOrigin::Coordinator },
            now_ms,
        )
    }

    /// Appends requests in order, each wholly or not at all, with one write for all (one more per segment rolled).
    /// Nothing is synced: see [`Log::sync`]. `now_ms` is the broker's time in milliseconds since 1970.
    pub fn append_many(
        &self,
        requests: &[AppendRequest<'_>],
        now_ms: i64,
    ) -> Vec<Result<AppendInfo, AppendError>> {
        let config = self.config();
        // CRCs cost most of it: before the lock.
        let checked: Vec<_> = requests.iter().map(|request| validate(request, &config, now_ms)).collect();
        let mut results = Vec::with_capacity(requests.len());
        let mut writer = self.writer.lock();
        if let Err(error) = self.check_online() {
            let error = AppendError::from(error);
            return requests.iter().map(|_| Err(error.clone())).collect();
        }
        let high_watermark = Offset(self.high_watermark.load(Ordering::Acquire));
        if writer.producers.has_transactions() {
            writer.producers.on_high_watermark(high_watermark);
        }
        let mut stage = Stage::at(writer.next_offset);
        for (nth, (request, batches)) in requests.iter().zip(checked).enumerate() {
            let mut gathering = Gathering {
                log: self,
                writer: &mut writer,
                stage: &mut stage,
                results: &mut results,
                config: &config,
                now_ms,
            };
            let result = batches.and_then(|batches| gathering.take(nth, request, batches));
            results.push(result);
        }
        self.write_stage(&mut writer, &mut stage, &mut results, &config);
        results
    }

    /// Writes what is staged and makes it visible. On a failure the log is as it was before, and every request
    /// that had batches in it gets the error.
    fn write_stage(
        &self,
        writer: &mut Writer,
        stage: &mut Stage,
        results: &mut [Result<AppendInfo, AppendError>],
        config: &LogConfig,
    ) {
        if stage.is_empty() {
            return;
        }
        let frozen = stage.freeze();
        let active = writer.active.clone();
        let position = active.size();
        // A file that can't even be opened (a process has only so many) has nothing in it that must be taken back.
        let opened = active.file();
        let is_untouched = opened.is_err();
        if let Err(error) = opened.and_then(|_| active.write(&frozen.slices())) {
            let error = io_error("append to", active.path())(error);
            let error = self.write_failed(writer, stage, error, is_untouched);
            for request in stage.requests.drain(..) {
                results[request] = Err(error.clone());
            }
            return;
        }
        for aborted in stage.aborted.drain(..) {
            if let Err(error) = active.add_aborted(aborted) {
                // It is kept in memory and written with the next one or at the next flush.
                self.warn_index(&error);
            }
        }
        let mut new_epochs = frozen.epochs();
        let latest = self.latest_epoch().unwrap_or(LeaderEpoch::NONE);
        if new_epochs.any(|(epoch, _)| epoch > latest) {
            let mut epochs = self.epochs.write();
            frozen.epochs().for_each(|(epoch, first)| epochs.assign(epoch, first));
        }
        if let Err(error) = active.publish(frozen.indexed(position), config.index_interval_bytes) {
            self.warn_index(&error);
        }
        if !self.cache.is_off() {
            self.cache.push(frozen.cached());
        }
        if stage.transactional {
            self.publish_transactions(&writer.producers);
        }
        writer.next_offset = stage.next_offset();
        writer.active_dirty = true;
        writer.closed = false;
        writer.failing = false;
        self.unsynced_bytes.fetch_add(stage.bytes(), Ordering::Relaxed);
        self.end_offset.store(writer.next_offset, Ordering::Release);
        *stage = Stage::at(writer.next_offset);
    }

    /// Takes everything back. If even that fails, no one knows what the file holds: the log goes offline.
    fn write_failed(
        &self,
        writer: &mut Writer,
        stage: &mut Stage,
        error: crate::Error,
        is_untouched: bool,
    ) -> AppendError {
        for undo in std::mem::take(&mut stage.undos).into_iter().rev() {
            writer.producers.undo(undo);
        }
        let requests = std::mem::take(&mut stage.requests);
        *stage = Stage::at(writer.next_offset);
        stage.requests = requests;
        if !std::mem::replace(&mut writer.failing, true) {
            // Once, until a write succeeds again: clients come again and again.
            tracing::error!(topic = %self.partition.topic, partition = self.partition.partition, %error,
                "records are refused; free or repair the disk");
        }
        let rolled_back = if is_untouched { Ok(()) } else { writer.active.roll_back() };
        let error = match rolled_back {
            Ok(()) => error,
            Err(rollback) => {
                self.go_offline(io_error("take back a failed write to", writer.active.path())(rollback))
            }
        };
        AppendError::Storage(Arc::new(error))
    }

    fn warn_index(&self, error: &std::io::Error) {
        tracing::warn!(topic = %self.partition.topic, partition = self.partition.partition, %error,
            "an index could not be written; it stays in memory");
    }
}

/// One call of [`Log::append_many`] under way.
struct Gathering<'c> {
    log: &'c Log,
    writer: &'c mut Writer,
    stage: &'c mut Stage,
    results: &'c mut [Result<AppendInfo, AppendError>],
    config: &'c LogConfig,
    now_ms: i64,
}

impl Gathering<'_> {
    /// Stages one request, or answers it at once.
    fn take(
        &mut self,
        nth: usize,
        request: &AppendRequest<'_>,
        batches: Cow<'_, [RawBatch]>,
    ) -> Result<AppendInfo, AppendError> {
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            return Err(AppendError::InvalidRecord("nothing to append".into()));
        };
        let stamped = first.header.attributes.timestamp_type() == TimestampType::LogAppend;
        let log_append_time = if stamped { first.header.max_timestamp } else { -1 };
        if let Some(known) = self.duplicate(request, &batches)? {
            return Ok(known);
        }
        self.make_room(&batches)?;
        let mark = self.stage.mark();
        let transactional = self.stage.transactional;
        let first_offset = match request.origin {
            AppendOrigin::Replication => first.header.base_offset,
            _ => Offset(self.stage.next_offset()),
        };
        for batch in &*batches {
            if let Err(error) = self.stage_batch(request, batch) {
                let undos = self.stage.back_to(mark);
                undos.into_iter().rev().for_each(|undo| self.writer.producers.undo(undo));
                self.stage.transactional = transactional;
                return Err(error);
            }
        }
        self.stage.requests.push(nth);
        debug_assert!(last.header.last_offset_delta >= 0, "the header was checked");
        Ok(AppendInfo {
            first_offset,
            last_offset: Offset(self.stage.next_offset() - 1),
            log_append_time,
            log_start_offset: self.log.start_offset(),
            duplicate: false,
            opening: self.log.opening(),
        })
    }

    /// The answer to a producer's retry.
    fn duplicate(
        &mut self,
        request: &AppendRequest<'_>,
        batches: &[RawBatch],
    ) -> Result<Option<AppendInfo>, AppendError> {
        for batch in batches {
            let Some(producer) = ProducerBatch::of(&batch.header) else { continue };
            if batch.header.attributes.is_control() {
                continue;
            }
            if let Ok(Checked::Duplicate { first, last, timestamp }) =
                self.writer.producers.check(&producer, request.origin)
            {
                if last.0 >= self.writer.next_offset {
                    // A retry of something that waits to be written: its fate decides.
                    self.log.write_stage(self.writer, self.stage, self.results, self.config);
                    if last.0 >= self.writer.next_offset {
                        let reason = self.results.iter().rev().find_map(|result| result.as_ref().err());
                        return Err(reason
                            .cloned()
                            .unwrap_or(AppendError::InvalidRecord("not written".into())));
                    }
                }
                return Ok(Some(AppendInfo {
                    first_offset: first,
                    last_offset: last,
                    // As Kafka, the time of what is in the log, whoever's it is.
                    log_append_time: timestamp,
                    log_start_offset: self.log.start_offset(),
                    duplicate: true,
                    opening: self.log.opening(),
                }));
            }
        }
        Ok(None)
    }

    /// Rolls the segment if the batches don't belong into it any more.
    fn make_room(&mut self, batches: &[RawBatch]) -> Result<(), AppendError> {
        let bytes = batches.iter().map(|batch| batch.bytes.len() as u64).sum();
        let newest = batches.iter().map(|batch| batch.header.max_timestamp).max().unwrap_or(-1);
        let records: i64 = batches.iter().map(|batch| i64::from(batch.header.last_offset_delta) + 1).sum();
        let incoming =
            super::roll::Incoming { bytes, newest, last_offset: self.stage.next_offset() + records };
        if self.log.wants_roll(self.writer, self.stage.bytes(), &incoming, self.config, self.now_ms)? {
            self.log.write_stage(self.writer, self.stage, self.results, self.config);
            self.log.roll_active(self.writer, self.now_ms)?;
        }
        Ok(())
    }

    fn stage_batch(&mut self, request: &AppendRequest<'_>, batch: &RawBatch) -> Result<(), AppendError> {
        let header = &batch.header;
        let (first, epoch) = match request.origin {
            AppendOrigin::Replication => (header.base_offset, header.partition_leader_epoch),
            _ => (Offset(self.stage.next_offset()), request.leader_epoch),
        };
        if first.0 < self.stage.next_offset() {
            let expected = self.stage.next_offset();
            return Err(AppendError::InvalidRecord(format!(
                "a batch at offset {first}; the log ends at {expected}"
            )));
        }
        let last = Offset(first.0.saturating_add(i64::from(header.last_offset_delta)));
        if last.0 == i64::MAX {
            return Err(AppendError::InvalidRecord(format!("offset {first} is the end of the range")));
        }
        let producers = &mut self.writer.producers;
        if let Some(marker) = transactions::marker_of(batch)? {
            if request.origin != AppendOrigin::Replication {
                producers.check_marker(&marker)?;
            }
            let (undo, aborted) = producers.apply_marker(&marker, first);
            self.stage.undos.push(undo);
            self.stage.aborted.extend(aborted);
            self.stage.transactional = true;
        } else if let Some(producer) = ProducerBatch::of(header).filter(|_| !header.attributes.is_control()) {
            producers.check(&producer, request.origin)?;
            self.stage.undos.push(producers.apply(&producer, first, last));
            self.stage.transactional |= producer.transactional;
        }
        self.stage.push(batch, first, epoch);
        Ok(())
    }
}
