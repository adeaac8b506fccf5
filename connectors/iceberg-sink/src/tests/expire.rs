//! Old snapshots: which go, what goes with them, and what never does.

use apache_avro::types::Value as Avro;
use millrace_sdk::object_store::{Condition, Refusal, Store};
use millrace_sdk::testing::clock::advance;
use millrace_sdk::testing::object_store::{Fate, bucket};
use millrace_sdk::{Error, Sink};
use serde_json::{Value, json};

use super::read::{metadata, unreachable, with_rows};
use super::{Case, numbers, numbers_there};
use crate::expire::{Removed, clean};
use crate::metadata::Metadata;
use crate::metadata::history::Expired;
use crate::place::Warehouse;

/// Snapshots of the last minute are kept, and two at least.
fn settings(further: Value) -> Value {
    let mut settings = json!({ "expire_snapshots": true, "table_properties":
        { "history.expire.max-snapshot-age-ms": 60_000, "history.expire.min-snapshots-to-keep": "2" } });
    settings.as_object_mut().expect("an object").extend(further.as_object().expect("an object").clone());
    settings
}

fn snapshots() -> usize {
    metadata()["snapshots"].as_array().map_or(0, Vec::len)
}

/// So many commits of one record each, half a minute apart.
fn commits(case: &mut Case, from: i64, count: i64) {
    let mut sink = case.assigned();
    for n in from..from + count {
        sink.put(&numbers(n, n + 1)).expect("taken");
        sink.sink.commit().expect("committed");
        advance(30_000);
    }
    sink.close().expect("closes");
}

#[test]
fn old_snapshots_go_with_their_lists_and_positions_stay() {
    for catalog in [json!({}), json!({ "catalog_connection": "catalog", "catalog_warehouse": "birds" })] {
        let mut case = Case::new(settings(catalog));
        commits(&mut case, 0, 8);
        let properties = &metadata()["properties"];
        assert_eq!(properties["history.expire.max-snapshot-age-ms"], "60000");
        // The commit keeps what was made within a minute before it, and comes itself.
        assert_eq!(snapshots(), 3);
        assert_eq!(numbers_there(), (0..8).collect::<Vec<_>>());
        assert_eq!(unreachable(), [""; 0]);
        advance(600_000);
        commits(&mut case, 8, 1);
        assert_eq!(snapshots(), 3, "the two newest of before, and the one that was made just now");
        assert_eq!(case.open().assign("t", &[0]).expect("assigned")[0].offset, 9);
        assert_eq!(numbers_there(), (0..9).collect::<Vec<_>>());
    }
}

#[test]
fn a_table_that_others_want_as_it_is_keeps_all() {
    for (name, value) in [
        ("refs", json!({ "eom": { "snapshot-id": 1, "type": "tag" } })),
        ("properties", json!({ "gc.enabled": "false" })),
    ] {
        let mut case = Case::new(settings(json!({})));
        case.settings["table_properties"]["write.metadata.delete-after-commit.enabled"] = json!(false);
        commits(&mut case, 0, 2);
        let mut theirs = metadata();
        theirs[name]
            .as_object_mut()
            .expect("an object")
            .extend(value.as_object().expect("an object").clone());
        let newest = bucket().objects().keys().filter(|key| key.ends_with(".metadata.json")).count();
        let next = format!("db/t/metadata/v{}.metadata.json", newest + 1);
        Store::new("lake").put(&next, theirs.to_string(), Condition::Absent).expect("put");
        commits(&mut case, 2, 6);
        assert_eq!(snapshots(), 8, "{name}");
    }
}

#[test]
fn earlier_metadata_goes_as_the_table_wants_it() {
    let mut case = Case::new(settings(json!({})));
    let properties = json!({ "write.metadata.delete-after-commit.enabled": true, "write.metadata.previous-versions-max": 3 });
    let all = case.settings["table_properties"].as_object_mut().expect("an object");
    all.extend(properties.as_object().expect("an object").clone());
    commits(&mut case, 0, 12);
    let left: Vec<String> =
        bucket().objects().into_keys().filter(|key| key.ends_with(".metadata.json")).collect();
    assert_eq!(left.len(), 4, "the newest, and three before it: {left:?}");
    assert_eq!(case.open().assign("t", &[0]).expect("assigned")[0].offset, 12);
}

#[test]
fn one_who_slept_while_its_version_went_commits_nothing() {
    let mut case = Case::new(settings(json!({})));
    let properties = json!({ "write.metadata.delete-after-commit.enabled": true, "write.metadata.previous-versions-max": 1 });
    let all = case.settings["table_properties"].as_object_mut().expect("an object");
    all.extend(properties.as_object().expect("an object").clone());
    commits(&mut case, 0, 3);
    let mut zombie = case.assigned();
    zombie.put(&numbers(3, 5)).expect("taken");
    commits(&mut case, 3, 6);
    // The number of its commit is free again. Its hint is refused, or can't be written: neither makes it the newest.
    bucket().interfere(Some(Box::new({
        let mut puts = 0;
        move |name| {
            puts += u32::from(name == "put");
            match puts {
                // Data, manifest, list, metadata, hint.
                5 => Fate::Lost(Refusal::Failed(Error::retriable("s3.SlowDown", "slow down"))),
                _ => Fate::Done,
            }
        }
    })));
    let error = zombie.close().expect_err("fenced");
    bucket().interfere(None);
    assert_eq!(error.code, "fenced");
    assert_eq!(case.open().assign("t", &[0]).expect("assigned")[0].offset, 9);
}

#[test]
fn files_stay_where_they_may_not_be_removed_and_are_removed_later_where_they_can_not() {
    let mut case = Case::new(settings(json!({})));
    commits(&mut case, 0, 4);
    let lists = || bucket().objects().into_keys().filter(|key| key.contains("-snapshot-")).count();
    let mut sink = case.assigned();
    let fate = |refusal: Refusal| {
        bucket().interfere(Some(Box::new(move |name| match name {
            "delete" => Fate::Lost(refusal.clone()),
            _ => Fate::Done,
        })));
    };
    fate(Refusal::Failed(Error::retriable("s3.SlowDown", "slow down")));
    sink.put(&numbers(4, 5)).expect("taken");
    sink.sink.commit().expect("committed, whatever can be removed");
    assert!(lists() > snapshots());
    bucket().interfere(None);
    sink.put(&numbers(5, 6)).expect("taken");
    sink.sink.commit().expect("committed");
    assert_eq!(lists(), snapshots());
    advance(120_000);
    fate(Refusal::Denied("AccessDenied".into()));
    sink.put(&numbers(6, 7)).expect("taken");
    sink.sink.commit().expect("committed");
    bucket().interfere(None);
    sink.put(&numbers(7, 8)).expect("taken");
    sink.sink.close().expect("closes");
    assert!(lists() > snapshots(), "they are orphans now");
    assert_eq!(numbers_there(), (0..8).collect::<Vec<_>>());
}

/// A tag comes when snapshots are expired and not all they leave is removed, and goes again.
#[test]
fn what_is_not_clear_for_now_is_removed_later() {
    let mut case = Case::new(settings(json!({})));
    case.settings["table_properties"]["write.metadata.delete-after-commit.enabled"] = json!(false);
    commits(&mut case, 0, 4);
    let lists = || bucket().objects().into_keys().filter(|key| key.contains("-snapshot-")).count();
    let newest = || bucket().objects().keys().filter(|key| key.ends_with(".metadata.json")).count();
    let change = |change: fn(&mut Value)| {
        let mut table = metadata();
        change(&mut table);
        let next = format!("db/t/metadata/v{}.metadata.json", newest() + 1);
        Store::new("lake").put(&next, table.to_string(), Condition::Absent).expect("put");
    };
    let mut sink = case.assigned();
    bucket().interfere(Some(Box::new(|name| match name {
        "delete" => Fate::Lost(Refusal::Failed(Error::retriable("s3.SlowDown", "slow down"))),
        _ => Fate::Done,
    })));
    sink.put(&numbers(4, 5)).expect("taken");
    sink.sink.commit().expect("committed");
    bucket().interfere(None);
    change(|table| {
        table["refs"]["eom"] = json!({ "snapshot-id": table["current-snapshot-id"], "type": "tag" })
    });
    sink.put(&numbers(5, 6)).expect("taken");
    sink.sink.commit().expect("committed");
    assert!(lists() > snapshots(), "nothing is removed while there is a tag");
    change(|table| drop(table["refs"].as_object_mut().expect("an object").remove("eom")));
    sink.put(&numbers(6, 7)).expect("taken");
    sink.sink.commit().expect("committed");
    sink.close().expect("closes");
    assert_eq!(lists(), snapshots());
    assert_eq!(numbers_there(), (0..7).collect::<Vec<_>>());
    assert_eq!(unreachable(), [""; 0]);
}

#[test]
fn a_list_that_can_not_be_read_keeps_no_other_one() {
    let mut case = Case::new(settings(json!({})));
    commits(&mut case, 0, 4);
    let mut sink = case.assigned();
    advance(120_000);
    // The oldest one is written over; what it names is what the others name, too.
    let (broken, _) = rows_of("-snapshot-", 0);
    Store::new("lake").put(&broken, "no list", Condition::Always).expect("put");
    for n in 4..6 {
        sink.put(&numbers(n, n + 1)).expect("taken");
        sink.sink.commit().expect("committed");
        advance(120_000);
    }
    sink.close().expect("closes");
    assert_eq!(unreachable(), [""; 0]);
    assert_eq!(numbers_there(), (0..6).collect::<Vec<_>>());
}

/// Snapshots 7 and 8 have a manifest by which 7 removed a file; 9 is kept, and doesn't have it any more, as engines leave such out.
#[test]
fn what_a_snapshot_removed_goes_whoever_expired_it() {
    let mut case = Case::new(json!({}));
    commits(&mut case, 0, 2);
    let store = Store::new("lake");
    let put = |key: &str, bytes: Vec<u8>| {
        store.put(key, bytes, Condition::Always).expect("put");
        format!("s3://b/w/{key}")
    };
    let first = rows_of("-manifest.avro", 0);
    let removing = with_rows(&first.1, |row| {
        row[0].1 = Avro::Int(2);
        row[1].1 = Avro::Union(1, Box::new(Avro::Long(7)));
        true
    });
    let manifest = put("db/t/metadata/engine-m.avro", removing);
    let newest = rows_of("-snapshot-", 1);
    let is_first = |row: &[(String, Avro)]| row[0].1 == Avro::String(format!("s3://b/w/{}", first.0));
    let list = with_rows(&newest.1, |row| {
        if is_first(row) {
            row[0].1 = Avro::String(manifest.clone());
            (row[6].1, row[7].1, row[9].1) = (Avro::Long(7), Avro::Int(0), Avro::Int(1));
        }
        true
    });
    let lists = ["7", "8"].map(|id| put(&format!("db/t/metadata/engine-{id}.avro"), list.clone()));
    let kept = put("db/t/metadata/engine-9.avro", with_rows(&newest.1, |row| !is_first(row)));
    let mut table = metadata();
    table["snapshots"] = json!([{ "snapshot-id": 9, "manifest-list": kept }]);
    table["refs"] = json!({ "main": { "snapshot-id": 9, "type": "branch" } });
    let table = Metadata::read(table).expect("metadata");
    let warehouse = Warehouse::new("s3://b/w").expect("a warehouse");
    let data = || bucket().objects().into_keys().filter(|key| key.ends_with(".parquet")).count();
    assert_eq!(data(), 2);
    let bucket_store = crate::store::Store::Bucket(store.clone());
    // One task has expired 7, another one 8: the second is the first to clean up.
    for (snapshot, list) in [(8, &lists[1]), (7, &lists[0])] {
        let gone = [Expired { snapshot, list: list.clone() }];
        assert!(matches!(clean(&bucket_store, &warehouse, &table, &gone, &mut Removed::new()), Ok(1)));
    }
    assert_eq!(data(), 1);
    let left: Vec<String> = bucket().objects().into_keys().filter(|key| key.contains("engine-")).collect();
    assert_eq!(left, ["db/t/metadata/engine-9.avro"]);
}

/// One of the objects with such a name, by its key and its bytes.
fn rows_of(name: &str, at: usize) -> (String, Vec<u8>) {
    bucket().objects().into_iter().filter(|(key, _)| key.contains(name)).nth(at).expect("an object")
}

#[test]
fn a_call_cleans_up_after_some_and_the_next_goes_on() {
    let mut case = Case::new(settings(json!({})));
    case.settings["expire_snapshots"] = json!(false);
    commits(&mut case, 0, 12);
    case.settings["expire_snapshots"] = json!(true);
    let lists = || bucket().objects().into_keys().filter(|key| key.contains("-snapshot-")).count();
    let mut sink = case.assigned();
    let mut left = Vec::new();
    for n in 12..20 {
        sink.put(&numbers(n, n + 1)).expect("taken");
        sink.sink.commit().expect("committed");
        left.push(lists() - snapshots());
    }
    assert!(left[0] > 0 && left.last() == Some(&0), "{left:?}");
    sink.close().expect("closes");
    assert_eq!(numbers_there(), (0..20).collect::<Vec<_>>());
    assert_eq!(unreachable(), [""; 0]);
}
