//! A rate over sampled windows, as Kafka measures quotas (`Rate` over `SampledStat` in its clients' metrics).
//!
//! What is recorded is summed in windows of a second or so; a rate is the sum of the windows that are not too old, over
//! the time since the oldest of them began, but never over less than all windows but one: a burst after silence is
//! averaged over time that was silent.

/// How usage is sampled (`quota.window.num`, `quota.window.size.seconds`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    /// How many, the current one included.
    pub(crate) count: i64,
    /// How long each of them is.
    pub(crate) size_ms: i64,
}

/// One window.
#[derive(Clone, Copy, Debug)]
struct Sample {
    start_ms: i64,
    last_event_ms: i64,
    sum: f64,
}

/// See the module's head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rate {
    /// At most one more than there are windows: one may lie partly in the time that is looked at.
    samples: Vec<Sample>,
    current: usize,
}

impl Rate {
    /// Counts `value`, which may be negative to take something back.
    pub(crate) fn record(&mut self, windows: Windows, value: f64, now_ms: i64) {
        if self.samples.is_empty() {
            self.samples.push(Sample::new(now_ms));
        }
        if now_ms - self.samples[self.current].start_ms >= windows.size_ms {
            let kept = usize::try_from(windows.count + 1).unwrap_or(1).max(1);
            self.current = (self.current + 1) % kept;
            match self.samples.get_mut(self.current) {
                Some(oldest) => *oldest = Sample::new(now_ms),
                None => {
                    self.current = self.samples.len();
                    self.samples.push(Sample::new(now_ms));
                }
            }
        }
        let sample = &mut self.samples[self.current];
        sample.sum += value;
        sample.last_event_ms = now_ms;
    }

    /// What was counted per second.
    pub(crate) fn per_second(&mut self, windows: Windows, now_ms: i64) -> f64 {
        let window_ms = self.window_ms(windows, now_ms);
        let sum: f64 = self.samples.iter().map(|sample| sample.sum).sum();
        sum * 1000.0 / window_ms as f64
    }

    /// How long to wait until the rate is down to `bound`; 0 if it is not above.
    pub(crate) fn excess_ms(&mut self, windows: Windows, bound: f64, now_ms: i64) -> i64 {
        let rate = self.per_second(windows, now_ms);
        if rate <= bound {
            return 0;
        }
        // O * W / (W + X) = T, for the observed rate O, the bound T and the window W.
        let wait_ms = (rate - bound) / bound * self.window_ms(windows, now_ms) as f64;
        // A bound of zero can't be waited for: as long as there is.
        if wait_ms.is_finite() { wait_ms.round() as i64 } else { i64::MAX }
    }

    /// When something was counted last.
    pub(crate) fn last_event_ms(&self) -> i64 {
        self.samples.iter().map(|sample| sample.last_event_ms).max().unwrap_or(i64::MIN)
    }

    /// Forgets windows that are too old; over how long the rest is measured.
    fn window_ms(&mut self, windows: Windows, now_ms: i64) -> i64 {
        let expire_ms = windows.count * windows.size_ms;
        for sample in &mut self.samples {
            if now_ms - sample.last_event_ms >= expire_ms {
                *sample = Sample::new(now_ms);
            }
        }
        let oldest_ms = self.samples.iter().map(|sample| sample.start_ms).min().unwrap_or(now_ms);
        let elapsed_ms = (now_ms - oldest_ms).max(0);
        let missing = (windows.count - 1 - elapsed_ms / windows.size_ms).max(0);
        (elapsed_ms + missing * windows.size_ms).max(windows.size_ms)
    }
}

impl Sample {
    fn new(now_ms: i64) -> Self {
        Self { start_ms: now_ms, last_event_ms: now_ms, sum: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows { count: 11, size_ms: 1000 };

    /// The steps of Kafka's own `ClientQuotaManagerTest.testQuotaViolation`: 400 per second for ten seconds under a
    /// bound of 500, then a spike.
    #[test]
    fn throttles_as_kafkas_own_test() {
        let (mut rate, mut now_ms) = (Rate::default(), 0);
        for _ in 0..10 {
            rate.record(WINDOWS, 400.0, now_ms);
            assert_eq!(rate.excess_ms(WINDOWS, 500.0, now_ms), 0);
            now_ms += 1000;
        }
        // (600 - 500)/500 of 10.5 s: 2,100 ms, after a spike half a window later.
        now_ms += 500;
        rate.record(WINDOWS, 2300.0, now_ms);
        assert_eq!(rate.excess_ms(WINDOWS, 500.0, now_ms), 2100);
        now_ms += 3000;
        rate.record(WINDOWS, 0.0, now_ms);
        assert!(rate.excess_ms(WINDOWS, 500.0, now_ms) < 2100);
        for _ in 0..10 {
            rate.record(WINDOWS, 400.0, now_ms);
            now_ms += 1000;
        }
        assert_eq!(rate.excess_ms(WINDOWS, 500.0, now_ms), 0);
    }

    #[test]
    fn a_burst_after_silence_is_averaged_over_the_silence() {
        let mut rate = Rate::default();
        rate.record(WINDOWS, 5000.0, 0);
        assert_eq!(rate.per_second(WINDOWS, 0), 500.0);
        assert_eq!(rate.per_second(WINDOWS, 500), 5000.0 / 10.5);
        assert_eq!(rate.per_second(WINDOWS, 11_000), 0.0);
        rate.record(WINDOWS, 5000.0, 1_000_000);
        assert_eq!(rate.per_second(WINDOWS, 1_000_000), 500.0);
    }

    #[test]
    fn what_is_taken_back_was_never_there() {
        let mut rate = Rate::default();
        rate.record(WINDOWS, 9000.0, 0);
        rate.record(WINDOWS, -9000.0, 10);
        assert_eq!(rate.excess_ms(WINDOWS, 1.0, 10), 0);
        assert!(rate.samples.len() <= 12);
    }
}
