//! What the tests share: a client, a fresh topic, reading a topic to its end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use millrace_broker::{Broker, Config, Env};
use millrace_client::{
    Admin, Client, ClientConfig, Consumer, ConsumerConfig, Isolation, NewTopic, OffsetSpec, Polled, Position,
    ProduceRecord, Producer, ProducerConfig, TopicPartition,
};
use millrace_wire::record::Record;
use tokio::time::Instant;

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A client and a topic of its own.
pub(crate) struct Test {
    pub(crate) client: Client,
    pub(crate) topic: String,
}

impl Test {
    /// A fresh topic named after the test.
    pub(crate) async fn new(name: &str, partitions: i32) -> Self {
        let client =
            Client::new(ClientConfig { bootstrap: vec![bootstrap()], ..Default::default() }).unwrap();
        let topic = unique(name);
        let admin = Admin::new(&client);
        for (_, result) in admin.create_topics(&[NewTopic::new(&topic, partitions)]).await.unwrap() {
            result.unwrap();
        }
        admin.await_topics(&[&topic]).await.unwrap();
        Self { client, topic }
    }

    pub(crate) fn tp(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), partition)
    }

    pub(crate) async fn producer(&self, config: ProducerConfig) -> Producer {
        Producer::start(&self.client, config).await.unwrap()
    }

    pub(crate) async fn transactional(&self, id: &str) -> Producer {
        let config =
            ProducerConfig { transactional_id: Some(format!("{}-{id}", self.topic)), ..Default::default() };
        let producer = self.producer(config).await;
        producer.init_transactions().await.unwrap();
        producer
    }

    pub(crate) fn record(&self, partition: i32, value: impl Into<Bytes>) -> ProduceRecord {
        ProduceRecord {
            topic: self.topic.as_str().into(),
            partition: Some(partition),
            value: Some(value.into()),
            ..Default::default()
        }
    }

    /// All records of a partition, up to the end it has now.
    pub(crate) async fn read(&self, partition: i32, isolation: Isolation) -> Vec<Record> {
        let config = ConsumerConfig { isolation, ..Default::default() };
        let mut consumer = Consumer::start(&self.client, config).await.unwrap();
        let tp = self.tp(partition);
        let end = self.end(&tp).await;
        consumer.assign([(tp.clone(), Position::Earliest)].into()).unwrap();
        let mut records = Vec::new();
        let deadline = Instant::now() + LIMIT;
        while consumer.position(&tp).is_none_or(|position| position < end) {
            assert!(Instant::now() < deadline, "stuck at {:?} of {end}", consumer.position(&tp));
            if let Polled::Records(fetched) = consumer.poll(Duration::from_millis(500)).await.unwrap() {
                for partition in fetched {
                    records.extend(partition.records().map(Result::unwrap));
                }
            }
        }
        consumer.close().await.unwrap();
        records
    }

    /// The end of a partition, once no transaction is open: a commit is answered before its markers are everywhere.
    async fn end(&self, tp: &TopicPartition) -> i64 {
        let admin = Admin::new(&self.client);
        let latest = async |isolation| {
            let offsets =
                admin.list_offsets(&[(tp.clone(), OffsetSpec::Latest)].into(), isolation).await.unwrap();
            offsets[tp].offset.unwrap()
        };
        let deadline = Instant::now() + LIMIT;
        loop {
            let end = latest(Isolation::ReadUncommitted).await;
            if latest(Isolation::ReadCommitted).await == end {
                return end;
            }
            assert!(Instant::now() < deadline, "a transaction stays open");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn values(&self, partition: i32, isolation: Isolation) -> Vec<String> {
        self.read(partition, isolation).await.into_iter().map(|record| text(record.value.as_ref())).collect()
    }
}

pub(crate) fn text(bytes: Option<&Bytes>) -> String {
    String::from_utf8(bytes.map(|b| b.to_vec()).unwrap_or_default()).unwrap()
}

/// Where the broker is: `MILLRACE_TEST_BOOTSTRAP`, or one of our own that all tests of this process share.
pub(crate) fn bootstrap() -> String {
    static OWN: OnceLock<SocketAddr> = OnceLock::new();
    std::env::var("MILLRACE_TEST_BOOTSTRAP").unwrap_or_else(|_| OWN.get_or_init(start_broker).to_string())
}

/// Starts a broker on a thread of its own, since each test's runtime ends with the test.
fn start_broker() -> SocketAddr {
    let (started, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let data = tempfile::tempdir().unwrap();
            let mut config = Config::new();
            config.set_data_dir(data.path());
            config.set_listen("127.0.0.1:0").unwrap();
            // As a test broker of Apache Kafka is set up: the first rebalance does not wait for more members.
            config.set("group.initial.rebalance.delay.ms", "0").unwrap();
            let broker = Broker::start(config, Env::real()).await.unwrap();
            started.send(broker.local_addr()).unwrap();
            // Lives as long as the process.
            std::future::pending::<()>().await;
        });
    });
    address.recv().unwrap()
}

/// A name that no other test and no earlier run has used.
pub(crate) fn unique(name: &str) -> String {
    use std::time::{SystemTime, UNIX_EPOCH};
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("{name}-{nanos}")
}

/// Positions by partition number.
pub(crate) fn offsets(
    test: &Test,
    offsets: &[(i32, i64)],
) -> BTreeMap<TopicPartition, millrace_client::OffsetAndMetadata> {
    offsets.iter().map(|(partition, offset)| (test.tp(*partition), (*offset).into())).collect()
}
