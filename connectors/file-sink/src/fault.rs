//! Where a kill can hit: before each step that changes the disk. Tests let it; otherwise this is nothing but the sync.

use std::fs::File;
use std::io;

use millrace_sdk::Error;

/// Makes a file, or a folder's names, durable. A killed process loses nothing that was written, so tests save the time.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    if cfg!(test) { Ok(()) } else { file.sync_all() }
}

/// Called before a step that changes the disk.
#[cfg(not(test))]
#[inline]
pub(crate) fn step(_name: &'static str) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
pub(crate) use tests::{kill_before, step, torn};

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{Seek, SeekFrom, Write};

    use super::*;

    thread_local! {
        /// Steps left before the kill; none: no kill.
        static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// Lets the step after so many be the one that is not reached; none: no kill.
    pub(crate) fn kill_before(steps: Option<u32>) {
        LEFT.set(steps);
    }

    pub(crate) fn step(name: &'static str) -> Result<(), Error> {
        match LEFT.get() {
            Some(0) => Err(Error::fatal("killed", name)),
            left => {
                LEFT.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }

    /// A kill in the middle of a write leaves half of it.
    pub(crate) fn torn(file: &mut File, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let killed = step("write part");
        if killed.is_err() {
            let half = &bytes[..bytes.len() / 2];
            file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(half)).expect("half is written");
        }
        killed
    }
}
