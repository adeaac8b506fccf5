//! The simulated disk keeps its promises, and breaks what it may break.

use proptest::prelude::*;

use super::*;
use crate::disk::{Disk, DiskFile};

fn create(disk: &SimDisk, path: &str) -> Arc<dyn DiskFile> {
    disk.open(Path::new(path), OpenMode::Create).unwrap()
}

#[test]
fn a_cut_can_lose_keep_and_tear_unsynced_bytes() {
    let (mut lost, mut kept, mut mixed) = (0, 0, 0);
    for seed in 0..200 {
        let disk = SimDisk::new();
        let file = create(&disk, "f");
        file.write_all_at(&[IoSlice::new(&[1; 3 * PAGE_BYTES])], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        file.write_all_at(&[IoSlice::new(&[2; 3 * PAGE_BYTES])], 0).unwrap();
        disk.power_cut(seed);
        assert!(file.len().is_err(), "an old handle is dead");
        let bytes = disk.contents(Path::new("f")).unwrap();
        assert_eq!(bytes.len(), 3 * PAGE_BYTES);
        assert!(bytes.iter().all(|b| *b == 1 || *b == 2));
        match bytes.iter().filter(|b| **b == 2).count() {
            0 => lost += 1,
            n if n == bytes.len() => kept += 1,
            n => mixed += usize::from(n % PAGE_BYTES != 0),
        }
    }
    assert!(lost > 10 && kept > 2 && mixed > 10, "lost {lost}, kept {kept}, torn {mixed}");
}

#[test]
fn a_name_without_a_synced_folder_may_vanish() {
    let survivors = (0..100).filter(|seed| {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("d")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        create(&disk, "d/f").sync_data().unwrap();
        disk.power_cut(*seed);
        disk.contents(Path::new("d/f")).is_some()
    });
    let count = survivors.count();
    assert!((10..90).contains(&count), "{count}");
}

#[test]
fn a_failed_sync_loses_the_bytes_even_if_the_next_one_succeeds() {
    let disk = SimDisk::new();
    let file = create(&disk, "f");
    disk.sync_dir(Path::new("")).unwrap();
    file.write_all_at(&[IoSlice::new(b"gone")], 0).unwrap();
    disk.fail_next(Fault { op: FaultOp::Sync, path: "f".into(), after: 0 });
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    disk.power_cut(1);
    assert_ne!(disk.contents(Path::new("f")).unwrap(), b"gone");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(10));
    let file = create(&disk, "f");
    file.write_all_at(&[IoSlice::new(b"12345678")], 0).unwrap();
    let error = file.write_all_at(&[IoSlice::new(b"abcd")], 8).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.contents(Path::new("f")).unwrap(), b"12345678ab");
    file.write_all_at(&[IoSlice::new(b"XX")], 0).expect("overwriting needs no room");
}

#[test]
fn an_atomic_write_is_old_or_new_after_any_cut() {
    for seed in 0..300 {
        let disk = SimDisk::new();
        let path = Path::new("c");
        disk.write_atomically(path, b"old contents").unwrap();
        disk.fail_next(Fault { op: FaultOp::SyncDir, path: String::new(), after: 0 });
        let _ = disk.write_atomically(path, b"new");
        disk.power_cut(seed);
        let bytes = disk.contents(path).unwrap();
        assert!(bytes == b"old contents" || bytes == b"new", "{bytes:?}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, u8, usize),
    SetLen(usize),
    Sync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..20_000usize, any::<u8>(), 1..6000usize).prop_map(|(o, b, n)| Step::Write(o, b, n)),
        1 => (0..20_000usize).prop_map(Step::SetLen),
        1 => Just(Step::Sync),
    ];
    prop::collection::vec(step, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Bytes synced and not written since are there after a cut; reads before it always see the last write.
    #[test]
    fn what_was_synced_survives(steps in steps(), seed: u64) {
        let disk = SimDisk::new();
        let file = create(&disk, "f");
        disk.sync_dir(Path::new("")).unwrap();
        let mut seen: Vec<u8> = Vec::new();
        // What the platter must have; `None` where a write since the last sync makes it uncertain.
        let mut sure: Vec<Option<u8>> = Vec::new();
        for step in steps {
            match step {
                Step::Write(offset, byte, len) => {
                    file.write_all_at(&[IoSlice::new(&vec![byte; len])], offset as u64).unwrap();
                    if seen.len() < offset + len { seen.resize(offset + len, 0); }
                    seen[offset..offset + len].fill(byte);
                    if offset < sure.len() {
                        let end = (offset + len).min(sure.len());
                        sure[offset..end].fill(None);
                    }
                }
                Step::SetLen(len) => {
                    file.set_len(len as u64).unwrap();
                    seen.resize(len, 0);
                    sure.truncate(len);
                }
                Step::Sync => {
                    file.sync_data().unwrap();
                    sure = seen.iter().map(|b| Some(*b)).collect();
                }
            }
        }
        prop_assert_eq!(&disk.contents(Path::new("f")).unwrap(), &seen);
        disk.power_cut(seed);
        let after = disk.contents(Path::new("f")).unwrap();
        prop_assert!(after.len() >= sure.len(), "{} < {}", after.len(), sure.len());
        for (at, byte) in sure.iter().enumerate() {
            if let Some(byte) = byte { prop_assert_eq!(after[at], *byte, "at {}", at); }
        }
    }
}
