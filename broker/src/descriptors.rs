//! The file descriptors of this process, and who may have how many of them: the files of logs, the connections of clients,
//! and the rest (folders, checkpoints, the runtime beside the broker, what the system's libraries open).
//!
//! Whoever needs more waits for its own kind: a log's file takes the place of another (`millrace_log::FileBudget`), a client
//! waits to be accepted. Neither takes what the other needs.

use tracing::{info, warn};

/// Of sixteen descriptors, so many for files of logs.
const FILES_SIXTEENTHS: u64 = 8;
/// Of sixteen descriptors, so many for connections of clients.
const CONNECTIONS_SIXTEENTHS: u64 = 6;
/// An open file costs memory, here and in the system: more than these bring nothing.
const FILES_MAX: u64 = 16_384;
/// With fewer descriptors a broker is hardly of use, and says so.
const USEFUL_MIN: u64 = 256;

/// How many descriptors the process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors(u64);

impl Descriptors {
    /// No limit that matters: a simulation has no descriptors.
    pub const UNLIMITED: Self = Self(u64::MAX);

    /// So many.
    pub fn new(count: u64) -> Self {
        Self(count)
    }

    /// Raises the limit of this process as far as the system lets it (`ulimit -n` up to `ulimit -Hn`).
    pub fn raise() -> Self {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let before = current.unwrap_or(u64::MAX);
        let wanted = maximum.unwrap_or(u64::MAX);
        if wanted <= before {
            return Self(before).or_warn();
        }
        match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            Ok(()) => {
                info!(before, now = wanted, "raised the limit on open files");
                Self(wanted).or_warn()
            }
            Err(error) => {
                warn!(%error, limit = before, "the limit on open files stays as it is");
                Self(before).or_warn()
            }
        }
    }

    /// Files of logs that may be open.
    pub(crate) fn files(self) -> usize {
        usize::try_from(self.share(FILES_SIXTEENTHS).min(FILES_MAX)).unwrap_or(usize::MAX)
    }

    /// Connections over TCP that may be open.
    pub(crate) fn connections(self) -> usize {
        usize::try_from(self.share(CONNECTIONS_SIXTEENTHS)).unwrap_or(usize::MAX)
    }

    /// At least one.
    fn share(self, sixteenths: u64) -> u64 {
        (self.0 / 16).saturating_mul(sixteenths).max(1)
    }

    fn or_warn(self) -> Self {
        if self.0 < USEFUL_MIN {
            warn!(
                limit = self.0,
                "few files may be open (ulimit -n): clients wait to be accepted, and files are opened again and again"
            );
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_share_and_something_is_left() {
        for count in [16, 256, 1024, 20_000, 1 << 20] {
            let descriptors = Descriptors::new(count);
            let taken = (descriptors.files() + descriptors.connections()) as u64;
            assert!(taken <= count - count / 8, "{count}: {descriptors:?}");
        }
        assert_eq!((Descriptors::new(1024).files(), Descriptors::new(1024).connections()), (512, 384));
        assert_eq!((Descriptors::new(3).files(), Descriptors::new(3).connections()), (1, 1));
        assert_eq!(Descriptors::new(1 << 20).files(), 16_384);
        assert!(Descriptors::UNLIMITED.connections() > 1 << 30);
    }

    #[test]
    fn the_limit_is_raised_once() {
        assert_eq!(Descriptors::raise(), Descriptors::raise());
    }
}
