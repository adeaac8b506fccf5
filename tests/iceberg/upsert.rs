//! Rows that take the place of others, and rows that go: from a file, and from a database that changes, with workers killed all the while. DuckDB, which
//! knows both kinds of Iceberg's deletes, sees the same rows as who made them.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use millrace_tests::Postgres;
use millrace_tests::process::{Process, wait_until};
use millrace_tests::random::{Random, seed};
use millrace_tests::s3::{BUCKET, Kind, S3, run, server, write};
use serde_json::{Value, json};

use crate::catalog::catalog;
use crate::data::{pipeline_with, script};
use crate::expire::EXPIRE;

/// Longest run to the end, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// Large ones, so that they come in many commits.
const STEPS: u64 = 20_000;
const KEYS: u64 = 600;
/// Of so many commits one is not answered.
const LOSE: u32 = 5;
/// Manifests are merged from three on, but not while another task does it.
const MERGE: &str = "table_properties: { commit.manifest.min-count-to-merge: 3 }\n";
const MANIFESTS_MAX: u64 = 16;

/// The table as engines see it, from its URI or its catalog's URL.
fn read(server: &S3, place: &str) -> Value {
    let folder = server.folder().parent().expect("a folder of buckets").display().to_string();
    serde_json::from_slice(&script("deletes.py", server, &[place, &folder])).expect("JSON")
}

/// Rows by their key, each of them once.
fn by_key(table: &Value, key: &str) -> BTreeMap<u64, Value> {
    let mut rows = BTreeMap::new();
    for row in table["rows"].as_array().expect("rows") {
        let number = row[key].as_u64().expect("a number");
        assert!(rows.insert(number, row.clone()).is_none(), "row {number} is there twice");
    }
    rows
}

/// Lines for the source, and the rows that they come to.
fn steps(random: &mut Random) -> (String, BTreeMap<u64, Value>) {
    let (mut lines, mut rows) = (String::new(), BTreeMap::new());
    for step in 0..STEPS {
        let n = random.below(KEYS);
        let mut row = json!({ "n": n, "step": step, "text": format!("{n} at {step} ").repeat(100) });
        if random.below(4) == 0 {
            rows.remove(&n);
            row["__deleted"] = json!("true");
        } else {
            rows.insert(n, row.clone());
        }
        lines.push_str(&format!("{row}\n"));
    }
    (lines, rows)
}

fn kill_some(folder: &Path, times: u32, random: &mut Random) {
    for _ in 0..times {
        let mut process = Process::spawn(&mut run(folder), folder.join("run.log"));
        thread::sleep(Duration::from_millis(200 + random.below(1200)));
        process.kill();
    }
}

#[test]
fn engines_see_each_keys_last_row_whatever_was_killed() {
    let seed = seed();
    println!("MILLRACE_SEED={seed}");
    let mut random = Random::new(seed);
    for by_catalog in [false, true] {
        let (folder, server) = server(if by_catalog { Kind::S3sFs } else { Kind::VersityGw });
        let folder = folder.path();
        let (_catalog, url) = catalog(folder, LOSE);
        let (lines, wanted) = steps(&mut random);
        write(folder, "in.jsonl", lines);
        // The one has its old snapshots expired, the other is divided, and merges its manifests.
        let kind = match by_catalog {
            true => format!(
                "{MERGE}partition_by: [\"bucket(n, 3)\"]\ncatalog_connection: catalog\ncatalog_warehouse: birds\n"
            ),
            false => EXPIRE.to_owned(),
        };
        let sink = format!(
            "{kind}auto_create: true\ninsert_mode: upsert\npk_mode: record_key\npk_fields: [n]\ndelete_enabled: true\ncommit_interval: 1ms\n\
             flush_interval: 5ms\nbuffer: 8MiB\ntasks: 2\nerrors: {{ tolerance: none, retry_timeout: 60s }}"
        );
        let connection = format!("  catalog: {{ http: {{ url: \"{url}\" }} }}\n");
        write(folder, "pipeline.yaml", pipeline_with(&server, &connection, &sink));
        kill_some(folder, 5, &mut random);
        Process::spawn(&mut run(folder), folder.join("last.log")).succeed(LIMIT);
        let place = if by_catalog { url } else { format!("s3://{BUCKET}/wh/birds/strikes") };
        let table = read(&server, &place);
        assert_eq!(by_key(&table, "n"), wanted, "by a catalog: {by_catalog}");
        assert_eq!((&table["identifiers"], &table["keys"]), (&json!(["n"]), &json!(["[1]"])));
        let count = |name: &str| table[name].as_u64().unwrap_or_else(|| panic!("{name}: {}", table[name]));
        assert!(count("equality_deletes") > 0 && count("position_deletes") > 0, "{table}");
        assert_eq!(count("delete_files"), count("equality_deletes") + count("position_deletes"));
        let total = |name: &str| table["summary"][name].as_str().and_then(|text| text.parse::<u64>().ok());
        assert_eq!(total("total-delete-files"), Some(count("delete_files")));
        assert_eq!(total("total-data-files"), Some(count("data_files")));
        if by_catalog {
            assert!(count("manifests") <= MANIFESTS_MAX, "{} manifests", count("manifests"));
        }
    }
}

const TABLE: &str = "
    CREATE TABLE items (id int PRIMARY KEY, name text, amount numeric(12, 2) NOT NULL, seen date, ok boolean NOT NULL);
    INSERT INTO items SELECT n, 'item ' || n, n * 1.25, date '2026-01-01' + n, n % 2 = 0 FROM generate_series(1, 400) n;
    CREATE PUBLICATION lake FOR TABLE items";

/// As the source writes its values.
const ROWS: &str = "SELECT coalesce(json_agg(json_build_object('id', id, 'name', name, 'amount', amount::text, 'seen', seen::text, 'ok', ok)), '[]') FROM items";

/// Inserts, updates, deletes and keys that change, in transactions of several rows.
fn change(random: &mut Random, database: &Postgres) {
    let id = random.below(600);
    let statements = [
        format!("UPDATE items SET amount = amount + 1, name = NULL WHERE id % 7 = {}", id % 7),
        format!("DELETE FROM items WHERE id BETWEEN {id} AND {id} + 9"),
        format!(
            "INSERT INTO items SELECT n, 'new ' || n, {id}, NULL, true FROM generate_series({id}, {id} + 20) n \
                 ON CONFLICT (id) DO UPDATE SET name = 'again ' || items.id, seen = date '2026-11-28'"
        ),
        format!("UPDATE items SET id = id + 10000 WHERE id BETWEEN {id} AND {id} + 3"),
        format!(
            "BEGIN; UPDATE items SET ok = NOT ok WHERE id < {id}; DELETE FROM items WHERE id = {id}; ROLLBACK"
        ),
    ];
    database.sql("shop", &statements[random.below(5) as usize]);
}

#[test]
fn a_table_of_a_database_is_one_of_the_lake() {
    let seed = seed();
    println!("MILLRACE_SEED={seed}");
    let mut random = Random::new(seed);
    let database = Postgres::start(&[]);
    database.create("shop");
    database.sql("shop", TABLE);
    let (folder, server) = server(Kind::VersityGw);
    let folder = folder.path();
    let lake = server.connection("lake", ", prefix: \"wh/\"");
    let pipeline = format!(
        "version: 1\nconnections:\n{lake}  shop: {{ postgres: {{ url: \"{}\", sessions: 5 }} }}\npipelines:\n  items:\n    source:\n      connector: postgres-source\n      \
         connection: shop\n      slot: lake\n      publication: lake\n      chunk_rows: 100\n      heartbeat: 500ms\n    topic: {{ name: items, partitions: 3 }}\n    \
         sinks:\n      lake:\n        connector: iceberg-sink\n        connection: lake\n        warehouse: s3://{BUCKET}/wh\n        table: shop.items\n        \
         auto_create: true\n        auto_evolve: true\n        insert_mode: upsert\n        pk_mode: record_key\n        delete_enabled: true\n        \
         commit_interval: 300ms\n        flush_interval: 100ms\n        errors: {{ tolerance: none, retry_timeout: 60s }}\n",
        database.url("shop")
    );
    write(folder, "pipeline.yaml", pipeline);
    for _ in 0..4 {
        let mut process = Process::spawn(&mut run(folder), folder.join("run.log"));
        for _ in 0..6 {
            thread::sleep(Duration::from_millis(100 + random.below(400)));
            change(&mut random, &database);
        }
        process.kill();
        change(&mut random, &database);
    }
    let mut process = Process::spawn(&mut run(folder), folder.join("last.log"));
    let rows: Value = serde_json::from_str(database.sql("shop", ROWS).trim()).expect("JSON");
    let wanted = by_key(&json!({ "rows": rows }), "id");
    let metadata = server.folder().join("wh/shop/items/metadata/version-hint.text");
    wait_until("the lake to have what the database has", LIMIT, || {
        let ended = process.ended();
        assert!(ended.is_none(), "the pipeline ended: {ended:?}\n{}", process.output());
        let table = metadata.exists().then(|| read(&server, &format!("s3://{BUCKET}/wh/shop/items")));
        table.is_some_and(|table| by_key(&table, "id") == wanted)
    });
    process.kill();
}
