//! Debezium, on Apache Kafka Connect with `millrace broker` as its cluster, feeds postgres-sink: JSON with schemas into one database, and
//! without into another. Both end as the one that Debezium reads.

use std::fs;
use std::path::Path;
use std::time::Duration;

use millrace_tests::connect::kafka::Worker;
use millrace_tests::process::{Process, command, wait_until};
use millrace_tests::{Broker, Postgres, binary, tools, topic};
use serde_json::json;

/// Longest wait for a change, on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// The databases that are written, and whether their records have schemas.
const COPIES: [(&str, bool); 2] = [("typed", true), ("plain", false)];

const ORDERS: &str = "
    CREATE TYPE mood AS ENUM ('fine', 'bad');
    CREATE TABLE orders (
        id bigint PRIMARY KEY, note text, large text NOT NULL, price numeric(20, 4), amount numeric, at timestamptz, local timestamp, day date,
        clock time, took interval, doc jsonb, ref uuid, flag boolean, ratio float8, small smallint, raw bytea, tags text[], numbers int[], mood mood);
    ALTER TABLE orders ALTER large SET STORAGE EXTERNAL;";

/// Without schemas nobody says that a number is one of microseconds; the sink can't make this table then.
const PAIRS: &str = "CREATE TABLE pairs (a int, b text, v int, PRIMARY KEY (a, b));";

const ROWS: &str = r#"
    INSERT INTO orders VALUES
    (1, 'first', repeat('x', 5000), 12.5, 1e20, '2026-01-02 03:04:05.000006+05', '2026-01-02 03:04:05.000006', '1969-12-31', '23:59:59.999999',
     '1 year -2 mons 3 days 04:05:06.7', '{"a": [1, null, "x"]}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', true, 1e-300, -32768, '\x00ff', '{a,NULL,"b c"}',
     '{1,NULL,-3}', 'fine'),
    (2, E'line\n"quoted" \\ ä', repeat('y', 5000), -9999999999999999.9999, -0.000000000000000000001, '0001-01-01 00:00:00+00', '9999-12-31 23:59:59.999999', '9999-12-31',
     '00:00', '-1 days', '"text"', 'ffffffff-ffff-ffff-ffff-ffffffffffff', false, 1.7976931348623157e308, 32767, '\x', '{}', '{}', 'bad'),
    (3, '', repeat('z', 5000), 0, 0, '1970-01-01 00:00:00+00', '1970-01-01 00:00:00', '1970-01-01', '12:00', '0', 'null', NULL, NULL, 'NaN', 0, NULL, NULL, NULL, NULL);
    INSERT INTO orders (id, large) SELECT n, repeat(md5(n::text), 100) FROM generate_series(10, 300) n;
    INSERT INTO pairs SELECT n, 'b' || n % 7, 0 FROM generate_series(1, 300) n;"#;

/// What happens then, each behind the last one.
const CHANGES: [&str; 3] = [
    // Large values that an update leaves alone are not sent.
    "UPDATE orders SET note = 'changed', flag = NOT flag WHERE id < 20; UPDATE orders SET large = repeat('w', 6000) WHERE id BETWEEN 15 AND 17;
     DELETE FROM orders WHERE id BETWEEN 21 AND 30; INSERT INTO orders (id, large) VALUES (21, 'again');
     UPDATE pairs SET b = b || '!' WHERE a % 5 = 0; DELETE FROM pairs WHERE a % 7 = 3;",
    "BEGIN; UPDATE orders SET note = 'undone'; DELETE FROM pairs; ROLLBACK;
     BEGIN; UPDATE orders SET small = 1 WHERE id = 40; UPDATE orders SET small = 2 WHERE id = 40; DELETE FROM orders WHERE id = 41; COMMIT;",
    "ALTER TABLE orders ADD COLUMN extra text; UPDATE orders SET extra = 'here' WHERE id % 3 = 0; INSERT INTO orders (id, large, extra) VALUES (999, 'l', 'e');",
];

fn pipelines(server: &Postgres) -> String {
    let connection =
        |(name, _): (&str, bool)| format!("  {name}: {{ postgres: {{ url: \"{}\" }} }}\n", server.url(name));
    let pipeline = |(name, is_typed): (&str, bool)| {
        let unit = if is_typed { "" } else { "\n        timestamp_unit: us" };
        format!(
            "  {name}:
    topic: {{ name: {name}, partitions: 2 }}
    sinks:
      db:
        connector: postgres-sink
        connection: {name}
        table_name_format: \"${{source.table}}\"
        insert_mode: upsert
        pk_mode: record_key
        delete_enabled: true
        auto_create: true
        auto_evolve: true
        flush_interval: 100ms
        errors: {{ tolerance: all, dead_letter_topic: {name}.letters }}{unit}
"
        )
    };
    let connections: String = COPIES.into_iter().map(connection).collect();
    let pipelines: String = COPIES.into_iter().map(pipeline).collect();
    format!("version: 1\nconnections:\n{connections}pipelines:\n{pipelines}")
}

fn connect(broker: &Broker, folder: &Path) -> Process {
    let mut connect = command(binary());
    connect.args(["connect", "--bootstrap", &broker.bootstrap(), "pipelines.yaml"]).current_dir(folder);
    Process::spawn(&mut connect, folder.join("connect.txt"))
}

/// Debezium with one topic for all tables, as its users have it who want one.
fn debezium(worker: &Worker, server: &Postgres, (name, is_typed): (&str, bool)) {
    let converter = "org.apache.kafka.connect.json.JsonConverter";
    let mut config = json!({
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector", "tasks.max": "1",
        "database.hostname": server.host(), "database.port": server.port().to_string(), "database.user": "postgres",
        "database.password": "none", "database.dbname": "origin", "topic.prefix": name, "plugin.name": "pgoutput", "slot.name": name,
        "publication.name": name, "publication.autocreate.mode": "filtered", "table.include.list": "public.orders,public.pairs",
        "skipped.operations": "none", "interval.handling.mode": "string", "poll.interval.ms": "100",
        "key.converter": converter, "key.converter.schemas.enable": is_typed.to_string(),
        "value.converter": converter, "value.converter.schemas.enable": is_typed.to_string(),
        "transforms": "route", "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
        "transforms.route.regex": ".*", "transforms.route.replacement": name,
    });
    if !is_typed {
        // Bytes without a scale say nothing.
        config["decimal.handling.mode"] = "string".into();
    }
    worker.put(name, &config);
}

#[test]
fn debeziums_changes_become_the_same_tables() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let server = Postgres::start(&[]);
    server.create("origin");
    server.sql("origin", &format!("{ORDERS} {PAIRS} {ROWS}"));
    for (name, _) in COPIES {
        server.create(name);
        server.sql(name, ORDERS);
    }
    let broker = Broker::start(folder, &["group.initial.rebalance.delay.ms=0"]);
    fs::write(folder.join("pipelines.yaml"), pipelines(&server))
        .expect("the temporary folder can be written");
    let mut sinks = connect(&broker, folder);
    let worker = Worker::start_with_plugin(&broker.bootstrap(), folder, &tools::debezium());
    let mut equal = |when: &str| {
        for (name, _) in COPIES {
            let mut last = None;
            wait_until(&format!("{name} to be as the origin, {when}"), LIMIT, || {
                let ended = sinks.ended();
                assert!(ended.is_none(), "{ended:?}\n{}", sinks.output());
                std::thread::sleep(Duration::from_millis(100));
                let origin = server.fingerprint("origin", &["orders", "pairs"]);
                let copy = server.fingerprint(name, &["orders", "pairs"]);
                let is_equal = origin.is_some() && origin == copy;
                if !is_equal && last != copy {
                    println!("{name}, {when}: {}", copy.as_deref().unwrap_or("no tables"));
                    last = copy;
                }
                is_equal
            });
        }
    };
    // Once the sinks have made the topics, so that these have their partitions.
    COPIES.into_iter().for_each(|copy| debezium(&worker, &server, copy));
    equal("rows that were there");
    for changes in CHANGES {
        server.sql("origin", changes);
        equal(changes);
    }

    // Which of two partitions a TRUNCATE comes before nobody can say: it is a dead letter, and somebody has to do it by hand.
    server.sql("origin", "TRUNCATE pairs; INSERT INTO orders (id, large) VALUES (2000, 'behind')");
    for (name, _) in COPIES {
        wait_until("what is behind the TRUNCATE", LIMIT, || {
            server.sql(name, "SELECT count(*) FROM orders WHERE id = 2000") == "1"
        });
        wait_until("the dead letter", LIMIT, || {
            let letters = topic::read(&broker.bootstrap(), &format!("{name}.letters"), folder);
            let letters: Vec<&String> = letters.values().flatten().map(|(_, value)| value).collect();
            assert!(letters.len() <= 1, "{letters:?}");
            letters.iter().any(|letter| letter.contains(r#""op":"t""#))
        });
        assert_ne!(server.sql(name, "SELECT count(*) FROM pairs"), "0", "{name}");
        server.sql(name, "TRUNCATE pairs");
    }
    server.sql("origin", "INSERT INTO pairs VALUES (1, 'new', 1)");
    equal("after the TRUNCATE");
    assert_eq!(worker.state("typed"), ["RUNNING", "RUNNING"]);
}
