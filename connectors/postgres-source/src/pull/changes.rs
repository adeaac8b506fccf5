//! The stream: transactions in the order of their commits, each change of which has a number.
//!
//! What a restarted stream gives again is passed over by that number, which counts all changes of a transaction, told or not.

use std::collections::BTreeMap;
use std::rc::Rc;

use millrace_sdk::{Error, Poll, PollLimits};

use super::{Pull, READ_BYTES, is_full, kinds};
use crate::envelope::{Change, Op, Origin, Place};
use crate::frame::{self, Frame};
use crate::lsn::Lsn;
use crate::pgoutput::{self, Begin, Identity, Message, Old, Relation, Tuple, Value};
use crate::shape::Shape;
use crate::tables::{Key, Verdict};
use crate::upstream::{Received, Upstream};

/// The transaction that is under way.
#[derive(Debug)]
pub(super) struct Transaction {
    begin: Begin,
    /// It was taken whole before the stream began anew.
    is_known: bool,
    /// Number of the next change.
    index: u64,
    /// And within its table.
    in_table: BTreeMap<u32, u64>,
}

/// A change of a row.
struct Row<'a> {
    op: Op,
    old: Option<Old<'a>>,
    new: Option<Tuple<'a>>,
}

impl<U: Upstream> Pull<U> {
    /// Takes changes until there is enough, or nothing is left; whether there may be more.
    pub(super) fn take_changes(
        &mut self,
        limits: PollLimits,
        out: &mut Poll,
        wait_ms: u32,
    ) -> Result<bool, Error> {
        if self.taken.0 >= self.received.lens.len() {
            let read = self.upstream.read(READ_BYTES, wait_ms);
            self.received = self.unless_lost(read)?;
            self.taken = (0, 0);
        }
        // Lent out, so that a message may borrow from it while the rest of the state changes.
        let received = std::mem::take(&mut self.received);
        let result = self.take_received(&received, limits, out);
        if self.is_streaming {
            self.received = received;
        }
        result?;
        let is_left = self.taken.0 < self.received.lens.len();
        Ok(is_left || self.received.data.len() >= READ_BYTES as usize)
    }

    fn take_received(
        &mut self,
        received: &Received,
        limits: PollLimits,
        out: &mut Poll,
    ) -> Result<(), Error> {
        while let Some(len) = received.lens.get(self.taken.0).map(|len| *len as usize)
            && !is_full(out, limits)
        {
            let bytes = received.data.get(self.taken.1..self.taken.1 + len).unwrap_or_default();
            self.take_frame(bytes, out)?;
            self.taken = (self.taken.0 + 1, self.taken.1 + len);
        }
        Ok(())
    }

    fn take_frame(&mut self, bytes: &[u8], out: &mut Poll) -> Result<(), Error> {
        match frame::read(bytes)? {
            Frame::Log { start, payload } => {
                let message = pgoutput::decode(payload).map_err(|error| {
                    let message =
                        format!("a message of pgoutput at {start} can't be read: {error}; report it");
                    Error::fatal("postgres.protocol", message)
                })?;
                self.take(message, start, out)
            }
            Frame::Alive { end, asks } => {
                if self.transaction.is_none() {
                    self.whole_before(end);
                }
                if asks {
                    let told = self.upstream.confirm(self.confirmed, false);
                    self.unless_lost(told)?;
                }
                Ok(())
            }
        }
    }

    fn take(&mut self, message: Message<'_>, lsn: Lsn, out: &mut Poll) -> Result<(), Error> {
        match message {
            Message::Begin(begin) => {
                let is_known = Lsn(begin.commit_lsn) < self.position.lsn;
                if !is_known {
                    self.tables.took(begin.xid);
                    let passed = self.tables.passed(Lsn(begin.commit_lsn));
                    self.dirty.extend(passed);
                }
                let in_table = BTreeMap::new();
                self.transaction = Some(Transaction { begin, is_known, index: 0, in_table });
                Ok(())
            }
            Message::Commit(commit) => {
                self.transaction = None;
                self.whole_before(Lsn(commit.end_lsn));
                Ok(())
            }
            Message::Relation(relation) => self.relation(relation),
            Message::Insert { relation, new } => {
                self.row(relation, lsn, Row { op: Op::Create, old: None, new: Some(new) }, out)
            }
            Message::Update { relation, old, new } => {
                self.row(relation, lsn, Row { op: Op::Update, old, new: Some(new) }, out)
            }
            Message::Delete { relation, old } => {
                self.row(relation, lsn, Row { op: Op::Delete, old: Some(old), new: None }, out)
            }
            Message::Truncate { relations } => {
                relations.into_iter().try_for_each(|relation| self.truncate(relation, lsn, out))
            }
            Message::Origin | Message::Type | Message::Logical => Ok(()),
        }
    }

    /// All that committed before `end` was taken.
    fn whole_before(&mut self, end: Lsn) {
        if end > self.position.lsn {
            (self.position.lsn, self.position.index) = (end, 0);
        }
        let passed = self.tables.passed(end);
        self.dirty.extend(passed);
    }

    fn relation(&mut self, relation: Relation) -> Result<(), Error> {
        for column in &relation.columns {
            self.learn(column.type_oid)?;
        }
        let key = self.key(&relation)?;
        let name = (relation.schema.as_str(), relation.name.as_str());
        let shape = Shape::new(&self.settings, &self.types, name, &relation.columns, &key);
        if let Some(known) = self.shapes.get(&relation.id)
            && (kinds(known) != kinds(&shape) || known.full_name != shape.full_name)
        {
            let columns: Vec<&str> = shape.columns.iter().map(|column| column.name.as_str()).collect();
            millrace_sdk::info!("table {} has changed; its columns: {}", shape.full_name, columns.join(", "));
        }
        self.shapes.insert(relation.id, Rc::new(shape));
        Ok(())
    }

    /// The key's columns, in the order of its index.
    fn key(&mut self, relation: &Relation) -> Result<Vec<String>, Error> {
        let now = self.upstream.key(relation.id)?;
        if matches!(relation.identity, Identity::Full | Identity::Nothing) {
            return Ok(now);
        }
        // The catalog is as it is now, the message as it was then.
        let then: Vec<&str> = relation
            .columns
            .iter()
            .filter(|column| column.is_identity)
            .map(|column| column.name.as_str())
            .collect();
        // Part of the key is not among what is sent: rows that are read have none then, either.
        let is_sent = |name: &String| relation.columns.iter().any(|column| column.name == *name);
        if then.len() < now.len() && !now.iter().all(is_sent) {
            return Ok(Vec::new());
        }
        let is_same = now.len() == then.len() && now.iter().all(|name| then.contains(&name.as_str()));
        Ok(if is_same { now } else { then.into_iter().map(str::to_owned).collect() })
    }

    /// What the server says of a table before its first change.
    fn shape(&self, relation: u32) -> Result<Rc<Shape>, Error> {
        self.shapes.get(&relation).cloned().ok_or_else(|| {
            let message =
                format!("the server sent a change of table {relation} and nothing about it; report it");
            Error::fatal("postgres.protocol", message)
        })
    }

    /// The number of the next change, and whether it was told before.
    fn place(&self, relation: u32) -> Result<(Place, bool), Error> {
        let Some(Transaction { begin, is_known, index, in_table }) = &self.transaction else {
            let message = "the server sent a change outside of a transaction; report it";
            return Err(Error::fatal("postgres.protocol", message));
        };
        let place = Place {
            xid: begin.xid,
            commit_lsn: Lsn(begin.commit_lsn),
            index: *index,
            index_in_table: in_table.get(&relation).copied().unwrap_or_default(),
        };
        let is_told = place.commit_lsn == self.position.lsn && place.index < self.position.index;
        Ok((place, *is_known || is_told))
    }

    /// A change was dealt with, whole.
    fn placed(&mut self, relation: u32, place: Place, is_told: bool) {
        if let Some(transaction) = &mut self.transaction {
            transaction.index += 1;
            *transaction.in_table.entry(relation).or_default() += 1;
        }
        if !is_told {
            (self.position.lsn, self.position.index) = (place.commit_lsn, place.index + 1);
        }
    }

    fn origin(&self, place: Place, lsn: Lsn) -> Origin {
        let time = self.transaction.as_ref().map_or(0, |transaction| transaction.begin.commit_time);
        Origin { ts_ms: frame::ms_since_1970(time), lsn, transaction: Some(place) }
    }

    fn row(&mut self, relation: u32, lsn: Lsn, row: Row<'_>, out: &mut Poll) -> Result<(), Error> {
        let shape = self.shape(relation)?;
        let (place, is_told) = self.place(relation)?;
        if !is_told && self.settings.wants(&shape.full_name) {
            self.tell_row(&shape, place, lsn, row, out)?;
        }
        self.placed(relation, place, is_told);
        Ok(())
    }

    fn tell_row(
        &mut self,
        shape: &Shape,
        place: Place,
        lsn: Lsn,
        row: Row<'_>,
        out: &mut Poll,
    ) -> Result<(), Error> {
        let is_whole = row.old.as_ref().is_some_and(|old| old.is_whole);
        let old = row.old.map(|old| old.tuple.values);
        let new = row.new.map(|new| filled(new.values, old.as_deref(), shape));
        let old_key = old.as_deref().and_then(|old| shape.key_of(old));
        let new_key = new.as_deref().and_then(|new| shape.key_of(new));
        let (origin, now) = (self.origin(place, lsn), (self.clock)());
        // Debezium, too, makes two of an update of the key. Both are decided before one is told: asking the server may fail.
        if row.op == Op::Update && old_key.is_some() && old_key != new_key {
            let verdicts = [
                self.verdict(shape, place, old_key.as_ref())?,
                self.verdict(shape, place, new_key.as_ref())?,
            ];
            let parts = [
                Change { op: Op::Delete, before: old.as_deref(), after: None },
                Change { op: Op::Create, before: None, after: new.as_deref() },
            ];
            for (verdict, part) in verdicts.into_iter().zip(parts) {
                if verdict == Verdict::Tell {
                    self.writer.write(&mut out.batch, shape, part, &origin, now);
                }
            }
            return Ok(());
        }
        if self.verdict(shape, place, new_key.or(old_key).as_ref())? == Verdict::Tell {
            // Of a row that keeps its key, the key alone is no state that it was in.
            let before = old.as_deref().filter(|_| is_whole || row.op == Op::Delete);
            let change = Change { op: row.op, before, after: new.as_deref() };
            self.writer.write(&mut out.batch, shape, change, &origin, now);
        }
        Ok(())
    }

    /// What is to be done with a change of the row with this key.
    fn verdict(&mut self, shape: &Shape, place: Place, key: Option<&Key>) -> Result<Verdict, Error> {
        let name = shape.full_name.as_str();
        if self.tables.get(name).is_none() {
            self.add(name);
        }
        let Some(table) = self.tables.get(name).filter(|table| !table.is_settled()) else {
            return Ok(Verdict::Tell);
        };
        if table.is_ordered_unlike(&shape.key_names()) {
            self.restart(name, "its key has changed");
            return Ok(Verdict::Skip);
        }
        let upstream = &mut self.upstream;
        match key {
            Some(key) => table.row(place.xid, key, &mut |key, bounds| upstream.place(name, key, bounds)),
            // Without a key it is read in one piece, so that any key lies in it.
            None => table.row(place.xid, &Key::new(), &mut |_, bounds| Ok(bounds.len())),
        }
    }

    fn truncate(&mut self, relation: u32, lsn: Lsn, out: &mut Poll) -> Result<(), Error> {
        let shape = self.shape(relation)?;
        let (place, is_told) = self.place(relation)?;
        if !is_told && self.settings.wants(&shape.full_name) {
            let name = shape.full_name.as_str();
            if self.tables.get(name).is_none() {
                self.add(name);
            }
            let verdict = self.tables.get(name).map_or(Verdict::Tell, |table| table.truncated(place.xid));
            if verdict != Verdict::Skip {
                let (origin, now) = (self.origin(place, lsn), (self.clock)());
                let change = Change { op: Op::Truncate, before: None, after: None };
                self.writer.write(&mut out.batch, &shape, change, &origin, now);
            }
            if verdict == Verdict::Restart {
                self.restart(name, "it was truncated while it was read");
            }
        }
        self.placed(relation, place, is_told);
        Ok(())
    }
}

/// The new row, with what was not sent because it has not changed taken from the old one, if that has it.
fn filled<'a>(mut new: Vec<Value<'a>>, old: Option<&[Value<'a>]>, shape: &Shape) -> Vec<Value<'a>> {
    for (place, cell) in new.iter_mut().enumerate().take(shape.columns.len()) {
        if *cell == Value::Unchanged
            && let Some(known @ Value::Text(_)) = old.and_then(|old| old.get(place))
        {
            *cell = *known;
        }
    }
    new
}
