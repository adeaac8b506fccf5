//! One instance: started within limits, called with a time limit, explained when it fails.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use wasmtime_wasi::WasiCtxBuilder;

use super::bindings::millrace::connect::types::Error as GuestError;
use super::captured::Captured;
use super::engine::Ticker;
use super::load::Component;
use super::state::{GuestState, Label};
use super::usage::Usage;
use super::{Failure, batch, in_place};
use crate::capability::control::Stopping;
use crate::capability::metrics::GuestMetrics;
use crate::plan::{ComponentRef, Grants, Limits};

/// Most bytes that a guest may hand to the host in one call of an import: log lines, writes to files.
const HOST_CALL_BYTES_MAX: usize = 16 << 20;
/// Longest code and message of a failure that are passed on.
const FAILURE_BYTES_MAX: usize = 4 << 10;

/// What an instance is started with.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Whose it is.
    pub label: Label,
    /// What it may reach.
    pub grants: Grants,
    /// What it may use up.
    pub limits: Limits,
    /// Raised when the task is to end.
    pub stopping: Stopping,
    /// Where its numbers go.
    pub metrics: GuestMetrics,
}

impl Environment {
    /// For calls that belong to no task.
    pub(super) fn outside_task(component: &ComponentRef, grants: &Grants, limits: Limits) -> Self {
        Self {
            label: Label { connector: component.to_string().into(), task: 0 },
            grants: grants.clone(),
            limits,
            stopping: Stopping::never(),
            metrics: GuestMetrics::default(),
        }
    }
}

/// Why a call did not succeed. Every message names connector, task and call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The instance could not be started.
    #[error("{label}: {message}")]
    Start {
        /// Whose instance.
        label: Label,
        /// What happened.
        message: String,
    },
    /// The guest says that the same call may succeed later.
    #[error("{label}: {call}: {} ({})", failure.message, failure.code)]
    Retriable {
        /// Whose instance.
        label: Label,
        /// The call.
        call: &'static str,
        /// What the guest says.
        failure: Failure,
    },
    /// The guest says that it can't go on.
    #[error("{label}: {call}: {} ({})", failure.message, failure.code)]
    Fatal {
        /// Whose instance.
        label: Label,
        /// The call.
        call: &'static str,
        /// What the guest says.
        failure: Failure,
    },
    /// The guest trapped; its instance is gone.
    #[error("{label}: trap in {call}: {reason}")]
    Trap {
        /// Whose instance.
        label: Label,
        /// The call.
        call: &'static str,
        /// The guest's panic message, or what the engine said.
        reason: String,
    },
    /// The guest took too long; its instance is gone.
    #[error(
        "{label}: {call} was stopped after its time limit of {limit:?}; the guest may be in an endless loop, or limits.call_timeout is too short"
    )]
    Timeout {
        /// Whose instance.
        label: Label,
        /// The call.
        call: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The guest handed back something that breaks the contract; its instance is not used any more.
    #[error("{label}: {call} broke the contract: {reason}")]
    Contract {
        /// Whose instance.
        label: Label,
        /// The call.
        call: &'static str,
        /// Which rule.
        reason: String,
    },
    /// The instance failed before.
    #[error("{label}: {call}: the instance failed before and must be replaced")]
    Gone {
        /// Whose instance.
        label: Label,
        /// The call.
        call: &'static str,
    },
}

impl CallError {
    /// Whether the same call may be repeated on the same instance.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Retriable { .. })
    }

    /// Whether a new instance, started from the last durable position, may do better.
    #[must_use]
    pub fn wants_new_instance(&self) -> bool {
        matches!(self, Self::Trap { .. } | Self::Timeout { .. } | Self::Gone { .. } | Self::Retriable { .. })
    }
}

/// A running instance.
pub(super) struct Instance {
    pub(super) store: Store<GuestState>,
    pub(super) instance: wasmtime::component::Instance,
    pub(super) watch: Watch,
}

/// What surrounds each call: time limit, turns for others, words for failures. Beside the store, so that a call can borrow
/// both.
#[derive(Debug)]
pub(super) struct Watch {
    label: Label,
    call_timeout: Duration,
    captured: Captured,
    ticker: Arc<Ticker>,
    usage: Arc<Usage>,
    /// Whether calls run on a thread that may block; see `in_place`.
    blocks: bool,
    gone: bool,
}

impl Instance {
    pub(super) async fn start(component: &Component, environment: Environment) -> Result<Self, CallError> {
        let Environment { label, grants, limits, stopping, metrics } = environment;
        let (captured, usage) = (Captured::default(), Arc::clone(metrics.usage()));
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(captured.clone()).stderr(captured.clone());
        let blocks = in_place::is_wanted(&grants);
        wasi.allow_blocking_current_thread(blocks);
        if let ComponentRef::Bundled(name) = component.reference() {
            // One that holds several connectors finds out by it which of them it is.
            wasi.arg(name);
        }
        crate::capability::prepare(&grants, &mut wasi)
            .map_err(|message| CallError::Start { label: label.clone(), message })?;
        let (memory, connections) = (limits.memory_bytes_max, grants.connections);
        let state = GuestState::new(label.clone(), stopping, metrics, memory, connections, wasi.build());
        let mut store = Store::new(component.pre.engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
        // A tick after a call began, and after each further one, the guest gives others a turn.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let mut watch = Watch {
            label,
            call_timeout: limits.call_timeout,
            captured,
            ticker: Arc::clone(&component.ticker),
            usage,
            blocks,
            gone: false,
        };
        let instance = watch.run("instantiate", component.pre.instantiate_async(&mut store)).await?;
        Ok(Self { store, instance, watch })
    }
}

impl Watch {
    /// Runs a call. A call that traps, runs out of time or is dropped half way leaves the instance unusable.
    pub(super) async fn run<R>(
        &mut self,
        call: &'static str,
        future: impl Future<Output = wasmtime::Result<R>>,
    ) -> Result<R, CallError> {
        if std::mem::replace(&mut self.gone, true) {
            return Err(CallError::Gone { label: self.label.clone(), call });
        }
        let ended = {
            let _running = self.ticker.running();
            let call = in_place::run(self.blocks, self.usage.timed(future));
            tokio::time::timeout(self.call_timeout, call).await
        };
        match ended {
            Ok(Ok(result)) => {
                self.gone = false;
                Ok(result)
            }
            Ok(Err(error)) => Err(self.failed(call, &error)),
            Err(_) => Err(CallError::Timeout { label: self.label.clone(), call, limit: self.call_timeout }),
        }
    }

    /// The same for a call that may answer with an error of the contract.
    pub(super) async fn run_fallible<R>(
        &mut self,
        call: &'static str,
        future: impl Future<Output = wasmtime::Result<Result<R, GuestError>>>,
    ) -> Result<R, CallError> {
        match self.run(call, future).await? {
            Ok(result) => Ok(result),
            Err(GuestError::Retriable(failure)) => {
                Err(CallError::Retriable { label: self.label.clone(), call, failure: tidy(failure) })
            }
            Err(GuestError::Fatal(failure)) => {
                Err(CallError::Fatal { label: self.label.clone(), call, failure: tidy(failure) })
            }
        }
    }

    /// Words for an error of the engine.
    pub(super) fn failed(&self, call: &'static str, error: &wasmtime::Error) -> CallError {
        let trap = error.downcast_ref::<wasmtime::Trap>().map(ToString::to_string);
        let printed = self.captured.reason();
        let reason = match (trap, printed) {
            (Some(trap), Some(printed)) => format!("{printed} ({trap})"),
            (Some(trap), None) => trap,
            // The host ended it: the memory limit, a refused copy.
            (None, _) => error.root_cause().to_string(),
        };
        CallError::Trap { label: self.label.clone(), call, reason: cut(reason) }
    }

    /// Notes that the guest broke the contract: it is not called again.
    pub(super) fn broke(&mut self, call: &'static str, reason: impl ToString) -> CallError {
        self.gone = true;
        CallError::Contract { label: self.label.clone(), call, reason: cut(reason.to_string()) }
    }

    /// Forgets what the guest printed during earlier calls.
    pub(super) fn begin(&self) {
        self.captured.clear();
    }

    /// Checks a batch that a call handed back.
    pub(super) fn checked(
        &mut self,
        call: &'static str,
        columns: super::bindings::millrace::connect::types::RecordBatch,
    ) -> Result<batch::Batch, CallError> {
        batch::Batch::checked(columns).map_err(|error| self.broke(call, error))
    }
}

/// A guest's words, bounded and without control characters.
fn tidy(failure: Failure) -> Failure {
    Failure { code: cut(failure.code), message: cut(failure.message), retry_after_ms: failure.retry_after_ms }
}

pub(super) fn cut(mut text: String) -> String {
    if text.len() > FAILURE_BYTES_MAX {
        let end = (0..=FAILURE_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    if text.contains(char::is_control) { text.replace(char::is_control, " ") } else { text }
}
