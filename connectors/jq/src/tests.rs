//! What becomes of records.

use millrace_sdk::testing::{Record, TransformTest, check_description};
use serde_json::{Value, json};

use super::*;

fn apply(settings: Value, records: &[Record]) -> (Vec<Record>, Vec<(u32, String)>) {
    let mut test = TransformTest::<Jq>::open(&settings.to_string()).expect("good settings");
    let applied = test.apply(records).expect("the columns are sound");
    let rejected =
        applied.rejected.into_iter().map(|(index, why)| (index, format!("{}: {}", why.code, why.message)));
    (applied.records, rejected.collect())
}

fn values(code: &str, value: &str) -> Vec<String> {
    let (records, rejected) = apply(json!({ "value": code }), &[Record::value(value)]);
    assert_eq!(rejected, []);
    records.iter().map(Record::text).collect()
}

fn rejection(settings: Value, value: &str) -> String {
    let (records, rejected) = apply(settings, &[Record::value("1"), Record::value(value)]);
    assert!(records.len() <= 1, "{records:?}");
    rejected.into_iter().find(|(index, _)| *index == 1).expect("rejected").1
}

#[test]
fn a_record_is_mapped_dropped_and_multiplied() {
    assert_eq!(
        values("{id, total: (.price * .n)}", r#"{"id":"a","price":1.5,"n":2}"#),
        [r#"{"id":"a","total":3.0}"#]
    );
    assert_eq!(values("select(.n > 2)", r#"{"n":2}"#), [] as [&str; 0]);
    let items = r#"{"order":12345678901234567890,"items":[{"n":1},{"n":2.50}]}"#;
    assert_eq!(
        values(".order as $order | .items[] | . + {$order}", items),
        [r#"{"n":1,"order":12345678901234567890}"#, r#"{"n":2.50,"order":12345678901234567890}"#]
    );
    // Not a tombstone.
    assert_eq!(values("null", "1"), ["null"]);
}

#[test]
fn the_rest_of_the_record_is_asked_and_made() {
    let record = Record {
        timestamp: 1_795_248_000_250,
        headers: vec![("t".to_owned(), Some(b"abc".to_vec())), ("n".to_owned(), None)],
        ..Record::keyed("k1", r#"{ "region": "eu", "n": 1.50 }"#).at("orders", 2, 17)
    };
    let settings = json!({
        "key": "\"\\(.region)-\\($key)\"", "topic": "$topic + \"-\" + .region", "timestamp": "$timestamp + 1",
        "headers": "$headers + {p: $partition, o: $offset, n: null} | del(.t)",
    });
    let (records, rejected) = apply(settings, std::slice::from_ref(&record));
    assert_eq!(rejected, []);
    let header = |name: &str, value: Option<&str>| (name.to_owned(), value.map(|v| v.as_bytes().to_vec()));
    // The value was not touched: it is as it was, byte for byte.
    let wanted = Record {
        topic: "orders-eu".to_owned(),
        key: Some(b"eu-k1".to_vec()),
        timestamp: 1_795_248_000_251,
        headers: vec![header("n", None), header("p", Some("2")), header("o", Some("17"))],
        ..record
    };
    let mut made = records;
    made.iter_mut().chain([&mut wanted.clone()]).for_each(|record| record.headers.sort());
    let mut wanted = wanted;
    wanted.headers.sort();
    assert_eq!(made, [wanted]);
}

#[test]
fn keys_are_text_json_or_none() {
    let key = |code: &str| {
        let (records, _) =
            apply(json!({ "value": ".a[]", "key": code }), &[Record::value(r#"{"a":[{"id":"x"}]}"#)]);
        records[0].key.clone().map(|key| String::from_utf8(key).expect("text"))
    };
    assert_eq!(key(".id").as_deref(), Some("x"));
    assert_eq!(key("{id}").as_deref(), Some(r#"{"id":"x"}"#));
    assert_eq!(key("null"), None);
}

#[test]
fn tombstones_go_on() {
    let tombstone = Record { value: None, ..Record::keyed("k", "") };
    assert_eq!(
        apply(json!({ "value": "empty" }), std::slice::from_ref(&tombstone)),
        (vec![tombstone], vec![])
    );
}

#[test]
fn what_goes_wrong_rejects_the_record_and_says_where() {
    let value = |code: &str, value: &str| rejection(json!({ "value": code }), value);
    assert!(value(".", "{").starts_with("jq: ") || value(".", "{").starts_with("json: not a JSON document"));
    let error = value("select(type == \"object\") | .a\n  | tonumber", r#"{"a":"x"}"#);
    assert!(error.starts_with("jq: `value`: line 2 column 5 (tonumber): "), "{error}");
    let error = value("if . == 2 then error(\"too old\") else . end", "2");
    assert!(error.ends_with(": too old"), "{error}");
    assert!(
        value("if . == 2 then nan else . end", "2").ends_with("nan or infinite, which JSON has no form for")
    );
    assert!(value("if . == 2 then halt else . end", "2").contains("halt has no place"));
    assert!(value("if . == 2 then range(1e9) else . end", "2").contains("more than 10000 results"));
    let long = value("if . == 2 then error(\"x\" * 10000) else . end", "2");
    assert!(long.len() < 600, "{}", long.len());
    let error = rejection(json!({ "key": "if . == 2 then (1, 2) else 1 end" }), "2");
    assert_eq!(error, "jq: `key`: it has several results, and one is needed");
    let error = rejection(json!({ "topic": "if . == 2 then 7 else \"t\" end" }), "2");
    assert_eq!(error, "jq: `topic`: 7 is no name of a topic");
    let error = rejection(json!({ "timestamp": "if . == 2 then -1 else 1 end" }), "2");
    assert_eq!(error, "jq: `timestamp`: -1 is no whole number of milliseconds");
}

#[test]
fn bad_expressions_are_named_all_at_once() {
    check_description(&Jq::describe()).expect("a sound description");
    let settings =
        millrace_sdk::settings::parse(r#"{ "value": ".a | nosuch", "key": ".[", "topic": "$topic" }"#)
            .expect("a form");
    let problems = Jq::validate(&settings).expect("checked");
    let told: Vec<_> = problems.iter().map(|p| (p.path.as_str(), p.message.as_str())).collect();
    assert_eq!(told[0], ("/value", "line 1 column 6: filter nosuch is not defined"));
    assert_eq!(told[1].0, "/key");
    assert_eq!(told.len(), 2);
}
