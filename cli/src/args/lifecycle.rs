//! Commands to a running `millrace connect`: `plan`, `apply`, `get`, `describe` and what starts and stops connectors.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Where the worker is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Url {
    /// REST API of a worker of `millrace connect`
    #[arg(
        long,
        short = 'u',
        env = "MILLRACE_URL",
        default_value = "http://127.0.0.1:8083",
        value_name = "URL"
    )]
    pub(crate) url: String,
}

/// `millrace plan`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace plan pipelines/*.yaml
  millrace plan orders.yaml --url http://worker:8083

Exit codes: 0 nothing to do, 2 something is wrong with the files. With --exit-code, 1 if something
would change.")]
pub(crate) struct PlanArgs {
    /// Pipeline files
    #[arg(required = true, value_name = "PIPELINE.yaml")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) url: Url,
    /// End with 1 if something would change
    #[arg(long)]
    pub(crate) exit_code: bool,
}

/// `millrace apply`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace apply pipelines/*.yaml
  millrace apply orders.yaml --timeout 5m

Makes, changes and removes connectors until what runs is what the files say; does nothing the second
time. Connectors of pipelines that are not in the files stay. References such as ${env:NAME} go to
the worker as they are and are filled in there.")]
pub(crate) struct ApplyArgs {
    /// Pipeline files
    #[arg(required = true, value_name = "PIPELINE.yaml")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) url: Url,
    /// How long to wait until everything runs; 0 does not wait
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub(crate) timeout: u64,
}

/// How to show what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shown {
    /// For people
    Text,
    /// As the worker said it
    Json,
}

/// `millrace get`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace get
  millrace get orders --output json")]
pub(crate) struct GetArgs {
    /// Connectors, or pipelines, which stand for all of theirs [default: all]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) url: Url,
    /// How to show it
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    pub(crate) output: Shown,
}

/// Connectors to do something with.
#[derive(Debug, Args)]
pub(crate) struct Names {
    /// Connectors, or pipelines, which stand for all of theirs
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) url: Url,
}

/// `millrace restart`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace restart orders.archive
  millrace restart orders --only-failed
  millrace restart orders.source --task 2")]
pub(crate) struct RestartArgs {
    #[command(flatten)]
    pub(crate) names: Names,
    /// Only what failed
    #[arg(long, conflicts_with = "task")]
    pub(crate) only_failed: bool,
    /// Only this task
    #[arg(long, value_name = "N")]
    pub(crate) task: Option<u32>,
}

/// `millrace offsets`
#[derive(Debug, Args)]
pub(crate) struct OffsetsArgs {
    #[command(subcommand)]
    pub(crate) command: OffsetsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OffsetsCommand {
    /// Where a connector is
    #[command(after_help = "Example:\n  millrace offsets get orders.source")]
    Get {
        /// Name of the connector
        connector: String,
        #[command(flatten)]
        url: Url,
        /// How to show it
        #[arg(long, short = 'o', value_enum, default_value = "text")]
        output: Shown,
    },
    /// Put a stopped connector somewhere else
    #[command(after_help = "\
Examples:
  millrace offsets set orders.source a.csv=1024
  millrace offsets set orders.archive orders-0=5 orders-1=7
  millrace offsets set orders.source a.csv=

A source's partitions and positions are its connector's own; a sink's are TOPIC-PARTITION and an
offset. Nothing behind the sign forgets the partition.")]
    Set {
        /// Name of the connector
        connector: String,
        /// Where to
        #[arg(required = true, value_name = "PARTITION=POSITION")]
        positions: Vec<String>,
        #[command(flatten)]
        url: Url,
    },
    /// Let a stopped connector begin anew
    #[command(after_help = "Example:\n  millrace stop orders.source && millrace offsets reset orders.source")]
    Reset {
        /// Name of the connector
        connector: String,
        #[command(flatten)]
        url: Url,
    },
}
