//! The sink over a folder: where it lies for a test, and what is different there.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::read::{metadata, objects, unreachable};
use super::{Case, numbers, numbers_there};

thread_local! {
    static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

/// The folder of the test that runs on this thread; none: it has a bucket.
pub(super) fn root() -> Option<PathBuf> {
    FOLDER.with_borrow(|folder| folder.as_ref().map(|folder| folder.path().to_owned()))
}

/// Puts the settings of an empty folder in the place of those of a bucket, if they ask for one.
pub(super) fn start(settings: &mut Value) {
    let wanted = settings.get("folder").is_some();
    FOLDER.set(wanted.then(|| tempfile::tempdir().expect("a folder")));
    if let (Some(root), Some(all)) = (root(), settings.as_object_mut()) {
        all.remove("connection");
        all.insert("folder".into(), root.display().to_string().into());
        all.insert("warehouse".into(), "file:///b/w".into());
    }
}

#[test]
fn a_table_in_a_folder_has_no_more_than_its_files() {
    let mut case = Case::new(json!({ "folder": "" }));
    assert_eq!(case.run(&[r#"{"n":0}"#, r#"{"n":1}"#]), [""; 0]);
    assert_eq!(case.run(&[r#"{"n":2}"#]), [""; 0]);
    assert_eq!(numbers_there(), [0, 1, 2]);
    assert_eq!(metadata()["location"], "file:///b/w/db/t");
    assert_eq!(unreachable(), [""; 0]);
    let hint = &objects()["db/t/metadata/version-hint.text"];
    let newest = objects().keys().filter(|key| key.ends_with(".metadata.json")).count();
    assert_eq!(String::from_utf8_lossy(hint), newest.to_string());
}

#[test]
fn a_hint_that_lags_or_is_gone_misleads_nobody() {
    let mut case = Case::new(json!({ "folder": "" }));
    case.run(&[r#"{"n":0}"#]);
    let hint = root().expect("a folder").join("db/t/metadata/version-hint.text");
    fs::write(&hint, "1").expect("written");
    case.run(&[r#"{"n":1}"#]);
    fs::remove_file(&hint).expect("removed");
    case.run(&[r#"{"n":2}"#]);
    assert_eq!(numbers_there(), [0, 1, 2]);
    assert!(hint.is_file());
}

#[test]
fn a_number_that_is_free_again_is_not_taken_for_the_newest() {
    let mut case = Case::new(json!({ "folder": "" }));
    case.run(&[r#"{"n":0}"#]);
    let mut slow = case.assigned();
    slow.put(&numbers(1, 3)).expect("taken");
    let next = objects().keys().filter(|key| key.ends_with(".metadata.json")).count() + 1;
    let place = |n: usize| root().expect("a folder").join(format!("db/t/metadata/v{n}.metadata.json"));
    // Others went on, and removed what was before.
    let mut theirs = metadata();
    theirs["properties"]["theirs"] = json!("1");
    fs::write(place(next + 5), theirs.to_string()).expect("written");
    slow.close().expect("closes");
    assert_eq!(metadata()["properties"]["theirs"], "1");
    assert_eq!(numbers_there(), [0, 1, 2]);
}

#[test]
fn a_large_file_in_a_folder_goes_in_parts() {
    let mut case = Case::new(
        json!({ "folder": "", "buffer": "9MiB", "compression": "none", "target_file_size": "20MiB" }),
    );
    super::write_a_large_file(&mut case);
    assert_eq!(unreachable(), [""; 0]);
}
