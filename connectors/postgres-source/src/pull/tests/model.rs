//! A model of a server: tables, transactions that are in the log before others see them, a slot, a publication.
//!
//! What it has in common with PostgreSQL is what the source builds on: a transaction locks the rows that it changes until others see
//! it; the log has transactions in the order of their commits, which is not the order in which they become visible; a slot
//! gives whole transactions from the place that was confirmed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use millrace_sdk::Error;

use crate::lsn::Lsn;
use crate::pgoutput::tests::encode;
use crate::pgoutput::{Begin, Column, Commit, Identity, Message, Old, Relation, Tuple, Value};
use crate::snapshot::Snapshot;
use crate::tables::Key;
use crate::types::Entry;
use crate::upstream::{Begun, Division, Range, Read, Received, Rows, Upstream};

/// Rows of one chunk, and of a piece of it.
const CHUNK_ROWS: usize = 3;
const PIECE_ROWS: usize = 2;

/// A change of a row with a version, and a large value that may be out of line.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Insert(i64, u64),
    /// Whether the large value changes, too.
    Update(i64, u64, bool),
    Move(i64, i64, u64),
    Delete(i64),
    Truncate,
}

impl Op {
    fn keys(&self) -> Vec<i64> {
        match self {
            Self::Insert(id, _) | Self::Update(id, ..) | Self::Delete(id) => vec![*id],
            Self::Move(from, to, _) => vec![*from, *to],
            Self::Truncate => Vec::new(),
        }
    }
}

#[derive(Clone, Debug)]
struct Transaction {
    xid: u32,
    ops: Vec<(usize, Op)>,
    commit_lsn: u64,
    end_lsn: u64,
    /// Tables that were published for it.
    published: BTreeSet<usize>,
}

/// A row: its version, and its large value.
pub(super) type Row = (u64, u64);
/// Rows of a table by key.
pub(super) type State = BTreeMap<i64, Row>;

#[derive(Debug, Default)]
pub(super) struct Server {
    next_lsn: u64,
    next_xid: u32,
    running: Vec<Transaction>,
    /// In the log, and not visible yet.
    flushed: Vec<u32>,
    log: Vec<Transaction>,
    /// Highest number of those that are over, and one more.
    xmax: u32,
    pub(super) published: BTreeSet<usize>,
    pub(super) confirmed: u64,
    /// Empty tables that are published besides.
    pub(super) empty_tables: usize,
    /// Bytes that the slot holds back.
    pub(super) lag: Option<u64>,
    /// Readers that can be had.
    pub(super) readers_max: usize,
    /// How many are at work, and how often they were sent away.
    pub(super) readers_at_work: usize,
    pub(super) rests: usize,
    /// How many calls succeed before one fails.
    pub(super) fails_in: Option<u32>,
}

pub(super) const TABLES: [&str; 3] = ["public.a", "public.b", "public.keyless"];
/// The one without a key, which is only inserted into.
pub(super) const KEYLESS: usize = 2;

impl Server {
    pub(super) fn new() -> Self {
        Self { next_lsn: 100, next_xid: 10, xmax: 10, readers_max: usize::MAX, ..Self::default() }
    }

    /// The committed state, seen or not.
    pub(super) fn state(&self, table: usize) -> State {
        replay(self.log.iter(), table)
    }

    fn seen(&self, table: usize) -> State {
        replay(self.log.iter().filter(|transaction| !self.flushed.contains(&transaction.xid)), table)
    }

    fn open(&self) -> impl Iterator<Item = (usize, i64)> + '_ {
        let flushed = self.log.iter().filter(|transaction| self.flushed.contains(&transaction.xid));
        let open = self.running.iter().chain(flushed);
        open.flat_map(|transaction| {
            transaction.ops.iter().flat_map(|(table, op)| op.keys().into_iter().map(|id| (*table, id)))
        })
    }

    pub(super) fn is_locked(&self, table: usize, id: i64) -> bool {
        self.open().any(|open| open == (table, id))
    }

    /// Whether a transaction that is not over has to do with this table.
    pub(super) fn is_in_use(&self, table: usize) -> bool {
        self.open().any(|(open, _)| open == table)
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self, ops: Vec<(usize, Op)>) {
        let published = self.published.clone();
        let xid = self.next_xid;
        self.next_xid += 1;
        self.running.push(Transaction { xid, ops, commit_lsn: 0, end_lsn: 0, published });
    }

    /// Writes the commit of one that runs.
    pub(super) fn flush(&mut self, which: usize) {
        if self.running.is_empty() {
            return;
        }
        let mut transaction = self.running.remove(which % self.running.len());
        transaction.commit_lsn = self.next_lsn + 10;
        transaction.end_lsn = self.next_lsn + 18;
        self.next_lsn += 18;
        self.flushed.push(transaction.xid);
        self.log.push(transaction);
    }

    /// Lets others see one that has committed.
    pub(super) fn end(&mut self, which: usize) {
        if !self.flushed.is_empty() {
            let xid = self.flushed.remove(which % self.flushed.len());
            self.xmax = self.xmax.max(xid + 1);
        }
    }

    pub(super) fn end_all(&mut self) {
        while !self.running.is_empty() {
            self.flush(0);
        }
        while !self.flushed.is_empty() {
            self.end(0);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let open = self.running.iter().map(|transaction| transaction.xid).chain(self.flushed.iter().copied());
        let mut running: Vec<u32> = open.filter(|xid| *xid < self.xmax).collect();
        running.sort_unstable();
        let xmin = running.first().copied().unwrap_or(self.xmax);
        let list: Vec<String> = running.iter().map(u32::to_string).collect();
        format!("{xmin}:{}:{}", self.xmax, list.join(",")).parse().expect("a snapshot")
    }

    fn call(&mut self) -> Result<(), Error> {
        match &mut self.fails_in {
            Some(0) => {
                self.fails_in = None;
                Err(Error::retriable("postgres.lost", "the connection was lost"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn replay<'a>(log: impl Iterator<Item = &'a Transaction>, wanted: usize) -> State {
    let mut rows = State::new();
    for (_, op) in log.flat_map(|transaction| &transaction.ops).filter(|(table, _)| *table == wanted) {
        match *op {
            Op::Insert(id, version) => {
                rows.insert(id, (version, version));
            }
            Op::Update(id, version, is_large) => {
                let row = rows.entry(id).or_default();
                *row = (version, if is_large { version } else { row.1 });
            }
            Op::Move(from, to, version) => {
                let (_, large) = rows.remove(&from).unwrap_or_default();
                rows.insert(to, (version, large));
            }
            Op::Delete(id) => {
                rows.remove(&id);
            }
            Op::Truncate => rows.clear(),
        }
    }
    rows
}

/// The server as the source sees it.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) server: Rc<RefCell<Server>>,
    /// Messages that were not read yet.
    frames: Vec<Vec<u8>>,
    /// Up to where the log was put into frames.
    sent: u64,
    known: BTreeSet<usize>,
    is_started: bool,
    reads: usize,
    readers: BTreeMap<usize, Reader>,
}

/// What a reader is at: each step takes a moment.
#[derive(Debug)]
enum Reader {
    /// It was asked: what it will see is not settled.
    Asked { table: usize, after: i64, upto: i64 },
    /// It has its snapshot, and the rows that are seen in it.
    Seeing { table: usize, snapshot: Snapshot, lsn: Lsn, rows: Vec<(i64, Row)>, is_last: bool },
    /// Rows that are left.
    Giving { rows: Vec<(i64, Row)>, is_last: bool },
}

impl Model {
    pub(super) fn new(server: &Rc<RefCell<Server>>) -> Self {
        let server = Rc::clone(server);
        Self {
            server,
            frames: Vec::new(),
            sent: 0,
            known: BTreeSet::new(),
            is_started: false,
            reads: 0,
            readers: BTreeMap::new(),
        }
    }

    /// What a snapshot that is taken now sees of a range.
    fn see(&self, table: usize, after: i64, upto: i64) -> Reader {
        let server = self.server.borrow();
        let most = if table == KEYLESS { usize::MAX } else { CHUNK_ROWS };
        let range = server.seen(table).into_iter().filter(|(id, _)| *id > after && *id <= upto);
        let mut rows: Vec<_> = range.collect();
        let is_last = rows.len() <= most;
        rows.truncate(most);
        Reader::Seeing { table, snapshot: server.snapshot(), lsn: Lsn(server.next_lsn), rows, is_last }
    }

    fn log(&mut self, lsn: u64, message: &Message<'_>) {
        let frame = [b"w".as_slice(), &lsn.to_be_bytes(), &[0; 16], &encode(message)].concat();
        self.frames.push(frame);
    }

    fn send(&mut self, transaction: &Transaction) {
        let begin = Begin { commit_lsn: transaction.commit_lsn, commit_time: 0, xid: transaction.xid };
        self.log(transaction.commit_lsn - 9, &Message::Begin(begin));
        for (number, (table, op)) in transaction.ops.iter().enumerate() {
            if !transaction.published.contains(table) {
                continue;
            }
            if self.known.insert(*table) {
                self.log(0, &Message::Relation(relation(*table)));
            }
            let lsn = transaction.commit_lsn - 8 + number as u64;
            change(*table as u32, op, |message| self.log(lsn, message));
        }
        let commit = Commit { commit_lsn: transaction.commit_lsn, end_lsn: transaction.end_lsn };
        self.log(transaction.commit_lsn, &Message::Commit(commit));
    }
}

fn columns(table: usize) -> Vec<Column> {
    let column = |name: &str, is_identity| Column {
        is_identity,
        name: name.to_owned(),
        type_oid: 20,
        type_modifier: -1,
    };
    vec![column("id", table != KEYLESS), column("version", false), column("large", false)]
}

fn relation(table: usize) -> Relation {
    let (schema, name) = TABLES[table].split_once('.').expect("a table's name");
    let identity = Identity::Default;
    Relation { id: table as u32, schema: schema.into(), name: name.into(), identity, columns: columns(table) }
}

fn change(relation: u32, op: &Op, mut log: impl FnMut(&Message<'_>)) {
    let text = |number: i64| number.to_string();
    let version_text = |version: u64| version.to_string();
    match *op {
        Op::Insert(id, version) => {
            let (id, version) = (text(id), version_text(version));
            let values = vec![Value::Text(&id), Value::Text(&version), Value::Text(&version)];
            log(&Message::Insert { relation, new: Tuple { values } });
        }
        Op::Update(id, version, is_large) => {
            let (id, version) = (text(id), version_text(version));
            let large = if is_large { Value::Text(&version) } else { Value::Unchanged };
            let values = vec![Value::Text(&id), Value::Text(&version), large];
            log(&Message::Update { relation, old: None, new: Tuple { values } });
        }
        Op::Move(from, to, version) => {
            let (from, to, version) = (text(from), text(to), version_text(version));
            let old = Tuple { values: vec![Value::Text(&from), Value::Null, Value::Null] };
            let values = vec![Value::Text(&to), Value::Text(&version), Value::Unchanged];
            let old = Some(Old { is_whole: false, tuple: old });
            log(&Message::Update { relation, old, new: Tuple { values } });
        }
        Op::Delete(id) => {
            let id = text(id);
            let tuple = Tuple { values: vec![Value::Text(&id), Value::Null, Value::Null] };
            log(&Message::Delete { relation, old: Old { is_whole: false, tuple } });
        }
        Op::Truncate => log(&Message::Truncate { relations: vec![relation] }),
    }
}

impl Upstream for Model {
    fn start(&mut self, from: Lsn) -> Result<(), Error> {
        self.server.borrow_mut().call()?;
        assert!(!self.is_started, "a stream that is started twice");
        self.is_started = true;
        self.sent = from.0.max(self.server.borrow().confirmed);
        self.known.clear();
        Ok(())
    }

    fn read(&mut self, _bytes_max: u32, _wait_ms: u32) -> Result<Received, Error> {
        assert!(self.is_started, "a stream that was not started");
        self.server.borrow_mut().call()?;
        let server = Rc::clone(&self.server);
        let server = server.borrow();
        if self.frames.is_empty() {
            if let Some(next) = server.log.iter().find(|next| next.commit_lsn >= self.sent) {
                self.send(next);
                self.sent = next.end_lsn;
            } else {
                let frame = [b"k".as_slice(), &server.next_lsn.to_be_bytes(), &[0; 9]].concat();
                self.frames.push(frame);
            }
        }
        self.reads += 1;
        let count = (self.reads % 4 + 1).min(self.frames.len());
        let mut received = Received::default();
        for frame in self.frames.drain(..count) {
            received.lens.push(frame.len() as u32);
            received.data.extend(frame);
        }
        Ok(received)
    }

    fn confirm(&mut self, lsn: Lsn, _asks: bool) -> Result<(), Error> {
        let mut server = self.server.borrow_mut();
        server.call()?;
        server.confirmed = server.confirmed.max(lsn.0);
        Ok(())
    }

    fn stop(&mut self) {
        self.is_started = false;
        self.frames.clear();
    }

    fn published(&mut self) -> Result<Vec<String>, Error> {
        self.server.borrow_mut().call()?;
        let server = self.server.borrow();
        let empty = (0..server.empty_tables).map(|table| format!("public.empty{table}"));
        Ok(server.published.iter().map(|table| TABLES[*table].to_owned()).chain(empty).collect())
    }

    fn barrier(&mut self) -> Result<u64, Error> {
        let mut server = self.server.borrow_mut();
        server.call()?;
        server.next_xid += 1;
        server.xmax = server.next_xid;
        Ok(u64::from(server.next_xid - 1))
    }

    fn division(&mut self, table: &str, parts: usize) -> Result<Division, Error> {
        let mut server = self.server.borrow_mut();
        server.call()?;
        if table == TABLES[KEYLESS] {
            return Ok(Division::default());
        }
        // Anywhere, whether there are rows or not.
        let ends = (1..parts as i64).map(|part| vec![(part * 5 + self.reads as i64 % 3).to_string()]);
        Ok(Division { key: vec!["id".to_owned()], ends: ends.collect(), rows: 7 })
    }

    fn begin(&mut self, reader: usize, range: &Range<'_>) -> Result<bool, Error> {
        self.server.borrow_mut().call()?;
        if reader >= self.server.borrow().readers_max {
            return Ok(false);
        }
        let number = |key: Option<&Key>, none| key.map_or(none, |key| key[0].parse().expect("a number"));
        let (after, upto) = (number(range.after, i64::MIN), number(range.upto, i64::MAX));
        let table = TABLES.iter().position(|known| *known == range.table).expect("a known table");
        let asked = Reader::Asked { table, after, upto };
        assert!(self.readers.insert(reader, asked).is_none(), "reader {reader} is not free");
        self.server.borrow_mut().readers_at_work = self.readers.len();
        Ok(true)
    }

    fn next(
        &mut self,
        reader: usize,
        _wait_ms: u32,
        accept: &mut dyn FnMut(&Snapshot) -> bool,
    ) -> Result<Read, Error> {
        let work = self.readers.remove(&reader).expect("a reader that is at work");
        self.server.borrow_mut().readers_at_work = self.readers.len();
        self.server.borrow_mut().call()?;
        self.reads += 1;
        let is_later = self.reads.is_multiple_of(3);
        // Others go on meanwhile.
        match self.reads % 16 {
            3 => self.server.borrow_mut().flush(self.reads),
            7 | 14 => self.server.borrow_mut().end(self.reads),
            _ => {}
        }
        let (read, work) = match work {
            Reader::Asked { table, after, upto } if is_later => {
                (Read::Waiting, Some(Reader::Asked { table, after, upto }))
            }
            Reader::Asked { table, after, upto } => (Read::Waiting, Some(self.see(table, after, upto))),
            // It has seen for long when others learn of it.
            seeing @ Reader::Seeing { .. } if is_later => (Read::Waiting, Some(seeing)),
            Reader::Seeing { snapshot, .. } if !accept(&snapshot) => (Read::NotYet, None),
            Reader::Seeing { table, snapshot, lsn, rows, is_last } => {
                let key = if table == KEYLESS { Vec::new() } else { vec!["id".to_owned()] };
                let begun = Begun { columns: columns(table), key, snapshot, lsn };
                (Read::Begun(begun), Some(Reader::Giving { rows, is_last }))
            }
            Reader::Giving { rows, is_last } if is_later => {
                (Read::Waiting, Some(Reader::Giving { rows, is_last }))
            }
            Reader::Giving { mut rows, is_last } => {
                let left = rows.split_off(rows.len().min(PIECE_ROWS.max(rows.len() / 2)));
                let mut piece = Rows::default();
                for (id, (version, large)) in rows {
                    for text in [id.to_string(), version.to_string(), large.to_string()] {
                        piece.lens.push(text.len() as i32);
                        piece.data.extend(text.into_bytes());
                    }
                }
                match left.is_empty() {
                    true => (Read::End { rows: piece, is_last }, None),
                    false => (Read::Rows(piece), Some(Reader::Giving { rows: left, is_last })),
                }
            }
        };
        self.readers.extend(work.map(|work| (reader, work)));
        self.server.borrow_mut().readers_at_work = self.readers.len();
        Ok(read)
    }

    fn give_up(&mut self, reader: usize) {
        self.readers.remove(&reader).expect("a reader that is at work");
        self.server.borrow_mut().readers_at_work = self.readers.len();
    }

    fn rest(&mut self) {
        assert!(self.readers.is_empty(), "readers that are at work: {:?}", self.readers);
        self.server.borrow_mut().rests += 1;
    }

    fn place(&mut self, _table: &str, key: &Key, bounds: &[&Key]) -> Result<usize, Error> {
        self.server.borrow_mut().call()?;
        let number = |key: &Key| key[0].parse::<i64>().expect("a number");
        assert!(bounds.is_sorted_by_key(|bound| number(bound)), "{bounds:?}");
        Ok(bounds.iter().filter(|bound| number(key) > number(bound)).count())
    }

    fn type_entry(&mut self, _oid: u32) -> Result<Option<Entry>, Error> {
        Ok(None)
    }

    fn key(&mut self, relation: u32) -> Result<Vec<String>, Error> {
        Ok(if relation as usize == KEYLESS { Vec::new() } else { vec!["id".to_owned()] })
    }

    fn slot_lag(&mut self) -> Result<Option<u64>, Error> {
        Ok(self.server.borrow().lag)
    }

    fn run(&mut self, _sql: &str) -> Result<(), Error> {
        Ok(())
    }
}
