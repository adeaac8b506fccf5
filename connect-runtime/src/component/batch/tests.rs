//! Columns: what is built reads back the same, and rubbish is refused before anything reads it.

use proptest::prelude::*;

use super::*;

fn two_records() -> RecordBatch {
    RecordBatch {
        count: 2,
        topics: vec!["a".into()],
        key_lens: vec![1, -1],
        value_lens: vec![2, 0],
        data: b"kvv".to_vec(),
        header_counts: vec![0, 1],
        header_lens: vec![1, -1],
        header_data: b"h".to_vec(),
        ..RecordBatch::default()
    }
}

#[test]
fn null_and_empty_differ() {
    let batch = Batch::checked(two_records()).unwrap();
    let records: Vec<_> = batch.iter().collect();
    assert_eq!((records[0].key, records[0].value), (Some(&b"k"[..]), Some(&b"vv"[..])));
    assert_eq!((records[1].key, records[1].value), (None, Some(&b""[..])));
    assert_eq!(records[1].headers.collect::<Vec<_>>(), [(&b"h"[..], None)]);
    assert_eq!(records[0].topic, Some("a"));
}

#[test]
fn rubbish_is_refused() {
    let broken = |change: fn(&mut RecordBatch)| {
        let mut columns = two_records();
        change(&mut columns);
        Batch::checked(columns).unwrap_err().to_string()
    };
    let cases: [(&str, String); 14] = [
        ("at most 1048576", broken(|c| c.count = u32::MAX)),
        ("column key-lens has 2 entries for 3 records", broken(|c| c.count = 3)),
        ("column value-lens has 1 entries", broken(|c| c.value_lens = vec![2])),
        ("column key-lens holds -2", broken(|c| c.key_lens = vec![-2, 3])),
        ("add up to 5, column data has 3 bytes", broken(|c| c.key_lens = vec![1, 2])),
        ("add up to 4294967296", broken(|c| (c.key_lens, c.value_lens) = (vec![i32::MAX; 2], vec![2, 0]))),
        ("topic index 7 is past the 1 topics", broken(|c| c.topic_index = vec![0, 7])),
        ("\"a/b\" is not a topic name", broken(|c| c.topics = vec!["a/b".into()])),
        ("column partitions holds -5", broken(|c| c.partitions = vec![-5, 0])),
        ("column offsets holds -1", broken(|c| c.offsets = vec![-1, 0])),
        ("column header-lens has 2 entries", broken(|c| c.header_counts = vec![0, 9])),
        ("column header-lens holds -1", broken(|c| c.header_lens = vec![-1, 1])),
        ("name of a header of record 1 is not UTF-8", broken(|c| c.header_data = vec![0xff])),
        ("column header-lens has 2 entries", broken(|c| c.header_counts = vec![u32::MAX; 2])),
    ];
    for (expected, message) in cases {
        assert!(message.contains(expected), "{message:?} should contain {expected:?}");
    }
}

#[test]
fn a_record_without_a_topic_is_of_the_pipelines() {
    let named = |topics: &[&str], topic_index: &[u32]| {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let columns = RecordBatch { topics, topic_index: topic_index.to_vec(), ..two_records() };
        let mut batch = Batch::checked(columns).unwrap();
        batch.name_topic("p");
        batch.iter().map(|record| record.topic.unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(named(&[], &[]), ["p", "p"]);
    assert_eq!(named(&["", "b"], &[0, 1]), ["p", "b"]);
    assert_eq!(named(&["a", ""], &[1, 0]), ["p", "a"]);
}

#[test]
fn a_second_topic_brings_the_index() {
    let mut builder = BatchBuilder::default();
    for topic in ["a", "a", "b", "a"] {
        builder.push(&RecordView { topic: Some(topic), ..RecordView::default() });
    }
    let batch = builder.build();
    assert_eq!(batch.columns.topic_index, [0, 0, 1, 0]);
    let batch = Batch::checked(batch.columns).unwrap();
    let topics: Vec<_> = batch.iter().map(|r| r.topic.unwrap().to_owned()).collect();
    assert_eq!(topics, ["a", "a", "b", "a"]);
}

type Fields = (Option<i32>, Option<i64>, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn fields(record: RecordView<'_>) -> Fields {
    let headers = record
        .headers
        .map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.map(<[u8]>::to_vec)));
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    (record.partition, record.timestamp_ms, owned(record.key), owned(record.value), headers.collect())
}

fn any_fields() -> impl Strategy<Value = Fields> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9));
    let headers = proptest::collection::vec((".{0,3}", bytes()), 0..3);
    (proptest::option::of(0..9i32), proptest::option::of(0..9i64), bytes(), bytes(), headers)
}

proptest! {
    #[test]
    fn what_is_built_reads_back(records in proptest::collection::vec(any_fields(), 0..20)) {
        let mut builder = BatchBuilder::default();
        for (partition, timestamp_ms, key, value, headers) in &records {
            let lens: Vec<i32> = headers.iter().flat_map(|(name, value)| {
                [name.len() as i32, value.as_ref().map_or(-1, |v| v.len() as i32)]
            }).collect();
            let data: Vec<u8> = headers.iter().flat_map(|(name, value)| {
                [name.as_bytes(), value.as_deref().unwrap_or_default()].concat()
            }).collect();
            builder.push(&RecordView {
                partition: *partition,
                timestamp_ms: *timestamp_ms,
                key: key.as_deref(),
                value: value.as_deref(),
                headers: Headers { lens: &lens, data: &data },
                ..RecordView::default()
            });
        }
        let batch = Batch::checked(builder.build().columns).unwrap();
        prop_assert_eq!(batch.iter().map(fields).collect::<Vec<_>>(), records);
    }
}
