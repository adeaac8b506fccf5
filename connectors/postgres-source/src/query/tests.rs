//! The mode query against a model of a server whose transactions take their values early and commit late, in many random orders with kills
//! and lost connections: every row is told, once, with the cursor that it ends with.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use millrace_sdk::testing::SourceTest;
use millrace_sdk::{Checkpoint, Description, ErrorKind, Source, Task};
use serde_json::{Value as Json, json};

use super::check::{ColumnFacts, Facts, Index, checked};
use super::*;
use crate::server::table::KeyColumn;

const ADDED: &str = "public.added";
const CHANGED: &str = "public.changed";
/// Rows of one answer.
const ROWS_MAX: usize = 3;

/// A row as a transaction wrote it: table, id, and the value that it took.
type Write = (&'static str, i64, i64);

#[derive(Debug, Default)]
struct Server {
    /// What numbers and times are taken from.
    clock: i64,
    started: u64,
    open: BTreeMap<String, Vec<Write>>,
    /// Values by id, of rows that are seen.
    rows: BTreeMap<&'static str, BTreeMap<i64, i64>>,
    fails: bool,
}

impl Server {
    fn begin(&mut self) {
        self.started += 1;
        self.open.insert(format!("transaction {}", self.started), Vec::new());
    }

    /// A transaction that is open takes a value and writes a row with it.
    fn write(&mut self, which: u64, id: i64) {
        self.clock += 1;
        let clock = self.clock;
        let is_locked =
            self.open.values().flatten().any(|(table, known, _)| *table == CHANGED && *known == id);
        let count = self.open.len().max(1) as u64;
        if let Some(writes) = self.open.values_mut().nth((which % count) as usize) {
            writes.push((ADDED, clock, clock));
            if !is_locked {
                writes.push((CHANGED, id, clock));
            }
        }
    }

    fn end(&mut self, which: u64, commits: bool) {
        let count = self.open.len().max(1) as u64;
        let Some(name) = self.open.keys().nth((which % count) as usize).cloned() else { return };
        for (table, id, at) in self.open.remove(&name).unwrap_or_default() {
            if commits {
                self.rows.entry(table).or_default().insert(id, at);
            }
        }
    }

    /// Rows by their cursor.
    fn ordered(&self, table: &str) -> BTreeMap<(i64, i64), i64> {
        let rows = self.rows.get(table).into_iter().flatten();
        rows.map(|(id, at)| ((*at, *id), *id)).collect()
    }
}

#[derive(Debug)]
struct Model(Rc<RefCell<Server>>);

fn place(table: &str, key: &Key) -> (i64, i64) {
    let number = |at: usize| key[at].parse::<i64>().expect("a number");
    if table == ADDED { (number(0), number(0)) } else { (number(0), number(1)) }
}

fn key(table: &str, (at, id): (i64, i64)) -> Key {
    if table == ADDED { vec![id.to_string()] } else { vec![at.to_string(), id.to_string()] }
}

impl Model {
    fn call(&self) -> Result<(), Error> {
        if std::mem::take(&mut self.0.borrow_mut().fails) {
            return Err(Error::retriable("postgres.lost", "the connection was lost"));
        }
        Ok(())
    }
}

impl Store for Model {
    fn greatest(&mut self, table: &str, after: Option<&Key>) -> Result<Option<Key>, Error> {
        self.call()?;
        let last = self.0.borrow().ordered(table).into_keys().next_back();
        let after = after.map(|after| place(table, after));
        Ok(last.filter(|last| after.is_none_or(|after| *last > after)).map(|last| key(table, last)))
    }

    fn open_transactions(&mut self) -> Result<BTreeSet<String>, Error> {
        self.call()?;
        Ok(self.0.borrow().open.keys().cloned().collect())
    }

    fn rows(&mut self, table: &str, after: Option<&Key>, upto: &Key) -> Result<Option<Batch>, Error> {
        self.call()?;
        let (after, upto) = (after.map(|after| place(table, after)), place(table, upto));
        let found = self.0.borrow().ordered(table);
        let within = |at: &&(i64, i64)| after.is_none_or(|after| **at > after) && **at <= upto;
        let found: Vec<(i64, i64)> = found.keys().filter(within).copied().collect();
        let mut rows = Rows::default();
        for (at, id) in found.iter().take(ROWS_MAX) {
            for text in [id.to_string(), at.to_string()] {
                rows.lens.push(text.len() as i32);
                rows.data.extend(text.into_bytes());
            }
        }
        let column =
            |name: &str| Column { is_identity: false, name: name.into(), type_oid: 20, type_modifier: -1 };
        let columns = vec![column("id"), column("at")];
        Ok(Some(Batch { columns, key: vec!["id".into()], rows, is_last: found.len() < ROWS_MAX }))
    }

    fn type_entry(&mut self, _oid: u32) -> Result<Option<Entry>, Error> {
        Ok(None)
    }
}

/// The task as the host sees it.
struct Tested(Query<Model>);

impl Source for Tested {
    type Settings = ();

    fn describe() -> Description {
        Description::new("tested", "", "")
    }

    fn open(_: &Task, (): (), _: Vec<Checkpoint>) -> Result<Self, Error> {
        Err(Error::fatal("test", "made by hand"))
    }

    fn poll(&mut self, limits: PollLimits, out: &mut Poll) -> Result<Flow, Error> {
        self.0.poll(limits, out)
    }
}

fn settings(more: Json) -> Settings {
    let mut settings =
        json!({ "connection": "db", "mode": "query", "cursors": { ADDED: ["id"], CHANGED: ["at", "id"] } });
    settings.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    serde_json::from_value(settings).expect("settings")
}

fn test(server: &Rc<RefCell<Server>>, kept: &BTreeMap<String, Vec<u8>>, more: Json) -> SourceTest<Tested> {
    let settings = settings(more);
    let kept: Vec<Checkpoint> = kept
        .iter()
        .map(|(partition, position)| Checkpoint { partition: partition.clone(), position: position.clone() })
        .collect();
    let positions = position::resume(&kept, &settings).expect("positions");
    SourceTest { source: Tested(Query::new(Model(Rc::clone(server)), settings, "db", positions)) }
}

/// Numbers from a seed (xorshift).
fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

/// A run: the server, the task, and what is durable.
struct Run {
    state: u64,
    server: Rc<RefCell<Server>>,
    task: Option<SourceTest<Tested>>,
    kept: BTreeMap<String, Vec<u8>>,
    told: Vec<Json>,
}

impl Run {
    fn random(&mut self, below: u64) -> u64 {
        random(&mut self.state, below)
    }

    /// One poll, whose records become durable, or not; whether there was nothing to do.
    fn poll(&mut self, is_durable: bool) -> bool {
        let records = 1 + self.random(3) as u32;
        let (server, kept) = (&self.server, &self.kept);
        let task = self.task.get_or_insert_with(|| test(server, kept, json!({ "poll_every": "1ms" })));
        // Pauses are of the clock.
        if let Round::Due(at) = &mut task.source.0.round {
            *at = i64::MIN;
        }
        let Ok(polled) = task.poll_within(PollLimits { records, bytes: 1 << 20, wait_ms: 0 }) else {
            return false;
        };
        if !is_durable {
            self.task = None;
            return false;
        }
        let is_quiet = polled.records.is_empty() && polled.flow != Flow::More;
        self.kept.extend(polled.checkpoints.into_iter().map(|kept| (kept.partition, kept.position)));
        let value = |value: Option<Vec<u8>>| serde_json::from_slice(&value.expect("a value")).expect("JSON");
        self.told.extend(polled.records.into_iter().map(|record| value(record.value)));
        is_quiet
    }

    fn step(&mut self) {
        let which = self.random(8);
        match self.random(20) {
            0..3 => self.server.borrow_mut().begin(),
            3..7 => self.server.borrow_mut().write(which, which as i64 + 1),
            7..10 => self.server.borrow_mut().end(which, which != 0),
            10 => self.server.borrow_mut().fails = true,
            11 => self.task = None,
            choice => drop(self.poll(choice != 12)),
        }
    }
}

#[test]
fn every_row_is_told_once_however_late_it_commits() {
    for seed in 1..=300_u64 {
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let (server, kept) = (Rc::default(), BTreeMap::new());
        let mut run = Run { state, server, task: None, kept, told: Vec::new() };
        for _ in 0..400 {
            run.step();
        }
        while !run.server.borrow().open.is_empty() {
            run.server.borrow_mut().end(0, true);
        }
        run.server.borrow_mut().fails = false;
        let mut quiet = 0;
        while quiet < 4 {
            quiet = if run.poll(true) { quiet + 1 } else { 0 };
        }
        for table in [ADDED, CHANGED] {
            let of = |value: &&Json| table.ends_with(value["source"]["table"].as_str().expect("a table"));
            let number = |value: &Json, name: &str| value["after"][name].as_i64().expect("a number");
            let told: Vec<(i64, i64)> =
                run.told.iter().filter(of).map(|value| (number(value, "at"), number(value, "id"))).collect();
            assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}, {table}: {told:?}");
            let last: BTreeMap<i64, i64> = told.iter().map(|(at, id)| (*id, *at)).collect();
            let rows = run.server.borrow().rows.get(table).cloned().unwrap_or_default();
            assert_eq!(last, rows, "seed {seed}, {table}");
            assert!(table == CHANGED || told.len() == last.len());
        }
    }
}

#[test]
fn without_poll_every_the_source_ends_when_all_is_read() {
    let server = Rc::new(RefCell::new(Server::default()));
    server.borrow_mut().begin();
    server.borrow_mut().write(0, 1);
    server.borrow_mut().end(0, true);
    server.borrow_mut().begin();
    let mut task = test(&server, &BTreeMap::new(), json!({}));
    for _ in 0..3 {
        let polled = task.poll().expect("a poll");
        assert!(polled.records.is_empty(), "a transaction is open that may write before what is seen");
        assert_eq!(polled.flow, Flow::Idle(WAIT_MS));
    }
    server.borrow_mut().end(0, false);
    let (mut count, mut flow) = (0, Flow::More);
    while flow == Flow::More {
        let polled = task.poll().expect("a poll");
        (count, flow) = (count + polled.records.len(), polled.flow);
    }
    assert_eq!((count, flow), (2, Flow::End));
}

#[test]
fn positions_of_another_cursor_or_mode_are_refused() {
    let of = |partition: &str, position: &str| {
        let kept = [Checkpoint { partition: partition.into(), position: position.as_bytes().to_vec() }];
        position::resume(&kept, &settings(json!({}))).map_err(|error| error.message)
    };
    let kept = of("cursor public.added", r#"{"columns":["id"],"values":["7"]}"#).expect("positions");
    assert_eq!(kept["public.added"], ["7"]);
    let why = of("cursor public.added", r#"{"columns":["at"],"values":["7"]}"#).expect_err("another cursor");
    assert!(why.contains("followed by at, and now are to be by id"), "{why}");
    let why = of("stream", "{}").expect_err("another mode");
    assert!(why.contains("mode replication"), "{why}");
    let kept = [Checkpoint { partition: "cursor public.added".into(), position: b"{}".to_vec() }];
    let why = crate::position::resume(&kept).expect_err("another mode").message;
    assert!(why.contains("mode query"), "{why}");
}

fn facts() -> Facts {
    let column = |name: &str, type_oid: u32, type_name: &str| ColumnFacts {
        column: Column { is_identity: false, name: name.into(), type_oid, type_modifier: -1 },
        order: KeyColumn { name: name.into(), type_name: type_name.into(), type_oid, collation: None },
        is_null_free: true,
        sequence: None,
        has_default: true,
    };
    let index = |is_unique, columns: &[&str]| Index {
        is_unique,
        columns: columns.iter().map(|name| Some((*name).to_owned())).collect(),
    };
    Facts {
        kind: "r".into(),
        columns: vec![
            column("id", 20, "bigint"),
            column("at", 1184, "timestamptz"),
            column("note", 25, "text"),
        ],
        indexes: vec![index(true, &["id"]), index(false, &["at", "id"])],
        key: vec!["id".into()],
    }
}

#[test]
fn cursors_that_would_miss_rows_are_refused_with_the_way_out() {
    let cursor = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let refused = |names: &[&str], change: &dyn Fn(&mut Facts)| {
        let mut facts = facts();
        change(&mut facts);
        let error = checked("public.t", &cursor(names), &facts).expect_err("refused");
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Fatal, "postgres.cursor"));
        error.message
    };
    for safe in [&["id"][..], &["at", "id"]] {
        assert_eq!(checked("public.t", &cursor(safe), &facts()).expect("safe"), [""; 0]);
    }
    for (names, change, words) in [
        (
            &["id"][..],
            &(|facts: &mut Facts| facts.columns.clear()) as &dyn Fn(&mut Facts),
            "there is no table public.t",
        ),
        (&["id"], &|facts| facts.kind = "v".into(), "public.t is no table"),
        (&["no"], &|_| {}, "has no column no, but id, at, note"),
        (
            &["id"],
            &|facts| facts.columns[0].is_null_free = false,
            "run: ALTER TABLE \"public\".\"t\" ALTER \"id\" SET NOT NULL",
        ),
        (&["note", "id"], &|_| {}, "is of type text, which does not rise"),
        (
            &["at"],
            &|_| {},
            "may have the same at, and some of them would be missed; add the primary key: [at, id]",
        ),
        (&["at"], &|facts| facts.key.clear(), "add the columns of a unique index"),
        (&["id"], &|facts| facts.indexes[0].columns = vec![None], "may have the same id"),
        (
            &["id"],
            &|facts| facts.columns[0].sequence = Some(("t_id_seq".into(), 20)),
            "take 20 numbers of t_id_seq at once",
        ),
    ] {
        let said = refused(names, change);
        assert!(said.contains(words), "{words}: {said}");
    }
    let mut slow = facts();
    slow.indexes.pop();
    slow.columns[1].column.type_oid = 1114;
    let doubts = checked("public.t", &cursor(&["at", "id"]), &slow).expect("slow, and safe but for one hour");
    assert!(doubts[0].contains("run: CREATE INDEX ON \"public\".\"t\" (\"at\", \"id\")"), "{doubts:?}");
    assert!(doubts[1].contains("make it timestamptz"), "{doubts:?}");
}
