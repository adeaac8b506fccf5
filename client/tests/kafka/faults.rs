//! Connections that break at random places: what was acknowledged is there once, in order, and nothing else is there twice.
//!
//! The transport below lets a random number of bytes through in each direction and then breaks, so requests arrive whole
//! and lose their answer, arrive half, or never arrive. Batches that the producer gives up as in doubt may be there or not.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use millrace_client::transport::{BoxFuture, Stream, Transport};
use millrace_client::{
    BackoffConfig, Client, ClientConfig, Consumer, ConsumerConfig, Isolation, Polled, Position,
    ProducerConfig, Random, TcpTransport,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::support::{LIMIT, Test, text};

/// Breaks connections while it is told to.
#[derive(Debug)]
struct Flaky {
    seed: AtomicU64,
    /// Bytes that a connection carries at most in one direction.
    most: u64,
    calm: Arc<AtomicBool>,
    broken: Arc<AtomicU64>,
}

struct FlakyStream {
    inner: Box<dyn Stream>,
    read_left: u64,
    write_left: u64,
    calm: Arc<AtomicBool>,
    broken: Arc<AtomicU64>,
}

impl Transport for Flaky {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        let mut random = Random::new(self.seed.fetch_add(1, Ordering::Relaxed));
        let (read_left, write_left) = (random.below(self.most), random.below(self.most));
        Box::pin(async move {
            let inner = TcpTransport.connect(host, port).await?;
            let (calm, broken) = (self.calm.clone(), self.broken.clone());
            Ok(Box::new(FlakyStream { inner, read_left, write_left, calm, broken }) as Box<dyn Stream>)
        })
    }
}

impl FlakyStream {
    fn give_out(&self) -> io::Error {
        self.broken.fetch_add(1, Ordering::Relaxed);
        io::Error::new(io::ErrorKind::ConnectionReset, "broken by the test")
    }

    fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }
}

impl AsyncRead for FlakyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_left == 0 && !self.is_calm() {
            return Poll::Ready(Err(self.give_out()));
        }
        let before = out.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, out);
        let read = (out.filled().len() - before) as u64;
        self.read_left = self.read_left.saturating_sub(read);
        result
    }
}

impl AsyncWrite for FlakyStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let most = match self.is_calm() {
            true => data.len(),
            false if self.write_left == 0 => return Poll::Ready(Err(self.give_out())),
            false => data.len().min(self.write_left as usize),
        };
        let result = Pin::new(&mut self.inner).poll_write(cx, &data[..most]);
        if let Poll::Ready(Ok(written)) = result {
            self.write_left = self.write_left.saturating_sub(written as u64);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A client over connections that break, and the switch that ends it.
fn flaky(test: &Test, seed: u64, most: u64) -> (Client, Arc<AtomicBool>, Arc<AtomicU64>) {
    let (calm, broken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let transport =
        Flaky { seed: AtomicU64::new(seed << 32), most, calm: calm.clone(), broken: broken.clone() };
    let config = ClientConfig {
        transport: Arc::new(transport),
        retry_backoff: BackoffConfig { initial: Duration::from_millis(5), max: Duration::from_millis(50) },
        seed: Some(seed),
        ..(*test.client.config()).clone()
    };
    (Client::new(config).unwrap(), calm, broken)
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_records_are_there_once_and_in_order() {
    let test = Test::new("faults", 2).await;
    let (client, _calm, broken) = flaky(&test, 1, 6_000);
    let config = ProducerConfig { batch_size: 1000, ..Default::default() };
    let producer = millrace_client::Producer::start(&client, config).await.unwrap();
    let mut deliveries = Vec::new();
    for i in 0..6000 {
        let delivery = producer.send(test.record(i % 2, format!("{i}"))).await.unwrap();
        deliveries.push((i, delivery));
    }
    let mut acknowledged = Vec::new();
    for (i, delivery) in deliveries {
        let record = delivery.wait().await.unwrap_or_else(|error| panic!("record {i}: {error}"));
        acknowledged.push((i, record));
    }
    assert!(broken.load(Ordering::Relaxed) > 10, "the connections held");
    for partition in 0..2 {
        let values = test.values(partition, Isolation::ReadUncommitted).await;
        let expected: Vec<_> = (0..6000).filter(|i| i % 2 == partition).map(|i| i.to_string()).collect();
        assert_eq!(values, expected);
        for (i, record) in acknowledged.iter().filter(|(i, _)| i % 2 == partition) {
            // -1: a duplicate that the broker recognised but no longer knew the place of.
            assert!(
                record.offset < 0 || record.offset == i64::from(i / 2),
                "record {i} at {}",
                record.offset
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_happen_whole_or_not_at_all() {
    let test = Test::new("faulty-txn", 2).await;
    let (client, calm, broken) = flaky(&test, 2, 6_000);
    let config =
        ProducerConfig { transactional_id: Some(test.topic.clone()), batch_size: 500, ..Default::default() };
    let producer = millrace_client::Producer::start(&client, config).await.unwrap();
    while let Err(error) = producer.init_transactions().await {
        assert!(error.is_retriable(), "{error}");
    }
    let mut committed = BTreeSet::new();
    for round in 0..40 {
        producer.begin_transaction().unwrap();
        for i in 0..40 {
            if let Err(error) = producer.send(test.record(i % 2, format!("{round}.{i}"))).await {
                assert!(error.needs_abort(), "{error}");
                break;
            }
        }
        let abort = match producer.commit_transaction().await {
            Ok(()) => false,
            Err(error) if error.needs_abort() => true,
            // The answer was lost: committing again is harmless.
            Err(error) => {
                assert!(error.is_retriable(), "{error}");
                while let Err(error) = producer.commit_transaction().await {
                    assert!(error.is_retriable(), "{error}");
                }
                false
            }
        };
        if abort {
            while let Err(error) = producer.abort_transaction().await {
                assert!(error.is_retriable(), "{error}");
            }
        } else {
            committed.insert(round);
        }
    }
    calm.store(true, Ordering::Relaxed);
    assert!(broken.load(Ordering::Relaxed) > 10, "the connections held");
    assert!(!committed.is_empty());
    for partition in 0..2 {
        let values = test.values(partition, Isolation::ReadCommitted).await;
        let of = |round: &i32| {
            (0..40).filter(|i| i % 2 == partition).map(move |i| format!("{round}.{i}")).collect()
        };
        let expected: Vec<String> = committed.iter().flat_map(|round| -> Vec<String> { of(round) }).collect();
        assert_eq!(values, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_goes_on_where_it_was() {
    let test = Test::new("faulty-read", 2).await;
    let producer = test.producer(ProducerConfig { batch_size: 1000, ..Default::default() }).await;
    for i in 0..4000 {
        drop(producer.send(test.record(i % 2, format!("{i}"))).await.unwrap());
    }
    producer.flush().await.unwrap();
    let (client, _calm, broken) = flaky(&test, 3, 20_000);
    let config = ConsumerConfig { max_partition_fetch_bytes: 4000, ..Default::default() };
    let mut consumer = Consumer::start(&client, config).await.unwrap();
    consumer.assign((0..2).map(|p| (test.tp(p), Position::Earliest)).collect()).unwrap();
    let mut values = [Vec::new(), Vec::new()];
    let deadline = Instant::now() + LIMIT;
    while values.iter().map(Vec::len).sum::<usize>() < 4000 {
        assert!(Instant::now() < deadline);
        if let Polled::Records(fetched) = consumer.poll(Duration::from_millis(500)).await.unwrap() {
            for partition in fetched {
                let records = partition.records().map(|record| text(record.unwrap().value.as_ref()));
                values[partition.partition as usize].extend(records);
            }
        }
    }
    assert!(broken.load(Ordering::Relaxed) > 3, "the connections held");
    for (partition, values) in values.into_iter().enumerate() {
        assert_eq!(
            values,
            (0..4000).filter(|i| i % 2 == partition).map(|i| i.to_string()).collect::<Vec<_>>()
        );
    }
}
