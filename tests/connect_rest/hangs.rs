//! A component that never comes back, asked for over the REST API: whoever asks is told in time, and others are served meanwhile.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use millrace_test_components::hostile_source_build;
use millrace_tests::{Broker, Worker};
use serde_json::{Value, json};

fn ask(worker: &Worker, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    worker.ask(method, path, body).unwrap_or_else(|| panic!("{method} {path}: no answer\n{}", worker.log()))
}

fn install(file: &Path, manner: &str) {
    let new = file.with_extension("new");
    fs::write(&new, hostile_source_build("1.0.0", manner)).expect("the component's file");
    fs::rename(new, file).expect("the component's file");
}

/// A source that is made stopped: nobody has chosen its component yet.
fn make(worker: &Worker, name: &str, config: &Value) {
    let body = json!({ "name": name, "initial_state": "STOPPED", "config": config });
    let (code, told) = ask(worker, "POST", "/connectors", Some(&body));
    assert_eq!(code, 201, "{told}");
}

#[test]
fn a_component_that_never_says_what_it_is_holds_up_only_who_asks_for_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let file = folder.join("counter.wasm");
    install(&file, "well");
    let broker = Broker::start(folder, &[]);
    let mut worker = Worker::start(folder, "worker", &broker.bootstrap(), &[]);
    worker.wait_until_ready();
    make(&worker, "hung", &json!({ "connector.class": file, "topic": "t", "do": "count" }));
    let other = json!({ "connector.class": "file-source", "topic": "t", "path": folder.join("a.txt"), "format": "lines" });
    make(&worker, "other", &other);
    install(&file, "mute");

    let change =
        json!({ "offsets": [{ "partition": { "partition": "numbers" }, "offset": { "position": "7" } }] });
    let asked = [("PATCH", Some(&change)), ("DELETE", None)];
    thread::scope(|scope| {
        let hung = asked.map(|(method, body)| {
            let worker = &worker;
            scope.spawn(move || ask(worker, method, "/connectors/hung/offsets", body))
        });
        // Both are on their way by then, if the machine is not too busy: else there is less to be seen.
        thread::sleep(Duration::from_secs(1));
        let told = [
            ask(&worker, "DELETE", "/connectors/other/offsets", None),
            ask(&worker, "PUT", "/connectors/other/resume", None),
            ask(&worker, "GET", "/connectors/other/status", None),
        ];
        assert!(!hung.iter().any(thread::ScopedJoinHandle::is_finished), "others waited for it: {told:?}");
        assert_eq!(told.each_ref().map(|(code, _)| *code), [200, 202, 200], "{told:?}");
        for hung in hung {
            let (code, told) = hung.join().expect("it was asked");
            let message = told["message"].as_str().unwrap_or_default();
            assert_eq!((code, &told["error_code"]), (500, &json!(500)), "{told}");
            for words in ["positions of connector hung", "counter.wasm", "time limit of 15s"] {
                assert!(message.contains(words), "{words}: {message}");
            }
        }
    });

    install(&file, "well");
    let (code, told) = ask(&worker, "PATCH", "/connectors/hung/offsets", Some(&change));
    let done = "The offsets for this connector have been altered successfully";
    assert_eq!((code, told["message"].as_str()), (200, Some(done)), "{told}\n{}", worker.log());
    let (_, offsets) = ask(&worker, "GET", "/connectors/hung/offsets", None);
    assert_eq!(offsets, change);
}

#[test]
fn a_component_that_never_has_looked_at_its_settings_holds_up_only_who_asks_for_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let file = folder.join("counter.wasm");
    install(&file, "well");
    let broker = Broker::start(folder, &[]);
    let mut worker = Worker::start(folder, "worker", &broker.bootstrap(), &[]);
    worker.wait_until_ready();
    let config = |action: &str| json!({ "connector.class": file, "topic": "t", "do": action, "limits.call_timeout": "20s" });
    make(&worker, "there", &config("count"));

    let mulling = config("mull");
    let body = json!({ "name": "mulling", "config": mulling });
    let asked = [("POST", "/connectors", &body), ("PUT", "/connectors/there/config", &mulling)];
    thread::scope(|scope| {
        let mulled = asked.map(|(method, path, body)| {
            let worker = &worker;
            scope.spawn(move || ask(worker, method, path, Some(body)))
        });
        // Both are on their way by then, if the machine is not too busy: else there is less to be seen.
        thread::sleep(Duration::from_secs(1));
        make(&worker, "other", &config("count"));
        let told = [
            ask(&worker, "PUT", "/connectors/other/config", Some(&config("retry"))),
            ask(&worker, "PUT", "/connectors/there/pause", None),
            ask(&worker, "DELETE", "/connectors/other", None),
        ];
        assert!(!mulled.iter().any(thread::ScopedJoinHandle::is_finished), "others waited for it: {told:?}");
        assert_eq!(told.each_ref().map(|(code, _)| *code), [200, 202, 204], "{told:?}");
        for mulled in mulled {
            let (code, told) = mulled.join().expect("it was asked");
            let message = told["message"].as_str().unwrap_or_default();
            assert!(code == 400 && message.contains("time limit"), "{code} {told}");
        }
    });
    // What could not be looked at is not there.
    assert_eq!(ask(&worker, "GET", "/connectors/mulling", None).0, 404);
    assert_eq!(ask(&worker, "GET", "/connectors/there/config", None).1["do"], "count");
}
