//! `millrace consume`: records of a topic on standard output.

mod show;

pub(crate) use self::show::bytes as shown_bytes;

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::{
    Admin, Client, Consumer, ConsumerConfig, FetchedPartition, Isolation, OffsetAndMetadata, OffsetReset,
    OffsetSpec, Polled, Position, TopicPartition,
};

use crate::args::{ConsumeArgs, From};
use crate::exit::{Failure, Outcome};
use crate::{cluster, output, signals, topic};

/// How long one look for records takes; signals are seen in between, too.
const POLL_WAIT: Duration = Duration::from_millis(500);

/// Shows records until the count, the end, or a signal.
pub(crate) async fn run(args: ConsumeArgs) -> Outcome {
    let client = cluster::remote(&args.bootstrap.addresses, "millrace-consume")?;
    let mut stop = signals::watch()?;
    let mut reader = Reader::start(&client, &args).await?;
    let outcome = loop {
        if reader.is_done() {
            break Ok(());
        }
        let polled = tokio::select! {
            biased;
            () = stop.asked() => break Ok(()),
            polled = reader.consumer.poll(POLL_WAIT) => polled,
        };
        let shown = match polled {
            Ok(Polled::Records(partitions)) => reader.show(&partitions).await,
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::client(error)),
        };
        if shown.is_err() {
            break shown;
        }
    };
    let closed = reader.consumer.close().await.map_err(Failure::client);
    outcome.and(closed)
}

struct Reader<'a> {
    args: &'a ConsumeArgs,
    consumer: Consumer,
    /// Records that may still be shown.
    left: u64,
    /// With `--until-end`: where to end.
    ends: Option<BTreeMap<TopicPartition, i64>>,
}

impl<'a> Reader<'a> {
    async fn start(client: &Client, args: &'a ConsumeArgs) -> Result<Self, Failure> {
        let auto_offset_reset = match args.from {
            Some(From::Earliest) => OffsetReset::Earliest,
            Some(From::Latest) | None => OffsetReset::Latest,
            Some(_) if args.group.is_some() => {
                return Err(Failure::validation(
                    "--from with --group can be earliest or latest only: a group goes on from where it is",
                ));
            }
            Some(_) => OffsetReset::Earliest,
        };
        let config = ConsumerConfig {
            group_id: args.group.clone(),
            auto_offset_reset,
            isolation: Isolation::ReadCommitted,
            ..ConsumerConfig::default()
        };
        let consumer = Consumer::start(client, config).await.map_err(Failure::client)?;
        let left = args.count.unwrap_or(u64::MAX);
        let mut reader = Reader { args, consumer, left, ends: None };
        if args.group.is_some() {
            reader.consumer.subscribe(&[&args.topic]).map_err(Failure::client)?;
        } else {
            reader.assign(client).await?;
        }
        Ok(reader)
    }

    async fn assign(&mut self, client: &Client) -> Outcome {
        let partitions = self.partitions(client).await?;
        let at_end = self.offsets(&partitions, OffsetSpec::Latest).await?;
        let positions: BTreeMap<TopicPartition, Position> = match self.args.from.unwrap_or(From::Latest) {
            From::Earliest => partitions.iter().map(|tp| (tp.clone(), Position::Earliest)).collect(),
            From::Latest => at_end.iter().map(|(tp, end)| (tp.clone(), Position::Offset(*end))).collect(),
            From::Offset(offset) => {
                partitions.iter().map(|tp| (tp.clone(), Position::Offset(offset))).collect()
            }
            From::BeforeEnd(count) => {
                let first = self.offsets(&partitions, OffsetSpec::Earliest).await?;
                let back = |tp, end: &i64| end.saturating_sub(count).max(first.get(tp).copied().unwrap_or(0));
                at_end.iter().map(|(tp, end)| (tp.clone(), Position::Offset(back(tp, end)))).collect()
            }
            From::Time(ms) => {
                let found = self.offsets(&partitions, OffsetSpec::Timestamp(ms)).await?;
                let place = |tp, end: &i64| Position::Offset(found.get(tp).copied().unwrap_or(*end));
                at_end.iter().map(|(tp, end)| (tp.clone(), place(tp, end))).collect()
            }
        };
        if self.args.until_end {
            let first = self.offsets(&partitions, OffsetSpec::Earliest).await?;
            // Empty partitions have nothing to wait for.
            let waited = |(tp, end): &(TopicPartition, i64)| {
                let from = match positions.get(tp) {
                    Some(Position::Offset(offset)) => *offset,
                    _ => first.get(tp).copied().unwrap_or(0),
                };
                from < *end
            };
            self.ends = Some(at_end.into_iter().filter(waited).collect());
        }
        self.consumer.assign(positions).map_err(Failure::client)
    }

    /// All partitions, or those of `--partition`.
    async fn partitions(&self, client: &Client) -> Result<Vec<TopicPartition>, Failure> {
        let name = &self.args.topic;
        // The admin's question creates no topic, as a consumer's own would.
        let described = Admin::new(client).describe_topics(&[name]).await.map_err(Failure::client)?;
        let info = described.get(name.as_str()).filter(|info| info.error.is_none());
        let info = info.ok_or_else(|| Failure::Runtime(topic::missing(name)))?;
        let count = i32::try_from(info.partitions.len()).unwrap_or(i32::MAX);
        if let Some(wrong) = self.args.partition.iter().find(|partition| !(0..count).contains(partition)) {
            return Err(Failure::validation(format!(
                "topic {name} has no partition {wrong}; it has {count}, counted from 0"
            )));
        }
        let wanted =
            |partition: &i32| self.args.partition.is_empty() || self.args.partition.contains(partition);
        Ok((0..count).filter(wanted).map(|partition| TopicPartition::new(name.as_str(), partition)).collect())
    }

    async fn offsets(
        &self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
    ) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
        let wanted = partitions.iter().map(|tp| (tp.clone(), spec)).collect();
        let listed = self.consumer.list_offsets(&wanted).await.map_err(Failure::client)?;
        Ok(listed.into_iter().filter_map(|(tp, listed)| Some((tp, listed.offset?))).collect())
    }

    /// Whether nothing more is to be shown.
    fn is_done(&self) -> bool {
        let at_end =
            |(tp, end): (&TopicPartition, &i64)| self.consumer.position(tp).is_some_and(|at| at >= *end);
        self.left == 0 || self.ends.as_ref().is_some_and(|ends| ends.iter().all(at_end))
    }

    /// Writes records out, then commits them for the group: what was not shown is not committed.
    async fn show(&mut self, partitions: &[FetchedPartition]) -> Outcome {
        let mut text = Vec::new();
        let mut shown = BTreeMap::new();
        for fetched in partitions {
            let tp = TopicPartition::new(fetched.topic.clone(), fetched.partition);
            let end = self.ends.as_ref().map(|ends| ends.get(&tp).copied().unwrap_or(0));
            let left = &mut self.left;
            let mut next = None;
            fetched
                .for_each(|record| {
                    if *left == 0 || end.is_some_and(|end| record.offset >= end) {
                        return;
                    }
                    *left -= 1;
                    next = Some(record.offset + 1);
                    show::record(&mut text, self.args.format, &fetched.topic, fetched.partition, &record);
                })
                .map_err(Failure::client)?;
            shown.extend(next.map(|next| (tp, OffsetAndMetadata::from(next))));
        }
        output::bytes(&text)?;
        if self.args.group.is_some() && !shown.is_empty() {
            self.consumer.commit(shown).await.map_err(Failure::client)?;
        }
        Ok(())
    }
}
