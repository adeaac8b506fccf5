//! Files written by the crate beside this one, and files that are rotten, read as the connectors do it.

mod bombs;
mod rotten;
mod rows;
mod text;

use bytes::Bytes;
use millrace_sdk::testing::records;
use millrace_sdk::{Poll, PollLimits};
use serde_json::{Value, json};

use crate::Trouble;
use crate::options::{Format, Options};
use crate::reader::{How, Place, Reader, Stop};

/// What came of a file.
#[derive(Debug, Default)]
struct Read {
    /// Values of good records and of rejected ones, in order.
    values: Vec<String>,
    trouble: Option<String>,
}

impl Read {
    fn json(&self) -> Vec<Value> {
        self.values.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
    }
}

fn options(settings: Value) -> Options {
    serde_json::from_value(settings).expect("settings")
}

fn limits(records: u32) -> PollLimits {
    PollLimits { records, bytes: 1 << 20, wait_ms: 0 }
}

/// As the settings say of a file of that name; without schemas beside its records.
fn how<'a>(name: &'a str, options: &'a Options) -> How<'a> {
    let (format, compression) = (options.format_of(name), options.compression_of(name));
    How { name, format, compression, options, typed: false }
}

/// Reads a file to its end, `batch` records at a time; with `reopen`, each time by another reader, which goes on where the one before stood.
fn read_all(file: &Bytes, name: &str, settings: Value, typed: bool, batch: u32, reopen: bool) -> Read {
    let options = options(settings);
    let how = How { typed, ..how(name, &options) };
    let (mut all, mut place, mut reader) = (Read::default(), Place::default(), None);
    loop {
        let mut out = Poll::default();
        let mut opened =
            match reader.take().map_or_else(|| Reader::open(Box::new(file.clone()), how, place), Ok) {
                Ok(opened) => opened,
                Err(trouble) => {
                    all.trouble = Some(why(trouble));
                    return all;
                }
            };
        let stop = opened.read(limits(batch), &mut out);
        let read = records(&out.batch.finish()).expect("a batch");
        all.values.extend(read.into_iter().map(|record| record.text()));
        match stop {
            Ok(Stop::Full) => {
                // Positions are kept as JSON.
                let kept = serde_json::to_string(&opened.place()).expect("JSON");
                place = serde_json::from_str(&kept).expect("a place");
                reader = (!reopen).then_some(opened);
            }
            Ok(Stop::End) => return all,
            Err(trouble) => {
                all.trouble = Some(why(trouble));
                return all;
            }
        }
    }
}

fn why(trouble: Trouble) -> String {
    match trouble {
        Trouble::Rotten(why) | Trouble::Unsupported(why) => why,
        // A header that names no columns, say.
        Trouble::Outside(error) => error.to_string(),
    }
}

fn read(file: impl Into<Bytes>, name: &str) -> Read {
    read_all(&file.into(), name, json!({}), false, 1000, false)
}

#[test]
fn names_say_what_is_in_files() {
    let options = options(json!({}));
    for (name, format) in [
        ("a.csv", Format::Csv),
        ("a.csv.gz", Format::Csv),
        ("b/a.ndjson.zst", Format::Jsonl),
        ("a.parquet", Format::Parquet),
        ("a.avro", Format::Avro),
        ("a.log.1", Format::Lines),
        ("a", Format::Lines),
    ] {
        assert_eq!(options.format_of(name), format, "{name}");
    }
}
