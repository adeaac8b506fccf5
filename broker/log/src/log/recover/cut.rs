//! Cutting a log before a batch that is not whole, without destroying whole ones that follow.

use std::io;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_wire::ids::Offset;

use super::{Bad, CorruptionPolicy, Recovery, find_batch};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{Error, io_error};
use crate::segment::{Suffix, file_name};

/// What is copied at once.
const COPY_BYTES: usize = 1 << 20;

impl Recovery<'_> {
    /// Ends the log before the bad bytes in the `at`-th segment, or refuses to. The segment before it ends at
    /// `end_before`.
    pub(super) fn cut(&mut self, at: usize, bad: &Bad, end_before: i64) -> Result<(), Error> {
        let segment = self.segments[at].clone();
        let read = |error| io_error("read", segment.path())(error);
        if self.next < self.options.durable_end().0 {
            self.refuse(segment.path(), bad.position, &bad.reason)?;
        }
        let file = segment.file().map_err(read)?;
        let follows = find_batch(&*file, bad.position.saturating_add(1), segment.size(), self.next);
        let follows = follows.map_err(read)?.is_some();
        let later: u64 = self.segments[at + 1..].iter().map(|segment| segment.size()).sum();
        let size = segment.size();
        let cut = size - bad.position + later;
        let whole_at_start = at > 0 && bad.position == 0 && size > 0;
        if follows || later > 0 || whole_at_start {
            tracing::error!(
                partition = %self.partition, path = %segment.path().display(), position = bad.position,
                offset = self.next, bytes = cut, reason = bad.reason,
                "the log is cut at a corrupt batch although more follows; what is cut off is kept in .corrupt files"
            );
            self.keep(at, bad.position)?;
        } else if cut > 0 {
            tracing::warn!(
                partition = %self.partition, path = %segment.path().display(), position = bad.position,
                offset = self.next, bytes = cut, reason = bad.reason, "a torn tail is cut off"
            );
        }
        self.report.truncated_bytes += cut;
        self.report.reason =
            Some(format!("{} at byte {}: {}", segment.path().display(), bad.position, bad.reason));
        self.drop_from(at, bad.position, end_before)
    }

    /// The log ends before a durable offset although every batch is whole: a file was cut or is missing.
    pub(super) fn refuse_shorter(&mut self) -> Result<(), Error> {
        match self.segments.last().cloned() {
            Some(last) => self.refuse(last.path(), last.size(), "the log ends here")?,
            None => {
                let first = self.dir.join(file_name(Offset(self.next), Suffix::Log));
                self.refuse(&first, 0, "there is no segment at all")?;
                // What was there was given these offsets; nothing else may be.
                self.next = self.options.durable_end().0;
            }
        }
        Ok(())
    }

    /// Damage to what was durable is an error, unless the settings say otherwise.
    fn refuse(&self, path: &Path, position: u64, reason: &str) -> Result<(), Error> {
        if self.options.config.corruption_policy == CorruptionPolicy::Cut {
            return Ok(());
        }
        Err(Error::Corrupt {
            path: path.to_path_buf(),
            position,
            offset: self.next,
            recovery_point: self.options.durable_end().0,
            reason: reason.to_owned(),
        })
    }

    /// Copies what is to be cut from the `at`-th segment and the later ones to `.corrupt` files, durably.
    fn keep(&mut self, at: usize, position: u64) -> Result<(), Error> {
        for (nth, segment) in self.segments[at..].iter().enumerate() {
            let from = if nth == 0 { position } else { 0 };
            if segment.size() == from {
                continue;
            }
            let name = file_name(segment.base(), Suffix::Log);
            let path = self.unused(&format!("{name}.from-{from}"))?;
            let source = segment.file().map_err(self.io("open", segment.path()))?;
            let target = self.disk.open(&path, OpenMode::Truncate).map_err(self.io("create", &path))?;
            copy(&source, &target, from, 0, segment.size()).map_err(self.io("write", &path))?;
            self.report.kept.push(path);
        }
        self.disk.sync_dir(self.dir).map_err(io_error("sync", self.dir))
    }

    /// A name for what is kept: what an earlier recovery has kept is not written over.
    fn unused(&self, stem: &str) -> Result<PathBuf, Error> {
        let names = self.disk.list(self.dir).map_err(self.io("list", self.dir))?;
        let is_taken = |name: &String| names.iter().any(|entry| entry.name == *name);
        let mut name = format!("{stem}.corrupt");
        let mut nth = 1;
        while is_taken(&name) {
            name = format!("{stem}.{nth}.corrupt");
            nth += 1;
        }
        Ok(self.dir.join(name))
    }

    /// Removes the later segments, the last one first so that what is left has no hole, then cuts this one.
    fn drop_from(&mut self, at: usize, position: u64, end_before: i64) -> Result<(), Error> {
        while self.segments.len() > at + 1 {
            if let Some(last) = self.segments.pop() {
                last.remove().map_err(io_error("remove", last.path()))?;
            }
        }
        self.snapshots.retain(|offset| self.segments.iter().any(|segment| segment.base() == *offset));
        let segment = self.segments[at].clone();
        // An empty segment may begin past the end; it goes too.
        if position == 0 && at > 0 {
            self.segments.pop();
            self.next = end_before;
            segment.remove().map_err(io_error("remove", segment.path()))?;
            self.snapshots.retain(|offset| *offset != segment.base());
        } else {
            segment.cut_file(position).map_err(io_error("cut", segment.path()))?;
        }
        self.disk.sync_dir(self.dir).map_err(io_error("sync", self.dir))?;
        if let Some(last) = self.segments.last() {
            last.seal().map_err(io_error("write the indexes of", last.path()))?;
        }
        Ok(())
    }
}

/// Copies `from..end` to `to` and syncs the target.
fn copy(
    source: &Arc<dyn DiskFile>,
    target: &Arc<dyn DiskFile>,
    from: u64,
    to: u64,
    end: u64,
) -> io::Result<()> {
    let mut position = from;
    while position < end {
        let mut chunk = Vec::new();
        let read = source.read_into(&mut chunk, position, COPY_BYTES.min((end - position) as usize))?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        target.write_all_at(&[IoSlice::new(&chunk)], to + (position - from))?;
        position += read as u64;
    }
    target.sync_data()
}
