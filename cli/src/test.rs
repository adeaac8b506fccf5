//! `millrace test`: a pipeline's cases through its transforms, without a cluster.

use millrace_connect_runtime::component::ComponentHost;
use millrace_connect_runtime::plan::PipelinePlan;
use millrace_connect_runtime::rehearsal::{self, Mismatch};
use millrace_connect_runtime::spec::{Case, Pipeline, ProcessEnvironment, load_cases};

use crate::args::TestArgs;
use crate::exit::{Failure, Outcome};
use crate::{components, output, validate};

/// Runs every case, says which hold, and shows what came out where one doesn't.
pub(crate) async fn run(args: TestArgs) -> Outcome {
    let host = components::host()?;
    let mut checked = validate::check(&host, &args.files).await?;
    let wrong = load_cases(&mut checked.deployments, &ProcessEnvironment);
    if !wrong.is_empty() {
        return Err(validate::refused(&wrong));
    }
    let plan = |pipeline: &Pipeline| checked.plan.pipelines.iter().find(|plan| plan.name == pipeline.name);
    let pipelines = checked.deployments.iter().flat_map(|deployment| &deployment.pipelines);
    let cases: Vec<(&PipelinePlan, &Case)> = pipelines
        .filter_map(|pipeline| Some((plan(pipeline)?, &pipeline.tests)))
        .flat_map(|(plan, cases)| cases.iter().map(move |case| (plan, case)))
        .filter(|(_, case)| args.only.as_ref().is_none_or(|part| case.name.contains(part)))
        .collect();
    if cases.is_empty() {
        let message = match &args.only {
            Some(part) => format!("no case has {part:?} in its name"),
            None => {
                "no pipeline has cases; give one `tests:`, or write them beside it into <file>.tests.yaml"
                    .to_owned()
            }
        };
        return Err(Failure::validation(message));
    }
    let mut failed = 0;
    for (plan, case) in &cases {
        failed += usize::from(!holds(&host, plan, case).await?);
    }
    let count = cases.len();
    let all = if count == 1 { "1 case".to_owned() } else { format!("{count} cases") };
    match failed {
        0 => output::line(format!("ok: {all}")),
        failed => Err(Failure::runtime(format!("{failed} of {all} failed"))),
    }
}

/// Runs a case and tells how it ended.
async fn holds(host: &ComponentHost, plan: &PipelinePlan, case: &Case) -> Result<bool, Failure> {
    let title = format!("{}: {}", plan.name, case.name);
    let mismatches = match rehearsal::run(host, plan, case).await {
        Ok(mismatches) => mismatches,
        Err(error) => {
            output::line(format!("FAILED {title}\n{error}"))?;
            return Ok(false);
        }
    };
    if mismatches.is_empty() {
        output::line(format!("ok     {title}"))?;
        return Ok(true);
    }
    let shown: Vec<String> = mismatches.iter().map(show).collect();
    output::line(format!("FAILED {title}\n{}\n", shown.join("\n")))?;
    Ok(false)
}

/// The place in the file, and below it both sides.
fn show(mismatch: &Mismatch) -> String {
    let place = mismatch.place.to_string();
    let mut text = place.strip_prefix("error: ").unwrap_or(&place).to_owned();
    for (sign, side) in [('-', &mismatch.expected), ('+', &mismatch.found)] {
        if let Some(side) = side {
            text.push_str(&format!("\n   {sign} {side}"));
        }
    }
    text
}
