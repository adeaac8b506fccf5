//! The JSON Schema of the format, by a validator that others wrote: it takes every file that Millrace takes, and refuses those whose
//! mistake shows in the shape alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use millrace_tests::binary::repository;
use millrace_tests::tools;

use super::cases;

/// Cases whose mistake the schema has to know.
const REFUSED: [&str; 27] = [
    "broker-listen-without-port",
    "connector-missing",
    "connector-unknown",
    "duration",
    "kafka-without-bootstrap",
    "list-instead-of-mapping",
    "no-pipelines",
    "pipeline-moves-nothing",
    "pipeline-name",
    "pipelines-empty",
    "reserved-key-misplaced",
    "setting-missing",
    "setting-not-among-known",
    "setting-of-a-transform",
    "setting-unknown",
    "setting-wrong-type",
    "settings-exclude-each-other",
    "sink-called-source",
    "sinks-without-topic",
    "size",
    "tasks-out-of-range",
    "tolerance",
    "topic-name",
    "topic-partitions",
    "unknown-key-pipeline",
    "unknown-key-top",
    "version-missing",
];

/// The answer to each file.
fn validated(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut python = tools::python();
    python.arg(repository().join("tests/clients/python/schema.py"));
    python.arg(repository().join("docs/pipeline.schema.json")).args(files);
    let output = python.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout)?;
    let lines: Vec<String> = said.lines().map(str::to_owned).collect();
    ensure!(lines.len() == files.len(), "{} answers for {} files:\n{said}", lines.len(), files.len());
    Ok(lines)
}

fn yaml_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.to_string_lossy();
        // A broker's own file, and cases beside a pipeline, have other formats.
        if name.ends_with(".yaml") && !name.ends_with(".tests.yaml") && !name.ends_with("broker.yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[test]
fn whatever_is_right_fits_the_schema() -> Result<()> {
    let mut files = yaml_of(&repository().join("configs"))?;
    ensure!(files.len() >= 4, "only {files:?} in configs");
    for case in cases(|folder| folder.join("expected").is_dir() || folder.join("test.txt").is_file())? {
        files.extend(yaml_of(&case)?);
    }
    let wrong: Vec<String> = validated(&files)?.into_iter().filter(|line| !line.ends_with(": ok")).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn a_wrong_shape_does_not_fit_it() -> Result<()> {
    let folder = |name: &&str| repository().join("tests/pipelines").join(name).join("pipeline.yaml");
    let files: Vec<PathBuf> = REFUSED.iter().map(folder).collect();
    let taken: Vec<String> = validated(&files)?.into_iter().filter(|line| line.ends_with(": ok")).collect();
    ensure!(taken.is_empty(), "{}", taken.join("\n"));
    Ok(())
}

#[test]
fn every_configuration_names_the_schema_for_editors() -> Result<()> {
    for file in yaml_of(&repository().join("configs"))? {
        let text = fs::read_to_string(&file)?;
        let first = text.lines().next().unwrap_or_default();
        let named = first.strip_prefix("# yaml-language-server: $schema=").unwrap_or_default();
        ensure!(file.with_file_name(named).is_file(), "{}: {first:?} names no schema", file.display());
    }
    Ok(())
}
