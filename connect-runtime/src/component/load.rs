//! A loaded component: what kind of connector it is, what it imports, what it says about itself.
//!
//! A component is asked for its description once, on an instance without grants.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{InstancePre, Linker};

use super::bindings::exports::millrace::connect::{connector, diagnosis, sink, source, transform};
use super::engine::Ticker;
use super::instance::{Environment, Instance, cut};
use super::state::GuestState;
use super::{
    CallError, ConfigProblem, Description, Diagnosed, Digest, Error, SinkInstance, SourceInstance,
    TransformInstance,
};
use crate::capability;
use crate::plan::{ComponentRef, Grants, Limits};

/// Longest that a component may take to say what it is: nobody knows its own limits before.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest text in a description.
const DESCRIPTION_BYTES_MAX: usize = 1 << 20;
/// Most entries of a list in a description, and most problems that a validation may report.
const ENTRIES_MAX: usize = 100;

/// What a component is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Brings records in.
    Source,
    /// Brings records out.
    Sink,
    /// Changes records on their way.
    Transform,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Sink => "sink",
            Self::Transform => "transform",
        })
    }
}

/// A component that is ready to be instantiated.
pub struct Component {
    reference: ComponentRef,
    digest: Digest,
    description: Description,
    imports: Vec<String>,
    exports: Exports,
    pub(super) pre: InstancePre<GuestState>,
    pub(super) ticker: Arc<Ticker>,
    connector: connector::GuestIndices,
    /// None: it says nothing of what it works with.
    diagnosis: Option<diagnosis::GuestIndices>,
}

/// Where the calls of its kind are found.
enum Exports {
    Source(source::GuestIndices),
    Sink(sink::GuestIndices),
    Transform(transform::GuestIndices),
}

impl Component {
    pub(super) async fn new(
        reference: ComponentRef,
        digest: Digest,
        compiled: &wasmtime::component::Component,
        linker: &Linker<GuestState>,
        ticker: Arc<Ticker>,
    ) -> Result<Self, Error> {
        let kind = compiled.component_type();
        let imports: Vec<String> = kind.imports(compiled.engine()).map(|(name, _)| name.to_owned()).collect();
        if let Some(import) = imports.iter().find(|import| capability::of_import(import).is_none()) {
            return Err(Error::Import { component: reference, import: import.clone() });
        }
        let invalid = |error| Error::Invalid { component: reference.clone(), reason: format!("{error:#}") };
        let pre = linker.instantiate_pre(compiled).map_err(invalid)?;
        let world = |reason: String| Error::World { component: reference.clone(), reason };
        let connector =
            connector::GuestIndices::new(&pre).map_err(|error| world(missing("connector", &error)))?;
        let diagnosis = diagnosis::GuestIndices::new(&pre).ok();
        let exports = exports(&pre).map_err(world)?;
        let description = Description {
            name: String::new(),
            version: String::new(),
            summary: String::new(),
            config_schema: String::new(),
            key_formats: Vec::new(),
            value_formats: Vec::new(),
            extra: Vec::new(),
        };
        let mut new =
            Self { reference, digest, description, imports, exports, pre, ticker, connector, diagnosis };
        new.description = new.ask().await?;
        Ok(new)
    }

    /// Which component it is.
    #[must_use]
    pub fn reference(&self) -> &ComponentRef {
        &self.reference
    }

    /// Which bytes it was made of.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.exports {
            Exports::Source(_) => Kind::Source,
            Exports::Sink(_) => Kind::Sink,
            Exports::Transform(_) => Kind::Transform,
        }
    }

    /// What it says about itself. The settings' schema is valid JSON.
    #[must_use]
    pub fn describe(&self) -> &Description {
        &self.description
    }

    /// The interfaces that it imports, with versions.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// What it needs, in words, each once.
    #[must_use]
    pub fn capabilities(&self) -> Vec<&'static str> {
        let mut names: Vec<_> =
            self.imports.iter().filter_map(|i| capability::of_import(i)).map(|c| c.name).collect();
        // The contract's own types reach nothing.
        names.retain(|name| *name != "types");
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Asks the connector to check settings beyond its schema.
    ///
    /// # Errors
    /// When the call fails; problems with the settings are not errors.
    pub async fn validate(
        &self,
        config: &str,
        grants: &Grants,
        limits: Limits,
    ) -> Result<Vec<ConfigProblem>, CallError> {
        let mut instance =
            Instance::start(self, Environment::outside_task(&self.reference, grants, limits)).await?;
        let guest = self.connector.load(&mut instance.store, &instance.instance);
        let guest = guest.map_err(|error| instance.watch.failed("instantiate", &error))?;
        let call = guest.call_validate(&mut instance.store, config);
        let mut problems = instance.watch.run_fallible("validate", call).await?;
        problems.truncate(ENTRIES_MAX);
        for problem in &mut problems {
            problem.path = cut(std::mem::take(&mut problem.path));
            problem.message = cut(std::mem::take(&mut problem.message));
        }
        Ok(problems)
    }

    /// Lets the connector look at what it works with; `conceal` is given each text that it says, before that is cut to size. None: it doesn't know how.
    ///
    /// # Errors
    /// When the call fails; what stands in its way out there is no error.
    pub async fn diagnose(
        &self,
        config: &str,
        topics: &[String],
        grants: &Grants,
        limits: Limits,
        conceal: impl Fn(String) -> String,
    ) -> Result<Option<Vec<Diagnosed>>, CallError> {
        let Some(diagnosis) = &self.diagnosis else { return Ok(None) };
        let mut instance =
            Instance::start(self, Environment::outside_task(&self.reference, grants, limits)).await?;
        let guest = diagnosis.load(&mut instance.store, &instance.instance);
        let guest = guest.map_err(|error| instance.watch.failed("instantiate", &error))?;
        let call = guest.call_diagnose(&mut instance.store, config, topics);
        let mut findings = instance.watch.run_fallible("diagnose", call).await?;
        findings.truncate(ENTRIES_MAX);
        for finding in &mut findings {
            for text in [&mut finding.subject, &mut finding.said, &mut finding.mend] {
                *text = cut(conceal(std::mem::take(text)));
            }
        }
        Ok(Some(findings))
    }

    /// A new instance of a source.
    ///
    /// # Errors
    /// When it can't be started, or is no source.
    pub async fn source(&self, environment: Environment) -> Result<SourceInstance, CallError> {
        let Exports::Source(indices) = &self.exports else {
            return Err(self.not_a(Kind::Source, environment));
        };
        SourceInstance::new(Instance::start(self, environment).await?, indices)
    }

    /// A new instance of a sink.
    ///
    /// # Errors
    /// When it can't be started, or is no sink.
    pub async fn sink(&self, environment: Environment) -> Result<SinkInstance, CallError> {
        let Exports::Sink(indices) = &self.exports else { return Err(self.not_a(Kind::Sink, environment)) };
        SinkInstance::new(Instance::start(self, environment).await?, indices)
    }

    /// A new instance of a transform.
    ///
    /// # Errors
    /// When it can't be started, or is no transform.
    pub async fn transform(&self, environment: Environment) -> Result<TransformInstance, CallError> {
        let Exports::Transform(indices) = &self.exports else {
            return Err(self.not_a(Kind::Transform, environment));
        };
        TransformInstance::new(Instance::start(self, environment).await?, indices)
    }

    fn not_a(&self, wanted: Kind, environment: Environment) -> CallError {
        let message = format!("component {} is a {}, not a {wanted}", self.reference, self.kind());
        CallError::Start { label: environment.label, message }
    }

    async fn ask(&self) -> Result<Description, Error> {
        let failed = |reason: String| Error::Describe { component: self.reference.clone(), reason };
        let limits = Limits { call_timeout: DESCRIBE_TIMEOUT, ..Limits::default() };
        let environment = Environment::outside_task(&self.reference, &Grants::default(), limits);
        let mut instance =
            Instance::start(self, environment).await.map_err(|error| failed(error.to_string()))?;
        let guest = self.connector.load(&mut instance.store, &instance.instance);
        let guest = guest.map_err(|error| failed(format!("{error:#}")))?;
        let call = guest.call_describe(&mut instance.store);
        let description =
            instance.watch.run("describe", call).await.map_err(|error| failed(error.to_string()))?;
        check(&description).map_err(failed)?;
        Ok(description)
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("reference", &self.reference).field("kind", &self.kind()).finish()
    }
}

fn exports(pre: &InstancePre<GuestState>) -> Result<Exports, String> {
    let mut found = Vec::new();
    let mut reasons = Vec::new();
    match source::GuestIndices::new(pre) {
        Ok(indices) => found.push(Exports::Source(indices)),
        Err(error) => reasons.push(missing("source", &error)),
    }
    match sink::GuestIndices::new(pre) {
        Ok(indices) => found.push(Exports::Sink(indices)),
        Err(error) => reasons.push(missing("sink", &error)),
    }
    match transform::GuestIndices::new(pre) {
        Ok(indices) => found.push(Exports::Transform(indices)),
        Err(error) => reasons.push(missing("transform", &error)),
    }
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => {
            Err("it exports more than one of source, sink and transform; make a component of each".to_owned())
        }
        (None, _) => Err(format!("it is no connector of millrace:connect@0.1: {}", reasons.join("; "))),
    }
}

fn missing(interface: &str, error: &wasmtime::Error) -> String {
    format!("interface {interface}: {error:#}")
}

fn check(description: &Description) -> Result<(), String> {
    let texts = [&description.name, &description.version, &description.summary, &description.config_schema];
    let lists = [&description.key_formats, &description.value_formats];
    if lists.iter().any(|list| list.len() > ENTRIES_MAX) || description.extra.len() > ENTRIES_MAX {
        return Err(format!("its description has a list of more than {ENTRIES_MAX} entries"));
    }
    let listed =
        lists.into_iter().flatten().chain(description.extra.iter().flat_map(|(name, value)| [name, value]));
    if texts.into_iter().chain(listed).any(|text| text.len() > DESCRIPTION_BYTES_MAX) {
        return Err(format!("its description has a text of more than {DESCRIPTION_BYTES_MAX} bytes"));
    }
    match serde_json::from_str::<serde_json::Value>(&description.config_schema) {
        Ok(serde_json::Value::Object(_)) => Ok(()),
        Ok(_) => Err("the schema of its settings is not a JSON object".to_owned()),
        Err(error) => Err(format!("the schema of its settings is not JSON: {error}")),
    }
}
