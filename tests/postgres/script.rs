//! Runs scripts of database calls in the sandbox.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millrace_connect_runtime::capability::control::Stopping;
use millrace_connect_runtime::capability::metrics::GuestMetrics;
use millrace_connect_runtime::component::{
    Component, ComponentHost, Environment, HostConfig, Label, TaskContext,
};
use millrace_connect_runtime::connection::Connections;
use millrace_connect_runtime::plan::{ComponentRef, Grants, Limits};
use millrace_connect_runtime::spec::{ProcessEnvironment, load_connections};
use serde_json::{Value, json};

/// The script's component, compiled once.
fn component() -> (tokio::runtime::Runtime, Arc<Component>) {
    static COMPILED: OnceLock<(tempfile::TempDir, PathBuf, ComponentHost)> = OnceLock::new();
    let (_, path, host) = COMPILED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("sql_script.wasm");
        std::fs::write(&path, millrace_test_components::sql_script()).expect("the component can be written");
        (folder, path, ComponentHost::new(HostConfig::default()).expect("the engine starts"))
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let component = runtime.block_on(host.load(&ComponentRef::Path(path.clone()))).expect("loads");
    (runtime, component)
}

/// A connection `db` with these settings.
pub(crate) fn connections(connection: &Value) -> Connections {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("connections.yaml");
    let text = json!({ "version": 1, "connections": { "db": { "postgres": connection } } });
    std::fs::write(&file, text.to_string()).expect("a file can be written");
    let connections = load_connections(&file, &ProcessEnvironment);
    connections.unwrap_or_else(|problems| panic!("{connection}: {problems:?}"))
}

/// Does the steps over a connection `db` with these settings; what came of each.
pub(crate) fn run(connection: &Value, steps: &Value) -> Vec<Value> {
    let (runtime, component) = component();
    let connections = connections(connection);
    let environment = Environment {
        label: Label { connector: "script".into(), task: 0 },
        grants: Grants { connections, ..Grants::default() },
        limits: Limits::default(),
        stopping: Stopping::never(),
        metrics: GuestMetrics::default(),
    };
    runtime.block_on(async {
        let mut source = component.source(environment).await.expect("starts");
        let task = TaskContext {
            connector_name: "script".to_owned(),
            task: 0,
            tasks: 1,
            config: json!({ "steps": steps }).to_string(),
            key_format: "utf8".to_owned(),
            value_format: "json".to_owned(),
            generation: 1,
        };
        source.open(&task, &[]).await.expect("opens");
        let polled = source.poll(1000, 1 << 20, Duration::ZERO).await.expect("polls");
        let values = polled.batch.iter();
        values.map(|record| serde_json::from_slice(record.value.unwrap_or_default()).expect("JSON")).collect()
    })
}

/// The same for steps that all go well; what they gave.
pub(crate) fn succeed(connection: &Value, steps: &Value) -> Vec<Value> {
    let came = run(connection, steps);
    let given = came.into_iter().enumerate();
    given
        .map(|(at, mut one)| {
            assert!(one.get("ok").is_some(), "{}: {one}", steps[at]);
            one["ok"].take()
        })
        .collect()
}

/// What is wrong, where one step went wrong: its words.
pub(crate) fn fault(one: &Value) -> &str {
    one["session"]
        .as_str()
        .or_else(|| one["statement"].as_str())
        .unwrap_or_else(|| panic!("it went well: {one}"))
}
