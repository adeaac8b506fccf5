//! A guest's log lines, under the target `connector`, bounded in length and number.
//!
//! A bucket of [`BURST`] lines fills up again by [`LINES_PER_S`]; lines past it are counted, and the count is logged with the
//! next line that gets through. A guest that floods its log costs little and hides nobody else's lines.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::component::{HasSelf, Linker};

use crate::component::bindings::millrace::connect::log;
use crate::component::state::GuestState;

/// Lines that may come at once.
pub const BURST: u32 = 200;
/// Lines per second after that.
pub const LINES_PER_S: u32 = 20;
/// Longest line, fields included.
pub const LINE_BYTES_MAX: usize = 4 << 10;

/// How many lines a task may still write.
#[derive(Debug)]
pub(crate) struct Budget {
    lines: f64,
    at: Instant,
    suppressed: u64,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { lines: f64::from(BURST), at: now, suppressed: 0 }
    }

    /// Whether a line may be written; if so, how many were left out since the last one.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let passed: Duration = now.saturating_duration_since(self.at);
        self.lines = (self.lines + passed.as_secs_f64() * f64::from(LINES_PER_S)).min(f64::from(BURST));
        self.at = now;
        if self.lines < 1.0 {
            self.suppressed += 1;
            return None;
        }
        self.lines -= 1.0;
        Some(std::mem::take(&mut self.suppressed))
    }
}

pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    log::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl log::Host for GuestState {
    fn enabled(&mut self, level: log::Level) -> bool {
        match level {
            log::Level::Trace => tracing::enabled!(target: "connector", tracing::Level::TRACE),
            log::Level::Debug => tracing::enabled!(target: "connector", tracing::Level::DEBUG),
            log::Level::Info => tracing::enabled!(target: "connector", tracing::Level::INFO),
            log::Level::Warn => tracing::enabled!(target: "connector", tracing::Level::WARN),
            log::Level::Error => tracing::enabled!(target: "connector", tracing::Level::ERROR),
        }
    }

    fn log(&mut self, level: log::Level, message: String, fields: Vec<(String, String)>) {
        if !self.enabled(level) {
            return;
        }
        let Some(suppressed) = self.log_budget.take(Instant::now()) else { return };
        let line = line(message, &fields);
        let (connector, task) = (&*self.label.connector, self.label.task);
        if suppressed > 0 {
            tracing::warn!(target: "connector", connector, task, suppressed, "lines were left out: the guest logs too much");
        }
        match level {
            log::Level::Trace => tracing::trace!(target: "connector", connector, task, "{line}"),
            log::Level::Debug => tracing::debug!(target: "connector", connector, task, "{line}"),
            log::Level::Info => tracing::info!(target: "connector", connector, task, "{line}"),
            log::Level::Warn => tracing::warn!(target: "connector", connector, task, "{line}"),
            log::Level::Error => tracing::error!(target: "connector", connector, task, "{line}"),
        }
    }
}

/// Message and fields in one line without control characters, which could draw on an operator's terminal.
fn line(message: String, fields: &[(String, String)]) -> String {
    let mut line = message;
    for (name, value) in fields {
        if line.len() > LINE_BYTES_MAX {
            break;
        }
        // Writing to a string cannot fail.
        let _ = write!(line, " {name}={value:?}");
    }
    if line.len() > LINE_BYTES_MAX {
        let end = (0..=LINE_BYTES_MAX).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_cut_and_counted() {
        let mut budget = Budget::new(Instant::now());
        let through = (0..10_000).filter(|_| budget.take(Instant::now()).is_some()).count();
        assert_eq!(through, BURST as usize);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(budget.take(Instant::now()), Some(10_000 - u64::from(BURST)));
        assert_eq!(budget.take(Instant::now()), Some(0));
    }

    #[test]
    fn lines_are_short_and_plain() {
        assert_eq!(line("a\nb\u{1b}[2J".into(), &[("file".into(), "x\ny".into())]), "a b [2J file=\"x\\ny\"");
        let long = line("é".repeat(LINE_BYTES_MAX), &[]);
        assert!(long.len() <= LINE_BYTES_MAX + '…'.len_utf8() && long.ends_with('…'));
    }
}
