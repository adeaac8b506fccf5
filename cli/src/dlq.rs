//! `millrace dlq`: dead letters, looked at and sent again. Rooms:
//!
//! | room | what is there |
//! |---|---|
//! | `place` | which dead letter topics there are |
//! | `show` | `list` and `show` |
//!
//! Speaks to the cluster, not to a worker: what is retried lies in a topic until the connector takes it.

mod place;
mod show;

use std::io::{self, BufRead, IsTerminal, Write};

use clap::ValueEnum;
use millrace_connect_runtime::redrive::{Action, Choice, DeadLetters, Error, Handled};

use crate::args::{Chosen, DlqArgs, DlqCommand};
use crate::exit::{Failure, Outcome};
use crate::{cluster, output};

pub(crate) async fn run(args: DlqArgs) -> Outcome {
    match args.command {
        DlqCommand::List { names, place, output } => show::list(&names, &place, output).await,
        DlqCommand::Show { chosen, count, output } => {
            let (letters, topic) = open(&chosen).await?;
            let choice = choice(&chosen, Some(count));
            show::show(&letters, &topic, &chosen.connector, &choice, output).await
        }
        DlqCommand::Retry { chosen, count, all } => {
            named(&chosen, count, all)?;
            handle(&chosen, count, Action::Retry).await
        }
        DlqCommand::Discard { chosen, count, all, yes } => {
            named(&chosen, count, all)?;
            if !yes {
                ask(&chosen, count).await?;
            }
            handle(&chosen, count, Action::Discard).await
        }
    }
}

/// Says what is wrong with a topic or the cluster.
fn failure(error: Error) -> Failure {
    match error {
        Error::Cluster(error) => Failure::client(error),
        Error::NoTopic(_) | Error::Unnamable(_) => Failure::validation(error),
        other => Failure::runtime(other),
    }
}

/// The dead letters and the topic of the connector that is meant.
async fn open(chosen: &Chosen) -> Result<(DeadLetters, String), Failure> {
    let letters = letters(&chosen.place.bootstrap.addresses)?;
    let topic = place::topic_of(&letters, &chosen.place, &chosen.connector).await?;
    Ok((letters, topic))
}

fn letters(bootstrap: &[String]) -> Result<DeadLetters, Failure> {
    Ok(DeadLetters::new(cluster::remote(bootstrap, "millrace-dlq")?))
}

fn choice(chosen: &Chosen, count_max: Option<u64>) -> Choice {
    let stage =
        |stage: &crate::args::StageName| stage.to_possible_value().map(|value| value.get_name().to_owned());
    Choice {
        places: chosen.records.clone(),
        codes: chosen.codes.clone(),
        stages: chosen.stages.iter().filter_map(stage).collect(),
        since_ms: chosen.since,
        until_ms: chosen.until,
        count_max,
    }
}

/// Nothing is done with all letters because somebody forgot to say which.
fn named(chosen: &Chosen, count: Option<u64>, all: bool) -> Outcome {
    let is_named = choice(chosen, count) != Choice::default();
    match (is_named, all) {
        (false, false) => Err(Failure::validation(
            "which records? name them (TOPIC-PARTITION-OFFSET), choose by --error, --stage, --since, --until or --count, or say --all",
        )),
        (true, true) => Err(Failure::validation(
            "--all and a choice of records exclude one another; leave one of them out",
        )),
        _ => Ok(()),
    }
}

async fn handle(chosen: &Chosen, count: Option<u64>, action: Action) -> Outcome {
    let (letters, topic) = open(chosen).await?;
    let connector = &chosen.connector;
    let handled = letters.handle(&topic, connector, &choice(chosen, count), action).await.map_err(failure)?;
    let Handled { done, left_out, unread } = handled;
    output::line(match action {
        Action::Retry => format!("{} on the way back to {connector}", records(done)),
        Action::Discard => format!("{} of {connector} put aside", records(done)),
    })?;
    if left_out > 0 {
        output::remark(format!(
            "{} can't be retried: too large to be in the dead letter; `discard` puts them aside",
            records(left_out)
        ));
    }
    if unread > 0 {
        output::remark(format!(
            "{} left: {connector} could not read them, so they would arrive as they are; --stage TASK_POLL sends them",
            records(unread)
        ));
    }
    Ok(())
}

/// Asks whether to go on.
async fn ask(chosen: &Chosen, count: Option<u64>) -> Outcome {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::validation("nobody is there to ask whether to discard them; --yes says so"));
    }
    let (letters, topic) = open(chosen).await?;
    let mut meant = 0;
    let connector = &chosen.connector;
    letters.waiting(&topic, connector, &choice(chosen, count), |_| meant += 1).await.map_err(failure)?;
    let mut err = io::stderr();
    write!(err, "discard {} of {connector}? [y/N] ", records(meant))?;
    err.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::runtime("nothing was discarded")),
    }
}

fn records(count: u64) -> String {
    format!("{} record{}", output::grouped(count), if count == 1 { "" } else { "s" })
}
