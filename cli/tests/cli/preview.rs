//! `preview` against a broker: what each transform makes of the records in a topic, and nothing left behind.

use crate::support::{Broker, code, run, run_with, stderr, stdout};

const PIPELINE: &str = "\
version: 1
pipelines:
  orders:
    topic: orders
    sinks:
      items:
        connector: file-sink
        path: out/items.jsonl
        transforms:
          - { connector: drop, predicate: { type: RecordIsTombstone } }
          - { connector: jq, value: '.items[]' }
          - { connector: mask, fields: [card] }
";

#[test]
fn records_are_shown_after_each_transform() {
    let broker = Broker::start(&[]);
    let created = run(&broker.at(&["topic", "create", "orders", "--partitions", "1"]));
    assert_eq!(code(&created), Some(0), "{}", stderr(&created));
    let input = "k:{\"items\":[]}\nk:{\"items\":[{\"card\":1},{\"card\":2}]}\nk:no JSON\nk:\n";
    let produced =
        run_with(&broker.at(&["produce", "orders", "-K", ":", "-H", "t=1", "--null-empty"]), input);
    assert_eq!(code(&produced), Some(0), "{}", stderr(&produced));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("orders.yaml");
    std::fs::write(&file, PIPELINE).expect("written");
    let file = file.to_string_lossy();
    let shown = run(&broker.at(&["preview", &file]));
    assert_eq!(code(&shown), Some(0), "{}", stderr(&shown));
    assert_eq!(
        stdout(&shown),
        "\
orders.items orders-0@0
    k [t: 1] {\"items\":[]}
  1 drop: not for it
  2 jq: dropped
orders.items orders-0@1
    k [t: 1] {\"items\":[{\"card\":1},{\"card\":2}]}
  1 drop: not for it
  2 jq
    k [t: 1] {\"card\":1}
    k [t: 1] {\"card\":2}
  3 mask
    k [t: 1] {\"card\":\"****\"}
    k [t: 1] {\"card\":\"****\"}
orders.items orders-0@2
    k [t: 1] no JSON
  1 drop: not for it
  2 jq: rejected: not a JSON document: expected ident at line 1 column 2 (json)
orders.items orders-0@3
    k [t: 1] null
  1 drop: dropped
"
    );
    let last = run(&broker.at(&["preview", &file, "--sink", "items", "--count", "1", "--format", "json"]));
    let line: serde_json::Value = serde_json::from_str(stdout(&last).trim()).expect("a JSON object");
    assert_eq!((&line["record"]["offset"], &line["steps"][0]["outcome"]), (&3.into(), &"dropped".into()));
    let wrong = run(&broker.at(&["preview", &file, "--sink", "nope"]));
    assert_eq!(code(&wrong), Some(2));
    assert!(stderr(&wrong).contains("there are orders.items"), "{}", stderr(&wrong));
    // It made no topic of offsets, as the first group of a broker does.
    let topics = stdout(&run(&broker.at(&["topic", "list", "--internal"])));
    assert!(!topics.contains("__consumer_offsets"), "{topics}");
    assert!(!folder.path().join("out").exists());
}
