//! `millrace doctor` beside a real registry: one that answers, one that is no registry, one that isn't there.

use millrace_tests::binary;
use millrace_tests::broker::free_address;
use millrace_tests::process::command;

use crate::Site;

#[test]
fn a_registry_is_asked_before_anything_runs() {
    let site = Site::start();
    let lost = free_address();
    let pipeline = format!(
        "version: 1
connections:
  good: {{ schema_registry: {{ url: \"{}\" }} }}
  lost: {{ schema_registry: {{ url: \"http://{lost}\", username: ada, password: s3cret-word }} }}
pipelines:
  orders:
    topic: orders
    sinks:
      a: {{ connector: file-sink, path: a.jsonl, value_format: {{ type: avro, registry: good }} }}
      b: {{ connector: file-sink, path: b.jsonl, key_format: {{ type: avro, registry: lost }} }}
",
        site.url
    );
    std::fs::write(site.folder.path().join("p.yaml"), pipeline).expect("a file");
    let tried = command(binary()).args(["doctor", "p.yaml"]).current_dir(site.folder.path()).output();
    let tried = tried.expect("the binary can be run");
    let said = String::from_utf8_lossy(&tried.stdout).into_owned();
    assert_eq!(tried.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&tried.stderr));
    for line in [
        &format!("ok       connection good: schema registry {}, compatibility BACKWARD", site.url),
        "failed   connection lost: ",
        "-> start the registry, or correct `url` of the connection",
    ] {
        assert!(said.contains(line), "{line}:\n{said}");
    }
    assert!(!said.contains("s3cret-word"), "{said}");
}
