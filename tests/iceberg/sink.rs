//! Rows to tables and back: counts, sums, values, types; specs by which engines leave files out; columns that are added.

use millrace_tests::broker::free_address;
use millrace_tests::s3::{KINDS, Kind, S3, run, server, write};
use millrace_tests::strikes::{row, write_rows};
use serde_json::{Value, json};

use crate::data::{by_number, pipeline, pipeline_with, read, schema, typed};

const ROWS: u64 = 2_000;

fn succeed(folder: &std::path::Path) {
    let output = run(folder).output().expect("the binary can be run");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}", output.status);
}

/// Runs a pipeline with this sink on both servers, and hands the table to `check`.
fn on_both(sink: &str, filters: &[&str], check: impl Fn(&S3, &Value)) {
    for kind in KINDS {
        let (folder, server) = server(kind);
        write_rows(folder.path(), "in.jsonl", 0..ROWS);
        write(folder.path(), "pipeline.yaml", pipeline(&server, sink));
        succeed(folder.path());
        let table = read(&server, filters);
        assert_eq!(by_number(&table).len() as u64, ROWS, "{kind:?}");
        check(&server, &table);
    }
}

#[test]
fn types_come_back_as_they_were_said() {
    on_both(
        &format!("auto_create: true\n{}", schema()),
        &["n < 0", "price > 900 and kind = 'gull'"],
        |_, table| {
            for (n, found) in by_number(table) {
                assert_eq!(found, typed(n));
            }
            let told = table["schema"].as_str().expect("a schema");
            for column in [
                "1: n: required long",
                "3: price: required decimal(9, 2)",
                "4: day: required date",
                "5: at: required timestamptz",
                "8: by: required map<string, long>",
            ] {
                assert!(told.contains(column), "{column} is not in\n{told}");
            }
            let types = &table["duckdb"]["types"];
            assert_eq!(
                (&types["price"], &types["at"]),
                (&json!("DECIMAL(9,2)"), &json!("TIMESTAMP WITH TIME ZONE"))
            );
            // By the bounds in the manifests no file can have such a row.
            assert_eq!(table["filters"][0], json!([0, 0]));
            let wanted = (0..ROWS).filter(|n| n * 1237 % 100_000 > 90_000 && n % 3 == 1).count();
            assert_eq!(table["filters"][1][0], wanted);
        },
    );
}

#[test]
fn engines_leave_out_files_by_the_spec() {
    let sink = format!(
        "auto_create: true\n{}partition_by: [kind, \"day(at)\", \"bucket(n, 4)\"]\ncompression: gzip",
        schema()
    );
    on_both(&sink, &["kind = 'gull'", "n = 34", "at < '2026-11-01T00:00:00+00:00'"], |_, table| {
        let files = table["files"].as_u64().expect("files");
        assert!(files >= 12, "{files} files");
        let filters = &table["filters"];
        let gulls = (0..ROWS).filter(|n| n % 3 == 1).count();
        assert_eq!(filters[0][0], gulls);
        assert!(filters[0][1].as_u64().expect("files") * 2 < files, "{filters} of {files}");
        assert_eq!(filters[1][0], 1);
        assert!(filters[1][1].as_u64().expect("files") * 3 < files, "{filters} of {files}");
        assert_eq!(filters[2], json!([0, 0]));
        assert!(by_number(table).into_iter().all(|(n, found)| found == typed(n)));
    });
}

#[test]
fn columns_are_made_of_values_and_added_when_they_come() {
    for kind in KINDS {
        let (folder, server) = server(kind);
        let folder = folder.path();
        let sink = "auto_create: true\nauto_evolve: true\nerrors: { tolerance: none }";
        write(folder, "pipeline.yaml", pipeline(&server, sink));
        let line = |n: u64, further: Value| {
            let mut value = json!({ "n": n, "to": { "city": row(n)["to"]["city"] } });
            value.as_object_mut().expect("an object").extend(further.as_object().expect("an object").clone());
            format!("{value}\n")
        };
        let before: String = (0..100).map(|n| line(n, json!({}))).collect();
        write(folder, "in.jsonl", &before);
        succeed(folder);
        let later: String =
            (100..200).map(|n| line(n, json!({ "ratio": 0.5, "to": { "city": "x", "zip": n } }))).collect();
        write(folder, "in.jsonl", before + &later);
        succeed(folder);
        let table = read(&server, &["ratio is null", "ratio > 0.4"]);
        // Of a column that came later an older file has no bounds: it can't be left out.
        assert_eq!(table["filters"], json!([[100, 1], [100, 2]]), "{kind:?}");
        let rows = by_number(&table);
        assert_eq!(rows[&7], json!({ "n": 7, "to": { "city": "city, 0", "zip": null }, "ratio": null }));
        assert_eq!(rows[&107], json!({ "n": 107, "to": { "city": "x", "zip": 107 }, "ratio": 0.5 }));
    }
}

#[test]
fn an_avro_topics_types_are_the_tables() {
    let (folder, server) = server(Kind::VersityGw);
    let folder = folder.path();
    let schema = json!({ "type": "record", "name": "Strike", "fields": [
        { "name": "n", "type": "int" },
        { "name": "at", "type": { "type": "long", "logicalType": "timestamp-millis" } },
        { "name": "price", "type": ["null", { "type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2 }] },
    ]});
    write(folder, "strike.avsc", schema.to_string());
    let line = |n: u64| {
        let price = n.is_multiple_of(2).then(|| format!("-{n}123456789012345.50"));
        format!("{}\n", json!({ "n": n, "at": format!("2026-11-27T08:00:00.{:03}Z", n), "price": price }))
    };
    write(folder, "in.jsonl", (1..100).map(line).collect::<String>());
    let registry = free_address();
    let format = "value_format: { type: avro, registry: schemas";
    let connection = format!("  schemas: {{ schema_registry: {{ url: \"http://{registry}\" }} }}\n");
    let pipeline = pipeline_with(&server, &connection, &format!("auto_create: true\n{format} }}"));
    let pipeline = pipeline
        .replace(
            "version: 1\n",
            &format!("version: 1\nbroker: {{ config: {{ registry.listener: \"{registry}\" }} }}\n"),
        )
        .replace(
            "format: jsonl, key: n }",
            &format!("format: jsonl, key: n, {format}, schema: strike.avsc }} }}"),
        );
    write(folder, "pipeline.yaml", pipeline);
    succeed(folder);
    let table = read(&server, &["price < -90000000000000000"]);
    let rows = by_number(&table);
    assert_eq!(rows.len(), 99);
    assert_eq!(rows[&2]["price"], "-2123456789012345.50");
    assert_eq!(rows[&7], json!({ "n": 7, "at": "2026-11-27T08:00:00.007000+00:00", "price": null }));
    let told = table["schema"].as_str().expect("a schema");
    for column in ["1: n: required int", "2: at: required timestamptz", "3: price: optional decimal(20, 2)"] {
        assert!(told.contains(column), "{column} is not in\n{told}");
    }
    // 90, 92, ... 98.
    assert_eq!(table["filters"][0][0], 5);
}
