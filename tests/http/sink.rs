//! http-sink against a server that is busy, that refuses some, that is not there.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use millrace_tests::http::{Answer, HttpServer};

use crate::{run, succeed, told, write};

/// A pipeline with a sink of these settings, whose dead letters go to a file.
fn pipeline(settings: &str) -> String {
    format!(
        "version: 1
connections:
  shop: {{ http: {{ url: \"${{env:SERVER}}/v1\", auth: {{ bearer: \"${{env:TOKEN}}\" }} }} }}
pipelines:
  orders:
    source: {{ connector: file-source, path: in.jsonl, format: jsonl, key: id }}
    topic: {{ name: orders, partitions: 1 }}
    sinks:
      shop:
        connector: http-sink
        connection: shop
{settings}
        errors: {{ tolerance: all, dead_letter_topic: letters, retry_timeout: 5s }}
  letters:
    topic: {{ name: letters, partitions: 1 }}
    sinks:
      file: {{ connector: file-sink, path: out/letters.jsonl }}
"
    )
}

fn lines(count: u32) -> String {
    (0..count).map(|id| format!("{{\"id\":\"o{id}\",\"price\":{id}.50}}\n")).collect()
}

#[test]
fn a_busy_server_gets_every_record_and_what_it_refuses_becomes_a_dead_letter() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let asked = AtomicU32::new(0);
    let server = HttpServer::start(move |request| {
        let number = asked.fetch_add(1, Ordering::SeqCst);
        match (number % 5, request.path.as_str()) {
            (3, _) => Answer::status(429).header("Retry-After", "0"),
            (4, _) => Answer::status(503),
            (_, "/v1/orders/o7") => Answer::ok("no such price").with_status(422),
            _ => Answer::status(201),
        }
    });
    write(folder, "in.jsonl", &lines(12));
    let settings =
        "        url: \"/orders/${key}\"\n        method: PUT\n        body: '{\"price\": ${value.price}}'";
    write(folder, "pipeline.yaml", &pipeline(settings));
    succeed(folder, &server.url());
    let mut stored: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let taken = server.requests().iter().filter(|request| request.answered == 201).count();
    assert_eq!(taken, 11, "each once, but for the one that was refused");
    for request in server.requests() {
        assert_eq!((request.method.as_str(), request.header("authorization")), ("PUT", "Bearer hunter2"));
        let key = request.header("idempotency-key").to_owned();
        stored.entry(request.path).or_default().push((key, request.body));
    }
    assert_eq!(stored.len(), 12);
    for id in 0..12 {
        let sent = &stored[&format!("/v1/orders/o{id}")];
        let (key, body) = (&sent[0].0, format!("{{\"price\": {id}.50}}"));
        assert!(key.starts_with(&format!("orders.shop:orders:0:{id}:")), "o{id}: {key}");
        assert!(sent.iter().all(|one| *one == (key.clone(), body.clone())), "o{id}: {sent:?}");
    }
    let letters = fs::read_to_string(folder.join("out/letters.jsonl")).expect("dead letters");
    assert_eq!(letters, "{\"id\":\"o7\",\"price\":7.50}\n");
    // What has arrived is not sent again by another run.
    let before = server.requests().len();
    succeed(folder, &server.url());
    assert_eq!(server.requests().len(), before);
}

#[test]
fn a_batch_with_bad_records_is_halved_until_they_are_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let server = HttpServer::start(|request| {
        let bad = ["\"o3\"", "\"o64\"", "\"o99\""].iter().any(|bad| request.body.contains(bad));
        Answer::status(if bad { 400 } else { 200 })
    });
    write(folder, "in.jsonl", &lines(100));
    write(folder, "pipeline.yaml", &pipeline("        batch: { records: 40, format: array }"));
    succeed(folder, &server.url());
    let mut taken = Vec::new();
    for request in server.requests() {
        let records: Vec<serde_json::Value> = serde_json::from_str(&request.body).expect("a JSON array");
        let ids: Vec<String> = records.iter().map(|r| r["id"].as_str().expect("an id").to_owned()).collect();
        if !ids.iter().any(|id| ["o3", "o64", "o99"].contains(&id.as_str())) {
            taken.extend(ids);
        }
    }
    let wanted: Vec<String> =
        (0..100).filter(|id| ![3, 64, 99].contains(id)).map(|id| format!("o{id}")).collect();
    assert_eq!(taken, wanted, "each once and in order");
    let letters = fs::read_to_string(folder.join("out/letters.jsonl")).expect("dead letters");
    let ids: Vec<&str> = letters.lines().filter_map(|line| line.split('"').nth(3)).collect();
    assert_eq!(ids, ["o3", "o64", "o99"]);
}

#[test]
fn an_outage_and_refused_credentials_fill_no_dead_letters_and_show_no_secret() {
    for (status, words) in [(503, "answers 503"), (401, "check `auth` of the connection")] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path();
        let server = HttpServer::start(move |_| Answer::status(status));
        write(folder, "in.jsonl", &lines(3));
        write(folder, "pipeline.yaml", &pipeline("").replace("retry_timeout: 5s", "retry_timeout: 500ms"));
        let output = run(folder, &server.url());
        let said = told(&output);
        assert!(!output.status.success() && said.contains(words), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        assert!(!folder.join("out/letters.jsonl").exists(), "an outage made dead letters");
    }
}
