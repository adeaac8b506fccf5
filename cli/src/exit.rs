//! Why a command ends, and the exit code: the same meaning in every command.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | it started and failed: a task, a broker's refusal, an I/O error under way |
//! | 2 | what was asked is wrong: the command line, a pipeline, a setting |
//! | 3 | the surroundings don't allow it: port in use, folder not writable, data locked, no broker answers |
//! | 130, 143 | ended by a second SIGINT or SIGTERM, without a clean stop |

use std::io::{self, Write};
use std::process::ExitCode;

/// How a command ends.
pub(crate) type Outcome = Result<(), Failure>;

/// What stands in the way.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 1.
    Runtime(String),
    /// Exit code 2.
    Validation(String),
    /// Exit code 3.
    Environment(String),
    /// Nobody reads the output any more (`millrace consume | head`): a quiet end, exit code 0.
    BrokenPipe,
}

impl Failure {
    pub(crate) fn runtime(error: impl ToString) -> Self {
        Failure::Runtime(error.to_string())
    }

    pub(crate) fn validation(error: impl ToString) -> Self {
        Failure::Validation(error.to_string())
    }

    pub(crate) fn environment(error: impl ToString) -> Self {
        Failure::Environment(error.to_string())
    }

    /// An error of the client: no broker is the surroundings' fault, a refusal is what it is.
    pub(crate) fn client(error: millrace_client::Error) -> Self {
        use millrace_client::Error as E;
        match error {
            E::Connect { .. } | E::NoBroker { .. } => Failure::Environment(format!(
                "{error}; is the broker running there? `millrace broker` starts one"
            )),
            E::Config { .. } => Failure::Validation(error.to_string()),
            _ => Failure::Runtime(error.to_string()),
        }
    }

    /// Says what is wrong on stderr and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (text, code) = match self {
            Failure::Runtime(text) => (text, 1),
            Failure::Validation(text) => (text, 2),
            Failure::Environment(text) => (text, 3),
            Failure::BrokenPipe => return ExitCode::SUCCESS,
        };
        let prefix = if text.starts_with("error: ") || text.is_empty() { "" } else { "error: " };
        // Nothing can be done if stderr is gone, too.
        if !text.is_empty() {
            let _ = writeln!(io::stderr(), "{prefix}{text}");
        }
        ExitCode::from(code)
    }
}

impl From<io::Error> for Failure {
    /// An error of writing results.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
            _ => Failure::Runtime(format!("output can't be written: {error}")),
        }
    }
}
