//! Files that are compressed, or have columns.

use flate2::Compression;
use flate2::write::GzEncoder;
use millrace_connector_encode::Codec;
use millrace_connector_encode::avro::AvroFile;
use millrace_connector_encode::datum::{Form, row};
use millrace_connector_encode::json::Json;
use millrace_connector_encode::parquet::ParquetFile;
use millrace_connector_encode::types::{Schema, avro};

use super::*;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("written");
    encoder.finish().expect("finished")
}

fn schema() -> Schema {
    avro::read(r#"{"type":"record","name":"R","fields":[{"name":"n","type":"long"}]}"#).expect("a schema")
}

fn rows(from: u32, to: u32, mut push: impl FnMut(&[millrace_connector_encode::datum::Datum])) {
    let schema = schema();
    for n in from..to {
        let text = format!("{{\"n\":{n}}}");
        push(&row(&Json::read(&text).expect("JSON"), &schema.fields, Form::Plain).expect("a row"));
    }
}

fn parquet(count: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let mut file = ParquetFile::begin(&schema(), Codec::Snappy, &mut out).expect("begun");
    let mut held = Vec::new();
    rows(0, count, |row| held.push(row.to_vec()));
    held.iter().for_each(|row| file.push(row, &mut out).expect("pushed"));
    file.finish(&mut out).expect("finished");
    out
}

/// A file of so many rows, and the same with as many again.
fn growing_avro(count: u32) -> (Vec<u8>, Vec<u8>) {
    let mut out = Vec::new();
    let mut file = AvroFile::begin(&schema(), Codec::Gzip, &mut out).expect("begun");
    rows(0, count, |row| file.push(row, &mut out).expect("pushed"));
    file.end_block(&mut out).expect("ended");
    let first = out.clone();
    rows(count, 2 * count, |row| file.push(row, &mut out).expect("pushed"));
    file.end_block(&mut out).expect("ended");
    (first, out)
}

/// Polls until there is nothing more, a few records at a time, each time as another process.
fn drain(case: &mut Case) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let mut test = case.open();
        let polled = test.poll_within(PollLimits { records: 3, bytes: 1 << 20, wait_ms: 0 }).expect("polled");
        case.commit(&polled);
        all.extend(polled.records.iter().map(|record| record.text()));
        if polled.flow != Flow::More {
            return all;
        }
    }
}

fn numbers(from: u32, to: u32) -> Vec<String> {
    (from..to).map(|n| format!("{{\"n\":{n}}}")).collect()
}

#[test]
fn a_folder_of_all_kinds_is_read_once() {
    let mut case = Case::new(json!({ "folder": "in" }));
    fs::create_dir(case.path("in")).expect("a folder");
    case.write("in/a.jsonl.gz", gzip(&numbers(0, 10).join("\n")));
    case.write("in/b.parquet", parquet(10));
    case.write("in/c.avro", growing_avro(10).0);
    case.write("in/d.csv.gz", gzip("n\n0\n1\n"));
    case.write("in/e.jsonl", "{\"n\":0}\n");
    let wanted = [
        numbers(0, 10),
        numbers(0, 10),
        numbers(0, 10),
        vec!["{\"n\":\"0\"}".into(), "{\"n\":\"1\"}".into()],
        numbers(0, 1),
    ]
    .concat();
    assert_eq!(drain(&mut case), wanted);
    assert_eq!(drain(&mut case), [""; 0], "another run reads nothing again");
}

#[test]
fn what_grows_is_read_on_and_what_is_another_file_from_its_start() {
    let mut case = Case::new(json!({ "folder": "in", "follow": true }));
    fs::create_dir(case.path("in")).expect("a folder");
    let (first, whole) = growing_avro(10);
    case.write("in/a.avro", first);
    case.write("in/b.log.gz", gzip("one\ntwo\n"));
    case.write("in/c.parquet", parquet(2));
    assert_eq!(drain(&mut case), [numbers(0, 10), vec!["one".into(), "two".into()], numbers(0, 2)].concat());
    case.write("in/a.avro", whole);
    case.write("in/b.log.gz", [gzip("one\ntwo\n"), gzip("three\n")].concat());
    case.write("in/c.parquet", parquet(3));
    assert_eq!(drain(&mut case), [numbers(10, 20), vec!["three".into()], numbers(0, 3)].concat());
    assert_eq!(drain(&mut case), [""; 0]);
}

/// Of two files of one program the first thousand bytes may be the same, and their sizes, too.
#[test]
fn what_takes_a_files_place_is_another_file_however_it_begins() {
    let name = "n".repeat(2_000);
    let schema = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"{name}","type":"long"}}]}}"#);
    let schema = avro::read(&schema).expect("a schema");
    let file = |numbers: std::ops::Range<u32>| {
        let mut out = Vec::new();
        let mut file = AvroFile::begin(&schema, Codec::None, &mut out).expect("begun");
        for n in numbers {
            let text = format!("{{\"{name}\":{n}}}");
            let values = row(&Json::read(&text).expect("JSON"), &schema.fields, Form::Plain).expect("a row");
            file.push(&values, &mut out).expect("pushed");
        }
        file.end_block(&mut out).expect("ended");
        out
    };
    let wanted = |numbers: std::ops::Range<u32>| -> Vec<String> {
        numbers.map(|n| format!("{{\"{name}\":{n}}}")).collect()
    };
    let mut case = Case::new(json!({ "folder": "in", "follow": true }));
    fs::create_dir(case.path("in")).expect("a folder");
    for numbers in [0..4, 4..8, 8..30, 30..52] {
        case.write("in/orders.avro", file(numbers.clone()));
        assert_eq!(drain(&mut case), wanted(numbers));
        assert_eq!(drain(&mut case), [""; 0]);
    }
}

#[test]
fn a_rotation_that_was_compressed_is_not_read_again() {
    let mut case = Case::new(json!({ "folder": "in", "follow": true, "format": "lines" }));
    fs::create_dir(case.path("in")).expect("a folder");
    case.write("in/app.log", "one\n");
    case.write("in/app.log.2.gz", gzip("zero\n"));
    assert_eq!(drain(&mut case), ["one"]);
}

#[test]
fn a_followed_file_is_left_alone_while_it_is_written() {
    let case = Case::new(json!({ "path": "a.gz", "follow": true }));
    case.write("a.gz", gzip("one\n"));
    let mut test = SourceTest::<FileSource>::open(&case.settings.to_string(), Vec::new()).expect("opens");
    let polled = test.poll().expect("polled");
    assert_eq!((polled.records.len(), polled.flow), (0, Flow::Idle(500)));
}

#[test]
fn a_damaged_file_is_rejected_once_and_the_next_one_read() {
    let mut case = Case::new(json!({ "folder": "in" }));
    fs::create_dir(case.path("in")).expect("a folder");
    let mut cut = gzip("one\ntwo\n");
    cut.truncate(cut.len() - 4);
    case.write("in/a.gz", cut);
    case.write("in/b.parquet", "none");
    case.write("in/c.log", "three\n");
    let mut test = case.open();
    let polled = test.poll().expect("polled");
    case.commit(&polled);
    let texts: Vec<String> = polled.records.iter().map(|record| record.text()).collect();
    assert_eq!((&texts[..2], &texts[4]), (["one", "two"].map(str::to_owned).as_slice(), &"three".to_owned()));
    assert_eq!(polled.rejected.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2, 3]);
    assert!(polled.rejected[0].1.message.contains("cut off"), "{:?}", polled.rejected);
    assert_eq!(case.open().poll().expect("polled").records, []);
}

#[test]
fn a_position_of_another_kind_is_told() {
    let mut case = Case::new(json!({ "path": "a.gz" }));
    case.write("a.gz", gzip("one\n"));
    drain(&mut case);
    case.settings["compression"] = "none".into();
    let refused = SourceTest::<FileSource>::open(&case.settings.to_string(), case.committed.clone());
    assert!(refused.expect_err("refused").message.contains("reset it"));
}
