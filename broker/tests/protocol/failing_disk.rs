//! Syncs that fail, and a broker that goes on by itself once the disk works again: nothing acknowledged is lost, nothing is
//! doubled, and what it answers afterwards is what another start would answer.

use std::sync::Arc;
use std::time::Duration;

use millrace_broker::BrokerHandle;
use millrace_log::disk::{Fault, FaultOp, SimDisk};

use crate::fetch::values;
use crate::groups;
use crate::produce::{base_offset, produce};
use crate::support::{Client, broker_on, idempotent};
use crate::topics::{create, create_all, new_topic};
use crate::transactions::{add, end, init, until_committed, write_as};

const STORAGE_ERROR: i16 = 56;
const NOT_COORDINATOR: i16 = 16;
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// Both ways in which the bytes of a failed sync are lost: with the next power cut, or at once.
const LOSSES: [FaultOp; 2] = [FaultOp::Sync, FaultOp::SyncAndDrop];

/// Long enough for a first try, which comes within a second.
const A_MOMENT: Duration = Duration::from_secs(2);

const SETTINGS: &[(&str, &str)] =
    &[("offsets.topic.num.partitions", "1"), ("transaction.state.log.num.partitions", "1")];

fn fail_sync(disk: &SimDisk, op: FaultOp, partition: &str) {
    disk.fail_next(Fault { op, path: format!("/{partition}/0000"), after: 0 });
}

/// The same broker after a power cut.
async fn after_a_power_cut(broker: BrokerHandle, disk: &Arc<SimDisk>) -> BrokerHandle {
    broker.abort();
    tokio::task::yield_now().await;
    disk.power_cut(11);
    broker_on(disk.clone(), SETTINGS).await
}

#[tokio::test(start_paused = true)]
async fn a_producer_comes_again_and_finds_its_records_once() {
    for op in LOSSES {
        let disk = Arc::new(SimDisk::new());
        let broker = broker_on(disk.clone(), SETTINGS).await;
        let mut client = Client::new(&broker);
        create(&mut client, "t", 1).await;
        let first = produce(&mut client, 9, -1, "t", 0, idempotent(7, 0, 0, &["a"])).await;
        assert_eq!(base_offset(&first), (0, 0));
        fail_sync(&disk, op, "t-0");
        for _ in 0..2 {
            let refused = produce(&mut client, 9, -1, "t", 0, idempotent(7, 0, 1, &["b"])).await;
            assert_eq!(base_offset(&refused), (STORAGE_ERROR, -1), "{op:?}");
        }
        tokio::time::sleep(A_MOMENT).await;
        let again = produce(&mut client, 9, -1, "t", 0, idempotent(7, 0, 1, &["b"])).await;
        assert_eq!(base_offset(&again), (0, 1), "{op:?}");
        let next = produce(&mut client, 9, -1, "t", 0, idempotent(7, 0, 2, &["c"])).await;
        assert_eq!(base_offset(&next), (0, 2), "{op:?}");
        drop(client);
        let broker = after_a_power_cut(broker, &disk).await;
        assert_eq!(values(&mut Client::new(&broker), "t", 0).await, ["a", "b", "c"], "{op:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_tried_until_the_disk_works() {
    let disk = Arc::new(SimDisk::new());
    let broker = broker_on(disk.clone(), SETTINGS).await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    for _ in 0..6 {
        fail_sync(&disk, FaultOp::Sync, "t-0");
    }
    let mut refused = 0;
    loop {
        let answer = produce(&mut client, 9, -1, "t", 0, idempotent(7, 0, 0, &["a"])).await;
        if answer.error_code == 0 {
            break;
        }
        assert_eq!(answer.error_code, STORAGE_ERROR);
        refused += 1;
        tokio::time::sleep(A_MOMENT).await;
    }
    assert!((3..60).contains(&refused), "{refused} tries");
    assert_eq!(values(&mut client, "t", 0).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn topics_can_be_made_again() {
    for op in LOSSES {
        let disk = Arc::new(SimDisk::new());
        let broker = broker_on(disk.clone(), SETTINGS).await;
        let mut client = Client::new(&broker);
        create(&mut client, "early", 1).await;
        fail_sync(&disk, op, "__cluster_metadata-0");
        assert_eq!(create_all(&mut client, vec![new_topic("late", 1)]).await, [STORAGE_ERROR]);
        assert_eq!(create_all(&mut client, vec![new_topic("late", 1)]).await, [STORAGE_ERROR]);
        tokio::time::sleep(A_MOMENT).await;
        // The command that was refused was carried out if its record turned out to be there.
        let expected = if op == FaultOp::Sync { TOPIC_ALREADY_EXISTS } else { 0 };
        assert_eq!(create_all(&mut client, vec![new_topic("late", 1)]).await, [expected], "{op:?}");
        for name in ["early", "late"] {
            let answer = produce(&mut client, 9, -1, name, 0, idempotent(7, 0, 0, &[name])).await;
            assert_eq!(base_offset(&answer), (0, 0), "{op:?}");
        }
        drop(client);
        let broker = after_a_power_cut(broker, &disk).await;
        let mut client = Client::new(&broker);
        for name in ["early", "late"] {
            assert_eq!(values(&mut client, name, 0).await, [name], "{op:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_has_the_offsets_that_its_log_has() {
    for op in LOSSES {
        let disk = Arc::new(SimDisk::new());
        let broker = broker_on(disk.clone(), SETTINGS).await;
        let mut client = Client::new(&broker);
        create(&mut client, "t", 1).await;
        let commit = |offset| groups::commit_request("g", "t", 0, offset);
        assert_eq!(groups::commit(&mut client, 7, commit(5)).await, 0);
        fail_sync(&disk, op, "__consumer_offsets-0");
        assert_eq!(groups::commit(&mut client, 7, commit(7)).await, NOT_COORDINATOR, "{op:?}");
        tokio::time::sleep(A_MOMENT).await;
        let kept = if op == FaultOp::Sync { 7 } else { 5 };
        assert_eq!(groups::fetch(&mut client, 7, "g", "t", false).await.0, kept, "{op:?}");
        drop(client);
        let broker = after_a_power_cut(broker, &disk).await;
        let mut client = Client::new(&broker);
        assert_eq!(groups::fetch(&mut client, 7, "g", "t", false).await.0, kept, "{op:?}");
        assert_eq!(groups::commit(&mut client, 7, commit(9)).await, 0);
        assert_eq!(groups::fetch(&mut client, 7, "g", "t", false).await.0, 9, "{op:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_ends_as_its_coordinators_log_says() {
    for op in LOSSES {
        let disk = Arc::new(SimDisk::new());
        let broker = broker_on(disk.clone(), SETTINGS).await;
        let mut client = Client::new(&broker);
        create(&mut client, "t", 1).await;
        let me = init(&mut client, 4, "x", None).await.unwrap();
        assert_eq!(add(&mut client, 3, "x", me, &[0]).await, [0]);
        assert_eq!(write_as(&mut client, 9, "x", me, 0, "a").await, 0);
        fail_sync(&disk, op, "__transaction_state-0");
        assert_eq!(end(&mut client, 3, "x", me, true).await, NOT_COORDINATOR, "{op:?}");
        tokio::time::sleep(A_MOMENT).await;
        assert_eq!(end(&mut client, 3, "x", me, true).await, 0, "{op:?}");
        until_committed(&mut client, &["a"]).await;
        drop(client);
        let broker = after_a_power_cut(broker, &disk).await;
        until_committed(&mut Client::new(&broker), &["a"]).await;
    }
}
