//! Avro and Parquet.

use apache_avro::Reader;
use apache_avro::types::Value as Datum;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};

use super::*;

/// The rows of a file, by readers that are not ours; numbers and text as JSON.
pub(super) fn read(path: &Path) -> Vec<Value> {
    let file = File::open(path).expect("a file");
    if path.extension().is_some_and(|end| end == "parquet") {
        let reader = SerializedFileReader::new(file).expect("a Parquet file");
        let rows = reader.get_row_iter(None).expect("rows");
        let value = |field: &Field| match field {
            Field::Long(number) => json!(number),
            Field::Str(text) => json!(text),
            Field::Null => Value::Null,
            other => panic!("{other:?}"),
        };
        let row =
            |row: Row| row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect();
        return rows.map(|found| row(found.expect("a row"))).collect();
    }
    let plain = |datum: Datum| match datum {
        Datum::Union(_, datum) => *datum,
        datum => datum,
    };
    let value = |datum: Datum| match plain(datum) {
        Datum::Long(number) => json!(number),
        Datum::String(text) => json!(text),
        Datum::Null => Value::Null,
        other => panic!("{other:?}"),
    };
    let rows = Reader::new(file).expect("an Avro file");
    let row = |row: apache_avro::AvroResult<Datum>| match row.expect("a row") {
        Datum::Record(fields) => fields.into_iter().map(|(name, datum)| (name, value(datum))).collect(),
        other => panic!("{other:?}"),
    };
    rows.map(row).collect()
}

const PATHS: [&str; 2] = ["out.avro", "out.parquet"];

fn safe(durable: &Durable) -> Vec<(i32, i64)> {
    let Durable::UpTo(safe) = durable else { panic!("positions are held in the target") };
    safe.iter().map(|at| (at.partition, at.offset)).collect()
}

/// Puts records, what is not taken again; gives back those that were rejected.
fn put_all(sink: &mut SinkTest<FileSink>, records: &[Record]) -> Vec<u32> {
    let (mut at, mut all) = (0, Vec::new());
    while at < records.len() {
        let (taken, rejected) = sink.put(&records[at..]).expect("taken");
        all.extend(rejected.iter().map(|(index, _)| at as u32 + index));
        at += taken;
    }
    all
}

#[test]
fn positions_are_those_of_finished_files() {
    for path in PATHS {
        let mut case = Case::new(json!({ "path": path, "rotate": { "records": 4 } }));
        let mut sink = case.open().expect("opens");
        sink.assign("t", &[0, 1]).expect("assigned");
        assert_eq!(sink.put(&case.records(0, 6)).expect("taken").0, 4);
        assert_eq!(safe(&sink.flush().expect("flushed")), [(0, 2), (1, 2)]);
        assert_eq!(sink.put(&case.records(4, 6)).expect("taken").0, 2);
        assert_eq!(safe(&sink.flush().expect("flushed")), [(0, 2), (1, 2)]);
        drop(sink);
        assert_eq!(case.text(), lines(0, 4));
        let mut sink = case.open().expect("opens");
        let held: Vec<_> = sink.assign("t", &[0, 1]).expect("assigned").iter().map(|at| at.offset).collect();
        assert_eq!(held, [2, 2], "what was not finished comes again");
        put_all(&mut sink, &case.records(0, 7));
        sink.close().expect("closed");
        assert_eq!(case.text(), lines(0, 7));
    }
}

#[test]
fn partitions_that_go_take_a_finished_file_along() {
    for path in PATHS {
        let mut case = Case::new(json!({ "path": path }));
        let mut sink = case.open().expect("opens");
        sink.assign("t", &[0, 1]).expect("assigned");
        sink.put(&case.records(0, 3)).expect("taken");
        let goes = [TopicPartition { topic: "t".to_owned(), partition: 1 }];
        sink.sink.revoked(&goes).expect("given up");
        assert_eq!(case.text(), lines(0, 3));
        assert_eq!(safe(&sink.flush().expect("flushed")), [(0, 2)]);
    }
}

#[test]
fn other_columns_begin_another_file() {
    for path in PATHS {
        let mut case = Case::new(json!({ "path": path }));
        let mut sink = case.open().expect("opens");
        sink.assign("t", &[0]).expect("assigned");
        // The columns are settled with the thousandth record.
        let narrow: Vec<_> =
            case.records(0, 2_000).into_iter().filter(|record| record.partition == 0).collect();
        assert_eq!(sink.put(&narrow).expect("taken").0, 1_000);
        let wide = |n: i64| Record::value(format!("{{\"n\":{},\"x\":\"y\"}}", 2 * n)).at("t", 0, n);
        // In the middle of a batch, it comes first in the next.
        let mut batch = vec![Record::value("{\"n\":2000}").at("t", 0, 1_000), wide(1_001), wide(1_002)];
        assert_eq!(sink.put(&batch).expect("taken").0, 1);
        batch.remove(0);
        assert_eq!(sink.put(&batch).expect("taken").0, 2);
        sink.close().expect("closed");
        let counts: Vec<_> = case.visible().iter().map(|(_, text)| text.lines().count()).collect();
        assert_eq!(counts, [1_001, 2], "{path}");
        let last = read(&case.dir.path().join(path.replace("out", "out-000002")));
        assert_eq!(last[0]["x"], "y");
    }
}

#[test]
fn pieces_of_a_record_with_different_schemas_are_the_records_fault() {
    let enveloped = |field: &str| {
        let schema = format!(r#"{{"type":"struct","fields":[{{"field":"{field}","type":"int64"}}]}}"#);
        Record::value(format!(r#"{{"schema":{schema},"payload":{{"{field}":1}}}}"#)).at("t", 0, 0)
    };
    let mut case = Case::new(json!({ "path": "out.parquet" }));
    let mut sink = case.open().expect("opens");
    sink.assign("t", &[0]).expect("assigned");
    let (taken, rejected) = sink.put(&[enveloped("n"), enveloped("m"), enveloped("n")]).expect("taken");
    let codes: Vec<_> = rejected.iter().map(|(index, why)| (*index, why.code.as_str())).collect();
    assert_eq!((taken, codes), (3, vec![(1, "schema.pieces")]));
    sink.close().expect("closed");
    assert_eq!(case.text(), "1\n1\n");
}

#[test]
fn records_without_a_value_and_such_as_do_not_fit() {
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"n","type":"long"}]}"#;
    for (behavior, wanted) in [("fail", vec![0, 2, 3]), ("ignore", vec![2, 3])] {
        let further = json!({ "path": "out.avro", "schema": schema, "behavior_on_null_values": behavior });
        let mut case = Case::new(further);
        let mut sink = case.open().expect("opens");
        sink.assign("t", &[0]).expect("assigned");
        let values = [None, Some("{\"n\":1}"), Some("{\"n\":\"x\"}"), Some("no")];
        let records: Vec<_> = (0..)
            .zip(values)
            .map(|(at, value)| Record { value: value.map(Into::into), ..Record::value("") }.at("t", 0, at))
            .collect();
        assert_eq!(put_all(&mut sink, &records), wanted);
        sink.close().expect("closed");
        assert_eq!(case.text(), "1\n");
    }
}

#[test]
fn rejected_records_alone_make_no_file_and_keep_their_positions() {
    for path in PATHS {
        let mut case = Case::new(json!({ "path": path }));
        let mut sink = case.open().expect("opens");
        sink.assign("t", &[0]).expect("assigned");
        sink.put(&[Record::value("no").at("t", 0, 7)]).expect("taken");
        assert_eq!(safe(&sink.flush().expect("flushed")), [(0, 8)]);
        drop(sink);
        let mut sink = case.open().expect("opens");
        let held: Vec<_> = sink.assign("t", &[0]).expect("assigned").iter().map(|at| at.offset).collect();
        assert_eq!(held, [8]);
        sink.put(&[Record::value("{\"n\":1}").at("t", 0, 8)]).expect("taken");
        sink.close().expect("closed");
        assert_eq!(case.text(), "1\n");
    }
}

#[test]
fn lines_that_grew_when_rows_were_asked_for_are_finished_as_lines() {
    let mut case = Case::new(json!({ "path": "out", "format": "jsonl", "rotate": { "records": 9 } }));
    let mut sink = case.open().expect("opens");
    sink.assign("t", &[0, 1]).expect("assigned");
    sink.put(&records(0, 3)).expect("taken");
    sink.flush().expect("flushed");
    drop(sink);
    case.settings["format"] = json!("parquet");
    let held = case.open().expect("opens").assign("t", &[0, 1]).expect("assigned");
    assert_eq!(held.iter().map(|at| at.offset).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(case.visible(), [("out-000001".to_owned(), lines(0, 3))]);
}

#[test]
fn files_end_by_size_before_their_rows_are_written() {
    for path in PATHS {
        let mut case = Case::new(json!({ "path": path, "rotate": { "bytes": "40KB" } }));
        let mut sink = case.open().expect("opens");
        sink.assign("t", &[0, 1]).expect("assigned");
        let records: Vec<_> = (0..40)
            .map(|n| Record::value(json!({ "n": n, "x": "y".repeat(2_000) }).to_string()).at("t", 0, n))
            .collect();
        assert_eq!(put_all(&mut sink, &records), [0; 0]);
        sink.close().expect("closed");
        let counts: Vec<_> = case.visible().iter().map(|(_, text)| text.lines().count()).collect();
        assert!((2..=4).contains(&counts.len()), "{path}: {counts:?}");
    }
}
