//! Folders that a pipeline grants, read-only or to write, as WASI preopens under the path that the pipeline wrote.
//!
//! A guest can't leave its folders: `..` and links that lead out are refused by the WASI host, and so are writes to a folder
//! granted to read. A folder granted to write is made when it does not exist; one to read must be there.
//!
//! The C library of WASI, on which Rust's `std::fs` stands, drops a leading `./` of preopens and of paths before it compares them; a
//! guest on another library has to do so itself.

use std::collections::BTreeSet;

use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::plan::{Access, FolderGrant, Grants};

/// Most folders granted to one guest: each is an open file of this process.
pub const FOLDERS_MAX: usize = 64;

pub(super) fn validate(grants: &Grants) -> Vec<String> {
    let mut problems = Vec::new();
    if grants.files.len() > FOLDERS_MAX {
        problems
            .push(format!("{} folders are granted; at most {FOLDERS_MAX} are possible", grants.files.len()));
    }
    let mut seen = BTreeSet::new();
    for grant in &grants.files {
        if !seen.insert(&grant.guest) {
            problems.push(format!("folder {} is granted twice; keep one", grant.guest));
        }
        if grant.access == Access::Read && !grant.host.is_dir() {
            problems.push(missing(grant));
        }
    }
    problems
}

pub(super) fn prepare(grants: &Grants, wasi: &mut WasiCtxBuilder) -> Result<(), String> {
    for grant in grants.files.iter().take(FOLDERS_MAX) {
        let permissions = match grant.access {
            Access::Read => FsPerms::ReadOnly,
            Access::Write => {
                std::fs::create_dir_all(&grant.host)
                    .map_err(|error| format!("folder {}: cannot be made: {error}", grant.host.display()))?;
                FsPerms::ReadWrite
            }
        };
        wasi.preopened_dir(&grant.host, &grant.guest, permissions)
            .map_err(|error| format!("{}: {error:#}", missing(grant)))?;
    }
    Ok(())
}

fn missing(grant: &FolderGrant) -> String {
    format!("folder {} (granted as {}) is not there or cannot be read", grant.host.display(), grant.guest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let grant =
            |name: &str, access| FolderGrant { host: folder.path().join(name), guest: name.into(), access };
        let grants = Grants {
            files: vec![grant("in", Access::Read), grant("out", Access::Write)],
            ..Grants::default()
        };
        let problems = validate(&grants);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("(granted as in) is not there"), "{problems:?}");
        let error = prepare(&grants, &mut WasiCtxBuilder::new()).unwrap_err();
        assert!(error.contains("(granted as in)"), "{error}");

        let grants = Grants { files: vec![grant("out", Access::Write)], ..Grants::default() };
        prepare(&grants, &mut WasiCtxBuilder::new()).unwrap();
        assert!(folder.path().join("out").is_dir());
    }
}
