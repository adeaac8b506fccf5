//! Compiles the components of the folders beside this file for the sandbox.

use millrace_component_build::{Component, build};

const COMPONENTS: [Component; 7] = [
    Component { name: "hostile-sink", package: "millrace-test-hostile-sink" },
    Component { name: "hostile-source", package: "millrace-test-hostile-source" },
    Component { name: "hostile-transform", package: "millrace-test-hostile-transform" },
    Component { name: "schema-script", package: "millrace-test-schema-script" },
    Component { name: "sql-script", package: "millrace-test-sql-script" },
    Component { name: "typed-sink", package: "millrace-test-typed-sink" },
    Component { name: "typed-source", package: "millrace-test-typed-source" },
];

fn main() {
    if let Err(error) = build(&COMPONENTS, &["tests/components", "sdk", "wit"]) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
