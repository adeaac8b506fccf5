//! Many clients with large requests: what the broker holds of them stays within `queued.max.request.bytes`.

use std::collections::VecDeque;

use bytes::Bytes;
use millrace_client::{Admin, NewTopic, ProduceRecord, Producer, ProducerConfig};
use millrace_tests::broker::Broker;

use crate::{client, runtime, status_kb};

const CLIENTS: usize = 40;
const REQUESTS_PER_CLIENT: usize = 6;
const RECORD_BYTES: usize = 4 << 20;
const BUDGET_BYTES: u64 = 32 << 20;
/// For everything else: the program itself, connections, the tail of the log in memory (32 MiB), what the allocator keeps.
const OTHER_BYTES: u64 = 160 << 20;

#[test]
fn requests_in_flight_stay_within_their_budget() {
    let folder = tempfile::tempdir().unwrap();
    let budget = format!("queued.max.request.bytes={BUDGET_BYTES}");
    let broker = Broker::start(folder.path(), &[&budget, "message.max.bytes=8388608"]);
    runtime().block_on(async {
        let admin = Admin::new(&client(broker.bootstrap()));
        admin.create_topics(&[NewTopic::new("large", 4)]).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for nth in 0..CLIENTS {
            let client = client(broker.bootstrap());
            tasks.spawn(async move {
                let config = ProducerConfig { max_request_size: 8 << 20, ..ProducerConfig::default() };
                let producer = Producer::start(&client, config).await.unwrap();
                let value = Bytes::from(vec![nth as u8; RECORD_BYTES]);
                let mut sent = VecDeque::new();
                for _ in 0..REQUESTS_PER_CLIENT {
                    let record = ProduceRecord {
                        topic: "large".into(),
                        partition: Some((nth % 4) as i32),
                        value: Some(value.clone()),
                        ..ProduceRecord::default()
                    };
                    sent.push_back(producer.send(record).await.unwrap());
                }
                for delivery in sent {
                    delivery.wait().await.unwrap();
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
    });
    let peak = status_kb(broker.id(), "VmHWM") * 1024;
    let asked = (CLIENTS * RECORD_BYTES) as u64;
    assert!(asked > BUDGET_BYTES * 4, "one request of each client is far more than the budget");
    assert!(peak < BUDGET_BYTES + OTHER_BYTES, "{} MiB at most", peak >> 20);
}
