//! What is committed: which bytes of which file, and up to which offset of each partition. One small file per task.
//!
//! It is only ever replaced as a whole: written under another name, synced, renamed over the old one. So at any moment either
//! the old state holds or the new one, and the positions in it speak of the very bytes in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};

use millrace_sdk::Error;
use serde::{Deserialize, Serialize};

use crate::fail;
use crate::fault::{step, sync};

/// What this version writes and reads.
const VERSION: u32 = 1;
/// Largest state that is read: some ten thousand partitions.
const STATE_BYTES_MAX: u64 = 16 << 20;

/// The committed state of one task.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct State {
    version: u32,
    /// Whose it is.
    pub connector: String,
    /// The highest fence that was seen. A task with a lower one must not write any more.
    pub generation: u64,
    /// Number of the file that is written now, or next.
    pub number: u64,
    /// The file that is being written.
    pub part: Option<Part>,
    /// csv: the columns, once they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Next offset to read, by topic and partition.
    pub offsets: Offsets,
}

/// Next offsets by topic and partition.
pub type Offsets = BTreeMap<String, BTreeMap<i32, i64>>;

/// A file that is being written.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Part {
    /// The name it gets when it is finished.
    pub name: String,
    /// Bytes that are committed; what lies behind them is cut off after a kill.
    pub bytes: u64,
    /// Records in them.
    pub records: u64,
    /// When the first was added, in milliseconds since the epoch.
    pub since_ms: u64,
    /// Whether it only waits for its name.
    pub finished: bool,
}

impl State {
    /// Nothing committed.
    pub fn new(connector: &str) -> Self {
        Self {
            version: VERSION,
            connector: connector.to_owned(),
            generation: 0,
            number: 1,
            part: None,
            columns: None,
            offsets: Offsets::new(),
        }
    }

    /// Reads the state; none: there is none yet.
    pub fn load(path: &str) -> Result<Option<Self>, Error> {
        let text = match File::open(path) {
            Ok(file) => {
                let mut text = Vec::new();
                let read = io::Read::read_to_end(&mut io::Read::take(file, STATE_BYTES_MAX), &mut text);
                read.map_err(|error| fail("read", path, error))?;
                text
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail("read", path, error)),
        };
        let state: Self = serde_json::from_slice(&text).map_err(|error| {
            let message =
                format!("{path} is no state of this sink: {error}; restore it, or remove it to begin anew");
            Error::fatal("state.damaged", message)
        })?;
        if state.version != VERSION {
            let message = format!("{path} has version {}, this sink knows {VERSION}", state.version);
            return Err(Error::fatal("state.version", message));
        }
        Ok(Some(state))
    }

    /// Replaces the state on disk; durable when it returns.
    pub fn save(&self, path: &str, folder: &str) -> Result<(), Error> {
        let new = format!("{path}.new");
        let text = serde_json::to_vec(self).expect("a struct of texts and numbers is always JSON");
        step("create state")?;
        let mut file = File::create(&new).map_err(|error| fail("create", &new, error))?;
        file.write_all(&text).and_then(|()| sync(&file)).map_err(|error| fail("write", &new, error))?;
        drop(file);
        step("replace state")?;
        fs::rename(&new, path).map_err(|error| fail("replace", path, error))?;
        step("sync folder")?;
        sync_folder(folder)
    }

    /// Fails if a later start of this task has taken over.
    pub fn check_fence(&self, path: &str) -> Result<(), Error> {
        match Self::load(path)? {
            Some(state) if state.generation > self.generation => {
                Err(fenced(path, self.generation, state.generation))
            }
            _ => Ok(()),
        }
    }
}

/// The error of a task that was replaced.
pub fn fenced(path: &str, own: u64, newer: u64) -> Error {
    let message = format!(
        "{path} belongs to generation {newer} now, this task is {own}: another one has taken over; if none runs, the \
             cluster is a new one: remove the state and what was written, or choose another path"
    );
    Error::fatal("fenced", message)
}

/// Makes renames in a folder durable.
pub fn sync_folder(folder: &str) -> Result<(), Error> {
    File::open(folder).and_then(|dir| sync(&dir)).map_err(|error| fail("sync", folder, error))
}
