//! Text, plain and compressed.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{read, read_all};

pub(super) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("written");
    encoder.finish().expect("finished")
}

pub(super) fn zstd(text: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn text_is_read_as_it_is_or_unpacked() {
    let text = b"{\"a\":1}\n\n{\"a\":2}\r\n{\"a\":3}";
    let wanted = ["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"];
    for (name, file) in [("a.jsonl", text.to_vec()), ("a.jsonl.gz", gzip(text)), ("a.jsonl.zst", zstd(text))]
    {
        for (batch, reopen) in [(10, false), (1, false), (1, true)] {
            let read = read_all(&file.clone().into(), name, json!({}), false, batch, reopen);
            assert_eq!((read.values, read.trouble), (wanted.map(str::to_owned).to_vec(), None), "{name}");
        }
    }
}

#[test]
fn a_header_is_seen_wherever_reading_goes_on() {
    let text = b"id,name\n1,a\n2,\"b\nb\"\n3,c\n";
    for (name, file) in [("a.csv", text.to_vec()), ("a.csv.gz", gzip(text)), ("a.csv.zst", zstd(text))] {
        let read = read_all(&file.into(), name, json!({ "types": { "id": "number" } }), false, 1, true);
        assert_eq!(
            read.json(),
            [json!({"id":1,"name":"a"}), json!({"id":2,"name":"b\nb"}), json!({"id":3,"name":"c"})]
        );
    }
}

#[test]
fn several_members_and_frames_are_one_file() {
    let mut packed = gzip(b"one\ntw");
    packed.extend(gzip(b""));
    packed.extend(gzip(b"o\nthree"));
    packed.extend([0; 512]);
    let lines = read(packed, "a.log.gz");
    assert_eq!((lines.values, lines.trouble), (["one", "two", "three"].map(str::to_owned).to_vec(), None));
    let mut packed = zstd(b"one\ntw");
    // A frame to be passed over.
    packed.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    packed.extend(zstd(b"o\nthree"));
    let lines = read(packed, "a.log.zst");
    assert_eq!((lines.values, lines.trouble), (["one", "two", "three"].map(str::to_owned).to_vec(), None));
}

#[test]
fn a_line_that_is_too_long_is_rejected_alone() {
    let text = format!("short\n{}\nlast", "x".repeat(5000));
    for (name, file) in [("a", text.clone().into_bytes()), ("a.gz", gzip(text.as_bytes()))] {
        let read = read_all(&file.into(), name, json!({ "max_line": "1000B" }), false, 1, true);
        assert_eq!(read.values.len(), 3, "{name}");
        assert_eq!((&read.values[0], &read.values[2]), (&"short".to_owned(), &"last".to_owned()));
    }
}

#[test]
fn what_is_damaged_is_told() {
    let text: Vec<u8> = (0..200_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    for (name, whole, kind) in [("a.gz", gzip(&text), "gzip"), ("a.zst", zstd(&text), "zstd")] {
        assert_eq!(read(whole.clone(), name).values.len(), 200_000);
        let all = |file: Vec<u8>| read_all(&file.into(), name, json!({}), false, 100_000, false);
        let half = all(whole[..whole.len() / 2].to_vec());
        let (cut, lines) = (half.trouble.expect("told"), half.values.len());
        let place = format!("byte {}, behind line {lines}: the {kind} stream is cut off", whole.len() / 2);
        assert_eq!(cut, place);
        let cut = all(whole[..whole.len() - 1].to_vec()).trouble.expect("told");
        assert!(cut.contains("cut off"), "{cut}");
        let mut other = whole.clone();
        let at = other.len() - if kind == "gzip" { 8 } else { 1 };
        other[at] ^= 1;
        let damaged = all(other).trouble.expect("told");
        let end = whole.len() - if kind == "gzip" { 8 } else { 0 };
        assert_eq!(
            damaged,
            format!(
                "byte {end}, behind line 200000: the {kind} stream is damaged: its checksum is another one"
            )
        );
        let none = all(b"plain text that says nothing of that\n".to_vec()).trouble.expect("told");
        assert!(none.contains(&format!("not compressed with {kind}")), "{none}");
    }
}

proptest! {
    #[test]
    fn any_text_comes_out_line_by_line(lines in proptest::collection::vec("[a-z]{0,30}", 0..60), batch in 1_u32..7) {
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        for (name, file) in [("a", text.clone().into_bytes()), ("a.gz", gzip(text.as_bytes())), ("a.zst", zstd(text.as_bytes()))] {
            let read = read_all(&file.into(), name, json!({}), false, batch, true);
            prop_assert_eq!(&read.values, &lines, "{}", name);
            prop_assert_eq!(read.trouble, None);
        }
    }
}

/// So that the settings of both kinds are tried.
#[test]
fn the_setting_goes_before_the_name() {
    let packed = gzip(b"{\"a\":1}\n");
    let settings: Value = json!({ "compression": "gzip", "format": "jsonl" });
    assert_eq!(read_all(&packed.into(), "strange", settings, false, 10, false).values, ["{\"a\":1}"]);
}
