//! Rows and changes of each kind, as records.

use serde_json::{Value, json};

use super::{Pipeline, replay, rows};
use crate::database;

#[test]
fn rows_and_changes_of_every_kind() {
    let server = database("source_kinds");
    let sql = |sql: &str| server.sql("source_kinds", sql);
    sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text, large text);
         ALTER TABLE orders ALTER large SET STORAGE EXTERNAL;
         INSERT INTO orders SELECT n, 'note ' || n, repeat('x', 3000) FROM generate_series(1, 25) n;
         CREATE TABLE whole (id int PRIMARY KEY, v text); ALTER TABLE whole REPLICA IDENTITY FULL;
         CREATE TABLE lines (id int, v text); INSERT INTO lines VALUES (1, 'a'), (1, 'a');
         CREATE PUBLICATION kinds FOR TABLE orders, whole, lines");
    let mut pipeline =
        Pipeline::new(&server.url("source_kinds"), "kinds", "transactions: true\nchunk_rows: 10");
    pipeline.start();
    let values = pipeline.values_with("note 25");
    assert_eq!(values.iter().filter(|value| value["op"] == "r").count(), 25 + 2, "{values:?}");
    sql("BEGIN; UPDATE orders SET note = 'changed' WHERE id = 1; DELETE FROM orders WHERE id = 2;
         UPDATE orders SET id = 100 WHERE id = 3; INSERT INTO lines VALUES (2, 'b'); COMMIT;
         INSERT INTO whole VALUES (1, 'one'); UPDATE whole SET v = 'two'; DELETE FROM whole;
         ALTER TABLE orders ADD COLUMN total numeric(30, 10) DEFAULT 1.5, DROP COLUMN note;
         INSERT INTO orders VALUES (101, 'y', 12345678901234567890.0123456789);
         TRUNCATE whole; INSERT INTO whole VALUES (9, 'marker one')");
    let values = pipeline.values_with("marker one");
    let of = |table: &str, op: &str| -> Vec<&Value> {
        values.iter().filter(|value| value["source"]["table"] == table && value["op"] == op).collect()
    };
    let updated = of("orders", "u");
    assert_eq!((updated.len(), &updated[0]["before"]), (1, &Value::Null));
    let unavailable = "__debezium_unavailable_value";
    assert_eq!(updated[0]["after"], json!({ "id": 1, "note": "changed", "large": unavailable }));
    let deleted: Vec<_> = of("orders", "d").iter().map(|value| value["before"]["id"].clone()).collect();
    assert_eq!(deleted, [json!(2), json!(3)], "an update of the key is a delete and an insert");
    let place = values.iter().position(|value| value["op"] == "d").expect("a delete");
    assert!(values[place + 1].is_null(), "a tombstone follows a delete");
    let created: Vec<_> = of("orders", "c").iter().map(|value| value["after"].clone()).collect();
    assert_eq!(created[1], json!({ "id": 101, "large": "y", "total": "12345678901234567890.0123456789" }));
    assert_eq!(of("whole", "u")[0]["before"], json!({ "id": 1, "v": "one" }));
    assert_eq!(of("whole", "d")[0]["before"], json!({ "id": 1, "v": "two" }));
    assert_eq!(of("whole", "t").len(), 1);
    assert_eq!(of("lines", "r").len(), 2, "without a key, all are told once");
    let orders: Vec<u64> =
        values.iter().filter_map(|value| value["transaction"]["total_order"].as_u64()).take(4).collect();
    assert_eq!(orders, [1, 2, 3, 3], "the place in the transaction");

    // One that is published while the source runs, without a restart.
    sql("CREATE TABLE later (id int PRIMARY KEY, v text); INSERT INTO later SELECT n, 'v' FROM generate_series(1, 35) n;
         ALTER PUBLICATION kinds ADD TABLE later; UPDATE later SET v = 'w' WHERE id % 3 = 0");
    pipeline.values_with("\"table\":\"later\"");
    sql("DELETE FROM later WHERE id % 5 = 0; INSERT INTO later VALUES (99, 'marker two')");
    pipeline.values_with("marker two");
    sql("INSERT INTO whole VALUES (10, 'marker three')");
    let values = pipeline.values_with("marker three");
    let told =
        replay(&values.into_iter().filter(|value| value["source"]["table"] == "later").collect::<Vec<_>>());
    assert_eq!(told["public.later"], rows(&server, "source_kinds", "later"));
}

#[test]
fn every_type_is_told_alike_by_rows_and_changes() {
    let server = database("source_types");
    let sql = |sql: &str| server.sql("source_types", sql);
    // Type, value in SQL, value in JSON.
    let cases: Vec<(&str, &str, Value)> = vec![
        ("bool", "true", json!(true)),
        ("int2", "-32768", json!(-32768)),
        ("int8", "9223372036854775807", json!(9_223_372_036_854_775_807_i64)),
        ("float4", "0.1", json!(0.1)),
        ("float8", "'NaN'", json!("NaN")),
        ("float8", "5e-324", json!(5e-324)),
        (
            "numeric",
            "123456789012345678901234567890.0987654321",
            json!("123456789012345678901234567890.0987654321"),
        ),
        ("numeric", "'NaN'", json!("NaN")),
        ("numeric", "'-Infinity'", json!("-Infinity")),
        ("text", "E'a\\n\"ä\\\\'", json!("a\n\"ä\\")),
        ("char(3)", "'a'", json!("a  ")),
        ("bytea", "'\\x00ff'", json!("AP8=")),
        ("date", "'infinity'", json!("infinity")),
        ("date", "'0044-03-15 BC'", json!("0044-03-15 BC")),
        ("time", "'24:00'", json!("24:00:00")),
        ("timetz", "'04:05:06.789-08'", json!("04:05:06.789-08")),
        ("timestamp", "'2026-01-02 03:04:05.000006'", json!("2026-01-02T03:04:05.000006")),
        ("timestamptz", "'2026-01-02 03:04:05+05'", json!("2026-01-01T22:04:05Z")),
        ("timestamptz", "'-infinity'", json!("-infinity")),
        ("interval", "'1 year -2 mons 3 days 04:05:06.7'", json!("P10M3DT4H5M6.7S")),
        ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
        ("json", "'{\"a\":1, \"a\":2}'", json!("{\"a\":1, \"a\":2}")),
        ("jsonb", "'null'", json!("null")),
        ("int4[]", "'{{1,NULL},{3,4}}'", json!([[1, null], [3, 4]])),
        ("text[]", "ARRAY['a b', '', NULL, 'NULL', '\"}\\']", json!(["a b", "", null, "NULL", "\"}\\"])),
        ("timestamptz[]", "'{2026-01-01 00:00Z}'", json!(["2026-01-01T00:00:00Z"])),
        ("mood", "'fine'", json!("fine")),
        ("mood[]", "'{fine,NULL}'", json!(["fine", null])),
        ("positive", "7.50", json!("7.50")),
        ("pair", "ROW(1, 'a,b')", json!("(1,\"a,b\")")),
        ("int4range", "'[1,5)'", json!("[1,5)")),
        ("inet", "'10.0.0.1/8'", json!("10.0.0.1/8")),
        ("bit(4)", "B'1010'", json!("1010")),
        ("xml", "'<a/>'", json!("<a/>")),
        ("point", "'(1,2)'", json!("(1,2)")),
        ("int4", "NULL", Value::Null),
    ];
    let columns: Vec<String> =
        cases.iter().enumerate().map(|(n, (kind, ..))| format!("c{n} {kind}")).collect();
    let values: Vec<&str> = cases.iter().map(|(_, value, _)| *value).collect();
    let values = values.join(", ");
    sql(&format!(
        "CREATE TYPE mood AS ENUM ('fine', 'bad'); CREATE DOMAIN positive AS numeric CHECK (VALUE > 0);
         CREATE TYPE pair AS (a int, b text); CREATE TABLE t (id int PRIMARY KEY, {}); ALTER TABLE t REPLICA IDENTITY FULL;
         INSERT INTO t VALUES (1, {values}); CREATE PUBLICATION types FOR TABLE t",
        columns.join(", ")
    ));
    let mut pipeline = Pipeline::new(&server.url("source_types"), "types", "transactions: true");
    pipeline.start();
    pipeline.values_with("\"op\":\"r\"");
    sql(&format!("INSERT INTO t VALUES (2, {values}); DELETE FROM t WHERE id = 2"));
    let told = pipeline.values_with("\"op\":\"d\"");
    for (op, side) in [("r", "after"), ("c", "after"), ("d", "before")] {
        let change = told.iter().find(|value| value["op"] == op).expect("it is told");
        for (n, (kind, value, wanted)) in cases.iter().enumerate() {
            assert_eq!(change[side][format!("c{n}")], *wanted, "{kind} {value} in {op}");
        }
    }
}
