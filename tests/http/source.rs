//! http-source against services that give pages in the ways that are usual.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_tests::http::{Answer, HttpServer, Request};

use crate::{run, succeed, told, write};

/// Records of a page.
const PAGE: usize = 7;

fn pipeline(settings: &str) -> String {
    format!(
        "version: 1
connections:
  shop: {{ http: {{ url: \"${{env:SERVER}}\", auth: {{ bearer: \"${{env:TOKEN}}\" }} }} }}
pipelines:
  orders:
    source: {{ connector: http-source, connection: shop, url: /orders, key: id, {settings} }}
    topic: {{ name: orders, partitions: 1 }}
    sinks:
      file: {{ connector: file-sink, path: out/orders.jsonl }}
"
    )
}

/// Orders with these numbers.
fn orders(numbers: std::ops::Range<usize>) -> String {
    let order = |n: usize| format!("{{\"id\":\"o{n}\",\"at\":{n}}}");
    format!("[{}]", numbers.map(order).collect::<Vec<_>>().join(","))
}

/// Every third request is refused for now.
fn busy(count: &AtomicUsize) -> Option<Answer> {
    let number = count.fetch_add(1, Ordering::SeqCst);
    (number % 3 == 1).then(|| Answer::status(429).header("Retry-After", "0"))
}

fn number(request: &Request, parameter: &str) -> usize {
    request.parameter(parameter).and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[test]
fn all_pages_arrive_once_whichever_way_they_are_found() {
    let total = 40;
    for (kind, settings) in [
        ("link", "paging: { link: true }"),
        ("next", "records: data.items, paging: { next: data.next }"),
        ("cursor", "records: data.items, paging: { cursor: { path: data.next, param: from } }"),
        ("offset", "paging: { offset: { param: from, limit_param: size, limit: 7 } }"),
        ("page", "paging: { page: { param: nr } }"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path();
        let asked = AtomicUsize::new(0);
        let server = HttpServer::start(move |request| {
            if let Some(busy) = busy(&asked) {
                return busy;
            }
            let from = match kind {
                "page" => (number(request, "nr") - 1) * PAGE,
                _ => number(request, "from"),
            };
            let items = orders(from.min(total)..(from + PAGE).min(total));
            let next = from + PAGE;
            let more = next < total;
            match kind {
                "link" if more => {
                    Answer::ok(items).header("Link", format!("</orders?from={next}>; rel=\"next\""))
                }
                "next" | "cursor" => {
                    let word = if kind == "next" {
                        format!("\"orders?from={next}\"")
                    } else {
                        format!("\"{next}\"")
                    };
                    let word = if more { word } else { "null".to_owned() };
                    Answer::ok(format!("{{\"data\":{{\"items\":{items},\"next\":{word}}}}}"))
                }
                _ => Answer::ok(items),
            }
        });
        write(folder, "pipeline.yaml", &pipeline(settings));
        succeed(folder, &server.url());
        let first = fs::read_to_string(folder.join("out/orders.jsonl")).expect("the sink's file");
        let wanted: String = (0..total).map(|n| format!("{{\"id\":\"o{n}\",\"at\":{n}}}\n")).collect();
        assert_eq!(first, wanted, "{kind}");
        succeed(folder, &server.url());
        let second = fs::read_to_string(folder.join("out/orders.jsonl")).expect("the sink's file");
        assert_eq!(second, wanted, "{kind}: another run doubled something");
    }
}

#[test]
fn each_run_takes_what_is_new_since_the_last() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let total = Arc::new(AtomicUsize::new(10));
    let now = Arc::clone(&total);
    let server = HttpServer::start(move |request| {
        Answer::ok(orders(number(request, "since")..now.load(Ordering::SeqCst)))
    });
    write(folder, "pipeline.yaml", &pipeline("position: { field: at, param: since }"));
    for count in [10, 10, 25] {
        total.store(count, Ordering::SeqCst);
        succeed(folder, &server.url());
        let lines = fs::read_to_string(folder.join("out/orders.jsonl")).expect("the sink's file");
        let wanted: String = (0..count).map(|n| format!("{{\"id\":\"o{n}\",\"at\":{n}}}\n")).collect();
        assert_eq!(lines, wanted);
    }
    let asked: Vec<Option<String>> =
        server.requests().iter().map(|r| r.parameter("since").map(str::to_owned)).collect();
    assert_eq!(asked, [None, Some("9".into()), Some("9".into())]);
}

#[test]
fn refused_credentials_end_the_source_and_are_not_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = HttpServer::start(|_| Answer::status(403));
    write(folder.path(), "pipeline.yaml", &pipeline("paging: { link: true }"));
    let output = run(folder.path(), &server.url());
    let said = told(&output);
    assert!(
        !output.status.success() && said.contains("answers 403") && said.contains("check `auth`"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(server.requests()[0].header("authorization"), "Bearer hunter2");
}
