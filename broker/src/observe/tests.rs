//! What the paths answer, as the broker goes from loading to ready to ill.

use std::path::Path;
use std::time::Duration;

use http_body_util::BodyExt;
use millrace_log::disk::{Fault, FaultOp, SimDisk};
use millrace_wire::batch::RawBatch;
use millrace_wire::ids::Offset;
use millrace_wire::record::{BatchBuilder, BatchOptions};

use super::*;
use crate::controller::{Command, NewTopic};
use crate::replica::Write;
use crate::{Broker, Config, Env};

async fn get(shared: Option<&Arc<Shared>>, path: &str) -> (u16, String) {
    let response = answer(shared, &Method::GET, path).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn before_the_logs_are_loaded_it_is_alive_and_not_ready() {
    assert_eq!(get(None, "/healthz").await.0, 200);
    assert_eq!(get(None, "/readyz").await.0, 503);
    assert_eq!(get(None, "/metrics").await.0, 503);
    assert_eq!(answer(None, &Method::POST, "/healthz").await.status().as_u16(), 405);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_synced_makes_it_ill_until_it_is_opened_again() {
    let disk = Arc::new(SimDisk::new());
    let mut config = Config::new();
    config.set_data_dir(Path::new("/data"));
    let broker = Broker::start(config, Env::simulated(disk.clone(), 7, 0)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let shared = broker.shared();
    assert_eq!(get(Some(shared), "/readyz").await.0, 200);
    let topic = NewTopic {
        name: "t".to_owned(),
        id: uuid::Uuid::from_u128(9),
        partitions: 1,
        replication_factor: 1,
        ..NewTopic::default()
    };
    shared.controller.run_one(Command::CreateTopic(topic)).await.unwrap();
    assert_eq!(get(Some(shared), "/healthz").await, (200, "healthy\n".to_owned()));

    disk.fail_next(Fault { op: FaultOp::Sync, path: "t-0".to_owned(), after: 0 });
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(0, None, Some(b"x"), std::iter::empty()).unwrap();
    let batch = RawBatch::parse(&builder.build(Offset(0)).unwrap()).unwrap();
    let partition = shared.replicas.partition("t", 0).unwrap();
    let ticket = partition.append(Write { batch, origin: millrace_log::AppendOrigin::Client });
    ticket.appended().await.unwrap();
    // Long enough for the sync, too short for the first try to open it again.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (status, text) = get(Some(shared), "/healthz").await;
    assert_eq!((status, text.as_str()), (503, "logs that cannot be used: t-0\n"));
    assert!(get(Some(shared), "/metrics").await.1.contains("millrace_log_offline_count 1\n"));

    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(get(Some(shared), "/healthz").await, (200, "healthy\n".to_owned()));
    assert!(get(Some(shared), "/metrics").await.1.contains("millrace_log_offline_count 0\n"));
    shared.set_ready(false);
    assert_eq!(get(Some(shared), "/readyz").await.0, 503);
    broker.abort();
}
