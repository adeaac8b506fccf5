//! Averages, largest values and rates of the last 30 to 60 seconds, as Kafka's metrics have them (`metrics.num.samples=2`,
//! `metrics.sample.window.ms=30000`).

use std::time::Duration;

use tokio::time::Instant;

/// Length of a sample; there are two.
const SAMPLE: Duration = Duration::from_secs(30);

/// The last two samples, the older one first.
#[derive(Debug, Default)]
pub(super) struct Window([Option<Sample>; 2]);

#[derive(Clone, Copy, Debug)]
struct Sample {
    since: Instant,
    count: u64,
    sum: f64,
    max: f64,
}

impl Window {
    /// Notes a value.
    pub(super) fn record(&mut self, now: Instant, value: f64) {
        if self.0[1].is_none_or(|newest| now - newest.since >= SAMPLE) {
            let new = Sample { since: now, count: 0, sum: 0.0, max: f64::NEG_INFINITY };
            self.0 = [self.0[1], Some(new)];
        }
        if let Some(newest) = &mut self.0[1] {
            newest.count += 1;
            newest.sum += value;
            newest.max = newest.max.max(value);
        }
    }

    fn current(&self, now: Instant) -> impl Iterator<Item = &Sample> {
        self.0.iter().flatten().filter(move |sample| now - sample.since < 2 * SAMPLE)
    }

    /// None: there was nothing.
    pub(super) fn average(&self, now: Instant) -> Option<f64> {
        let count: u64 = self.current(now).map(|sample| sample.count).sum();
        (count > 0).then(|| self.sum(now) / count as f64)
    }

    /// None: there was nothing.
    pub(super) fn max(&self, now: Instant) -> Option<f64> {
        self.current(now).map(|sample| sample.max).reduce(f64::max)
    }

    /// The sum of the values per second, over one sample at least.
    pub(super) fn rate(&self, now: Instant) -> Option<f64> {
        let since = self.current(now).next().map_or(SAMPLE, |oldest| now - oldest.since);
        Some(self.sum(now) / since.max(SAMPLE).as_secs_f64())
    }

    fn sum(&self, now: Instant) -> f64 {
        // Not `sum()`: of nothing that is -0.0.
        self.current(now).fold(0.0, |sum, sample| sum + sample.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_two_samples_is_forgotten() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::default();
        assert_eq!((window.average(start), window.max(start), window.rate(start)), (None, None, Some(0.0)));
        window.record(at(0), 60.0);
        window.record(at(10), 30.0);
        assert_eq!((window.average(at(10)), window.max(at(10))), (Some(45.0), Some(60.0)));
        assert_eq!(window.rate(at(10)), Some(3.0));
        window.record(at(40), 6.0);
        assert_eq!((window.average(at(40)), window.rate(at(48))), (Some(32.0), Some(2.0)));
        assert_eq!((window.average(at(60)), window.max(at(60))), (Some(6.0), Some(6.0)));
        assert_eq!((window.average(at(100)), window.rate(at(100))), (None, Some(0.0)));
    }
}
