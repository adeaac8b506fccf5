//! How fast connections may be made: all together (`max.connection.creation.rate`) and from one address (the quota
//! `connection_creation_rate`, KIP-612). Measured as quotas are, in sampled windows.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::quota::{Rate, Windows};

/// Most addresses whose rate is measured at a time; past it those that are silent are forgotten.
const ADDRESSES_MAX: usize = 10_000;

/// See the module's head.
#[derive(Debug)]
pub(super) struct CreationRates {
    windows: Windows,
    all: Rate,
    by_ip: HashMap<IpAddr, Rate>,
}

impl CreationRates {
    pub(super) fn new(windows: Windows) -> Self {
        Self { windows, all: Rate::default(), by_ip: HashMap::new() }
    }

    /// One more connection; how long it has to wait, and others behind it, so that no more than `bound` are made in a
    /// second.
    pub(super) fn made(&mut self, bound: f64, now_ms: i64) -> Duration {
        self.all.record(self.windows, 1.0, now_ms);
        self.wait(self.all.clone().excess_ms(self.windows, bound, now_ms))
    }

    /// One more connection from this address, if its rate lets it; else how long it is to be kept waiting before it is
    /// closed.
    pub(super) fn made_from(&mut self, ip: IpAddr, bound: f64, now_ms: i64) -> Option<Duration> {
        if self.by_ip.len() >= ADDRESSES_MAX {
            let silent_ms = self.windows.count * self.windows.size_ms;
            self.by_ip.retain(|_, rate| now_ms - rate.last_event_ms() < silent_ms);
        }
        let rate = self.by_ip.entry(ip).or_default();
        rate.record(self.windows, 1.0, now_ms);
        let excess_ms = rate.excess_ms(self.windows, bound, now_ms);
        if excess_ms <= 0 {
            return None;
        }
        rate.record(self.windows, -1.0, now_ms);
        Some(self.wait(excess_ms))
    }

    /// Nobody waits longer than a window.
    fn wait(&self, excess_ms: i64) -> Duration {
        Duration::from_millis(u64::try_from(excess_ms.min(self.windows.size_ms)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_rate_connections_wait_or_are_refused() {
        let windows = Windows { count: 11, size_ms: 1000 };
        let mut rates = CreationRates::new(windows);
        let ip = IpAddr::from([127, 0, 0, 1]);
        for _ in 0..20 {
            assert_eq!(rates.made(2.0, 0), Duration::ZERO);
            assert_eq!(rates.made_from(ip, 2.0, 0), None);
        }
        assert_eq!(rates.made(2.0, 0), Duration::from_millis(500));
        assert_eq!(rates.made_from(ip, 2.0, 0), Some(Duration::from_millis(500)));
        assert_eq!(rates.made_from(IpAddr::from([127, 0, 0, 2]), 2.0, 0), None);
        assert_eq!(rates.made_from(ip, 2.0, 11_000), None);
    }
}
