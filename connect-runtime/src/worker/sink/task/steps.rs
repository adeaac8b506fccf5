//! What a batch goes through on its way to the sink: the conversion, the transforms.

use std::time::SystemTime;

use super::SinkTask;
use crate::component::batch::Batch;
use crate::failure::TaskError;
use crate::failure::dead_letter::{CONVERTER, Stage};
use crate::trace::Kind;
use crate::worker::chain::{Chained, compose};
use crate::worker::sink::retried::Read;

impl SinkTask<'_> {
    /// Sends a batch through converters and transforms to the sink. Afterwards everything that was read with it is with the sink.
    pub(super) async fn give(&mut self, read: Read) -> Result<(), TaskError> {
        if !read.batch.is_empty() {
            self.metrics.read_records(read.batch.len());
            self.trace_fetch(&read.batch);
        }
        if self.converters.is_idle() {
            self.transform(&read.batch, None, &read).await?;
        } else {
            self.convert(&read).await?;
        }
        for (tp, next) in read.nexts {
            self.places.passed(tp, next);
        }
        Ok(())
    }

    /// Turns records into what the connector understands, as many at a time as make a batch.
    async fn convert(&mut self, read: &Read) -> Result<(), TaskError> {
        let mut from = 0;
        while from < read.batch.len() {
            let at = SystemTime::now();
            let converted = match self.converters.convert(&read.batch, from, &self.connector.topic).await {
                Ok(converted) => converted,
                Err(failure) => {
                    // The registry may be away for longer than the broker keeps a transaction open.
                    self.commit_dead_letters().await?;
                    self.retry.pause(failure.of_task(&self.connector.plan.name, self.task)).await?;
                    continue;
                }
            };
            self.retry.succeeded();
            self.trace("convert", Kind::Internal, at, converted.next - from, None);
            let numbers: Vec<u32> = converted.rejected.iter().map(|(_, error)| error.index).collect();
            for (place, record) in read.batch.pick(&numbers) {
                let (stage, error) = &converted.rejected[place];
                self.reject_one(&record, read.first(error.index), *stage, CONVERTER, error).await?;
            }
            self.transform(&converted.batch, Some(&converted.origin), read).await?;
            from = converted.next;
        }
        Ok(())
    }

    /// Sends a batch through the transforms to the sink. Its records came from those that were read (`origin`; none: one to one), which
    /// is what dead letters are made of.
    async fn transform(
        &mut self,
        batch: &Batch,
        origin: Option<&[u32]>,
        read: &Read,
    ) -> Result<(), TaskError> {
        if self.chain.is_empty() || batch.is_empty() {
            return self.traced_put(batch, read, origin).await;
        }
        let at = SystemTime::now();
        let chained = self.chain.apply(batch, &mut self.retry).await;
        self.trace("transform", Kind::Internal, at, batch.len(), chained.as_ref().err());
        let mut chained = chained?;
        self.pending.dropped += chained.dropped(batch.len()) as u64;
        let mut rejected = std::mem::take(&mut chained.rejected);
        for (_, error) in &mut rejected {
            error.index = origin.map_or(error.index, |origin| origin[error.index as usize]);
        }
        self.reject(read, Stage::Transformation, rejected).await?;
        let Chained { batch: made, origin: steps, .. } = chained;
        let Some(mut made) = made else { return self.traced_put(batch, read, origin).await };
        self.check_topics(&made, &read.batch)?;
        // Places are the host's word, whatever a transform made of them.
        made.set_places_of(batch, steps.as_deref());
        let origin = match steps {
            Some(steps) => Some(compose(origin, steps)),
            None => origin.map(<[u32]>::to_vec),
        };
        self.traced_put(&made, read, origin.as_deref()).await
    }

    /// A record that was read has a place in a topic, and its sink tells by it what is written: it can't be another topic's.
    fn check_topics(&self, batch: &Batch, input: &Batch) -> Result<(), TaskError> {
        match batch.topics().find(|topic| !input.topics().any(|known| known == *topic)) {
            None => Ok(()),
            Some(topic) => {
                let message = format!(
                    "a transform routed records to topic {topic}, on their way to a sink; route at the source of the topic"
                );
                Err(self.connector.invalid(self.task, message))
            }
        }
    }
}
