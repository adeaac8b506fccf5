//! The files of one task, and how they change without a moment in which a kill does harm.
//!
//! Records go into a hidden file, the part. A commit syncs it and then replaces the state, which names its length: what lies
//! behind that is cut off at the next start. A finished part is named in the state as such, then renamed to its visible name,
//! then taken out of the state: whoever starts after a kill in between does the steps that are missing. So visible files hold
//! whole records, each once, and nothing that is not committed.
//!
//! A file of Avro or Parquet is none before its end (a footer, columns that are still being seen), so it is committed as a whole:
//! the state knows of it, and of the positions behind its records, when it is finished. A kill before that loses the part, and its
//! records are read again.
//!
//! Invariant: the part on disk has at least `written` bytes, of which the state names those that are committed.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use millrace_connector_encode::{Codec, zstd};
use millrace_sdk::clock::now_ms;
use millrace_sdk::{Error, Task, TopicOffset};

use crate::fail;
use crate::fault::{step, sync};
use crate::names::Names;
use crate::settings::Rotate;
use crate::state::{Offsets, Part, State, fenced, sync_folder};

/// Bytes kept in memory before they are written to the part.
const BUFFER_BYTES: usize = 1 << 20;

/// What files of a sink are like.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// There is more than one.
    pub rotates: bool,
    /// A file is none before its end.
    pub is_whole: bool,
    /// Text: what is written out becomes a member of a gzip file, or a frame of a Zstandard file, which are whole wherever one ends.
    pub packing: Codec,
}

/// The files of one task.
#[derive(Debug)]
pub struct Store {
    names: Names,
    task: u32,
    form: Form,
    /// As it is on disk.
    committed: State,
    /// As it will be after the next commit.
    state: State,
    part: Option<File>,
    /// Whether the file's end is in the buffer, so that nothing may be added any more.
    closing: bool,
    written: u64,
    /// What was added and is not in the part yet.
    pub(crate) buffer: Vec<u8>,
}

impl Store {
    /// Takes over from the task before, and finishes what it left undone.
    pub fn open(names: Names, task: &Task, form: Form) -> Result<Self, Error> {
        let mut own = None;
        for number in names.tasks_with_state()? {
            if number == task.number {
                own = Some(Self::claim(&names, task, number, form)?);
            } else if number >= task.count && task.number == 0 {
                // Left by a run with more tasks.
                Self::claim(&names, task, number, form)?.publish()?;
            }
        }
        match own {
            Some(own) => Ok(own),
            None => Self::claim(&names, task, task.number, form),
        }
    }

    fn claim(names: &Names, task: &Task, number: u32, form: Form) -> Result<Self, Error> {
        let path = names.state(number);
        let mut state = State::load(&path)?.unwrap_or_else(|| State::new(&task.connector));
        if state.connector != task.connector {
            let message =
                format!("{path} belongs to {}; give {} another path", state.connector, task.connector);
            return Err(Error::fatal("state.foreign", message));
        }
        let mut store = Self {
            names: names.clone(),
            task: number,
            form,
            committed: state.clone(),
            state: State::new(""),
            part: None,
            closing: false,
            written: 0,
            buffer: Vec::new(),
        };
        if state.generation > task.generation {
            return Err(fenced(&path, task.generation, state.generation));
        }
        state.generation = task.generation;
        store.state = state;
        store.save()?;
        store.recover()?;
        Ok(store)
    }

    /// Brings the files to what the state says.
    fn recover(&mut self) -> Result<(), Error> {
        let path = self.names.part(self.task);
        let Some(part) = self.state.part.clone() else {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fail("remove", &path, error)),
                _ => Ok(()),
            };
        };
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            // The rename was the last thing that was done.
            Err(error) if error.kind() == io::ErrorKind::NotFound && part.finished => {
                return self.forget_part();
            }
            Err(error) => return Err(fail("open", &path, error)),
        };
        let len = file.metadata().map_err(|error| fail("read", &path, error))?.len();
        if len < part.bytes {
            let message = format!(
                "{path} has {len} bytes, {} were committed; restore it, or remove it and its state",
                part.bytes
            );
            return Err(Error::fatal("part.damaged", message));
        }
        step("truncate part")?;
        file.set_len(part.bytes).map_err(|error| fail("truncate", &path, error))?;
        self.written = part.bytes;
        self.part = Some(file);
        match (part.finished, self.form.is_whole) {
            (true, _) => self.give_name(),
            // Of a run that wrote lines under this name.
            (false, true) => self.publish(),
            (false, false) => Ok(()),
        }
    }

    /// Next offset that the files of this task do not hold yet.
    pub fn next_offset(&self, topic: &str, partition: i32) -> i64 {
        self.state.offsets.get(topic).and_then(|offsets| offsets.get(&partition)).copied().unwrap_or(0)
    }

    /// What every task has committed, the highest offset of each partition.
    pub fn all_offsets(&self) -> Result<Offsets, Error> {
        let mut all = self.state.offsets.clone();
        for task in self.names.tasks_with_state()? {
            let Some(state) = State::load(&self.names.state(task))? else { continue };
            for (topic, partitions) in state.offsets {
                let known = all.entry(topic).or_default();
                for (partition, offset) in partitions {
                    let known = known.entry(partition).or_insert(offset);
                    *known = offset.max(*known);
                }
            }
        }
        Ok(all)
    }

    /// Whether there is a file that grows.
    pub fn has_part(&self) -> bool {
        self.state.part.is_some()
    }

    /// Whether the file that grows is finished, as `rotate` says; `pending` bytes of it are not in the buffer yet.
    pub fn is_due(&self, rotate: &Rotate, pending: usize) -> bool {
        let Some(part) = self.state.part.as_ref().filter(|part| part.records > 0) else { return false };
        let age = || Duration::from_millis(now().saturating_sub(part.since_ms));
        // What the buffer comes to is known when it is compressed.
        let waiting = if self.form.packing == Codec::None { self.buffer.len() + pending } else { 0 };
        rotate.is_due(part.records, self.written + waiting as u64, age)
    }

    /// Whether the file that grows has nothing in it.
    pub fn is_empty(&self) -> bool {
        self.written == 0 && self.buffer.is_empty()
    }

    /// The columns of csv, if they are known.
    pub fn columns(&self) -> Option<&[String]> {
        self.state.columns.as_deref()
    }

    /// Keeps the columns of csv for the files to come.
    pub fn set_columns(&mut self, columns: Option<&[String]>) {
        if self.state.columns.as_deref() != columns {
            self.state.columns = columns.map(<[String]>::to_vec);
        }
    }

    /// Begins a file. Without rotation it carries on the one that is there. Gives back whether it is empty.
    pub fn begin(&mut self) -> Result<bool, Error> {
        self.check_fence()?;
        let path = self.names.part(self.task);
        let mut name = self.names.visible(self.task, self.state.number);
        while self.form.rotates && exists(&name)? {
            self.state.number += 1;
            name = self.names.visible(self.task, self.state.number);
        }
        step("create part")?;
        let mut file = File::create(&path).map_err(|error| fail("create", &path, error))?;
        self.written = match File::open(&name) {
            Ok(old) => copy(old, &mut file, self.form.packing).map_err(|error| fail("copy", &name, error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(fail("open", &name, error)),
        };
        self.part = Some(file);
        self.buffer.clear();
        self.state.part = Some(Part { name, bytes: 0, records: 0, since_ms: now(), finished: false });
        Ok(self.written == 0)
    }

    /// Counts a record that was added to the buffer.
    pub fn count_record(&mut self) {
        if let Some(part) = &mut self.state.part {
            part.records += 1;
        }
    }

    /// The next offset to read of a partition; committed with what is in the buffer.
    pub fn advance(&mut self, topic: &str, partition: i32, offset: i64) {
        if partition < 0 || self.next_offset(topic, partition) >= offset {
            return;
        }
        self.state.offsets.entry(topic.to_owned()).or_default().insert(partition, offset);
    }

    /// Writes the buffer to the part when it has grown enough. Nothing is lost when that fails: it is tried again.
    pub fn relieve(&mut self) -> Result<(), Error> {
        if self.buffer.len() < BUFFER_BYTES {
            return Ok(());
        }
        self.check_fence()?;
        self.write_out()
    }

    fn write_out(&mut self) -> Result<(), Error> {
        let Some(file) = self.part.as_mut().filter(|_| !self.buffer.is_empty()) else { return Ok(()) };
        let failed = |error| fail("write", &self.names.part(self.task), error);
        let bytes = match self.form.packing {
            Codec::Gzip => Cow::Owned(member(&self.buffer).map_err(failed)?),
            Codec::Zstd => Cow::Owned(zstd::frame(&self.buffer)),
            Codec::None | Codec::Snappy => Cow::Borrowed(&self.buffer[..]),
        };
        #[cfg(test)]
        crate::fault::torn(file, self.written, &bytes)?;
        // A try before may have written some of it.
        write_at(file, &bytes, self.written).map_err(failed)?;
        self.written += bytes.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes durable what was added, and its positions with it; a file that is none before its end waits for that. Gives back the
    /// positions that are durable.
    pub fn commit(&mut self) -> Result<Vec<TopicOffset>, Error> {
        let waits = self.form.is_whole && self.state.part.as_ref().is_some_and(|part| part.records > 0);
        if !waits && (self.state != self.committed || !self.buffer.is_empty()) {
            self.sync_part()?;
            self.save()?;
        }
        let offsets = self.committed.offsets.iter();
        let flat = offsets.flat_map(|(topic, partitions)| {
            let of = |(&partition, &offset)| TopicOffset { topic: topic.clone(), partition, offset };
            partitions.iter().map(of)
        });
        Ok(flat.collect())
    }

    /// Writes and syncs all that was added.
    fn sync_part(&mut self) -> Result<(), Error> {
        self.check_fence()?;
        self.write_out()?;
        if let (Some(file), Some(part)) = (&self.part, &mut self.state.part) {
            step("sync part")?;
            sync(file).map_err(|error| fail("sync", &self.names.part(self.task), error))?;
            part.bytes = self.written;
        }
        Ok(())
    }

    /// Finishes the file that grows, if there is one: it gets its visible name. What is behind its records must be in the buffer.
    pub fn publish(&mut self) -> Result<(), Error> {
        let Some(part) = &self.state.part else { return Ok(()) };
        if part.records == 0 {
            // Every record so far was rejected: there is nothing to show, only positions to keep.
            self.part = None;
            self.buffer.clear();
            self.state.part = None;
            return self.commit().map(|_| ());
        }
        // First all of it becomes durable; only then is it marked as finished, so that a failure leaves it growing.
        if self.form.is_whole {
            self.closing = true;
            self.sync_part()?;
        } else {
            self.commit()?;
        }
        let mut next = self.state.clone();
        if let Some(part) = &mut next.part {
            part.finished = true;
        }
        self.replace(next)?;
        self.give_name()
    }

    /// Whether the file's end is in the buffer, and it is not finished yet.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// Goes on with a publication that failed half-way.
    pub fn settle(&mut self) -> Result<(), Error> {
        if self.state.part.as_ref().is_some_and(|part| part.finished) {
            self.give_name()
        } else if self.closing {
            self.publish()
        } else {
            Ok(())
        }
    }

    fn give_name(&mut self) -> Result<(), Error> {
        let Some(part) = &self.state.part else { return Ok(()) };
        let path = self.names.part(self.task);
        self.part = None;
        step("rename part")?;
        match fs::rename(&path, &part.name) {
            // Done in a try before.
            Err(error) if error.kind() == io::ErrorKind::NotFound && exists(&part.name)? => {}
            Err(error) => return Err(fail("rename", &path, error)),
            Ok(()) => {}
        }
        step("sync folder")?;
        sync_folder(self.names.folder())?;
        millrace_sdk::info!("file finished"; "file" => &part.name, "records" => part.records, "bytes" => part.bytes);
        self.forget_part()
    }

    fn forget_part(&mut self) -> Result<(), Error> {
        let mut next = self.state.clone();
        next.part = None;
        next.number += u64::from(self.form.rotates);
        self.replace(next)?;
        (self.written, self.closing) = (0, false);
        Ok(())
    }

    fn check_fence(&self) -> Result<(), Error> {
        self.state.check_fence(&self.names.state(self.task))
    }

    fn save(&mut self) -> Result<(), Error> {
        self.replace(self.state.clone())
    }

    /// Commits a state. After a failure the one before goes on, in memory at least.
    fn replace(&mut self, next: State) -> Result<(), Error> {
        next.save(&self.names.state(self.task), self.names.folder())?;
        self.committed = next.clone();
        self.state = next;
        Ok(())
    }
}

/// A member of a gzip file.
fn member(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain)?;
    encoder.finish()
}

/// Copies a file, and ends its last line if it has no end, as far as that can be seen. Gives back the length of the copy.
fn copy(mut from: File, to: &mut File, packing: Codec) -> io::Result<u64> {
    let len = io::copy(&mut from, to)?;
    if len == 0 || packing != Codec::None {
        return Ok(len);
    }
    from.seek(SeekFrom::Start(len - 1))?;
    let mut last = [0];
    from.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(len);
    }
    to.write_all(b"\n")?;
    Ok(len + 1)
}

fn exists(path: &str) -> Result<bool, Error> {
    fs::exists(path).map_err(|error| fail("look for", path, error))
}

/// Writes all of `bytes` at an offset: one call of WASI's host, which hands what goes through a stream from thread to thread in pieces.
fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn now() -> u64 {
    u64::try_from(now_ms()).unwrap_or_default()
}
