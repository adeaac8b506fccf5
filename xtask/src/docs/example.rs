//! The block of a connector, cut out of a pipeline that the tests run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// A block as it stands in a file.
pub(super) struct Example {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Every pipeline that is tested, those of `configs/` first, with its text.
pub(super) fn pipelines(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(root.join("configs"))? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    let mut cases = Vec::new();
    for entry in fs::read_dir(root.join("tests/pipelines"))? {
        let folder = entry?.path();
        if folder.join("expected").is_dir() || folder.join("test.txt").is_file() {
            cases.push(folder.join("pipeline.yaml"));
        }
    }
    cases.sort();
    paths.extend(cases);
    paths.into_iter().map(|path| Ok((path.clone(), fs::read_to_string(&path)?))).collect()
}

impl Example {
    /// The first that uses the connector.
    pub(super) fn find(name: &str, pipelines: &[(PathBuf, String)]) -> Option<Self> {
        pipelines.iter().find_map(|(path, text)| Some(Self { path: path.clone(), text: cut(name, text)? }))
    }
}

/// The block around `connector: name`, without its indentation.
fn cut(name: &str, text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let wanted = format!("connector: {name}");
    let names_it = |line: &&str| {
        line.find(&wanted)
            .is_some_and(|at| line[at + wanted.len()..].chars().next().is_none_or(|next| !is_word(next)))
    };
    let at = lines.iter().position(|line| names_it(line) && !line.trim_start().starts_with('#'))?;
    let depth = lines[at].find("connector:")?;
    let is_flow = lines[at][..depth].contains('{');
    let (first, last) = if is_flow {
        // In braces: the lines until they are closed again.
        let mut open = 0i32;
        let last = (at..lines.len()).find(|line| {
            let count = |brace| lines[*line].matches(brace).count() as i32;
            open += count('{') - count('}');
            open <= 0
        })?;
        (at, last)
    } else {
        // By indentation: from the key above, or the dash beside it, to the end of what stands below.
        let is_item = lines[at][..depth].trim_end().ends_with('-');
        let first = match is_item {
            true => at,
            false => {
                (0..at).rev().find(|line| indent(lines[*line]) < depth && !lines[*line].trim().is_empty())?
            }
        };
        let inside = |line: &usize| lines[*line].trim().is_empty() || indent(lines[*line]) >= depth;
        let last = (at + 1..lines.len()).take_while(inside).last().unwrap_or(at);
        (first, last)
    };
    let block = &lines[first..=last];
    let margin = block.iter().filter(|line| !line.trim().is_empty()).map(|line| indent(line)).min()?;
    let text: Vec<&str> = block.iter().map(|line| line.get(margin..).unwrap_or_default()).collect();
    Some(text.join("\n").trim_end().to_owned())
}

fn is_word(next: char) -> bool {
    next.is_alphanumeric() || next == '-' || next == '_'
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# connector: mask\npipelines:\n  p:\n    source:\n      connector: file-source\n      path: a\n    transforms:\n      \
        - { connector: drop-headers, headers: [a] }\n      - connector: jq\n        value: .a\n      - { connector: drop }\n    topic: t\n";

    #[test]
    fn blocks_are_cut_whole() {
        for (name, block) in [
            ("file-source", Some("source:\n  connector: file-source\n  path: a")),
            ("drop-headers", Some("- { connector: drop-headers, headers: [a] }")),
            ("drop", Some("- { connector: drop }")),
            ("jq", Some("- connector: jq\n  value: .a")),
            ("mask", None),
        ] {
            assert_eq!(cut(name, TEXT).as_deref(), block, "{name}");
        }
    }
}
