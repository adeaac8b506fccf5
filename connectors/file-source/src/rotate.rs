//! Where a rotated file went.
//!
//! A log rotates in one of two ways. It is renamed and a new one made under the old name; or it is copied and then truncated.
//! Either way the bytes that were not read yet lie in a neighbour whose content fits the position. Rotations since then, if
//! there were several, are neighbours that are newer than that one.

use std::time::SystemTime;
use std::{fs, io};

use millrace_sdk::Error;

use crate::files::{io_error, names};
use crate::position::Position;

/// Compressed files can't be read on.
const COMPRESSED: [&str; 5] = [".gz", ".zst", ".xz", ".bz2", ".lz4"];

/// The neighbour that `position` speaks of, then every rotation after it, oldest first. Empty: it is not there.
pub fn successors(path: &str, position: &Position) -> Result<Vec<String>, Error> {
    if position.offset == 0 {
        return Ok(Vec::new());
    }
    let io = |error| io_error("read", path, error);
    let (folder, base) = split(path);
    let mut known: Option<(SystemTime, String)> = None;
    let mut rotations = Vec::new();
    for name in names(folder)? {
        let neighbour = join(path, &name);
        if neighbour == path || !is_related(base, &name) {
            continue;
        }
        let Some(modified) = modified(&neighbour).map_err(io)? else { continue };
        if position.matches(&neighbour).map_err(io)? {
            // During a copy there may be two; the older one is the one that is complete.
            if known.as_ref().is_none_or(|(time, _)| modified < *time) {
                known = Some((modified, neighbour));
            }
        } else if is_rotation(base, &name) {
            rotations.push((modified, neighbour));
        }
    }
    let Some((since, first)) = known else { return Ok(Vec::new()) };
    rotations.retain(|(time, _)| *time > since);
    rotations.sort();
    let mut found = vec![first];
    found.extend(rotations.into_iter().map(|(_, neighbour)| neighbour));
    Ok(found)
}

/// All rotations of a file, oldest first.
pub fn rotations(path: &str) -> Result<Vec<String>, Error> {
    let (folder, base) = split(path);
    let mut found = Vec::new();
    for name in names(folder)?.into_iter().filter(|name| is_rotation(base, name)) {
        let neighbour = join(path, &name);
        if let Some(modified) = modified(&neighbour).map_err(|error| io_error("read", path, error))? {
            found.push((modified, neighbour));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, neighbour)| neighbour).collect())
}

/// Whether `name` is `base` with a number or a date behind it: `app.log.1`, `app.log-20260131`.
pub fn is_rotation(base: &str, name: &str) -> bool {
    let Some(suffix) = name.strip_prefix(base) else { return false };
    let Some(suffix) = suffix.strip_prefix(['.', '-', '_']) else { return false };
    suffix.starts_with(|c: char| c.is_ascii_digit())
        && suffix.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | 'T' | ':' | 'Z'))
}

/// Splits a path into folder and name.
pub fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((folder, name)) => (folder, name),
        None => (".", path),
    }
}

/// Whether `name` may be `base` under another name: what stands before the first dot is the same.
fn is_related(base: &str, name: &str) -> bool {
    let stem = base.split('.').next().unwrap_or(base);
    name.starts_with(stem) && !COMPRESSED.iter().any(|end| name.ends_with(end))
}

fn join(path: &str, name: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{name}"),
        None => name.to_owned(),
    }
}

/// Time of the last change; none: it is no file (any more).
fn modified(path: &str) -> io::Result<Option<SystemTime>> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => meta.modified().map(Some),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::is_rotation;

    #[test]
    fn rotated_names() {
        for name in ["app.log.1", "app.log-20260131", "app.log.2026-01-31T10:00:00Z", "app.log_3"] {
            assert!(is_rotation("app.log", name), "{name}");
        }
        for name in ["app.log", "app.log.bak", "app.log.1.gz", "app.log2", "other.log.1", "app.log.x1"] {
            assert!(!is_rotation("app.log", name), "{name}");
        }
    }
}
