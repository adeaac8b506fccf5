//! Work that waits for a disk: on a blocking thread, or right here when the disk is simulated (a simulation has one
//! thread and a clock that must not run while nothing happens).

/// Runs `work` and gives back its result. A panic in `work` goes on here.
pub(crate) async fn run<T, F>(simulated: bool, work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    if simulated {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being torn down; nobody waits for this task any more.
            Err(_) => std::future::pending().await,
        },
    }
}
