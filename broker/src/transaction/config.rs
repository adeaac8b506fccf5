//! Settings of the transaction coordinator, named and defaulted as in Kafka.

/// How transactions are coordinated. Each field is the Kafka property of the same name, with dots for underscores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// `transaction.max.timeout.ms`: producers may not ask for a longer timeout (INVALID_TRANSACTION_TIMEOUT).
    pub(crate) transaction_max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`: an id that nobody used for so long is forgotten.
    pub(crate) transactional_id_expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`: how often that is looked at.
    pub(crate) transaction_remove_expired_transaction_cleanup_interval_ms: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            transaction_max_timeout_ms: 900_000,
            transactional_id_expiration_ms: 7 * 24 * 3_600_000,
            transaction_remove_expired_transaction_cleanup_interval_ms: 3_600_000,
        }
    }
}

/// How long the coordinator waits before it tries markers, or a record without which it cannot go on, again.
pub(crate) const RETRY_MS: i64 = 100;

/// How many transactional ids one partition of `__transaction_state` holds; past it new ones are refused.
pub(crate) const TRANSACTIONS_MAX: usize = 100_000;

/// How many AddPartitions requests of one transactional id wait for the one before; past it they are told
/// CONCURRENT_TRANSACTIONS. A producer has five in flight by default.
pub(crate) const QUEUED_MAX: usize = 32;
