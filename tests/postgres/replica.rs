//! From a database through a topic into another one, while pgbench writes, worker and broker are killed and tables change: in the end both
//! hold the same rows.
//!
//! `MILLRACE_REPLICA_SECONDS` sets for how long; the test command takes the short form.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use millrace_tests::process::{Process, command, wait_until};
use millrace_tests::random::{Random, between, seed};
use millrace_tests::worker::Worker;
use millrace_tests::{Broker, Postgres, binary};

use crate::database;

/// How long it is written, by itself.
const SECONDS: u64 = 16;
/// pgbench runs as often: before, between and after the changes of tables.
const ROUNDS: usize = 4;
/// Transactions a second.
const RATE: u64 = 200;
/// Between two kills, milliseconds: on both sides of the time after which a killed worker is missed.
const PAUSE_MS: (u64, u64) = (400, 4_000);
/// A session that lets a killed worker be missed soon; the broker has to grant it.
const SESSION: [&str; 4] = ["--set", "session.timeout.ms=2000", "--set", "heartbeat.interval.ms=300"];
const GRANT: [&str; 2] = ["group.min.session.timeout.ms=2000", "group.initial.rebalance.delay.ms=0"];
/// Longest time from the last change until the databases are equal.
const FINISH_LIMIT: Duration = Duration::from_secs(240);

/// What is there before the source begins. Large values are stored out of line, so that an update that leaves them alone doesn't send
/// them; those of `pages`, whose keys change, are.
const TABLES: &str = "
    CREATE TABLE branches (bid int PRIMARY KEY, balance bigint NOT NULL, filler char(88));
    CREATE TABLE accounts (aid int PRIMARY KEY, bid int NOT NULL, balance bigint NOT NULL, filler char(84));
    CREATE TABLE history (id bigserial PRIMARY KEY, aid int, delta int, mtime timestamptz, amount numeric(20, 4));
    CREATE TABLE notes (id text, part int, edits int NOT NULL, body text NOT NULL, PRIMARY KEY (part, id));
    ALTER TABLE notes ALTER body SET STORAGE EXTERNAL;
    CREATE TABLE pages (id int PRIMARY KEY, edits int NOT NULL, body text);
    ALTER TABLE pages ALTER body SET STORAGE EXTERNAL;
    ALTER TABLE pages REPLICA IDENTITY FULL;";

const ROWS: &str = "
    INSERT INTO branches SELECT n, 0, 'branch' FROM generate_series(1, 10) n;
    INSERT INTO accounts SELECT n, n % 10 + 1, 0, '' FROM generate_series(1, 4000) n;
    INSERT INTO notes SELECT 'note ' || n, n % 3, 0, repeat(md5(n::text), 80) FROM generate_series(1, 300) n;
    INSERT INTO pages SELECT n, 0, repeat(md5(n::text), 80) FROM generate_series(1, 300) n;
    CREATE PUBLICATION replica FOR ALL TABLES";

/// pgbench's own transaction, and others: what comes and goes, large values, keys that change, a rollback.
const SCRIPTS: &[&str] = &[
    "\\set aid random(1, 4000)
     \\set bid random(1, 10)
     \\set delta random(-5000, 5000)
     BEGIN;
     UPDATE accounts SET balance = balance + :delta WHERE aid = :aid;
     UPDATE branches SET balance = balance + :delta WHERE bid = :bid;
     INSERT INTO history (aid, delta, mtime, amount) VALUES (:aid, :delta, CURRENT_TIMESTAMP, :delta / 7.0);
     END;",
    "\\set aid random(3900, 4300)
     \\set kind random(1, 3)
     DELETE FROM accounts WHERE aid = :aid AND :kind = 1;
     INSERT INTO accounts VALUES (:aid, 1, :kind, 'new') ON CONFLICT (aid) DO UPDATE SET balance = accounts.balance + 1;",
    "\\set n random(1, 330)
     UPDATE notes SET edits = edits + 1 WHERE id = 'note ' || :n;
     INSERT INTO notes VALUES ('note ' || :n, :n % 3, 0, repeat('x', 3000)) ON CONFLICT (part, id) DO UPDATE SET body = notes.edits || repeat('y', 3000);
     UPDATE notes SET edits = edits + 1 WHERE id = 'note ' || :n;",
    "\\set n random(1, 330)
     \\set m random(1, 330)
     UPDATE pages SET edits = edits + 1 WHERE id = :n;
     BEGIN;
     SELECT pg_advisory_xact_lock(1);
     UPDATE pages SET id = :m WHERE id = :n AND NOT EXISTS (SELECT FROM pages WHERE id = :m);
     END;
     BEGIN;
     DELETE FROM pages WHERE id = :m;
     ROLLBACK;",
];

/// A column that comes later, and what is written of it.
const ADDED_COLUMN: (&str, &str) = (
    "ALTER TABLE accounts ADD COLUMN note text",
    "\\set aid random(1, 4000)
     UPDATE accounts SET note = 'seen ' || :aid || repeat('z', :aid % 50) WHERE aid = :aid;",
);

/// A table that comes later: the sink makes it.
const ADDED_TABLE: (&str, &str) = (
    "CREATE TABLE visits (vid bigint PRIMARY KEY, who text NOT NULL, count bigint NOT NULL);
     INSERT INTO visits SELECT n, 'visitor ' || n, 0 FROM generate_series(1, 500) n",
    "\\set n random(1, 600)
     INSERT INTO visits VALUES (:n, 'late ' || :n, 1) ON CONFLICT (vid) DO UPDATE SET count = visits.count + 1;
     DELETE FROM visits WHERE vid = :n AND count > 3;",
);

const NAMES: [&str; 6] = ["branches", "accounts", "history", "notes", "pages", "visits"];

const PIPELINE: &str = "version: 1
pipelines:
  replica:
    source:
      connector: postgres-source
      connection: origin
      slot: replica
      publication: replica
      chunk_rows: 300
      snapshot_max_threads: 3
      refresh: 200ms
      heartbeat: 500ms
      errors: { retry_delay_max: 200ms, retry_timeout: 5m }
    topic: { name: replica, partitions: 3 }
    sinks:
      copy:
        connector: postgres-sink
        connection: copy
        tasks: 2
        table_name_format: \"${source.schema}.${source.table}\"
        insert_mode: upsert
        pk_mode: record_key
        delete_enabled: true
        auto_create: true
        auto_evolve: true
        flush_interval: 100ms
        errors: { retry_delay_max: 200ms, retry_timeout: 5m }
";

/// Both databases, and what moves rows between them.
struct Site {
    server: Postgres,
    folder: PathBuf,
    broker: Broker,
    worker: Worker,
}

impl Site {
    fn start(folder: &Path) -> Self {
        let server = Postgres::start(&[]);
        for database in ["origin", "copy"] {
            server.create(database);
            server.sql(database, TABLES);
        }
        server.sql("origin", ROWS);
        let url =
            |database: &str| format!("{{ postgres: {{ url: \"{}\", sessions: 5 }} }}", server.url(database));
        let connections = folder.join("connections.yaml");
        let text =
            format!("version: 1\nconnections:\n  origin: {}\n  copy: {}\n", url("origin"), url("copy"));
        fs::write(&connections, text).expect("the temporary folder can be written");
        fs::write(folder.join("replica.yaml"), PIPELINE).expect("the temporary folder can be written");
        let broker = Broker::start(folder, &GRANT);
        let connections = connections.display().to_string();
        let arguments = [&["--connections", connections.as_str()][..], &SESSION].concat();
        let mut worker = Worker::start_with(folder, "worker", &broker.bootstrap(), &arguments);
        worker.wait_until_ready();
        worker.apply(&folder.join("replica.yaml"));
        Self { server, folder: folder.to_path_buf(), broker, worker }
    }

    /// pgbench in the background, with all of these scripts.
    fn write(&self, round: usize, scripts: &[&str], seconds: u64) -> Process {
        let mut bench = self.server.pgbench("origin");
        bench.args(["-n", "-c", "3", "-j", "1", "-T", &seconds.to_string(), "-R", &RATE.to_string()]);
        for (number, script) in scripts.iter().enumerate() {
            let file = self.folder.join(format!("script{number}.sql"));
            let lines: Vec<&str> = script.lines().map(str::trim).collect();
            fs::write(&file, lines.join("\n") + "\n").expect("the temporary folder can be written");
            bench.arg("-f").arg(file);
        }
        Process::spawn(&mut bench, self.folder.join(format!("pgbench{round}.txt")))
    }

    /// Kills worker and broker while the writer is at work; how often each was.
    fn kill_while(&mut self, writer: &mut Process, random: &mut Random) -> [u64; 2] {
        let mut kills = [0, 0];
        while writer.ended().is_none() {
            thread::sleep(Duration::from_millis(between(random, PAUSE_MS)));
            let (worker, broker) = match between(random, (0, 4)) {
                0 => (false, true),
                1 => (true, true),
                _ => (true, false),
            };
            if worker {
                self.worker.kill();
                kills[0] += 1;
            }
            if broker {
                self.broker.kill();
                kills[1] += 1;
                thread::sleep(Duration::from_millis(between(random, (0, 500))));
                self.broker.restart();
            }
            if worker {
                self.worker.restart();
            }
        }
        kills
    }

    fn state(&self, database: &str) -> Option<String> {
        self.server.fingerprint(database, &NAMES)
    }
}

#[test]
fn both_databases_end_equal_whatever_is_killed() {
    let seed = seed();
    println!("seed {seed}: MILLRACE_SEED={seed} tries the same moments");
    let mut random = Random::new(seed);
    let seconds = std::env::var("MILLRACE_REPLICA_SECONDS").ok().map(|text| text.parse().expect("seconds"));
    let seconds: u64 = seconds.unwrap_or(SECONDS);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut site = Site::start(folder.path());
    let mut scripts = SCRIPTS.to_vec();
    let mut kills = [0, 0];
    for round in 0..ROUNDS {
        let mut writer = site.write(round, &scripts, (seconds / ROUNDS as u64).max(1));
        // While it writes.
        let change = [None, Some(ADDED_COLUMN), Some(ADDED_TABLE), None][round];
        if let Some((sql, script)) = change {
            thread::sleep(Duration::from_millis(between(&mut random, (100, 900))));
            site.server.sql("origin", sql);
            scripts.push(script);
        }
        let more = site.kill_while(&mut writer, &mut random);
        kills = [kills[0] + more[0], kills[1] + more[1]];
        writer.succeed(FINISH_LIMIT);
    }
    let written = Instant::now();
    let origin = site.state("origin").expect("all tables are there");
    let mut copy = None;
    wait_until("both databases to be equal", FINISH_LIMIT, || {
        thread::sleep(Duration::from_millis(300));
        copy = site.state("copy");
        let is_equal = copy.as_ref() == Some(&origin);
        let is_late = written.elapsed() + Duration::from_secs(2) > FINISH_LIMIT;
        assert!(is_equal || !is_late, "{origin}\nis not\n{copy:?}\n{}", site.worker.log());
        is_equal
    });
    // Nothing more comes, and nothing goes.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(site.state("copy"), Some(origin.clone()));
    let changes =
        site.server.sql("origin", "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables");
    println!(
        "{seconds} s: {changes} rows written, {} kills of the worker, {} of the broker; equal {:?} after the last change\n{origin}",
        kills[0],
        kills[1],
        written.elapsed()
    );
}

#[test]
fn the_example_copies_a_database_as_it_stands() {
    let server = database("example_origin");
    server.create("example_copy");
    server.sql(
        "example_origin",
        "CREATE TABLE birds (id int PRIMARY KEY, name text); INSERT INTO birds VALUES (1, 'gull')",
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut run = command(binary());
    run.arg("run").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/postgres-copy.yaml"));
    run.args(["--data-dir", "data", "--listen", "127.0.0.1:0"]).current_dir(folder.path());
    run.env("ORIGIN", server.url("example_origin")).env("COPY", server.url("example_copy"));
    let mut run = Process::spawn(&mut run, folder.path().join("run.txt"));
    let mut arrives = |names: &str| {
        wait_until(names, FINISH_LIMIT, || {
            assert!(run.ended().is_none(), "{}", run.output());
            let rows = server.try_sql("example_copy", "SELECT string_agg(name, ',' ORDER BY id) FROM birds");
            String::from_utf8_lossy(&rows.stdout).trim_end() == names
        });
    };
    arrives("gull");
    server.sql("example_origin", "INSERT INTO birds VALUES (2, 'owl'), (3, 'rook'); UPDATE birds SET name = 'great gull' WHERE id = 1; DELETE FROM birds WHERE id = 3");
    arrives("great gull,owl");
}
