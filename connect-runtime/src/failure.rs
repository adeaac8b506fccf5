//! What goes wrong in a task, by class, and what follows from the class.
//!
//! | class | example | what happens |
//! |---|---|---|
//! | transient | a guest's `retriable`, a broker that moves | the same call again, after a pause, until `errors.retry_timeout` |
//! | outage | no broker answers | the task starts again, as often as it takes; see `retry` for runs that shall end |
//! | guest lost | a trap, a call past its time limit | a new instance, from the last durable position |
//! | record | a line that can't be parsed | dead letter topic, or skipped, or the task fails, as `errors` say |
//! | fenced | another instance of the task has taken over | the task fails; where workers share the work it asks whether it is the one that should run, and starts again |
//! | fatal | a guest's `fatal`, settings that can't work | the task fails; others go on |
//!
//! Pauses double from one try to the next, up to a limit, with jitter so that tasks don't come back in step.

pub mod dead_letter;
pub mod retry;

use crate::component::CallError;

/// Code of a sink's error that another instance has taken over what it writes to.
const FENCED: &str = "fenced";

/// Why a task stopped.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A call into a guest failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The cluster refused something, or can't be reached.
    #[error("connector {connector} task {task}: {doing}: {source}")]
    Cluster {
        /// Connector name.
        connector: String,
        /// Task.
        task: u32,
        /// What was being done.
        doing: &'static str,
        /// What the client says.
        #[source]
        source: millrace_client::Error,
    },
    /// A record could not be processed and is not tolerated.
    #[error("connector {connector} task {task}: {place}: {message} ({code}){}", hint(.message))]
    Record {
        /// Connector name.
        connector: String,
        /// Task.
        task: u32,
        /// Which record, and where it failed.
        place: String,
        /// The guest's code.
        code: String,
        /// The guest's words.
        message: String,
    },
    /// The task was given up before it began: its connector has other tasks now.
    #[error("connector {connector} task {task}: the connector's tasks were planned anew")]
    Superseded {
        /// Connector name.
        connector: String,
        /// Task.
        task: u32,
    },
    /// Something in what was read, or asked for, can't work.
    #[error("connector {connector} task {task}: {message}")]
    Invalid {
        /// Connector name.
        connector: String,
        /// Task.
        task: u32,
        /// What, and the way out.
        message: String,
    },
}

/// The way out for a single record. A connector that says what `errors.tolerance` would do knows better: of a file that can't be read on,
/// more than a record would be left out.
fn hint(message: &str) -> &'static str {
    if message.contains("errors.tolerance") {
        ""
    } else {
        "; set errors.tolerance to all to pass over such records"
    }
}

/// See the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Starting the task again may help.
    Restart,
    /// It won't.
    Fatal,
}

impl TaskError {
    /// What follows for the task.
    #[must_use]
    pub fn class(&self) -> Class {
        let restart = match self {
            // `errors.retry_timeout` has passed already for the retriable ones.
            Self::Call(error) => error.wants_new_instance() && !error.is_retriable(),
            // A new producer from the last durable position is always safe; only some things it can't mend.
            Self::Cluster { source, .. } => !source.is_fenced() && !is_hopeless(source),
            Self::Record { .. } | Self::Invalid { .. } | Self::Superseded { .. } => false,
        };
        if restart { Class::Restart } else { Class::Fatal }
    }

    /// Whether it is a call that was being repeated, until its time was over or the task was stopped.
    #[must_use]
    pub fn was_tried_again(&self) -> bool {
        matches!(self, Self::Call(error) if error.is_retriable())
    }

    /// Whether the cluster refused something or is out of reach, or another instance came in between: no other component would have fared better.
    #[must_use]
    pub fn is_of_the_cluster(&self) -> bool {
        matches!(self, Self::Cluster { .. } | Self::Superseded { .. }) || self.is_fenced()
    }

    /// Whether another instance of the task has taken over, as the cluster or what a sink writes to says. Where somebody can be asked which one
    /// it should be, the task may be that one all the same.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        match self {
            Self::Cluster { source, .. } => source.is_fenced(),
            Self::Call(CallError::Fatal { failure, .. }) => failure.code == FENCED,
            _ => false,
        }
    }

    /// Whether the cluster is out of reach, which says nothing against the task.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Cluster { source, .. } if is_unreachable(source))
    }
}

/// Whether nobody answers; the cause may be wrapped in what it did to a transaction.
fn is_unreachable(error: &millrace_client::Error) -> bool {
    use millrace_client::Error as E;
    match error {
        E::Connect { .. } | E::NoBroker { .. } | E::Disconnected { .. } | E::Timeout { .. } => true,
        E::Abort(cause) | E::Fatal(cause) => is_unreachable(cause),
        _ => false,
    }
}

/// Errors that come back at every start.
fn is_hopeless(error: &millrace_client::Error) -> bool {
    use millrace_client::Error as E;
    matches!(
        error,
        E::Config { .. } | E::RecordTooLarge { .. } | E::NoSuchPartition { .. } | E::Unsupported { .. }
    )
}
