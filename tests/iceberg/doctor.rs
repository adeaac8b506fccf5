//! `millrace doctor` beside tables: such as are there, are to be made, or are other than the settings say; without a catalog and with one.

use std::fs;

use millrace_tests::doctor::{doctor, expect};
use millrace_tests::s3::{Kind, run, server, write};
use millrace_tests::strikes::write_rows;

use crate::catalog::catalog;
use crate::data::{pipeline_with, schema};

#[test]
fn a_table_is_there_or_what_is_missing_is_told() {
    let (folder, server) = server(Kind::VersityGw);
    let folder = folder.path();
    write_rows(folder, "in.jsonl", 0..10);
    let (_catalog, url) = catalog(folder, 0);
    let connection = format!("  catalog: {{ http: {{ url: \"{url}\" }} }}\n");
    let by_catalog = "catalog_connection: catalog\ncatalog_warehouse: birds\n";
    let objects = "objects below birds/strikes/: can be listed, read, written, deleted, uploaded in parts";
    for catalog in ["", by_catalog] {
        let pipeline =
            |further: &str| pipeline_with(&server, &connection, &format!("{catalog}{further}{}", schema()));
        let look = |further: &str| {
            let listen = "version: 1\nbroker: { listen: \"127.0.0.1:0\" }\n";
            doctor(folder, &pipeline(further).replacen("version: 1\n", listen, 1))
        };
        let absent = "failed   strikes.lake: table birds.strikes: is not there\n         -> make it with an engine, or set `auto_create: true`";
        expect(&look(""), &[absent, objects]);
        expect(
            &look("auto_create: true\n"),
            &["ok       strikes.lake: table birds.strikes: will be made", objects],
        );
        assert_eq!(server.objects(), [""; 0], "nothing was made");
        write(folder, "pipeline.yaml", pipeline("auto_create: true\npartition_by: [kind]\n"));
        let made = run(folder).output().expect("the binary can be run");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        expect(&look(""), &["ok       strikes.lake: table birds.strikes: is there, with 9 columns", objects]);
        let other = "failed   strikes.lake: table birds.strikes: partition_by says day(at), but the table birds.strikes is divided by kind: ";
        expect(
            &look("partition_by: [\"day(at)\"]\n"),
            &[other, "-> make `partition_by` the same, or leave it out"],
        );
        fs::remove_dir_all(folder.join("data")).expect("the broker's data");
        fs::remove_dir_all(server.folder().join("wh")).expect("the table");
    }
}
