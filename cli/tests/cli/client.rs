//! `topic`, `produce`, `consume` against a broker.

use crate::support::{Broker, code, run, run_with, stderr, stdout};

#[test]
fn records_go_in_and_come_out() {
    let broker = Broker::start(&[]);
    let created = run(&broker.at(&[
        "topic",
        "create",
        "orders",
        "--partitions",
        "3",
        "--config",
        "retention.ms=3600000",
    ]));
    assert_eq!(stdout(&created), "created topic orders\n", "{}", stderr(&created));
    let again = run(&broker.at(&["topic", "create", "orders"]));
    assert_eq!(code(&again), Some(1));
    assert!(stderr(&again).contains("exists already"), "{}", stderr(&again));
    let wrong = run(&broker.at(&["topic", "create", "or ders"]));
    assert_eq!(code(&wrong), Some(2), "{}", stderr(&wrong));

    let produced = run_with(
        &broker.at(&["produce", "orders", "-K", ":", "-H", "from=test", "-z", "zstd"]),
        "a:1\nb:2\na:3\nc:",
    );
    assert_eq!(code(&produced), Some(0), "{}", stderr(&produced));
    let unkeyed = run_with(&broker.at(&["produce", "orders", "-K", ":"]), "d:4\nno key\n");
    assert_eq!(code(&unkeyed), Some(1));
    assert!(stderr(&unkeyed).contains("line 2 has no `:`"), "{}", stderr(&unkeyed));

    let shown = run(&broker.at(&["consume", "orders", "--from", "earliest", "-e", "--format", "json"]));
    let text = stdout(&shown);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a JSON object per line")).collect();
    let of_a: Vec<&str> =
        lines.iter().filter(|l| l["key"] == "a").filter_map(|l| l["value"].as_str()).collect();
    assert_eq!(of_a, ["1", "3"], "{text}");
    assert!(lines.iter().any(|l| l["key"] == "c" && l["value"] == ""), "{text}");
    assert!(lines.iter().filter(|l| l["key"] != "d").all(|l| l["headers"][0]["value"] == "test"), "{text}");

    let two = run(&broker.at(&["consume", "orders", "--from", "earliest", "--count", "2"]));
    assert_eq!(stdout(&two).lines().count(), 2);
    let none = run(&broker.at(&["consume", "orders", "--from", "9999-01-01T00:00:00Z", "-e"]));
    assert_eq!((code(&none), stdout(&none)), (Some(0), String::new()));
    let partition = run(&broker.at(&["consume", "orders", "--from", "earliest", "-p", "3", "-e"]));
    assert_eq!(code(&partition), Some(2), "{}", stderr(&partition));
}

#[test]
fn a_group_goes_on_where_it_was() {
    let broker = Broker::start(&["--set", "group.initial.rebalance.delay.ms=0"]);
    let produced = run_with(&broker.at(&["produce", "numbers"]), "1\n2\n3\n4\n");
    assert_eq!(code(&produced), Some(0), "{}", stderr(&produced));
    let read = |count| {
        let output =
            run(&broker.at(&["consume", "numbers", "--group", "g", "--from", "earliest", "--count", count]));
        assert_eq!(code(&output), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    assert_eq!(read("3"), "1\n2\n3\n");
    assert_eq!(read("1"), "4\n");
}

#[test]
fn a_topic_that_is_not_there_is_not_made_by_looking() {
    let broker = Broker::start(&[]);
    for args in [&["consume", "nope", "-e"][..], &["topic", "describe", "nope"], &["topic", "delete", "nope"]]
    {
        let output = run(&broker.at(args));
        assert_eq!(code(&output), Some(1), "{args:?}");
        assert!(stderr(&output).contains("topic nope is not there"), "{}", stderr(&output));
    }
    assert!(!stdout(&run(&broker.at(&["topic", "list"]))).contains("nope"));
}

#[test]
fn no_broker_is_3() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let output = run(&["topic", "list", "--bootstrap", &closed.to_string()]);
    assert_eq!(code(&output), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("millrace broker"), "{}", stderr(&output));
}
