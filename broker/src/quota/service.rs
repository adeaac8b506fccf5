//! Who has used how much, and how long they are to wait.
//!
//! Nothing is counted while there are no quotas. Otherwise each scope (see [`entity::Scope`]) has one rate behind one
//! lock, which is held for a few additions. Scopes that were silent for [`SILENT_MS_MAX`] are forgotten once there are
//! [`SCOPES_MAX`] of them; past that, a new client is not slowed down.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::bucket::Filling;
use super::entity::{self, Kind, QuotaTable, Scope};
use super::mutation::{Buckets, Mutations};
use super::rate::{Rate, Windows};
use crate::config::Config;

/// Most scopes that are counted at a time.
pub(super) const SCOPES_MAX: usize = 10_000;
/// How long a scope must have been silent to be forgotten.
const SILENT_MS_MAX: i64 = 60_000;
/// Percent of a thread's time that a nanosecond per second is.
const PERCENT_PER_NANOSECOND: f64 = 100.0 / 1e9;

/// What a client has used: its quota and how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) kind: Kind,
    pub(crate) amount: f64,
}

impl Usage {
    /// Bytes of a Produce request.
    pub(crate) fn produced(bytes: usize) -> Self {
        Self { kind: Kind::Produce, amount: bytes as f64 }
    }

    /// Bytes of a Fetch response.
    pub(crate) fn fetched(bytes: usize) -> Self {
        Self { kind: Kind::Fetch, amount: bytes as f64 }
    }

    /// Time of a thread.
    pub(crate) fn busy(time: Duration) -> Self {
        Self { kind: Kind::Request, amount: time.as_nanos() as f64 * PERCENT_PER_NANOSECOND }
    }
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Quotas {
    windows: Windows,
    /// Time is measured from here: the wall clock may be set back.
    started: Instant,
    scopes: Mutex<HashMap<Scope, Rate>>,
    /// Seconds that a bucket of mutations fills for at most.
    mutation_burst_s: f64,
    mutations: Arc<Buckets>,
}

impl Quotas {
    /// Nothing was used yet.
    pub(crate) fn new(config: &Config) -> Self {
        let windows = Windows {
            count: config.long("quota.window.num"),
            size_ms: config.long("quota.window.size.seconds").saturating_mul(1000),
        };
        let mutation_burst_s = config.long("controller.quota.window.num") as f64
            * config.long("controller.quota.window.size.seconds") as f64;
        Self {
            windows,
            started: Instant::now(),
            scopes: Mutex::default(),
            mutation_burst_s,
            mutations: Arc::default(),
        }
    }

    /// How usage is sampled.
    pub(crate) fn windows(&self) -> Windows {
        self.windows
    }

    /// Milliseconds since the broker's start.
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Counts what a client has used; how long it is to wait now. A request quota makes nobody wait longer than one
    /// window, as in Kafka.
    pub(crate) fn record(&self, table: &QuotaTable, (user, client): (&str, &str), usage: Usage) -> Duration {
        let now_ms = self.now_ms();
        let Some((bound, scope)) = self.find(table, (user, client), usage.kind) else {
            return Duration::ZERO;
        };
        let mut scopes = self.scopes.lock();
        if scopes.len() >= SCOPES_MAX && !scopes.contains_key(&scope) {
            scopes.retain(|_, rate| now_ms - rate.last_event_ms() < SILENT_MS_MAX);
            if scopes.len() >= SCOPES_MAX {
                return Duration::ZERO;
            }
        }
        let rate = scopes.entry(scope).or_default();
        rate.record(self.windows, usage.amount, now_ms);
        let wait_ms = rate.excess_ms(self.windows, bound, now_ms);
        let longest_ms = if usage.kind == Kind::Request { self.windows.size_ms } else { i64::from(i32::MAX) };
        Duration::from_millis(u64::try_from(wait_ms.min(longest_ms)).unwrap_or(0))
    }

    /// Takes back what was counted, since it was not used after all.
    pub(crate) fn take_back(&self, table: &QuotaTable, (user, client): (&str, &str), usage: Usage) {
        let now_ms = self.now_ms();
        let Some((_, scope)) = self.find(table, (user, client), usage.kind) else { return };
        if let Some(rate) = self.scopes.lock().get_mut(&scope) {
            rate.record(self.windows, -usage.amount, now_ms);
        }
    }

    /// The most that may be used at once without being over the quota whatever was used before; none without quota.
    pub(crate) fn most_at_once(
        &self,
        table: &QuotaTable,
        (user, client): (&str, &str),
        kind: Kind,
    ) -> Option<f64> {
        let (bound, _) = self.find(table, (user, client), kind)?;
        Some(bound * ((self.windows.count - 1) * self.windows.size_ms) as f64 / 1000.0)
    }

    /// How many partitions a client may have created and deleted; with `strict` it is refused what goes beyond.
    pub(crate) fn mutations(&self, table: &QuotaTable, who: (&str, &str), strict: bool) -> Mutations {
        match self.find(table, who, Kind::ControllerMutation) {
            None => Mutations::unlimited(),
            Some((rate, scope)) => {
                let filling = Filling { rate, most: rate * self.mutation_burst_s };
                Mutations::of(&self.mutations, scope, filling, strict, self.now_ms())
            }
        }
    }

    fn find(&self, table: &QuotaTable, (user, client): (&str, &str), kind: Kind) -> Option<(f64, Scope)> {
        if table.is_empty() { None } else { entity::find(table, kind, user, client) }
    }
}

/// Runs `work`; how long it kept its thread busy, waiting not counted.
pub(crate) async fn metered<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let mut work = pin!(work);
    let mut busy = Duration::ZERO;
    poll_fn(move |cx| {
        let started = Instant::now();
        let polled = work.as_mut().poll(cx);
        busy += started.elapsed();
        polled.map(|result| (result, busy))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::quota::Entity;

    fn table(key: &str, value: f64) -> QuotaTable {
        let entity = Entity::from_parts([(entity::CLIENT, Some("c"))]).unwrap();
        QuotaTable::from([(entity, BTreeMap::from([(key.to_owned(), value)]))])
    }

    #[tokio::test(start_paused = true)]
    async fn over_the_quota_one_waits() {
        let quotas = Quotas::new(&Config::new());
        let table = table("producer_byte_rate", 1000.0);
        let who = ("ANONYMOUS", "c");
        let wait = |bytes| quotas.record(&table, who, Usage::produced(bytes)).as_millis();
        assert_eq!(quotas.most_at_once(&table, who, Kind::Produce), Some(10_000.0));
        assert_eq!(wait(10_000), 0);
        assert_eq!(wait(5_000), 5_000);
        quotas.take_back(&table, who, Usage::produced(5_000));
        assert_eq!(wait(0), 0);
        let other = quotas.record(&table, ("ANONYMOUS", "d"), Usage::produced(1 << 30));
        assert_eq!(
            (other, quotas.record(&QuotaTable::new(), who, Usage::produced(1 << 30))),
            Default::default()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_client_waits_a_window_at_most() {
        let quotas = Quotas::new(&Config::new());
        let table = table("request_percentage", 1.0);
        let busy = Usage::busy(Duration::from_secs(100));
        assert_eq!(quotas.record(&table, ("ANONYMOUS", "c"), busy), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn scopes_are_bounded() {
        let quotas = Quotas::new(&Config::new());
        let entity = Entity::from_parts([(entity::CLIENT, None)]).unwrap();
        let table = QuotaTable::from([(entity, BTreeMap::from([("producer_byte_rate".to_owned(), 1.0)]))]);
        for n in 0..2 * SCOPES_MAX {
            quotas.record(&table, ("ANONYMOUS", &n.to_string()), Usage::produced(1));
        }
        assert_eq!(quotas.scopes.lock().len(), SCOPES_MAX);
        tokio::time::advance(Duration::from_millis(SILENT_MS_MAX as u64)).await;
        quotas.record(&table, ("ANONYMOUS", "late"), Usage::produced(1));
        assert_eq!(quotas.scopes.lock().len(), 1);
    }
}
