//! What stands in the way of pipelines, looked for before anything runs.
//!
//! | file | what is looked at |
//! |---|---|
//! | `cluster` | whether the cluster answers, and grants topics, positions, transactions and groups |
//! | `connections` | whether what the connectors are granted is reached |
//! | `connectors` | what connectors say of what they work with: tables, rights, files |
//! | `folders` | whether granted folders can be read and written, and how much room there is |
//!
//! Nothing of the pipelines is changed: topics are asked for without being made (`validate_only`), a file that is written to try a
//! folder is removed, and the one transactional id that is taken is the doctor's own. Whether settings are right is [`crate::plan`]'s
//! business.

mod cluster;
mod connections;
mod connectors;
mod folders;

use std::path::Path;

use millrace_client::Client;

pub(crate) use self::connections::{Reached, Unreached};

use crate::component::ComponentHost;
use crate::plan::{GuestPlan, Plan};

/// What came out of one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: `cluster`, `topic orders`, `connection shop`, `folder ./out`.
    pub subject: String,
    /// How it is.
    pub health: Health,
    /// In words.
    pub said: String,
    /// What to do about it; none: nothing.
    pub mend: Option<String>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// As it should be.
    Ok,
    /// It works now, and may not for long; or it can't be told.
    Warning,
    /// The pipeline won't run.
    Failed,
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        })
    }
}

impl Finding {
    /// All is well.
    #[must_use]
    pub fn ok(subject: impl Into<String>, said: impl Into<String>) -> Self {
        Self { subject: subject.into(), health: Health::Ok, said: said.into(), mend: None }
    }

    /// See [`Health::Warning`].
    #[must_use]
    pub fn warning(subject: impl Into<String>, said: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { health: Health::Warning, mend: Some(mend.into()), ..Self::ok(subject, said) }
    }

    /// See [`Health::Failed`].
    #[must_use]
    pub fn failed(subject: impl Into<String>, said: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { health: Health::Failed, ..Self::warning(subject, said, mend) }
    }
}

/// Looks at everything that a plan needs besides its cluster. `served`: where the process that runs it will serve a schema registry.
pub async fn surroundings(plan: &Plan, host: &ComponentHost, served: Option<&str>) -> Vec<Finding> {
    let mut findings = folders::look(&guests(plan));
    let reached = connections::look(plan, served).await;
    let lost = reached.iter().filter(|finding| finding.health == Health::Failed);
    let lost = lost.map(|finding| finding.subject.clone()).collect();
    findings.extend(reached);
    findings.extend(connectors::look(plan, host, &lost).await);
    findings
}

/// Looks at the cluster that a plan would run on; `group` is the workers'.
pub async fn cluster(plan: &Plan, client: &Client, group: &str) -> Vec<Finding> {
    cluster::look(plan, client, group).await
}

/// Looks at a folder that this process would write to.
#[must_use]
pub fn folder(folder: &Path) -> Finding {
    folders::writable(folder, &folder.display().to_string())
}

/// Every component of a plan.
fn guests(plan: &Plan) -> Vec<&GuestPlan> {
    let mut all = Vec::new();
    for pipeline in &plan.pipelines {
        let sources = pipeline.source.iter().map(|source| (&source.guest, &source.transforms));
        let sinks = pipeline.sinks.iter().map(|sink| (&sink.guest, &sink.transforms));
        for (guest, transforms) in sources.chain(sinks) {
            all.push(guest);
            all.extend(transforms.iter().map(|transform| &transform.guest));
        }
    }
    all
}
