//! `millrace doctor` beside real stores: a bucket that is there, and one that isn't; what may be done in it; and that nothing stays.

use std::fs;
use std::path::Path;

use millrace_tests::doctor::{doctor, expect};
use millrace_tests::s3::{KINDS, Kind, S3, server};

fn pipeline(connections: &str, pipelines: &str) -> String {
    format!(
        "version: 1
broker: {{ listen: \"127.0.0.1:0\" }}
connections:
{connections}pipelines:
{pipelines}"
    )
}

/// Files of the bucket, hidden ones too, whose names have this in them.
fn named(folder: &Path, part: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(named(&entry.path(), part));
        } else if name.contains(part) {
            found.push(name);
        }
    }
    found
}

fn is_left(server: &S3) -> Vec<String> {
    named(&server.folder(), "millrace-doctor")
}

#[test]
fn a_bucket_is_there_or_the_way_to_one_is_told() {
    for kind in KINDS {
        let (folder, server) = server(kind);
        let (good, lost) = (server.connection("good", ""), server.connection("lost", ""));
        let lost = lost.replacen("bucket: ", "bucket: no-", 1);
        let said = doctor(
            folder.path(),
            &pipeline(
                &format!("{good}{lost}"),
                "  orders:
    topic: orders
    sinks:
      a: { connector: s3-sink, connection: good, format: json }
      b: { connector: s3-sink, connection: lost, format: json }
",
            ),
        );
        expect(
            &said,
            &[
                "ok       connection good: bucket ",
                "failed   connection lost: ",
                "-> correct `bucket` of the connection, or make it",
            ],
        );
        assert!(!said.contains("orders.b"), "what is lost was told: {said}");
        let may = match kind {
            Kind::VersityGw => {
                "ok       orders.a: objects below topics/orders/: can be listed, read, written, uploaded in parts"
            }
            Kind::S3sFs => {
                "warning  orders.a: objects below topics/orders/: can't be searched for unfinished uploads, which a kill may leave: "
            }
        };
        expect(&said, &[may]);
        assert_eq!(is_left(&server), [""; 0], "{kind:?}");
    }
}

#[test]
fn what_a_bucket_does_not_allow_is_told_with_the_right_that_is_missing() {
    let (folder, mut server) = server(Kind::VersityGw);
    let old = ".millrace-doctor-1700000000000-0000000000000001";
    fs::create_dir_all(server.folder().join("topics/orders")).expect("a folder");
    fs::write(server.folder().join("topics/orders").join(old), "").expect("an object");
    fs::write(server.folder().join("one.json"), "{}").expect("an object");
    let connection = server.connection("lake", "");
    let pipelines = "  orders:
    topic: orders
    sinks:
      s: { connector: s3-sink, connection: lake, format: json }
  back:
    source: { connector: s3-source, connection: lake, format: jsonl, suffix: .json, when_done: delete }
    topic: back
  gone:
    source: { connector: s3-source, connection: lake, format: jsonl, prefix: nowhere/ }
    topic: gone
";
    let text = pipeline(&connection, pipelines);
    server.restart_read_only();
    let said = doctor(folder.path(), &text);
    expect(
        &said,
        &[
            "failed   orders.s: objects below topics/orders/: can't be written: ",
            "-> allow s3:PutObject, for keys that begin with \"topics/orders/\" behind the connection's prefix",
            "failed   back.source: objects below the connection's prefix: can't be deleted: ",
            "-> allow s3:DeleteObject",
            "ok       back.source: objects to read: are there, such as one.json",
            "ok       gone.source: objects below nowhere/: can be listed, read",
            "warning  gone.source: objects to read: are not there\n         -> correct `prefix` or `suffix`, or set `follow: true`",
        ],
    );
    assert_eq!(is_left(&server), [old], "what is left can't be removed");
    server.kill();
    server.restart();
    let said = doctor(folder.path(), &text);
    expect(
        &said,
        &[
            "ok       orders.s: objects below topics/orders/: can be listed, read, written, uploaded in parts",
            "ok       back.source: objects below the connection's prefix: can be listed, read, deleted",
        ],
    );
    assert_eq!(is_left(&server), [""; 0], "what a killed doctor left is removed by another one");
    assert!(server.folder().join("one.json").is_file(), "nobody else's objects are");
}
