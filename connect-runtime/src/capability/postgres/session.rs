//! One backend of the server: statements, round trip by round trip.
//!
//! Invariant: a call that fails, or is dropped, in the middle of a round trip leaves the session closed: what the server
//! says next would be taken for the answer to something else.

use std::collections::BTreeMap;
use std::time::Duration;

use fallible_iterator::FallibleIterator;
use postgres_protocol::IsNull;
use postgres_protocol::message::backend::{self, Message};
use postgres_protocol::message::frontend;

use super::copy::Direction;
use super::problem::{self, Said};
use super::wire::{Broken, Wire, garbled};
use crate::component::bindings::millrace::connect::postgres::{
    BatchFailure, Column, Mode, Problem, Rows, SqlError, Statement, Status,
};

/// Most statements of one round trip.
pub(super) const STATEMENTS_MAX: usize = 10_000;
/// Most parameters of a statement: the protocol counts them in 16 bits.
const PARAMS_MAX: usize = 65_535;
/// What a value without text formats says of itself, and of all parameters: text.
const TEXT: i16 = 0;
/// What the server reports of itself is kept up to this.
const PARAMETERS_MAX: usize = 200;

/// Where the session is between two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ready(Status),
    Copying(Direction),
    /// In a round trip; or it ended in one.
    Busy,
}

/// A session; see `wit/postgres.wit`.
pub(crate) struct Session {
    /// The server and the database, for messages.
    pub(super) place: String,
    pub(super) wire: Wire,
    pub(super) silence: Duration,
    result_bytes: usize,
    mode: Mode,
    pub(super) state: State,
    pub(super) parameters: BTreeMap<String, String>,
}

/// What the server says in one round trip.
#[derive(Default)]
pub(super) struct Answer {
    /// Rows of the last statement, if they are wanted.
    rows: Option<Rows>,
    /// Rows that each statement changed or gave.
    pub(super) counts: Vec<u64>,
    /// The first refusal.
    pub(super) refused: Option<SqlError>,
    /// A COPY began.
    pub(super) copying: Option<Direction>,
}

impl Session {
    pub(super) fn new(place: String, wire: Wire, silence: Duration, result_bytes: usize, mode: Mode) -> Self {
        let (state, parameters) = (State::Ready(Status::Idle), BTreeMap::new());
        Self { place, wire, silence, result_bytes, mode, state, parameters }
    }

    pub(super) fn status(&self) -> Status {
        match self.state {
            State::Ready(status) => status,
            State::Copying(_) => Status::Copying,
            State::Busy => Status::Closed,
        }
    }

    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters.get(name).cloned()
    }

    /// Whether the server waits for us, so that it can be told that we go.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    pub(super) async fn run(&mut self, sql: &str) -> Result<(), Problem> {
        self.begin()?;
        self.simple(sql)?;
        let answer = self.answer(Answer::default()).await?;
        answer.refused.map_or(Ok(()), |error| Err(Problem::Statement(error)))
    }

    pub(super) async fn rows_of(&mut self, sql: &str) -> Result<Rows, Problem> {
        self.begin()?;
        self.simple(sql)?;
        self.rows().await
    }

    pub(super) async fn query(&mut self, statement: &Statement) -> Result<Rows, Problem> {
        self.begin()?;
        self.extended(std::slice::from_ref(statement))?;
        self.rows().await
    }

    pub(super) async fn batch(&mut self, statements: &[Statement]) -> Result<Vec<u64>, BatchFailure> {
        let whole = |problem| BatchFailure { index: 0, problem };
        self.begin().map_err(whole)?;
        self.extended(statements).map_err(whole)?;
        let answer = self.answer(Answer::default()).await.map_err(whole)?;
        match answer.refused {
            None => Ok(answer.counts),
            Some(error) => {
                // A constraint that is checked at the end of the implicit transaction fails behind the last one.
                let last = statements.len().saturating_sub(1);
                let index = u32::try_from(answer.counts.len().min(last)).unwrap_or(u32::MAX);
                Err(BatchFailure { index, problem: Problem::Statement(error) })
            }
        }
    }

    /// A round trip begins: only now, and only if the last one ended.
    pub(super) fn begin(&mut self) -> Result<(), Problem> {
        match std::mem::replace(&mut self.state, State::Busy) {
            State::Ready(_) => Ok(()),
            State::Copying(_) => Err(self.misused("a COPY is under way; end it first")),
            State::Busy => {
                Err(problem::lost("postgres.closed", format!("{}: the session is over", self.place)))
            }
        }
    }

    /// The guest's mistake. It costs the session.
    pub(super) fn misused(&self, what: &str) -> Problem {
        problem::fatal("postgres.usage", format!("{}: {what}", self.place))
    }

    pub(super) fn broken(&self, error: Broken) -> Problem {
        problem::broken(&self.place, &error)
    }

    pub(super) fn simple(&mut self, sql: &str) -> Result<(), Problem> {
        frontend::query(sql, &mut self.wire.output)
            .map_err(|_| self.misused("a statement with a zero byte in it"))
    }

    fn extended(&mut self, statements: &[Statement]) -> Result<(), Problem> {
        if self.mode == Mode::Replication {
            return Err(self.misused("a session for replication takes no statements with parameters"));
        }
        if statements.len() > STATEMENTS_MAX {
            return Err(self.misused(&format!("more than {STATEMENTS_MAX} statements at once")));
        }
        for statement in statements {
            if statement.params.len() > PARAMS_MAX {
                return Err(self.misused(&format!("a statement with more than {PARAMS_MAX} parameters")));
            }
            self.put(statement)
                .map_err(|()| self.misused("a statement with a zero byte in it, or too large"))?;
        }
        frontend::sync(&mut self.wire.output);
        Ok(())
    }

    fn put(&mut self, statement: &Statement) -> Result<(), ()> {
        let output = &mut self.wire.output;
        frontend::parse("", &statement.sql, [], output).map_err(|_| ())?;
        let value = |param: &Option<Vec<u8>>, buffer: &mut bytes::BytesMut| {
            Ok(match param {
                Some(text) => {
                    buffer.extend_from_slice(text);
                    IsNull::No
                }
                None => IsNull::Yes,
            })
        };
        frontend::bind("", "", [TEXT], &statement.params, value, [TEXT], output).map_err(|_| ())?;
        frontend::describe(b'P', "", output).map_err(|_| ())?;
        frontend::execute("", 0, output).map_err(|_| ())
    }

    async fn rows(&mut self) -> Result<Rows, Problem> {
        let rows = Some(no_rows());
        let answer = self.answer(Answer { rows, ..Answer::default() }).await?;
        match answer.refused {
            Some(error) => Err(Problem::Statement(error)),
            None => Ok(answer.rows.unwrap_or_else(no_rows)),
        }
    }

    /// Sends what was put together and takes everything until the server is ready, or a COPY begins.
    pub(super) async fn answer(&mut self, mut answer: Answer) -> Result<Answer, Problem> {
        self.wire.flush(self.silence).await.map_err(|error| self.broken(error))?;
        loop {
            let (tag, length) = self.wire.front(self.silence).await.map_err(|error| self.broken(error))?;
            match tag {
                backend::DATA_ROW_TAG => {
                    if let Some(rows) = &mut answer.rows {
                        let most = self.result_bytes;
                        add_row(rows, self.wire.body(length), most).map_err(|error| self.broken(error))?;
                    }
                    self.wire.skip(length);
                }
                backend::COPY_DATA_TAG => self.wire.skip(length),
                COPY_BOTH_TAG => {
                    self.wire.skip(length);
                    answer.copying = Some(Direction::Both);
                    return Ok(answer);
                }
                _ => {
                    let message = self.wire.take().map_err(|error| self.broken(error))?;
                    if self.hear(message, &mut answer)? {
                        return Ok(answer);
                    }
                }
            }
        }
    }

    /// Whether the round trip is over.
    fn hear(&mut self, message: Message, answer: &mut Answer) -> Result<bool, Problem> {
        match message {
            Message::RowDescription(body) => {
                if let Some(rows) = &mut answer.rows {
                    let column = |field: backend::Field<'_>| {
                        Ok(Column {
                            name: field.name().to_owned(),
                            type_oid: field.type_oid(),
                            type_modifier: field.type_modifier(),
                        })
                    };
                    let columns = body.fields().map(column).collect();
                    *rows = Rows { columns: columns.map_err(|e| self.broken(garbled(e)))?, ..no_rows() };
                }
            }
            Message::CommandComplete(body) => {
                let tag = body.tag().map_err(|error| self.broken(garbled(error)))?;
                answer.counts.push(tag.rsplit(' ').next().and_then(|last| last.parse().ok()).unwrap_or(0));
                if let Some(rows) = &mut answer.rows {
                    tag.clone_into(&mut rows.tag);
                }
            }
            Message::EmptyQueryResponse => answer.counts.push(0),
            Message::ErrorResponse(body) => {
                let said = Said::read(body.fields());
                if said.ends {
                    return Err(said.ending(&self.place));
                }
                answer.refused.get_or_insert(said.error);
            }
            Message::ReadyForQuery(body) => {
                self.state = State::Ready(match body.status() {
                    b'T' => Status::InTransaction,
                    b'E' => Status::Failed,
                    _ => Status::Idle,
                });
                return Ok(true);
            }
            Message::ParameterStatus(body) => self.note_parameter(&body),
            Message::NoticeResponse(body) => {
                let said = Said::read(body.fields()).error;
                tracing::debug!(server = self.place, code = said.code, "{}", said.message);
            }
            Message::CopyInResponse(_) => {
                answer.copying = Some(Direction::In);
                return Ok(true);
            }
            Message::CopyOutResponse(_) => {
                answer.copying = Some(Direction::Out);
                return Ok(true);
            }
            Message::ParseComplete
            | Message::BindComplete
            | Message::CloseComplete
            | Message::NoData
            | Message::ParameterDescription(_)
            | Message::PortalSuspended
            | Message::CopyDone
            | Message::NotificationResponse(_) => {}
            _ => return Err(self.broken(Broken::Protocol("a message out of its turn".to_owned()))),
        }
        Ok(false)
    }

    fn note_parameter(&mut self, body: &backend::ParameterStatusBody) {
        if let (Ok(name), Ok(value)) = (body.name(), body.value())
            && self.parameters.len() < PARAMETERS_MAX
        {
            self.parameters.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// CopyBothResponse, of the replication protocol.
pub(super) const COPY_BOTH_TAG: u8 = b'W';

fn no_rows() -> Rows {
    Rows { columns: Vec::new(), count: 0, lens: Vec::new(), data: Vec::new(), tag: String::new() }
}

/// A DataRow: how many values, then each with its length.
fn add_row(rows: &mut Rows, body: &[u8], bytes_max: usize) -> Result<(), Broken> {
    let short = || Broken::Protocol("a row that ends too early".to_owned());
    let (count, mut rest) = body.split_first_chunk().ok_or_else(short)?;
    let count = u16::from_be_bytes(*count);
    if usize::from(count) != rows.columns.len() {
        return Err(Broken::Protocol("a row with other columns than it was said".to_owned()));
    }
    let size = rows.data.len() + body.len() + rows.lens.len() * size_of::<i32>();
    if size > bytes_max {
        return Err(Broken::TooLarge(size, bytes_max));
    }
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk().ok_or_else(short)?;
        let length = i32::from_be_bytes(*length);
        let value;
        (value, rest) = after.split_at_checked(usize::try_from(length).unwrap_or(0)).ok_or_else(short)?;
        rows.lens.push(length.max(-1));
        rows.data.extend_from_slice(value);
    }
    rows.count += 1;
    Ok(())
}
