//! What is missing is told with what to run; what is lost is not passed over.

use millrace_tests::Postgres;
use millrace_tests::process::wait_until;

use super::{LIMIT, Pipeline};
use crate::database;

#[test]
fn a_server_without_logical_replication_is_told_how_to_get_it() {
    let server = Postgres::start(&["wal_level = replica"]);
    let mut pipeline = Pipeline::new(&server.url("postgres"), "s", "tables: [public.t]");
    pipeline.start();
    let said = pipeline.fails();
    assert!(said.contains("wal_level of the server is replica"), "{said}");
    assert!(said.contains("run: ALTER SYSTEM SET wal_level = logical; then restart the server"), "{said}");
}

#[test]
fn what_is_missing_is_told_with_what_to_run() {
    let server = database("source_missing");
    let sql = |sql: &str| server.sql("source_missing", sql);
    let fails = |url: &str, settings: &str| {
        let mut pipeline = Pipeline::new(url, "missing", settings);
        pipeline.start();
        pipeline.fails()
    };
    let url = server.url("source_missing");
    let said = fails(&url, "");
    assert!(said.contains("run: CREATE PUBLICATION \"missing\" FOR ALL TABLES"), "{said}");
    sql(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); CREATE PUBLICATION missing FOR TABLE t",
    );
    let said = fails(&url, "tables: [public.t, public.u]");
    assert!(said.contains("run: ALTER PUBLICATION \"missing\" ADD TABLE \"public\".\"u\""), "{said}");
    // A role that may neither replicate nor read.
    sql("CREATE ROLE source_weak LOGIN");
    let weak = url.replace("postgres@", "source_weak@");
    let said = fails(&weak, "");
    assert!(said.contains("run: ALTER ROLE ... REPLICATION"), "{said}");
    sql("ALTER ROLE source_weak REPLICATION");
    let said = fails(&weak, "");
    assert!(said.contains("run: GRANT SELECT ON \"public\".\"t\" TO"), "{said}");
    sql("SELECT pg_drop_replication_slot('missing')");
}

#[test]
fn a_slot_that_was_lost_is_not_made_anew_in_silence() {
    let server = database("source_lost");
    let sql = |sql: &str| server.sql("source_lost", sql);
    sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'first')");
    let mut pipeline =
        Pipeline::new(&server.url("source_lost"), "lost", "tables: [public.t]\ntransactions: true");
    pipeline.start();
    pipeline.values_with("first");
    pipeline.kill();
    let drop = "SELECT pg_drop_replication_slot('lost') FROM pg_replication_slots WHERE slot_name = 'lost' AND NOT active";
    wait_until("the slot to be free", LIMIT, || {
        sql(drop);
        sql("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'lost'") == "0"
    });
    pipeline.start();
    let said = pipeline.fails();
    assert!(
        said.contains("slot lost can't be read on: it is not there any more. Changes are lost."),
        "{said}"
    );
    // Made anew by somebody: it stands behind what was read.
    sql("INSERT INTO t VALUES (2, 'unseen')");
    sql("SELECT pg_create_logical_replication_slot('lost', 'pgoutput')");
    pipeline.start();
    let said = pipeline.fails();
    assert!(said.contains("somebody moved it, or made it anew"), "{said}");
    sql("SELECT pg_drop_replication_slot('lost')");
}
