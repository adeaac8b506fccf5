//! Reading a connector's positions back from `connect-offsets`, and whatever else has to be read up to the end of a log.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::{
    Admin, Client, Consumer, ConsumerConfig, Error, Isolation, OffsetSpec, Polled, Position, TopicPartition,
};
use millrace_wire::record::RecordRef;

use super::Shared;
use crate::offsets::Positions;

/// How long one wait for the broker may take.
const POLL_WAIT: Duration = Duration::from_millis(20);
/// How long reading may take in all: another task's open transaction holds it up until that ends, or until the broker's
/// transaction timeout (60 s) ends it.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// The newest committed positions of a connector, up to the end of the log now.
pub(crate) async fn read(shared: &Shared, connector: &str) -> Result<Positions, Error> {
    let mut positions = Positions::default();
    read_log(&shared.client, &shared.offsets_of(connector), |record| {
        positions.apply(connector, record.key.unwrap_or_default(), record.value);
    })
    .await?;
    Ok(positions)
}

/// Hands out every committed record of a partition, up to the end of the log now.
///
/// The end is that of all data, not of committed data: a transaction that is open now may stand before records that are
/// committed, and reading would stop too early.
pub(crate) async fn read_log(
    client: &Client,
    tp: &TopicPartition,
    mut take: impl FnMut(&RecordRef<'_>),
) -> Result<(), Error> {
    let end = end_offset(client, tp).await?;
    if end == 0 {
        return Ok(());
    }
    let config = ConsumerConfig { isolation: Isolation::ReadCommitted, ..ConsumerConfig::default() };
    let mut consumer = Consumer::start(client, config).await?;
    consumer.assign(BTreeMap::from([(tp.clone(), Position::Earliest)]))?;
    let reading = async {
        while consumer.position(tp).is_none_or(|position| position < end) {
            let Polled::Records(fetched) = consumer.poll(POLL_WAIT).await? else { continue };
            for fetched in &fetched {
                fetched.for_each(|record| take(&record))?;
            }
        }
        Ok(())
    };
    match tokio::time::timeout(READ_TIMEOUT, reading).await {
        Ok(read) => read?,
        Err(_) => {
            let what = format!("reading {tp} up to offset {end}");
            return Err(Error::Timeout { what, after_ms: READ_TIMEOUT.as_millis() });
        }
    }
    consumer.close().await
}

async fn end_offset(client: &Client, tp: &TopicPartition) -> Result<i64, Error> {
    let wanted = BTreeMap::from([(tp.clone(), OffsetSpec::Latest)]);
    let ends = Admin::new(client).list_offsets(&wanted, Isolation::ReadUncommitted).await?;
    Ok(ends.get(tp).and_then(|end| end.offset).unwrap_or(0))
}
