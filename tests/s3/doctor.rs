//! `millrace doctor` beside real stores: a bucket that is there, and one that isn't.

use millrace_tests::binary;
use millrace_tests::process::command;
use millrace_tests::s3::{KINDS, SECRET_KEY, server, write};

#[test]
fn a_bucket_is_there_or_the_way_to_one_is_told() {
    for kind in KINDS {
        let (folder, server) = server(kind);
        let (good, lost) = (server.connection("good", ""), server.connection("lost", ""));
        let lost = lost.replacen("bucket: ", "bucket: no-", 1);
        let pipeline = format!(
            "version: 1
connections:
{good}
{lost}
pipelines:
  orders:
    topic: orders
    sinks:
      a: {{ connector: s3-sink, connection: good, format: json }}
      b: {{ connector: s3-sink, connection: lost, format: json }}
"
        );
        write(folder.path(), "p.yaml", pipeline);
        let mut doctor = command(binary());
        doctor.args(["doctor", "p.yaml"]).current_dir(folder.path()).env("S3_SECRET", SECRET_KEY);
        let tried = doctor.output().expect("the binary can be run");
        let said = String::from_utf8_lossy(&tried.stdout).into_owned();
        assert_eq!(tried.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&tried.stderr));
        for line in [
            "ok       connection good: bucket ",
            "failed   connection lost: ",
            "-> correct `bucket` of the connection, or make it",
        ] {
            assert!(said.contains(line), "{kind:?}: {line}:\n{said}");
        }
        assert!(!said.contains(SECRET_KEY), "{said}");
    }
}
