//! Manifests are merged when there are many, and say the same afterwards.

use millrace_sdk::Error;
use millrace_sdk::object_store::{Condition, Refusal, Store};
use millrace_sdk::testing::clock::advance;
use millrace_sdk::testing::object_store::{Fate, bucket};
use millrace_sdk::testing::{Record, SinkTest};
use serde_json::{Value, json};

use super::read::{entries, metadata, rows, unreachable};
use super::{Case, numbers, numbers_there};

/// Merged from four on; `further` are other properties.
fn case(further: Value, settings: Value) -> Case {
    let mut properties = json!({ "commit.manifest.min-count-to-merge": "4" });
    properties.as_object_mut().expect("an object").extend(further.as_object().expect("an object").clone());
    let mut case = Case::new(settings);
    case.settings["table_properties"] = properties;
    case
}

fn commits(case: &mut Case, from: i64, count: i64) {
    let mut sink = case.assigned();
    for n in from..from + count {
        sink.put(&numbers(n, n + 1)).expect("taken");
        sink.sink.commit().expect("committed");
        advance(1_000);
    }
}

#[test]
fn what_is_said_of_files_is_kept() {
    for catalog in [json!({}), json!({ "catalog_connection": "catalog", "catalog_warehouse": "birds" })] {
        let mut plain = Case::new(catalog.clone());
        plain.settings["partition_by"] = json!(["truncate(n, 2)"]);
        commits(&mut plain, 0, 11);
        let without: Vec<Value> = entries();
        let mut merging = case(json!({}), catalog);
        merging.settings["partition_by"] = json!(["truncate(n, 2)"]);
        commits(&mut merging, 0, 11);
        assert_eq!(numbers_there(), (0..11).collect::<Vec<_>>());
        let with = entries();
        let told = |entries: &[Value]| -> Vec<Value> {
            let mut told: Vec<Value> = entries
                .iter()
                .map(|entry| {
                    let mut file = entry["data_file"].clone();
                    assert_eq!(file["file_path"].as_str().map(|path| path.contains("/data/")), Some(true));
                    // Names and sizes are each run's own.
                    file["file_path"] = Value::Null;
                    json!([entry["sequence_number"], file])
                })
                .collect();
            told.sort_by_key(ToString::to_string);
            told
        };
        assert_eq!(told(&with), told(&without));
        let existing = with.iter().filter(|entry| entry["status"] == 0).count();
        // The fifth commit merges the four before it, and so does each third one then.
        assert_eq!(existing, 10, "{with:?}");
        assert_eq!(unreachable(), [""; 0]);
    }
}

/// Avro allows no spaces in names: what is written under another name is found again.
#[test]
fn partitions_of_any_name_are_kept() {
    let fill = |mut case: Case| {
        case.settings["partition_by"] = json!(["Wildlife Size"]);
        let mut sink = case.assigned();
        for n in 0..9 {
            let size = ["Small", "Large"][n as usize % 2];
            let value = json!({ "n": n, "Wildlife Size": size }).to_string();
            sink.put(&[Record::value(value).at("t", 0, n)]).expect("taken");
            sink.sink.commit().expect("committed");
            advance(1_000);
        }
        let entries = entries();
        let mut partitions: Vec<String> =
            entries.iter().map(|entry| entry["data_file"]["partition"].to_string()).collect();
        partitions.sort_unstable();
        (partitions, entries.iter().filter(|entry| entry["status"] == 0).count())
    };
    let (plain, merged) = (fill(Case::new(json!({}))), fill(case(json!({}), json!({}))));
    assert!(plain.0[0].contains("Large"), "{plain:?}");
    assert_eq!(plain.0, merged.0);
    assert_eq!((plain.1, merged.1 > 0), (0, true));
}

#[test]
fn only_what_the_table_wants_is_merged() {
    for property in [
        json!({ "commit.manifest-merge.enabled": false }),
        json!({ "commit.manifest.target-size-bytes": 100 }),
    ] {
        let mut case = case(property, json!({}));
        commits(&mut case, 0, 9);
        assert!(entries().iter().all(|entry| entry["status"] == 1));
        assert_eq!(numbers_there(), (0..9).collect::<Vec<_>>());
    }
}

#[test]
fn manifests_of_another_make_stay_as_they_are() {
    let mut case = case(json!({}), json!({}));
    commits(&mut case, 0, 2);
    // One of ours is replaced by what another writer makes of it: the same, in fewer columns.
    let key = bucket().objects().into_keys().find(|key| key.ends_with("-manifest.avro")).expect("a manifest");
    let theirs = super::read::with_fewer_columns(&bucket().objects()[&key]);
    super::read::replace_manifest(&key, &theirs);
    commits(&mut case, 2, 9);
    assert_eq!(numbers_there(), (0..11).collect::<Vec<_>>());
    assert_eq!(bucket().objects()[&key], theirs);
    let there: Vec<Value> = entries().into_iter().filter(|entry| entry["status"] == 1).collect();
    assert!(there.iter().any(|entry| entry["data_file"].get("split_offsets").is_none()), "{there:?}");
    assert!(entries().iter().any(|entry| entry["status"] == 0));
    assert_eq!(rows().len(), 11);
    assert_eq!(metadata()["snapshots"].as_array().map(Vec::len), Some(11));
}

fn fill(sink: &mut SinkTest<crate::IcebergSink>, numbers: std::ops::Range<i64>) {
    for n in numbers {
        let value = json!({ "n": n, "k": (["a", "b"][n as usize % 2]) }).to_string();
        sink.put(&[Record::value(value).at("t", 0, n)]).expect("taken");
        advance(300_000);
        sink.flush().expect("flushed");
    }
}

#[test]
fn small_files_become_one() {
    for catalog in [json!({}), json!({ "catalog_connection": "catalog", "catalog_warehouse": "birds" })] {
        let mut case = Case::new(catalog);
        case.settings["merge_files"] = json!(true);
        case.settings["partition_by"] = json!(["k"]);
        let mut sink = case.assigned();
        fill(&mut sink, 0..5);
        // Three of partition a were one at once.
        let files = entries().into_iter().filter(|entry| entry["status"] != 2);
        let mut told: Vec<(i64, i64)> = files
            .map(|entry| {
                let number = |value: &Value| value.as_i64().expect("a number");
                (number(&entry["data_file"]["record_count"]), number(&entry["status"]))
            })
            .collect();
        told.sort_unstable();
        assert_eq!(told, [(1, 1), (1, 1), (3, 1)]);
        let table = metadata();
        let snapshots = table["snapshots"].as_array().expect("snapshots");
        let summary = &snapshots.last().expect("a snapshot")["summary"];
        for (name, wanted) in [
            ("operation", "replace"),
            ("added-data-files", "1"),
            ("deleted-data-files", "3"),
            ("added-records", "3"),
            ("deleted-records", "3"),
            ("total-data-files", "3"),
            ("total-records", "5"),
        ] {
            assert_eq!(summary[name], wanted, "{name}");
        }
        assert_eq!(numbers_there(), [0, 1, 2, 3, 4]);
        // What is there still is that of earlier snapshots.
        assert_eq!(unreachable(), [""; 0]);
        fill(&mut sink, 5..40);
        sink.close().expect("closes");
        assert_eq!(numbers_there(), (0..40).collect::<Vec<_>>());
        let live = entries().into_iter().filter(|entry| entry["status"] != 2).count();
        assert!(live < 20, "{live} files");
    }
}

/// Columns that came later are in other files, and these are not merged with those before.
#[test]
fn files_of_other_columns_stay_apart() {
    let mut case = Case::new(json!({ "merge_files": true, "auto_evolve": true }));
    let mut sink = case.assigned();
    for n in 0..9 {
        let mut value = json!({ "n": n });
        if n >= 5 {
            value["late"] = json!(n);
        }
        sink.put(&[Record::value(value.to_string()).at("t", 0, n)]).expect("taken");
        advance(300_000);
        sink.flush().expect("flushed");
    }
    let mut counts: Vec<i64> = entries()
        .iter()
        .filter(|entry| entry["status"] != 2)
        .map(|entry| entry["data_file"]["record_count"].as_i64().expect("a count"))
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 1, 3, 3]);
    assert_eq!(numbers_there(), (0..9).collect::<Vec<_>>());
    assert_eq!(rows().iter().filter(|row| row["late"].is_i64()).count(), 4);
}

/// A file that isn't as it was written, or not there: it and its like are left alone, and the sink goes on.
#[test]
fn what_is_not_as_it_was_is_not_merged() {
    for broken in [None, Some(b"PAR1".to_vec()), Some(Vec::new())] {
        let mut case = Case::new(json!({ "merge_files": true }));
        let mut sink = case.assigned();
        fill(&mut sink, 0..2);
        let small =
            bucket().objects().into_keys().find(|key| key.ends_with(".parquet")).expect("a data file");
        let written = bucket().objects()[&small].clone();
        let store = Store::new("lake");
        match broken {
            // As long as it was.
            Some(bytes) if bytes.is_empty() => store.put(&small, vec![7; written.len()], Condition::Always),
            Some(bytes) => store.put(&small, bytes, Condition::Always),
            None => store.delete(&small).map(|()| String::new()),
        }
        .expect("changed");
        fill(&mut sink, 2..3);
        store.put(&small, written, Condition::Always).expect("put");
        assert_eq!(numbers_there(), [0, 1, 2]);
        assert!(entries().iter().all(|entry| entry["status"] == 1));
        assert_eq!(unreachable(), [""; 0]);
        fill(&mut sink, 3..6);
        assert_eq!(numbers_there(), (0..6).collect::<Vec<_>>());
        assert!(entries().iter().any(|entry| entry["status"] == 2), "others are merged");
    }
}

/// The merged file is there, and nobody knows it; rows come meanwhile, and a kill behind the next commit.
#[test]
fn a_merged_file_of_which_nothing_was_heard_is_no_orphan() {
    let mut case = Case::new(json!({ "merge_files": true }));
    let mut sink = case.assigned();
    fill(&mut sink, 0..2);
    sink.put(&numbers(2, 3)).expect("taken");
    advance(300_000);
    let slow = || Refusal::Failed(Error::retriable("s3.SlowDown", "slow down"));
    let killed = || Refusal::Failed(Error::fatal("killed", "killed"));
    let mut puts = 0;
    bucket().interfere(Some(Box::new(move |name| {
        puts += u32::from(name == "put");
        match (name, puts) {
            // Data, manifest, list, metadata and hint of the rows, then the merged file.
            ("put", 6) => Fate::Unanswered(slow()),
            // It and a commit of it, in which a manifest is written anew, then the rows' file.
            ("put", 13) => Fate::Unanswered(killed()),
            (_, 13..) => Fate::Lost(killed()),
            _ => Fate::Done,
        }
    })));
    sink.flush().expect_err("the merged file is in doubt");
    sink.put(&numbers(3, 4)).expect("taken");
    advance(300_000);
    assert_eq!(sink.flush().expect_err("killed").code, "killed");
    bucket().interfere(None);
    drop(sink);
    let mut sink = case.assigned();
    fill(&mut sink, 3..5);
    sink.close().expect("closes");
    assert_eq!(numbers_there(), (0..5).collect::<Vec<_>>());
    assert_eq!(unreachable(), [""; 0]);
}
