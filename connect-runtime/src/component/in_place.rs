//! Guests that wait for the disk.
//!
//! The host of WASI's files hands each read and write to another thread, and back: that costs more than the reading itself, some 20 us
//! for the 64 KiB that it moves at most. A guest that was granted folders is therefore polled where its thread may block: the other
//! tasks of that thread move on before it starts (once a call, which moves up to a megabyte), and its files are read on the spot.
//!
//! A file that doesn't answer (a dead network's file system, a pipe that nobody writes to) holds the call's own task up, beyond its
//! time limit: a thread that the kernel holds can't be taken back in either way. Others go on.

use std::future::poll_fn;
use std::pin::pin;

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::plan::Grants;

/// Whether a guest with these grants is to be polled so. It can't be where the runtime has one thread.
pub(super) fn is_wanted(grants: &Grants) -> bool {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    !grants.files.is_empty() && matches!(flavor, Ok(RuntimeFlavor::MultiThread))
}

/// Runs a call; where it `blocks`, its thread may.
pub(super) async fn run<R>(blocks: bool, call: impl Future<Output = R>) -> R {
    let mut call = pin!(call);
    poll_fn(|context| match blocks {
        true => tokio::task::block_in_place(|| call.as_mut().poll(context)),
        false => call.as_mut().poll(context),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    /// Two threads, of which one call blocks each: a third task goes on.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn others_go_on_while_calls_block() {
        let released = Arc::new(AtomicBool::new(false));
        let blocked = |released: Arc<AtomicBool>| {
            tokio::spawn(run(true, async move {
                let patience = Instant::now() + Duration::from_secs(60);
                while !released.load(Ordering::SeqCst) {
                    assert!(Instant::now() < patience, "nobody else came to run");
                    std::thread::sleep(Duration::from_millis(1));
                }
            }))
        };
        let calls = [blocked(Arc::clone(&released)), blocked(Arc::clone(&released))];
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            released.store(true, Ordering::SeqCst);
        })
        .await
        .unwrap();
        for call in calls {
            call.await.unwrap();
        }
    }

    #[tokio::test]
    async fn not_where_there_is_one_thread() {
        let folder = crate::plan::FolderGrant {
            host: "/".into(),
            guest: "/".to_owned(),
            access: crate::plan::Access::Read,
        };
        assert!(!is_wanted(&Grants { files: vec![folder], ..Grants::default() }));
    }
}
