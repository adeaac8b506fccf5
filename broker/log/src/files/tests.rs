//! Files come and go within their budget, and no sync that failed is forgotten on the way.

use std::io::IoSlice;
use std::path::PathBuf;

use super::*;
use crate::disk::{Fault, FaultOp, SimDisk};

/// A disk with `names` in it, and files on it of which `files_max` may be open.
fn files(files_max: usize, names: &[&str]) -> (SimDisk, Files, Vec<LazyFile>) {
    let disk = SimDisk::new();
    let files = Files::new(Arc::new(disk.clone()), Arc::new(FileBudget::new(files_max)));
    let lazy = names.iter().map(|name| LazyFile::new(&files, PathBuf::from(name)));
    let lazy: Vec<_> = lazy.collect();
    for file in &lazy {
        file.create(|file| file.write_all_at(&[IoSlice::new(b"old")], 0)).unwrap();
        file.sync().unwrap();
    }
    disk.sync_dir(Path::new("")).unwrap();
    (disk, files, lazy)
}

fn write(file: &LazyFile, bytes: &[u8]) -> io::Result<()> {
    file.change(|file| file.write_all_at(&[IoSlice::new(bytes)], 0))
}

fn fail_sync(disk: &SimDisk, path: &str) {
    disk.fail_next(Fault { op: FaultOp::Sync, path: path.into(), after: 0 });
}

#[test]
fn a_hundred_files_are_used_through_three() {
    let names: Vec<String> = (0..100).map(|nth| format!("f{nth}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (disk, files, lazy) = files(3, &names);
    // One more would be refused.
    disk.set_open_max(Some(3));
    for (nth, file) in lazy.iter().enumerate() {
        write(file, &[nth as u8; 3]).unwrap();
        assert!(files.budget().open() <= 3);
    }
    for (nth, file) in lazy.iter().enumerate() {
        let mut bytes = [0; 3];
        file.existing().unwrap().read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [nth as u8; 3]);
    }
    lazy.iter().for_each(|file| file.sync().unwrap());
    disk.power_cut(7);
    assert!(
        names.iter().enumerate().all(|(n, name)| disk.contents(Path::new(name)).unwrap() == [n as u8; 3])
    );
    drop(lazy);
    assert_eq!(files.budget().open(), 0);
}

#[test]
fn what_is_synced_gives_way_first() {
    let (disk, _files, lazy) = files(2, &["a", "b", "c"]);
    write(&lazy[0], b"new").unwrap();
    lazy[1].existing().unwrap();
    let before = disk.sync_count();
    lazy[2].existing().unwrap();
    assert_eq!(disk.sync_count(), before, "nothing had to be synced for it");
    lazy[0].close_idle();
    write(&lazy[1], b"new").unwrap();
    assert_eq!(disk.sync_count(), before, "nor for this");
    write(&lazy[2], b"new").unwrap();
    assert_eq!(disk.sync_count(), before + 1, "all others had something to lose");
}

#[test]
fn a_file_in_use_does_not_give_way() {
    let (disk, files, lazy) = files(1, &["a", "b"]);
    let held = lazy[0].existing().unwrap();
    let other = lazy[1].existing().unwrap();
    assert_eq!(files.budget().open(), 2, "both are in use: one more than the budget has");
    disk.rename(Path::new("a"), Path::new("gone")).unwrap();
    assert_eq!(held.len().unwrap(), 3, "still the same file");
    drop((held, other));
    lazy[1].existing().unwrap();
    assert!(lazy[0].existing().is_ok(), "nothing needed its place");
}

#[test]
fn a_sync_that_fails_when_a_file_is_closed_is_told_at_the_next_one() {
    let (disk, _files, lazy) = files(1, &["a", "b"]);
    write(&lazy[0], b"new").unwrap();
    fail_sync(&disk, "a");
    assert!(lazy[1].existing().is_ok(), "another's trouble");
    for _ in 0..3 {
        assert_eq!(lazy[0].sync().unwrap_err().raw_os_error(), Some(5));
        assert!(write(&lazy[0], b"...").is_err() && lazy[0].is_lost());
    }
    assert!(lazy[0].existing().is_ok(), "reading goes on");
    lazy[0].remove().unwrap();
    lazy[0].create(|file| file.write_all_at(&[IoSlice::new(b"new")], 0)).unwrap();
    lazy[0].sync().expect("a new file");
}

#[test]
fn a_failed_sync_is_not_followed_by_a_good_one() {
    let (disk, _files, lazy) = files(1, &["a"]);
    write(&lazy[0], b"new").unwrap();
    fail_sync(&disk, "a");
    lazy[0].sync().unwrap_err();
    lazy[0].sync().expect_err("the disk would say yes now, and lie");
}

#[test]
fn a_file_that_was_synced_when_it_was_closed_is_not_synced_again() {
    let (disk, _files, lazy) = files(1, &["a", "b"]);
    write(&lazy[0], b"new").unwrap();
    lazy[1].existing().unwrap();
    let before = disk.sync_count();
    lazy[0].sync().unwrap();
    assert_eq!(disk.sync_count(), before);
    disk.power_cut(1);
    assert_eq!(disk.contents(Path::new("a")).unwrap(), b"new");
}

#[test]
fn where_the_system_has_no_descriptor_left_an_idle_file_gives_its_own() {
    let (disk, files, lazy) = files(100, &["a", "b", "c"]);
    lazy[0].existing().unwrap();
    lazy[1].existing().unwrap();
    let open = files.budget().open();
    disk.set_open_max(Some(open));
    lazy[2].existing().unwrap();
    files.open(Path::new("d"), OpenMode::Create).unwrap();
    let held: Vec<_> = lazy.iter().map(|file| file.existing()).collect();
    assert!(held.iter().all(Result::is_ok));
    disk.set_open_max(Some(0));
    drop(held);
    assert_eq!(files.open(Path::new("e"), OpenMode::Create).unwrap_err().raw_os_error(), Some(24));
    assert_eq!(files.budget().open(), 0, "all were given up first");
}

#[test]
fn only_a_part_of_the_files_is_lent() {
    let (_disk, _files, lazy) = files(4, &["a"]);
    let loans: Vec<_> = (0..2).map(|_| lazy[0].lend()).collect();
    assert!(loans.iter().all(Option::is_some) && lazy[0].lend().is_none());
    drop(loans);
    assert!(lazy[0].lend().is_some());
}
