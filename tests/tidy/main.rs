//! What every file of the repository keeps to, so that a newcomer finds the same shape everywhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use millrace_tests::binary::repository;

/// Lines past which a file must be split, or say at its top why it is not.
const LINES_MAX: usize = 700;

/// Words that mark unfinished work, put together here so that this file does not hold them.
const UNFINISHED: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("#[ig", "nore")];

/// Files of the repository: tracked, or new and not ignored.
fn files(extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let list = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository())
        .output()
        .expect("git lists the files");
    assert!(list.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&list.stderr));
    let names = String::from_utf8(list.stdout).expect("file names are UTF-8");
    let mut found = Vec::new();
    for name in names.lines() {
        let path = PathBuf::from(name);
        let matches = path.extension().and_then(|it| it.to_str()).is_some_and(|it| extensions.contains(&it));
        // A file deleted but not yet committed is listed too; a binary file is not for these checks.
        if let (true, Ok(text)) = (matches, std::fs::read_to_string(repository().join(&path))) {
            found.push((path, text));
        }
    }
    assert!(!found.is_empty(), "no files with extensions {extensions:?}");
    found
}

/// Fails with every finding at once.
fn none(findings: Vec<String>) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn findings(extensions: &[&str], check: impl Fn(&Path, &str) -> Option<String>) -> Vec<String> {
    let check =
        |(path, text): &(PathBuf, String)| check(path, text).map(|why| format!("{}: {why}", path.display()));
    files(extensions).iter().filter_map(check).collect()
}

#[test]
fn rust_files_begin_with_what_they_are_for() {
    none(findings(&["rs"], |_, text| {
        // A program that is a script of another tool may start with an attribute.
        let head = text.lines().find(|line| !line.starts_with("#!["))?;
        (!head.starts_with("//!")).then(|| "has no //! head".to_owned())
    }));
}

#[test]
fn no_file_is_too_long_to_know() {
    none(findings(&["rs", "py", "go", "js", "sh", "wit"], |_, text| {
        let lines = text.lines().count();
        let reason = text.lines().take(12).any(|line| line.contains("in one file because"));
        (lines > LINES_MAX && !reason).then(|| {
            format!(
                "{lines} lines, more than {LINES_MAX}; split it, or say at its top \"in one file because\""
            )
        })
    }));
}

#[test]
fn a_module_is_named_after_itself() {
    none(findings(&["rs"], |path, _| {
        path.ends_with("mod.rs").then(|| "use NAME.rs beside NAME/".to_owned())
    }));
}

#[test]
fn nothing_is_left_unfinished() {
    none(findings(&["rs", "py", "go", "js", "sh", "wit", "toml", "yaml"], |_, text| {
        let word = UNFINISHED.iter().find(|word| text.contains(**word))?;
        Some(format!("holds {word}; finish it, or name it in docs/NOT_SUPPORTED.md"))
    }));
}

#[test]
fn no_path_of_one_machine() {
    let home = std::env::var("HOME").unwrap_or_default();
    let here = repository().display().to_string();
    let places = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/"),
        here.as_str(),
    ];
    none(findings(
        &["rs", "py", "go", "js", "sh", "toml", "yaml", "md", "json", "lock", "wit"],
        |_, text| {
            let own = (home.len() > 1).then(|| format!("{home}/"));
            let place = places.iter().copied().chain(own.as_deref()).find(|place| text.contains(place))?;
            Some(format!("holds the path {place}; make it relative, or take it from the environment"))
        },
    ));
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    none(findings(&["md"], |path, text| {
        let folder = repository().join(path).parent().map(Path::to_path_buf).unwrap_or_default();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let inside =
            links.filter(|link| !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:"));
        let broken: Vec<&str> = inside.filter(|link| !folder.join(link).exists()).collect();
        (!broken.is_empty()).then(|| format!("links to what is not there: {}", broken.join(", ")))
    }));
}
