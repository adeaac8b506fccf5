//! What is wrong with a file, shown the way compilers do: place, line, caret, what was expected, the way out.

use std::fmt;
use std::sync::Arc;

use super::source_file::{SourceFile, Span};

/// Past this many problems in one file the rest is not collected: the first ones explain them.
const DIAGNOSTICS_PER_FILE_MAX: usize = 100;
/// Longer lines are shown from near the problem only.
const EXCERPT_CHARS_MAX: usize = 160;
/// Characters kept before the problem in a shortened line.
const EXCERPT_LEAD_CHARS: usize = 40;

/// One problem with one place.
///
/// Messages never hold a value that came from a reference; the excerpt is the file's own line, where the reference stands
/// unresolved.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The place; line 0 when it is about the file as a whole.
    pub span: Span,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What would have been right.
    pub expected: Option<String>,
    /// The nearest known name.
    pub suggestion: Option<String>,
    /// The way out, or the place of the other side of a clash.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A problem at a place.
    pub fn new(file: &Arc<SourceFile>, span: Span, message: impl Into<String>) -> Self {
        Diagnostic {
            file: Arc::clone(file),
            span,
            message: message.into(),
            expected: None,
            suggestion: None,
            help: None,
        }
    }

    /// Adds what would have been right.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Adds the nearest known name, if there is one.
    #[must_use]
    pub fn suggest(mut self, nearest: Option<impl Into<String>>) -> Self {
        self.suggestion = nearest.map(Into::into);
        self
    }

    /// Adds the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    /// Several lines, the last without an end:
    ///
    /// ```text
    /// error: unknown key `partitons` in topic
    ///   --> orders.yaml:12:7
    ///    |
    /// 12 |       partitons: 3
    ///    |       ^^^^^^^^^
    ///    = expected: one of name, partitions, replication_factor, config
    ///    = help: did you mean `partitions`?
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        let Span { line, column, width } = self.span;
        let path = self.file.path().display();
        let margin = " ".repeat(line.to_string().len());
        match self.file.line(line) {
            None => write!(f, "{margin}--> {path}")?,
            Some(text) => {
                let (text, column) = excerpt(text, column);
                let lead: String =
                    text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                let room = text.chars().count().saturating_sub(column - 1).max(1);
                let carets = "^".repeat(width.clamp(1, room));
                writeln!(f, "{margin}--> {path}:{line}:{}", self.span.column)?;
                writeln!(f, "{margin} |")?;
                writeln!(f, "{line} | {text}")?;
                write!(f, "{margin} | {lead}{carets}")?;
            }
        }
        if let Some(expected) = &self.expected {
            write!(f, "\n{margin} = expected: {expected}")?;
        }
        if let Some(nearest) = &self.suggestion {
            write!(f, "\n{margin} = help: did you mean `{nearest}`?")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{margin} = help: {help}")?;
        }
        Ok(())
    }
}

/// The line made fit for a terminal (no control characters, not endless), and the column in it.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    let column = column.max(1);
    let harmless = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    if line.chars().count() <= EXCERPT_CHARS_MAX {
        return (line.chars().map(harmless).collect(), column);
    }
    let skip = (column - 1).saturating_sub(EXCERPT_LEAD_CHARS);
    let window: String = line.chars().skip(skip).take(EXCERPT_CHARS_MAX).map(harmless).collect();
    if skip == 0 { (format!("{window}…"), column) } else { (format!("…{window}…"), column - skip + 1) }
}

/// Collects the problems of one file.
pub(crate) struct Problems {
    file: Arc<SourceFile>,
    found: Vec<Diagnostic>,
}

impl Problems {
    pub(crate) fn new(file: &Arc<SourceFile>) -> Self {
        Problems { file: Arc::clone(file), found: Vec::new() }
    }

    /// A problem of this file, not yet collected.
    pub(crate) fn at(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(&self.file, span, message)
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.found.len() < DIAGNOSTICS_PER_FILE_MAX {
            self.found.push(diagnostic);
        }
    }

    /// All that was found, in the order of the file.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|d| (d.span.line, d.span.column));
        self.found
    }
}
