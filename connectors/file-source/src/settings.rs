//! The settings, as `settings.schema.json` describes them.

use millrace_connector_decode::options::Options;
use millrace_sdk::Problem;
use millrace_sdk::settings::Span;
use serde::Deserialize;

/// Pause of a source that follows, unless set otherwise, in milliseconds.
const DEFAULT_POLL_MS: u32 = 500;

/// Settings of one source. (Unknown ones are refused by the schema.)
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// One file.
    pub path: Option<String>,
    /// All files of a folder.
    pub folder: Option<String>,
    /// All files that match.
    pub glob: Option<String>,
    /// How they are written.
    #[serde(flatten)]
    pub options: Options,
    /// Whether to go on at the end.
    #[serde(default)]
    pub follow: bool,
    /// Pause at the end.
    #[serde(default = "default_poll_every")]
    pub poll_every: Span,
    /// Set by `plan`, not by users: the files of this task.
    pub assigned: Option<Vec<String>>,
}

fn default_poll_every() -> Span {
    Span::from_ms(DEFAULT_POLL_MS)
}

impl Settings {
    /// Checks beyond the schema.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let given = [&self.path, &self.folder, &self.glob].into_iter().flatten().count();
        if given != 1 {
            problems.push(Problem::error("", "one of path, folder and glob says which files to read"));
        }
        if self.glob.as_ref().is_some_and(|glob| glob.contains("**")) {
            problems.push(Problem::error("/glob", "** is not supported; write one * per folder"));
        }
        let name = self.path.as_ref().or(self.glob.as_ref()).map_or("", String::as_str);
        problems.extend(self.options.problems(name));
        if self.poll_every.ms() < 10 {
            problems.push(Problem::error("/poll_every", "at least 10ms"));
        }
        problems
    }
}
