//! Everything that `wit/object-store.wit` has, asked by a component: both servers answer the same, and what they don't is written
//! down here.

use expect_test::expect;
use millrace_tests::s3::{KINDS, Kind, S3, run, server, write};

/// What each step of the walk says, a line each.
fn walk(kind: Kind, further: &str) -> String {
    let (folder, server) = server(kind);
    walk_at(folder.path(), &server, further)
}

fn walk_at(folder: &std::path::Path, server: &S3, further: &str) -> String {
    write(folder, "walk.wasm", millrace_test_components::hostile_sink());
    write(folder, "in.txt", "1\n");
    let connection = server.connection("lake", further);
    let pipeline = format!(
        "version: 1\nconnections:\n{connection}pipelines:\n  p:\n    source: {{ connector: file-source, path: in.txt, format: lines }}\n    \
         topic: {{ name: t, partitions: 1 }}\n    sinks:\n      s: {{ connector: ./walk.wasm, do: bucket, bucket: lake }}\n"
    );
    write(folder, "pipeline.yaml", pipeline);
    let output = run(folder).output().expect("the binary can be run");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let told = said.split_once("put: head nothing").and_then(|(_, told)| told.split_once(" (test.done)"));
    let (told, _) = told.unwrap_or_else(|| panic!("the walk did not come to its end:\n{said}"));
    format!("head nothing{told}").replace("; ", "\n")
}

#[test]
fn both_servers_do_the_same() {
    let walks = KINDS.map(|kind| walk(kind, ", prefix: \"deep/down/\""));
    expect![[r#"
        head nothing: missing
        get nothing: missing
        create: done
        create again: precondition
        replace: done
        replace again: precondition
        replace nothing: precondition
        head: 12 bytes
        get: "hello, world" of 12
        get at most 5: Fatal s3.response-size
        get a range: "world" of 12
        an odd key: done
        its head: 3 bytes
        out of the prefix: Fatal s3.key
        more: done
        more: done
        more: done
        more: done
        more: done
        list: a/one(12) a/x=1 & ü/t+0+0000000000.json(3) b/0(0) b/1(1) b/2(2) b/3(3) b/4(4) more=false
        list two: b/0(0) b/1(1) more=true
        list on: b/2(2) b/3(3) b/4(4) more=false
        list nothing:  more=false
        begin: done
        begin another: done
        part: 2 quotes
        part: 2 quotes
        not seen yet: missing
        uploads: u/left u/whole more=false
        uploads elsewhere:  more=false
        complete: done
        seen: 5242883 bytes
        complete again: done
        abort: done
        abort again: missing
        a part too late: missing
        no uploads:  more=false
        delete: done
        delete again: done
        what is left: a/x=1 & ü/t+0+0000000000.json(3) more=false"#]]
    .assert_eq(&walks[0]);
    let lines = walks[0].lines().zip(walks[1].lines());
    let other: Vec<_> = lines.filter(|(one, other)| one != other).map(|(_, other)| other).collect();
    // Of unfinished uploads s3s-fs keeps no list.
    expect![[r#"
        uploads: Fatal s3.NotImplemented
        uploads elsewhere: Fatal s3.NotImplemented
        complete again: denied
        abort again: denied
        a part too late: denied
        no uploads: Fatal s3.NotImplemented"#]]
    .assert_eq(&other.join("\n"));
    assert_eq!(walks[0].lines().count(), walks[1].lines().count());
}

#[test]
fn wrong_credentials_are_told_as_such_without_the_secret() {
    for kind in KINDS {
        let (folder, server) = server(kind);
        let folder = folder.path();
        write(folder, "walk.wasm", millrace_test_components::hostile_sink());
        write(folder, "in.txt", "1\n");
        let connection = server.connection("lake", "").replace("${env:S3_SECRET}", "hunter2-hunter2");
        let pipeline = format!(
            "version: 1\nconnections:\n{connection}pipelines:\n  p:\n    source: {{ connector: file-source, path: in.txt, format: lines }}\n    \
             topic: {{ name: t, partitions: 1 }}\n    sinks:\n      s: {{ connector: ./walk.wasm, do: bucket, bucket: lake }}\n"
        );
        write(folder, "pipeline.yaml", pipeline);
        let output = run(folder).output().expect("the binary can be run");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            said.contains("head nothing: denied; get nothing: denied; create: denied"),
            "{kind:?}\n{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
    }
}
