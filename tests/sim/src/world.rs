//! The broker on its simulated disk, and the ways in which it is hurt.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use millrace_broker::{Broker, BrokerHandle, Config, Descriptors, Env};
use millrace_log::disk::{Disk, Fault, FaultOp, SimDisk};

use crate::lying_disk::LyingDisk;
use crate::network::Network;
use millrace_client::Random;

/// When the simulation's time begins, in milliseconds since 1970: 2026-01-01.
pub(crate) const START_MS: i64 = 1_767_225_600_000;

/// What a process that may open few files has, in every other life of a broker: fewer than there are logs.
const FEW_DESCRIPTORS: u64 = 16;

/// One machine with a broker.
pub(crate) struct World {
    disk: Arc<SimDisk>,
    lying_disk: bool,
    network: Network,
    broker: Option<BrokerHandle>,
    random: Random,
    /// A sync was made to fail since the broker started.
    syncs_failed: bool,
    /// When the world began: the wall clock goes on over restarts.
    began: tokio::time::Instant,
}

impl World {
    pub(crate) async fn start(mut random: Random, lying_disk: bool) -> anyhow::Result<Self> {
        let network = Network::new(random.split());
        let began = tokio::time::Instant::now();
        let mut world = Self {
            disk: Arc::new(SimDisk::new()),
            lying_disk,
            network,
            broker: None,
            random,
            syncs_failed: false,
            began,
        };
        world.boot().await?;
        Ok(world)
    }

    pub(crate) fn network(&self) -> Network {
        self.network.clone()
    }

    async fn boot(&mut self) -> anyhow::Result<()> {
        self.syncs_failed = false;
        let mut config = Config::new();
        config.set_data_dir(Path::new("/data"));
        config.set_listen("127.0.0.1:0")?;
        // Young segments, so that rolls, indexes and snapshots are part of every run.
        for (name, value) in [
            ("log.roll.ms", "2000"),
            ("log.index.interval.bytes", "512"),
            ("offsets.topic.num.partitions", "2"),
            ("transaction.state.log.num.partitions", "2"),
            ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "1000"),
            // Groups that form and lose members quickly, as all else happens quickly here.
            ("group.min.session.timeout.ms", "500"),
            ("group.initial.rebalance.delay.ms", "100"),
            // Snapshots of the metadata, and a log without what they have, at each start.
            ("metadata.log.max.record.bytes.between.snapshots", "500"),
            ("metadata.max.retention.bytes", "0"),
        ] {
            config.set(name, value)?;
        }
        let disk: Arc<dyn Disk> =
            if self.lying_disk { Arc::new(LyingDisk(self.disk.clone())) } else { self.disk.clone() };
        let start_ms = START_MS + i64::try_from(self.began.elapsed().as_millis())?;
        let mut env = Env::simulated(disk, self.random.next_u64(), start_ms);
        if self.random.below(2) == 0 {
            env.descriptors = Descriptors::new(FEW_DESCRIPTORS);
        }
        let broker = Broker::start(config, env).await.context("the broker does not start")?;
        self.network.set_door(Some(Box::new(broker.connector())));
        self.broker = Some(broker);
        Ok(())
    }

    /// One fault, and the restart after it where it needs one. Returns its name.
    pub(crate) async fn hurt(&mut self, random: &mut Random) -> anyhow::Result<&'static str> {
        let name = match random.below(11) {
            0 | 1 => {
                self.network.sever(2);
                return Ok("broken connections");
            }
            2 => {
                self.network.set_door(None);
                self.disk.clear_faults();
                let broker = self.broker.take().context("a broker runs between faults")?;
                match broker.shutdown().await {
                    // A log that had failed and was not opened again yet.
                    Err(_) if self.syncs_failed => self.disk.kill(),
                    stopped => stopped.context("the broker does not stop cleanly")?,
                }
                "restart"
            }
            10 => {
                let op = if random.below(2) == 0 { FaultOp::Sync } else { FaultOp::SyncAndDrop };
                let after = u32::try_from(random.below(20))?;
                self.disk.fail_next(Fault { op, path: String::new(), after });
                self.syncs_failed = true;
                return Ok("a failed sync");
            }
            3..=5 => {
                self.end().await;
                self.disk.kill();
                "kill"
            }
            _ => {
                self.end().await;
                self.disk.power_cut(random.next_u64());
                "power cut"
            }
        };
        tokio::time::sleep(Duration::from_millis(random.below(500))).await;
        self.boot().await.with_context(|| format!("after a {name}"))?;
        Ok(name)
    }

    /// The process is gone, in the middle of whatever it did.
    async fn end(&mut self) {
        self.network.set_door(None);
        if let Some(broker) = self.broker.take() {
            broker.abort();
        }
        // Aborted tasks are dropped when the runtime comes to them.
        tokio::task::yield_now().await;
        self.network.sever(1);
    }
}
