//! The one folder for everything that is installed or kept between runs, outside the clone.
//!
//! `MILLRACE_CACHE`, else `$XDG_CACHE_HOME/millrace`, else `~/.cache/millrace`. Deleting it costs time, nothing else.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folder, made if it is not there.
pub(crate) fn root() -> Result<PathBuf> {
    let path = match (env::var_os("MILLRACE_CACHE"), env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(own), _, _) => PathBuf::from(own),
        (None, Some(xdg), _) => Path::new(&xdg).join("millrace"),
        (None, None, Some(home)) => Path::new(&home).join(".cache").join("millrace"),
        (None, None, None) => env::temp_dir().join("millrace-cache"),
    };
    make(&path)
}

/// A folder inside the cache, made if it is not there.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    make(&root()?.join(name))
}

fn make(path: &Path) -> Result<PathBuf> {
    fs::create_dir_all(path).with_context(|| {
        format!("cache folder {}: cannot be made; set MILLRACE_CACHE to another one", path.display())
    })?;
    path.canonicalize().with_context(|| format!("cache folder {}", path.display()))
}

/// The root of the clone: the folder above this crate.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}
