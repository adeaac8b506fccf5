//! Every type with its extremes and nulls, from a database as JSON, as Avro and as Parquet, and back: nothing is lost, or it is refused.

use std::fs;
use std::path::Path;
use std::time::Duration;

use millrace_tests::broker::free_address;
use millrace_tests::process::{Process, command, wait_until};
use millrace_tests::s3::{Kind, S3, SECRET_KEY};
use millrace_tests::{Broker, Postgres, binary, tools, topic};

/// Longest wait for rows, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

const TYPES: &str = "CREATE TYPE mood AS ENUM ('fine', 'not so, \"fine\"'); CREATE DOMAIN positive AS numeric CHECK (VALUE > 0);
    CREATE TYPE pair AS (a int, b text); CREATE DOMAIN few AS int[];";

/// A type, and values of it in SQL.
const VALUES: &[(&str, &[&str])] = &[
    ("bool", &["true", "false"]),
    ("int2", &["-32768", "32767"]),
    ("int4", &["-2147483648", "2147483647"]),
    ("int8", &["-9223372036854775808", "9223372036854775807", "9007199254740993"]),
    ("oid", &["0", "4294967295"]),
    ("float4", &["3.4028235e38", "1e-45", "'NaN'", "'-Infinity'", "'-0'", "0.1"]),
    ("float8", &["1.7976931348623157e308", "5e-324", "'NaN'", "'Infinity'", "'-0'", "0.1"]),
    (
        "numeric",
        &[
            "('9' || repeat('9', 999) || '.' || repeat('1', 500))::numeric",
            "'-1e-200'",
            "'NaN'",
            "'-Infinity'",
            "0.10",
        ],
    ),
    ("numeric(20, 4)", &["-9999999999999999.9999", "0"]),
    ("money", &["'-92233720368547758.08'", "'92233720368547758.07'"]),
    (
        "text",
        &[
            "''",
            "E'\\t\\r\\n\\x01\"\\\\/''é\u{1F600}'",
            "'null'",
            "repeat('long ', 2000)",
            "'{\"a\": 1}'",
            "' [1] '",
        ],
    ),
    ("varchar(9)", &["''", "'a  '"]),
    ("char(5)", &["''", "'ab'"]),
    ("name", &["'a name'"]),
    ("\"char\"", &["'x'"]),
    ("bytea", &["'\\x'", "'\\x00ff5c'", "decode(repeat('00ff', 5000), 'hex')"]),
    (
        "date",
        &[
            "'4713-01-01 BC'",
            "'5874897-12-31'",
            "'infinity'",
            "'-infinity'",
            "'0044-03-15 BC'",
            "'1970-01-01'",
        ],
    ),
    ("time", &["'00:00'", "'24:00'", "'23:59:59.999999'"]),
    ("timetz", &["'00:00+15:59:59'", "'24:00-15:59:59'", "'12:00:00.1+00'"]),
    (
        "timestamp",
        &[
            "'4713-01-01 00:00 BC'",
            "'294276-12-31 23:59:59.999999'",
            "'infinity'",
            "'-infinity'",
            "'1969-12-31 23:59:59.999999'",
        ],
    ),
    (
        "timestamptz",
        &[
            "'4713-01-02 00:00+00 BC'",
            "'294276-12-31 23:59:59.999999+00'",
            "'infinity'",
            "'-infinity'",
            "'2026-01-02 03:04:05.6+05:30'",
        ],
    ),
    (
        "interval",
        &[
            "'178000000 years'",
            "'-178000000 years'",
            "'1 year -2 mons 3 days -04:05:06.789'",
            "'0'",
            "'-0.000001 s'",
        ],
    ),
    ("uuid", &["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"]),
    ("json", &["'null'", "'\"a\"'", "'{\"a\": 1,  \"a\": 2.50}'", "' [1] '"]),
    ("jsonb", &["'null'", "'5'", "'\"{}\"'", "'{\"k\": [1e30, null, \"\\u00e9\"]}'", "'[]'"]),
    ("xml", &["'<a b=\"c\">ä</a>'"]),
    ("inet", &["'10.0.0.1/8'", "'::ffff:1.2.3.4/128'"]),
    ("cidr", &["'10.0.0.0/8'"]),
    ("macaddr", &["'08:00:2b:01:02:03'"]),
    ("macaddr8", &["'08:00:2b:01:02:03:04:05'"]),
    ("bit(4)", &["B'1010'"]),
    ("varbit", &["B''", "B'10101010101'"]),
    ("tsvector", &["'a:1 fat:2A ''it''''s'''"]),
    ("tsquery", &["'fat & (rat | !cat)'"]),
    ("pg_lsn", &["'FFFFFFFF/FFFFFFFF'"]),
    ("jsonpath", &["'$.a[*] ? (@ > 1)'"]),
    ("point", &["'(1e-300,-1.5)'"]),
    ("box", &["'(2,2),(1,1)'"]),
    ("polygon", &["'((0,0),(1,1),(0,1))'"]),
    ("circle", &["'<(0,0),0.1>'"]),
    ("int4range", &["'[1,5)'", "'empty'", "'(,)'"]),
    ("tstzrange", &["'[\"2026-01-01 00:00+00\",infinity)'"]),
    ("mood", &["'fine'", "'not so, \"fine\"'"]),
    ("positive", &["7.50"]),
    ("pair", &["ROW(1, 'a,\"b\"')", "ROW(NULL, '')"]),
    ("bool[]", &["'{t,f,NULL}'"]),
    ("int4[]", &["'{}'", "'{1,NULL,-3}'"]),
    ("text[]", &["ARRAY['a b', '', NULL, 'NULL', '\"}\\', E'\\n']"]),
    ("float8[]", &["'{NaN,-Infinity,1e-300,-0}'"]),
    ("numeric[]", &["'{NaN,0.10,99999999999999999999.5}'"]),
    ("bytea[]", &["ARRAY['\\x00ff'::bytea, NULL, '\\x']"]),
    ("date[]", &["'{infinity,0044-03-15 BC}'"]),
    ("timestamp[]", &["'{294276-12-31 23:59:59.999999,-infinity}'"]),
    ("timestamptz[]", &["'{\"2026-01-01 00:00:00.000001Z\",NULL}'"]),
    ("interval[]", &["'{1 mon -1 days}'"]),
    ("uuid[]", &["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"]),
    ("jsonb[]", &["ARRAY['null'::jsonb, '{\"a\": [1]}', '\"x\"', NULL]"]),
    ("mood[]", &["ARRAY['not so, \"fine\"'::mood, NULL]"]),
    ("pair[]", &["ARRAY[ROW(1, 'a')::pair, NULL]"]),
    ("positive[]", &["ARRAY[1.5::positive]"]),
    ("few", &["'{4,5}'"]),
];

/// Arrays that JSON's don't tell of whole, or that are not of one schema. The last one goes anywhere.
const DIMENSIONS: &str = "CREATE TABLE dimensions (id int PRIMARY KEY, v int[], boxes box[]);";
const DIMENSIONS_ROWS: &str =
    "INSERT INTO dimensions VALUES (1, '{{1,2},{3,NULL}}', NULL), (2, '[0:1]={1,2}', NULL), (3, '{{{1}}}', NULL),
    (4, '{1,2}', '{(1,1),(0,0);(2,2),(1,1)}')";

fn create() -> String {
    let columns: Vec<String> =
        VALUES.iter().enumerate().map(|(n, (kind, _))| format!("c{n} {kind}")).collect();
    format!("{TYPES} CREATE TABLE torture (id int PRIMARY KEY, {}); {DIMENSIONS}", columns.join(", "))
}

/// Rows that hold all values; the last one holds none.
fn rows(first_id: usize) -> (String, usize) {
    let count = 1 + VALUES.iter().map(|(_, values)| values.len()).max().unwrap_or_default();
    let row = |at: usize| {
        let values: Vec<&str> =
            VALUES.iter().map(|(_, values)| values.get(at).copied().unwrap_or("NULL")).collect();
        format!("({}, {})", first_id + at, values.join(", "))
    };
    // One by one: VALUES of many rows would have to agree on types.
    let inserts: Vec<String> =
        (0..count).map(|at| format!("INSERT INTO torture VALUES {}", row(at))).collect();
    (inserts.join("; "), count)
}

fn pipelines(server: &Postgres, s3: &S3, registry: &str, count: usize) -> String {
    let source = |name: &str, more: &str| {
        format!(
            "
    source:
      connector: postgres-source
      connection: origin
      slot: {name}
      publication: torture
      refresh: 200ms
      {more}"
        )
    };
    let sink = |name: &str, more: &str| {
        format!(
            "
      db:
        connector: postgres-sink
        connection: {name}
        table_name_format: \"${{source.table}}\"
        insert_mode: upsert
        pk_mode: record_key
        flush_interval: 100ms
        {more}"
        )
    };
    let avro = "{ type: avro, registry: schemas }";
    let formats = |indent: &str| format!("key_format: {avro}\n{indent}value_format: {avro}");
    let (in_source, in_sink) = (formats("      "), formats("        "));
    let letters = "errors: { tolerance: all, dead_letter_topic: letters }";
    let url = |name: &str| format!("  {name}: {{ postgres: {{ url: \"{}\" }} }}\n", server.url(name));
    format!(
        "version: 1
connections:
  schemas: {{ schema_registry: {{ url: \"{registry}\" }} }}
{}{}{}{}pipelines:
  json:{}
    topic: {{ name: json, partitions: 1 }}
    sinks:{}
  avro:{}
    topic: {{ name: avro, partitions: 1 }}
    sinks:{}
  refused:{}
    topic: {{ name: refused, partitions: 1 }}
    sinks:{}
  parquet:{}
    topic: {{ name: parquet, partitions: 1 }}
    sinks:
      lake: {{ connector: s3-sink, connection: lake, format: parquet, flush_size: {count} }}
",
        url("origin"),
        url("json"),
        url("avro"),
        s3.connection("lake", ""),
        source("json", ""),
        sink("json", ""),
        source("avro", &format!("{in_source}\n      tables: [public.torture]")),
        sink("avro", &in_sink),
        source("refused", &format!("{in_source}\n      tables: [public.dimensions]\n      {letters}")),
        sink("avro", &in_sink),
        source("parquet", "schemas: true\n      format: flat\n      tables: [public.torture]"),
    )
}

/// The finished Parquet files as rows of a table.
fn load(server: &Postgres, s3: &S3) {
    let objects = s3.objects().into_iter().filter(|key| key.ends_with(".parquet"));
    let mut read = tools::python();
    read.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("postgres/parquet.py")).arg("torture");
    read.args(objects.map(|key| s3.folder().join(key)));
    let output = read.output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for statement in String::from_utf8_lossy(&output.stdout).split_inclusive(";\n") {
        server.sql("parquet", statement);
    }
}

#[test]
fn no_type_loses_anything_on_its_way() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let server = Postgres::start(&[]);
    for name in ["origin", "json", "avro", "parquet"] {
        server.create(name);
        server.sql(name, &create());
    }
    let (values, count) = rows(1);
    server.sql(
        "origin",
        &format!("CREATE PUBLICATION torture FOR TABLE torture, dimensions; {values}; {DIMENSIONS_ROWS}"),
    );
    let registry = free_address();
    let broker = Broker::start(folder, &[&format!("registry.listener={registry}")]);
    let s3 = S3::start(Kind::S3sFs, folder);
    let text = pipelines(&server, &s3, &format!("http://{registry}"), count);
    fs::write(folder.join("types.yaml"), text).expect("the temporary folder can be written");
    let mut run = command(binary());
    run.args(["connect", "--bootstrap", &broker.bootstrap(), "types.yaml"]);
    run.current_dir(folder).env("S3_SECRET", SECRET_KEY);
    let mut run = Process::spawn(&mut run, folder.join("run.txt"));
    let mut arrive = |name: &str, tables: &[&str]| {
        wait_until(&format!("the rows in {name}"), LIMIT, || {
            let ended = run.ended();
            assert!(ended.is_none(), "{ended:?}\n{}", run.output());
            let counts: Vec<String> =
                tables.iter().map(|table| format!("SELECT count(*) FROM {table}")).collect();
            server.sql("origin", &counts.join("; ")) == server.sql(name, &counts.join("; "))
        });
        if server.fingerprint("origin", tables) == server.fingerprint(name, tables) {
            return;
        }
        for (at, (kind, _)) in VALUES.iter().enumerate() {
            let column = format!("SELECT id, c{at}::text FROM torture ORDER BY id");
            assert_eq!(server.sql(name, &column), server.sql("origin", &column), "{kind} by {name}");
        }
        panic!("{tables:?} by {name} are not as they were");
    };
    // Rows that were there, then changes of the stream.
    for round in 0..2 {
        if round == 1 {
            server.sql("origin", &rows(101).0);
        }
        arrive("json", &["torture", "dimensions"]);
        arrive("avro", &["torture"]);
    }
    // Avro has no schema for some arrays: they are letters, whole, and not half of them in the table.
    wait_until("the array that Avro takes", LIMIT, || server.sql("avro", "SELECT id FROM dimensions") == "4");
    wait_until("three letters", LIMIT, || {
        topic::read(&broker.bootstrap(), "letters", folder).values().map(Vec::len).sum::<usize>() == 3
    });

    wait_until("both Parquet files", LIMIT, || {
        s3.objects().iter().filter(|key| key.ends_with(".parquet")).count() == 2
    });
    load(&server, &s3);
    arrive("parquet", &["torture"]);
}
