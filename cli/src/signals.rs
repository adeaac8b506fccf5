//! SIGINT and SIGTERM: the first asks for a clean stop, a second ends the process at once. SIGXFSZ, which the system sends
//! when a file would grow past `ulimit -f`, must not end it: the write fails as on a full disk.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::exit::Failure;
use crate::output::remark;

/// The number of SIGXFSZ, on Linux and macOS alike.
const FILE_SIZE_LIMIT: i32 = 25;

/// Becomes true at the first signal.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits for the first signal.
    pub(crate) async fn asked(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // The watcher is gone: nobody will ask.
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn is_asked(&self) -> bool {
        *self.0.borrow()
    }
}

/// Starts listening. Exit codes of a second signal are the shell's: 128 + its number.
pub(crate) fn watch() -> Result<Stop, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|error| Failure::environment(format!("signals can't be handled: {error}")))
    };
    let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    // Being listened for is enough; nobody needs to hear it.
    drop(listen(SignalKind::from_raw(FILE_SIZE_LIMIT))?);
    let (ask, asked) = watch::channel(false);
    tokio::spawn(relay(interrupt, terminate, ask));
    Ok(Stop(asked))
}

async fn relay(mut interrupt: Signal, mut terminate: Signal, ask: watch::Sender<bool>) {
    loop {
        let code = tokio::select! {
            biased;
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
        };
        if *ask.borrow() {
            std::process::exit(code);
        }
        remark("stopping; once more ends it at once");
        ask.send_replace(true);
    }
}
