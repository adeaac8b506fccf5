//! References: `${env:NAME}`, `${env:NAME:-default}` and `${file:path:key}`, filled in by the host.
//!
//! The names are those of Kafka's config providers; `file` reads a properties file (`key=value` lines). `$${` gives `${`.
//! A `${...}` without a provider's name and colon is left alone: connectors have templates of their own (`${topic}`).
//!
//! Invariant: no message made here holds a value, only names.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::names::nearest;

/// Larger properties files are refused.
const PROPERTIES_BYTES_MAX: usize = 1 << 20;
const PROVIDERS: &[&str] = &["env", "file"];

/// What a file's references and paths are looked up in: the process, or a test's table.
pub trait Environment {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// A small text file.
    fn read(&self, path: &Path) -> io::Result<String>;
    /// Whether a file is there.
    fn is_file(&self, path: &Path) -> bool;
    /// What stands for a reference that can't be filled in, where a file is read only to be sent on; none: that is an error.
    fn elsewhere(&self) -> Option<String> {
        None
    }
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let size = std::fs::metadata(path)?.len();
        if size > PROPERTIES_BYTES_MAX as u64 {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
        }
        std::fs::read_to_string(path)
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }
}

/// A text after its references were filled in.
pub(super) struct Resolved {
    pub(super) text: String,
    /// True if any part came from a reference.
    pub(super) referenced: bool,
    /// The parts that did, with their references.
    pub(super) values: Vec<(Range<usize>, String)>,
}

/// Why a reference can't be filled in.
pub(super) struct Unresolved {
    pub(super) message: String,
    pub(super) suggestion: Option<&'static str>,
    pub(super) help: String,
}

/// Fills in the references of `text`; files are found from `folder`.
pub(super) fn resolve(text: &str, folder: &Path, env: &dyn Environment) -> Result<Resolved, Unresolved> {
    let mut out = Resolved { text: String::with_capacity(text.len()), referenced: false, values: Vec::new() };
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.text.push_str(before);
            out.text.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.text.push_str(before);
        let Some(end) = from.find('}') else {
            return Err(Unresolved {
                message: "a reference that is not closed".into(),
                suggestion: None,
                help: "write `${env:NAME}`, or `$${` for a literal `${`".into(),
            });
        };
        let inner = &from[2..end];
        rest = &from[end + 1..];
        match inner.split_once(':') {
            None => out.text.push_str(&from[..=end]),
            Some((provider, body)) => {
                let start = out.text.len();
                out.text.push_str(&provide(provider, body, folder, env)?);
                out.values.push((start..out.text.len(), from[..=end].to_owned()));
                out.referenced = true;
            }
        }
    }
    out.text.push_str(rest);
    Ok(out)
}

fn provide(provider: &str, body: &str, folder: &Path, env: &dyn Environment) -> Result<String, Unresolved> {
    match provider {
        "env" => variable(body, env),
        "file" => property(body, folder, env),
        _ => Err(Unresolved {
            message: format!("unknown kind of reference `{provider}`"),
            suggestion: nearest(provider, PROVIDERS.iter().copied()),
            help: "known are `${env:NAME}`, `${env:NAME:-default}` and `${file:path:key}`; `$${` is a literal `${`"
                .into(),
        }),
    }
}

fn variable(body: &str, env: &dyn Environment) -> Result<String, Unresolved> {
    let (name, default) = match body.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (body, None),
    };
    let value = if name.is_empty() { None } else { env.variable(name).filter(|v| !v.is_empty()) };
    value.or(default.map(str::to_owned)).or_else(|| env.elsewhere()).ok_or_else(|| Unresolved {
        message: format!("environment variable `{name}` is not set"),
        suggestion: None,
        help: format!("set it, or give a default: `${{env:{name}:-default}}`"),
    })
}

fn property(body: &str, folder: &Path, env: &dyn Environment) -> Result<String, Unresolved> {
    let bad = |message: String, help: &str| Unresolved { message, suggestion: None, help: help.into() };
    let Some((path, key)) = body.rsplit_once(':') else {
        return Err(bad(format!("reference to file `{body}` names no key"), "write `${file:path:key}`"));
    };
    let text = match (env.read(&folder.join(path)), env.elsewhere()) {
        (Ok(text), _) => text,
        (Err(_), Some(elsewhere)) => return Ok(elsewhere),
        (Err(error), None) => {
            let message = format!("file `{path}` of a reference can't be read: {}", error.kind());
            return Err(bad(message, "it is looked for from the folder of this YAML file"));
        }
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
    let mut pairs = lines.filter_map(|line| line.split_once('='));
    match pairs.find(|(name, _)| name.trim() == key) {
        Some((_, value)) => Ok(value.trim().to_owned()),
        None => Err(bad(format!("file `{path}` has no key `{key}`"), "add a line `key=value` to it")),
    }
}

/// Fills in the references of a text that stands in no file; files are found from `folder`.
///
/// # Errors
/// What is wrong and the way out, in one line, without any value.
pub fn fill_in(text: &str, folder: &Path, env: &dyn Environment) -> Result<String, String> {
    match resolve(text, folder, env) {
        Ok(resolved) => Ok(resolved.text),
        Err(Unresolved { message, help, .. }) => Err(format!("{message}; {help}")),
    }
}
