//! `millrace log verify`: a checksum scrub of a data directory.

use std::path::Path;

use millrace_log::disk::RealDisk;
use millrace_log::verify::{Finding, verify};

use crate::args::{LogArgs, LogCommand};
use crate::exit::{Failure, Outcome};
use crate::output;

pub(crate) fn run(args: LogArgs) -> Outcome {
    match args.command {
        LogCommand::Verify { dir, topic } => scrub(&dir, topic.as_deref()),
    }
}

fn scrub(dir: &Path, topic: Option<&str>) -> Outcome {
    // A reader that has gone doesn't end the scrub: the exit code still tells.
    let mut printed = Ok(());
    let mut show = |finding: &Finding| {
        if printed.is_ok() {
            printed = output::line(finding.to_string());
        }
    };
    let report = verify(&RealDisk, dir, topic, &mut show).map_err(Failure::environment)?;
    if report.partitions == 0 {
        let what = topic
            .map_or("no partition's folder".to_owned(), |topic| format!("no partition of topic {topic}"));
        return Err(Failure::Validation(format!(
            "{} has {what}; give the data directory of a broker (log.dirs)",
            dir.display()
        )));
    }
    printed?;
    let read = format!(
        "{} in {}, {}, {}, {}",
        count(report.segments, "segment"),
        count(report.partitions, "partition"),
        count(report.batches, "batch"),
        count(report.records, "record"),
        count(report.bytes, "byte"),
    );
    match report.damages {
        0 => output::line(format!("ok: {read}")),
        damages => Err(Failure::Runtime(format!(
            "{} in what was read: {read}; restore the files from a backup",
            count(damages, "damage")
        ))),
    }
}

fn count(number: u64, what: &str) -> String {
    let plural = match what {
        "batch" => "es",
        _ => "s",
    };
    format!("{number} {what}{}", if number == 1 { "" } else { plural })
}
