//! The source as the host drives it, against a server that is a function.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use millrace_sdk::http::{Request, Response};
use millrace_sdk::testing::{SourceTest, check_description, http};
use millrace_sdk::{Checkpoint, ErrorKind, Flow, Source};
use serde_json::{Value, json};

use crate::HttpSource;
use crate::settings::Settings;

/// What the server was asked, in order.
type Asked = Rc<RefCell<Vec<Request>>>;

fn serve(mut answer: impl FnMut(&Request) -> Response + 'static) -> Asked {
    let asked = Asked::default();
    let noted = Rc::clone(&asked);
    http::serve(move |connection, request| {
        assert_eq!(connection, "shop");
        noted.borrow_mut().push(request.clone());
        let url = match &request.relative_to {
            Some(_) if request.url.contains("://") => request.url.clone(),
            Some(_) => format!("https://shop.example/{}", request.url.trim_start_matches('/')),
            None => format!("https://shop.example{}", request.url),
        };
        Ok(Response { url, ..answer(request) })
    });
    asked
}

fn urls(asked: &Asked) -> Vec<String> {
    asked.borrow_mut().drain(..).map(|request| request.url).collect()
}

/// A source with what was committed of it.
struct Case {
    settings: Value,
    committed: Vec<Checkpoint>,
}

impl Case {
    fn new(mut settings: Value) -> Self {
        settings["connection"] = "shop".into();
        Self { settings, committed: Vec::new() }
    }

    fn open(&self) -> SourceTest<HttpSource> {
        SourceTest::open(&self.settings.to_string(), self.committed.clone()).expect("opens")
    }

    /// A poll that is committed: keys with values.
    fn poll(&mut self, test: &mut SourceTest<HttpSource>) -> (Vec<String>, Flow) {
        let polled = test.poll().expect("polls");
        for new in polled.checkpoints {
            self.committed.retain(|known| known.partition != new.partition);
            self.committed.push(new);
        }
        let shown = |record: &millrace_sdk::testing::Record| match &record.key {
            Some(key) => format!("{}: {}", String::from_utf8_lossy(key), record.text()),
            None => record.text(),
        };
        (polled.records.iter().map(shown).collect(), polled.flow)
    }

    /// A start that goes on from what is committed, to the end of a round; every second poll is lost in a kill first.
    fn round(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let mut lost = self.open();
            let _ = lost.poll().expect("polls");
            let mut test = self.open();
            let (mut records, flow) = self.poll(&mut test);
            all.append(&mut records);
            if flow != Flow::More {
                return all;
            }
        }
    }
}

#[test]
fn the_description_is_complete() {
    check_description(&HttpSource::describe()).expect("a complete description");
}

#[test]
fn one_page_is_read_once_or_in_each_round() {
    let asked =
        serve(|_| Response::new(200, r#" {"data": {"items": [{"id": 1.50}, {"id":"b"}, {"id":null}]}} "#));
    let mut case = Case::new(
        json!({ "url": "/o?x=1", "params": { "q": "a b&c" }, "records": "data.items", "key": "id" }),
    );
    assert_eq!(case.round(), [r#"1.50: {"id": 1.50}"#, r#"b: {"id":"b"}"#, r#"{"id":null}"#]);
    assert_eq!(urls(&asked)[0], "/o?x=1&q=a%20b%26c");
    assert_eq!(case.round(), [""; 0], "another run of a bounded source reads nothing again");
    assert!(urls(&asked).is_empty());

    let mut case = Case::new(json!({ "poll_every": "1s", "key": ["a", "b.c"] }));
    serve(|_| Response::new(200, r#"{"a":1,"b":{"c":[2]}}"#));
    let mut test = case.open();
    let (records, flow) = case.poll(&mut test);
    assert_eq!(
        (records, flow),
        (vec![r#"{"a":1,"b.c":[2]}: {"a":1,"b":{"c":[2]}}"#.to_owned()], Flow::Idle(1000))
    );
    assert!(
        matches!(case.poll(&mut test), (records, Flow::Idle(1..=1000)) if records.is_empty()),
        "not before its time"
    );
    assert_eq!(case.round().len(), 1, "a single document is a record each time");
}

#[test]
fn links_cursors_offsets_and_numbers_lead_through_all_pages_once() {
    let list = Rc::new(RefCell::new(vec![1, 2, 3, 4, 5]));
    let page_of = |from: usize, list: &[i32]| -> (String, bool) {
        let items = &list[from.min(list.len())..(from + 2).min(list.len())];
        (json!(items).to_string(), from + 2 < list.len())
    };
    let number = |url: &str, name: &str| -> usize {
        let text = url.split(['?', '&']).find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    for paging in [
        json!({ "link": true }),
        json!({ "next": "next" }),
        json!({ "cursor": { "path": "next", "param": "at" } }),
        json!({ "offset": { "param": "at", "limit": 2 } }),
        json!({ "page": { "param": "nr" } }),
    ] {
        *list.borrow_mut() = vec![1, 2, 3, 4, 5];
        let shared = Rc::clone(&list);
        let kind = paging.as_object().and_then(|o| o.keys().next().cloned()).expect("a kind");
        let answered = kind.clone();
        serve(move |request| {
            let list = shared.borrow();
            let from = match answered.as_str() {
                "page" => (number(&request.url, "nr") - 1) * 2,
                _ => number(&request.url, "at"),
            };
            let (items, more) = page_of(from, &list);
            let next = if answered == "cursor" {
                json!((from + 2).to_string())
            } else {
                json!(format!("?at={}", from + 2))
            };
            let next = if more { next } else { Value::Null };
            let mut response = Response::new(200, format!("{{\"items\":{items},\"next\":{next}}}"));
            if answered == "link" && more {
                response.headers.push(("link".into(), format!("<?at={}>; rel=\"next\"", from + 2)));
            }
            response
        });
        let mut case = Case::new(json!({ "records": "items", "paging": paging, "poll_every": "1s" }));
        assert_eq!(case.round(), ["1", "2", "3", "4", "5"], "{kind}");
        assert_eq!(case.round(), [""; 0], "{kind}: nothing is new");
        list.borrow_mut().extend([6, 7, 8]);
        assert_eq!(case.round(), ["6", "7", "8"], "{kind}: what is new comes once");
        assert_eq!(case.round(), [""; 0], "{kind}");
    }
}

#[test]
fn a_position_asks_for_what_is_new_and_knows_the_boundary_again() {
    let asked = serve(|request| {
        let since: i64 = request.url.split("since=").nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        let all = [(1, "a"), (3, "b"), (3, "c"), (2, "d")];
        // "Since" includes it, as with many services.
        let items: Vec<_> =
            all.iter().filter(|(at, _)| *at >= since).map(|(at, id)| json!({ "id": id, "at": at })).collect();
        Response::new(200, json!(items).to_string())
    });
    let mut case = Case::new(json!({ "position": { "field": "at", "param": "since" }, "key": "id" }));
    let keys = |records: Vec<String>| records.iter().map(|record| record[..1].to_owned()).collect::<String>();
    assert_eq!(keys(case.round()), "abcd");
    assert_eq!(keys(case.round()), "", "the next run asks for what has come since");
    assert_eq!(urls(&asked), ["", "", "?since=3", "?since=3"]);
    serve(|_| {
        Response::new(200, r#"[{"at":3,"id":"b"},{"at":3,"id":"e"},{"at":3,"id":"c"},{"at":4,"id":"f"}]"#)
    });
    assert_eq!(keys(case.round()), "ef", "only b and c as they were are known");
}

#[test]
fn what_is_known_at_the_boundary_is_known_in_whatever_order_it_comes() {
    let mut case = Case::new(json!({ "position": { "field": "at", "param": "since" }, "key": "id" }));
    let keys = |records: Vec<String>| records.iter().map(|record| record[..1].to_owned()).collect::<String>();
    serve(|_| Response::new(200, r#"[{"at":3,"id":"b"},{"at":3,"id":"c"},{"at":2,"id":"d"}]"#));
    assert_eq!(keys(case.round()), "bcd");
    // The newest first.
    serve(|_| {
        Response::new(200, r#"[{"at":4,"id":"f"},{"at":3,"id":"e"},{"at":3,"id":"b"},{"at":3,"id":"c"}]"#)
    });
    assert_eq!(keys(case.round()), "fe");
    serve(|_| Response::new(200, r#"[{"at":5,"id":"h"},{"at":4,"id":"g"},{"at":4,"id":"f"}]"#));
    assert_eq!(keys(case.round()), "hg");
}

/// The head of a feed leads to itself until there is more.
#[test]
fn a_page_that_leads_to_itself_is_read_once() {
    for own in ["https://shop.example/?at=2", "/?at=2", "?at=2"] {
        let head = Rc::new(RefCell::new(vec![1, 2]));
        let shared = Rc::clone(&head);
        serve(move |request| match request.url.contains("at=2") {
            true => Response {
                url: "https://shop.example/?at=2".into(),
                ..Response::new(200, json!({ "items": *shared.borrow(), "next": own }).to_string())
            },
            false => Response::new(200, r#"{"items":[0],"next":"/?at=2"}"#),
        });
        let mut case =
            Case::new(json!({ "records": "items", "paging": { "next": "next" }, "poll_every": "1s" }));
        assert_eq!(case.round(), ["0", "1", "2"], "{own}");
        head.borrow_mut().push(3);
        assert_eq!(case.round(), ["3"], "{own}");
    }
}

#[test]
fn empty_pages_end_neither_a_window_nor_a_run() {
    for further in [
        json!({ "window": { "from": "from", "to": "to", "start": "1970-01-01", "step": "1h" } }),
        json!({ "position": { "field": "at", "param": "since" } }),
        json!({}),
    ] {
        let mut number = 0;
        let asked = serve(move |request| {
            let at = request.url.split("at=").nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
            number = number.max(at);
            match at {
                150 => Response::new(200, r#"{"items":[{"at":1}]}"#),
                _ => Response::new(200, json!({ "items": [], "next": at + 1 }).to_string()),
            }
        });
        let paging = json!({ "cursor": { "path": "next", "param": "at" } });
        let mut settings = json!({ "records": "items", "paging": paging });
        settings.as_object_mut().expect("an object").extend(further.as_object().expect("an object").clone());
        let mut case = Case::new(settings);
        let mut test = case.open();
        test.source.clock = || 3_600_000;
        let mut flow = Flow::More;
        while flow == Flow::More {
            flow = case.poll(&mut test).1;
        }
        assert_eq!((flow, asked.borrow().len()), (Flow::Idle(1_000), 100), "{further}");
        test.source.clock = || 3_601_000;
        let mut all = Vec::new();
        while all.is_empty() {
            all = case.poll(&mut test).0;
        }
        assert_eq!(all, [r#"{"at":1}"#], "{further}");
    }
}

#[test]
fn windows_follow_one_another_up_to_now() {
    fn at(test: &mut SourceTest<HttpSource>, moment: i64) {
        assert!(moment == 7_200_000 || moment == 7_199_999);
        test.source.clock = if moment == 7_200_000 { || 7_200_000 } else { || 7_199_999 };
    }
    let asked = serve(|_| Response::new(200, "[1]"));
    let window = json!({ "from": "from", "to": "to", "start": "1970-01-01", "step": "1h", "format": "unix" });
    let mut case = Case::new(json!({ "window": window }));
    let mut test = case.open();
    at(&mut test, 7_199_999);
    assert_eq!(case.poll(&mut test), (vec!["1".to_owned()], Flow::More));
    assert_eq!(case.poll(&mut test), (vec![], Flow::End), "the second window is not over");
    let mut test = case.open();
    at(&mut test, 7_200_000);
    assert_eq!(case.poll(&mut test), (vec!["1".to_owned()], Flow::More));
    assert_eq!(case.poll(&mut test), (vec![], Flow::End));
    assert_eq!(urls(&asked), ["?from=0&to=3600", "?from=3600&to=7200"]);
    case.settings["poll_every"] = "1s".into();
    let mut test = case.open();
    at(&mut test, 7_200_000);
    assert_eq!(case.poll(&mut test), (vec![], Flow::Idle(3_600_000)));
}

#[test]
fn a_document_is_read_again_only_if_it_has_changed() {
    let asked = serve(|request| {
        let known = request.headers.iter().any(|(name, value)| name == "If-None-Match" && value == "\"1\"");
        let mut response = Response::new(if known { 304 } else { 200 }, if known { "" } else { "[1,2]" });
        response.headers.push(("etag".into(), "\"1\"".into()));
        response
    });
    let mut case = Case::new(json!({ "conditional": true, "poll_every": "1s" }));
    assert_eq!(case.round(), ["1", "2"]);
    assert_eq!(case.round(), [""; 0]);
    assert_eq!(asked.borrow().len(), 4);
}

#[test]
fn a_service_that_always_has_another_cursor_is_left_alone_for_a_while() {
    let mut number = 0;
    let asked = serve(move |_| {
        number += 1;
        Response::new(200, json!({ "items": [], "next": number }).to_string())
    });
    let paging = json!({ "cursor": { "path": "next", "param": "at" } });
    let mut case = Case::new(json!({ "records": "items", "paging": paging, "poll_every": "1s" }));
    let mut test = case.open();
    while case.poll(&mut test).1 == Flow::More {}
    assert_eq!(asked.borrow().len(), 100);
}

#[test]
fn requests_keep_their_distance() {
    let asked = serve(|_| Response::new(200, "[1]"));
    let mut case = Case::new(json!({ "paging": { "page": {} }, "min_interval": "1h" }));
    let mut test = case.open();
    assert_eq!(case.poll(&mut test).1, Flow::More);
    assert!(
        matches!(case.poll(&mut test), (records, Flow::Idle(3_000_000..=3_600_000)) if records.is_empty())
    );
    assert_eq!(asked.borrow().len(), 1);
}

#[test]
fn answers_that_are_none_say_what_to_do() {
    let error = |status: u16, body: &'static str, settings: Value| {
        serve(move |_| {
            let mut response = Response::new(status, body);
            response.headers.push(("retry-after".into(), "5".into()));
            response
        });
        Case::new(settings).open().poll().expect_err("fails")
    };
    for status in [408, 425, 429, 500, 503] {
        let error = error(status, "busy", json!({}));
        assert_eq!(
            (error.kind, error.retry_after),
            (ErrorKind::Retriable, Some(Duration::from_secs(5))),
            "{status}"
        );
    }
    let limited = error(403, "rate limit", json!({}));
    assert_eq!((limited.kind, limited.retry_after), (ErrorKind::Retriable, Some(Duration::from_secs(5))));
    for status in [301, 304, 400, 401, 404] {
        assert_eq!(error(status, "no", json!({})).kind, ErrorKind::Fatal, "{status}");
    }
    assert!(error(401, "no", json!({})).message.contains("check `auth`"));
    assert!(error(200, "<html>", json!({})).message.starts_with("the response can't be read: "));
    assert!(error(200, "{}", json!({ "records": "items" })).message.contains("no items; correct `records`"));
    let position = json!({ "position": { "field": "at", "param": "since" } });
    assert_eq!(error(200, "[{}]", position).code, "http.position");
    serve(|_| Response::new(200, r#"{"items":null}"#));
    assert_eq!(Case::new(json!({ "records": "items" })).round(), [""; 0]);
    serve(|_| Response::new(204, ""));
    assert_eq!(Case::new(json!({})).round(), [""; 0]);
}

#[test]
fn settings_that_contradict_each_other_are_told() {
    let problems = |mut settings: Value| {
        settings["connection"] = "shop".into();
        let settings: Settings = serde_json::from_value(settings).expect("settings");
        settings.problems().into_iter().map(|p| p.path).collect::<Vec<_>>()
    };
    assert_eq!(
        problems(json!({ "records": "a..b", "key": ["a", ""], "paging": { "next": "[" } })),
        ["/records", "/key/1", "/paging/next"]
    );
    let window = json!({ "from": "f", "to": "t", "start": "today", "step": "1ms" });
    let position = json!({ "field": "a", "param": "b" });
    assert_eq!(
        problems(json!({ "window": window, "position": position, "conditional": true, "poll_every": "1ms" })),
        ["/poll_every", "/window/start", "/window/step", "/position", "/conditional"]
    );
    assert_eq!(problems(json!({ "conditional": true, "paging": { "link": true } })), ["/conditional"]);
}
