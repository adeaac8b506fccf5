//! Arguments of `millrace log`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `millrace log`
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    pub(crate) command: LogCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Read all of a stopped broker's data and show what is damaged
    #[command(after_help = "\
Examples:
  millrace log verify ./data
  millrace log verify ./data --topic orders

Reads every batch, checksum, record and index; changes nothing. Exit code 0: no damage. 1: damage,
each with its file and byte. A remark is what the next start settles by itself, as the torn
tail of a log after a kill.")]
    Verify {
        /// The data directory, or a copy of one
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Only this topic
        #[arg(long)]
        topic: Option<String>,
    },
}
