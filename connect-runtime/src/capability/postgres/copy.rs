//! COPY in, out, and both ways at once as replication does.

use std::time::Duration;

use postgres_protocol::message::backend;
use postgres_protocol::message::frontend::{self, CopyData};
use tokio::time::Instant;

use super::session::{Answer, Session, State};
use super::wire::Broken;
use crate::component::bindings::millrace::connect::postgres::{Chunk, Problem};

/// Most bytes of a chunk, and most messages.
const CHUNK_BYTES_MAX: usize = 16 << 20;
const CHUNK_MESSAGES_MAX: usize = 1 << 20;

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// To the server.
    In,
    /// From it.
    Out,
    /// Both ways, until the server and we have said that we are at our end.
    Both,
    /// From it: we are at our end.
    BothEnded,
}

impl Session {
    pub(super) async fn copy(&mut self, sql: &str) -> Result<(), Problem> {
        self.begin()?;
        self.simple(sql)?;
        let answer = self.answer(Answer::default()).await?;
        match (answer.refused, answer.copying) {
            (Some(error), _) => Err(Problem::Statement(error)),
            (None, Some(direction)) => {
                self.state = State::Copying(direction);
                Ok(())
            }
            (None, None) => {
                self.state = State::Busy;
                Err(self.misused("the statement began no COPY"))
            }
        }
    }

    pub(super) async fn copy_write(&mut self, data: Vec<u8>) -> Result<(), Problem> {
        let direction = self.copying(&[Direction::In, Direction::Both])?;
        let message = CopyData::new(data.as_slice()).map_err(|_| self.misused("too much data at once"))?;
        message.write(&mut self.wire.output);
        self.wire.flush(self.silence).await.map_err(|error| self.broken(error))?;
        // What the server finds wrong is told now, not after the rest was sent for nothing.
        if direction == Direction::In && self.is_refused().await? {
            return self.refusal().await;
        }
        self.state = State::Copying(direction);
        Ok(())
    }

    pub(super) async fn copy_finish(&mut self) -> Result<u64, Problem> {
        let direction = self.copying(&[Direction::In, Direction::Both])?;
        frontend::copy_done(&mut self.wire.output);
        if direction == Direction::Both {
            self.wire.flush(self.silence).await.map_err(|error| self.broken(error))?;
            self.state = State::Copying(Direction::BothEnded);
            return Ok(0);
        }
        let answer = self.answer(Answer::default()).await?;
        match answer.refused {
            Some(error) => Err(Problem::Statement(error)),
            None => Ok(answer.counts.last().copied().unwrap_or(0)),
        }
    }

    pub(super) async fn copy_abort(&mut self, reason: &str) -> Result<(), Problem> {
        let all = [Direction::In, Direction::Out, Direction::Both, Direction::BothEnded];
        if self.copying(&all)? != Direction::In {
            return Ok(()); // nothing ends what the server sends but the end of the session
        }
        let reason: String = reason.chars().filter(|c| *c != '\0').take(200).collect();
        frontend::copy_fail(&reason, &mut self.wire.output)
            .map_err(|error| self.broken(Broken::Io(error)))?;
        self.answer(Answer::default()).await.map(|_| ())
    }

    pub(super) async fn copy_read(&mut self, bytes_max: u32, wait: Duration) -> Result<Chunk, Problem> {
        let direction = self.copying(&[Direction::Out, Direction::Both, Direction::BothEnded])?;
        let bytes_max = usize::try_from(bytes_max).unwrap_or(CHUNK_BYTES_MAX).min(CHUNK_BYTES_MAX);
        let until = Instant::now() + wait.min(self.silence);
        let mut chunk = Chunk { lens: Vec::new(), data: Vec::new(), done: false };
        loop {
            match self.wire.at_hand().map_err(|error| self.broken(error))? {
                Some((backend::COPY_DATA_TAG, length)) => {
                    chunk.lens.push(u32::try_from(length).unwrap_or(u32::MAX));
                    chunk.data.extend_from_slice(self.wire.body(length));
                    self.wire.skip(length);
                    if chunk.data.len() >= bytes_max || chunk.lens.len() >= CHUNK_MESSAGES_MAX {
                        break;
                    }
                }
                Some((backend::NOTICE_RESPONSE_TAG | backend::PARAMETER_STATUS_TAG, length)) => {
                    self.wire.skip(length);
                }
                // What was given before is whole; the end, or what is wrong, comes with the next call.
                Some(_) if !chunk.lens.is_empty() => break,
                Some(_) => return self.copy_ends(direction).await,
                None if chunk.lens.is_empty() => {
                    match tokio::time::timeout_at(until, self.wire.more()).await {
                        Ok(read) => read.map_err(|error| self.broken(error))?,
                        Err(_) => break,
                    }
                }
                None => match self.wire.more_at_once().await {
                    Ok(true) => {}
                    // An end of the socket shows again in the next call.
                    Ok(false) | Err(_) => break,
                },
            }
        }
        self.state = State::Copying(direction);
        Ok(chunk)
    }

    /// The server is at its end, or failed.
    async fn copy_ends(&mut self, direction: Direction) -> Result<Chunk, Problem> {
        if direction == Direction::Both {
            frontend::copy_done(&mut self.wire.output);
        }
        let answer = self.answer(Answer::default()).await?;
        match answer.refused {
            Some(error) => Err(Problem::Statement(error)),
            None => Ok(Chunk { lens: Vec::new(), data: Vec::new(), done: true }),
        }
    }

    /// Begins a call within a COPY of one of these directions.
    fn copying(&mut self, wanted: &[Direction]) -> Result<Direction, Problem> {
        match std::mem::replace(&mut self.state, State::Busy) {
            State::Copying(direction) if wanted.contains(&direction) => Ok(direction),
            State::Copying(_) => Err(self.misused("the COPY under way goes the other way")),
            State::Ready(_) => Err(self.misused("no COPY is under way")),
            State::Busy => self.begin().map(|()| Direction::In),
        }
    }

    /// Whether the server has refused what is still being sent.
    async fn is_refused(&mut self) -> Result<bool, Problem> {
        self.wire.more_at_once().await.map_err(|error| self.broken(error))?;
        let at_hand = self.wire.at_hand().map_err(|error| self.broken(error))?;
        Ok(at_hand.is_some_and(|(tag, _)| tag == backend::ERROR_RESPONSE_TAG))
    }

    async fn refusal(&mut self) -> Result<(), Problem> {
        match self.answer(Answer::default()).await?.refused {
            Some(error) => Err(Problem::Statement(error)),
            None => Err(self.broken(Broken::Protocol("a refusal that is none".to_owned()))),
        }
    }
}
