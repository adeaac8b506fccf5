//! Commands that run something, or look whether it could: `run`, `broker`, `connect`, `validate`, `doctor`.

use std::path::PathBuf;

use clap::Args;

use super::Shown;

/// OpenTelemetry's own variable.
const OTLP_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// `millrace run`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace run configs/quickstart.yaml --exit-when-done
  millrace run orders.yaml customers.yaml --data-dir /var/lib/millrace --listen 0.0.0.0:9092

The broker takes its data folder and address from the command line, else from `broker:` in the
file, else ./data and 127.0.0.1:9092. With `kafka:` in the file no broker is started. Ends with exit
code 0 only if all arrived.")]
pub(crate) struct RunArgs {
    /// Pipeline files
    #[arg(required = true, value_name = "PIPELINE.yaml")]
    pub(crate) files: Vec<PathBuf>,
    /// Folder of the broker's data
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address for Kafka clients
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Address where /metrics (of broker and pipelines), /healthz and /readyz are answered over HTTP
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) metrics: Option<String>,
    /// Collector that spans go to by OTLP over HTTP, such as http://127.0.0.1:4318 [default: nowhere]
    #[arg(long, env = OTLP_VARIABLE, hide_env_values = true, value_name = "URL")]
    pub(crate) otlp: Option<String>,
    /// Address of a schema registry, kept in the topic _schemas
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) registry: Option<String>,
    /// End when all bounded sources are read and the sinks have everything
    #[arg(long)]
    pub(crate) exit_when_done: bool,
}

/// `millrace broker`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace broker --data-dir ./data --listen 127.0.0.1:9092
  millrace broker --data-dir ./data --metrics 127.0.0.1:9644
  millrace broker --data-dir ./data --registry 127.0.0.1:8081
  millrace broker --config configs/broker.yaml --set num.partitions=3 --set log.retention.hours=24

The configuration file has Kafka's property names, as YAML or properties. Later ones win: file,
--data-dir, --listen, --metrics and --registry, --set.")]
pub(crate) struct BrokerArgs {
    /// Configuration file (.yaml or .properties)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of the data [default: ./data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address for Kafka clients [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Address where /metrics, /healthz and /readyz are answered over HTTP [default: nowhere]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) metrics: Option<String>,
    /// Address of a schema registry, kept in the topic _schemas [default: nowhere]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) registry: Option<String>,
    /// A property by Kafka's name; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// `millrace connect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace connect --bootstrap 127.0.0.1:9092 configs/quickstart.yaml
  millrace connect --bootstrap k1:9092,k2:9092 orders.yaml --exit-when-done
  millrace connect --bootstrap 127.0.0.1:9092 --rest 127.0.0.1:8083 --metrics 127.0.0.1:9645
  millrace connect --bootstrap 127.0.0.1:9092 --connections connections.yaml

Without files it serves Kafka Connect's REST API and runs what that is told; `millrace apply` is one
who tells. Connectors, states and positions are kept in topics of that cluster, so the worker itself
keeps nothing. Workers of one group share the tasks: when one is killed, the others run its tasks.")]
pub(crate) struct ConnectArgs {
    /// Brokers of the cluster, with commas; `broker:` and `kafka:` in the files are passed over
    #[arg(long, value_name = "HOST:PORT", required = true, value_delimiter = ',')]
    pub(crate) bootstrap: Vec<String>,
    /// Pipeline files; none: what the REST API is told
    #[arg(value_name = "PIPELINE.yaml")]
    pub(crate) files: Vec<PathBuf>,
    /// End when all bounded sources are read and the sinks have everything
    #[arg(long, requires = "files")]
    pub(crate) exit_when_done: bool,
    /// Address where /metrics, /healthz and /readyz are answered over HTTP [default: nowhere]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) metrics: Option<String>,
    /// Collector that spans go to by OTLP over HTTP, such as http://127.0.0.1:4318 [default: nowhere]
    #[arg(long, env = OTLP_VARIABLE, hide_env_values = true, value_name = "URL")]
    pub(crate) otlp: Option<String>,
    /// Address of the REST API [default: 127.0.0.1:8083]
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "files")]
    pub(crate) rest: Option<String>,
    /// Workers of one group share what there is to run (Kafka Connect: group.id)
    #[arg(long, value_name = "GROUP", default_value = "connect-cluster", conflicts_with = "files")]
    pub(crate) group: String,
    /// File with named connections (`version`, `connections`) that connectors may use besides those of
    /// their own file; through the REST API they have no other
    #[arg(long, value_name = "FILE")]
    pub(crate) connections: Option<PathBuf>,
    /// A worker property by Kafka Connect's name, such as session.timeout.ms; may be repeated
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "files")]
    pub(crate) set: Vec<String>,
}

/// `millrace validate`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace validate configs/quickstart.yaml
  millrace validate pipelines/*.yaml

Files given together are checked together: names must be unique over all of them. Nothing is
connected or written.")]
pub(crate) struct ValidateArgs {
    /// Pipeline files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// File with the named connections that the workers are given
    #[arg(long, value_name = "FILE")]
    pub(crate) connections: Option<PathBuf>,
}

/// `millrace doctor`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  millrace doctor configs/quickstart.yaml
  millrace doctor orders.yaml --bootstrap k1:9092 --connections connections.yaml --output json

Looks at everything that the pipelines need, and says how to mend what is wrong. Nothing runs, and
nothing of the pipelines is made. Exit codes: 0 nothing failed, 1 something would not work.")]
pub(crate) struct DoctorArgs {
    /// Pipeline files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Brokers of the cluster, with commas [default: what the files say]
    #[arg(long, short = 'b', value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) bootstrap: Vec<String>,
    /// The workers' group: transactional ids begin with it
    #[arg(long, value_name = "GROUP", default_value = "connect-cluster")]
    pub(crate) group: String,
    /// File with the named connections that the workers are given
    #[arg(long, value_name = "FILE")]
    pub(crate) connections: Option<PathBuf>,
    /// How to show it
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    pub(crate) output: Shown,
}
