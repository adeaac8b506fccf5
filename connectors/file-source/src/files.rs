//! Which files there are: one, those of a folder, those that a pattern matches.
//!
//! Paths are used as the user wrote them, since that is the name under which their folder is granted. Lists are sorted, so that
//! every run sees the same order.

use std::fs::File;
use std::io;
use std::path::Path;

use millrace_sdk::{Error, Finding};

use crate::settings::Settings;

/// Most files of one source: past that the pattern is a mistake.
const FILES_MAX: usize = 100_000;
/// Files that are opened to see whether they can be read.
const OPENED_MAX: usize = 100;

/// The files that the settings name, sorted.
pub fn list(settings: &Settings) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    match (&settings.path, &settings.folder, &settings.glob) {
        (Some(path), None, None) => return Ok(vec![path.clone()]),
        (None, Some(folder), None) => {
            let folder = folder.strip_suffix('/').unwrap_or(folder);
            for name in names(if folder.is_empty() { "/" } else { folder })? {
                push(&mut found, format!("{folder}/{name}"))?;
            }
        }
        (None, None, Some(pattern)) => glob(pattern, &mut found)?,
        _ => return Err(Error::fatal("settings", "one of path, folder and glob says which files to read")),
    }
    found.sort();
    Ok(found)
}

/// Whether there are files, and they can be read, for `millrace doctor`.
pub fn looked_at(settings: &Settings) -> Vec<Finding> {
    let wanted = [&settings.path, &settings.folder, &settings.glob].into_iter().flatten().next();
    let subject = format!("files of {}", wanted.map_or("", String::as_str));
    let mut found = match list(settings) {
        Ok(found) => found,
        Err(error) => return vec![Finding::of(subject, &error)],
    };
    found.retain(|path| Path::new(path).exists());
    // Opening what is no file, such as a pipe, may take for ever.
    if let Some(path) = found.iter().find(|path| !Path::new(path).is_file()) {
        return vec![Finding::failed(
            subject,
            format!("{path} is no file"),
            "correct the path; a folder's files are read with `folder`",
        )];
    }
    for path in found.iter().take(OPENED_MAX) {
        if let Err(error) = File::open(path) {
            let mend =
                format!("let the user that runs this read it (chmod, chown), or leave it out: ls -l {path}");
            return vec![Finding::failed(subject, format!("{path} can't be read: {error}"), mend)];
        }
    }
    let count = found.len();
    let word = if count == 1 { "file" } else { "files" };
    let mend = "correct the path, or set `follow: true` to wait for them";
    vec![match (count, settings.follow) {
        (0, true) => Finding::ok(subject, "are not there yet"),
        (0, false) if settings.path.is_some() => Finding::failed(subject, "are not there", mend),
        // It would run, and be done at once.
        (0, false) => Finding::warning(subject, "are not there", mend),
        (1..=OPENED_MAX, _) => Finding::ok(subject, format!("{count} {word} can be read")),
        _ => Finding::ok(subject, format!("{count} {word}, of which the first {OPENED_MAX} can be read")),
    }]
}

/// What a folder holds, without hidden names.
pub fn names(folder: &str) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for name in millrace_sdk::files::names(folder).map_err(|error| io_error("list", folder, error))? {
        match name.into_string() {
            Ok(name) if !name.starts_with('.') => names.push(name),
            Ok(_) => {}
            Err(name) => {
                millrace_sdk::warn!("{folder}: the file name {name:?} is not UTF-8, the file is not read")
            }
        }
        if names.len() > FILES_MAX {
            return Err(Error::fatal(
                "file.many",
                format!("{folder} holds more than {FILES_MAX} files; use glob"),
            ));
        }
    }
    Ok(names)
}

fn push(found: &mut Vec<String>, path: String) -> Result<(), Error> {
    if !Path::new(&path).is_file() {
        return Ok(());
    }
    if found.len() == FILES_MAX {
        return Err(Error::fatal(
            "file.many",
            format!("more than {FILES_MAX} files match; narrow the pattern"),
        ));
    }
    found.push(path);
    Ok(())
}

/// Walks the folders of a pattern, as far as they match.
fn glob(pattern: &str, found: &mut Vec<String>) -> Result<(), Error> {
    let parts: Vec<&str> = pattern.split('/').collect();
    let Some((last, folders)) = parts.split_last() else { return Ok(()) };
    let mut bases = vec![String::new()];
    for part in folders {
        let mut next = Vec::new();
        for base in &bases {
            if !part.contains(WILDCARDS) {
                next.push(format!("{base}{part}/"));
                continue;
            }
            let folders = names(folder_of(base))?.into_iter().filter(|name| matches(part, name));
            next.extend(folders.map(|name| format!("{base}{name}/")).filter(|path| Path::new(path).is_dir()));
        }
        bases = next;
    }
    for base in bases {
        match names(folder_of(&base)) {
            Ok(names) => {
                for name in names.into_iter().filter(|name| matches(last, name)) {
                    push(found, format!("{base}{name}"))?;
                }
            }
            // A folder that one of several does not have.
            Err(_) if pattern.matches('/').count() > 1 && !Path::new(&base).is_dir() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

const WILDCARDS: [char; 3] = ['*', '?', '['];

fn folder_of(base: &str) -> &str {
    if base.is_empty() { "." } else { base }
}

/// Whether a name matches: `*` any text, `?` one character, `[a-z_]` one of these, `[!…]` none of these.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when the text after the last `*` does not match: one character of the name later.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match one(&pattern[p..], name[n]) {
            _ if pattern.get(p) == Some(&'*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(len) => {
                p += len;
                n += 1;
            }
            None => match star {
                Some((after, at)) => {
                    (p, n) = (after, at + 1);
                    star = Some((after, at + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// How many characters of the pattern match this one of the name.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', rest @ ..] if rest.iter().skip(1).any(|&c| c == ']') => {
            let end = 1 + rest.iter().skip(1).position(|&c| c == ']')?;
            let (negated, set) = match &rest[..end] {
                ['!', set @ ..] => (true, set),
                set => (false, set),
            };
            let mut inside = false;
            let mut at = 0;
            while at < set.len() {
                if let [from, '-', to, ..] = set[at..] {
                    inside |= (from..=to).contains(&c);
                    at += 3;
                } else {
                    inside |= set[at] == c;
                    at += 1;
                }
            }
            (inside != negated).then_some(end + 2)
        }
        [first, ..] if *first == c => Some(1),
        _ => None,
    }
}

/// An error of the system about a file.
pub fn io_error(what: &str, path: &str, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        let message = format!("cannot {what} {path}: {error}; is it there, and in a granted folder?");
        return Error::fatal("file.missing", message);
    }
    millrace_sdk::files::failure(what, path, &error)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name) in [
            ("*.csv", "a.csv"),
            ("*", "x"),
            ("a?c*", "abcdef"),
            ("[a-c]x[!0-9]", "bxy"),
            ("*a*b", "aab"),
            ("[]x]", "]"),
            ("data-[0-9][0-9].csv", "data-07.csv"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.csv", "a.csv.1"), ("?", ""), ("[a-c]", "d"), ("[!a]", "a"), ("a", "ab"), ("[a", "a")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
