//! A plan that is not checked to its end: what can be told without starting a component, then the components' own word.

use std::sync::Arc;

use super::{Access, Catalog, Grants, GuestPlan, Plan, build};
use crate::component::{ComponentHost, ConfigProblem};
use crate::spec::{Deployment, Diagnostic, Settings, SourceFile, Span};

/// A plan with what is wrong with it so far.
#[derive(Debug)]
pub struct Draft {
    pub(super) plan: Plan,
    pub(super) problems: Vec<Diagnostic>,
    pub(super) guests: Vec<DraftGuest>,
}

/// A component whose settings fit its schema, and where they stand.
#[derive(Debug)]
pub(super) struct DraftGuest {
    pub(super) file: Arc<SourceFile>,
    pub(super) span: Span,
    pub(super) settings: Settings,
    pub(super) guest: GuestPlan,
}

impl Draft {
    /// Plans deployments that run together: unknown connectors, wrong roles, settings that don't fit the schema (at their
    /// line) and sinks that write to one path are found here. Deployments that have problems of their own are planned as far
    /// as they go.
    #[must_use]
    pub fn of(deployments: &[Deployment], catalog: &Catalog) -> Self {
        build::draft(deployments, catalog)
    }

    /// Lets every component check its settings beyond the schema (`connector.validate`). It may read the folders that it is
    /// granted, as far as they are there, and write nowhere: nothing runs yet.
    pub async fn ask(&mut self, host: &ComponentHost) {
        for asked in &self.guests {
            let GuestPlan { component, settings, grants, limits } = &asked.guest;
            // One that can't be loaded was told already.
            let Ok(loaded) = host.load(component).await else { continue };
            let config = serde_json::Value::Object(settings.clone()).to_string();
            let name = &loaded.describe().name;
            match loaded.validate(&config, &readable(grants), *limits).await {
                Ok(problems) => self.problems.extend(problems.iter().filter_map(|p| asked.report(name, p))),
                Err(error) => self.problems.push(
                    Diagnostic::new(
                        &asked.file,
                        asked.span,
                        format!("{name} can't check its settings: {error}"),
                    )
                    .help("its author has to mend it"),
                ),
            }
        }
    }

    /// The plan as far as it goes, and everything that is wrong.
    #[must_use]
    pub fn into_parts(self) -> (Plan, Vec<Diagnostic>) {
        (self.plan, self.problems)
    }

    /// The plan.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn finish(self) -> Result<Plan, Vec<Diagnostic>> {
        if self.problems.is_empty() { Ok(self.plan) } else { Err(self.problems) }
    }
}

impl DraftGuest {
    /// What a component says against its settings, at the line of the setting. Warnings are only logged.
    fn report(&self, connector: &str, problem: &ConfigProblem) -> Option<Diagnostic> {
        let span = self.settings.place(&problem.path).map_or(self.span, |place| place.value);
        let setting =
            problem.path.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~");
        let message = match setting.as_str() {
            "" => format!("{connector}: {}", problem.message),
            setting => format!("`{setting}` of {connector}: {}", problem.message),
        };
        if problem.warning {
            let place = format!("{}:{}", self.file.path().display(), span.line);
            tracing::warn!(place, "{message}");
            return None;
        }
        let help = format!("`millrace connector inspect {}` shows its settings", self.guest.component);
        Some(Diagnostic::new(&self.file, span, message).help(help))
    }
}

/// The granted folders that are there, to read only; no connections.
fn readable(grants: &Grants) -> Grants {
    let there = grants.files.iter().filter(|grant| grant.host.is_dir()).cloned();
    let read = there.map(|grant| super::FolderGrant { access: Access::Read, ..grant });
    Grants { files: read.collect(), ..Grants::default() }
}
