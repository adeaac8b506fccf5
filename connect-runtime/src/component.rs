//! The component host: loads connectors, runs them within limits, checks what they hand back.
//!
//! | file | what is in it |
//! |---|---|
//! | `engine` | settings of the engine; the ticker that keeps guests interruptible |
//! | `cache` | compiled code on disk, authenticated |
//! | `digest`, `file` | which component it is; its file |
//! | `load` | a component: what it is, what it imports, what it says about itself |
//! | `instance` | one instance: a call with its time limit, a trap put into words |
//! | `source`, `sink`, `transform` | the calls of `wit/`, one wrapper each |
//! | `batch` | flat columns, verified before use |
//! | `state` | what the host keeps beside an instance; the memory limit |
//! | `refusal` | what a guest is told that asked in vain |
//! | `usage` | memory and time of an instance, counted |
//! | `captured` | what a guest prints, kept to explain traps |
//!
//! Invariants: one instance is one task; an instance that trapped, ran out of time or whose call was dropped is never called
//! again; nothing that a guest returns is used before it was checked.

pub mod batch;
pub(crate) mod bindings;
mod cache;
mod captured;
mod digest;
mod engine;
mod file;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod in_place;
mod instance;
mod load;
mod refusal;
mod sink;
mod source;
pub(crate) mod state;
mod transform;
pub(crate) mod usage;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Mutex, OnceCell};
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::connection::Connections;
use crate::plan::ComponentRef;

pub use bindings::exports::millrace::connect::connector::{ConfigProblem, Description};
pub use bindings::exports::millrace::connect::diagnosis::{Finding as Diagnosed, Health as DiagnosedHealth};
pub use bindings::exports::millrace::connect::sink::{Durable, PutOutcome};
pub use bindings::exports::millrace::connect::source::Flow;
pub use bindings::millrace::connect::types::{
    Checkpoint, Failure, RecordError, TaskContext, TopicOffset, TopicPartition,
};
pub use cache::Error as CacheError;
pub use digest::{Digest, NotADigest};
pub use instance::{CallError, Environment};
pub use load::{Component, Kind};
pub use sink::SinkInstance;
pub use source::{PollOutcome, SourceInstance};
pub use state::Label;
pub use transform::{ApplyOutcome, TransformInstance};

/// Largest component file that is read.
pub const COMPONENT_BYTES_MAX: u64 = 256 << 20;

/// What a host is made with.
#[derive(Clone, Debug, Default)]
pub struct HostConfig {
    /// Folder for compiled code; none: every component is compiled at every start.
    pub cache_dir: Option<PathBuf>,
    /// Components built into the binary.
    pub bundled: Vec<BundledComponent>,
    /// Connections that every pipeline may name.
    pub connections: Connections,
}

/// A component that is built into the binary.
#[derive(Clone, Copy, Debug)]
pub struct BundledComponent {
    /// Connector name, as pipelines write it.
    pub name: &'static str,
    /// The component.
    pub wasm: &'static [u8],
}

/// Why a component can't be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The engine doesn't start on this machine.
    #[error("the component engine does not start: {0}")]
    Engine(String),
    /// No bundled connector has this name.
    #[error("no connector is called {name}{}; give a bundled name or a path that ends in .wasm", nearest.as_ref().map(|n| format!(" (did you mean {n}?)")).unwrap_or_default())]
    Unknown {
        /// The name asked for.
        name: String,
        /// The bundled name nearest to it.
        nearest: Option<String>,
    },
    /// The file can't be read.
    #[error("component {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// The file is larger than [`COMPONENT_BYTES_MAX`].
    #[error("component {0}: larger than {COMPONENT_BYTES_MAX} bytes")]
    TooLarge(PathBuf),
    /// The file was replaced, and what it was is nowhere on this machine.
    #[error(
        "component {path}: the connector runs {wanted} of it, which is neither in the file any more ({}) nor in this worker's cache; put that file back, or apply the connector again, which takes the file as it is", found.as_ref().map_or_else(|error| error.clone(), |digest| format!("now {}", digest.short()))
    )]
    Replaced {
        /// The file.
        path: PathBuf,
        /// What is asked for.
        wanted: Digest,
        /// What the file is now, or why that is not known.
        found: Result<Digest, String>,
    },
    /// The bytes are no component.
    #[error("component {component}: not a WebAssembly component: {reason}")]
    Invalid {
        /// Which one.
        component: ComponentRef,
        /// What the engine said.
        reason: String,
    },
    /// It imports something that this host doesn't have.
    #[error(
        "component {component}: it imports {import}, which this runtime does not provide; see docs/CONNECTORS.md for what it does"
    )]
    Import {
        /// Which one.
        component: ComponentRef,
        /// The interface.
        import: String,
    },
    /// It exports no interface of a connector, or several.
    #[error("component {component}: {reason}")]
    World {
        /// Which one.
        component: ComponentRef,
        /// What is missing or too much.
        reason: String,
    },
    /// It trapped, or said something that can't be used, when asked what it is.
    #[error("component {component}: {reason}")]
    Describe {
        /// Which one.
        component: ComponentRef,
        /// What happened.
        reason: String,
    },
}

/// Loads components and keeps them; cheap to clone.
#[derive(Clone)]
pub struct ComponentHost(Arc<Host>);

/// A component that is loaded, or being loaded; or why it can't be, for all who waited for it.
type Slot = OnceCell<Result<Arc<Component>, Error>>;

struct Host {
    engine: Engine,
    linker: Linker<state::GuestState>,
    ticker: Arc<engine::Ticker>,
    cache: Option<cache::Cache>,
    bundled: BTreeMap<&'static str, &'static [u8]>,
    connections: Connections,
    /// Compiled code by the address of the bundled bytes, which several names may share.
    shared: parking_lot::Mutex<BTreeMap<usize, (Digest, wasmtime::component::Component)>>,
    /// By name, or by path and digest. One that takes its time to say what it is holds up nobody but who waits for it.
    loaded: parking_lot::Mutex<BTreeMap<ComponentRef, Arc<Slot>>>,
    /// Held while code is compiled, whether or not somebody still waits for it: one at a time takes memory enough.
    compiling: Arc<Mutex<()>>,
    files: file::Files,
}

impl ComponentHost {
    /// Starts a host. A cache that can't be used costs a warning, not the start.
    ///
    /// # Errors
    /// [`Error::Engine`] when the engine doesn't run on this machine.
    pub fn new(config: HostConfig) -> Result<Self, Error> {
        let failed = |error: wasmtime::Error| Error::Engine(format!("{error:#}"));
        let engine = engine::engine().map_err(failed)?;
        let mut linker = Linker::new(&engine);
        crate::capability::link(&mut linker).map_err(failed)?;
        let ticker = engine::Ticker::start(&engine).map_err(|error| Error::Engine(error.to_string()))?;
        let cache = config.cache_dir.and_then(|dir| {
            cache::Cache::open(&dir)
                .inspect_err(|error| tracing::warn!(%error, "components are compiled at every start"))
                .ok()
        });
        let bundled = config.bundled.into_iter().map(|component| (component.name, component.wasm)).collect();
        let (ticker, connections) = (Arc::new(ticker), config.connections);
        let (shared, loaded, compiling) = Default::default();
        let files = file::Files::default();
        let host =
            Host { engine, linker, ticker, cache, bundled, connections, shared, loaded, compiling, files };
        Ok(Self(Arc::new(host)))
    }

    /// Names of the bundled connectors, in order.
    pub fn bundled(&self) -> impl Iterator<Item = &'static str> {
        self.0.bundled.keys().copied()
    }

    /// Connections that every pipeline may name.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.0.connections
    }

    /// Loads a component, compiling it when no compiled code is at hand, and asks it what it is. A second call for the
    /// same component gives the same, unless its file was replaced.
    ///
    /// # Errors
    /// See [`Error`]; each names the component and the way out.
    pub async fn load(&self, component: &ComponentRef) -> Result<Arc<Component>, Error> {
        let wanted = match component {
            ComponentRef::Path(path) => ComponentRef::Build(path.clone(), self.digest(path).await?),
            known => known.clone(),
        };
        let slot = Arc::clone(self.0.loaded.lock().entry(wanted.clone()).or_default());
        let new = slot.get_or_init(|| self.begin(&wanted)).await.clone();
        drop(slot);
        self.forget_unused(&wanted);
        let new = new?;
        if let ComponentRef::Build(path, digest) = component.clone() {
            // A connector runs it.
            let host = Arc::clone(&self.0);
            blocking(move || {
                host.keep(&path, digest);
                Ok(())
            })
            .await?;
        }
        Ok(new)
    }

    async fn begin(&self, wanted: &ComponentRef) -> Result<Arc<Component>, Error> {
        let (host, asked) = (Arc::clone(&self.0), wanted.clone());
        let one = Arc::clone(&self.0.compiling).lock_owned().await;
        let compiled = blocking(move || {
            let _one = one;
            host.compile(&asked)
        });
        let (digest, compiled) = compiled.await?;
        let (linker, ticker) = (&self.0.linker, Arc::clone(&self.0.ticker));
        Ok(Arc::new(load::Component::new(wanted.clone(), digest, &compiled, linker, ticker).await?))
    }

    /// Forgets what could not be loaded, and other builds of this one's file that nobody uses any more: the cache still has them.
    fn forget_unused(&self, newest: &ComponentRef) {
        let may_forget = self.0.cache.is_some();
        let is_other = |of: &ComponentRef| of != newest && of.to_string() == newest.to_string();
        self.0.loaded.lock().retain(|of, slot| match slot.get() {
            Some(Ok(known)) => !may_forget || !is_other(of) || Arc::strong_count(known) > 1,
            Some(Err(_)) => false,
            None => Arc::strong_count(slot) > 1,
        });
    }

    /// The digest of a component's file as it is now.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn digest(&self, path: &Path) -> Result<Digest, Error> {
        let (host, path) = (Arc::clone(&self.0), path.to_owned());
        blocking(move || host.files.digest(&path)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Engine(error.to_string()))?
}

impl Host {
    fn compile(&self, component: &ComponentRef) -> Result<(Digest, wasmtime::component::Component), Error> {
        match component {
            ComponentRef::Bundled(name) => {
                let wasm = self.bundled.get(name.as_str()).copied().ok_or_else(|| self.unknown(name))?;
                let address = wasm.as_ptr() as usize;
                if let Some(known) = self.shared.lock().get(&address) {
                    return Ok(known.clone());
                }
                let digest = Digest::of(wasm);
                let compiled = self.compiled(component, digest, || Ok(wasm.into()))?;
                self.shared.lock().insert(address, (digest, compiled.clone()));
                Ok((digest, compiled))
            }
            ComponentRef::Path(path) => {
                self.compile(&ComponentRef::Build(path.clone(), self.files.digest(path)?))
            }
            ComponentRef::Build(path, digest) => {
                let wasm = || self.bytes_of(path, *digest).map(Cow::Owned);
                Ok((*digest, self.compiled(component, *digest, wasm)?))
            }
        }
    }

    /// The bytes with this digest: from the file, or as they were kept.
    fn bytes_of(&self, path: &Path, digest: Digest) -> Result<Vec<u8>, Error> {
        let found = file::read(path);
        match found {
            Ok(wasm) if Digest::of(&wasm) == digest => Ok(wasm),
            other => self.cache.as_ref().and_then(|cache| cache.kept(digest)).ok_or_else(|| {
                let found = other.map(|wasm| Digest::of(&wasm)).map_err(|error| error.to_string());
                Error::Replaced { path: path.to_owned(), wanted: digest, found }
            }),
        }
    }

    /// Keeps what a connector runs, so that it can go on, and be gone back to, when the file is replaced.
    fn keep(&self, path: &Path, digest: Digest) {
        let Some(cache) = &self.cache else { return };
        let wasm = || file::read(path).ok().filter(|wasm| Digest::of(wasm) == digest);
        if let Err(error) = cache.keep(digest, wasm) {
            tracing::warn!(%error, "a component could not be kept; should its file be replaced, there may be no way back");
        }
    }

    fn compiled<'w>(
        &self,
        component: &ComponentRef,
        digest: Digest,
        wasm: impl FnOnce() -> Result<Cow<'w, [u8]>, Error>,
    ) -> Result<wasmtime::component::Component, Error> {
        if let Some(compiled) = self.cache.as_ref().and_then(|cache| cache.load(&self.engine, digest)) {
            return Ok(compiled);
        }
        let compiled = wasmtime::component::Component::from_binary(&self.engine, &wasm()?)
            .map_err(|error| Error::Invalid { component: component.clone(), reason: format!("{error:#}") })?;
        let stored = self.cache.as_ref().map(|cache| cache.store(&self.engine, digest, &compiled));
        if let Some(Err(error)) = stored {
            tracing::warn!(%error, "compiled code could not be kept");
        }
        Ok(compiled)
    }

    fn unknown(&self, name: &str) -> Error {
        let distance = |known: &&&str| strsim::damerau_levenshtein(known, name);
        let nearest = self.bundled.keys().min_by_key(distance).filter(|known| distance(known) <= 3);
        Error::Unknown { name: name.to_owned(), nearest: nearest.map(|known| (*known).to_owned()) }
    }
}

impl std::fmt::Debug for ComponentHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ComponentHost").field("bundled", &self.0.bundled.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
