//! Where a rotated file went.
//!
//! A log rotates in one of two ways. It is renamed and a new one made under the old name; or it is copied and then truncated.
//! Either way the bytes that were not read yet lie in a neighbour whose content fits the position. Rotations since then, if
//! there were several, are neighbours that are newer than that one: by the time of their last change, and where a file system counts that too coarsely
//! to tell them apart, by what their names say.

use std::cmp::Reverse;
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
    let mut known: Option<(Age, String)> = None;
    let mut rotations = Vec::new();
    for name in names(folder)? {
        let neighbour = join(path, &name);
        if neighbour == path || !is_related(base, &name) {
            continue;
        }
        let Some(changed) = modified(&neighbour).map_err(io)? else { continue };
        let age = Age { changed, generation: Generation::of(base, &name) };
        if position.matches(&neighbour).map_err(io)? {
            // During a copy there may be two; the older one is the one that is complete.
            if known.as_ref().is_none_or(|(before, _)| age.changed < before.changed) {
                known = Some((age, neighbour));
            }
        } else if age.generation.is_some() {
            rotations.push((age, neighbour));
        }
    }
    let Some((since, first)) = known else { return Ok(Vec::new()) };
    rotations.retain(|(age, _)| age.is_behind(&since));
    rotations.sort();
    let mut found = vec![first];
    found.extend(rotations.into_iter().map(|(_, neighbour)| neighbour));
    Ok(found)
}

/// All rotations of a file, oldest first.
pub fn rotations(path: &str) -> Result<Vec<String>, Error> {
    let (folder, base) = split(path);
    let mut found = Vec::new();
    for name in names(folder)? {
        let Some(generation) = Generation::of(base, &name) else { continue };
        let neighbour = join(path, &name);
        if let Some(changed) = modified(&neighbour).map_err(|error| io_error("read", path, error))? {
            found.push((Age { changed, generation: Some(generation) }, neighbour));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, neighbour)| neighbour).collect())
}

/// What tells older rotations from newer ones. In order, the oldest first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Age {
    changed: SystemTime,
    /// None: its name is no rotation's.
    generation: Option<Generation>,
}

/// What a rotation's name says of its age.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Generation {
    /// The newest one has the lowest.
    Number(Reverse<u64>),
    Date(String),
}

/// Digits of a number that is none of a date.
const NUMBER_DIGITS_MAX: usize = 7;

impl Generation {
    fn of(base: &str, name: &str) -> Option<Self> {
        if !is_rotation(base, name) {
            return None;
        }
        let suffix = &name[base.len() + 1..];
        let number = (suffix.len() <= NUMBER_DIGITS_MAX).then(|| suffix.parse().ok()).flatten();
        Some(number.map_or_else(|| Self::Date(suffix.to_owned()), |number| Self::Number(Reverse(number))))
    }
}

impl Age {
    /// Whether it is that of a later rotation. Where nothing tells, it is not: what was read before would come again.
    fn is_behind(&self, other: &Self) -> bool {
        let is_later = || match (&self.generation, &other.generation) {
            (Some(Generation::Number(own)), Some(Generation::Number(theirs))) => own > theirs,
            (Some(Generation::Date(own)), Some(Generation::Date(theirs))) => own > theirs,
            _ => false,
        };
        self.changed > other.changed || (self.changed == other.changed && is_later())
    }
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
