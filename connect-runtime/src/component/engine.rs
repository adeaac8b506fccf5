//! The engine's settings, and the ticker that keeps guests interruptible.
//!
//! Compiled code looks at the engine's epoch at every loop and call. While any guest runs, a thread moves the epoch every
//! [`TICK`]; a guest that runs longer than a tick gives its thread back to the other tasks and is polled again, which is also
//! where its time limit is noticed. When no guest runs the thread sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::{Config, Engine, EngineWeak};

/// Longest that a guest keeps its thread without giving others a turn.
const TICK: Duration = Duration::from_millis(5);
/// Ticks without a running guest after which the ticker goes to sleep.
const IDLE_TICKS_MAX: u32 = 20;
/// Stack of a guest's fiber; WebAssembly gets [`WASM_STACK_BYTES`] of it.
const ASYNC_STACK_BYTES: usize = 2 << 20;
const WASM_STACK_BYTES: usize = 1 << 20;
/// Address space set aside per guest memory; more is reserved when a memory grows past it.
const MEMORY_RESERVATION_BYTES: u64 = 1 << 32;

/// The engine with what this host needs of it.
///
/// # Errors
/// When the settings don't fit this machine.
pub(super) fn engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    // Exports are plain functions run on fibers; the newer concurrency of components costs something at every call.
    config.concurrency_support(false);
    config.epoch_interruption(true);
    config.max_wasm_stack(WASM_STACK_BYTES);
    config.async_stack_size(ASYNC_STACK_BYTES);
    config.memory_reservation(MEMORY_RESERVATION_BYTES);
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16));
    Engine::new(&config)
}

/// Moves the epoch while guests run. Ends with the last handle.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    ended: AtomicBool,
}

/// Says that a guest runs, until dropped.
#[derive(Debug)]
pub(super) struct Running<'a>(&'a Ticker);

impl Ticker {
    /// # Errors
    /// When the system refuses a thread.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (theirs, engine) = (Arc::clone(&shared), engine.weak());
        let handle =
            std::thread::Builder::new().name("guest-ticker".into()).spawn(move || tick(&theirs, &engine))?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    /// Call before running a guest; keep the answer until it returns.
    pub(super) fn running(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(self)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.shared.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn tick(shared: &Shared, engine: &EngineWeak) {
    let mut idle = 0;
    while !shared.ended.load(Ordering::SeqCst) {
        idle = if shared.running.load(Ordering::SeqCst) > 0 { 0 } else { idle + 1 };
        if idle > IDLE_TICKS_MAX {
            shared.asleep.store(true, Ordering::SeqCst);
            // Looks again after saying so: a guest that began in between has seen `asleep` or is seen here.
            if shared.running.load(Ordering::SeqCst) == 0 && !shared.ended.load(Ordering::SeqCst) {
                std::thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
            idle = 0;
            continue;
        }
        std::thread::sleep(TICK);
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
    }
}
