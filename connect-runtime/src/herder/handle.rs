//! Asks things of a running herder. Cheap to clone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;

use super::configs::Wanted;
use super::offsets::{self, OffsetsError};
use super::ownership::TaskId;
use super::prepare::{self, Env};
use super::record::{Status, TargetState};
use super::request::{Refusal, Request};
use super::service::Reader;
use super::writer::{ConfigWriter, StatusQueue};
use crate::component::{Component, ComponentHost, Kind};
use crate::plan::{Build, Builds, Catalog, ComponentRef};
use crate::spec::flat::{self, ConnectorConfig};
use crate::worker::Shared;

/// How long a change may take until this worker has read it back (as in Kafka Connect).
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);

pub use super::prepare::Problems;

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The topics were not read yet.
    #[error("the worker is starting: it has not read the topics of its state yet; ask again soon")]
    Starting,
    /// What is there could not be read.
    #[error("what is there could not be read: {0}")]
    Read(#[source] millrace_client::Error),
    /// It was not written.
    #[error("it could not be written: {0}")]
    Write(#[source] millrace_client::Error),
    /// What is asked for is wrong.
    #[error("the configuration is wrong: {}", prepare::in_one(.0))]
    Invalid(Problems),
    /// Nobody knows whether it was written.
    #[error("not done within {REQUEST_TIMEOUT:?}; it may still be")]
    Timeout,
}

/// A connector with what is known of it.
#[derive(Clone, Debug)]
pub struct ConnectorView {
    /// Its name.
    pub name: String,
    /// As it is wanted.
    pub wanted: Wanted,
    /// How it is; none: nobody has spoken of it yet.
    pub status: Option<Status>,
    /// How each of its tasks is.
    pub tasks: Vec<Option<Status>>,
}

/// See the module's head.
#[derive(Clone)]
pub struct HerderHandle {
    reader: Reader,
    writer: ConfigWriter,
    statuses: Arc<StatusQueue>,
    shared: Arc<Shared>,
    env: Env,
    /// One change at a time, so that each is checked against what the last one left.
    changing: Arc<Mutex<()>>,
}

impl HerderHandle {
    pub(super) fn new(
        reader: Reader,
        writer: ConfigWriter,
        statuses: Arc<StatusQueue>,
        shared: Arc<Shared>,
        env: Env,
    ) -> Self {
        Self { reader, writer, statuses, shared, env, changing: Arc::default() }
    }

    /// Whether the topics were read.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reader.applied.borrow().is_loaded
    }

    /// Waits until they were.
    pub async fn ready(&self) {
        // An error means that the worker ends.
        let _ = self.reader.applied.clone().wait_for(|applied| applied.is_loaded).await;
    }

    /// The component host that this worker's tasks run in.
    #[must_use]
    pub fn host(&self) -> &ComponentHost {
        &self.shared.host
    }

    /// `host:port` of this worker.
    #[must_use]
    pub fn worker_id(&self) -> String {
        self.reader.herder.lock().worker_id.clone()
    }

    /// The cluster's id.
    ///
    /// # Errors
    /// When no broker answers.
    pub async fn cluster_id(&self) -> Result<String, millrace_client::Error> {
        Ok(millrace_client::Admin::new(&self.shared.client).describe_cluster().await?.id)
    }

    /// Makes a change, and comes back when this worker has read it back.
    ///
    /// # Errors
    /// When it can't be made, or may not have been.
    pub async fn request(&self, request: Request) -> Result<(), Error> {
        self.change(async {
            let _one = self.changing.lock().await;
            self.write(request).await
        })
        .await
    }

    /// Makes or changes a connector: `change` is given its configuration as the change before left it, again if that is another one by the time
    /// that its components have looked at what it says: they may take their time, and hold up nobody else's change. Comes back when this worker has read
    /// it back.
    ///
    /// # Errors
    /// When it can't be made, is wrong, or may not have been made.
    pub async fn configure(
        &self,
        name: &str,
        change: impl Fn(Option<&ConnectorConfig>) -> Result<Request, Refusal> + Send + Sync,
    ) -> Result<(), Error> {
        self.change(async {
            let mut looked_at: Option<LookedAt> = None;
            loop {
                let one = self.changing.lock().await;
                // Also what other workers were asked.
                self.reader.read_to_end().await.map_err(Error::Read)?;
                let now = self.connector(name).map(|view| view.wanted.config);
                let request = change(now.as_deref())?;
                let config = match &request {
                    Request::Create { config, .. } | Request::Put { config, .. } => config.clone(),
                    _ => return self.write(request).await,
                };
                let known = looked_at.take().filter(|known| known.config == config);
                if let Some(collisions) = known.as_ref().and_then(|known| self.collisions(name, known)) {
                    valid(collisions)?;
                    return self.write(request).await;
                }
                drop(one);
                let mut known = match known {
                    Some(known) => known,
                    None => {
                        let (catalog, problems) = self.look_at(name, &config).await;
                        valid(problems)?;
                        LookedAt::new(config, &catalog)
                    }
                };
                self.look_at_others(name, &mut known).await;
                looked_at = Some(known);
            }
        })
        .await
    }

    /// Lets a change take its time, but not any.
    async fn change(&self, change: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        if !self.is_ready() {
            return Err(Error::Starting);
        }
        tokio::time::timeout(REQUEST_TIMEOUT, change).await.unwrap_or(Err(Error::Timeout))
    }

    async fn write(&self, request: Request) -> Result<(), Error> {
        let records = self.reader.herder.lock().records(request)?;
        let last = self.writer.write(records).await.map_err(Error::Write)?;
        self.reader.read_to(last + 1).await;
        Ok(())
    }

    /// Forgets which topics a connector used.
    pub fn forget_topics(&self, name: &str) {
        let records = self.reader.herder.lock().forget_topics(name);
        records.iter().for_each(|record| self.statuses.push(record));
    }

    /// Every connector.
    #[must_use]
    pub fn connectors(&self) -> Vec<ConnectorView> {
        let names: Vec<String> =
            self.reader.herder.lock().configs.iter().map(|(name, _)| name.clone()).collect();
        names.iter().filter_map(|name| self.connector(name)).collect()
    }

    /// One connector.
    #[must_use]
    pub fn connector(&self, name: &str) -> Option<ConnectorView> {
        let herder = self.reader.herder.lock();
        let wanted = herder.configs.get(name)?.clone();
        let task = |task| herder.statuses.task(&TaskId { connector: name.to_owned(), task }).cloned();
        let tasks = (0..wanted.task_count()).map(task).collect();
        let status = herder.statuses.connector(name).cloned();
        Some(ConnectorView { name: name.to_owned(), wanted, status, tasks })
    }

    /// The topics that a connector used.
    #[must_use]
    pub fn topics(&self, name: &str) -> Vec<String> {
        let herder = self.reader.herder.lock();
        let topics = herder.statuses.topics().filter(|(connector, _)| *connector == name);
        topics.map(|(_, topic)| topic.to_owned()).collect()
    }

    /// Source or sink; none: its component can't be loaded.
    pub async fn kind(&self, wanted: &Wanted) -> Option<Kind> {
        self.component(wanted).await.map(|component| component.kind())
    }

    /// The component that a connector runs, if it can be loaded.
    pub async fn component(&self, wanted: &Wanted) -> Option<Arc<Component>> {
        self.load(wanted).await.ok()
    }

    async fn load(&self, wanted: &Wanted) -> Result<Arc<Component>, String> {
        let config = &wanted.config;
        let unnamed = || format!("it has no {}", flat::CONNECTOR_CLASS);
        let class = config.get(flat::CONNECTOR_CLASS).ok_or_else(unnamed)?;
        let only = ConnectorConfig::from([(flat::CONNECTOR_CLASS.to_owned(), class.clone())]);
        let base = config.get("base.folder").map(|base| ("base.folder".to_owned(), base.clone()));
        let components = flat::components(&only.into_iter().chain(base).collect());
        let component = components.into_iter().next().ok_or_else(unnamed)?;
        let as_chosen = wanted.builds().map(|builds| component.pinned(builds));
        let loaded = self.host().load(as_chosen.as_ref().unwrap_or(&component)).await;
        loaded.map_err(|error| error.to_string())
    }

    /// Components of a connector whose files are others by now than what it runs, as this worker sees them.
    pub async fn replaced(&self, wanted: &Wanted) -> Builds {
        let mut replaced = Builds::new();
        let running = wanted.builds().into_iter().flatten();
        for (name, build) in running.filter(|(name, _)| name.contains('/')) {
            let path = PathBuf::from(name);
            let Ok(digest) = self.host().digest(&path).await else { continue };
            if digest != build.digest {
                // It need not be a component at all.
                let loaded = self.host().load(&ComponentRef::Path(path)).await;
                let version = loaded.map(|loaded| loaded.describe().version.clone()).unwrap_or_default();
                replaced.insert(name.clone(), Build { version, digest });
            }
        }
        replaced
    }

    /// What is known of the components that a map names, and everything that is wrong with it.
    pub async fn check(&self, name: &str, config: &ConnectorConfig) -> (Catalog, Problems) {
        let (catalog, mut problems) = self.look_at(name, config).await;
        let mut known = LookedAt::new(config.clone(), &catalog);
        self.look_at_others(name, &mut known).await;
        for (key, found) in self.collisions(name, &known).into_iter().flatten() {
            problems.entry(key).or_default().extend(found);
        }
        (catalog, problems)
    }

    /// The same for a map on its own.
    async fn look_at(&self, name: &str, config: &ConnectorConfig) -> (Catalog, Problems) {
        let catalog = prepare::catalog(self.host(), config, &Builds::new()).await;
        let checked = prepare::prepare(name, config, &catalog, &self.env, Some(self.host())).await;
        (catalog, checked.err().unwrap_or_default())
    }

    /// Looks where other connectors write, as far as that is not known yet.
    async fn look_at_others(&self, name: &str, known: &mut LookedAt) {
        let mut others = self.others(name, known);
        others.retain(|other| !known.is_current(other));
        // Each component once: one of many connectors may take its time to say what it is.
        let components: BTreeSet<ComponentRef> =
            others.iter().flat_map(|other| flat::components(&other.wanted.config)).collect();
        let catalog = self.describe(&Vec::from_iter(components)).await;
        for other in others {
            let written = flat::written(&other.wanted.config, &catalog);
            let paths = written.into_iter().map(|(_, path)| path).collect();
            known.others.insert(other.name, (other.wanted.version, paths));
        }
    }

    /// Paths that it would write to beside another connector; none: of some it has to be looked where they write.
    fn collisions(&self, name: &str, known: &LookedAt) -> Option<Problems> {
        let mut problems = Problems::new();
        for other in self.others(name, known) {
            if !known.is_current(&other) {
                return None;
            }
            let (_, theirs) = known.others.get(&other.name)?;
            for (key, _) in known.written.iter().filter(|(_, path)| theirs.contains(path)) {
                let problem = format!("connector {} writes to the same path; give each its own", other.name);
                problems.entry(key.clone()).or_default().push(problem);
            }
        }
        Some(problems)
    }

    /// Connectors that it may get in the way of.
    fn others(&self, name: &str, known: &LookedAt) -> Vec<ConnectorView> {
        if known.written.is_empty() {
            return Vec::new();
        }
        self.connectors().into_iter().filter(|other| other.name != name).collect()
    }

    /// What is known of some components.
    pub async fn describe(&self, components: &[ComponentRef]) -> Catalog {
        Catalog::load(self.host(), components).await
    }

    /// A connector's positions in the shape of Kafka Connect: pairs of partition and offset.
    ///
    /// # Errors
    /// When it is not there, or the cluster can't be read.
    pub async fn offsets(&self, name: &str) -> Result<Vec<(Value, Value)>, OffsetsError> {
        let view = self.connector(name).ok_or_else(|| Refusal::NoConnector(name.to_owned()))?;
        let kind = self.known_kind(name, &view.wanted).await?;
        offsets::read(&self.shared, name, kind).await
    }

    /// What its positions look like.
    async fn known_kind(&self, name: &str, wanted: &Wanted) -> Result<Kind, OffsetsError> {
        let unknown = |reason| OffsetsError::Unknown { connector: name.to_owned(), reason };
        match self.load(wanted).await.map_err(unknown)?.kind() {
            Kind::Transform => Err(unknown("it is a transform".to_owned())),
            kind => Ok(kind),
        }
    }

    /// Changes some positions of a stopped connector; none of `changes`: forgets them all.
    ///
    /// # Errors
    /// When it is not stopped, when a position has the wrong shape, or the cluster refuses.
    pub async fn alter_offsets(
        &self,
        name: &str,
        changes: Option<Vec<(Value, Value)>>,
    ) -> Result<(), OffsetsError> {
        if !self.is_ready() {
            return Err(OffsetsError::Starting);
        }
        let change = self.alter_stopped(name, changes);
        tokio::time::timeout(REQUEST_TIMEOUT, change).await.unwrap_or(Err(OffsetsError::Timeout))
    }

    async fn alter_stopped(
        &self,
        name: &str,
        changes: Option<Vec<(Value, Value)>>,
    ) -> Result<(), OffsetsError> {
        let stopped = || -> Result<Wanted, OffsetsError> {
            let herder = self.reader.herder.lock();
            let wanted = herder.configs.get(name).ok_or_else(|| Refusal::NoConnector(name.to_owned()))?;
            match wanted.target {
                TargetState::Stopped => Ok(wanted.clone()),
                _ => Err(OffsetsError::NotStopped(name.to_owned())),
            }
        };
        self.reader.read_to_end().await?;
        let (kind, wanted, _one) = loop {
            // Before its turn: a component that takes its time holds up nobody else's change.
            let before = stopped()?;
            let kind = self.known_kind(name, &before).await?;
            let one = self.changing.lock().await;
            // As of now: what was read so far may be from before somebody resumed it.
            self.reader.read_to_end().await?;
            let wanted = stopped()?;
            if wanted.version == before.version {
                break (kind, wanted, one);
            }
        };
        let ids = self.reader.herder.lock().configs.ids_to_fence(name, 1);
        let change = offsets::Change::begin(&self.shared, name, kind, ids, changes).await?;
        // Whoever resumes it from here on takes its transactional ids from this change.
        self.reader.read_to_end().await?;
        stopped()?;
        change.write(&wanted.config).await
    }
}

/// A map that its components have looked at, and where it and other connectors write.
struct LookedAt {
    config: ConnectorConfig,
    /// Paths, by the keys that name them.
    written: Vec<(String, PathBuf)>,
    /// Of each other connector its configuration's version, and its paths.
    others: BTreeMap<String, (i64, BTreeSet<PathBuf>)>,
}

impl LookedAt {
    fn new(config: ConnectorConfig, catalog: &Catalog) -> Self {
        let written = flat::written(&config, catalog);
        Self { config, written, others: BTreeMap::new() }
    }

    fn is_current(&self, other: &ConnectorView) -> bool {
        self.others.get(&other.name).is_some_and(|(version, _)| *version == other.wanted.version)
    }
}

/// Nothing is wrong.
fn valid(problems: Problems) -> Result<(), Error> {
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

impl std::fmt::Debug for HerderHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HerderHandle").finish_non_exhaustive()
    }
}
