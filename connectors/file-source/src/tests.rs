//! The source as the host drives it, over real files.

mod whole;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use millrace_sdk::testing::{Polled, SourceTest, check_description};
use millrace_sdk::{Checkpoint, Flow, PollLimits, Source};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{FileSource, Reads};

/// A folder with files, and the positions committed so far.
struct Case {
    dir: TempDir,
    settings: Value,
    committed: Vec<Checkpoint>,
}

impl Case {
    fn new(mut settings: Value) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for name in ["path", "folder", "glob"] {
            if let Some(path) = settings[name].as_str() {
                settings[name] = format!("{}/{path}", dir.path().display()).into();
            }
        }
        Self { dir, settings, committed: Vec::new() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("written");
    }

    fn append(&self, name: &str, text: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.path(name));
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("appended");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    /// A task that starts at what was committed.
    fn open(&self) -> SourceTest<FileSource> {
        let mut test = SourceTest::<FileSource>::open(&self.settings.to_string(), self.committed.clone())
            .expect("opens");
        for track in &mut test.source.tracks {
            match track {
                Reads::Track(track) => track.set_grace(Duration::ZERO),
                Reads::Whole(whole) => whole.set_quiet(Duration::ZERO),
            }
        }
        test
    }

    fn commit(&mut self, polled: &Polled) {
        for new in &polled.checkpoints {
            self.committed.retain(|known| known.partition != new.partition);
            self.committed.push(new.clone());
        }
    }

    /// Polls until there is nothing more, committing each poll; values of the good records.
    fn drain(&mut self, test: &mut SourceTest<FileSource>) -> Vec<String> {
        let mut values = Vec::new();
        let mut idle = 0;
        while idle < 3 {
            let polled =
                test.poll_within(PollLimits { records: 2, bytes: 1 << 20, wait_ms: 0 }).expect("polls");
            values.extend(good(&polled));
            self.commit(&polled);
            match polled.flow {
                Flow::More => {}
                Flow::End => break,
                Flow::Idle(_) => idle += 1,
            }
        }
        values
    }

    fn run(&mut self) -> Vec<String> {
        let mut test = self.open();
        self.drain(&mut test)
    }

    fn rejections(&self) -> Vec<String> {
        let polled = self.open().poll().expect("polls");
        let dir = format!("{}/", self.dir.path().display());
        polled.rejected.iter().map(|(_, why)| why.to_string().replace(&dir, "")).collect()
    }
}

fn good(polled: &Polled) -> Vec<String> {
    let rejected: Vec<u32> = polled.rejected.iter().map(|(index, _)| *index).collect();
    let good = polled.records.iter().enumerate().filter(|(index, _)| !rejected.contains(&(*index as u32)));
    good.map(|(_, record)| record.text()).collect()
}

#[test]
fn the_description_is_complete() {
    check_description(&FileSource::describe()).expect("a complete description");
}

#[test]
fn csv_becomes_objects_keyed_by_a_column() {
    let mut case = Case::new(
        json!({ "path": "in.csv", "key": "Origin State", "types": { "cost": "number", "ok": "boolean" } }),
    );
    case.write(
        "in.csv",
        "Origin State,cost,note,ok\r\nLouisiana,10,\"a \"\"b\"\",\nc\",true\r\n\n,,x\\y,\nUtah,1.50,,false",
    );
    let polled = case.open().poll().expect("polls");
    let keys: Vec<_> = polled.records.iter().map(|record| record.key.clone()).collect();
    assert_eq!(keys, [Some(b"Louisiana".to_vec()), None, Some(b"Utah".to_vec())]);
    assert_eq!(
        case.run(),
        [
            r#"{"Origin State":"Louisiana","cost":10,"note":"a \"b\",\nc","ok":true}"#,
            r#"{"Origin State":"","cost":null,"note":"x\\y","ok":null}"#,
            r#"{"Origin State":"Utah","cost":1.50,"note":"","ok":false}"#,
        ]
    );
    assert_eq!(case.run(), [""; 0]);
}

#[test]
fn several_fields_make_an_object_key() {
    let case = Case::new(json!({ "path": "in.csv", "key": ["b", "a"] }));
    case.write("in.csv", "a,b\n1,\"x\"\"\"\n");
    let polled = case.open().poll().expect("polls");
    assert_eq!(polled.records[0].key.as_deref(), Some(&br#"{"b":"x\"","a":"1"}"#[..]));
    let case = Case::new(json!({ "path": "in.jsonl", "key": ["b.c", "a"] }));
    case.write("in.jsonl", "{\"a\": 1.0, \"b\": {\"c\": [1]}}\n{}\n");
    let polled = case.open().poll().expect("polls");
    assert_eq!(polled.records[0].key.as_deref(), Some(&br#"{"b.c":[1],"a":1.0}"#[..]));
    assert_eq!(polled.records[1].key.as_deref(), Some(&br#"{"b.c":null,"a":null}"#[..]));
}

#[test]
fn bad_lines_are_rejected_with_their_place() {
    let case = Case::new(json!({ "path": "in.csv", "types": { "n": "number" } }));
    case.write("in.csv", b"n,t\n1,a\nx,b\n2\n3,\"c\"d\n4,\xff\n5,e\n6,\"never\n7,f\n");
    assert_eq!(
        case.rejections(),
        [
            "in.csv:3:1: column n: \"x\" is no number (csv.type)",
            "in.csv:4:1: 1 fields where 2 columns are expected (csv.columns)",
            "in.csv:5:6: text after a closing quote; a quote within a quoted field is written twice (csv.quote)",
            "in.csv:6:3: text that is not UTF-8; convert the file (csv.utf8)",
            "in.csv:8:3: a quote that is never closed (csv.quote)",
        ]
    );
    let good = good(&case.open().poll().expect("polls"));
    assert_eq!(good, [r#"{"n":1,"t":"a"}"#, r#"{"n":5,"t":"e"}"#, r#"{"n":7,"t":"f"}"#]);

    let case = Case::new(json!({ "path": "in.jsonl" }));
    case.write("in.jsonl", "{\"a\": 1}\n{\"a\": }\n\n[2]\n");
    assert_eq!(case.rejections().len(), 1);
    assert!(case.rejections()[0].starts_with("in.jsonl:2:1: not a JSON document"), "{:?}", case.rejections());
}

#[test]
fn a_line_that_is_too_long_costs_itself_only() {
    for format in ["lines", "jsonl", "csv"] {
        let mut case =
            Case::new(json!({ "path": "in", "format": format, "max_line": "64B", "header": ["a"] }));
        let long = "1".repeat(700_000);
        case.write("in", format!("1\n{long}\n2\n{long}"));
        assert_eq!(case.rejections().len(), 2, "{format}");
        assert!(
            case.rejections()[0].starts_with("in:2:1: a line of more than 64 bytes"),
            "{:?}",
            case.rejections()
        );
        assert_eq!(case.run().len(), 2, "{format}");
    }
    let mut case = Case::new(json!({ "path": "in.csv", "max_line": "64B", "header": ["a"] }));
    case.write("in.csv", format!("1\n\"open\n{}", "2\n".repeat(100_000)));
    assert!(case.rejections()[0].contains("in.csv:2:1: a line of more than 64 bytes (max_line), by a quote"));
    assert_eq!(case.run().len(), 100_001);
}

#[test]
fn columns_that_are_not_there_are_named() {
    let case = Case::new(json!({ "path": "in.csv", "key": "State" }));
    case.write("in.csv", "state,state,\n1,2,3\n");
    let error = case.open().poll().expect_err("no such column");
    assert!(
        error.message.ends_with("there is no column \"State\"; there are state, state_2, column_3"),
        "{error}"
    );
}

#[test]
fn a_bounded_read_resumes_and_takes_the_last_line_without_its_end() {
    let mut case = Case::new(json!({ "path": "in.csv" }));
    case.write("in.csv", "\u{feff}a\n1\n2\n3");
    let mut test = case.open();
    let first = test.poll_within(PollLimits { records: 2, bytes: 1 << 20, wait_ms: 0 }).expect("polls");
    assert_eq!(good(&first), [r#"{"a":"1"}"#, r#"{"a":"2"}"#]);
    case.commit(&first);
    drop(test);
    assert_eq!(case.run(), [r#"{"a":"3"}"#]);
    assert_eq!(case.run(), [""; 0]);
    case.append("in.csv", "\n4\n");
    assert_eq!(case.run(), [r#"{"a":"4"}"#]);
    case.write("in.csv", "b\n9\n");
    assert_eq!(case.run(), [r#"{"b":"9"}"#], "another content is another file");
}

#[test]
fn a_followed_file_waits_for_the_rest_of_a_line() {
    let mut case = Case::new(json!({ "path": "app.log", "follow": true }));
    let mut test = case.open();
    assert_eq!(case.drain(&mut test), [""; 0], "it is not there yet");
    case.append("app.log", "one\ntw");
    assert_eq!(case.drain(&mut test), ["one"]);
    case.append("app.log", "o\n");
    assert_eq!(case.drain(&mut test), ["two"]);
    assert_eq!(case.run(), [""; 0]);
}

#[test]
fn a_followed_file_that_was_empty_is_read_once() {
    for first in ["", "on"] {
        let mut case = Case::new(json!({ "path": "app.log", "follow": true }));
        case.write("app.log", first);
        let mut test = case.open();
        assert_eq!(case.drain(&mut test), [""; 0]);
        case.append("app.log", &"one\n"[first.len()..]);
        assert_eq!(case.drain(&mut test), ["one"]);
        case.append("app.log", "two\n");
        assert_eq!(case.drain(&mut test), ["two"]);
        drop(test);
        assert_eq!(case.run(), [""; 0]);
    }
}

#[test]
fn followed_files_that_are_empty_are_not_taken_for_each_other() {
    let mut case = Case::new(json!({ "folder": ".", "follow": true, "format": "lines" }));
    case.write("a.log", "");
    case.write("a.new.log", "");
    let mut test = case.open();
    assert_eq!(case.drain(&mut test), [""; 0]);
    case.append("a.new.log", "2\n");
    case.append("a.log", "1\n");
    assert_eq!(case.drain(&mut test), ["1", "2"]);
    drop(test);
    assert_eq!(case.run(), [""; 0]);
}

#[test]
fn an_empty_file_that_is_replaced_or_rotated_gives_way_to_the_next() {
    let mut case = Case::new(json!({ "path": "app.log", "follow": true }));
    case.write("app.log", "");
    let mut test = case.open();
    assert_eq!(case.drain(&mut test), [""; 0]);
    case.rename("app.log", "app.log.1");
    assert_eq!(case.drain(&mut test), [""; 0]);
    case.write("app.log", "");
    assert_eq!(case.drain(&mut test), [""; 0]);
    case.append("app.log", "1\n");
    assert_eq!(case.drain(&mut test), ["1"]);
    case.write("next", "2\n");
    case.rename("next", "app.log");
    assert_eq!(case.drain(&mut test), ["2"]);
    drop(test);
    assert_eq!(case.run(), [""; 0]);
}

#[test]
fn a_first_line_without_its_end_is_not_mixed_with_what_replaces_it() {
    let mut case = Case::new(json!({ "path": "app.log", "follow": true }));
    case.write("app.log", "half");
    let mut test = case.open();
    assert_eq!(case.drain(&mut test), [""; 0]);
    case.rename("app.log", "app.log.1");
    case.write("app.log", "next\nha");
    assert_eq!(case.drain(&mut test), ["half", "next"]);
    drop(test);

    let mut case = Case::new(json!({ "path": "app.log", "follow": true }));
    case.write("app.log", "half");
    let mut test = case.open();
    assert_eq!(case.drain(&mut test), [""; 0]);
    case.write("app.log", "");
    assert_eq!(case.drain(&mut test), [""; 0]);
    case.append("app.log", "whole\n");
    assert_eq!(case.drain(&mut test), ["whole"]);
}

#[test]
fn a_name_that_comes_back_to_its_file_is_not_read_again() {
    let mut case = Case::new(json!({ "path": "app.log", "follow": true }));
    case.write("app.log", "1\n");
    let mut test = case.open();
    assert_eq!(case.drain(&mut test), ["1"]);
    case.rename("app.log", "elsewhere");
    case.write("app.log", "");
    test.poll().expect("polls");
    case.rename("elsewhere", "app.log");
    case.append("app.log", "2\n");
    assert_eq!(case.drain(&mut test), ["2"]);
}

#[test]
fn a_restart_between_two_rotated_files_loses_neither() {
    let mut case = Case::new(json!({ "folder": ".", "follow": true, "format": "lines" }));
    case.write("app.log.2", "1\n2\n");
    pause();
    case.write("app.log.1", "3\n");
    pause();
    case.write("app.log", "");
    for expected in [&["1"][..], &["2"], &["3"], &[]] {
        let mut test = case.open();
        let polled = test.poll_within(PollLimits { records: 1, bytes: 1 << 20, wait_ms: 0 }).expect("polls");
        case.commit(&polled);
        assert_eq!(good(&polled), expected);
    }
    case.rename("app.log.2", "app.log.3");
    case.rename("app.log.1", "app.log.2");
    case.append("app.log", "4\n");
    case.rename("app.log", "app.log.1");
    case.write("app.log", "5\n");
    assert_eq!(case.run(), ["4", "5"]);
    assert_eq!(case.run(), [""; 0]);
}

#[test]
fn rotation_by_rename_loses_and_doubles_nothing() {
    for settings in [
        json!({ "path": "app.log", "follow": true }),
        json!({ "folder": ".", "follow": true, "format": "lines" }),
    ] {
        let mut case = Case::new(settings);
        case.write("app.log", "1\n2\n");
        let mut test = case.open();
        assert_eq!(case.drain(&mut test), ["1", "2"]);
        case.append("app.log", "3\n");
        case.rename("app.log", "app.log.1");
        case.append("app.log.1", "4\nhalf");
        case.write("app.log", "5\n");
        assert_eq!(case.drain(&mut test), ["3", "4", "half", "5"]);
        drop(test);
        assert_eq!(case.run(), [""; 0]);

        // Twice while nobody looked.
        case.append("app.log", "6\n");
        case.rename("app.log.1", "app.log.2");
        case.rename("app.log", "app.log.1");
        pause();
        case.write("app.log", "7\n");
        case.rename("app.log.2", "app.log.3");
        case.rename("app.log.1", "app.log.2");
        case.rename("app.log", "app.log.1");
        pause();
        case.write("app.log", "8\n");
        assert_eq!(case.run(), ["6", "7", "8"]);
        assert_eq!(case.run(), [""; 0]);
    }
}

#[test]
fn rotation_by_copy_and_truncate_loses_and_doubles_nothing() {
    let mut case = Case::new(json!({ "path": "app.log", "follow": true }));
    case.write("app.log", "1\n2\n3\n");
    let mut test = case.open();
    assert_eq!(case.drain(&mut test), ["1", "2", "3"]);
    case.append("app.log", "4\n");
    fs::copy(case.path("app.log"), case.path("app.log.1")).expect("copied");
    case.write("app.log", "");
    case.append("app.log", "5\n");
    assert_eq!(case.drain(&mut test), ["4", "5"]);
    drop(test);
    assert_eq!(case.run(), [""; 0]);
    // Without a copy the rest is gone; what comes is read.
    case.write("app.log", "");
    let mut test = case.open();
    case.append("app.log", "6\n");
    assert_eq!(case.drain(&mut test), ["6"]);
}

/// A file system may count times so coarsely that several rotations have one.
#[test]
fn rotations_of_one_moment_are_told_apart_by_their_names() {
    let moment = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let names = [
        ["app.log.10", "app.log.9", "app.log.2", "app.log.1"],
        ["app.log-20260130", "app.log-20260131", "app.log-20260201", "app.log-20260202"],
    ];
    for [oldest, read, later, last] in names {
        let mut case = Case::new(json!({ "path": "app.log", "follow": true }));
        case.write("app.log", "1\n2\n");
        assert_eq!(case.run(), ["1", "2"]);
        case.append("app.log", "3\n");
        case.rename("app.log", read);
        for (name, text) in [(oldest, "0\n"), (later, "4\n"), (last, "5\n")] {
            case.write(name, text);
        }
        for name in [oldest, read, later, last] {
            let file = OpenOptions::new().append(true).open(case.path(name)).expect("opened");
            file.set_modified(moment).expect("set");
        }
        case.write("app.log", "6\n");
        assert_eq!(case.run(), ["3", "4", "5", "6"], "{read}");
        assert_eq!(case.run(), [""; 0], "{read}");
    }
}

/// Who reads is far behind when the file is copied away and truncated, and the new content is longer than what was read by then.
#[test]
fn a_copy_and_truncation_that_nobody_saw_loses_and_doubles_nothing() {
    let mut case = Case::new(json!({ "path": "app.log", "follow": true }));
    let lines = |from: u32| (from..from + 3_000).map(|n| format!("{n:0>99}")).collect::<Vec<_>>();
    let text = |lines: &[String]| lines.join("\n") + "\n";
    let (old, new) = (lines(0), lines(5_000));
    case.write("app.log", text(&old));
    let mut test = case.open();
    let mut found = Vec::new();
    while found.len() < 1_000 {
        let polled =
            test.poll_within(PollLimits { records: 100, bytes: 1 << 20, wait_ms: 0 }).expect("polls");
        found.extend(good(&polled));
        case.commit(&polled);
    }
    fs::copy(case.path("app.log"), case.path("app.log.1")).expect("copied");
    case.write("app.log", text(&new));
    found.extend(case.drain(&mut test));
    assert!(found == [old, new].concat(), "{} lines", found.len());
    drop(test);
    assert_eq!(case.run(), [""; 0]);
}

#[test]
fn other_content_under_the_same_name_is_read_from_its_start() {
    let mut case = Case::new(json!({ "path": "data.txt", "follow": true }));
    case.write("data.txt", "1\n2\n");
    let mut test = case.open();
    assert_eq!(case.drain(&mut test), ["1", "2"]);
    case.write("data.txt", "one\ntwo\nthree\n");
    assert_eq!(case.drain(&mut test), ["one", "two", "three"]);
    // A line that had no end was another one, too.
    case.append("data.txt", "fo");
    assert_eq!(case.drain(&mut test), [""; 0]);
    case.write("data.txt", "one\ntwo\nthree\nFIVE\n");
    assert_eq!(case.drain(&mut test), ["FIVE"]);
}

#[test]
fn a_folder_is_dealt_out_and_new_files_are_found() {
    let case = Case::new(json!({ "folder": "in" }));
    fs::create_dir(case.path("in")).expect("made");
    fs::create_dir(case.path("in/sub")).expect("made");
    for (name, text) in [("a", "aaaaaaaaaa\n"), ("b", "b\n"), ("c", "c\n"), (".hidden", "x\n")] {
        case.write(&format!("in/{name}"), text);
    }
    let config = case.settings.to_string();
    let settings = serde_json::from_str(&config).expect("settings");
    let shares = FileSource::plan(&settings, &config, 2).expect("a plan");
    let read = |share: &String| {
        let polled = SourceTest::<FileSource>::open(share, Vec::new()).expect("opens").poll().expect("polls");
        good(&polled)
    };
    let values: Vec<_> = shares.iter().map(read).collect();
    assert_eq!(values, [vec!["aaaaaaaaaa"], vec!["b", "c"]]);

    let mut case = Case::new(json!({ "glob": "*.txt", "follow": true }));
    case.write("a.txt", "1\n");
    case.write("a.csv", "no\n");
    let mut test = case.open();
    assert_eq!(case.drain(&mut test), ["1"]);
    case.write("b.txt", "1\n");
    test.source.list().expect("lists");
    assert_eq!(case.drain(&mut test), ["1"], "the same content under another name is another file");
    drop(test);
    assert_eq!(case.run(), [""; 0]);
}

#[test]
fn a_poll_that_failed_is_repeated_whole() {
    let mut case = Case::new(json!({ "folder": "." , "format": "lines" }));
    case.write("a", "1\n");
    case.write("b", "2\n");
    let mut test = case.open();
    fs::remove_file(case.path("b")).expect("removed");
    let error = test.poll().expect_err("b is gone");
    assert!(error.code == "file.missing" && error.message.contains("/b:"), "{error}");
    case.write("b", "2\n");
    assert_eq!(case.drain(&mut test), ["1", "2"]);
}

#[test]
fn settings_that_contradict_are_found() {
    let problems = |settings: Value| {
        let settings = serde_json::from_value(settings).expect("settings");
        FileSource::validate(&settings)
            .expect("validates")
            .into_iter()
            .map(|problem| problem.path)
            .collect::<Vec<_>>()
    };
    assert_eq!(problems(json!({ "path": "a.csv" })), [""; 0]);
    assert_eq!(problems(json!({ "path": "a.csv", "glob": "**/x" })), ["", "/glob"]);
    assert_eq!(
        problems(json!({ "path": "a.csv", "delimiter": "ä", "quote": "\n" })),
        ["/delimiter", "/quote"]
    );
    assert_eq!(problems(json!({ "path": "a.log", "key": "a" })), ["/key"]);
    assert_eq!(problems(json!({ "path": "a.csv", "key": "a", "header": ["b"] })), ["/key"]);
    assert_eq!(problems(json!({ "path": "a.csv", "header": false })), ["/header"]);
    assert_eq!(
        problems(json!({ "path": "a", "max_line": "1B", "poll_every": "1ms" })),
        ["/max_line", "/poll_every"]
    );
}

/// Change times are compared; this is longer than their grain.
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

#[test]
fn missing_files_say_so() {
    let case = Case::new(json!({ "path": "none.csv" }));
    assert!(!Path::new(&case.path("none.csv")).exists());
    assert_eq!(case.open().poll().expect_err("nothing there").code, "file.missing");
}
