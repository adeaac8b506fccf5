//! What the host keeps beside one instance: its WASI context, its limits, its part of every capability.

use std::sync::Arc;

use tokio::time::Instant;
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::capability::control::Stopping;
use crate::capability::log::Budget;
use crate::capability::metrics::GuestMetrics;
use crate::capability::postgres;
use crate::component::usage::Usage;
use crate::connection::{Connection, Connections};

/// Most handles (open files, streams, pollables) that a guest may hold.
const HANDLES_MAX: usize = 10_000;
/// Most entries of a guest's tables of functions.
const TABLE_ELEMENTS_MAX: usize = 1 << 20;
/// Most core instances, tables and memories of one component.
const PARTS_MAX: usize = 100;

/// Whose instance it is; in every message about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Connector name, as in the plan.
    pub connector: Arc<str>,
    /// Task of the connector, from 0.
    pub task: u32,
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "connector {} task {}", self.connector, self.task)
    }
}

/// The data of a store.
pub(crate) struct GuestState {
    pub(crate) label: Label,
    pub(crate) stopping: Stopping,
    pub(crate) metrics: GuestMetrics,
    pub(crate) log_budget: Budget,
    pub(crate) limiter: MemoryLimiter,
    /// What it was granted, by the names that its settings have.
    pub(crate) connections: Connections,
    /// How many sessions of databases it has open.
    pub(crate) postgres: postgres::Open,
    wasi: WasiCtx,
    pub(crate) table: ResourceTable,
}

impl GuestState {
    pub(crate) fn new(
        label: Label,
        stopping: Stopping,
        metrics: GuestMetrics,
        memory_bytes_max: u64,
        connections: Connections,
        wasi: WasiCtx,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        let usage = Arc::clone(metrics.usage());
        let limiter = MemoryLimiter {
            bytes: 0,
            bytes_max: usize::try_from(memory_bytes_max).unwrap_or(usize::MAX),
            usage,
        };
        let log_budget = Budget::new(Instant::now());
        let postgres = postgres::Open::default();
        Self { label, stopping, metrics, log_budget, limiter, connections, postgres, wasi, table }
    }
}

impl GuestState {
    /// A connection that it was granted; else why it can't be had.
    pub(crate) fn granted(&self, name: &str) -> Result<Arc<Connection>, String> {
        self.connections.get(name).map(Arc::clone).ok_or_else(|| {
            let names: Vec<&str> = self.connections.keys().map(String::as_str).collect();
            format!("connection {name:?} is not granted to this connector; granted: [{}]", names.join(", "))
        })
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Counts the memory of all of a guest's parts together, and stops the guest that asks for too much with a message that
/// says so: a guest that is merely told no usually ends in an obscure trap.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    bytes: usize,
    bytes_max: usize,
    /// Where it is told.
    usage: Arc<Usage>,
}

impl Drop for MemoryLimiter {
    fn drop(&mut self) {
        self.usage.set_memory_bytes(0);
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.bytes.saturating_add(desired.saturating_sub(current));
        if wanted > self.bytes_max {
            return Err(wasmtime::Error::msg(format!(
                "it needs more memory than its limit of {} MiB; raise limits.memory or give it less to do",
                self.bytes_max >> 20,
            )));
        }
        self.bytes = wanted;
        self.usage.set_memory_bytes(wanted);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }
}
