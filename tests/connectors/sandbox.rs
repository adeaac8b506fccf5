//! A host with the bundled connectors, and a folder for each test.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use millrace_connect_runtime::capability::control::Stopping;
use millrace_connect_runtime::capability::metrics::GuestMetrics;
use millrace_connect_runtime::component::{
    BundledComponent, Component, ComponentHost, Environment, HostConfig, Label, TaskContext,
};
use millrace_connect_runtime::plan::{Access, ComponentRef, FolderGrant, Grants, Limits};
use serde_json::Value;
use tempfile::TempDir;

/// One host for all tests, so that each component is compiled once.
pub(crate) fn host() -> &'static ComponentHost {
    static HOST: OnceLock<ComponentHost> = OnceLock::new();
    HOST.get_or_init(|| {
        let bundled = millrace_connectors::bundled();
        let bundled = bundled.iter().map(|b| BundledComponent { name: b.name, wasm: b.wasm }).collect();
        ComponentHost::new(HostConfig { bundled, ..HostConfig::default() }).expect("the engine starts")
    })
}

/// One connector with a folder of its own, which it sees as `guest`.
pub(crate) struct Sandbox {
    pub(crate) component: Arc<Component>,
    pub(crate) dir: TempDir,
    guest: &'static str,
    access: Access,
    settings: Value,
    generation: u64,
}

impl Sandbox {
    pub(crate) async fn new(name: &str, guest: &'static str, access: Access, settings: Value) -> Self {
        let component = host().load(&ComponentRef::Bundled(name.to_owned())).await.expect("loads");
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self { component, dir, guest, access, settings, generation: 0 }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    pub(crate) fn environment(&self) -> Environment {
        let host = self.dir.path().to_owned();
        Environment {
            label: Label { connector: "test".into(), task: 0 },
            grants: Grants {
                files: vec![FolderGrant { host, guest: self.guest.to_owned(), access: self.access }],
                ..Grants::default()
            },
            limits: Limits::default(),
            stopping: Stopping::never(),
            metrics: GuestMetrics::default(),
        }
    }

    /// What the next start of the task is told.
    pub(crate) fn next_task(&mut self) -> TaskContext {
        self.generation += 1;
        TaskContext {
            connector_name: "test".to_owned(),
            task: 0,
            tasks: 1,
            config: self.settings.to_string(),
            key_format: "utf8".to_owned(),
            value_format: "json".to_owned(),
            generation: self.generation,
        }
    }
}
