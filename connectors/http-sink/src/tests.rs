//! The sink as the host drives it, against a server that is a function.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use millrace_sdk::http::{Request, Response};
use millrace_sdk::testing::{Record, SinkTest, check_description, http};
use millrace_sdk::{Durable, Error, ErrorKind, Sink};
use serde_json::{Value, json};

use crate::HttpSink;
use crate::settings::Settings;

/// What the server was asked, in order.
type Asked = Rc<RefCell<Vec<Request>>>;

fn serve(mut answer: impl FnMut(&Request) -> Result<Response, Error> + 'static) -> Asked {
    let asked = Asked::default();
    let noted = Rc::clone(&asked);
    http::serve(move |connection, request| {
        assert_eq!(connection, "shop");
        noted.borrow_mut().push(request.clone());
        answer(request)
    });
    asked
}

fn status(status: u16) -> Result<Response, Error> {
    Ok(Response {
        url: "https://shop.example/orders?key=secret".into(),
        ..Response::new(status, "no\n such  thing")
    })
}

fn sink(mut settings: Value) -> SinkTest<HttpSink> {
    settings["connection"] = "shop".into();
    SinkTest::open(&settings.to_string()).expect("opens")
}

fn records(values: &[&str]) -> Vec<Record> {
    let record =
        |(offset, value): (i64, &&str)| Record::keyed(format!("k{offset}"), *value).at("t", 0, offset);
    (10..).zip(values).map(record).collect()
}

fn bodies(asked: &Asked) -> Vec<String> {
    let text =
        |request: &Request| String::from_utf8_lossy(request.body.as_deref().unwrap_or_default()).into_owned();
    asked.borrow().iter().map(text).collect()
}

fn headers(asked: &Asked, name: &str) -> Vec<String> {
    let asked = asked.borrow();
    let all = asked.iter().flat_map(|request| &request.headers);
    all.filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
}

#[test]
fn the_description_is_complete() {
    check_description(&HttpSink::describe()).expect("a complete description");
}

#[test]
fn a_request_per_record_in_order() {
    let asked = serve(|_| status(201));
    let mut sink = sink(json!({
        "url": "/orders/${key}", "method": "PUT", "headers": { "X-Topic": "${topic}" },
        "body": "{\"id\": ${value.id}, \"at\": ${offset}}",
    }));
    assert_eq!(sink.put(&records(&[r#"{"id":1}"#, r#"{"id":"b"}"#])).expect("puts"), (2, vec![]));
    assert_eq!(sink.flush().expect("flushes"), Durable::Everything);
    assert_eq!(bodies(&asked), [r#"{"id": 1, "at": 10}"#, r#"{"id": "b", "at": 11}"#]);
    assert_eq!(asked.borrow()[0].url, "/orders/k10");
    assert_eq!(asked.borrow()[0].method, "PUT");
    assert_eq!(headers(&asked, "X-Topic"), ["t", "t"]);
    assert_eq!(headers(&asked, "Content-Type"), ["application/json", "application/json"]);
    assert_eq!(headers(&asked, "Idempotency-Key"), ["test:t:0:10:-1", "test:t:0:11:-1"]);
}

#[test]
fn what_a_transform_made_of_one_record_has_keys_of_its_own_also_over_calls() {
    let mut left = 2;
    let asked = serve(move |_| {
        left -= 1;
        status(if left == 0 { 503 } else { 200 })
    });
    let mut sink = sink(json!({}));
    let record = |value: &str, offset| Record::value(value).at("t", 0, offset);
    let all = [record("a", 7), record("b", 7), record("c", 7), record("d", 8)];
    assert_eq!(sink.put(&all).expect("puts").0, 1);
    assert_eq!(sink.put(&all[1..]).expect("puts").0, 3);
    assert_eq!(
        headers(&asked, "Idempotency-Key"),
        ["7", "7.1", "7.1", "7.2", "8"].map(|offset| format!("test:t:0:{offset}:-1"))
    );
}

#[test]
fn several_at_once_keep_the_order_of_a_key() {
    let asked = serve(|_| status(200));
    let mut sink = sink(json!({ "in_flight": 8, "url": "/${key}" }));
    let keyed = |key: &str, offset| Record::keyed(key, "1").at("t", 0, offset);
    let all = [keyed("a", 1), keyed("b", 2), keyed("a", 3), keyed("c", 4)];
    // The second of `a` begins another window, so that it is sent when the first was answered.
    assert_eq!(sink.put(&all).expect("puts"), (4, vec![]));
    assert_eq!(asked.borrow().iter().map(|r| r.url.as_str()).collect::<Vec<_>>(), ["/a", "/b", "/a", "/c"]);
}

#[test]
fn what_may_pass_is_retriable_and_what_came_before_counts() {
    for again in [408, 425, 429, 500, 503, 599] {
        serve(move |_| {
            let mut answer = status(again)?;
            answer.headers.push(("retry-after".into(), "7".into()));
            Ok(answer)
        });
        let error = sink(json!({})).put(&records(&["1"])).expect_err("fails");
        assert_eq!(
            (error.kind, error.code.as_str()),
            (ErrorKind::Retriable, format!("http.{again}").as_str())
        );
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(error.message, format!("https://shop.example/orders answers {again}: no such thing"));
    }
    serve(|request| status(if request.body.as_deref() == Some(b"3") { 503 } else { 200 }));
    assert_eq!(sink(json!({})).put(&records(&["1", "2", "3", "4"])).expect("puts"), (2, vec![]));
    serve(|_| Err(Error::retriable("http.connect", "nobody there")));
    assert_eq!(sink(json!({})).put(&records(&["1"])).expect_err("fails").code, "http.connect");
}

#[test]
fn what_says_nothing_of_the_record_stops_the_task() {
    for fatal in [302, 401, 403, 405, 407] {
        serve(move |_| status(fatal));
        assert_eq!(
            sink(json!({})).put(&records(&["1"])).expect_err("fails").kind,
            ErrorKind::Fatal,
            "{fatal}"
        );
    }
    serve(|_| status(403));
    let (taken, rejected) = sink(json!({ "reject_status": [403] })).put(&records(&["1"])).expect("puts");
    assert_eq!((taken, rejected[0].1.code.as_str()), (1, "http.403"));
    serve(|_| status(409));
    let error = sink(json!({ "retry_status": [409] })).put(&records(&["1"])).expect_err("fails");
    assert_eq!(error.kind, ErrorKind::Retriable);
}

#[test]
fn a_record_that_the_server_refuses_is_rejected_alone() {
    serve(|request| status(if request.body.as_deref() == Some(b"2") { 422 } else { 200 }));
    let (taken, rejected) = sink(json!({})).put(&records(&["1", "2", "3"])).expect("puts");
    assert_eq!((taken, rejected.len(), rejected[0].0), (3, 1, 1));
    assert_eq!(
        rejected[0].1.to_string(),
        "https://shop.example/orders answers 422: no such thing (http.422)"
    );
}

#[test]
fn batches_are_arrays_or_lines_of_one_partition() {
    let asked = serve(|_| status(200));
    let mut all = records(&["1", "{\n\"a\": 2}", "3"]);
    all.push(Record::value("4").at("t", 1, 5));
    sink(json!({ "batch": { "records": 2 }, "url": "/${topic}/${partition}" })).put(&all).expect("puts");
    assert_eq!(bodies(&asked), ["[1,{\n\"a\": 2}]", "[3]", "[4]"]);
    assert_eq!(
        headers(&asked, "Idempotency-Key"),
        ["test:t:0:10-11:-1", "test:t:0:12-12:-1", "test:t:1:5-5:-1"]
    );
    assert_eq!(asked.borrow()[2].url, "/t/1");
    let asked = serve(|_| status(200));
    sink(json!({ "batch": { "format": "lines", "bytes": "1B" } })).put(&all).expect("puts");
    assert_eq!(bodies(&asked), ["1\n", "{ \"a\": 2}\n", "3\n", "4\n"]);
    assert_eq!(headers(&asked, "Content-Type")[0], "application/x-ndjson");
}

#[test]
fn a_refused_batch_is_halved_until_the_bad_ones_are_alone() {
    let asked = serve(|request| {
        let body = String::from_utf8_lossy(request.body.as_deref().unwrap_or_default()).into_owned();
        status(if body.contains("66") || body.contains("99") { 400 } else { 200 })
    });
    let mut sink = sink(json!({ "batch": {} }));
    let values = ["0", "1", "66", "?", "4", "5", "99", "7"];
    let (taken, rejected) = sink.put(&records(&values)).expect("puts");
    assert_eq!(taken, 8);
    let codes: Vec<_> = rejected.iter().map(|(at, why)| (*at, why.code.as_str())).collect();
    assert_eq!(codes, [(2, "http.400"), (3, "json.syntax"), (6, "http.400")]);
    let taken: Vec<String> =
        bodies(&asked).into_iter().filter(|b| !b.contains("66") && !b.contains("99")).collect();
    assert_eq!(taken.concat(), "[0][1][4,5][7]", "{:?}", bodies(&asked));
}

#[test]
fn an_outage_in_the_middle_of_a_batch_loses_and_rejects_nothing() {
    let mut answers = [400, 200, 503].into_iter();
    serve(move |_| status(answers.next().unwrap_or(503)));
    let (taken, rejected) = sink(json!({ "batch": {} })).put(&records(&["1", "2", "3", "4"])).expect("puts");
    assert_eq!((taken, rejected), (2, vec![]));
}

#[test]
fn tombstones_go_their_way() {
    let put = |tombstones: &str, batch: Option<Value>| {
        let asked = serve(|_| status(204));
        let mut settings = json!({ "url": "/x", "tombstones": tombstones });
        if let Some(batch) = batch {
            settings["batch"] = batch;
        }
        let tombstone = Record { value: None, ..Record::keyed("k", "").at("t", 0, 1) };
        let (taken, rejected) = sink(settings).put(&[tombstone]).expect("puts");
        assert_eq!(taken, 1);
        let methods: Vec<String> = asked.borrow().iter().map(|request| request.method.clone()).collect();
        (methods.concat(), bodies(&asked).concat(), rejected.len())
    };
    assert_eq!(put("reject", None), (String::new(), String::new(), 1));
    assert_eq!(put("skip", None), (String::new(), String::new(), 0));
    assert_eq!(put("delete", None), ("DELETE".into(), String::new(), 0));
    assert_eq!(put("send", None), ("POST".into(), String::new(), 0));
    assert_eq!(put("send", Some(json!({}))), ("POST".into(), "[null]".into(), 0));
    assert_eq!(put("skip", Some(json!({}))), (String::new(), String::new(), 0));
}

#[test]
fn settings_that_contradict_each_other_are_told() {
    let problems = |mut settings: Value| {
        settings["connection"] = "shop".into();
        let settings: Settings = serde_json::from_value(settings).expect("settings");
        settings.problems().into_iter().map(|p| p.path).collect::<Vec<_>>()
    };
    assert_eq!(problems(json!({ "url": "/${nonsense}" })), ["/url"]);
    assert_eq!(problems(json!({ "url": "https://${value.host}/x" })), ["/url"]);
    assert_eq!(problems(json!({ "body": "{\"id\": \"${key}\"}" })), ["/body"]);
    assert_eq!(problems(json!({ "body": "id=${key}", "content_type": "text/plain" })), [""; 0]);
    assert_eq!(
        problems(
            json!({ "batch": { "bytes": "9MiB" }, "url": "/${key}", "headers": { "a/b": "${offset}" }, "in_flight": 2 })
        ),
        ["/batch/bytes", "/url", "/headers/a~1b", "/in_flight"]
    );
    assert_eq!(problems(json!({ "batch": {}, "tombstones": "delete" })), ["/tombstones"]);
    assert_eq!(problems(json!({ "retry_status": [409], "reject_status": [409] })), ["/reject_status"]);
}
