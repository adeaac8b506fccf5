//! A map to a deployment of one connector, or to all that is wrong with it.

mod format;
mod predicate;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::ConnectorConfig;
use super::keys::{self, FRAMEWORK, TRANSFORM_KEYS, TRANSFORM_TYPE};
use super::settings::unflatten;
use crate::plan::{Access, Catalog, ComponentRef, ErrorPlan, FolderGrant, Limits, Tolerance};
use crate::spec::connector::{MEMORY_BYTES_MAX, MEMORY_BYTES_MIN, TASKS_MAX, TRANSFORMS_MAX};
use crate::spec::deployment::{
    ClusterSpec, ConnectorSpec, Deployment, Pipeline, Role, TopicSpec, TransformSpec,
};
use crate::spec::names::{self, nearest};
use crate::spec::reference::{Environment, resolve};
use crate::spec::settings::{Place, Settings, pointer_join};
use crate::spec::{Diagnostic, SourceFile, Span, across, clean, is_component_path, units};

/// What became of a map.
#[derive(Debug)]
pub struct Reading {
    /// One pipeline with one source or sink; only good to run if there are no problems.
    pub deployment: Deployment,
    /// Everything that is wrong so far; [`key_of`] says with which key.
    pub problems: Vec<Diagnostic>,
    /// What references gave, with the references: for whoever has to take the values out of a text again.
    pub referenced: Vec<Referenced>,
}

/// A text with references in it, before and after they were filled in.
#[derive(Clone, PartialEq, Eq)]
pub struct Referenced {
    /// The key of the map.
    pub key: String,
    /// As it is written.
    pub raw: String,
    /// Filled in.
    pub text: String,
    /// Which parts of it each reference gave.
    pub values: Vec<(Range<usize>, String)>,
}

impl std::fmt::Debug for Referenced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Referenced").field("key", &self.key).field("raw", &self.raw).finish_non_exhaustive()
    }
}

/// The components that a map names: to be asked what they are before [`read`].
#[must_use]
pub fn components(config: &ConnectorConfig) -> Vec<ComponentRef> {
    let folder = folder(config);
    let class = config.get(keys::CONNECTOR_CLASS);
    let transforms = aliases(config);
    let types = transforms.iter().filter_map(|alias| config.get(&transform_key(alias, TRANSFORM_TYPE)));
    let mut named: Vec<_> =
        class.into_iter().chain(types).filter_map(|text| component(text, &folder)).collect();
    named.sort();
    named.dedup();
    named
}

/// The key of the map of connector `name` that a problem of its is about.
#[must_use]
pub fn key_of<'c>(config: &'c ConnectorConfig, problem: &Diagnostic) -> Option<&'c str> {
    config.keys().nth(problem.span.line.checked_sub(1)?).map(String::as_str)
}

/// The paths that a sink's settings tell it to write to, with their keys: two sinks with one path would destroy each other's
/// output.
#[must_use]
pub fn written(config: &ConnectorConfig, catalog: &Catalog) -> Vec<(String, PathBuf)> {
    let folder = folder(config);
    let class = config.get(keys::CONNECTOR_CLASS).and_then(|text| component(text, &folder));
    let described = class.and_then(|component| catalog.descriptions.get(&component)?.as_ref().ok());
    let Some(described) = described.filter(|described| described.roles.contains(&Role::Sink)) else {
        return Vec::new();
    };
    let properties = described.config_schema["properties"].as_object().into_iter().flatten();
    let is_written =
        |(_, schema): &(&String, &Value)| schema.get("x-path").and_then(Value::as_str) == Some("write");
    let path = |(name, _): (&String, &Value)| Some((name.clone(), clean(&folder.join(config.get(name)?))));
    properties.filter(is_written).filter_map(path).collect()
}

/// Reads the map of a connector. What it needs to know of components is in `catalog`.
#[must_use]
pub fn read(name: &str, config: &ConnectorConfig, catalog: &Catalog, env: &dyn Environment) -> Reading {
    let folder = folder(config);
    let one_line = |text: &str| text.replace(['\n', '\r'], " ");
    let lines = config.iter().map(|(key, value)| format!("{} = {}\n", one_line(key), one_line(value)));
    let file = SourceFile::new(folder.join(name), lines.collect::<String>());
    let reader = Reader {
        name,
        config,
        catalog,
        env,
        folder,
        file: Arc::clone(&file),
        problems: Vec::new(),
        taken: BTreeSet::new(),
        referenced: Vec::new(),
    };
    reader.read()
}

fn folder(config: &ConnectorConfig) -> PathBuf {
    clean(&Path::new(config.get(keys::BASE_FOLDER).map_or("", String::as_str)).join("."))
}

fn aliases(config: &ConnectorConfig) -> Vec<&str> {
    let list = config.get(keys::TRANSFORMS).map(String::as_str).unwrap_or_default();
    list.split(',').map(str::trim).filter(|alias| !alias.is_empty()).take(TRANSFORMS_MAX).collect()
}

fn transform_key(alias: &str, key: &str) -> String {
    format!("{}.{alias}.{key}", keys::TRANSFORMS)
}

fn component(text: &str, folder: &Path) -> Option<ComponentRef> {
    if is_component_path(Path::new(text)) {
        return Some(ComponentRef::Path(clean(&folder.join(text))));
    }
    (!text.is_empty() && !text.contains(['/', '\\'])).then(|| ComponentRef::Bundled(text.to_owned()))
}

struct Reader<'a> {
    name: &'a str,
    config: &'a ConnectorConfig,
    catalog: &'a Catalog,
    env: &'a dyn Environment,
    folder: PathBuf,
    file: Arc<SourceFile>,
    problems: Vec<Diagnostic>,
    /// Keys that are known to be ours.
    taken: BTreeSet<String>,
    referenced: Vec<Referenced>,
}

impl Reader<'_> {
    fn read(mut self) -> Reading {
        self.taken.extend(FRAMEWORK.iter().map(|key| key.name.to_owned()));
        self.compatible();
        if self.text(keys::NAME).is_some_and(|name| name != self.name) {
            self.problem(keys::NAME, format!("the connector is called `{}`", self.name));
        }
        let component =
            self.component(keys::CONNECTOR_CLASS, keys::NAME, "the connector has no `connector.class`");
        let role = component.as_ref().map_or(Role::Source, |component| self.role(component));
        let tasks_max = self.number(keys::TASKS_MAX, 1..=TASKS_MAX).unwrap_or(1);
        let topic = self.topic(role);
        let errors = self.errors();
        let formats = self.formats(role, component.as_ref());
        let flush_interval = self.millis(keys::FLUSH_INTERVAL);
        let transforms = self.transforms();
        let (files, limits) = (self.files(""), self.limits(""));
        let config = self.config;
        let rest: BTreeMap<&str, &str> = config
            .iter()
            .filter(|(key, _)| !self.taken.contains(*key))
            .map(|(key, text)| (key.as_str(), text.as_str()))
            .collect();
        let settings = self.settings("", component.as_ref(), &rest);
        let spec = ConnectorSpec {
            name: self.name.to_owned(),
            role,
            span: self.span(keys::CONNECTOR_CLASS),
            component,
            tasks_max: u32::try_from(tasks_max).unwrap_or(1),
            settings,
            files,
            limits,
            errors,
            formats,
            flush_interval,
            transforms,
        };
        let (source, sinks) = if role == Role::Sink { (None, vec![spec]) } else { (Some(spec), Vec::new()) };
        let name = self.name.rsplit_once('.').map_or(self.name, |(pipeline, _)| pipeline).to_owned();
        let pipeline =
            Pipeline { name, span: self.span(keys::NAME), source, topic, sinks, tests: Vec::new() };
        let deployment = Deployment {
            file: self.file,
            cluster: ClusterSpec::Unspecified,
            cluster_span: Span::default(),
            // Those of the worker are in the catalog.
            connections: BTreeMap::new(),
            pipelines: vec![pipeline],
        };
        let mut problems = self.problems;
        problems.append(&mut across::check(std::slice::from_ref(&deployment)));
        Reading { deployment, problems, referenced: self.referenced }
    }

    fn role(&self, component: &ComponentRef) -> Role {
        match self.catalog.descriptions.get(component) {
            Some(Ok(described)) if described.roles.contains(&Role::Sink) => Role::Sink,
            // What isn't a connector is told by the planner.
            _ => Role::Source,
        }
    }

    /// Where a key stands.
    fn span(&self, key: &str) -> Span {
        match self.config.keys().position(|known| known == key) {
            Some(at) => Span { line: at + 1, column: 1, width: key.chars().count() },
            None => Span::default(),
        }
    }

    fn push(&mut self, problem: Diagnostic) {
        self.problems.push(problem);
    }

    fn at(&self, key: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(&self.file, self.span(key), message)
    }

    fn problem(&mut self, key: &str, message: impl Into<String>) {
        let problem = self.at(key, message);
        self.push(problem);
    }

    /// A key of ours; references are filled in.
    fn text(&mut self, key: &str) -> Option<String> {
        self.taken.insert(key.to_owned());
        let raw = self.config.get(key)?;
        self.resolved(key, raw).map(|(text, _)| text)
    }

    fn resolved(&mut self, key: &str, raw: &str) -> Option<(String, bool)> {
        match resolve(raw, &self.folder, self.env) {
            Ok(resolved) => {
                if resolved.referenced {
                    self.referenced.push(Referenced {
                        key: key.to_owned(),
                        raw: raw.to_owned(),
                        text: resolved.text.clone(),
                        values: resolved.values,
                    });
                }
                Some((resolved.text, resolved.referenced))
            }
            Err(error) => {
                let problem = self.at(key, error.message).suggest(error.suggestion).help(error.help);
                self.push(problem);
                None
            }
        }
    }

    fn list(&mut self, key: &str) -> Vec<String> {
        let Some(text) = self.text(key) else { return Vec::new() };
        if let Ok(list) = serde_json::from_str::<Vec<String>>(&text) {
            return list;
        }
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    fn number(&mut self, key: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let text = self.text(key)?;
        let number = text.trim().parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            let problem = self.at(key, format!("`{key}` is no such number")).expected(expected);
            self.push(problem);
        }
        number
    }

    fn millis(&mut self, key: &str) -> Option<Duration> {
        let millis = self.number(key, 0..=i64::MAX)?;
        Some(Duration::from_millis(millis.unsigned_abs()))
    }

    /// Keys that are known so that configurations of Kafka Connect can be taken as they are, as long as they say what holds anyway.
    fn compatible(&mut self) {
        for key in FRAMEWORK.iter().filter(|key| !key.only.is_empty()) {
            let Some(text) = self.text(key.name) else { continue };
            if !key.only.contains(&text.as_str()) {
                let problem = self.at(key.name, format!("`{}` can't be chosen yet", key.name));
                self.push(
                    problem.expected(crate::spec::read::one_of(key.only)).help("docs/NOT_SUPPORTED.md"),
                );
            }
        }
    }

    /// `place`: the key that a missing one is told of.
    fn component(&mut self, key: &str, place: &str, missing: &str) -> Option<ComponentRef> {
        let Some(text) = self.text(key).filter(|text| !text.is_empty()) else {
            if self.config.get(key).is_none_or(String::is_empty) {
                let place = if self.config.contains_key(key) { key } else { place };
                self.problem(place, missing);
            }
            return None;
        };
        let found = component(&text, &self.folder);
        if found.is_none() {
            let problem = self.at(key, "no connector has such a name");
            self.push(problem.expected("a bundled name, or the path of a `.wasm` file"));
        }
        found
    }

    fn topic(&mut self, role: Role) -> TopicSpec {
        let (key, other) = match role {
            Role::Sink => (keys::TOPICS, keys::TOPIC),
            _ => (keys::TOPIC, keys::TOPICS),
        };
        if self.config.contains_key(other) {
            let problem =
                self.at(other, format!("`{other}` is not for a {role}")).expected(format!("`{key}`"));
            self.push(problem);
        }
        let mut spec = TopicSpec { span: self.span(key), ..TopicSpec::default() };
        match self.text(key).filter(|text| !text.is_empty()) {
            None => self.problem(key, format!("a {role} needs `{key}`")),
            Some(text) if text.contains(',') => {
                let problem = self.at(key, "a sink reads one topic");
                self.push(problem.help("make a connector for each"));
            }
            Some(text) => match names::topic(&text) {
                Ok(()) => spec.name = text,
                Err(why) => self.problem(key, why),
            },
        }
        let creation: Vec<String> =
            self.config.keys().filter(|key| key.starts_with(keys::TOPIC_CREATION)).cloned().collect();
        for key in creation {
            match &key[keys::TOPIC_CREATION.len()..] {
                "partitions" => {
                    spec.partitions =
                        self.number(&key, -1..=10_000).filter(|n| *n > 0).and_then(|n| n.try_into().ok());
                }
                "replication.factor" => {
                    let factor = self.number(&key, -1..=i64::from(i16::MAX));
                    spec.replication_factor = factor.filter(|n| *n > 0).and_then(|n| n.try_into().ok());
                }
                property => {
                    if let Some(value) = self.text(&key) {
                        spec.config.insert(property.to_owned(), value);
                    }
                }
            }
        }
        spec
    }

    fn errors(&mut self) -> ErrorPlan {
        let mut plan = ErrorPlan::default();
        match self.text(keys::ERRORS_TOLERANCE).as_deref() {
            None | Some("none") => {}
            Some("all") => plan.tolerance = Tolerance::All,
            Some(_) => {
                let problem =
                    self.at(keys::ERRORS_TOLERANCE, "no such tolerance").expected("one of none, all");
                self.push(problem);
            }
        }
        if let Some(topic) = self.text(keys::DEAD_LETTER_TOPIC).filter(|topic| !topic.is_empty()) {
            match names::topic(&topic) {
                Ok(()) => plan.dead_letter_topic = Some(topic),
                Err(why) => self.problem(keys::DEAD_LETTER_TOPIC, why),
            }
            if plan.tolerance == Tolerance::None {
                let message = "a dead letter topic with tolerance `none` would stay empty";
                let problem =
                    self.at(keys::DEAD_LETTER_TOPIC, message).help("add `errors.tolerance` = `all`");
                self.push(problem);
            }
        }
        plan.retry_timeout = self.millis(keys::ERRORS_RETRY_TIMEOUT).unwrap_or(plan.retry_timeout);
        plan.retry_delay_max = self.millis(keys::ERRORS_RETRY_DELAY).unwrap_or(plan.retry_delay_max);
        plan
    }

    fn files(&mut self, prefix: &str) -> Vec<FolderGrant> {
        let mut grants = Vec::new();
        for (key, access) in [(keys::FILES_READ, Access::Read), (keys::FILES_WRITE, Access::Write)] {
            for guest in self.list(&format!("{prefix}{key}")) {
                grants.push(FolderGrant { host: clean(&self.folder.join(&guest)), guest, access });
            }
        }
        grants
    }

    fn limits(&mut self, prefix: &str) -> Limits {
        let mut limits = Limits::default();
        let key = format!("{prefix}{}", keys::LIMITS_MEMORY);
        if let Some(text) = self.text(&key) {
            match units::size(&text).filter(|size| (MEMORY_BYTES_MIN..=MEMORY_BYTES_MAX).contains(size)) {
                Some(size) => limits.memory_bytes_max = size,
                None => {
                    let problem = self.at(&key, "no such size").expected("a size from 1MiB to 4GiB");
                    self.push(problem);
                }
            }
        }
        let key = format!("{prefix}{}", keys::LIMITS_CALL_TIMEOUT);
        if let Some(text) = self.text(&key) {
            match units::duration(&text).filter(|timeout| !timeout.is_zero()) {
                Some(timeout) => limits.call_timeout = timeout,
                None => {
                    let problem = self.at(&key, "no such duration").expected(units::DURATION_SHAPE);
                    self.push(problem);
                }
            }
        }
        limits
    }

    fn transforms(&mut self) -> Vec<TransformSpec> {
        let aliases = aliases(self.config);
        let mut seen = BTreeSet::new();
        let mut specs = Vec::new();
        for alias in aliases {
            if !seen.insert(alias) {
                self.problem(keys::TRANSFORMS, format!("transform `{alias}` is there twice"));
                continue;
            }
            let prefix = transform_key(alias, "");
            let key = transform_key(alias, TRANSFORM_TYPE);
            let component =
                self.component(&key, keys::TRANSFORMS, &format!("transform `{alias}` has no `type`"));
            let (files, limits) = (self.files(&prefix), self.limits(&prefix));
            let config = self.config;
            let own: BTreeMap<&str, &str> = config
                .iter()
                .filter_map(|(key, text)| Some((key.strip_prefix(prefix.as_str())?, text.as_str())))
                .filter(|(key, _)| !TRANSFORM_KEYS.contains(key))
                .collect();
            self.taken.extend(own.keys().map(|key| format!("{prefix}{key}")));
            let settings = self.settings(&prefix, component.as_ref(), &own);
            let span =
                if self.config.contains_key(&key) { self.span(&key) } else { self.span(keys::TRANSFORMS) };
            let predicate = self.predicate(alias);
            specs.push(TransformSpec { span, component, settings, files, limits, predicate });
        }
        let stray = self.config.keys().find(|key| {
            let alias =
                key.strip_prefix("transforms.").and_then(|key| key.split_once('.')).map(|(alias, _)| alias);
            alias.is_some_and(|alias| !seen.contains(alias))
        });
        if let Some(stray) = stray.cloned() {
            let alias = stray.split('.').nth(1).unwrap_or_default();
            let problem = self
                .at(&stray, format!("`{alias}` is not among `transforms`"))
                .suggest(nearest(alias, seen.iter().copied()));
            self.push(problem);
            self.taken.insert(stray);
        }
        self.stray_predicates();
        specs
    }

    /// A component's own settings, references filled in.
    fn settings(
        &mut self,
        prefix: &str,
        component: Option<&ComponentRef>,
        own: &BTreeMap<&str, &str>,
    ) -> Settings {
        let described = component.and_then(|component| self.catalog.descriptions.get(component));
        let schema = described.and_then(|described| described.as_ref().ok()).map(|d| &d.config_schema);
        let (raw, pointers) = match unflatten(own, schema.unwrap_or(&Value::Null)) {
            Ok(read) => read,
            Err(key) => {
                self.problem(&format!("{prefix}{key}"), "this is a mapping and a value at once");
                return Settings::default();
            }
        };
        let mut settings = Settings::default();
        for (pointer, key) in pointers {
            let span = self.span(&format!("{prefix}{key}"));
            settings.places.insert(pointer, Place { key: span, value: span });
        }
        for (name, value) in &raw {
            let pointer = pointer_join("", name);
            let value = self.fill(value, &pointer, &mut settings);
            settings.value.insert(name.clone(), value);
        }
        settings.raw = raw;
        settings
    }

    /// A value with its references filled in. Recursive, but no deeper than a parsed JSON text.
    fn fill(&mut self, value: &Value, pointer: &str, settings: &mut Settings) -> Value {
        match value {
            Value::String(text) => {
                let line = settings.place(pointer).map_or(0, |place| place.key.line);
                let key = self.config.keys().nth(line.saturating_sub(1)).cloned().unwrap_or_default();
                match self.resolved(&key, text) {
                    Some((text, referenced)) => {
                        if referenced {
                            settings.referenced.insert(pointer.to_owned());
                        }
                        Value::String(text)
                    }
                    None => {
                        settings.unresolved.insert(pointer.to_owned());
                        Value::Null
                    }
                }
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                Value::Array(
                    items.map(|(at, item)| self.fill(item, &format!("{pointer}/{at}"), settings)).collect(),
                )
            }
            Value::Object(map) => {
                let filled = map.iter().map(|(name, value)| {
                    (name.clone(), self.fill(value, &pointer_join(pointer, name), settings))
                });
                Value::Object(filled.collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }
}
