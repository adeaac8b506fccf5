//! A file's text and places in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A loaded file, shared by all that points into it.
pub struct SourceFile {
    path: PathBuf,
    text: String,
}

impl SourceFile {
    /// `path` as the user wrote it; it is shown in messages and its folder is the base of relative paths.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(SourceFile { path: path.into(), text: text.into() })
    }

    /// The path as the user wrote it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The folder that relative paths in the file start from; empty for the current directory.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// A line's text without its end; lines count from 1.
    pub fn line(&self, line: usize) -> Option<&str> {
        self.text.lines().nth(line.checked_sub(1)?)
    }
}

impl std::fmt::Debug for SourceFile {
    /// The path only: the text may be long, and may hold what its author should have kept elsewhere.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SourceFile").field(&self.path).finish()
    }
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Characters to underline on that line, at least 1.
    pub width: usize,
}
