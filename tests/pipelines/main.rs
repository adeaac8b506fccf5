//! Pipelines as users write them, each case a folder.
//!
//! - A folder with `error.txt`: all its `*.yaml` files go through `millrace validate`, which must print exactly that and end
//!   with exit code 2.
//! - A folder with `expected/`: `pipeline.yaml` runs twice (the second run must change nothing), then the folder `out/` must
//!   hold exactly the files of `expected/`. A name that ends in `.unordered` says that the lines may come in any order.
//! - A folder with `test.txt`: `pipeline.yaml` goes through `millrace test`, which must print exactly that; the exit code is its
//!   last line.
//!
//! `UPDATE_EXPECT=1 cargo test -p millrace-tests --test pipelines` writes what came out into the folders.

mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use millrace_tests::diff;

/// Ending of an expected file whose lines may come in any order.
const UNORDERED: &str = ".unordered";
/// Cases that the folder must at least hold: a broken listing must not pass as success.
const REFUSED_MIN: usize = 30;
const MOVED_MIN: usize = 5;
const TESTED_MIN: usize = 3;

#[test]
fn refused_pipelines_say_why() -> Result<()> {
    let cases = cases(|folder| !folder.join("expected").is_dir() && !folder.join("test.txt").is_file())?;
    ensure!(cases.len() >= REFUSED_MIN, "only {} cases were found", cases.len());
    let mut failed = Vec::new();
    for case in cases {
        let output = millrace(&case).arg("validate").args(yaml_files(&case)?).output()?;
        let said = String::from_utf8(output.stderr)?;
        let expected = case.join("error.txt");
        if updating() {
            fs::write(&expected, &said)?;
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if said != wanted || output.status.code() != Some(2) {
            failed.push(format!("{}: {}\n{}", case.display(), output.status, diff::lines(&wanted, &said)));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

#[test]
fn test_cases_hold_or_say_what_came_out() -> Result<()> {
    let cases = cases(|folder| folder.join("test.txt").is_file())?;
    ensure!(cases.len() >= TESTED_MIN, "only {} cases were found", cases.len());
    let mut failed = Vec::new();
    for case in cases {
        let output = millrace(&case).args(["test", "pipeline.yaml"]).output()?;
        let said = format!("{}exit {}\n", told(&output), output.status.code().unwrap_or(-1));
        let expected = case.join("test.txt");
        if updating() {
            fs::write(&expected, &said)?;
        }
        let wanted = fs::read_to_string(&expected)?;
        if said != wanted {
            failed.push(format!("{}\n{}", case.display(), diff::lines(&wanted, &said)));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

#[test]
fn good_pipelines_move_their_records_once() -> Result<()> {
    let cases = cases(|folder| folder.join("expected").is_dir())?;
    ensure!(cases.len() >= MOVED_MIN, "only {} cases were found", cases.len());
    let mut failed = Vec::new();
    for case in cases {
        if let Err(error) = moves(&case) {
            failed.push(format!("{}: {error:#}", case.display()));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    Ok(())
}

fn moves(case: &Path) -> Result<()> {
    let work = tempfile::tempdir()?;
    copy(case, work.path())?;
    run(work.path()).context("first run")?;
    let first = contents(&work.path().join("out"))?;
    run(work.path()).context("second run")?;
    let second = contents(&work.path().join("out"))?;
    ensure!(first == second, "a second run changed the output\n{}", difference(&first, &second));
    let expected = contents(&case.join("expected"))?;
    if updating() {
        for name in expected.keys() {
            let produced = first.get(name.trim_end_matches(UNORDERED)).cloned().unwrap_or_default();
            fs::write(case.join("expected").join(name), arranged(name, &produced))?;
        }
    }
    let expected = contents(&case.join("expected"))?;
    let mut produced = BTreeMap::new();
    for (name, text) in first {
        let unordered = format!("{name}{UNORDERED}");
        let name = if expected.contains_key(&unordered) { unordered } else { name };
        let text = arranged(&name, &text);
        produced.insert(name, text);
    }
    ensure!(produced == expected, "{}", difference(&expected, &produced));
    Ok(())
}

fn run(folder: &Path) -> Result<()> {
    let args = ["run", "pipeline.yaml", "--data-dir", "data", "--listen", "127.0.0.1:0", "--exit-when-done"];
    let output = millrace(folder).args(args).output()?;
    ensure!(output.status.success(), "{}\n{}", output.status, told(&output));
    Ok(())
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn millrace(folder: &Path) -> Command {
    let mut command = Command::new(millrace_tests::binary());
    command.current_dir(folder).env_remove("MILLRACE_TEST_NOT_SET").env("MILLRACE_LOG", "warn");
    command
}

fn cases(wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let mut cases = Vec::new();
    for entry in fs::read_dir(&root)? {
        let path = entry?.path();
        if path.join("pipeline.yaml").is_file() && wanted(&path) {
            cases.push(path);
        }
    }
    cases.sort();
    Ok(cases)
}

/// Names of the YAML files of a case, in order.
fn yaml_files(case: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(case)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".yaml") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// The files of a folder by name, hidden ones left out; none if it isn't there.
fn contents(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let text = fs::read_to_string(entry.path()).with_context(|| entry.path().display().to_string())?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), text);
    }
    Ok(files)
}

fn arranged(name: &str, text: &str) -> String {
    if !name.ends_with(UNORDERED) {
        return text.to_owned();
    }
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines.sort_unstable();
    lines.concat()
}

fn difference(wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for name in wanted.keys().chain(found.keys().filter(|name| !wanted.contains_key(*name))) {
        let side = |files: &BTreeMap<String, String>| files.get(name).cloned().unwrap_or_default();
        let (wanted, found) = (side(wanted), side(found));
        if wanted != found {
            text.push_str(&format!("{name}:\n{}", diff::lines(&wanted, &found)));
        }
    }
    text
}

fn updating() -> bool {
    std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1")
}
