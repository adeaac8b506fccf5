//! Compiles the bundled connectors for the sandbox.

use millrace_component_build::{Component, build};

/// Name in pipelines and cargo package.
const CONNECTORS: [Component; 28] = [
    transform("cast"),
    transform("drop"),
    transform("drop-headers"),
    transform("extract-field"),
    Component { name: "file-sink", package: "millrace-connector-file-sink" },
    Component { name: "file-source", package: "millrace-connector-file-source" },
    transform("filter"),
    transform("flatten"),
    transform("header-from"),
    transform("hoist-field"),
    Component { name: "http-sink", package: "millrace-connector-http-sink" },
    Component { name: "http-source", package: "millrace-connector-http-source" },
    Component { name: "iceberg-sink", package: "millrace-connector-iceberg-sink" },
    transform("insert-field"),
    transform("insert-header"),
    Component { name: "jq", package: "millrace-connector-jq" },
    transform("mask"),
    Component { name: "postgres-sink", package: "millrace-connector-postgres-sink" },
    Component { name: "postgres-source", package: "millrace-connector-postgres-source" },
    transform("regex-router"),
    transform("rename"),
    transform("replace-field"),
    Component { name: "s3-sink", package: "millrace-connector-s3-sink" },
    Component { name: "s3-source", package: "millrace-connector-s3-source" },
    transform("timestamp-converter"),
    transform("timestamp-router"),
    transform("value-to-key"),
    Component { name: "webhook-source", package: "millrace-connector-webhook-source" },
];

/// One of the small transforms, which share a component.
const fn transform(name: &'static str) -> Component {
    Component { name, package: "millrace-connector-transforms" }
}

/// What they are made of.
const WATCH: [&str; 3] = ["connectors", "sdk", "wit"];

fn main() {
    if let Err(error) = build(&CONNECTORS, &WATCH) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
