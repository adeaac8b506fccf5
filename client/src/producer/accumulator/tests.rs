//! The rules of sequence numbers, played through without a broker.

use kafka_protocol::ResponseError;
use millrace_wire::batch::RawBatch;

use super::*;

const ID: (ProducerId, ProducerEpoch) = (ProducerId(7), ProducerEpoch(0));

fn accumulator(config: ProducerConfig) -> Accumulator {
    let mut accumulator = Accumulator::new(&config);
    accumulator.start_identity(ID);
    accumulator
}

/// One whose first batch (of one record) is in the log, so that several may be on their way.
fn known(config: ProducerConfig) -> Accumulator {
    let mut accumulator = accumulator(config);
    let _ = queue(&mut accumulator, 1);
    let first = take(&mut accumulator).unwrap();
    accumulator.succeed(first, ack());
    accumulator
}

fn tp() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// Queues a batch of `count` records.
fn queue(accumulator: &mut Accumulator, count: usize) -> Delivery {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for _ in 0..count {
        builder.push(0, None, Some(b"v"), []).unwrap();
    }
    accumulator.push_batch(tp(), builder, 10).unwrap()
}

fn take(accumulator: &mut Accumulator) -> Option<Batch> {
    let ready = accumulator.ready(Instant::now());
    let mut taken = accumulator.take(&ready.partitions);
    assert!(taken.len() <= 1);
    let mut batch = taken.pop()?;
    batch.build().unwrap();
    Some(batch)
}

fn sequence(batch: &Batch) -> i32 {
    RawBatch::parse(&batch.bytes()).unwrap().header.base_sequence
}

fn refusal() -> Error {
    Error::broker("Produce", "t", ResponseError::MessageTooLarge)
}

fn ack() -> Ack {
    Ack { base_offset: 0, log_append_time: -1 }
}

#[tokio::test]
async fn the_first_batch_travels_alone() {
    let mut accumulator = accumulator(ProducerConfig::default());
    let _deliveries: Vec<_> = (0..3).map(|_| queue(&mut accumulator, 1)).collect();
    let first = take(&mut accumulator).unwrap();
    assert!(take(&mut accumulator).is_none(), "a broker without state would take it for the first");
    accumulator.send_again(first, false, Instant::now());
    let first = take(&mut accumulator).unwrap();
    assert_eq!(sequence(&first), 0);
    accumulator.succeed(first, ack());
    assert!(take(&mut accumulator).is_some() && take(&mut accumulator).is_some());
}

#[tokio::test]
async fn sequences_count_records() {
    let mut accumulator = known(ProducerConfig::default());
    for count in [3, 1, 2] {
        let _ = queue(&mut accumulator, count);
    }
    let sequences: Vec<_> = std::iter::from_fn(|| take(&mut accumulator)).map(|b| sequence(&b)).collect();
    assert_eq!(sequences, [1, 4, 5]);
}

#[tokio::test]
async fn no_more_than_the_limit_are_on_their_way() {
    let mut accumulator = known(ProducerConfig { max_in_flight: 2, ..Default::default() });
    let _deliveries: Vec<_> = (0..4).map(|_| queue(&mut accumulator, 1)).collect();
    let first = take(&mut accumulator).unwrap();
    let _second = take(&mut accumulator).unwrap();
    assert!(take(&mut accumulator).is_none());
    accumulator.succeed(first, ack());
    assert_eq!(sequence(&take(&mut accumulator).unwrap()), 3);
}

#[tokio::test]
async fn what_goes_out_again_goes_first_and_keeps_its_number() {
    let mut accumulator = known(ProducerConfig::default());
    let _deliveries: Vec<_> = (0..3).map(|_| queue(&mut accumulator, 1)).collect();
    let (first, second) = (take(&mut accumulator).unwrap(), take(&mut accumulator).unwrap());
    accumulator.send_again(first, true, Instant::now());
    // The second is not answered yet: nothing goes out.
    assert!(take(&mut accumulator).is_none());
    assert!(accumulator.has_earlier(&second));
    accumulator.send_again(second, false, Instant::now());
    let again: Vec<_> = std::iter::from_fn(|| take(&mut accumulator)).collect();
    assert_eq!(again.iter().map(sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(!accumulator.has_earlier(&again[0]));
}

#[tokio::test]
async fn nothing_new_goes_so_far_that_a_broker_forgets_the_old() {
    let mut accumulator = known(ProducerConfig::default());
    let _deliveries: Vec<_> = (0..9).map(|_| queue(&mut accumulator, 1)).collect();
    let mut first: Vec<_> = std::iter::from_fn(|| take(&mut accumulator)).collect();
    assert_eq!(first.len(), 5);
    // The oldest one's answer is lost, the others are in the log.
    let lost = first.remove(0);
    for batch in first {
        accumulator.succeed(batch, ack());
        assert!(
            take(&mut accumulator).is_none(),
            "the broker remembers five batches, the lost one must be among them"
        );
    }
    accumulator.send_again(lost, true, Instant::now());
    let lost = take(&mut accumulator).unwrap();
    assert_eq!(sequence(&lost), 1);
    assert!(take(&mut accumulator).is_none());
    accumulator.succeed(lost, ack());
    assert_eq!(std::iter::from_fn(|| take(&mut accumulator)).count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_kept() {
    let mut accumulator = accumulator(ProducerConfig::default());
    let _ = queue(&mut accumulator, 1);
    let batch = take(&mut accumulator).unwrap();
    let at = Instant::now() + Duration::from_secs(1);
    accumulator.send_again(batch, false, at);
    let ready = accumulator.ready(Instant::now());
    assert!(ready.partitions.is_empty());
    assert_eq!(ready.wake_at, Some(at));
    assert_eq!(accumulator.ready(at).partitions, [tp()]);
}

#[tokio::test]
async fn the_place_of_a_refused_batch_is_taken_by_the_next() {
    let mut accumulator = known(ProducerConfig::default());
    let doomed = queue(&mut accumulator, 5);
    let _second = queue(&mut accumulator, 1);
    let (first, second) = (take(&mut accumulator).unwrap(), take(&mut accumulator).unwrap());
    assert_eq!(sequence(&second), 6);
    accumulator.refuse(first, refusal(), false);
    // The second fell into the gap: out of order, but not lost.
    assert!(accumulator.has_earlier(&second));
    accumulator.send_again(second, false, Instant::now());
    assert_eq!(sequence(&take(&mut accumulator).unwrap()), 1);
    assert_eq!(doomed.wait().await.unwrap_err().code(), Some(ResponseError::MessageTooLarge));
}

#[tokio::test]
async fn a_batch_in_doubt_never_gets_another_number() {
    let mut accumulator = known(ProducerConfig::default());
    let _first = queue(&mut accumulator, 1);
    let doubtful = queue(&mut accumulator, 1);
    let later = queue(&mut accumulator, 1);
    let (first, second) = (take(&mut accumulator).unwrap(), take(&mut accumulator).unwrap());
    accumulator.refuse(first, refusal(), false);
    accumulator.send_again(second, true, Instant::now());
    // Its number belongs to nobody now: only a new id leads on, and it fails.
    assert!(accumulator.identity().is_none() && accumulator.may_start_over());
    let error = doubtful.wait().await.unwrap_err();
    assert!(matches!(error, Error::InDoubt { count: 1, .. }), "{error}");
    accumulator.start_identity((ProducerId(8), ProducerEpoch(0)));
    let batch = take(&mut accumulator).unwrap();
    let header = RawBatch::parse(&batch.bytes()).unwrap().header;
    assert_eq!((header.producer_id, header.base_sequence), (ProducerId(8), 0));
    accumulator.succeed(batch, ack());
    assert_eq!(later.wait().await.unwrap().offset, 0);
}

#[tokio::test]
async fn a_refusal_does_not_say_what_became_of_an_earlier_attempt() {
    let mut accumulator = known(ProducerConfig::default());
    let doubtful = queue(&mut accumulator, 1);
    let batch = take(&mut accumulator).unwrap();
    accumulator.send_again(batch, true, Instant::now());
    let batch = take(&mut accumulator).unwrap();
    let gap = Error::broker("Produce", "t", ResponseError::OutOfOrderSequenceNumber);
    accumulator.refuse(batch, gap, true);
    let error = doubtful.wait().await.unwrap_err();
    assert!(error.is_in_doubt() && error.to_string().contains("OutOfOrder"), "{error}");

    // Fenced is fenced.
    let mut accumulator = known(ProducerConfig::default());
    let fenced = queue(&mut accumulator, 1);
    let batch = take(&mut accumulator).unwrap();
    accumulator.send_again(batch, true, Instant::now());
    let batch = take(&mut accumulator).unwrap();
    accumulator.refuse(batch, Error::broker("Produce", "t", ResponseError::ProducerFenced), true);
    assert!(fenced.wait().await.unwrap_err().is_fenced());

    // An answer without sense.
    let mut accumulator = known(ProducerConfig::default());
    let unknown = queue(&mut accumulator, 1);
    let batch = take(&mut accumulator).unwrap();
    accumulator.doubt(batch, Error::malformed("b", "nonsense"));
    assert!(unknown.wait().await.unwrap_err().is_in_doubt());
}

#[tokio::test(start_paused = true)]
async fn an_old_batch_is_given_up() {
    let mut accumulator = accumulator(ProducerConfig::default());
    let unsent = queue(&mut accumulator, 1);
    tokio::time::advance(Duration::from_secs(121)).await;
    assert!(take(&mut accumulator).is_none());
    let error = unsent.wait().await.unwrap_err().to_string();
    assert_eq!(error, "delivering to topic t partition 0 timed out after 120000 ms");
    assert!(accumulator.identity().is_some(), "it never had a number");

    let sent = queue(&mut accumulator, 1);
    let batch = take(&mut accumulator).unwrap();
    tokio::time::advance(Duration::from_secs(121)).await;
    accumulator.send_again(batch, true, Instant::now());
    assert!(take(&mut accumulator).is_none());
    assert!(matches!(sent.wait().await.unwrap_err(), Error::InDoubt { .. }));
    assert!(accumulator.may_start_over());
}

#[tokio::test(start_paused = true)]
async fn records_gather_until_they_linger_or_fill_a_batch() {
    let mut accumulator = known(ProducerConfig { batch_size: 200, ..Default::default() });
    let push = |accumulator: &mut Accumulator| {
        let appended = accumulator.push(tp(), 60, |b| b.push(0, None, Some(&[1; 50]), []));
        appended.unwrap()
    };
    let (_, wakes) = push(&mut accumulator);
    assert!(wakes, "the sender must learn when to look");
    assert!(!push(&mut accumulator).1);
    let ready = accumulator.ready(Instant::now());
    assert!(ready.partitions.is_empty());
    assert_eq!(ready.wake_at, Some(Instant::now() + Duration::from_millis(5)));
    let (_, wakes) = push(&mut accumulator);
    assert!(wakes, "a third record does not fit");
    assert_eq!(accumulator.ready(Instant::now()).partitions, [tp()]);
    let batch = take(&mut accumulator).unwrap();
    assert_eq!(RawBatch::parse(&batch.bytes()).unwrap().header.record_count, 2);
    // A flush does not wait for the rest to linger.
    assert!(take(&mut accumulator).is_none());
    assert_eq!(accumulator.flush().len(), 2);
    assert!(take(&mut accumulator).is_some());
}

#[tokio::test]
async fn inside_a_transaction_errors_say_what_to_do() {
    let config = ProducerConfig { transactional_id: Some("x".to_owned()), ..Default::default() };
    let mut accumulator = accumulator(config);
    let (first, second) = (queue(&mut accumulator, 1), queue(&mut accumulator, 1));
    let batch = take(&mut accumulator).unwrap();
    accumulator.refuse(batch, refusal(), false);
    let error = first.wait().await.unwrap_err();
    assert!(error.needs_abort() && !error.is_fatal(), "{error}");
    let batch = take(&mut accumulator).unwrap();
    let fenced = Error::broker("Produce", "t", ResponseError::InvalidProducerEpoch);
    accumulator.refuse(batch, fenced, true);
    let error = second.wait().await.unwrap_err();
    assert!(error.is_fatal() && error.is_fenced() && !error.needs_abort(), "{error}");
}
