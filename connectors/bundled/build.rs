//! Compiles the bundled connectors for the sandbox.

use millrace_component_build::{Component, build};

/// Name in pipelines and cargo package.
const CONNECTORS: [Component; 5] = [
    Component { name: "file-sink", package: "millrace-connector-file-sink" },
    Component { name: "file-source", package: "millrace-connector-file-source" },
    Component { name: "filter", package: "millrace-connector-filter" },
    Component { name: "mask", package: "millrace-connector-mask" },
    Component { name: "rename", package: "millrace-connector-rename" },
];

/// What they are made of.
const WATCH: [&str; 3] = ["connectors", "sdk", "wit"];

fn main() {
    if let Err(error) = build(&CONNECTORS, &WATCH) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
