//! Opening a folder whose files have been damaged at random: never a panic, never a record that was not written.

use proptest::prelude::*;

use super::*;
use crate::CorruptionPolicy;

/// What happens to a file: the share of it (in permille) where, and how.
#[derive(Clone, Debug)]
enum Damage {
    Flip(u16, u8),
    Cut(u16),
    Insert(u16, Vec<u8>),
    Zero(u16, u16),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (0..1000u16, 1..=255u8).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        1 => (0..1000u16).prop_map(Damage::Cut),
        1 => (0..=1000u16, prop::collection::vec(any::<u8>(), 1..200)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (0..1000u16, 1..500u16).prop_map(|(at, len)| Damage::Zero(at, len)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    let place = |permille: &u16| bytes.len() * usize::from(*permille) / 1000;
    match damage {
        Damage::Flip(at, bits) => {
            let at = place(at);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bits;
            }
        }
        Damage::Cut(at) => bytes.truncate(place(at)),
        Damage::Insert(at, new) => {
            let at = place(at);
            bytes.splice(at..at, new.iter().copied());
        }
        Damage::Zero(at, len) => {
            let at = place(at);
            let end = (at + usize::from(*len)).min(bytes.len());
            bytes[at..end].fill(0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_damage_is_survived(
        damages in prop::collection::vec((any::<prop::sample::Index>(), damage()), 1..4),
        clean_shutdown: bool,
        recovery_point in prop::option::of(0..60i64),
    ) {
        let mut rig = Rig::new(LogConfig { segment_bytes: 4_000, index_interval_bytes: 300, ..config() });
        let log = rig.open();
        for n in 0..30 {
            append(&log, batch_at(2, 150, NOW_MS + n, stamp(n % 2, 0, n as i32 / 2 * 2))).unwrap();
        }
        let written = read_all(&log);
        log.close_clean().unwrap();
        drop(log);
        rig.disk.kill();
        let names = rig.disk.list(Path::new("data/t-0")).unwrap();
        for (file, damage) in &damages {
            rig.disk.corrupt(&rig.path(&file.get(&names).name), |bytes| apply(bytes, damage));
        }
        rig.options.clean_shutdown = clean_shutdown;
        rig.options.recovery_point = Offset(recovery_point.unwrap_or(0));
        rig.options.config.corruption_policy =
            if recovery_point.is_some() { CorruptionPolicy::Refuse } else { CorruptionPolicy::Cut };
        match rig.try_open() {
            Ok((log, _)) => {
                // Old segments are trusted below the recovery point and after a clean shutdown: damage in them
                // is found when they are read, as an error or by the reader's check of the CRC.
                let mut from = log.start_offset();
                while let Ok(read) = log.read(from, 1_000, log.end_offset(), true) {
                    if read.bytes == 0 {
                        break;
                    }
                    prop_assert!(read.next_offset > from);
                    for batch in split(read.parts.concat().into()).map_while(Result::ok) {
                        prop_assert!(batch.verify_crc().is_err() || written.iter().any(|w| w.bytes[16..] == batch.bytes[16..]));
                    }
                    from = read.next_offset;
                }
                let _ = (log.offset_for_timestamp(NOW_MS + 10), log.max_timestamp_offset());
                let _ = log.aborted_transactions(Offset(0), log.end_offset());
                let _ = append(&log, batch(2));
                let _ = log.close_clean();
            }
            Err(error) => prop_assert!(matches!(error, Error::Corrupt { .. } | Error::Malformed { .. }), "{error}"),
        }
    }
}

/// Overwrites the position of the last entry of the first segment's offset index.
fn point_past_the_end(rig: &Rig) {
    rig.disk.corrupt(&rig.path("00000000000000000000.index"), |bytes| {
        let last = bytes.len() - 4;
        bytes[last..].copy_from_slice(&0x00ff_ffffu32.to_be_bytes());
    });
}

#[test]
fn an_index_that_points_past_its_segment_costs_nothing_but_time() {
    let mut rig = Rig::new(LogConfig { segment_bytes: 1 << 20, index_interval_bytes: 300, ..config() });
    let log = rig.open();
    for _ in 0..30 {
        append(&log, batch(3)).unwrap();
    }
    let written = read_all(&log);
    log.close_clean().unwrap();
    rig.disk.kill();
    point_past_the_end(&rig);
    rig.options.clean_shutdown = true;
    rig.options.recovery_point = Offset(90);
    let log = rig.open();
    assert_eq!(log.end_offset(), Offset(90));
    assert_eq!(read_all(&log), written);
    log.roll(NOW_MS).unwrap();
    append(&log, batch(1)).unwrap();
    log.close_clean().unwrap();
    drop(log);

    // In a segment that nothing needs to read at the start: found by the reader, who must not skip to the next segment.
    rig.disk.kill();
    point_past_the_end(&rig);
    rig.options.recovery_point = Offset(91);
    let log = rig.open();
    let read = log.read(Offset(89), 1, log.end_offset(), true).unwrap();
    assert_eq!(read.parts.concat(), written[29].bytes);
}

#[test]
fn offsets_of_segments_that_vanished_are_not_given_again() {
    let mut rig = Rig::new(config());
    let log = rig.open();
    append(&log, batch(3)).unwrap();
    log.close_clean().unwrap();
    rig.disk.kill();
    for entry in rig.disk.list(Path::new("data/t-0")).unwrap() {
        rig.disk.remove_file(&rig.path(&entry.name)).unwrap();
    }
    rig.options.clean_shutdown = true;
    rig.options.recovery_point = Offset(3);
    let error = rig.try_open().unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("there is no segment at all"), "{error}");
    rig.options.config.corruption_policy = CorruptionPolicy::Cut;
    let log = rig.open();
    assert_eq!(append(&log, batch(1)).unwrap().first_offset, Offset(3));
}

#[test]
fn a_batch_whose_length_was_damaged_is_an_error_and_not_the_end_of_its_segment() {
    let mut rig = Rig::new(LogConfig { segment_bytes: 1 << 20, index_interval_bytes: 1 << 20, ..config() });
    let log = rig.open();
    for _ in 0..30 {
        append(&log, batch(3)).unwrap();
    }
    let size = read_all(&log)[0].bytes.len();
    log.roll(NOW_MS).unwrap();
    append(&log, batch(1)).unwrap();
    log.close_clean().unwrap();
    rig.disk.kill();
    rig.disk.corrupt(&rig.path("00000000000000000000.log"), |bytes| {
        bytes[10 * size + 8..][..4].copy_from_slice(&(1i32 << 24).to_be_bytes());
    });
    rig.options.clean_shutdown = true;
    rig.options.recovery_point = Offset(91);
    let log = rig.open();
    let read = |from| log.read(Offset(from), 100, log.end_offset(), true);
    assert_eq!(read(27).unwrap().next_offset, Offset(30));
    for from in [30, 33, 89] {
        let error = read(from).expect_err("records were passed over in silence").to_string();
        assert!(error.contains("reaches past the segment's end"), "{error}");
    }
    assert_eq!(read(90).unwrap().next_offset, Offset(91));
}

/// Two recoveries that cut at the same byte keep both what the first and what the second one cut off.
#[test]
fn what_was_kept_is_not_written_over() {
    let mut rig = Rig::new(LogConfig { corruption_policy: CorruptionPolicy::Cut, ..config() });
    let path = rig.path("00000000000000000000.log");
    for _ in 0..2 {
        let log = rig.open();
        for _ in 0..3 {
            append(&log, batch(1)).unwrap();
        }
        log.sync().unwrap();
        drop(log);
        rig.disk.kill();
        rig.disk.corrupt(&path, |bytes| bytes[70] ^= 1);
        rig.options.recovery_point = Offset(0);
        let (log, report) = rig.try_open().unwrap();
        assert_eq!((log.end_offset(), report.kept.len()), (Offset(0), 1));
    }
    let names = rig.disk.list(Path::new("data/t-0")).unwrap().into_iter().map(|entry| entry.name);
    let kept: Vec<_> = names.filter(|name| name.ends_with(".corrupt")).collect();
    assert_eq!(
        kept,
        ["00000000000000000000.log.from-0.1.corrupt", "00000000000000000000.log.from-0.corrupt"]
    );
}
