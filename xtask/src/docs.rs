//! Documentation that the product writes of itself: a page per connector in `docs/connectors/`, and the JSON Schema of pipelines.
//!
//! The pages' examples are cut out of `configs/` and of the pipelines that `tests/pipelines` runs, so that none is untested.

mod example;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use self::example::Example;
use crate::cache;
use crate::process::{self, Log};

/// Where the pages are.
const PAGES: &str = "docs/connectors";
/// Where the schema is.
const SCHEMA: &str = "docs/pipeline.schema.json";
const WAY_OUT: &str = "run `cargo xtask docs`";

/// Writes what has changed.
pub(crate) fn write() -> Result<()> {
    process::run(&mut process::cargo(["build", "--workspace", "--locked", "--bins"]))?;
    let wanted = wanted()?;
    for path in stale(&wanted)? {
        fs::remove_file(&path).with_context(|| format!("{}", path.display()))?;
        println!("removed {}", path.display());
    }
    for (path, text) in wanted {
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            fs::create_dir_all(path.parent().context("a file in a folder")?)?;
            fs::write(&path, text).with_context(|| format!("{}", path.display()))?;
            println!("wrote {}", path.display());
        }
    }
    Ok(())
}

/// Fails if something has changed.
pub(crate) fn check() -> Result<()> {
    let wanted = wanted()?;
    let stale = stale(&wanted)?;
    ensure!(stale.is_empty(), "{stale:?} belong to no connector; {WAY_OUT}");
    for (path, text) in wanted {
        let found = fs::read_to_string(&path).unwrap_or_default();
        if found != text {
            let differs = found.lines().zip(text.lines()).position(|(old, new)| old != new);
            let line = differs.unwrap_or_else(|| found.lines().count().min(text.lines().count())) + 1;
            bail!("{} is not what the connectors say, from line {line} on; {WAY_OUT}", path.display());
        }
    }
    Ok(())
}

/// The same as a step of the tests.
pub(crate) fn step(log: &Log) -> Result<()> {
    log.run(&mut process::cargo(["build", "--workspace", "--locked", "--bins"]))?;
    check()
}

/// Every file that is written, with what belongs into it.
fn wanted() -> Result<BTreeMap<PathBuf, String>> {
    let root = cache::repository();
    let mut files = BTreeMap::from([(root.join(SCHEMA), said(&["schema"])?)]);
    let listed = said(&["connector", "list"])?;
    let rows = listed.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut index = String::from(
        "# Connectors\n\nIn the binary, as each describes itself; how to write another one is in [CONNECTORS.md](../CONNECTORS.md).\n\n| connector | kind | |\n|---|---|---|\n",
    );
    let pipelines = example::pipelines(&root)?;
    for row in rows {
        let [name, kind, _version, summary @ ..] = &row[..] else { bail!("connector list says {row:?}") };
        let page = said(&["connector", "inspect", name, "--markdown"])?;
        let example = Example::find(name, &pipelines).with_context(|| {
            format!("no file of configs/ or tests/pipelines uses {name}; add one, its page needs an example")
        })?;
        let shown = example.path.strip_prefix(&root).unwrap_or(&example.path).display().to_string();
        let text = format!(
            "{}\n\n## Example\n\nFrom [{shown}](../../{shown}), which the tests run:\n\n```yaml\n{}\n```\n",
            page.trim_end(),
            example.text
        );
        files.insert(root.join(PAGES).join(format!("{name}.md")), text);
        index.push_str(&format!("| [{name}]({name}.md) | {kind} | {} |\n", summary.join(" ")));
    }
    files.insert(root.join(PAGES).join("README.md"), index);
    Ok(files)
}

/// Pages of connectors that are gone.
fn stale(wanted: &BTreeMap<PathBuf, String>) -> Result<Vec<PathBuf>> {
    let folder = cache::repository().join(PAGES);
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| !wanted.contains_key(path)).collect())
}

/// What the binary prints.
fn said(args: &[&str]) -> Result<String> {
    let program: &Path = &cache::target_dir().join("debug/millrace");
    let output = Command::new(program).args(args).env_remove("MILLRACE_LOG").output();
    let output = output.with_context(|| format!("{}", program.display()))?;
    ensure!(
        output.status.success(),
        "millrace {}: {}\n{}",
        args.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
