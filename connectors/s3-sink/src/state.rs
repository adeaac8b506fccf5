//! What is committed: one object for each partition of the topic, changed only by conditional writes.
//!
//! It lies at `TOPICS_DIR/_millrace/TOPIC/PARTITION.state` (readers of lakes pass over names that begin with `_`). Its write is the
//! commit: it names the position after it, and every upload that belongs to it with the parts it is made of. What it names is going to be
//! there; what it does not name never was. Its etag is the fence: whoever writes it takes it from all who wrote it before.

use std::collections::BTreeMap;

use millrace_sdk::object_store::{Condition, Refusal, Store};
use millrace_sdk::{Error, Task};
use serde::{Deserialize, Serialize};

/// Largest state that is read.
const STATE_BYTES_MAX: u32 = 15 << 20;
const VERSION: u32 = 1;

/// What is committed of one partition.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct State {
    version: u32,
    /// Whose it is.
    connector: String,
    /// Which task wrote it, and which of its starts.
    task: u32,
    generation: u64,
    /// Counts the writes, so that each is another.
    pub commit: u64,
    /// Everything before this offset is in objects that are there, or that `uploads` will become.
    pub position: Option<i64>,
    /// So is, by folder, what comes before these offsets, all behind the position.
    pub done: BTreeMap<String, i64>,
    /// What `done` depends on.
    pub partitioner: String,
    /// Uploads to complete.
    pub uploads: Vec<Finished>,
}

/// An upload whose parts are all there.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Finished {
    /// The object.
    pub key: String,
    /// The upload.
    pub id: String,
    /// Bytes of all parts.
    pub size: u64,
    /// Etags of its parts, the first one's first.
    pub parts: Vec<String>,
}

/// A state as it lies in the bucket.
#[derive(Clone, Debug)]
pub struct Held {
    /// What it says.
    pub state: State,
    /// By which it is replaced.
    pub etag: String,
}

impl State {
    /// The first one.
    pub fn new(task: &Task, partitioner: &str) -> Self {
        Self {
            version: VERSION,
            connector: task.connector.clone(),
            task: task.number,
            generation: task.generation,
            commit: 0,
            position: None,
            done: BTreeMap::new(),
            partitioner: partitioner.to_owned(),
            uploads: Vec::new(),
        }
    }

    /// The one after this, written by this task.
    #[must_use]
    pub fn next(&self, task: &Task) -> Self {
        Self { task: task.number, generation: task.generation, commit: self.commit + 1, ..self.clone() }
    }

    /// As it is written.
    pub fn bytes(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self)
            .map_err(|error| Error::fatal("state", format!("a state can't be written: {error}")))
    }

    /// Whether the task may go on from it.
    fn check(&self, key: &str, task: &Task) -> Result<(), Error> {
        if self.version != VERSION {
            let message = format!("{key} is of version {}; this one writes {VERSION}", self.version);
            return Err(Error::fatal("state.version", message));
        }
        if self.connector != task.connector {
            let message =
                format!("{key} belongs to {}; give {} another topics_dir", self.connector, task.connector);
            return Err(Error::fatal("state.foreign", message));
        }
        if self.task == task.number && self.generation > task.generation {
            return Err(fenced(key));
        }
        Ok(())
    }
}

/// Code of the error that another task has taken over.
pub const FENCED: &str = "fenced";

/// Another instance has taken over.
pub fn fenced(key: &str) -> Error {
    Error::fatal(
        FENCED,
        format!("{key} was written by another instance of this connector, which has taken over"),
    )
}

/// The key of a partition's state.
pub fn key(topics_dir: &str, topic: &str, partition: i32) -> String {
    format!("{topics_dir}/_millrace/{topic}/{partition}.state")
}

/// Reads a partition's state, if there is one.
pub fn read(store: &Store, key: &str, task: &Task) -> Result<Option<Held>, Error> {
    let object = match store.get(key, STATE_BYTES_MAX) {
        Ok(object) => object,
        Err(Refusal::Missing(_)) => return Ok(None),
        Err(refusal) => return Err(refusal.into()),
    };
    let state: State = serde_json::from_slice(&object.body).map_err(|error| {
        let message = format!("{key} can't be read: {error}; restore it, or remove it to begin anew");
        Error::fatal("state.damaged", message)
    })?;
    state.check(key, task)?;
    Ok(Some(Held { state, etag: object.meta.etag }))
}

/// The condition under which a state follows another.
pub fn after(held: Option<&Held>) -> Condition {
    held.map_or(Condition::Absent, |held| Condition::Unchanged(held.etag.clone()))
}
