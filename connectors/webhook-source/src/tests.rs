//! The source as the host drives it, with senders that are a queue.

use millrace_sdk::http_listener::{Answer, Request};
use millrace_sdk::testing::{Record, SourceTest, check_description, http_listener};
use millrace_sdk::{Checkpoint, Source};
use serde_json::{Value, json};

use crate::WebhookSource;

fn open(mut settings: Value) -> SourceTest<WebhookSource> {
    settings["connection"] = "hooks".into();
    SourceTest::open(&settings.to_string(), Vec::new()).expect("opens")
}

fn post(body: &str) -> Request {
    Request { method: "POST".into(), path: "/".into(), body: body.into(), received: 7, ..Request::default() }
}

fn poll(test: &mut SourceTest<WebhookSource>) -> (Vec<Record>, Vec<Checkpoint>) {
    let polled = test.poll().expect("polls");
    (polled.records, polled.checkpoints)
}

fn statuses() -> Vec<(u64, u16)> {
    http_listener::answers().into_iter().map(|Answer { id, status, .. }| (id, status)).collect()
}

#[test]
fn the_description_is_complete() {
    check_description(&WebhookSource::describe()).expect("a complete description");
}

#[test]
fn a_sender_is_answered_when_its_record_is_durable_and_not_before() {
    let mut test = open(json!({"status": 202}));
    let ids: Vec<u64> = (0..3).map(|n| http_listener::send(post(&format!("{{\"n\":{n}}}")))).collect();
    let (records, first) = poll(&mut test);
    assert_eq!(records.iter().map(Record::text).collect::<Vec<_>>(), ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}"]);
    assert_eq!(records[0].timestamp, 7);
    let late = http_listener::send(post("{}"));
    let (_, second) = poll(&mut test);
    assert_eq!(statuses(), []);
    test.source.commit(&first).expect("commits");
    assert_eq!(statuses(), ids.iter().map(|id| (*id, 202)).collect::<Vec<_>>());
    // Nothing new: nothing to commit, nothing to answer.
    assert_eq!(poll(&mut test), (vec![], vec![]));
    test.source.commit(&second).expect("commits");
    assert_eq!(statuses(), [(late, 202)]);
}

#[test]
fn what_is_no_record_is_refused_at_once_and_nothing_is_written() {
    let mut test = open(json!({"path": "/in", "split": true, "key": "id"}));
    let at = |method: &str, path: &str, body: &str| {
        http_listener::send(Request { method: method.into(), path: path.into(), ..post(body) })
    };
    let elsewhere = at("POST", "/out", "{}");
    let asked = at("GET", "/in", "");
    let broken = at("POST", "/in", "{\"a\":");
    let trailing = at("POST", "/in", "{} {}");
    let half = at("POST", "/in", "[{\"id\":1},{\"id\":}]");
    let no_text = http_listener::send(Request { path: "/in".into(), body: vec![0xff], ..post("") });
    let nothing = at("POST", "/in", "[]");
    let (records, checkpoints) = poll(&mut test);
    assert_eq!((records, checkpoints), (vec![], vec![]));
    let refused = [broken, trailing, half, no_text].map(|id| (id, 400));
    assert_eq!(statuses(), [&[(elsewhere, 404), (asked, 405)][..], &refused, &[(nothing, 200)]].concat());
}

#[test]
fn elements_keys_and_headers_are_taken_as_the_settings_say() {
    let mut test = open(json!({"split": true, "key": "order.id", "headers": ["X-Kind"]}));
    let headers = vec![("x-kind".to_owned(), "new".to_owned())];
    http_listener::send(Request {
        headers: headers.clone(),
        ..post(" [{\"order\":{\"id\":\"a\"}}, {\"order\":{\"id\":1.50}}, {\"order\":{\"id\":null}}, 4] ")
    });
    let (records, _) = poll(&mut test);
    let keys: Vec<_> = records.iter().map(|record| record.key.as_deref()).collect();
    assert_eq!(keys, [Some(&b"a"[..]), Some(b"1.50"), None, None]);
    assert_eq!(records[3].text(), "4");
    assert_eq!(records[3].headers, [("x-kind".to_owned(), Some(b"new".to_vec()))]);

    let mut test = open(json!({"format": "bytes", "key_header": "X-Kind"}));
    http_listener::send(Request { headers, body: vec![0xff, 0], ..post("") });
    let (records, _) = poll(&mut test);
    assert_eq!(
        (records[0].key.as_deref(), records[0].value.as_deref()),
        (Some(&b"new"[..]), Some(&[0xff, 0][..]))
    );
}

#[test]
fn settings_that_exclude_one_another_are_told() {
    let problems = |settings: Value| {
        let settings = serde_json::from_value(settings).expect("settings");
        let problems = WebhookSource::validate(&settings).expect("validates");
        problems.into_iter().map(|problem| problem.path).collect::<Vec<_>>()
    };
    let both = json!({"connection": "c", "key": "id", "key_header": "X-Id"});
    assert_eq!(problems(both), ["/key_header"]);
    let text = json!({"connection": "c", "key": "a..b", "split": true, "format": "text"});
    assert_eq!(problems(text), ["/key", "/split", "/key"]);
    assert_eq!(problems(json!({"connection": "c"})), [""; 0]);
}

#[test]
fn what_no_topic_takes_is_refused_and_the_rest_goes_on() {
    let most = (1 << 20) - (16 << 10);
    let text = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
    let mut test = open(json!({ "split": true, "headers": ["X-Kind"] }));
    let fits = http_listener::send(post(&text(most - 22)));
    let large = http_listener::send(post(&text(most - 21)));
    let several = http_listener::send(post(&format!("[1,{}]", text(most + 1))));
    let many = http_listener::send(post(&format!("[{}1]", "1,".repeat(100_000))));
    let (records, checkpoints) = poll(&mut test);
    assert_eq!(records.len(), 1);
    // What is taken at once is bounded, too.
    let rest: usize = (0..3).map(|_| poll(&mut test).0.len()).sum();
    assert_eq!(rest, 0);
    assert_eq!(statuses(), [(large, 413), (several, 413), (many, 413)]);
    test.source.commit(&checkpoints).expect("commits");
    assert_eq!(statuses(), [(fits, 200)]);
    let mut test = open(json!({ "format": "bytes" }));
    let large = http_listener::send(post(&"x".repeat(most + 1)));
    assert!(poll(&mut test).0.is_empty());
    assert_eq!(statuses(), [(large, 413)]);
}
