//! What a task does for the table besides adding to it.

use std::collections::BTreeMap;

use millrace_sdk::clock::now_ms;
use millrace_sdk::{Error, warn};

use super::{Session, known};
use crate::expire::{self, Fault};
use crate::metadata::history::Expired;

/// Which of that it does.
#[derive(Debug, Default)]
pub struct Upkeep {
    /// Whether it expires snapshots.
    pub expire_snapshots: bool,
    /// Whether it merges small data files.
    pub merge_files: bool,
    /// Properties that the table is to have.
    pub properties: BTreeMap<String, String>,
    /// Why none is expired, once it was said.
    pub told: Option<String>,
}

impl Session {
    /// The snapshots that the next commit expires.
    pub(super) fn expired(&mut self) -> Result<Vec<Expired>, Error> {
        // One after the other: what is expired stands in the table until it is cleaned up after.
        if !self.upkeep.expire_snapshots || !self.fence.mark.expired.is_empty() {
            return Ok(Vec::new());
        }
        match self.table()?.metadata.expired(now_ms(), expire::SNAPSHOTS_MAX) {
            Ok(expired) => Ok(expired),
            Err(why) => {
                self.tell("the table's snapshots are not expired", why, "let an engine expire them");
                Ok(Vec::new())
            }
        }
    }

    /// Says why something isn't done, once.
    fn tell(&mut self, what: &str, why: String, way_out: &str) {
        if self.upkeep.told.as_ref() != Some(&why) {
            warn!("{what}: {why}; {way_out}");
            self.upkeep.told = Some(why);
        }
    }

    /// Removes what snapshots leave that were expired. What can't be removed for now, or is too much for one call, is left for the next commit.
    pub fn tidy(&mut self) -> Result<(), Error> {
        let gone = &self.fence.mark.expired;
        if gone.is_empty() {
            return Ok(());
        }
        let metadata = &known(&self.table)?.metadata;
        match expire::clean(&self.store, &self.warehouse, metadata, gone, &mut self.removed) {
            Ok(done) => drop(self.fence.mark.expired.drain(..done)),
            Err(Fault::Later(error)) if error.code == expire::UNCLEAR => self.tell(
                "files of expired snapshots stay for now",
                error.message,
                "they are removed once that is so no more",
            ),
            Err(Fault::Later(_)) => {}
            Err(Fault::Never(why)) => {
                warn!("files of expired snapshots stay: {why}");
                self.fence.mark.expired.clear();
            }
        }
        Ok(())
    }
}
