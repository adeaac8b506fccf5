//! Exit codes and words for what doesn't even start.

use crate::support::{code, run, stderr, stdout};

#[test]
fn what_is_wrong_on_the_command_line_is_2() {
    for args in [
        &["rum"][..],
        &["run"],
        &["broker", "--nope"],
        &["broker", "--set", "x"],
        &["broker", "--set", "num.partitons=3"],
        &["broker", "--config", "nowhere.yaml"],
        &["connect", "a.yaml"],
        &["consume", "t", "--from", "yesterday"],
        &["topic", "create", "t", "--partitions", "0"],
        &["connector", "inspect", "file-sorce"],
        &["validate", "nowhere.yaml"],
    ] {
        let output = run(args);
        assert_eq!(code(&output), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stdout(&output).is_empty() && stderr(&output).contains("error: "), "{args:?}");
    }
    assert!(stderr(&run(&["broker", "--set", "num.partitons=3"])).contains("did you mean num.partitions?"));
    assert!(stderr(&run(&["connector", "inspect", "file-sorce"])).contains("file-source"));
}

#[test]
fn what_the_surroundings_refuse_is_3() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let below = file.join("data").display().to_string();
    let output = run(&["broker", "--data-dir", &below, "--listen", "127.0.0.1:0"]);
    assert_eq!(code(&output), Some(3), "{}", stderr(&output));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let data = folder.path().join("data").display().to_string();
    let output = run(&["broker", "--data-dir", &data, "--listen", &address]);
    assert_eq!(code(&output), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("--listen"), "{}", stderr(&output));
}

#[test]
fn help_version_and_completions_are_results() {
    for args in [&["--help"][..], &["--version"], &["topic", "create", "--help"], &["completions", "bash"]] {
        let output = run(args);
        assert_eq!(code(&output), Some(0), "{args:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{args:?}");
    }
    assert_eq!(stdout(&run(&["--version"])), format!("millrace {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn connectors_show_their_settings() {
    let listed = stdout(&run(&["connector", "list"]));
    for name in ["file-source", "file-sink", "filter", "mask", "rename"] {
        assert!(listed.contains(name), "{listed}");
    }
    let shown = stdout(&run(&["connector", "inspect", "file-source"]));
    assert!(shown.contains("delimiter") && shown.contains("csv|jsonl|lines"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_slice(&run(&["connector", "inspect", "mask", "--json"]).stdout).expect("JSON");
    assert_eq!(json["kind"], "transform");
    assert!(json["config_schema"]["properties"]["fields"].is_object(), "{json}");
}
