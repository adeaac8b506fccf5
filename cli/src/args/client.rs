//! Commands that ask something: `topic`, `produce`, `consume`, `connector`.

use clap::{Args, Subcommand, ValueEnum};

pub(crate) use super::from::From;

/// Where the cluster is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Bootstrap {
    /// Brokers of the cluster, with commas
    #[arg(
        long = "bootstrap",
        short = 'b',
        env = "MILLRACE_BOOTSTRAP",
        default_value = "127.0.0.1:9092",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub(crate) addresses: Vec<String>,
}

/// `millrace topic`
#[derive(Debug, Args)]
pub(crate) struct TopicArgs {
    #[command(subcommand)]
    pub(crate) command: TopicCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Names, partitions and replicas of all topics
    #[command(after_help = "Example:\n  millrace topic list --bootstrap 127.0.0.1:9092")]
    List {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Show the cluster's own topics, too
        #[arg(long)]
        internal: bool,
    },
    /// Create a topic
    #[command(
        after_help = "Examples:\n  millrace topic create orders --partitions 3\n  millrace topic create users --config cleanup.policy=compact"
    )]
    Create {
        /// Name of the topic
        topic: String,
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Number of partitions [default: the cluster's]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// Number of replicas [default: the cluster's]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
        replication_factor: Option<i16>,
        /// A topic property by Kafka's name; may be repeated
        #[arg(long, value_name = "KEY=VALUE")]
        config: Vec<String>,
    },
    /// Partitions, offsets and properties of a topic
    #[command(after_help = "Example:\n  millrace topic describe orders")]
    Describe {
        /// Name of the topic
        topic: String,
        #[command(flatten)]
        bootstrap: Bootstrap,
    },
    /// Delete a topic and all its records
    #[command(after_help = "Example:\n  millrace topic delete orders")]
    Delete {
        /// Names of topics
        #[arg(required = true)]
        topics: Vec<String>,
        #[command(flatten)]
        bootstrap: Bootstrap,
    },
}

/// `millrace produce`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  echo 'hello' | millrace produce greetings
  echo '42:{\"id\":42}' | millrace produce orders --key-separator : --header source=shell
  millrace produce orders --compression zstd < orders.jsonl

One line is one record, up to 1 MiB. All are acknowledged by the broker, on disk, when the
command ends with 0.")]
pub(crate) struct ProduceArgs {
    /// Name of the topic
    pub(crate) topic: String,
    #[command(flatten)]
    pub(crate) bootstrap: Bootstrap,
    /// What stands between key and value in a line; without it records have no key
    #[arg(long, short = 'K', value_name = "TEXT")]
    pub(crate) key_separator: Option<String>,
    /// A header for every record; may be repeated
    #[arg(long, short = 'H', value_name = "NAME=VALUE")]
    pub(crate) header: Vec<String>,
    /// The partition, instead of the one the key leads to
    #[arg(long, short = 'p', value_name = "N")]
    pub(crate) partition: Option<i32>,
    /// Compression of batches
    #[arg(long, short = 'z', value_enum, default_value = "none")]
    pub(crate) compression: Compression,
    /// An empty value is a tombstone (null)
    #[arg(long)]
    pub(crate) null_empty: bool,
}

/// Compression of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// `millrace consume`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace consume orders --from earliest --count 10
  millrace consume orders --from -5 --format json
  millrace consume orders --from 2026-11-21T08:00:00Z --until-end
  millrace consume orders --group readers

Without --count and --until-end it goes on until Ctrl-C. Records of open and aborted
transactions are not shown.")]
pub(crate) struct ConsumeArgs {
    /// Name of the topic
    pub(crate) topic: String,
    #[command(flatten)]
    pub(crate) bootstrap: Bootstrap,
    /// Where to begin: earliest, latest, an offset, -N (N before the end), a time (RFC 3339 or @milliseconds)
    /// [default: latest; with --group: where the group is]
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub(crate) from: Option<From>,
    /// End after so many records
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) count: Option<u64>,
    /// End at what was the end when it began
    #[arg(long, short = 'e')]
    pub(crate) until_end: bool,
    /// How to show a record
    #[arg(long, short = 'f', value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// Only this partition; may be repeated
    #[arg(long, short = 'p', value_name = "N", conflicts_with = "group")]
    pub(crate) partition: Vec<i32>,
    /// Join this consumer group and commit to it
    #[arg(long, short = 'g', value_name = "GROUP", conflicts_with = "until_end")]
    pub(crate) group: Option<String>,
}

/// How to show a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The value, as a line
    Text,
    /// Key, tab, value
    Keyed,
    /// One JSON object per line: topic, partition, offset, timestamp, key, value, headers
    Json,
}

/// `millrace connector`
#[derive(Debug, Args)]
pub(crate) struct ConnectorArgs {
    #[command(subcommand)]
    pub(crate) command: ConnectorCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConnectorCommand {
    /// The connectors in this binary
    #[command(after_help = "Example:\n  millrace connector list")]
    List,
    /// What a connector is, needs and can be set to
    #[command(
        after_help = "Examples:\n  millrace connector inspect file-source\n  millrace connector inspect ./my_connector.wasm"
    )]
    Inspect {
        /// A bundled name, or the path of a component
        component: String,
        /// Everything as JSON, with the settings' JSON Schema
        #[arg(long)]
        json: bool,
        /// The same as a page of documentation
        #[arg(long, conflicts_with = "json")]
        markdown: bool,
    },
}
