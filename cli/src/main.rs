//! Millrace: a connector platform with a broker of its own.
//!
//! The binary ties the members together: it reads the command line, owns signals, terminal and exit codes, and is the only
//! place where broker and runtime meet.
//!
//! | room | what is there |
//! |---|---|
//! | `args` | the command line, with examples |
//! | `exit` | why a command ends, and the exit code |
//! | `signals`, `output`, `logging` | what all commands share |
//! | `run` | `run` and `connect` with files: pipelines, progress, summary |
//! | `worker` | `connect` without files: a REST API and what it is told |
//! | `lifecycle`, `rest` | `plan`, `apply`, `get` and the other commands to such a worker |
//! | `broker`, `validate`, `test`, `preview`, `connector`, `log` | the commands of the same names; `schema` is in `connector` |
//! | `doctor` | what stands in the way of pipeline files, before anything runs |
//! | `dlq` | dead letters: shown, sent again, put aside |
//! | `topic`, `produce`, `consume` | a small Kafka client |
//! | `tail` | the ends of a topic |
//! | `components` | the component host with the bundled connectors |
//! | `registry` | the schema registry beside the broker |
//!
//! Invariants: `broker` never touches the component engine (it starts in milliseconds); results go to stdout, everything else
//! to stderr; a closed pipe ends a command quietly.

mod args;
mod exit;
mod logging;
mod output;
mod signals;

mod broker;
mod cluster;
mod components;
mod connector;
mod consume;
mod dlq;
mod doctor;
mod lifecycle;
mod log;
mod preview;
mod produce;
mod registry;
mod rest;
mod run;
mod tail;
mod test;
mod topic;
mod validate;
mod worker;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command};
use exit::{Failure, Outcome};

/// Threads that run tasks. Disk and component compilation have their own.
const WORKER_THREADS: usize = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    logging::start(&args.log, args.log_format, args.command.is_server());
    match dispatch(args.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn dispatch(command: Command) -> Outcome {
    match command {
        Command::Run(args) => block_on(run::run(args)),
        Command::Connect(args) if args.files.is_empty() => block_on(worker::run(args)),
        Command::Connect(args) => block_on(run::connect(args)),
        Command::Plan(args) => block_on(lifecycle::plan(args)),
        Command::Apply(args) => block_on(lifecycle::apply(args)),
        Command::Get(args) => block_on(lifecycle::get(args)),
        Command::Describe(args) => block_on(lifecycle::describe(args)),
        Command::Pause(args) => block_on(lifecycle::pause(args)),
        Command::Resume(args) => block_on(lifecycle::resume(args)),
        Command::Stop(args) => block_on(lifecycle::stop(args)),
        Command::Restart(args) => block_on(lifecycle::restart(args)),
        Command::Delete(args) => block_on(lifecycle::delete(args)),
        Command::Offsets(args) => block_on(lifecycle::offsets(args)),
        Command::Dlq(args) => block_on(dlq::run(args)),
        Command::Broker(args) => block_on(broker::run(args)),
        Command::Validate(args) => block_on(validate::run(args)),
        Command::Doctor(args) => block_on(doctor::run(args)),
        Command::Test(args) => block_on(test::run(args)),
        Command::Preview(args) => block_on(preview::run(args)),
        Command::Topic(args) => block_on(topic::run(args)),
        Command::Produce(args) => block_on(produce::run(args)),
        Command::Consume(args) => block_on(consume::run(args)),
        Command::Connector(args) => block_on(connector::run(args)),
        Command::Schema => block_on(connector::schema()),
        Command::Log(args) => log::run(args),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "millrace", &mut text);
            output::bytes(&text)
        }
    }
}

fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::environment(format!("threads can't be started: {error}; raise the process limit"))
        })?;
    let outcome = runtime.block_on(work);
    // A thread that waits for standard input can't be stopped and must not hold up the end.
    runtime.shutdown_background();
    outcome
}
