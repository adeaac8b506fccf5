//! The fenced blocks of a Markdown file.

use std::fs;
use std::path::Path;

/// One fenced block.
pub(crate) struct Block {
    /// The last second-level heading above it.
    pub(crate) section: String,
    /// What stands behind the opening fence.
    pub(crate) language: String,
    /// Its lines, without the fences.
    pub(crate) text: String,
}

/// All blocks, in the order of the file.
pub(crate) fn of(path: &Path) -> Vec<Block> {
    let markdown = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(&markdown)
}

fn parse(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut section = String::new();
    let mut open: Option<(String, Vec<&str>)> = None;
    for line in markdown.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.trim().to_owned(), Vec::new())),
            (Some((language, lines)), Some(_)) => {
                let (language, text) = (language.clone(), lines.join("\n"));
                blocks.push(Block { section: section.clone(), language, text });
                open = None;
            }
            (Some((_, lines)), None) => lines.push(line),
            (None, None) => {
                if let Some(heading) = line.strip_prefix("## ") {
                    section = heading.trim().to_owned();
                }
            }
        }
    }
    assert!(open.is_none(), "a fenced block is not closed");
    blocks
}

#[test]
fn blocks_know_their_section() {
    let blocks = parse("# A\n```\npicture\n```\n## B\ntext\n```sh\none\ntwo\n```\n");
    let found: Vec<_> =
        blocks.iter().map(|it| (it.section.as_str(), it.language.as_str(), it.text.as_str())).collect();
    assert_eq!(found, [("", "", "picture"), ("B", "sh", "one\ntwo")]);
}
