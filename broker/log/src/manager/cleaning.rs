//! Compaction over all logs of a data directory: which one is next, and how far each has come
//! (`cleaner-offset-checkpoint`).

use std::collections::BTreeSet;

use millrace_wire::ids::Offset;

use super::LogManager;
use crate::TopicPartition;
use crate::compaction::{Cleaner, CompactionError, CompactionRange, CompactionReport, Pace};

/// A log that waits for compaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Dirty {
    /// Whose log.
    pub partition: TopicPartition,
    /// What a round would work on.
    pub range: CompactionRange,
}

impl LogManager {
    /// The compacted log with the largest share of uncompacted bytes, of those for which a round is due. Those in `except`
    /// are left out, and those whose files can't be read.
    pub fn dirtiest(&self, now_ms: i64, except: &BTreeSet<TopicPartition>) -> Option<Dirty> {
        let mut dirtiest: Option<Dirty> = None;
        for (partition, _, log) in self.list() {
            let config = log.config();
            if !config.compact || except.contains(&partition) || log.offline_reason().is_some() {
                continue;
            }
            let range = match log.compaction_range(self.clean_end(&partition), now_ms) {
                Ok(range) => range,
                Err(error) => {
                    tracing::warn!(%partition, %error, "cannot tell whether the log needs compaction");
                    continue;
                }
            };
            let is_dirtier =
                dirtiest.as_ref().is_none_or(|other| range.dirty_ratio() > other.range.dirty_ratio());
            if range.is_due(&config) && is_dirtier {
                dirtiest = Some(Dirty { partition, range });
            }
        }
        dirtiest
    }

    /// One round over a log, as [`LogManager::dirtiest`] proposed it.
    ///
    /// # Errors
    /// See [`CompactionError`].
    pub fn compact(
        &self,
        dirty: &Dirty,
        cleaner: &mut Cleaner,
        now_ms: i64,
        pace: &mut dyn Pace,
    ) -> Result<CompactionReport, CompactionError> {
        let Some(log) = self.get(&dirty.partition) else { return Err(CompactionError::Overtaken) };
        let report = log.compact(cleaner, &dirty.range, now_ms, pace)?;
        let mut written = self.written.lock();
        // Deleted meanwhile, and perhaps created anew: nothing is known of the new one.
        if !self.get(&dirty.partition).is_some_and(|there| std::sync::Arc::ptr_eq(&there, &log)) {
            return Err(CompactionError::Overtaken);
        }
        let mut changed = written.clone();
        changed.clean_ends.insert(dirty.partition.clone(), report.clean_end);
        self.write_checkpoints(&written, &changed)?;
        *written = changed;
        Ok(report)
    }

    /// Below this offset the log was compacted.
    fn clean_end(&self, partition: &TopicPartition) -> Option<Offset> {
        self.written.lock().clean_ends.get(partition).copied()
    }

    /// Removes files of deleted segments whose time has come; `now_ms` of [`i64::MAX`] removes all of them.
    pub fn purge_deleted(&self, now_ms: i64) {
        for (partition, _, log) in self.list() {
            if let Err(error) = log.purge_deleted(now_ms) {
                tracing::warn!(%partition, %error, "a deleted file cannot be removed; it is tried again");
            }
        }
    }
}
