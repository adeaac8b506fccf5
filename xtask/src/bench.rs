//! `cargo xtask bench`: Millrace beside Apache Kafka or Kafka Connect, by the scripts in `bench/`.

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::peers;
use crate::process;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    what: What,
    /// Fewer rounds and bytes: a look, not a figure to publish
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Produce, fetch, latency, start-up and memory, beside Apache Kafka; then what `growth` measures
    Broker,
    /// How the broker's cost grows with partitions, connections and the size of records, beside Apache Kafka
    Growth,
    /// File to topic and topic to file, beside Kafka Connect's FileStream connectors; then what `databases`, `stores` and `services` measure
    Connect,
    /// `PostgreSQL` to topic and topic to `PostgreSQL`, beside Debezium's connectors
    Databases,
    /// Topic to S3, beside Bento
    Stores,
    /// Topic to HTTP requests and pages of an HTTP service to topic, beside Bento
    Services,
}

/// Runs the comparison with its output on the terminal.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut script = peers::script("run.sh")?;
    script.arg(match options.what {
        What::Broker => "broker",
        What::Growth => "growth",
        What::Connect => "connect",
        What::Databases => "databases",
        What::Stores => "stores",
        What::Services => "services",
    });
    if options.quick {
        script.arg("--quick");
    }
    process::run(&mut script)
}
