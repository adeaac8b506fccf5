//! Those who look after the cluster: one changes the transaction protocol, others watch the groups' offsets.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use millrace_client::{Admin, Consumer, ConsumerConfig, FeatureChange, Random, Result};
use tokio::time::{sleep, timeout};

use super::members::GROUPS;
use super::{FINISH_MAX, Phase, Shared};
use crate::history::{Id, Observed, Partition, Topic};

/// Longest time that a transaction protocol holds, in milliseconds.
const CHANGE_MAX_MS: u64 = 2000;
/// Longest pause between two looks at a group's offsets, in milliseconds.
const LOOK_MAX_MS: u64 = 400;

impl Shared {
    /// Sets the cluster's transaction protocol.
    pub(super) async fn speak(&self, level: i16) -> Result<()> {
        let change = if level < 2 { FeatureChange::SafeDowngrade } else { FeatureChange::Upgrade };
        Admin::new(&self.client).update_feature("transaction.version", level, change).await
    }

    /// Up and down between the transaction protocols.
    pub(super) async fn change_of_mind(self, mut random: Random) {
        for level in [1, 2].into_iter().cycle() {
            if self.is_in(Phase::End) {
                return;
            }
            // One that fails is asked for again two rounds later.
            let changed = self.speak(level).await;
            self.end_of_session("operator", changed.map_err(Into::into));
            sleep(Duration::from_millis(random.below(CHANGE_MAX_MS))).await;
        }
    }

    /// Asks for a group's committed offsets again and again.
    pub(super) async fn watcher(self, group: usize, mut random: Random) {
        while !self.is_in(Phase::End) {
            let observed = self.observe_once(group).await;
            self.end_of_session("watcher", observed);
            sleep(Duration::from_millis(random.below(LOOK_MAX_MS))).await;
        }
    }

    /// Asks for a group's committed offsets.
    pub(super) async fn observe_once(&self, group: usize) -> anyhow::Result<()> {
        let group_id = Some(GROUPS[group].name.to_owned());
        let consumer =
            Consumer::start(&self.client, ConsumerConfig { group_id, ..ConsumerConfig::default() }).await?;
        let partitions: Vec<_> = Topic::Input.partitions().map(Partition::place).collect();
        let asked = self.history.lock().tick();
        let committed = consumer.committed(&partitions).await?;
        let offsets = Topic::Input
            .partitions()
            .filter_map(|partition| Some((partition, committed.get(&partition.place())?.offset)));
        let history = &mut *self.history.lock();
        let at = history.tick();
        history.groups[group].observed.push(Observed { asked, at, offsets: offsets.collect() });
        Ok(())
    }

    /// Waits until a group has committed all of the input.
    pub(super) async fn drained(
        &self,
        group: usize,
        input: &BTreeMap<Partition, Vec<(i64, Id)>>,
    ) -> anyhow::Result<()> {
        let is_past = |partition, last: Option<&(i64, Id)>| {
            let history = self.history.lock();
            let offsets = history.groups[group].observed.last().map(|observed| &observed.offsets);
            let committed = offsets.and_then(|offsets| offsets.get(partition)).copied().unwrap_or(0);
            last.is_none_or(|(offset, _)| committed > *offset)
        };
        let all_past = || input.iter().all(|(partition, records)| is_past(partition, records.last()));
        let drained = timeout(FINISH_MAX, async {
            while !all_past() {
                sleep(Duration::from_millis(LOOK_MAX_MS)).await;
            }
        });
        drained.await.with_context(|| {
            let history = self.history.lock();
            let offsets = history.groups[group].observed.last().map(|observed| &observed.offsets);
            let ends: BTreeMap<_, _> = input.iter().map(|(p, records)| (p, records.last())).collect();
            format!("{} does not come to the end of the input: {offsets:?} of {ends:?}", GROUPS[group].name)
        })
    }
}
