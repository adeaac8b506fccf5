//! The scanner against csv-core, on text that is made to be awkward.

use super::*;
use proptest::prelude::*;

/// Records of well-formed csv as csv-core reads them.
fn reference(text: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv_core::Reader::new();
    let (mut records, mut input) = (Vec::new(), text);
    let (mut output, mut ends) = (vec![0; text.len() + 16], vec![0; text.len() + 16]);
    loop {
        let (mut at, mut count) = (0, 0);
        loop {
            let (result, read, written, fields) =
                reader.read_record(input, &mut output[at..], &mut ends[count..]);
            input = &input[read..];
            at += written;
            count += fields;
            match result {
                csv_core::ReadRecordResult::Record => break,
                csv_core::ReadRecordResult::End => return records,
                _ => {}
            }
        }
        let mut start = 0;
        let mut fields = Vec::new();
        for &end in &ends[..count] {
            fields.push(String::from_utf8(output[start..end].to_vec()).expect("text"));
            start = end;
        }
        records.push(fields);
    }
}

/// What this scanner finds when the text comes in pieces of `chunk` bytes.
fn scanned(text: &[u8], chunk: usize) -> Vec<Vec<String>> {
    let mut scanner = Scanner::new(b',', b'"');
    let (mut records, mut start, mut seen) = (Vec::new(), 0, 0);
    while start < text.len() {
        let last = seen == text.len();
        match &text[start..seen] {
            [b'\n', ..] => start += 1,
            [b'\r', b'\n', ..] => start += 2,
            data => match scanner.record(data, last) {
                Scan::Record { bytes, .. } => {
                    records.push(scanner.texts(data));
                    start += bytes;
                }
                Scan::More => seen = text.len().min(seen + chunk),
                Scan::Bad { what, .. } => panic!("{what}"),
            },
        }
        seen = seen.max(start).min(text.len());
        if start == seen && seen < text.len() {
            seen = text.len().min(seen + chunk);
        }
    }
    records
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{0,6}",
        // Quoted: anything, with quotes doubled.
        "[a-z,\n\r\" ]{0,8}".prop_map(|text| format!("\"{}\"", text.replace('"', "\"\""))),
        "[a-z][a-z\"]{0,3}",
    ]
}

proptest! {
    #[test]
    fn reads_what_csv_core_reads(
        records in prop::collection::vec(prop::collection::vec(field(), 2..5), 0..6),
        crlf: bool,
        chunk in 1usize..9,
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let text: String = records.iter().map(|fields| fields.join(",") + end).collect();
        prop_assert_eq!(scanned(text.as_bytes(), chunk), reference(text.as_bytes()));
    }

    #[test]
    fn never_panics_and_always_gets_on(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let settings = serde_json::from_str(r#"{"path": "x.csv", "header": ["a", "b"]}"#).expect("settings");
        let mut csv = Csv::new(&settings).expect("a parser");
        let (mut out, mut data) = (Poll::default(), bytes.as_slice());
        while !data.is_empty() {
            match csv.step(data, true, Place { file: "x.csv", line: 2 }, &mut out).expect("no fatal error") {
                Step::Taken { bytes, .. } => {
                    prop_assert!(bytes > 0);
                    data = &data[bytes..];
                }
                Step::More => prop_assert!(false, "the last line is whole"),
            }
        }
    }
}
