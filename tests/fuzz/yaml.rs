//! Arbitrary text as a pipeline file: a deployment or diagnostics that point into the text, never a panic.

#![no_main]

use std::io;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use millrace_connect_runtime::spec::{self, Environment, SourceFile};

/// Nothing but the text can be read.
struct Nothing;

impl Environment for Nothing {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "somewhere".to_owned())
    }

    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn is_file(&self, _: &Path) -> bool {
        false
    }
}

fuzz_target!(|text: &str| {
    let file = SourceFile::new("pipeline.yaml", text);
    if let Err(diagnostics) = spec::parse(&file, &Nothing) {
        assert!(!diagnostics.is_empty(), "refused without a reason");
        for diagnostic in diagnostics {
            assert!(!diagnostic.to_string().is_empty(), "a diagnostic without words");
        }
    }
});
