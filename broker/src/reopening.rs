//! Opens logs again that an error has put offline, so that a disk that was repaired needs no restart of the broker.
//!
//! Each is tried soon, then less and less often, one after the other, as each try may read a segment. While a log is offline its
//! clients are told KAFKA_STORAGE_ERROR and come again. The coordinator of an internal topic's partition ends with the log and begins
//! again with it: what of its last appends is in the log shows only then. The metadata is read again likewise.
//!
//! A log in which something is damaged that had been synced is not tried again: that is for an operator to decide.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use millrace_log::TopicPartition;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::controller::topic_name::CLUSTER_METADATA;
use crate::internal_topic::InternalTopic;
use crate::replica::Partition;
use crate::shared::Shared;

/// How often logs that have failed are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Time between the first try and the second; it doubles with each.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest time between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The tries at one log.
struct Tries {
    next: Instant,
    wait: Duration,
    given_up: bool,
}

impl Tries {
    fn new() -> Self {
        Self { next: Instant::now(), wait: BACKOFF_FIRST, given_up: false }
    }

    fn is_due(&self) -> bool {
        !self.given_up && Instant::now() >= self.next
    }

    fn failed(&mut self, topic: &str, partition: i32, error: &dyn Display, is_lasting: bool) {
        if is_lasting {
            error!(topic, partition, %error, "a log that failed is damaged and stays offline until the broker restarts");
            self.given_up = true;
            return;
        }
        warn!(topic, partition, %error, wait = ?self.wait, "a log that failed cannot be opened yet; it is tried again");
        self.next = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(BACKOFF_MAX);
    }
}

/// Runs until told to stop.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut tries = BTreeMap::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep(LOOK_INTERVAL) => {}
        }
        look(&shared, &mut tries).await;
    }
}

/// Tries every log that has failed and is due. Tries are remembered until the log is well.
async fn look(shared: &Arc<Shared>, tries: &mut BTreeMap<TopicPartition, Tries>) {
    let mut failed = BTreeMap::new();
    if shared.controller.has_failed() {
        let name = TopicPartition::new(CLUSTER_METADATA, 0);
        let mut tried = tries.remove(&name).unwrap_or_else(Tries::new);
        metadata(shared, &mut tried).await;
        failed.insert(name, tried);
    }
    for partition in shared.replicas.all() {
        if !partition.is_offline() || partition.is_closed() {
            continue;
        }
        let name = TopicPartition::new(&*partition.topic, partition.index);
        let mut tried = tries.remove(&name).unwrap_or_else(Tries::new);
        reopen(shared, &partition, &mut tried).await;
        failed.insert(name, tried);
    }
    *tries = failed;
}

async fn metadata(shared: &Arc<Shared>, tries: &mut Tries) {
    if !tries.is_due() {
        return;
    }
    match shared.controller.recover().await {
        Ok(()) => {
            shared.metrics.logs_reopened.add(1);
            info!("metadata can be changed again");
        }
        Err(error) => {
            shared.metrics.reopens_failed.add(1);
            tries.failed(CLUSTER_METADATA, 0, &error, error.is_lasting());
        }
    }
}

async fn reopen(shared: &Arc<Shared>, partition: &Arc<Partition>, tries: &mut Tries) {
    if !tries.is_due() {
        return;
    }
    let internal = InternalTopic::named(&partition.topic);
    if let Some(topic) = internal {
        shared.coordinators.end(topic, partition.index).await;
    }
    let work = partition.clone();
    match crate::blocking::run(shared.replicas.simulated(), move || work.reopen()).await {
        Ok(()) => {
            shared.metrics.logs_reopened.add(1);
            if let Some(topic) = internal {
                shared.coordinators.start_again(shared, topic, partition.index);
            }
        }
        Err(error) => {
            shared.metrics.reopens_failed.add(1);
            let is_lasting = matches!(error, millrace_log::Error::Corrupt { .. });
            tries.failed(&partition.topic, partition.index, &error, is_lasting);
        }
    }
}
