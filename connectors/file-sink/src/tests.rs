//! The sink as the host drives it, over real files, with kills before each step.

mod rows;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use millrace_sdk::testing::clock::advance;
use millrace_sdk::testing::{Record, SinkTest, check_description, task};
use millrace_sdk::{Durable, Error, Sink, Task, TopicPartition};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::FileSink;
use crate::fault::kill_before;

/// A folder that is written to.
struct Case {
    dir: TempDir,
    settings: Value,
    task: Task,
}

impl Case {
    fn new(mut settings: Value) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        settings["path"] =
            format!("{}/{}", dir.path().display(), settings["path"].as_str().unwrap_or("out")).into();
        Self { dir, settings, task: task() }
    }

    /// Whether it writes rows of Avro or Parquet.
    fn has_rows(&self) -> bool {
        self.settings["path"]
            .as_str()
            .is_some_and(|path| path.ends_with(".avro") || path.ends_with(".parquet"))
    }

    /// Records `from..until` of two partitions that take turns: record n has the value n, or a row of it.
    fn records(&self, from: i64, until: i64) -> Vec<Record> {
        let value = |n: i64| if self.has_rows() { json!({ "n": n }).to_string() } else { n.to_string() };
        (from..until).map(|n| Record::value(value(n)).at("t", (n % 2) as i32, n / 2)).collect()
    }

    /// The next start of the task.
    fn open(&mut self) -> Result<SinkTest<FileSink>, Error> {
        self.task.generation += 1;
        SinkTest::open_as(&self.task, &self.settings.to_string())
    }

    /// The files that a reader sees, with their content.
    fn visible(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.dir.path()).expect("a folder").map(|entry| entry.expect("an entry"));
        let mut files: Vec<(String, String)> = entries
            .map(|entry| (entry.file_name().into_string().expect("UTF-8"), entry.path()))
            .filter(|(name, _)| !name.starts_with('.'))
            .map(|(name, path)| (name, unpacked(&path)))
            .collect();
        files.sort();
        files
    }

    fn text(&self) -> String {
        self.visible().into_iter().map(|(_, text)| text).collect()
    }
}

/// The text of a file, of rows as lines of their numbers; of a compressed one all members have to be whole.
fn unpacked(path: &Path) -> String {
    let file = File::open(path).expect("a file");
    let mut text = String::new();
    match path.extension().and_then(|end| end.to_str()) {
        Some("gz") => MultiGzDecoder::new(file).read_to_string(&mut text).expect("whole members"),
        Some("zst") => zstd::Decoder::new(file)
            .and_then(|mut decoder| decoder.read_to_string(&mut text))
            .expect("whole frames"),
        Some("avro" | "parquet") => {
            return rows::read(path).iter().map(|row| format!("{}\n", row["n"])).collect();
        }
        _ => return fs::read_to_string(path).expect("text"),
    };
    text
}

/// Records of lines.
fn records(from: i64, until: i64) -> Vec<Record> {
    (from..until).map(|n| Record::value(n.to_string()).at("t", (n % 2) as i32, n / 2)).collect()
}

#[test]
fn pieces_of_a_record_share_its_offset_and_are_all_written() {
    let mut case = Case::new(json!({ "path": "o.txt", "rotate": { "records": 2 } }));
    // Each record became three; the rotation falls due between pieces, and waits for the last.
    let pieces: Vec<Record> =
        records(0, 8).into_iter().flat_map(|record| [record.clone(), record.clone(), record]).collect();
    let mut sink = case.open().expect("opens");
    assert_eq!(sink.assign("t", &[0, 1]).expect("assigned"), []);
    let mut left = &pieces[..];
    while !left.is_empty() {
        let (taken, _) = sink.put(left).expect("taken");
        assert!(taken.is_multiple_of(3), "{taken}");
        left = &left[taken..];
        sink.flush().expect("flushes");
    }
    sink.close().expect("closes");
    let wanted: String = (0..8).map(|n| format!("{n}\n{n}\n{n}\n")).collect();
    assert_eq!(case.text(), wanted);
    // What it holds is not taken twice.
    let mut sink = case.open().expect("opens");
    sink.assign("t", &[0, 1]).expect("assigned");
    sink.put(&pieces).expect("taken");
    sink.close().expect("closes");
    assert_eq!(case.text(), wanted);
}

/// What the host does between a start and the end of the topic, `until` records long: from the positions that the sink holds,
/// in batches, with flushes, offering again what was not taken.
fn drive(case: &mut Case, until: i64, batch: usize) -> Result<(), Error> {
    let mut sink = case.open()?;
    let held = sink.assign("t", &[0, 1])?;
    let next = |partition: i32| held.iter().find(|at| at.partition == partition).map_or(0, |at| at.offset);
    let (even, odd) = (next(0), next(1));
    let mut left: Vec<Record> = case
        .records(0, until)
        .into_iter()
        .filter(|record| record.offset >= if record.partition == 0 { even } else { odd })
        .collect();
    while !left.is_empty() {
        let end = batch.min(left.len());
        let (taken, rejected) = sink.put(&left[..end])?;
        assert!(rejected.is_empty());
        left.drain(..taken);
        if left.len().is_multiple_of(3) {
            sink.flush()?;
        }
    }
    sink.close()
}

fn lines(from: i64, until: i64) -> String {
    (from..until).map(|n| format!("{n}\n")).collect()
}

#[test]
fn the_description_is_complete() {
    check_description(&FileSink::describe()).expect("a complete description");
}

#[test]
fn a_bounded_run_leaves_one_file_and_the_next_one_adds_what_is_new() {
    let mut case = Case::new(json!({ "path": "out.jsonl" }));
    drive(&mut case, 10, 4).expect("runs");
    assert_eq!(case.visible(), [("out.jsonl".to_owned(), lines(0, 10))]);
    let before = fs::metadata(case.dir.path().join("out.jsonl")).expect("a file").modified().expect("a time");
    drive(&mut case, 10, 4).expect("runs");
    let after = fs::metadata(case.dir.path().join("out.jsonl")).expect("a file").modified().expect("a time");
    assert_eq!(before, after, "a run without news leaves it alone");
    drive(&mut case, 15, 4).expect("runs");
    assert_eq!(case.visible(), [("out.jsonl".to_owned(), lines(0, 15))]);
}

#[test]
fn nothing_is_visible_before_it_is_finished() {
    let mut case = Case::new(json!({ "path": "out.jsonl", "rotate": { "records": 3 } }));
    let mut sink = case.open().expect("opens");
    sink.assign("t", &[0, 1]).expect("assigned");
    assert_eq!(sink.put(&records(0, 2)).expect("taken").0, 2);
    sink.flush().expect("flushed");
    assert_eq!(case.visible(), []);
    assert_eq!(sink.put(&records(2, 5)).expect("taken").0, 1, "the file is full");
    assert_eq!(sink.put(&records(3, 5)).expect("taken").0, 2);
    assert_eq!(case.visible(), [("out-000001.jsonl".to_owned(), lines(0, 3))]);
    sink.close().expect("closed");
    assert_eq!(case.visible()[1], ("out-000002.jsonl".to_owned(), lines(3, 5)));
}

#[test]
fn flush_tells_what_is_safe_and_a_start_goes_on_from_there() {
    let mut case = Case::new(json!({ "path": "out.jsonl" }));
    let mut sink = case.open().expect("opens");
    sink.assign("t", &[0, 1]).expect("assigned");
    sink.put(&records(0, 5)).expect("taken");
    let Durable::UpTo(safe) = sink.flush().expect("flushed") else {
        panic!("positions are held in the target")
    };
    let safe: Vec<_> = safe.iter().map(|at| (at.partition, at.offset)).collect();
    assert_eq!(safe, [(0, 3), (1, 2)]);
    sink.put(&records(5, 9)).expect("taken");
    drop(sink);
    let mut sink = case.open().expect("opens");
    let held: Vec<_> = sink.assign("t", &[1]).expect("assigned").iter().map(|at| at.offset).collect();
    assert_eq!(held, [2], "what was not flushed comes again");
    // The host may start earlier, at what the consumer group knows.
    sink.put(&records(0, 9)).expect("taken");
    sink.close().expect("closed");
    assert_eq!(case.text(), lines(0, 9));
}

/// Files of each kind: text that can be added to, compressed or not, and such as are none before their end.
const PATHS: [&str; 5] = ["out.jsonl", "out.jsonl.gz", "out.jsonl.zst", "out.avro", "out.parquet"];

#[test]
fn a_kill_before_any_step_loses_and_doubles_nothing() {
    let every = json!({ "records": 4 });
    let mut cases: Vec<(&str, Value)> = PATHS.map(|path| (path, every.clone())).into();
    cases.extend([
        ("out.jsonl", json!({})),
        ("out.jsonl", json!({ "bytes": "7B" })),
        ("out.parquet", json!({})),
    ]);
    for ((path, rotate), second_run) in cases.iter().flat_map(|case| [(case, false), (case, true)]) {
        let mut kills = 0;
        loop {
            let mut case = Case::new(json!({ "path": path, "rotate": rotate }));
            let mut done = 0;
            if second_run {
                drive(&mut case, 6, 5).expect("runs");
                done = 6;
            }
            kill_before(Some(kills));
            let result = drive(&mut case, 14, 5);
            kill_before(None);
            let text = case.text();
            assert!(lines(0, 14).starts_with(&text), "{path} {rotate} killed at {kills}: {text:?}");
            assert!(text.is_empty() || text.ends_with('\n'), "{path} {rotate} killed at {kills}: {text:?}");
            assert!(text.len() >= lines(0, done).len(), "{path} {rotate} killed at {kills}: {text:?}");
            drive(&mut case, 14, 5).expect("runs");
            assert_eq!(case.text(), lines(0, 14), "{path} {rotate} killed at {kills}");
            match result {
                Ok(()) => break,
                Err(error) => assert_eq!(error.code, "killed"),
            }
            kills += 1;
        }
        assert!(kills > 12, "{path} {rotate}: {kills} steps were found");
    }
}

/// Puts 14 records, and tries again what fails: the step behind `first` more, and then, if `second` is given, all from the step on that
/// is `second` behind that. Gives back whether it came to its end.
fn stumble(case: &mut Case, first: u32, second: Option<u32>) -> bool {
    let mut sink = case.open().expect("opens");
    sink.assign("t", &[0, 1]).expect("assigned");
    let mut left = case.records(0, 14);
    let mut failures = 0;
    // Whether the task may go on.
    let mut failed = || {
        kill_before(if failures == 0 { second } else { Some(0) });
        failures += 1;
        failures == 1 || second.is_none()
    };
    kill_before(Some(first));
    while !left.is_empty() {
        match sink.put(&left) {
            Ok((taken, _)) => drop(left.drain(..taken)),
            Err(_) if failed() => {}
            Err(_) => return false,
        }
        if sink.flush().is_err() && !failed() {
            return false;
        }
    }
    while sink.sink.close().is_err() {
        if !failed() {
            return false;
        }
    }
    true
}

#[test]
fn a_failure_that_is_retried_loses_and_doubles_nothing() {
    for (step, path) in (0..40).flat_map(|step| PATHS.map(|path| (step, path))) {
        let mut case = Case::new(json!({ "path": path, "rotate": { "records": 4 } }));
        assert!(stumble(&mut case, step, None));
        kill_before(None);
        assert_eq!(case.text(), lines(0, 14), "{path} failed at {step}");
    }
}

#[test]
fn a_kill_after_a_failure_that_was_retried_loses_and_doubles_nothing() {
    for path in ["out.jsonl", "out.parquet"] {
        for (step, then) in (0..30).flat_map(|step| (0..12).map(move |then| (step, then))) {
            let mut case = Case::new(json!({ "path": path, "rotate": { "records": 4 } }));
            stumble(&mut case, step, Some(then));
            kill_before(None);
            drive(&mut case, 14, 5).expect("runs");
            assert_eq!(case.text(), lines(0, 14), "{path} failed at {step}, killed {then} steps later");
        }
    }
}

#[test]
fn a_file_that_is_begun_loses_nothing_of_the_one_before() {
    for path in PATHS {
        let mut case = Case::new(json!({ "path": path, "rotate": { "records": 9 } }));
        let mut sink = case.open().expect("opens");
        sink.assign("t", &[0, 1]).expect("assigned");
        sink.put(&case.records(0, 4)).expect("taken");
        sink.flush().expect("flushed");
        // As if the file at hand had become old enough since the last look.
        sink.sink.begin().expect("begun");
        sink.put(&case.records(4, 6)).expect("taken");
        sink.close().expect("closed");
        assert_eq!(case.text(), lines(0, 6), "{path}");
    }
}

#[test]
fn a_zombie_is_refused() {
    let mut case = Case::new(json!({ "path": "out.jsonl" }));
    let mut zombie = case.open().expect("opens");
    zombie.assign("t", &[0, 1]).expect("assigned");
    zombie.put(&records(0, 4)).expect("taken");
    drive(&mut case, 6, 5).expect("the successor runs");
    assert_eq!(zombie.flush().expect_err("fenced").code, "fenced");
    assert_eq!(
        zombie.put(&records(4, 5)).map(|_| ()).and_then(|()| zombie.sink.close()).expect_err("fenced").code,
        "fenced"
    );
    assert_eq!(case.text(), lines(0, 6));
    case.task.generation -= 2;
    assert_eq!(case.open().map(|_| ()).expect_err("fenced").code, "fenced");
}

#[test]
fn tasks_have_files_of_their_own_and_inherit_positions() {
    let mut case = Case::new(json!({ "path": "out.jsonl" }));
    case.task.count = 2;
    let even: Vec<_> = records(0, 10).into_iter().filter(|record| record.partition == 0).collect();
    let odd: Vec<_> = records(0, 10).into_iter().filter(|record| record.partition == 1).collect();
    let mut first = case.open().expect("opens");
    first.assign("t", &[0]).expect("assigned");
    first.put(&even).expect("taken");
    first.close().expect("closed");
    case.task.number = 1;
    let mut second = case.open().expect("opens");
    second.assign("t", &[1]).expect("assigned");
    second.put(&odd).expect("taken");
    second.flush().expect("flushed");
    drop(second);
    assert_eq!(case.visible(), [("out-0.jsonl".to_owned(), "0\n2\n4\n6\n8\n".to_owned())]);
    // One task less: what the lost one committed is shown, and not written again.
    (case.task.number, case.task.count) = (0, 1);
    drive(&mut case, 12, 5).expect("runs");
    let names: Vec<_> = case.visible().into_iter().collect();
    assert_eq!(names[1], ("out-1.jsonl".to_owned(), "1\n3\n5\n7\n9\n".to_owned()));
    assert_eq!(names[2], ("out.jsonl".to_owned(), "10\n11\n".to_owned()));
}

#[test]
fn a_path_belongs_to_one_sink() {
    let mut case = Case::new(json!({ "path": "out.jsonl" }));
    drive(&mut case, 1, 1).expect("runs");
    case.task.connector = "other".to_owned();
    let error = case.open().map(|_| ()).expect_err("another's");
    assert_eq!(error.code, "state.foreign");
    assert!(error.message.ends_with("belongs to test; give other another path"), "{error}");
}

#[test]
fn a_file_that_was_there_is_kept() {
    let mut case = Case::new(json!({ "path": "out.jsonl" }));
    fs::write(case.dir.path().join("out.jsonl"), "\"mine\"").expect("written");
    drive(&mut case, 2, 2).expect("runs");
    assert_eq!(case.text(), "\"mine\"\n0\n1\n");
    let mut case = Case::new(json!({ "path": "out.jsonl", "rotate": { "records": 9 } }));
    fs::write(case.dir.path().join("out-000001.jsonl"), "\"mine\"\n").expect("written");
    drive(&mut case, 2, 2).expect("runs");
    assert_eq!(case.text(), "\"mine\"\n0\n1\n");
}

#[test]
fn a_file_that_is_old_enough_is_finished_by_flush() {
    for path in PATHS {
        let mut case = Case::new(json!({ "path": path, "rotate": { "every": "10s" } }));
        let mut sink = case.open().expect("opens");
        sink.put(&case.records(0, 2)).expect("taken");
        advance(9_999);
        sink.flush().expect("flushed");
        assert_eq!(case.visible(), [], "{path}");
        advance(1);
        sink.flush().expect("flushed");
        assert_eq!(case.visible(), [(path.replace("out", "out-000001"), lines(0, 2))]);
    }
}

/// Writes these values and gives back the file and the codes of what was rejected.
fn encoded(settings: Value, values: &[Option<&str>]) -> (String, Vec<(u32, String)>) {
    let mut case = Case::new(settings);
    let mut sink = case.open().expect("opens");
    let records: Vec<_> = values
        .iter()
        .zip(0..)
        .map(|(value, offset)| {
            Record { value: value.map(|value| value.as_bytes().to_vec()), ..Record::value("") }
                .at("t", 0, offset)
        })
        .collect();
    let (taken, rejected) = sink.put(&records).expect("taken");
    assert_eq!(taken, values.len());
    sink.close().expect("closed");
    (case.text(), rejected.into_iter().map(|(index, why)| (index, why.code)).collect())
}

#[test]
fn json_lines() {
    let values = [Some("{\"a\":\n 1.0}"), Some("no"), None, Some(" [2] "), Some("{}{}"), Some("")];
    let (text, rejected) = encoded(json!({ "path": "o.jsonl" }), &values);
    assert_eq!(text, "{\"a\":  1.0}\nnull\n[2]\n");
    assert_eq!(rejected, [1, 4, 5].map(|index| (index, "json.syntax".to_owned())));
}

#[test]
fn plain_lines() {
    let (text, rejected) =
        encoded(json!({ "path": "o.txt" }), &[Some("a b"), Some("a\nb"), None, Some("\u{e4}")]);
    assert_eq!(text, "a b\n\n\u{e4}\n");
    assert_eq!(rejected, [(1, "line.break".to_owned())]);
}

#[test]
fn csv_with_columns_of_the_first_record() {
    let values = [
        Some(r#"{"b c":"x","a":1.50,"d.e":null}"#),
        Some("[]"),
        Some(r#"{"a":"say \"hi\",\nyou","b c":{"k": [1]},"other":1}"#),
        Some("{\"a\":tru}"),
        None,
    ];
    let (text, rejected) = encoded(json!({ "path": "o.csv" }), &values);
    assert_eq!(text, "b c,a,d.e\nx,1.50,\n\"{\"\"k\"\": [1]}\",\"say \"\"hi\"\",\nyou\",\n");
    let codes: Vec<_> = rejected.iter().map(|(index, code)| (*index, code.as_str())).collect();
    assert_eq!(codes, [(1, "csv.object"), (3, "json.syntax"), (4, "csv.object")]);
}

#[test]
fn csv_with_chosen_columns() {
    let settings = json!({ "path": "o.csv", "columns": ["a.b[0]"], "delimiter": ";", "header": false });
    let (text, _) =
        encoded(settings, &[Some(r#"{"a":{"b":["x;y"]}}"#), Some("{}"), Some(r#"{"a":{"b":[true]}}"#)]);
    assert_eq!(text, "\"x;y\"\n\"\"\ntrue\n");
}

#[test]
fn csv_keeps_its_columns_and_its_one_header() {
    let mut case = Case::new(json!({ "path": "o.csv" }));
    for (offset, value) in [r#"{"a":1,"b":2}"#, r#"{"b":3,"a":4}"#].into_iter().enumerate() {
        let mut sink = case.open().expect("opens");
        sink.put(&[Record::value(value).at("t", 0, offset as i64)]).expect("taken");
        sink.close().expect("closed");
    }
    assert_eq!(case.text(), "a,b\n1,2\n4,3\n");
}

#[test]
fn rejected_records_alone_make_no_file() {
    let mut case = Case::new(json!({ "path": "o.jsonl" }));
    let mut sink = case.open().expect("opens");
    sink.assign("t", &[0]).expect("assigned");
    sink.put(&[Record::value("no").at("t", 0, 7)]).expect("taken");
    sink.close().expect("closed");
    assert_eq!(case.visible(), []);
    let held = case.open().expect("opens").assign("t", &[0]).expect("assigned");
    assert_eq!(held.iter().map(|at| at.offset).collect::<Vec<_>>(), [8]);
}

#[test]
fn settings_that_make_no_sense_are_found() {
    let problems = |settings: Value| {
        let settings = serde_json::from_value(settings).expect("settings");
        FileSink::validate(&settings)
            .expect("validates")
            .into_iter()
            .map(|problem| problem.path)
            .collect::<Vec<_>>()
    };
    assert_eq!(problems(json!({ "path": "a.csv", "columns": ["a", "b.c"] })), [""; 0]);
    assert_eq!(
        problems(json!({ "path": "a/", "delimiter": "ä", "columns": ["a["] })),
        ["/path", "/delimiter", "/columns", "/columns/0"]
    );
    assert_eq!(
        problems(json!({ "path": "a", "rotate": { "bytes": "0B", "every": "0s" } })),
        ["/rotate/bytes", "/rotate/every"]
    );
    assert_eq!(problems(json!({ "path": "a.jsonl.zst" })), [""; 0]);
    assert_eq!(problems(json!({ "path": "a.jsonl.zst", "compression": "gzip" })), ["/path"]);
    assert_eq!(
        problems(
            json!({ "path": "a", "compression": "snappy", "schema": "x", "behavior_on_null_values": "fail" })
        ),
        ["/compression", "/schema", "/behavior_on_null_values"]
    );
    assert_eq!(
        problems(json!({ "path": "a.parquet.gz", "compression": "zstd", "schema": "x", "columns": ["a"] })),
        ["/path", "/compression", "/schema", "/columns"]
    );
    assert_eq!(problems(json!({ "path": "a.avro", "compression": "zstd" })), [""; 0]);
    assert_eq!(problems(json!({ "path": "a.avro", "format": "parquet" })), ["/path"]);
    assert_eq!(problems(json!({ "path": "a.parquet", "format": "jsonl" })), ["/path"]);
    assert_eq!(problems(json!({ "path": "a.csv", "format": "lines" })), [""; 0]);
}
