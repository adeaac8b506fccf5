//! Commands that try out transforms: `test`, `preview`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `millrace test`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace test orders.yaml
  millrace test pipelines/*.yaml --only tombstone

Cases stand under `tests:` of a pipeline, or beside its file in <file>.tests.yaml. Nothing is connected
or written. Exit codes: 0 all hold, 1 one doesn't, 2 a file is wrong or has no cases.")]
pub(crate) struct TestArgs {
    /// Pipeline files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Only cases with this text in their name
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
}

/// `millrace preview`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace preview orders.yaml
  millrace preview orders.yaml --pipeline orders --sink archive --count 3 --format json

Reads the newest committed records without a group: nothing is committed, and a running pipeline
doesn't notice. Sinks' transforms only; a source's have been applied to what is in the topic.")]
pub(crate) struct PreviewArgs {
    /// Pipeline files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Only this pipeline
    #[arg(long, value_name = "NAME")]
    pub(crate) pipeline: Option<String>,
    /// Only this sink
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,
    /// How many of a topic's newest records
    #[arg(long, default_value = "10", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) count: u32,
    /// Brokers of the cluster, with commas [default: what the files say, or 127.0.0.1:9092]
    #[arg(long, short = 'b', value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) bootstrap: Option<Vec<String>>,
    /// How to show them
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: PreviewFormat,
}

/// How previewed records are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PreviewFormat {
    /// Lines for people
    Text,
    /// A JSON object a line
    Json,
}
