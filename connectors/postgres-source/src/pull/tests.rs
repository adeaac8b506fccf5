//! The source against a model of a server, in many random orders of what can happen: transactions that commit and are seen later, polls,
//! lost connections, kills. The topic must tell each row's history: nothing is missing, nothing stands there twice, nothing
//! comes back.

mod model;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use millrace_sdk::testing::{Record, SourceTest};
use millrace_sdk::{Checkpoint, Description, Poll, PollLimits, Source, Task};
use serde_json::{Value, json};

use self::model::{KEYLESS, Model, Op, Server, State, TABLES};
use super::*;
use crate::position;

/// The task as the host sees it.
struct Tested(Pull<Model>);

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

/// Numbers from a seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// A run: the server, the task, and what is durable.
struct Run {
    random: Random,
    server: Rc<RefCell<Server>>,
    test: Option<SourceTest<Tested>>,
    kept: BTreeMap<String, Vec<u8>>,
    topic: Vec<Record>,
    version: u64,
    truncates: bool,
    readers: u64,
}

const KEYS: u64 = 24;

impl Run {
    fn new(seed: u64) -> Self {
        let server = Rc::new(RefCell::new(Server::new()));
        let mut run = Self {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            server,
            test: None,
            kept: BTreeMap::new(),
            topic: Vec::new(),
            version: 0,
            truncates: seed.is_multiple_of(4),
            readers: 1 + seed % 4,
        };
        if seed.is_multiple_of(7) {
            run.server.borrow_mut().readers_max = 2;
        }
        // What was there before.
        for _ in 0..30 {
            run.transaction();
            run.server.borrow_mut().flush(0);
            run.server.borrow_mut().end(0);
        }
        run.server.borrow_mut().published.extend([0, KEYLESS]);
        run
    }

    fn checkpoints(&self) -> Vec<Checkpoint> {
        let all = self.kept.iter();
        all.map(|(partition, position)| Checkpoint {
            partition: partition.clone(),
            position: position.clone(),
        })
        .collect()
    }

    fn test(&mut self) -> &mut SourceTest<Tested> {
        let kept = self.checkpoints();
        let (server, readers) = (&self.server, self.readers);
        self.test.get_or_insert_with(|| {
            let settings = json!({
                "connection": "db", "transactions": true, "topics": {}, "refresh": "1ms", "snapshot_max_threads": readers,
            });
            let settings = serde_json::from_value(settings).expect("settings");
            let (position, tables) = position::resume(&kept).expect("positions").unwrap_or_default();
            let mut pull = Pull::new(Model::new(server), settings, "db", position, tables);
            pull.round_ms = 0;
            SourceTest { source: Tested(pull) }
        })
    }

    /// A transaction of a few changes, each possible in the state that it will find.
    fn transaction(&mut self) {
        let mut ops = Vec::new();
        let mut states: Vec<State> =
            (0..TABLES.len()).map(|table| self.server.borrow().state(table)).collect();
        for _ in 0..=self.random.below(3) {
            let table = self.random.below(TABLES.len() as u64) as usize;
            let id = self.random.below(KEYS) as i64;
            self.version += 1;
            let version = self.version;
            let state = &mut states[table];
            let touched = |id: i64, ops: &[(usize, Op)]| {
                ops.iter()
                    .any(|(known, op)| *known == table && format!("{op:?}").contains(&format!("({id},")))
            };
            if table == KEYLESS {
                // Every row is another one.
                ops.push((table, Op::Insert(version as i64 + 1000, version)));
                continue;
            }
            if self.server.borrow().is_locked(table, id) || touched(id, &ops) {
                continue;
            }
            let op = match self.random.below(6) {
                _ if !state.contains_key(&id) => Op::Insert(id, version),
                0 => Op::Delete(id),
                1 => {
                    let to = self.random.below(KEYS) as i64;
                    if state.contains_key(&to) || to == id || self.server.borrow().is_locked(table, to) {
                        continue;
                    }
                    Op::Move(id, to, version)
                }
                2 if self.truncates && ops.is_empty() && !self.server.borrow().is_in_use(table) => {
                    state.clear();
                    self.server.borrow_mut().begin(vec![(table, Op::Truncate)]);
                    // It locks the whole table: nothing else happens until it is over.
                    self.server.borrow_mut().end_all();
                    return;
                }
                choice => Op::Update(id, version, choice % 2 == 0),
            };
            match op {
                Op::Insert(id, version) => drop(state.insert(id, (version, version))),
                Op::Delete(id) => drop(state.remove(&id)),
                Op::Move(from, to, version) => {
                    state.remove(&from);
                    state.insert(to, (version, version));
                    // The rest of the transaction leaves both alone.
                    ops.push((table, op));
                    break;
                }
                _ => {}
            }
            ops.push((table, op));
        }
        if !ops.is_empty() {
            self.server.borrow_mut().begin(ops);
        }
    }

    fn pull(&mut self) -> &mut Pull<Model> {
        &mut self.test().source.0
    }

    /// One poll, whose records and checkpoints become durable, or not.
    fn poll(&mut self, is_durable: bool) {
        let limits = PollLimits { records: 1 + self.random.below(4) as u32, bytes: 1 << 20, wait_ms: 0 };
        let is_told = self.random.below(2) == 0;
        // Rounds are of one chunk for each reader, or of several.
        if self.random.below(3) == 0 {
            self.pull().round_over = i64::MAX;
        }
        // Pauses are of the clock, which stands still here.
        (self.pull().rows_due, self.pull().refresh_due) = (i64::MIN, i64::MIN);
        let Ok(polled) = self.test().poll_within(limits) else { return };
        if !is_durable {
            self.test = None;
            return;
        }
        self.topic.extend(polled.records);
        for Checkpoint { partition, position } in &polled.checkpoints {
            match position.is_empty() {
                true => drop(self.kept.remove(partition)),
                false => drop(self.kept.insert(partition.clone(), position.clone())),
            }
        }
        if let Some(lsn) = position::confirmed(&polled.checkpoints).expect("a position").filter(|_| is_told) {
            self.pull().confirm(lsn);
        }
    }

    fn step(&mut self) {
        let which = self.random.below(8) as usize;
        match self.random.below(200) {
            0..24 => self.transaction(),
            24..48 => self.server.borrow_mut().flush(which),
            48..76 => self.server.borrow_mut().end(which),
            76..194 => self.poll(true),
            194 => self.poll(false),
            195 => self.test = None,
            196..199 => self.server.borrow_mut().fails_in = Some(which as u32),
            _ => drop(self.server.borrow_mut().published.insert(1)),
        }
    }

    fn settle(&mut self) {
        self.server.borrow_mut().end_all();
        self.server.borrow_mut().published.insert(1);
        self.server.borrow_mut().fails_in = None;
        let (mut quiet, mut polls) = (0, 0);
        while quiet < 60 || !self.pull().tables.is_quiet() {
            polls += 1;
            assert!(polls < 20_000, "it does not come to rest: {:?}", self.pull());
            let before = self.topic.len();
            self.poll(true);
            quiet = if self.topic.len() > before { 0 } else { quiet + 1 };
        }
    }
}

/// The state that the topic tells; each record must fit the one before it.
fn told(topic: &[Record], truncates: bool) -> BTreeMap<String, State> {
    let mut states: BTreeMap<String, State> =
        TABLES.iter().map(|table| ((*table).to_owned(), State::new())).collect();
    let mut seen = BTreeSet::new();
    for record in topic {
        let Some(value) = &record.value else { continue };
        let value: Value = serde_json::from_slice(value).expect("JSON");
        let (source, op) = (&value["source"], value["op"].as_str().expect("an operation"));
        let table = format!(
            "{}.{}",
            source["schema"].as_str().expect("a schema"),
            source["table"].as_str().expect("a table")
        );
        let state = states.get_mut(&table).expect("a table that is known");
        let place = &value["transaction"];
        if !place.is_null() && op != "t" {
            let new = seen.insert((place.to_string(), op.to_owned()));
            assert!(new, "told twice: {value}");
        }
        let row = if op == "d" { &value["before"] } else { &value["after"] };
        let id = row["id"].as_i64();
        let known = id.and_then(|id| state.get(&id).copied());
        match op {
            "t" => state.clear(),
            "d" => {
                assert!(known.is_some() || truncates, "deleted and not there: {value}");
                state.remove(&id.expect("a key"));
            }
            _ => {
                let version = row["version"].as_u64().expect("a version");
                let large = row["large"].as_u64();
                assert_eq!(known.is_some(), op == "u", "a row is told once, then its changes: {value}");
                assert!(known.is_none_or(|(old, _)| old < version), "it comes back: {value}");
                let large = match large {
                    Some(large) => large,
                    // Moved under another key, where Debezium's word is all there is.
                    None if op == "c" => 0,
                    None => known.expect("a row").1,
                };
                state.insert(id.expect("a key"), (version, large));
            }
        }
    }
    states
}

#[test]
fn the_topic_tells_every_rows_history() {
    for seed in 1..=200 {
        let mut run = Run::new(seed);
        for _ in 0..300 {
            run.step();
        }
        run.settle();
        let told = told(&run.topic, run.truncates);
        for (number, table) in TABLES.iter().enumerate() {
            let versions =
                |state: &State| state.iter().map(|(id, row)| (*id, row.0)).collect::<BTreeMap<_, _>>();
            let wanted = run.server.borrow().state(number);
            assert_eq!(versions(&told[*table]), versions(&wanted), "seed {seed}, table {table}");
            for (id, (_, large)) in &told[*table] {
                assert!(
                    *large == 0 || *large == wanted[id].1,
                    "seed {seed}, table {table}, row {id}: a lost value"
                );
            }
        }
    }
}

/// A task of a server, with these settings besides.
fn task(server: &Rc<RefCell<Server>>, more: Value) -> SourceTest<Tested> {
    let mut settings = json!({ "connection": "db" });
    settings.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let settings = serde_json::from_value(settings).expect("settings");
    let pull = Pull::new(Model::new(server), settings, "db", Position::default(), BTreeMap::new());
    SourceTest { source: Tested(pull) }
}

#[test]
fn the_slot_moves_while_nothing_happens_behind_what_is_durable() {
    let server = Rc::new(RefCell::new(Server::new()));
    server.borrow_mut().published.insert(0);
    let mut test = task(&server, json!({ "heartbeat": "1ms" }));
    // Transactions of a table that is not published.
    for version in 0..3 {
        server.borrow_mut().begin(vec![(1, Op::Insert(version, version as u64))]);
        server.borrow_mut().end_all();
    }
    let mut kept = None;
    for _ in 0..30 {
        (test.source.0.status_due, test.source.0.heartbeat_due) = (i64::MIN, i64::MIN);
        let polled = test.poll().expect("a poll");
        assert!(polled.records.is_empty());
        kept = position::confirmed(&polled.checkpoints).expect("a position").or(kept);
        assert_eq!(server.borrow().confirmed, 0, "nothing is durable yet");
    }
    let kept = kept.expect("a checkpoint");
    assert_eq!(kept, Lsn(100 + 3 * 18), "the place that the server said is whole");
    test.source.0.confirm(kept);
    test.source.0.status_due = i64::MIN;
    test.poll().expect("a poll");
    assert_eq!(server.borrow().confirmed, kept.0);
    let again = test.poll().expect("a poll");
    assert!(again.checkpoints.is_empty(), "what has not moved is not written again");
}

#[test]
fn a_slot_that_holds_back_too_much_is_an_alarm() {
    let server = Rc::new(RefCell::new(Server::new()));
    server.borrow_mut().lag = Some(2_048);
    let polled = |settings: Value| task(&server, settings).poll();
    assert!(polled(json!({ "slot_lag_max": "2KiB", "slot_lag_action": "fail" })).is_ok());
    assert!(polled(json!({ "slot_lag_max": "1KiB" })).is_ok(), "a warning");
    let error = polled(json!({ "slot_lag_max": "1KiB", "slot_lag_action": "fail" })).expect_err("an alarm");
    assert_eq!((error.kind, error.code.as_str()), (millrace_sdk::ErrorKind::Fatal, "postgres.lag"));
}

#[test]
fn without_a_snapshot_there_are_changes_only() {
    let server = Rc::new(RefCell::new(Server::new()));
    server.borrow_mut().published.insert(0);
    server.borrow_mut().begin(vec![(0, Op::Insert(1, 1))]);
    server.borrow_mut().end_all();
    server.borrow_mut().confirmed = 118;
    let mut test = task(&server, json!({ "snapshot": "never" }));
    server.borrow_mut().begin(vec![(0, Op::Insert(2, 2)), (0, Op::Delete(1))]);
    server.borrow_mut().end_all();
    let mut ops = Vec::new();
    for _ in 0..10 {
        for record in test.poll().expect("a poll").records {
            let value = record.value.map(|value| serde_json::from_slice::<Value>(&value).expect("JSON"));
            ops.push(value.map_or(Value::Null, |value| value["op"].clone()));
        }
    }
    assert_eq!(ops, [json!("c"), json!("d"), Value::Null]);
}

#[test]
fn a_table_without_a_key_that_is_too_large_for_one_piece_is_told_whole_or_not_at_all() {
    let server = Rc::new(RefCell::new(Server::new()));
    server.borrow_mut().published.insert(KEYLESS);
    // With their schemas, records are of some kilobytes each.
    let rows = 30_000;
    server.borrow_mut().begin((0..rows).map(|id| (KEYLESS, Op::Insert(id, 1))).collect());
    server.borrow_mut().end_all();
    let mut test = task(&server, json!({ "schemas": true }));
    let refused = (0..100).find_map(|_| match test.poll() {
        Ok(polled) => {
            assert!(polled.records.is_empty(), "{} records of a part of the table", polled.records.len());
            None
        }
        Err(error) => Some(error),
    });
    let error = refused.expect("the host would refuse such a batch");
    assert_eq!((error.kind, error.code.as_str()), (millrace_sdk::ErrorKind::Fatal, "postgres.key"));
    for words in [
        "table public.keyless has no primary key",
        "ADD PRIMARY KEY",
        "REPLICA IDENTITY",
        "`snapshot: never`",
    ] {
        assert!(error.message.contains(words), "{words}: {}", error.message);
    }
}

#[test]
fn more_tables_than_checkpoints_fit_are_told_by_their_number() {
    let server = Rc::new(RefCell::new(Server::new()));
    server.borrow_mut().empty_tables = TABLES_MAX + 1;
    let error = task(&server, json!({})).poll().expect_err("too many");
    assert_eq!((error.kind, error.code.as_str()), (millrace_sdk::ErrorKind::Fatal, "postgres.tables"));
    assert!(
        error.message.contains("20001 tables") && error.message.contains("`tables`"),
        "{}",
        error.message
    );
    server.borrow_mut().empty_tables -= 2;
    assert!(task(&server, json!({ "snapshot": "never" })).poll().is_ok());
}

/// A task with this many readers, of a server with many .
fn reading(readers: usize) -> (Rc<RefCell<Server>>, SourceTest<Tested>) {
    let server = Rc::new(RefCell::new(Server::new()));
    server.borrow_mut().published.insert(0);
    server.borrow_mut().begin((0..60).map(|id| (0, Op::Insert(id, 1))).collect());
    server.borrow_mut().end_all();
    let test = task(&server, json!({ "snapshot_max_threads": readers }));
    (server, test)
}

/// Polls until all rows are told; how many.
fn read_all(server: &Rc<RefCell<Server>>, test: &mut SourceTest<Tested>) -> usize {
    let mut rows = BTreeSet::new();
    for _ in 0..2_000 {
        test.source.0.rows_due = i64::MIN;
        let limits = PollLimits { records: 2, bytes: 1 << 20, wait_ms: 0 };
        let polled = test.poll_within(limits).expect("a poll");
        assert_eq!(server.borrow().readers_at_work, 0, "a transaction is open while nobody polls");
        for record in polled.records {
            assert!(rows.insert(record.key), "a row that is told twice");
        }
    }
    rows.len()
}

#[test]
fn no_transaction_is_open_between_polls_and_no_session_behind_the_last_row() {
    for readers in [1, 4] {
        let (server, mut test) = reading(readers);
        assert_eq!(read_all(&server, &mut test), 60);
        assert!(server.borrow().rests > 0);
    }
}

#[test]
fn readers_that_can_not_be_had_any_more_are_freed_and_come_back() {
    let (server, mut test) = reading(4);
    let pull = &mut test.source.0;
    pull.step(PollLimits { records: 0, bytes: 1, wait_ms: 0 }, &mut Poll::default()).expect("a poll");
    let limits = |pull: &mut Pull<Model>, most| {
        server.borrow_mut().readers_max = most;
        pull.readers_due = i64::MIN;
        pull.begin_chunks(now_ms()).expect("chunks");
        server.borrow().readers_at_work
    };
    for reader in 0..4 {
        pull.release(reader);
    }
    assert_eq!(limits(pull, usize::MAX), 4);
    // The second is free, and is refused: those behind it end.
    pull.release(1);
    assert_eq!(limits(pull, 1), 1);
    assert_eq!(pull.readers.len(), 1);
    // They are asked for again, after a while.
    pull.release(0);
    server.borrow_mut().readers_max = usize::MAX;
    pull.readers_due = i64::MAX;
    pull.begin_chunks(now_ms()).expect("chunks");
    assert_eq!(server.borrow().readers_at_work, 1);
    pull.release(0);
    assert_eq!(limits(pull, usize::MAX), 4);
    assert_eq!(read_all(&server, &mut test), 60);
}

#[test]
fn after_an_error_no_reader_is_at_work() {
    for fails_in in 6..40 {
        let (server, mut test) = reading(4);
        server.borrow_mut().fails_in = Some(fails_in);
        for _ in 0..50 {
            // It may fail.
            drop(test.poll());
            assert_eq!(server.borrow().readers_at_work, 0, "failed after {fails_in} calls");
        }
    }
}
