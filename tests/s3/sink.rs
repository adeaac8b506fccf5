//! s3-sink in each format, by each partitioner and rotation, read back by other engines: counts, values, types.

use serde_json::json;

use millrace_tests::s3::{KINDS, check_lag, run, server, write};
use millrace_tests::strikes::{row, schema, typed, write_rows};

use crate::data::{by_number, pipeline, read};

const ROWS: u64 = 2_000;

/// Runs a pipeline with this sink on both servers, and hands what is in the bucket to `check`.
fn on_both(sink: &str, check: impl Fn(&std::collections::BTreeMap<String, crate::data::Object>)) {
    for kind in KINDS {
        let (folder, server) = server(kind);
        write_rows(folder.path(), "in.jsonl", 0..ROWS);
        write(folder.path(), "pipeline.yaml", pipeline(&server, &server.endpoint(), sink));
        let output = run(folder.path()).output().expect("the binary can be run");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{kind:?}: {}\n{said}", output.status);
        check_lag(&said);
        let objects = read(&server);
        assert_eq!(by_number(&objects).len() as u64, ROWS, "{kind:?}");
        check(&objects);
    }
}

#[test]
fn json_lines_by_kafkas_partition() {
    on_both("format: json\ncompression: gzip\nflush_size: 300", |objects| {
        for (key, object) in objects {
            assert!(key.starts_with("topics/strikes/partition=") && key.ends_with(".json.gz"), "{key}");
            assert!(object.rows.len() <= 300, "{key}: {}", object.rows.len());
        }
        assert!(by_number(objects).into_iter().all(|(n, found)| found == row(n)));
    });
}

#[test]
fn csv_by_a_fields_value() {
    let sink = "format: csv\ncompression: zstd\ncolumns: [n, kind, to.city, price]\npartitioner: field\npartition_field_name: [kind]";
    on_both(sink, |objects| {
        for (key, object) in objects {
            let kind = key
                .split('/')
                .find_map(|part| part.strip_prefix("kind="))
                .expect("a folder")
                .replace("%2F", "/");
            assert!(object.rows.iter().all(|row| row["kind"] == kind), "{key}");
        }
        for (n, found) in by_number(objects) {
            assert_eq!((&found["to.city"], &found["price"]), (&row(n)["to"]["city"], &row(n)["price"]));
        }
    });
}

#[test]
fn parquet_by_a_fields_time_with_a_schema() {
    let schema = schema();
    let sink = format!(
        "format: parquet\n{schema}\npartitioner: time\npath_format: \"yyyy-MM-dd/HH\"\ntimezone: \"+01:00\"\n\
         timestamp_extractor: field\ntimestamp_field: at"
    );
    on_both(&sink, |objects| {
        assert!(
            objects.keys().any(|key| key.contains("/2026-11-28/00/")),
            "the last hour is tomorrow's in that zone"
        );
        for (n, found) in by_number(objects) {
            assert_eq!(found, typed(n, true));
        }
        let schema = &objects.values().next().expect("an object").schema;
        for column in [
            "n: int64 not null",
            "price: decimal128(9, 2) not null",
            "day: date32[day] not null",
            "at: timestamp[us, tz=UTC] not null",
            "by: map<string, int64",
        ] {
            assert!(schema.contains(column), "{column} is not in\n{schema}");
        }
    });
}

#[test]
fn avro_with_a_schema_and_rotation_by_size() {
    let schema = schema();
    let sink = format!("format: avro\ncompression: snappy\n{schema}\nrotate_bytes: 20KB");
    on_both(&sink, |objects| {
        assert!(objects.len() > 3, "{}", objects.len());
        for (n, found) in by_number(objects) {
            assert_eq!(found, typed(n, false));
        }
    });
}

#[test]
fn parquet_with_columns_that_are_inferred() {
    on_both("format: parquet\ncompression: gzip\npartitioner: time\npath_format: \"yyyy\"", |objects| {
        for (n, found) in by_number(objects) {
            let mut wanted = row(n);
            wanted["by"] = json!({ "x": n });
            assert_eq!(found, wanted);
        }
        let schema = &objects.values().next().expect("an object").schema;
        assert!(schema.contains("ratio: double") && schema.contains("price: string"), "{schema}");
    });
}
