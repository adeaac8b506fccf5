//! `millrace dlq`: dead letters.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use millrace_connect_runtime::redrive::RecordPlace;

use super::client::Bootstrap;
use super::from::From;
use super::lifecycle::Shown;

/// `millrace dlq`
#[derive(Debug, Args)]
pub(crate) struct DlqArgs {
    #[command(subcommand)]
    pub(crate) command: DlqCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// What waits, by connector, stage and error
    #[command(after_help = "\
Examples:
  millrace dlq list
  millrace dlq list --file orders.yaml
  millrace dlq list --topic orders.dlq --output json")]
    List {
        /// Connectors, or pipelines, which stand for all of theirs [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        place: Place,
        /// How to show it
        #[arg(long, short = 'o', value_enum, default_value = "text")]
        output: Shown,
    },
    /// Records that wait, with the reason
    #[command(after_help = "\
Examples:
  millrace dlq show orders.archive
  millrace dlq show orders.archive orders-2-42
  millrace dlq show orders.archive --error json --count 100 --output json")]
    Show {
        #[command(flatten)]
        chosen: Chosen,
        /// How many at most
        #[arg(long, value_name = "N", default_value = "10")]
        count: u64,
        /// How to show them; json: an object a line
        #[arg(long, short = 'o', value_enum, default_value = "text")]
        output: Shown,
    },
    /// Send records back to the stage that refused them
    #[command(after_help = "\
Examples:
  millrace dlq retry orders.archive --all
  millrace dlq retry orders.archive orders-2-42 orders-0-7
  millrace dlq retry orders.archive --error sql.22001 --since 2026-11-27T08:00:00Z

Each is retried once, wherever the command or a worker is killed. While the connector is stopped,
paused or at its end, the records wait for its next start. One that fails again is a new dead letter.")]
    Retry {
        #[command(flatten)]
        chosen: Chosen,
        /// No more than this many
        #[arg(long, value_name = "N")]
        count: Option<u64>,
        /// All that wait
        #[arg(long)]
        all: bool,
    },
    /// Put records aside for good
    #[command(after_help = "\
Examples:
  millrace dlq discard orders.archive orders-2-42
  millrace dlq discard orders.archive --all --yes

They stay in the topic until its retention removes them, and are neither shown nor retried any more.")]
    Discard {
        #[command(flatten)]
        chosen: Chosen,
        /// No more than this many
        #[arg(long, value_name = "N")]
        count: Option<u64>,
        /// All that wait
        #[arg(long)]
        all: bool,
        /// Don't ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
}

/// Where the dead letters are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    #[command(flatten)]
    pub(crate) bootstrap: Bootstrap,
    /// Dead letter topic; may be repeated [default: those of the connectors in connect-configs]
    #[arg(long = "topic", value_name = "TOPIC")]
    pub(crate) topics: Vec<String>,
    /// Pipeline file whose dead letter topics are meant; may be repeated
    #[arg(long = "file", value_name = "PIPELINE.yaml", conflicts_with = "topics")]
    pub(crate) files: Vec<PathBuf>,
}

/// Which dead letters.
#[derive(Debug, Clone, Args)]
pub(crate) struct Chosen {
    /// The connector that refused them
    pub(crate) connector: String,
    /// Records: TOPIC-PARTITION-OFFSET, of the record or of its dead letter
    #[arg(value_name = "RECORD")]
    pub(crate) records: Vec<RecordPlace>,
    /// Only with this error; may be repeated
    #[arg(long = "error", value_name = "CODE")]
    pub(crate) codes: Vec<String>,
    /// Only refused at this stage; may be repeated
    #[arg(long = "stage", value_enum, value_name = "STAGE")]
    pub(crate) stages: Vec<StageName>,
    /// Only records of this time or later: 2026-11-27T08:00:00Z, or @ and milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<i64>,
    /// Only records before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<i64>,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Where a record failed, by Kafka Connect's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum StageName {
    /// The source could not read it
    TaskPoll,
    /// Its key did not fit the format
    KeyConverter,
    /// Its value did not fit the format
    ValueConverter,
    /// A transform refused it
    Transformation,
    /// The topic could not take it
    KafkaProduce,
    /// The sink refused it
    TaskPut,
}

fn time(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(From::Time(ms)) => Ok(ms),
        _ => Err(format!("`{text}` is no time; expected 2026-11-27T08:00:00Z or @1795248000000")),
    }
}
