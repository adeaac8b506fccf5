//! The command line.

mod client;
mod dlq;
mod from;
mod lifecycle;
mod log;
mod rehearse;
mod server;

use clap::{Parser, Subcommand};

use crate::logging::LogFormat;

pub(crate) use client::{
    Bootstrap, Compression, ConnectorArgs, ConnectorCommand, ConsumeArgs, Format, From, ProduceArgs,
    TopicArgs, TopicCommand,
};
pub(crate) use dlq::{Chosen, DlqArgs, DlqCommand, Place, StageName};
pub(crate) use lifecycle::{
    ApplyArgs, GetArgs, Names, OffsetsArgs, OffsetsCommand, PlanArgs, RestartArgs, Shown,
};
pub(crate) use log::{LogArgs, LogCommand};
pub(crate) use rehearse::{PreviewArgs, PreviewFormat, TestArgs};
pub(crate) use server::{BrokerArgs, ConnectArgs, DoctorArgs, RunArgs, ValidateArgs};

const EXAMPLES: &str = "\
Examples:
  millrace run configs/quickstart.yaml --exit-when-done
  millrace broker --data-dir ./data --listen 127.0.0.1:9092
  millrace validate pipelines/*.yaml
  millrace consume orders --from earliest --count 10

Exit codes: 0 done, 1 failed under way, 2 wrong command line or pipeline, 3 the surroundings don't
allow it (port in use, folder not writable, no broker answers), 130/143 ended by a second
SIGINT/SIGTERM.";

/// Moves records between systems: a Kafka-protocol broker and a connect runtime in one binary.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// What to log: error, warn, info, debug, trace, or by module ("info,millrace_broker=debug")
    #[arg(
        long,
        env = "MILLRACE_LOG",
        default_value = "",
        global = true,
        hide_default_value = true,
        value_name = "FILTER"
    )]
    pub(crate) log: String,

    /// How to log
    #[arg(
        long,
        env = "MILLRACE_LOG_FORMAT",
        default_value = "text",
        global = true,
        value_enum,
        value_name = "FORMAT"
    )]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run pipelines with a broker in the same process
    Run(RunArgs),
    /// Run the broker alone
    Broker(BrokerArgs),
    /// Run pipelines on a Kafka-protocol cluster; without files, what a REST API is told
    Connect(ConnectArgs),
    /// Check pipeline files and show all that is wrong
    Validate(ValidateArgs),
    /// Look whether pipelines could run here: files, folders, cluster, connections, clocks
    Doctor(DoctorArgs),
    /// Run the test cases of pipelines, without a cluster
    Test(TestArgs),
    /// Show records of a topic before and after each transform
    Preview(PreviewArgs),
    /// Show what `apply` would change
    Plan(PlanArgs),
    /// Let a worker run what files say, and wait until it does
    Apply(ApplyArgs),
    /// Show a worker's connectors
    Get(GetArgs),
    /// Show all that is known of connectors
    #[command(after_help = "Example:\n  millrace describe orders.source")]
    Describe(Names),
    /// Let connectors rest: their tasks keep their places and move nothing
    #[command(after_help = "Examples:\n  millrace pause orders.archive\n  millrace pause orders")]
    Pause(Names),
    /// Let connectors go on
    #[command(after_help = "Example:\n  millrace resume orders")]
    Resume(Names),
    /// End the tasks of connectors; positions can then be changed
    #[command(after_help = "Example:\n  millrace stop orders.source")]
    Stop(Names),
    /// Start connectors and their tasks anew
    Restart(RestartArgs),
    /// Remove connectors; their positions stay
    #[command(after_help = "Example:\n  millrace delete orders")]
    Delete(Names),
    /// Show and change where connectors are
    Offsets(OffsetsArgs),
    /// Look at dead letters, send them again, or put them aside
    Dlq(DlqArgs),
    /// List, create, describe and delete topics
    Topic(TopicArgs),
    /// Write lines of standard input as records
    Produce(ProduceArgs),
    /// Read records of a topic
    Consume(ConsumeArgs),
    /// Show connectors and their settings
    Connector(ConnectorArgs),
    /// Print the JSON Schema of pipeline files, for editors
    #[command(after_help = "Example:\n  millrace schema > pipeline.schema.json")]
    Schema,
    /// Check a stopped broker's data
    Log(LogArgs),
    /// Print a script that completes commands in a shell
    #[command(after_help = "Example:\n  millrace completions bash > /etc/bash_completion.d/millrace")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether it runs until a signal and tells of itself in its log.
    pub(crate) fn is_server(&self) -> bool {
        match self {
            Self::Broker(_) => true,
            Self::Connect(args) => args.files.is_empty(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Args::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        fn check(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
                let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(
                    help.contains("Example") || sub.has_subcommands(),
                    "{} has no example",
                    sub.get_name()
                );
                check(sub);
            }
        }
        check(&super::Args::command());
    }
}
