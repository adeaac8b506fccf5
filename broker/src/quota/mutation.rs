//! How many partitions a client may create and delete (`controller_mutation_rate`, KIP-599).
//!
//! Each topic of a request is paid for once the controller has found nothing wrong with it, also where it is only to be
//! validated. A strict client, whose version of the request knows the error, is refused what it can't pay for with
//! THROTTLING_QUOTA_EXCEEDED; an older one gets it on credit. Both are then muted until their bucket is above zero again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use parking_lot::Mutex;

use super::bucket::{Bucket, Filling};
use super::entity::Scope;
use super::service::SCOPES_MAX;
use crate::controller::Refusal;

/// Buckets by who draws from them. One that is untouched for as long as it takes to fill is as good as a new one.
pub(super) type Buckets = Mutex<HashMap<Scope, Bucket>>;

/// What one client may still have done. Without quota, everything.
#[derive(Clone, Debug)]
pub(crate) struct Mutations(Option<Account>);

#[derive(Clone, Debug)]
struct Account {
    buckets: Arc<Buckets>,
    scope: Scope,
    filling: Filling,
    strict: bool,
    now_ms: i64,
}

impl Mutations {
    /// No limit.
    pub(crate) fn unlimited() -> Self {
        Self(None)
    }

    /// Those of a client with a quota.
    pub(super) fn of(
        buckets: &Arc<Buckets>,
        scope: Scope,
        filling: Filling,
        strict: bool,
        now_ms: i64,
    ) -> Self {
        let mut held = buckets.lock();
        if held.len() >= SCOPES_MAX && !held.contains_key(&scope) {
            let full_after_ms = (filling.most / filling.rate * 1000.0) as i64;
            held.retain(|_, bucket| now_ms - bucket.filled_ms() < full_after_ms);
            if held.len() >= SCOPES_MAX {
                return Self(None);
            }
        }
        held.entry(scope.clone()).or_insert_with(|| Bucket::full(filling, now_ms));
        drop(held);
        Self(Some(Account { buckets: buckets.clone(), scope, filling, strict, now_ms }))
    }

    /// Pays for the creation or deletion of `partitions`.
    ///
    /// # Errors
    /// THROTTLING_QUOTA_EXCEEDED.
    pub(crate) fn pay(&self, partitions: usize) -> Result<(), Refusal> {
        let Some(account) = &self.0 else { return Ok(()) };
        let wait_ms = account.with(|bucket, filling, now_ms| {
            let wait_ms = bucket.wait_ms(filling, now_ms);
            if wait_ms == 0 || !account.strict {
                bucket.take(filling, partitions as f64, now_ms);
            }
            wait_ms
        });
        if wait_ms == 0 || !account.strict {
            return Ok(());
        }
        let message = format!(
            "more partitions were created or deleted than controller_mutation_rate allows; come again in {wait_ms} ms"
        );
        Err(Refusal { error: ResponseError::ThrottlingQuotaExceeded, message })
    }

    /// How long the client is to be muted.
    pub(crate) fn wait(&self) -> Duration {
        let wait_ms = self.0.as_ref().map_or(0, |account| account.with(Bucket::wait_ms));
        // As much as a response can tell.
        Duration::from_millis(wait_ms.clamp(0, i64::from(i32::MAX)).unsigned_abs())
    }
}

impl Account {
    fn with<T: Default>(&self, act: impl FnOnce(&mut Bucket, Filling, i64) -> T) -> T {
        self.buckets
            .lock()
            .get_mut(&self.scope)
            .map_or_else(T::default, |bucket| act(bucket, self.filling, self.now_ms))
    }
}
