//! `millrace doctor` beside a real server: what it says of connections, of what connectors need there, and that it mends with words only.

use millrace_tests::doctor::expect;

use crate::database;

/// What the doctor says of a pipeline, in a folder of its own.
fn doctor(pipeline: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    millrace_tests::doctor::doctor(folder.path(), pipeline)
}

#[test]
fn a_database_says_who_it_is_and_why_it_lets_nobody_in() {
    let server = database("doctor");
    let (good, lost) = (server.url("doctor"), server.url("nowhere"));
    let said = doctor(&format!(
        "version: 1
connections:
  good: {{ postgres: {{ url: \"{good}\", password: hunter2 }} }}
  lost: {{ postgres: {{ url: \"{lost}\", password: hunter2 }} }}
pipelines:
  orders:
    topic: orders
    sinks:
      a: {{ connector: postgres-sink, connection: good }}
      b: {{ connector: postgres-sink, connection: lost }}
"
    ));
    expect(
        &said,
        &[
            "ok       connection good: PostgreSQL ",
            "wal_level logical, ",
            "failed   connection lost: ",
            "-> correct `database` of the connection, or make the database",
            "failed   orders.a: table orders: is not there",
        ],
    );
    assert!(!said.contains("clocks") && !said.contains("hunter2"), "{said}");
    assert!(!said.contains("orders.b"), "what is lost was told: {said}");
    assert_eq!(
        server.sql("doctor", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").trim(),
        "0"
    );
}

#[test]
fn a_source_says_what_is_missing_of_slot_publication_and_tables() {
    let server = database("doctor_source");
    let sql = |sql: &str| server.sql("doctor_source", sql);
    sql("CREATE ROLE doctor_weak LOGIN; CREATE SCHEMA hidden;
         CREATE TABLE good (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
         CREATE TABLE loose (id int, v text); CREATE TABLE secret (id int PRIMARY KEY); CREATE TABLE hidden.t (id int PRIMARY KEY);
         CREATE UNLOGGED TABLE fast (id int PRIMARY KEY); CREATE TABLE ruled (id int PRIMARY KEY); ALTER TABLE ruled ENABLE ROW LEVEL SECURITY;
         CREATE TABLE nobody (id int PRIMARY KEY); ALTER TABLE nobody REPLICA IDENTITY NOTHING;
         CREATE TABLE columns (id int PRIMARY KEY); GRANT SELECT (id) ON columns TO doctor_weak;
         GRANT SELECT ON good, loose, fast, ruled, nobody TO doctor_weak;
         CREATE PUBLICATION doctored FOR TABLE good, loose, secret, hidden.t, ruled, nobody;
         CREATE PUBLICATION half FOR TABLE good WITH (publish = 'insert')");
    let weak = server.url("doctor_source").replace("postgres@", "doctor_weak@");
    let source = |settings: &str| {
        doctor(&format!(
            "version: 1
connections: {{ db: {{ postgres: {{ url: \"{weak}\" }} }} }}
pipelines:
  p:
    source: {{ connector: postgres-source, connection: db, slot: doctored, {settings} }}
    topic: t
"
        ))
    };
    let said = source("publication: doctored");
    expect(
        &said,
        &[
            "failed   p.source: role doctor_weak: may not replicate\n         -> run: ALTER ROLE \"doctor_weak\" REPLICATION",
            "ok       p.source: slot doctored: will be made",
            "ok       p.source: publication doctored: has 6 tables that are read",
            "failed   p.source: table public.secret: doctor_weak may not read it\n         -> run: GRANT SELECT ON \"public\".\"secret\" TO \"doctor_weak\"",
            "failed   p.source: table hidden.t: doctor_weak may not use its schema\n         -> run: GRANT USAGE ON SCHEMA \"hidden\" TO",
            "failed   p.source: table public.ruled: has policies that hide rows from doctor_weak",
            "warning  p.source: table public.loose: has no primary key: ",
            "-> run: ALTER TABLE \"public\".\"loose\" ADD PRIMARY KEY (...); or ALTER TABLE \"public\".\"loose\" REPLICA IDENTITY FULL",
            "warning  p.source: table public.nobody: has no replica identity: ",
            "ok       p.source: tables: 1 can be read and tell their changes",
        ],
    );
    let said = source("publication: doctored, snapshot: never");
    expect(&said, &["ok       p.source: tables: 4 tell their changes"]);
    assert!(!said.contains("may not read") && !said.contains("hide rows"), "rows are not read: {said}");
    let said = source("publication: none");
    expect(
        &said,
        &[
            "failed   p.source: publication none: is not there\n         -> run: CREATE PUBLICATION \"none\" FOR ALL TABLES",
        ],
    );
    let said = source("publication: none, tables: [public.good, public.fast, public.lost]");
    expect(
        &said,
        &[
            "failed   p.source: publication none: is not there, and doctor_weak may not make it\n         -> run as an owner of the tables: CREATE PUBLICATION",
            "failed   p.source: table public.fast: is not logged, so that its changes can't be told",
            "failed   p.source: table public.lost: is not there",
        ],
    );
    let said = source("publication: none, tables: [public.good, public.columns, hidden.t]");
    expect(
        &said,
        &[
            "failed   p.source: publication none: is not there, and doctor_weak may not make it",
            "failed   p.source: table hidden.t: doctor_weak may not use its schema",
            // To read it as of one moment it is locked, for which the server wants the table's right.
            "failed   p.source: table public.columns: doctor_weak may not read it",
            "ok       p.source: tables: 1 can be read and tell their changes",
        ],
    );
    let said = source("publication: doctored, tables: [public.good, public.fast]");
    expect(
        &said,
        &[
            "publication doctored: does not have the table public.fast\n         -> run: ALTER PUBLICATION \"doctored\" ADD TABLE \"public\".\"fast\"",
        ],
    );
    let said = source("publication: half");
    expect(&said, &["warning  p.source: publication half: leaves out inserts, updates or deletes"]);
    let said = source(
        "mode: query, cursors: { public.good: [at], public.loose: [id], public.secret: [id], public.lost: [id] }",
    );
    expect(
        &said,
        &[
            "failed   p.source: table public.good: rows of public.good may have the same at, and some of them would be missed\n         -> add the primary key: [at, id]",
            "failed   p.source: table public.loose: rows of public.loose whose id is null would never be read\n         -> run: ALTER TABLE",
            "failed   p.source: table public.secret: doctor_weak may not read it",
            "failed   p.source: table public.lost: is not there",
        ],
    );
    assert_eq!(sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'doctored'"), "0");
}

#[test]
fn a_sink_says_what_is_missing_of_tables_and_rights() {
    let server = database("doctor_sink");
    let sql = |sql: &str| server.sql("doctor_sink", sql);
    sql("CREATE ROLE doctor_writer LOGIN; REVOKE CREATE ON SCHEMA public FROM public;
         CREATE TABLE good (id int PRIMARY KEY, name text NOT NULL, note text); GRANT ALL ON good TO doctor_writer;
         CREATE TABLE other (id int); GRANT INSERT ON other TO doctor_writer; CREATE SCHEMA mine AUTHORIZATION doctor_writer;
         CREATE TABLE late (id int UNIQUE DEFERRABLE); CREATE VIEW seen AS SELECT * FROM good; GRANT ALL ON late, seen TO doctor_writer;
         CREATE SCHEMA hidden; CREATE TABLE hidden.t (id int)");
    let writer = server.url("doctor_sink").replace("postgres@", "doctor_writer@");
    let sink = |topic: &str, settings: &str| {
        doctor(&format!(
            "version: 1
connections: {{ db: {{ postgres: {{ url: \"{writer}\" }} }} }}
pipelines:
  p:
    topic: {topic}
    sinks:
      s: {{ connector: postgres-sink, connection: db, {settings} }}
"
        ))
    };
    let upsert = "insert_mode: upsert, pk_mode: record_value";
    let said = sink("good", &format!("{upsert}, pk_fields: [id]"));
    expect(
        &said,
        &[
            "failed   p.s: table millrace_positions of positions: is not there, and doctor_writer may not make it\n         -> run: GRANT CREATE, USAGE ON SCHEMA \"public\" TO \"doctor_writer\"",
            "ok       p.s: table good: can be written to; each record needs id, name",
        ],
    );
    let positions = "positions_table: mine.positions";
    let said = sink("good", &format!("{upsert}, pk_fields: [name], {positions}"));
    expect(
        &said,
        &[
            "ok       p.s: table mine.positions of positions: will be made",
            "failed   p.s: table good: has no unique index over name, by which an upsert finds rows\n         -> run: ALTER TABLE \"good\" ADD UNIQUE (\"name\")",
        ],
    );
    let said = sink("late", &format!("{upsert}, pk_fields: [id], {positions}"));
    expect(&said, &["failed   p.s: table late: has no unique index over id, by which an upsert finds rows"]);
    let said = sink("seen", &format!("{upsert}, pk_fields: [id], {positions}"));
    expect(&said, &["ok       p.s: table seen: can be written to"]);
    let said = sink("good", &format!("fields_whitelist: [id, lost], {positions}"));
    expect(
        &said,
        &[
            "failed   p.s: table good: has no column lost\n         -> run: ALTER TABLE \"good\" ADD COLUMN \"lost\" TYPE; or set `auto_evolve: true`",
            "failed   p.s: table good: needs a value for name, which `fields_whitelist` leaves out",
        ],
    );
    let said = sink(
        "other",
        &format!("{upsert}, pk_fields: [id], delete_enabled: true, auto_evolve: true, {positions}"),
    );
    expect(
        &said,
        &[
            "failed   p.s: table other: doctor_writer may not DELETE, SELECT, UPDATE\n         -> run: GRANT DELETE, SELECT, UPDATE ON \"other\" TO \"doctor_writer\"",
            "failed   p.s: table other: has no unique index over id",
            "warning  p.s: table other: is not doctor_writer's, so that columns can't be added to it",
        ],
    );
    let said = sink("t", &format!("table_name_format: \"hidden.${{topic}}\", {positions}"));
    let schema = "failed   p.s: table hidden.t: doctor_writer may not use its schema\n         -> run: GRANT USAGE ON SCHEMA \"hidden\" TO \"doctor_writer\"";
    expect(&said, &[schema]);
    let said = sink("none", &format!("auto_create: true, {positions}"));
    expect(&said, &["failed   p.s: table none: is not there, and doctor_writer may not make it"]);
    assert_eq!(sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'mine'"), "0");
}
