//! Verdicts about upgrades are handed in one behind the other, and about each configuration there is one: the first.
//!
//! Two workers may take a connector for theirs, one of which has not heard yet that it isn't any more. Whoever hands in a verdict takes the connector's
//! transactional id for it, which ends whoever took it before, and then reads the topic to its end: so it knows what they have written, and
//! they can write nothing that it does not know of. Otherwise a late verdict would undo an upgrade that was found good, or, once the topic
//! was compacted, hide that one was gone back from.

use std::time::Duration;

use millrace_client::{Error, ProducerConfig};

use super::record::{ConfigRecord, Verdict};
use super::service::Reader;
use super::writer::ConfigWriter;
use crate::worker::Shared;

/// A worker that is killed on the way holds up those who read the topic for so long.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes a verdict, unless there is one about that configuration, or another configuration by now. True: it was written.
pub(super) async fn hand_in(
    shared: &Shared,
    reader: &Reader,
    writer: &ConfigWriter,
    connector: &str,
    verdict: &Verdict,
) -> Result<bool, Error> {
    let config = ProducerConfig {
        transactional_id: Some(shared.verdict_id(connector)),
        transaction_timeout: TRANSACTION_TIMEOUT,
        ..ProducerConfig::default()
    };
    let (producer, _) = shared.fenced_producer(config).await?;
    reader.read_to_end().await?;
    // Of a worker that ends nobody reads any more.
    if !reader.is_reading() || !reader.herder.lock().configs.is_open(connector, verdict) {
        return Ok(false);
    }
    producer.begin_transaction()?;
    let record = ConfigRecord::Upgrade(connector.to_owned(), Some(verdict.clone()));
    let _delivery = producer.send(writer.produced(record)).await?;
    producer.commit_transaction().await?;
    Ok(true)
}
