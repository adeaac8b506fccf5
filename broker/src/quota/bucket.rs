//! A bucket of tokens that fills at an even rate (KIP-599, Kafka's `TokenBucket`).
//!
//! What is done is paid for with tokens. The last thing that is paid for may take more than there are: then the bucket is
//! below zero, and nothing more is to be done until it has filled up again. A large bucket lets a burst pass.

/// See the module's head.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    tokens: f64,
    filled_ms: i64,
}

/// How a bucket is filled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filling {
    /// Tokens per second.
    pub(crate) rate: f64,
    /// The most that it holds.
    pub(crate) most: f64,
}

impl Bucket {
    /// A full one.
    pub(crate) fn full(filling: Filling, now_ms: i64) -> Self {
        Self { tokens: filling.most, filled_ms: now_ms }
    }

    /// Takes tokens out, also those that are not there yet.
    pub(crate) fn take(&mut self, filling: Filling, tokens: f64, now_ms: i64) {
        self.fill(filling, now_ms);
        self.tokens = (self.tokens - tokens).min(filling.most);
    }

    /// How long to wait until it is not below zero; 0 if it isn't.
    pub(crate) fn wait_ms(&mut self, filling: Filling, now_ms: i64) -> i64 {
        self.fill(filling, now_ms);
        let wait_ms = (-self.tokens / filling.rate * 1000.0).round();
        // A float's cast stays within the integer's range.
        if self.tokens < 0.0 { wait_ms as i64 } else { 0 }
    }

    /// When it was looked at last.
    pub(crate) fn filled_ms(&self) -> i64 {
        self.filled_ms
    }

    fn fill(&mut self, filling: Filling, now_ms: i64) {
        let passed_s = (now_ms - self.filled_ms).max(0) as f64 / 1000.0;
        self.tokens = (self.tokens + passed_s * filling.rate).min(filling.most);
        self.filled_ms = now_ms.max(self.filled_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILLING: Filling = Filling { rate: 2.0, most: 20.0 };

    #[test]
    fn the_last_burst_may_be_on_credit() {
        let mut bucket = Bucket::full(FILLING, 1_000);
        bucket.take(FILLING, 19.0, 1_000);
        assert_eq!(bucket.wait_ms(FILLING, 1_000), 0);
        bucket.take(FILLING, 11.0, 1_000);
        assert_eq!(bucket.wait_ms(FILLING, 1_000), 5_000);
        assert_eq!(bucket.wait_ms(FILLING, 3_000), 3_000);
        assert_eq!(bucket.wait_ms(FILLING, 6_000), 0);
    }

    #[test]
    fn it_holds_no_more_than_it_may() {
        let mut bucket = Bucket::full(FILLING, 0);
        bucket.take(FILLING, 0.0, 1_000_000);
        bucket.take(FILLING, 24.0, 1_000_000);
        assert_eq!(bucket.wait_ms(FILLING, 1_000_000), 2_000);
        // A quota that was lowered holds at once.
        let lower = Filling { rate: 1.0, most: 10.0 };
        assert_eq!(bucket.wait_ms(lower, 1_000_000), 4_000);
    }
}
