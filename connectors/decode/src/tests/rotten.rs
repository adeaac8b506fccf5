//! Files with bytes changed, cut off, or made up: they end in trouble, never in a panic.

use std::sync::LazyLock;

use bytes::Bytes;
use millrace_connector_encode::Codec;
use millrace_connector_encode::avro::AvroFile;
use millrace_connector_encode::datum::Form;
use millrace_connector_encode::types::avro;
use proptest::prelude::*;
use serde_json::json;

use super::rows::{SCHEMA, avro_file, parquet_file, rows};
use super::{how, options, read, read_all, text};
use crate::reader::{Place, Reader};

fn samples() -> &'static [(&'static str, Vec<u8>)] {
    static SAMPLES: LazyLock<Vec<(&'static str, Vec<u8>)>> = LazyLock::new(make);
    &SAMPLES
}

fn make() -> Vec<(&'static str, Vec<u8>)> {
    let schema = avro::read(SCHEMA).expect("a schema");
    let rows = [rows(), rows(), rows()].concat();
    let lines = rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    let mut all = vec![
        ("a.jsonl", lines.clone().into_bytes()),
        ("a.csv", lines.clone().into_bytes()),
        ("a.jsonl.gz", text::gzip(lines.as_bytes())),
        ("a.jsonl.zst", text::zstd(lines.as_bytes())),
    ];
    for codec in [Codec::None, Codec::Snappy, Codec::Gzip] {
        all.push(("a.parquet", parquet_file(&schema, &rows, Form::Plain, codec, 5).to_vec()));
        all.push(("a.avro", avro_file(&schema, &rows, Form::Plain, codec, 5).to_vec()));
    }
    all.push(("a.avro", avro_file(&schema, &rows, Form::Plain, Codec::Zstd, 5).to_vec()));
    all
}

#[test]
fn what_is_not_read_is_told_apart_from_damage() {
    let trouble = |file: Vec<u8>, name: &str| {
        let options = options(json!({}));
        let opened = Reader::open(Box::new(Bytes::from(file)), how(name, &options), Default::default());
        let rejection = crate::rejection(name, &opened.expect_err("not read")).expect("a rejection");
        (rejection.code, rejection.message)
    };
    let fields = avro::read(SCHEMA).expect("a schema").fields;
    let mut bzip2 = Vec::new();
    // The later entry counts.
    AvroFile::begin_as(SCHEMA, &[("avro.codec", "bzip2")], &fields, Codec::None, &mut bzip2);
    let message = "a.avro: its blocks are compressed with bzip2, of which only null, deflate, snappy and zstandard are read; write it anew or \
                   take it away: errors.tolerance all leaves out the whole of it";
    assert_eq!(trouble(bzip2, "a.avro"), ("file.unsupported".to_owned(), message.to_owned()));
    let (code, message) = trouble(b"PAR1 and what is secret \x08\0\0\0PARE".to_vec(), "a.parquet");
    assert_eq!(code, "file.unsupported", "{message}");
    let (code, message) = trouble(b"PAR1 and no more than that".to_vec(), "a.parquet");
    assert_eq!(code, "file.damaged", "{message}");
}

#[test]
fn a_file_that_is_cut_off_gives_what_is_whole() {
    for (name, file) in samples().iter().map(|(name, file)| (*name, file)) {
        for at in (0..file.len()).step_by(file.len() / 200 + 1) {
            let read = read(file[..at].to_vec(), name);
            assert!(read.values.len() <= 12, "{name} at {at}");
            if name == "a.parquet" {
                assert!(read.trouble.is_some(), "{name} at {at}: its footer is gone");
            }
        }
    }
}

#[test]
fn a_place_behind_the_end_is_told() {
    for (name, file) in samples().iter().map(|(name, file)| (*name, file)) {
        let options = options(json!({}));
        for place in
            [(u64::MAX, 0), (u64::MAX, u64::MAX), (1, u64::MAX), (0, u64::MAX), (file.len() as u64, 7)]
        {
            let place = Place { offset: place.0, record: place.1, skipping: false };
            let opened = Reader::open(Box::new(Bytes::from(file.clone())), how(name, &options), place);
            let _told = opened
                .and_then(|mut reader| reader.read(super::limits(100), &mut millrace_sdk::Poll::default()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 20_000 }))]

    /// Bytes of a good file changed.
    #[test]
    fn no_byte_makes_it_panic(sample in 0_usize..10, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), batch in 1_u32..20) {
        let (name, mut file) = samples()[sample].clone();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        read_all(&Bytes::from(file), name, json!({}), false, batch, true);
    }

    /// A footer that says of a good file's columns what isn't so: the bytes at its end matter most.
    #[test]
    fn no_footer_makes_it_panic(sample in prop::sample::select(vec![4_usize, 6, 8]), changes in proptest::collection::vec((0_usize..2500, any::<u8>()), 1..4)) {
        let (name, mut file) = samples()[sample].clone();
        for (behind, byte) in changes {
            let at = file.len().saturating_sub(9 + behind);
            file[at] = byte;
        }
        read(file, name);
    }

    #[test]
    fn no_rubbish_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), name in prop::sample::select(vec!["a.avro", "a.parquet", "a.gz", "a.zst", "a.csv", "a.jsonl"])) {
        read(bytes.clone(), name);
        let mut behind: Vec<u8> = match name {
            "a.avro" => b"Obj\x01".to_vec(),
            "a.gz" => vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
            "a.zst" => vec![0x28, 0xb5, 0x2f, 0xfd],
            _ => Vec::new(),
        };
        behind.extend(&bytes);
        if name == "a.parquet" {
            let length = behind.len() as u32;
            behind.extend(length.to_le_bytes());
            behind.extend(b"PAR1");
        }
        read(behind, name);
    }
}
