//! All shards of one kind on this node: found by key, started when first needed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::machine::Machine;
use super::partitioner::partition_for;
use super::shard::{self, Handle, Life};
use crate::shared::Shared;

/// How long shards may take to write what they have accepted once the broker stops.
const STOP_MAX: Duration = Duration::from_secs(5);

/// All shards of one kind.
pub(crate) struct Shards<M: Machine> {
    make: Box<dyn Fn() -> M + Send + Sync>,
    running: Mutex<Running<M>>,
}

struct Running<M: Machine> {
    handles: BTreeMap<i32, (Handle<M>, Life)>,
    tasks: JoinSet<()>,
    stopped: bool,
}

impl<M: Machine> Shards<M> {
    /// None yet; `make` makes a machine without state.
    pub(crate) fn new(make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        let running = Running { handles: BTreeMap::new(), tasks: JoinSet::new(), stopped: false };
        Self { make: Box::new(make), running: Mutex::new(running) }
    }

    /// Starts a shard for every partition of the topic that is here, so that deadlines run and transactions that
    /// were decided are finished without anybody asking.
    pub(crate) fn start(&self, shared: &Arc<Shared>) {
        if shared.image().topic(M::TOPIC.name()).is_none() {
            return;
        }
        for partition in 0..shared.internal_partitions(M::TOPIC) {
            // Not here: nothing to start.
            let _ = self.at(shared, partition);
        }
    }

    /// The shard of `key`; its topic is made if it is not there.
    ///
    /// # Errors
    /// The topic cannot be made, or this node is not the coordinator.
    pub(crate) async fn of(&self, shared: &Arc<Shared>, key: &str) -> Result<Handle<M>, ResponseError> {
        shared.ensure_internal(M::TOPIC).await?;
        self.at(shared, self.partition(shared, key))
    }

    /// Which partition `key` belongs to.
    pub(crate) fn partition(&self, shared: &Shared, key: &str) -> i32 {
        partition_for(key, shared.internal_partitions(M::TOPIC))
    }

    /// The shard of a partition.
    ///
    /// # Errors
    /// This node is not its coordinator.
    pub(crate) fn at(&self, shared: &Arc<Shared>, partition: i32) -> Result<Handle<M>, ResponseError> {
        let mut running = self.running.lock();
        if let Some((handle, _)) = running.handles.get(&partition) {
            return Ok(handle.clone());
        }
        if running.stopped || !shared.has_partition(M::TOPIC.name(), partition) {
            return Err(ResponseError::NotCoordinator);
        }
        let (handle, life) = shard::spawn((self.make)(), partition, shared, &mut running.tasks);
        running.handles.insert(partition, (handle.clone(), life));
        Ok(handle)
    }

    /// Ends the shard of a partition whose log has failed, and returns when it is gone. What it knows may not be what the log
    /// will turn out to have: the next one reads it.
    pub(crate) async fn end(&self, partition: i32) {
        let ended = self.running.lock().handles.remove(&partition);
        if let Some((_, life)) = ended {
            life.end().await;
        }
    }

    /// All that run, by partition.
    pub(crate) fn all(&self) -> Vec<Handle<M>> {
        self.running.lock().handles.values().map(|(handle, _)| handle.clone()).collect()
    }

    /// Returns once those that run have read their partition: none answers before that.
    pub(crate) async fn loaded(&self) {
        for handle in self.all() {
            // One that stops meanwhile has nothing more to load.
            let _ = handle.look(|_| ()).await;
        }
    }

    /// Lets the shards write what they have accepted and ends them.
    pub(crate) async fn stop(&self) {
        let mut tasks = {
            let mut running = self.running.lock();
            running.stopped = true;
            running.handles.clear();
            std::mem::take(&mut running.tasks)
        };
        let ended = async { while tasks.join_next().await.is_some() {} };
        if timeout(STOP_MAX, ended).await.is_err() {
            tracing::warn!(topic = M::TOPIC.name(), "coordinators did not end in time and are dropped");
        }
    }

    /// Ends the shards where they stand.
    pub(crate) fn abort(&self) {
        let mut running = self.running.lock();
        running.stopped = true;
        running.handles.clear();
        running.tasks.abort_all();
    }
}
