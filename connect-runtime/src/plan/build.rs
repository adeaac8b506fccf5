//! Deployments and what is known of their components, to a plan or to all that is wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::{Catalog, Description};
use super::draft::{Draft, DraftGuest};
use super::guest::{Block, guest};
use super::{
    ComponentRef, DEFAULT_FLUSH_INTERVAL, Format, Formats, GuestPlan, PipelinePlan, Plan, SinkPlan,
    SourcePlan, TopicPlan, TransformPlan,
};
use crate::connection::Connection;
use crate::convert::{TYPED, looks_into, registry};
use crate::spec::{
    ConnectionSpec, ConnectorSpec, Deployment, Diagnostic, Pipeline, RegistrySpec, Role, SourceFile, Span,
    TopicSpec, TransformSpec, clean, nearest,
};

/// See [`Draft::of`].
pub(super) fn draft(deployments: &[Deployment], catalog: &Catalog) -> Draft {
    let mut planner = Planner {
        catalog,
        file: None,
        declared: BTreeMap::new(),
        problems: Vec::new(),
        guests: Vec::new(),
        written: BTreeMap::new(),
    };
    let mut pipelines = Vec::new();
    for deployment in deployments {
        planner.file = Some(Arc::clone(&deployment.file));
        planner.declared = deployment.connections.clone();
        pipelines.extend(deployment.pipelines.iter().map(|pipeline| planner.pipeline(pipeline)));
    }
    let plan = Plan { pipelines: pipelines.into_iter().flatten().collect() };
    Draft { plan, problems: planner.problems, guests: planner.guests }
}

pub(super) struct Planner<'c> {
    catalog: &'c Catalog,
    file: Option<Arc<SourceFile>>,
    /// Connections of that file.
    declared: BTreeMap<String, ConnectionSpec>,
    problems: Vec<Diagnostic>,
    guests: Vec<DraftGuest>,
    /// Paths that sinks write to, and who was first.
    written: BTreeMap<PathBuf, String>,
}

/// What a setting that names a connection leads to.
pub(super) enum Named {
    Granted(Arc<Connection>),
    /// It is declared, and what is wrong with it was told.
    Refused,
    /// It is of this kind instead.
    Other(String),
    Unknown,
}

impl Planner<'_> {
    /// A problem of the file that is being planned.
    pub(super) fn at(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        let file = self.file.clone().unwrap_or_else(|| SourceFile::new("", ""));
        Diagnostic::new(&file, span, message)
    }

    /// A path of the file that is being planned, made absolute.
    pub(super) fn absolute(&self, written: &Path) -> PathBuf {
        let folder = self.file.as_ref().map(|file| file.folder().to_owned()).unwrap_or_default();
        clean(&folder.join(written))
    }

    pub(super) fn push(&mut self, problem: Diagnostic) {
        self.problems.push(problem);
    }

    /// A component whose own word on its settings is still to be heard.
    pub(super) fn ask(&mut self, block: &Block<'_>, guest: &GuestPlan) {
        let Some(file) = self.file.clone() else { return };
        self.guests.push(DraftGuest {
            file,
            span: block.span,
            settings: block.settings.clone(),
            guest: guest.clone(),
        });
    }

    /// The connection that a setting names, if it is of this kind.
    pub(super) fn connection(&self, name: &str, kind: &str) -> Named {
        let of = |found: &str, connection: Option<&Arc<Connection>>| match (found == kind, connection) {
            (true, Some(connection)) => Named::Granted(Arc::clone(connection)),
            (true, None) => Named::Refused,
            (false, _) => Named::Other(found.to_owned()),
        };
        if let Some(spec) = self.declared.get(name) {
            return spec.kind.map_or(Named::Refused, |found| of(found, spec.connection.as_ref()));
        }
        match self.catalog.connections.get(name) {
            Some(connection) => of(connection.kind(), Some(connection)),
            None => Named::Unknown,
        }
    }

    /// Names of the connections of a kind, in order.
    pub(super) fn connections_of(&self, kind: &str) -> Vec<String> {
        let declared = self.declared.iter().filter(|(_, spec)| spec.kind == Some(kind)).map(|(name, _)| name);
        let given = self.catalog.connections.iter().filter(|(_, c)| c.kind() == kind).map(|(name, _)| name);
        let mut names: Vec<String> = declared.chain(given).cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Option<PipelinePlan> {
        let source = pipeline.source.as_ref().map(|spec| self.source(spec));
        let sinks: Vec<_> = pipeline.sinks.iter().map(|spec| self.sink(spec)).collect();
        let sinks: Option<Vec<SinkPlan>> = sinks.into_iter().collect();
        let source = match source {
            Some(planned) => Some(planned?),
            None => None,
        };
        Some(PipelinePlan {
            name: pipeline.name.clone(),
            topic: topic(&pipeline.topic),
            source,
            sinks: sinks?,
        })
    }

    fn source(&mut self, spec: &ConnectorSpec) -> Option<SourcePlan> {
        let guest = guest(self, &connector_block(spec));
        let transforms = self.transforms(spec);
        let formats = self.formats(&spec.formats);
        self.types(spec);
        Some(SourcePlan {
            name: spec.name.clone(),
            guest: guest?,
            tasks: spec.tasks_max,
            transforms: transforms?,
            formats: formats?,
            errors: spec.errors.clone(),
        })
    }

    fn sink(&mut self, spec: &ConnectorSpec) -> Option<SinkPlan> {
        let guest = guest(self, &connector_block(spec));
        let transforms = self.transforms(spec);
        let formats = self.formats(&spec.formats);
        Some(SinkPlan {
            name: spec.name.clone(),
            guest: guest?,
            tasks: spec.tasks_max,
            transforms: transforms?,
            formats: formats?,
            errors: spec.errors.clone(),
            flush_interval: spec.flush_interval.unwrap_or(DEFAULT_FLUSH_INTERVAL),
        })
    }

    /// With the connections that formats name, which are granted by that.
    fn formats(&mut self, formats: &Formats<RegistrySpec>) -> Option<Formats> {
        formats.clone().try_map(|registry| self.registry(registry))
    }

    /// A source's formats that need types: its connector has to give them, and no transform may change what they are of.
    fn types(&mut self, spec: &ConnectorSpec) {
        let described = |component: Option<&ComponentRef>| match self.catalog.descriptions.get(component?) {
            Some(Ok(described)) => Some(described),
            _ => None,
        };
        let Some(connector) = described(spec.component.as_ref()) else { return };
        let transforms: Vec<_> =
            spec.transforms.iter().filter_map(|step| described(step.component.as_ref())).collect();
        let mut problems = Vec::new();
        for (side, format) in [("key", &spec.formats.key), ("value", &spec.formats.value)] {
            let known = |described: &Description| match side {
                "key" => described.key_formats.clone(),
                _ => described.value_formats.clone(),
            };
            let gives_types = known(connector).iter().any(|format| format == TYPED);
            let is_envelope = matches!(format, Format::Envelope { .. });
            let is_derived = gives_types && matches!(format, Format::Registered(of) if of.may_derive());
            if is_envelope && !gives_types {
                let message =
                    format!("`{}` gives no schemas for `schemas_enable` of `{side}_format`", connector.name);
                let problem = self
                    .at(spec.span, message)
                    .expected(format!("a connector that gives {side}s as `{TYPED}`"));
                problems.push(problem.help("a source writes plain `json`, or `json-schema` with a registry"));
            } else if is_envelope || is_derived {
                let looks = transforms.iter().find(|step| looks_into(&known(step)));
                if let Some(step) = looks {
                    let message =
                        format!("transform `{}` looks into {side}s, whose types it would change", step.name);
                    let help = match is_derived {
                        true => {
                            "say what comes out of it: `schema`, or `use_latest_version: true`, in the format"
                        }
                        false => "a source writes plain `json`, or `json-schema` with a registry",
                    };
                    problems.push(self.at(spec.span, message).help(help));
                }
            }
        }
        self.problems.append(&mut problems);
    }

    fn registry(&mut self, registry: RegistrySpec) -> Option<Arc<Connection>> {
        let (name, span, hidden) = match registry {
            RegistrySpec::Given(connection) => return Some(connection),
            RegistrySpec::Named { name, span, referenced } => (name, span, referenced),
        };
        match self.connection(&name, registry::KIND) {
            Named::Granted(connection) => Some(connection),
            Named::Refused => None,
            found => {
                let problem = self.no_connection(span, "a format", registry::KIND, &name, hidden, found);
                self.push(problem);
                None
            }
        }
    }

    /// Says that a name leads to no connection of the kind that `what` needs.
    pub(super) fn no_connection(
        &self,
        span: Span,
        what: &str,
        kind: &str,
        name: &str,
        hidden: bool,
        found: Named,
    ) -> Diagnostic {
        let shown = if hidden { "of the reference".to_owned() } else { format!("`{name}`") };
        let known = self.connections_of(kind);
        let suggestion = nearest(name, known.iter().map(String::as_str)).filter(|_| !hidden);
        let problem = match found {
            Named::Other(other) => {
                self.at(span, format!("connection {shown} is of kind `{other}`, but {what} needs `{kind}`"))
            }
            _ => self.at(span, format!("connection {shown} is not declared")).suggest(suggestion),
        };
        let problem = match known.is_empty() {
            true => problem,
            false => problem.expected(format!("a connection of kind `{kind}`: {}", known.join(", "))),
        };
        problem.help(format!(
            "declare it under `connections:` of this file, as `NAME: {{ {kind}: {{...}} }}`, or in the file of `millrace connect --connections`"
        ))
    }

    /// All of the chain, so that each one's problems are found.
    fn transforms(&mut self, spec: &ConnectorSpec) -> Option<Vec<TransformPlan>> {
        let steps: Vec<_> = spec
            .transforms
            .iter()
            .enumerate()
            .map(|(index, transform)| {
                let name = format!("{}.transforms[{index}]", spec.name);
                let guest = guest(self, &transform_block(&name, transform))?;
                Some(TransformPlan { name, guest, predicate: transform.predicate.clone() })
            })
            .collect();
        steps.into_iter().collect()
    }

    /// Two sinks that write to one path would destroy each other's output.
    pub(super) fn writes(&mut self, connector: &str, path: PathBuf, span: Span) {
        let earlier = self.written.get(&path).cloned();
        match earlier {
            Some(earlier) => {
                let message = format!("`{earlier}` and `{connector}` write to the same path");
                let problem = self.at(span, message).help("give each its own");
                self.push(problem);
            }
            None => {
                self.written.insert(path, connector.to_owned());
            }
        }
    }

    /// What the component said, if it could be loaded and can play the role.
    pub(super) fn description(&mut self, block: &Block<'_>, component: &ComponentRef) -> Option<Description> {
        let described = self.catalog.descriptions.get(component);
        let problem = match (component, described) {
            (_, Some(Ok(described))) if described.roles.contains(&block.role) => {
                return Some(described.clone());
            }
            (_, Some(Ok(described))) => {
                let roles: Vec<String> = described.roles.iter().map(|role| format!("a {role}")).collect();
                self.at(
                    block.span,
                    format!("`{}` is {}, not a {}", described.name, roles.join(" and "), block.role),
                )
                .expected(format!("a {}", block.role))
            }
            (ComponentRef::Bundled(name), _) if !self.catalog.bundled.contains(name) => {
                let bundled: Vec<&str> = self.catalog.bundled.iter().map(String::as_str).collect();
                self.at(block.span, format!("unknown connector `{name}`"))
                    .expected(format!("one of {}, or the path of a `.wasm` file", bundled.join(", ")))
                    .suggest(nearest(name, bundled))
            }
            (component, Some(Err(why))) => self
                .at(block.span, format!("connector `{}` can't be loaded: {why}", shown(component)))
                .help("is it a component of the package millrace:connect, built for wasm32-wasip2?"),
            (component, None) => self
                .at(block.span, format!("connector `{}` was not described", shown(component)))
                .help("this is a mistake in the program, not in the file: please report it"),
        };
        self.push(problem);
        None
    }
}

fn shown(component: &ComponentRef) -> String {
    match component {
        ComponentRef::Bundled(name) => name.clone(),
        ComponentRef::Path(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    }
}

fn connector_block(spec: &ConnectorSpec) -> Block<'_> {
    Block {
        name: &spec.name,
        role: spec.role,
        span: spec.span,
        component: spec.component.as_ref(),
        settings: &spec.settings,
        files: &spec.files,
        limits: spec.limits,
    }
}

fn transform_block<'s>(name: &'s str, spec: &'s TransformSpec) -> Block<'s> {
    Block {
        name,
        role: Role::Transform,
        span: spec.span,
        component: spec.component.as_ref(),
        settings: &spec.settings,
        files: &spec.files,
        limits: spec.limits,
    }
}

fn topic(spec: &TopicSpec) -> TopicPlan {
    TopicPlan {
        name: spec.name.clone(),
        partitions: spec.partitions.unwrap_or(-1),
        replication_factor: spec.replication_factor.unwrap_or(-1),
        config: spec.config.clone(),
    }
}
