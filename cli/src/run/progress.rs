//! How far sources and sinks are: a live line each on a terminal, else a line now and then; a table at the end.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use millrace_connect_runtime::worker::progress::State;
use millrace_connect_runtime::worker::{ConnectorProgress, RunSummary};
use tokio::time::Instant;

use crate::output::{grouped, remark, size};

/// Between two pictures on a terminal.
const LIVE_INTERVAL: Duration = Duration::from_millis(200);
/// Between two lines elsewhere.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// How much of the past a rate is taken over, so that it doesn't jump.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// Shows progress on stderr.
pub(super) struct Display {
    live: bool,
    next: Instant,
    /// Lines on the terminal that are drawn over.
    drawn: usize,
    /// Records of each connector at an earlier time.
    past: Vec<(Instant, Vec<u64>)>,
}

impl Display {
    pub(super) fn new() -> Self {
        let live = io::stderr().is_terminal();
        let interval = if live { LIVE_INTERVAL } else { LOG_INTERVAL };
        Display { live, next: Instant::now() + interval, drawn: 0, past: Vec::new() }
    }

    /// Waits until it is time for another picture.
    pub(super) async fn tick(&self) {
        tokio::time::sleep_until(self.next).await;
    }

    pub(super) fn show(&mut self, connectors: &[ConnectorProgress]) {
        let now = Instant::now();
        self.next = now + if self.live { LIVE_INTERVAL } else { LOG_INTERVAL };
        self.past.push((now, connectors.iter().map(|c| c.records).collect()));
        let old = self.past.iter().take_while(|(at, _)| now - *at > RATE_WINDOW.max(self.next - now)).count();
        self.past.drain(..old.saturating_sub(1));
        let lines: Vec<String> = connectors
            .iter()
            .enumerate()
            .map(|(at, connector)| line(connector, self.rate(at, now)))
            .collect();
        if !self.live {
            lines.iter().for_each(remark);
            return;
        }
        self.clear();
        let mut err = io::stderr().lock();
        // Nothing can be done if the terminal is gone.
        for line in &lines {
            let _ = writeln!(err, "{line}");
        }
        self.drawn = lines.len();
    }

    /// Takes the live lines away.
    pub(super) fn clear(&mut self) {
        if self.drawn > 0 {
            // Cursor up and erase to the end of the screen (ECMA-48).
            let _ = write!(io::stderr(), "\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    /// Records per second of the connector at `at`.
    fn rate(&self, at: usize, now: Instant) -> u64 {
        let (Some((then, before)), Some((_, newest))) = (self.past.first(), self.past.last()) else {
            return 0;
        };
        let moved = newest.get(at).copied().unwrap_or(0) - before.get(at).copied().unwrap_or(0);
        let elapsed = (now - *then).as_secs_f64();
        if elapsed > 0.0 { (moved as f64 / elapsed) as u64 } else { 0 }
    }
}

fn line(connector: &ConnectorProgress, rate: u64) -> String {
    let mut text = format!(
        "{:<28} {:<10} {:>12} records {:>10}/s {:>10}",
        connector.name,
        connector.state.to_string(),
        grouped(connector.records),
        grouped(rate),
        size(connector.bytes)
    );
    if let Some(lag) = connector.lag {
        text.push_str(&format!("  lag {}", grouped(u64::try_from(lag).unwrap_or(0))));
    }
    if connector.restarts > 0 {
        text.push_str(&format!("  restarts {}", connector.restarts));
    }
    text
}

/// The table at the end.
pub(super) fn table(summary: &RunSummary) -> String {
    let heading =
        ["CONNECTOR", "STATE", "RECORDS", "BYTES", "DROPPED", "SKIPPED", "DEAD LETTERS", "LAG", "RESTARTS"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for connector in &summary.connectors {
        rows.push(vec![
            connector.name.clone(),
            connector.state.to_string(),
            grouped(connector.records),
            size(connector.bytes),
            grouped(connector.dropped),
            grouped(connector.skipped),
            grouped(connector.dead_lettered),
            connector.lag.map_or_else(|| "-".to_owned(), |lag| lag.to_string()),
            connector.restarts.to_string(),
        ]);
    }
    format!("{}\n\ntook {:.1} s", crate::output::table(&rows), summary.elapsed.as_secs_f64())
}

/// Whether it gave up.
pub(super) fn has_failed(connector: &ConnectorProgress) -> bool {
    connector.state == State::Failed
}
