//! What goes into a builder comes out of the iterator, and broken columns are refused.

use super::*;
use crate::RecordBatch;
use crate::testing::{Record, batch, records};

#[test]
fn records_survive_the_columns() {
    let all = [
        Record::value("a"),
        Record::keyed("", ""),
        Record { value: None, timestamp: 7, ..Record::keyed("gone", "") },
        Record::keyed("k", "v").at("other", 3, 42),
        Record { headers: vec![("h".into(), None), ("h".into(), Some(b"x".to_vec()))], ..Record::value("b") },
        Record { key: None, value: None, ..Record::value("") },
    ];
    let columns = batch(&all);
    assert_eq!(records(&columns).expect("columns are sound"), all);
    assert_eq!(columns.topics, ["", "other"]);
    let checked = Records::new(&columns).expect("columns are sound");
    let with_headers = checked.iter().nth(4).expect("five records");
    assert_eq!(with_headers.headers.get("h").and_then(|header| header.value), Some(&b"x"[..]));
}

#[test]
fn columns_stay_empty_while_unset() {
    let columns = batch(&[Record::value("a"), Record::value("b")]);
    assert_eq!(columns.count, 2);
    assert!(columns.key_lens.is_empty() && columns.partitions.is_empty() && columns.topics.is_empty());
}

#[test]
fn a_record_that_is_not_ended_leaves_nothing() {
    let mut builder = BatchBuilder::default();
    builder.push_value(b"first");
    let mut writer = builder.record();
    writer.key(b"k");
    writer.value().extend_from_slice(b"half");
    writer.header("h", Some(b"x"));
    drop(writer);
    let failed: Result<(), &str> = builder.push_with(&RecordRef::new(Some(b"k"), None), |data| {
        data.extend_from_slice(b"half");
        Err("no")
    });
    assert_eq!(failed, Err("no"));
    builder.push_value(b"second");
    let columns = builder.finish();
    assert_eq!(
        records(&columns).expect("columns are sound"),
        [Record::value("first"), Record::value("second")]
    );
}

#[test]
fn broken_columns_are_refused() {
    let sound = || batch(&[Record::keyed("k", "v"), Record::value("w")]);
    type Break = fn(&mut RecordBatch);
    let broken: [(&str, Break); 8] = [
        ("value-lens has 1 entries for 2 records", |batch| batch.value_lens.truncate(1)),
        ("keys and values take 3 bytes, data has 2", |batch| batch.data.truncate(2)),
        ("keys and values take 3 bytes, data has 4", |batch| batch.data.push(0)),
        ("a length of -2", |batch| batch.key_lens[0] = -2),
        ("take 2147483649 bytes", |batch| batch.value_lens[0] = i32::MAX),
        ("topic-index names a topic", |batch| batch.topic_index = vec![0, 9]),
        ("1 headers with 0 lengths", |batch| batch.header_counts = vec![1, 0]),
        ("a header name that is not UTF-8", |batch| {
            batch.header_counts = vec![1, 0];
            batch.header_lens = vec![1, -1];
            batch.header_data = vec![0xff];
        }),
    ];
    for (expected, breaks) in broken {
        let mut columns = sound();
        breaks(&mut columns);
        let error = Records::new(&columns).expect_err(expected);
        assert!(error.message.contains(expected), "{error}");
    }
}
