//! `millrace log verify`.

use std::fs;
use std::path::PathBuf;

use crate::support::{Broker, code, run, run_with, signal, stderr, stdout};

#[test]
fn damage_is_named_with_file_and_byte() {
    let mut broker = Broker::start(&[]);
    let data = broker.data.display().to_string();
    let in_use = run(&["log", "verify", &data]);
    assert_eq!(code(&in_use), Some(3));
    assert!(stderr(&in_use).contains("in use by another broker"), "{}", stderr(&in_use));
    let produced = run_with(&broker.at(&["produce", "orders"]), "one\ntwo\nthree\n");
    assert_eq!(code(&produced), Some(0), "{}", stderr(&produced));
    signal(broker.pid(), "TERM");
    assert_eq!(broker.exit_code(), Some(0));

    let whole = run(&["log", "verify", &data]);
    assert_eq!(code(&whole), Some(0), "{}{}", stdout(&whole), stderr(&whole));
    assert!(stdout(&whole).starts_with("ok: "), "{}", stdout(&whole));
    let segment: PathBuf = broker.data.join("orders-0").join("00000000000000000000.log");
    let mut bytes = fs::read(&segment).expect("the segment is there");
    *bytes.last_mut().expect("it has records") ^= 1;
    fs::write(&segment, bytes).expect("a test may damage it");
    let damaged = run(&["log", "verify", &data, "--topic", "orders"]);
    assert_eq!(code(&damaged), Some(1));
    let line = format!("damage: {} at byte 0: ", segment.display());
    assert!(stdout(&damaged).contains(&line), "{}", stdout(&damaged));

    let none = run(&["log", "verify", &data, "--topic", "no-such-topic"]);
    assert_eq!(code(&none), Some(2));
    assert!(stderr(&none).contains("no partition of topic no-such-topic"), "{}", stderr(&none));
    assert_eq!(code(&run(&["log", "verify", "/no/such/folder"])), Some(3));
}
