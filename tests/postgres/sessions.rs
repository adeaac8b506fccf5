//! Statements, batches and COPY, and what a session leaves behind.

use std::time::Duration;

use millrace_tests::Postgres;
use millrace_tests::postgres::PASSWORD;
use millrace_tests::process::wait_until;
use serde_json::{Value, json};

use crate::database;
use crate::script::{fault, run, succeed};

#[test]
fn every_type_comes_and_goes_as_text() {
    let server = database("types");
    // What a driver with a type of its own for each would round, shift or refuse.
    let values = [
        ("numeric", "123456789012345678901234567890.000000000000000000000001"),
        ("numeric", "NaN"),
        ("float8", "0.1"),
        ("float8", "-Infinity"),
        ("float4", "3.4028235e+38"),
        ("int8", "-9223372036854775808"),
        ("bool", "t"),
        ("text", "línea\n\"two\"\t\\"),
        ("bytea", "\\x00ff10"),
        ("date", "infinity"),
        ("date", "4713-01-01 BC"),
        ("timestamptz", "294276-12-31 23:59:59.999999+00"),
        ("timestamp", "0001-01-01 00:00:00"),
        ("timetz", "23:59:59.999999-15:59"),
        ("interval", "-178000000 years -10 mons +3 days -04:05:06.000007"),
        ("uuid", "00000000-0000-0000-0000-00000000000a"),
        ("jsonb", r#"{"a": [1.10, null, "ä"]}"#),
        ("json", r#"{"b":1,  "b":2}"#),
        ("int4[]", "{{1,NULL},{3,4}}"),
        ("text[]", r#"{"a,b","NULL",NULL,""}"#),
        ("tstzrange", r#"["2020-01-01 00:00:00+00",)"#),
        ("int4multirange", "{[1,3),[5,7)}"),
        ("inet", "2001:db8::/32"),
        ("macaddr", "08:00:2b:01:02:03"),
        ("bit varying(9)", "101"),
        ("point", "(1.5,-2)"),
        ("xml", "<a>ä</a>"),
        ("money", "$1,234.50"),
        ("tsvector", "'cat':3 'fat':2A"),
        ("pg_lsn", "16/B374D848"),
        ("oid", "4294967295"),
        ("\"char\"", "x"),
    ];
    let queries = values.map(|(kind, value)| json!({ "query": [format!("SELECT $1::{kind}"), value] }));
    let empty = json!({ "query": ["SELECT $1::text, $2::int4", "", null] });
    let steps: Vec<Value> = [json!({ "open": "db" })].into_iter().chain(queries).chain([empty]).collect();
    let came = succeed(&json!({ "url": server.url("types") }), &json!(steps));
    for ((kind, value), came) in values.into_iter().zip(&came[1..]) {
        assert_eq!(came["rows"], json!([[value]]), "{kind}");
    }
    assert_eq!(came.last().map(|last| &last["rows"]), Some(&json!([["", null]])));
}

#[test]
fn statements_and_transactions() {
    let server = database("statements");
    let came = run(
        &json!({ "url": server.url("statements"), "parameters": { "search_path": "shop, public" } }),
        &json!([
            { "open": "db" },
            { "run": "CREATE SCHEMA shop; CREATE TABLE t (id int PRIMARY KEY, x int CHECK (x > 0)); CREATE TABLE empty ()" },
            { "batch": [["INSERT INTO t SELECT g, g FROM generate_series(1, $1::int) g", "30"], ["SELECT 1 WHERE false"], ["UPDATE t SET x = x + 1 WHERE id <= 3"]] },
            { "query": ["SELECT id, x FROM t WHERE id = ANY($1::int[]) ORDER BY 1", "{1,30}"] },
            { "rows": "SELECT * FROM t" },
            { "batch": [["INSERT INTO t VALUES (100, 1)"], ["INSERT INTO t VALUES (1, 1)"], ["INSERT INTO t VALUES (101, 1)"]] },
            { "run": "BEGIN; INSERT INTO t VALUES (102, 0)" },
            { "status": null },
            { "run": "SELECT 1" },
            { "run": "ROLLBACK" },
            { "status": null },
            { "rows": "SELECT count(*) FROM shop.t" },
            { "rows": "SELECT FROM empty" },
            { "run": "" },
            { "query": ["SELECT $1::int", "x"] },
            { "run": "SELEC 1" },
            { "parameter": "server_encoding" },
        ]),
    );
    assert_eq!(came[2]["ok"], json!([30, 0, 3]));
    assert_eq!(came[3]["ok"]["rows"], json!([["1", "2"], ["30", "30"]]));
    assert_eq!(came[3]["ok"]["tag"], "SELECT 2");
    assert_eq!(came[4]["ok"]["rows"], 30);
    assert_eq!(came[5]["ok"]["failed"], 1);
    assert!(came[5]["ok"]["why"].as_str().is_some_and(|why| why.contains("sql.23505")), "{}", came[5]);
    assert_eq!(came[6]["code"], "23514");
    assert_eq!(came[7]["ok"], "Failed");
    assert_eq!(came[8]["code"], "25P02");
    assert_eq!((&came[9]["ok"], &came[10]["ok"]), (&Value::Null, &json!("Idle")));
    assert_eq!(came[11]["ok"]["rows"], json!([["30"]]), "a batch is one transaction");
    assert!(came[12].get("ok").is_some() && came[13].get("ok").is_some(), "{:?}", &came[12..14]);
    assert_eq!((&came[14]["code"], &came[15]["code"]), (&json!("22P02"), &json!("42601")));
    assert_eq!(came[16]["ok"], "UTF8");
}

#[test]
fn what_is_sent_is_answered_while_others_are_asked() {
    let server = database("sent");
    let came = run(
        &json!({ "url": server.url("sent"), "result_max": "10KiB" }),
        &json!([
            { "open": "db" },
            { "session": "b", "open": "db" },
            // Each waits for what the other does: one after the other they would wait for ever.
            { "run": "CREATE TABLE t (id int); INSERT INTO t VALUES (1)" },
            { "session": "b", "run": "BEGIN; LOCK TABLE t" },
            { "send": "BEGIN; LOCK TABLE t; SELECT 0; SELECT id FROM t" },
            { "receive": 50 },
            { "status": null },
            { "rows": "SELECT 1" },
            { "session": "b", "run": "INSERT INTO t VALUES (2); COMMIT" },
            { "receive": 30_000 },
            { "status": null },
            { "receive": 0 },
            { "send": "SELECT 1/0" },
            { "receive": 30_000 },
            { "send": "ROLLBACK" },
            { "receive": 30_000 },
            { "rows": "SELECT 1" },
            // Given up with its session.
            { "send": "SELECT pg_sleep(1.5)" },
            { "close": null },
            { "session": "b", "send": "SELECT repeat('x', 20000)" },
            { "session": "b", "receive": 30_000 },
            { "session": "b", "status": null },
        ]),
    );
    assert_eq!((&came[5]["ok"], &came[6]["ok"]), (&json!("not yet"), &json!("Idle")));
    assert_eq!(fault(&came[7]), "Fatal postgres.usage: an answer is on its way; receive it first");
    assert_eq!(came[9]["ok"]["rows"], json!([["1"], ["2"]]));
    assert_eq!(came[10]["ok"], "InTransaction");
    assert_eq!(fault(&came[11]), "Fatal postgres.usage: nothing was sent");
    assert_eq!(came[13]["code"], "22012");
    assert_eq!((&came[15]["ok"]["rows"], &came[16]["ok"]["rows"]), (&json!([]), &json!([["1"]])));
    assert!(fault(&came[20]).starts_with("Fatal postgres.result-size: "), "{}", came[20]);
    assert_eq!(came[21]["ok"], "Closed");
    wait_until("the backend to go", Duration::from_secs(30), || {
        server.sql(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1.5)%' AND datname = 'sent'",
        ) == "0"
    });
}

#[test]
fn copy_in_out_and_broken_off() {
    let server = database("copies");
    let came = run(
        &json!({ "url": server.url("copies") }),
        &json!([
            { "open": "db" },
            { "run": "CREATE TABLE t (id int PRIMARY KEY, name text)" },
            { "copy": "COPY t FROM STDIN" },
            { "status": null },
            { "write": "1\tone\n2\t\\N\n3\tth" },
            { "write": "ree\n" },
            { "finish": null },
            { "copy": "COPY t TO STDOUT" },
            { "read": null },
            { "copy": "COPY t FROM STDIN" },
            { "write": "4\tfour\n" },
            { "abort": "changed my mind" },
            { "copy": "COPY t FROM STDIN" },
            { "write": "5\tfive\nx\tsix\n" },
            { "finish": null },
            { "status": null },
            { "rows": "SELECT count(*) FROM t" },
            { "run": "INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(10, 3009) g" },
            { "copy": "COPY (SELECT * FROM t ORDER BY id) TO STDOUT" },
            { "read": null },
            { "copy": "COPY t TO STDOUT" },
            { "read_once": null },
            { "abort": "enough" },
            { "status": null },
        ]),
    );
    assert_eq!(came[3]["ok"], "Copying");
    assert_eq!(came[6]["ok"], 3);
    assert_eq!(came[8]["ok"], json!({ "messages": 3, "data": "1\tone\n2\t\\N\n3\tthree\n" }));
    assert!(came[11].get("ok").is_some(), "{}", came[11]);
    // Told when the rest is sent or at the end, as the moment has it.
    let refused: Vec<_> = came[13..15].iter().filter(|one| one.get("code").is_some()).collect();
    assert_eq!(refused[0]["code"], "22P02", "{:?}", &came[13..15]);
    assert_eq!(refused[0]["place"], "COPY t, line 2, column id: \"x\"");
    if came[13].get("ok").is_some() {
        assert_eq!((&came[15]["ok"], &came[16]["ok"]["rows"]), (&json!("Idle"), &json!([["3"]])));
        assert_eq!(came[19]["ok"]["messages"], 3003);
        assert!(came[21]["ok"]["messages"].as_u64().is_some_and(|count| count > 0), "{}", came[21]);
        assert_eq!(came[23]["ok"], "Closed");
    }
}

#[test]
fn what_is_not_committed_is_gone_with_the_session_and_its_backend_too() {
    let server = database("leaving");
    let url = json!({ "url": server.url("leaving"), "application_name": "leaver" });
    succeed(
        &url,
        &json!([
            { "open": "db" },
            { "run": "CREATE TABLE t (id int)" },
            { "run": "BEGIN; INSERT INTO t VALUES (1)" },
            { "session": "b", "open": "db" },
            { "session": "b", "run": "BEGIN; INSERT INTO t VALUES (2)" },
            { "session": "b", "close": null },
            { "session": "b", "open": "db" },
        ]),
    );
    wait_until("the backends to go", Duration::from_secs(30), || {
        server.sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leaver'")
            == "0"
    });
    assert_eq!(server.sql("leaving", "SELECT count(*) FROM t"), "0");
    let log = server.log();
    let broken = log.lines().find(|line| line.contains("leaver") && line.contains("unexpected EOF"));
    assert_eq!(broken, None, "each says goodbye");
}

#[test]
fn limits_are_kept_and_named() {
    let server = database("limits");
    let settings = json!({
        "url": server.url("limits"), "sessions": 2, "result_max": "100KiB", "statement_timeout": "300ms",
    });
    let came = run(
        &settings,
        &json!([
            { "open": "db" },
            { "session": "b", "open": "db" },
            { "session": "c", "open": "db" },
            { "session": "b", "close": null },
            { "session": "c", "open": "db" },
            { "rows": "SELECT pg_sleep(20)" },
            { "rows": "SELECT 1" },
            { "rows": "SELECT repeat('x', 1000) FROM generate_series(1, 200)" },
            { "rows": "SELECT 1" },
            { "session": "c", "rows": "SELECT repeat('x', 200000)" },
            { "session": "d", "open": "other" },
        ]),
    );
    assert!(fault(&came[2]).starts_with("Fatal postgres.sessions: 2 sessions are open"), "{}", came[2]);
    assert!(came[4].get("ok").is_some(), "{}", came[4]);
    assert_eq!((&came[5]["code"], &came[5]["retriable"]), (&json!("57014"), &json!(true)));
    assert!(came[6].get("ok").is_some(), "the session survives: {}", came[6]);
    for large in [&came[7], &came[9]] {
        let said = fault(large);
        assert!(said.starts_with("Fatal postgres.result-size: ") && said.contains("`result_max`"), "{said}");
    }
    assert!(fault(&came[8]).contains("the session is over"), "{}", came[8]);
    assert!(fault(&came[10]).contains("is not granted to this connector; granted: [db]"), "{}", came[10]);
}

#[test]
fn more_answers_than_the_socket_holds_do_not_stop_it() {
    let server = database("pipelined");
    let many: Vec<Value> = (0..4000).map(|_| json!([format!("SELECT '{}'", "x".repeat(1500))])).collect();
    let came =
        succeed(&json!({ "url": server.url("pipelined") }), &json!([{ "open": "db" }, { "batch": many }]));
    assert_eq!(came[1].as_array().map(Vec::len), Some(4000));
}

#[test]
fn roles_come_in_with_their_passwords_and_no_password_comes_out() {
    let server = database("roles");
    let role = |user: &str, password: Option<&str>, tls: &str| {
        let url = format!("postgres://{user}@{}:{}/roles", server.host(), server.port());
        let mut settings = json!({ "url": url, "tls": tls });
        if let Some(password) = password {
            settings["password"] = password.into();
        }
        run(&settings, &json!([{ "open": "db" }, { "rows": "SELECT current_user" }]))
    };
    for (user, tls) in [("scram", "disable"), ("md5", "disable"), ("scram", "require"), ("clear", "require")]
    {
        let came = role(user, Some(PASSWORD), tls);
        assert_eq!(came[1]["ok"]["rows"], json!([[user]]), "{}", came[0]);
    }
    for (user, password, tls, said) in [
        ("scram", Some("hunter3"), "disable", "Fatal sql.28P01: "),
        ("md5", Some("hunter3"), "prefer", "Fatal sql.28P01: "),
        ("scram", None, "disable", "wants a password; give the connection one"),
        ("clear", Some(PASSWORD), "disable", "wants the password in clear, over a socket without TLS"),
        ("nobody", None, "disable", "Fatal sql.28000: "),
        ("only_tls", None, "disable", "Fatal sql.28000: "),
    ] {
        let came = role(user, password, tls);
        let words = fault(&came[0]);
        assert!(words.contains(said), "{user}: {words}");
        assert!(!words.contains("hunter"), "{words}");
    }
    let missing = json!({ "url": server.url("missing") });
    assert!(fault(&run(&missing, &json!([{ "open": "db" }]))[0]).starts_with("Fatal sql.3D000: 127."));
    let refused = json!({ "url": server.url("roles"), "parameters": { "no_such_setting": "1" } });
    assert!(fault(&run(&refused, &json!([{ "open": "db" }]))[0]).starts_with("Fatal sql.42704: "));
    let socket = json!({ "host": server.socket_folder(), "port": server.port(), "user": "postgres", "database": "roles" });
    succeed(&socket, &json!([{ "open": "db" }, { "run": "SELECT 1" }]));
}

#[test]
fn replication_is_read_as_it_comes() {
    let server = database("replicated");
    server.sql("replicated", "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR ALL TABLES");
    let came = run(
        &json!({ "url": server.url("replicated") }),
        &json!([
            { "open": "db" },
            { "session": "r", "replicate": "db" },
            { "session": "r", "rows": "IDENTIFY_SYSTEM" },
            { "session": "r", "rows": "CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL pgoutput" },
            { "session": "r", "copy": "START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '1', publication_names 'p')" },
            { "run": "INSERT INTO t SELECT generate_series(1, 5)" },
            { "session": "r", "read_once": null },
            { "session": "r", "status": null },
            { "session": "r", "finish": null },
            { "session": "r", "read": null },
            { "session": "r", "rows": "SELECT count(*) FROM t" },
            { "session": "r", "query": ["SELECT 1"] },
        ]),
    );
    assert_eq!(came[2]["ok"]["columns"], json!(["systemid", "timeline", "xlogpos", "dbname"]));
    assert!(came[6]["ok"]["messages"].as_u64().is_some_and(|count| count > 0), "{}", came[6]);
    assert_eq!(came[7]["ok"], "Copying");
    assert!(came[9].get("ok").is_some(), "{}", came[9]);
    assert_eq!(came[10]["ok"]["rows"], json!([["5"]]), "statements again: {}", came[10]);
    assert!(fault(&came[11]).contains("takes no statements with parameters"), "{}", came[11]);
}

#[test]
fn a_server_that_goes_is_a_lost_session_and_the_next_host_will_do() {
    let mut server = Postgres::start(&[]);
    let url = json!({ "url": server.url("postgres") });
    let killed = run(
        &url,
        &json!([
            { "open": "db" },
            { "session": "b", "open": "db" },
            { "session": "b", "run": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'" },
            { "rows": "SELECT 1" },
            { "status": null },
        ]),
    );
    assert!(fault(&killed[3]).starts_with("Retriable sql.57P01: 127."), "{}", killed[3]);
    assert_eq!(killed[4]["ok"], "Closed");
    server.stop();
    let gone = run(&url, &json!([{ "open": "db" }]));
    assert!(fault(&gone[0]).starts_with("Retriable postgres.connect: 127."), "{}", gone[0]);
    server.restart();
    let two = json!({ "host": format!("127.0.0.1:1,{}:{}", server.host(), server.port()), "user": "postgres", "target": "primary" });
    succeed(&two, &json!([{ "open": "db" }, { "run": "SELECT 1" }]));
}
