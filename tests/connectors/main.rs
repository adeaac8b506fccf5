//! The bundled connectors as their users have them: compiled components in the sandbox, over real folders.
//!
//! Their logic is tested natively, beside the code. Here is what only the sandbox can show: that paths work as they are written
//! and granted, and that what the sink asks of WASI (truncate, rename, sync of files and folders) is there.

mod sandbox;
mod sink;
mod source;

use millrace_connect_runtime::component::Kind;
use millrace_connect_runtime::plan::ComponentRef;

use crate::sandbox::host;

#[tokio::test]
async fn each_bundled_connector_describes_itself() {
    let kinds = [
        ("file-sink", Kind::Sink),
        ("file-source", Kind::Source),
        ("http-sink", Kind::Sink),
        ("http-source", Kind::Source),
        ("iceberg-sink", Kind::Sink),
        ("postgres-sink", Kind::Sink),
        ("postgres-source", Kind::Source),
        ("s3-sink", Kind::Sink),
        ("s3-source", Kind::Source),
        ("webhook-source", Kind::Source),
    ];
    let bundled = millrace_connectors::bundled().iter().map(|connector| connector.name);
    let kind =
        |name| kinds.iter().find(|(known, _)| *known == name).map_or(Kind::Transform, |(_, kind)| *kind);
    for (name, kind) in bundled.map(|name| (name, kind(name))) {
        let component = host().load(&ComponentRef::Bundled(name.to_owned())).await.expect("loads");
        assert_eq!(component.kind(), kind, "{name}");
        assert_eq!(component.describe().name, name);
        let schema: serde_json::Value =
            serde_json::from_str(&component.describe().config_schema).expect("a schema is JSON");
        assert_eq!(schema["additionalProperties"], false, "{name} takes unknown settings");
        for (setting, about) in schema["properties"].as_object().expect("settings") {
            assert!(about["description"].is_string(), "{name}: {setting} is not described");
        }
    }
}
