//! Whole batches, with a registry of a few fixed answers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use millrace_schema::Kind;

use super::*;
use serde_json::{Value, json};

use crate::connection::{Connection, Surroundings, kind};
use crate::plan::RegisteredFormat;
use crate::spec::ProcessEnvironment;

/// A connection with settings that fit their schema.
fn connection(settings: Value) -> Arc<Connection> {
    let around = Surroundings { folder: Path::new("."), env: &ProcessEnvironment };
    let kind = kind(registry::KIND).unwrap();
    Arc::new(Connection::open("schemas", kind, settings.as_object().unwrap().clone(), &around).unwrap())
}

/// Answers requests by `METHOD path`, and keeps what it was asked.
struct Registry {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    fn start(answers: &[(&str, u16, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers: BTreeMap<String, (u16, String)> = answers
            .iter()
            .map(|(path, status, body)| ((*path).to_owned(), (*status, (*body).to_owned())))
            .collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut first, mut length, mut who) = (String::new(), 0, String::new());
                stream.read_line(&mut first).unwrap();
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).unwrap();
                    let line = line.trim().to_ascii_lowercase();
                    if let Some(value) = line.strip_prefix("content-length: ") {
                        length = value.parse().unwrap();
                    }
                    if line.starts_with("authorization: ") {
                        who = line.clone();
                    }
                    if line.is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                let call = first.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
                let (status, answer) = answers
                    .get(&call)
                    .cloned()
                    .unwrap_or((404, "{\"error_code\":40403,\"message\":\"Schema not found\"}".into()));
                seen.lock().unwrap().push(format!("{call} {who}").trim_end().to_owned());
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    answer.len()
                );
                stream.get_mut().write_all((head + &answer).as_bytes()).unwrap();
            }
        });
        Self { url: format!("http://127.0.0.1:{port}"), asked }
    }

    fn format(&self, kind: Kind) -> RegisteredFormat {
        RegisteredFormat {
            kind,
            registry: connection(json!({ "url": self.url })),
            subject: None,
            declared: None,
            latest: false,
            register: true,
            message: None,
            decimals: Decimals::Text,
            validate: true,
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn converters(key: Format, value: Format, direction: Direction) -> Converters {
    Converters::new(&Formats { key, value }, &("utf8".to_owned(), "json".to_owned()), direction)
}

/// A key or a value.
type Part<'a> = Option<&'a [u8]>;

fn batch(records: &[(Part<'_>, Part<'_>)]) -> Batch {
    let mut builder = BatchBuilder::default();
    for (key, value) in records {
        builder.push(&RecordView { topic: Some("t"), key: *key, value: *value, ..RecordView::default() });
    }
    builder.build()
}

fn texts(batch: &Batch) -> Vec<(Option<String>, Option<String>)> {
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    batch.iter().map(|record| (text(record.key), text(record.value))).collect()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

const RECORD: &str =
    r#"{"schema":"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"int\"}]}"}"#;

#[tokio::test]
async fn avro_of_a_topic_becomes_json_and_bad_records_are_told_apart() {
    let registry = Registry::start(&[
        ("GET /schemas/ids/1", 200, RECORD),
        ("GET /schemas/ids/2", 200, r#"{"schema":"\"string\""}"#),
    ]);
    let format = Format::Registered(registry.format(Kind::Avro));
    let mut converters = converters(format.clone(), format, Direction::FromTopic);
    let key = b"\0\0\0\0\x02\x02k";
    let input = batch(&[
        (Some(key), Some(b"\0\0\0\0\x01\x0e")),
        (Some(b"plain"), Some(b"\0\0\0\0\x01\x0e")),
        (Some(key), Some(b"\0\0\0\0\x01")),
        (Some(key), Some(b"\0\0\0\0\x09\x0e")),
        (None, None),
    ]);
    for _ in 0..2 {
        let done = converters.convert(&input, 0, "t").await.unwrap();
        assert_eq!(texts(&done.batch), [(some("k"), some("{\"a\":7}")), (None, None)]);
        assert_eq!((done.origin, done.next), (vec![0, 4], 5));
        let told: Vec<_> = done
            .rejected
            .iter()
            .map(|(stage, error)| (stage.name(), error.index, error.message.as_str()))
            .collect();
        let unknown = "Schema not found (HTTP 404, /schemas/ids/9)";
        assert_eq!(
            told,
            [
                (
                    "KEY_CONVERTER",
                    1,
                    "it begins with byte 112 instead of 0: it was not written with a schema registry"
                ),
                ("VALUE_CONVERTER", 2, "at /a: it ends too early"),
                ("VALUE_CONVERTER", 3, unknown),
            ]
        );
    }
    assert_eq!(
        registry.asked(),
        ["GET /schemas/ids/2", "GET /schemas/ids/1", "GET /schemas/ids/9"],
        "each once"
    );
}

#[tokio::test]
async fn a_source_registers_its_schema_once_and_writes_with_its_id() {
    let registry = Registry::start(&[
        ("POST /subjects/t-value/versions", 200, r#"{"id":258}"#),
        (
            "GET /subjects/t-key/versions/latest",
            200,
            r#"{"id":3,"version":1,"subject":"t-key","schema":"\"long\""}"#,
        ),
    ]);
    let declared = Some(r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#.to_owned());
    let value = RegisteredFormat { declared, ..registry.format(Kind::Avro) };
    let mut converters = converters(
        Format::Registered(registry.format(Kind::Avro)),
        Format::Registered(value),
        Direction::ToTopic,
    );
    let input = batch(&[(Some(b"5"), Some(b"{\"a\":7}")), (None, Some(b"{\"b\":7}")), (None, None)]);
    for _ in 0..2 {
        let done = converters.convert(&input, 0, "t").await.unwrap();
        let records: Vec<_> = done.batch.iter().map(|record| (record.key, record.value)).collect();
        assert_eq!(
            records,
            [(Some(&b"\0\0\0\0\x03\x0a"[..]), Some(&b"\0\0\0\x01\x02\x0e"[..])), (None, None)]
        );
        assert_eq!(done.rejected[0].1.message, "record R has no field `b`, and its value would be lost");
    }
    assert_eq!(registry.asked(), ["GET /subjects/t-key/versions/latest", "POST /subjects/t-value/versions"]);
}

#[tokio::test]
async fn protobuf_and_json_schema_go_both_ways() {
    let proto = r#"{"id":4,"schemaType":"PROTOBUF","schema":"syntax = \"proto3\"; message A { int32 x = 1; } message B { int64 n = 1; bytes b = 2; }"}"#;
    let json = r#"{"id":5,"schemaType":"JSON","schema":"{\"type\":\"object\",\"required\":[\"a\"]}"}"#;
    let registry = Registry::start(&[
        ("GET /subjects/t-value/versions/latest", 200, proto),
        ("GET /schemas/ids/4", 200, proto),
        ("GET /subjects/j/versions/latest", 200, json),
        ("GET /schemas/ids/5", 200, json),
    ]);
    let proto = RegisteredFormat { message: Some("B".into()), ..registry.format(Kind::Protobuf) };
    let json = RegisteredFormat { subject: Some("j".into()), ..registry.format(Kind::Json) };
    for (format, good, bad) in [
        (proto, r#"{"n":9223372036854775807,"b":"AP8="}"#, r#"{"m":1}"#),
        (json, r#"{"a": 1 }"#, r#"{"b":1}"#),
    ] {
        let format = Format::Registered(format);
        let input = batch(&[(None, Some(good.as_bytes())), (None, Some(bad.as_bytes())), (None, Some(b"{"))]);
        let written = converters(Format::AsIs, format.clone(), Direction::ToTopic)
            .convert(&input, 0, "t")
            .await
            .unwrap();
        assert_eq!((written.origin, written.rejected.len()), (vec![0], 2), "{:?}", written.rejected);
        let read = converters(Format::AsIs, format, Direction::FromTopic)
            .convert(&written.batch, 0, "t")
            .await
            .unwrap();
        assert_eq!(texts(&read.batch), [(None, some(good))]);
    }
}

#[tokio::test]
async fn a_registry_out_of_reach_is_no_bad_record() {
    let down = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let registry = Registry::start(&[
        ("GET /schemas/ids/1", 503, r#"{"message":"later"}"#),
        ("GET /schemas/ids/2", 401, "no"),
        ("GET /schemas/ids/3", 200, "no"),
        // No registry, which says nothing of the record.
        ("GET /schemas/ids/4", 404, "<html>not found</html>"),
    ]);
    let of = |url: &str| {
        let connection = connection(json!({ "url": url, "username": "u", "password": "hidden" }));
        converters(
            Format::AsIs,
            Format::Registered(RegisteredFormat { registry: connection, ..registry.format(Kind::Avro) }),
            Direction::FromTopic,
        )
    };
    let record = |id: u8| batch(&[(None, Some(&[0, 0, 0, 0, id, 1]))]);
    let failure = of(&down).convert(&record(1), 0, "t").await.unwrap_err();
    assert!(matches!(failure, Failure::Outage { .. }), "{failure}");
    let mut up = of(&registry.url);
    let failure = up.convert(&record(1), 0, "t").await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Outage { reason, .. } if reason == "later (HTTP 503, /schemas/ids/1)"),
        "{failure}"
    );
    assert!(failure.of_task("c", 0).is_retriable());
    for id in [2, 3, 4] {
        let failure = up.convert(&record(id), 0, "t").await.unwrap_err();
        assert!(matches!(failure, Failure::Refused { .. }), "{failure}");
        assert!(!failure.to_string().contains("hidden") && !failure.of_task("c", 0).is_retriable());
    }
    assert!(!format!("{up:?}").contains("hidden"));
    // u:hidden
    assert_eq!(registry.asked()[0], "GET /schemas/ids/1 authorization: basic dtpoawrkzw4=");
}

#[tokio::test]
async fn of_several_addresses_the_next_is_asked_when_one_is_out_of_reach() {
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let busy = Registry::start(&[("GET /schemas/ids/1", 503, "{}")]);
    let up = Registry::start(&[("GET /schemas/ids/1", 200, RECORD)]);
    let connection = connection(json!({ "url": format!("http://{down}, {}, {}", busy.url, up.url) }));
    let format = Format::Registered(RegisteredFormat { registry: connection, ..up.format(Kind::Avro) });
    let mut converters = converters(Format::AsIs, format, Direction::FromTopic);
    let input = batch(&[(None, Some(b"\0\0\0\0\x01\x0e")), (None, Some(b"\0\0\0\0\x02\x0e"))]);
    let done = converters.convert(&input, 0, "t").await.unwrap();
    assert_eq!((done.batch.len(), done.rejected.len()), (1, 1));
    // Afterwards the one that answered is asked first.
    assert_eq!((busy.asked().len(), up.asked().len()), (1, 2));
}

#[test]
fn settings_of_a_registry_are_checked() {
    let around = Surroundings { folder: Path::new("."), env: &ProcessEnvironment };
    for (settings, pointer) in [
        (json!({ "url": "registry:8081" }), "/url"),
        (json!({ "url": "http://a,," }), "/url"),
        (json!({ "url": "http://a/?x=y" }), "/url"),
        (json!({ "url": "http://u:p@a" }), "/url"),
        (json!({ "url": vec!["http://a"; 17].join(",") }), "/url"),
        (json!({ "url": "http://a", "username": "u" }), "/username"),
        (json!({ "url": "http://a", "password": "p" }), "/password"),
        (json!({ "url": "http://a", "username": "u:v", "password": "p" }), "/username"),
        (json!({ "url": "https://a", "ca": "/does/not/exist" }), "/ca"),
        (json!({ "url": "http://a", "timeout": "0s" }), "/timeout"),
    ] {
        let faults = registry::open(settings.as_object().unwrap(), &around).err().unwrap();
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, [pointer], "{settings}");
    }
    for good in ["http://127.0.0.1:8081", "https://registry.example/base/", "http://a:1, http://b:2"] {
        connection(json!({ "url": good, "username": "u", "password": "" }));
    }
}

#[tokio::test]
async fn text_and_bytes_are_quoted_for_connectors_that_speak_json_only() {
    let input = batch(&[(Some(b"k"), Some(b"a\"b")), (None, Some(&[0xff]))]);
    let mut string = converters(Format::String, Format::String, Direction::FromTopic);
    let done = string.convert(&input, 0, "t").await.unwrap();
    assert_eq!(texts(&done.batch), [(some("k"), some("\"a\\\"b\""))]);
    assert_eq!(done.rejected[0].1.message, "the text is not UTF-8");
    let mut bytes = converters(Format::AsIs, Format::Bytes, Direction::FromTopic);
    assert_eq!(texts(&bytes.convert(&input, 1, "t").await.unwrap().batch), [(None, some("\"/w==\""))]);
    let back = batch(&[(None, Some(b"\"/w==\"")), (None, Some(b"1"))]);
    let mut bytes = converters(Format::AsIs, Format::Bytes, Direction::ToTopic);
    let done = bytes.convert(&back, 0, "t").await.unwrap();
    assert_eq!((done.batch.iter().next().unwrap().value, done.rejected.len()), (Some(&[0xff][..]), 1));
    for format in [Format::AsIs, Format::Json] {
        assert!(converters(format.clone(), format, Direction::ToTopic).is_idle());
    }
    assert!(
        Converters::new(
            &Formats { key: Format::Bytes, value: Format::String },
            &("bytes".into(), "utf8".into()),
            Direction::FromTopic
        )
        .is_idle()
    );
}

/// A record whose schema nobody can use is a bad record, not a bad task.
#[tokio::test]
async fn a_schema_that_cannot_be_used_makes_a_bad_record() {
    let registry = Registry::start(&[
        ("GET /schemas/ids/1", 200, r#"{"schema":"nonsense"}"#),
        ("GET /schemas/ids/2", 200, r#"{"schema":"{}","schemaType":"THRIFT"}"#),
        ("GET /schemas/ids/3", 200, r#"{"schema":"{}","schemaType":"JSON"}"#),
    ]);
    let mut converters =
        converters(Format::AsIs, Format::Registered(registry.format(Kind::Avro)), Direction::FromTopic);
    let records: Vec<[u8; 6]> = (1..4).map(|id| [0, 0, 0, 0, id, 1]).collect();
    let records: Vec<_> = records.iter().map(|record| (None, Some(record.as_slice()))).collect();
    let done = converters.convert(&batch(&records), 0, "t").await.unwrap();
    assert_eq!((done.batch.len(), done.next), (0, 3));
    let told: Vec<_> = done.rejected.iter().map(|(_, error)| error.message.as_str()).collect();
    assert!(told[0].starts_with("not a schema of type AVRO"), "{told:?}");
    assert_eq!(told[1..], ["a schema of the unknown type THRIFT", "its schema is of type JSON, not AVRO"]);
}

/// Schemas are kept up to a limit; a batch that needs more is cut there.
#[tokio::test]
async fn more_schemas_than_are_kept_cut_a_batch() {
    let registry = Registry::start(&[]);
    let mut converters =
        converters(Format::AsIs, Format::Registered(registry.format(Kind::Avro)), Direction::FromTopic);
    let records: Vec<[u8; 5]> = (0..1_500u32)
        .map(|id| {
            let [a, b, c, d] = id.to_be_bytes();
            [0, a, b, c, d]
        })
        .collect();
    let records: Vec<_> = records.iter().map(|record| (None, Some(record.as_slice()))).collect();
    let input = batch(&records);
    let first = converters.convert(&input, 0, "t").await.unwrap();
    assert_eq!((first.rejected.len(), first.next), (1_000, 1_000));
    let second = converters.convert(&input, 1_000, "t").await.unwrap();
    assert_eq!((second.rejected.len(), second.next), (500, 1_500));
}

/// Few bytes may stand for many: a batch is cut before it is too large, and the next one goes on there.
#[tokio::test]
async fn what_grows_is_cut_into_batches() {
    let registry = Registry::start(&[(
        "GET /schemas/ids/1",
        200,
        r#"{"schema":"{\"type\":\"array\",\"items\":\"null\"}"}"#,
    )]);
    let mut converters =
        converters(Format::AsIs, Format::Registered(registry.format(Kind::Avro)), Direction::FromTopic);
    let mut record = b"\0\0\0\0\x01".to_vec();
    put_varint(zigzag(1 << 20), &mut record);
    record.push(0);
    let records = vec![(None, Some(record.as_slice())); 5];
    let input = batch(&records);
    let (mut from, mut sizes) = (0, Vec::new());
    while from < input.len() {
        let done = converters.convert(&input, from, "t").await.unwrap();
        sizes.push(done.batch.len());
        from = done.next;
    }
    assert_eq!(sizes, [2, 2, 1]);
}

#[test]
fn what_stands_in_the_topic_is_told_if_it_is_understood() {
    let owned = |formats: &[&str]| formats.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>();
    let description = Description {
        name: "c".to_owned(),
        version: String::new(),
        summary: String::new(),
        config_schema: "{}".to_owned(),
        key_formats: owned(&["utf8", "json"]),
        value_formats: owned(&["json"]),
        extra: Vec::new(),
    };
    for (format, key) in
        [(Format::AsIs, "utf8"), (Format::Json, "json"), (Format::String, "utf8"), (Format::Bytes, "utf8")]
    {
        let formats = Formats { key: format.clone(), value: format };
        for direction in [Direction::ToTopic, Direction::FromTopic] {
            let found = told(&description, &formats, direction, (false, false));
            assert_eq!(found, (key.to_owned(), "json".to_owned()));
        }
    }
}

#[test]
fn the_best_known_encoding_is_told() {
    let owned = |formats: &[&str]| formats.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>();
    assert_eq!(best(&owned(&["avro", "utf8", "json"])), "utf8");
    assert_eq!(best(&[]), "bytes");
}

const TYPED_ROW: &str = r#"{"schema":{"type":"struct","fields":[{"field":"a","type":"int32","optional":false}],"optional":false},"payload":{"a":7}}"#;

fn typed(value: Format, direction: Direction) -> Converters {
    let formats = Formats { key: Format::AsIs, value };
    Converters::new(&formats, &("utf8".to_owned(), "connect-json".to_owned()), direction)
}

#[tokio::test]
async fn the_schema_of_an_envelope_is_registered_once_and_written_with() {
    let registry = Registry::start(&[("POST /subjects/t-value/versions", 200, r#"{"id":5}"#)]);
    let mut converters = typed(Format::Registered(registry.format(Kind::Avro)), Direction::ToTopic);
    let null = TYPED_ROW.replace(r#"{"a":7}"#, "null");
    let wrong = TYPED_ROW.replace("7", "\"x\"");
    let nameless = TYPED_ROW.replace(r#""field":"a""#, r#""field":"ä""#);
    let records =
        [TYPED_ROW, TYPED_ROW, &null, &wrong, r#"{"a":7}"#, r#"{"schema":null,"payload":1}"#, &nameless];
    let records: Vec<_> = records.iter().map(|record| (None, Some(record.as_bytes()))).collect();
    for _ in 0..2 {
        let done = converters.convert(&batch(&records), 0, "t").await.unwrap();
        let values: Vec<_> = done.batch.iter().map(|record| record.value).collect();
        assert_eq!(values, [Some(&b"\0\0\0\0\x05\x0e"[..]), Some(b"\0\0\0\0\x05\x0e"), None]);
        let told: Vec<_> =
            done.rejected.iter().map(|(_, error)| (error.index, error.message.as_str())).collect();
        assert_eq!(told[0], (3, "at /a: a whole number of 64 bits was expected, not this text"));
        assert!(told[1].1.starts_with(r#"it has to be {"schema""#), "{told:?}");
        assert_eq!(told[2], (5, "it has no schema beside it"));
        assert!(told[3].1.starts_with("field `ä` can't be called so in Avro"), "{told:?}");
    }
    assert_eq!(registry.asked(), ["POST /subjects/t-value/versions"]);
}

#[tokio::test]
async fn a_schema_that_the_registry_refuses_is_no_bad_record() {
    let refusal = r#"{"error_code":409,"message":"incompatible"}"#;
    let registry = Registry::start(&[("POST /subjects/t-value/versions", 409, refusal)]);
    let mut converters = typed(Format::Registered(registry.format(Kind::Json)), Direction::ToTopic);
    let failure =
        converters.convert(&batch(&[(None, Some(TYPED_ROW.as_bytes()))]), 0, "t").await.unwrap_err();
    assert!(matches!(failure, Failure::Refused { .. }), "{failure}");
}

#[tokio::test]
async fn a_sink_that_takes_types_is_given_them_where_the_topic_has_some() {
    let registry = Registry::start(&[("GET /schemas/ids/1", 200, RECORD)]);
    let mut avro = typed(Format::Registered(registry.format(Kind::Avro)), Direction::FromTopic);
    let done = avro.convert(&batch(&[(None, Some(b"\0\0\0\0\x01\x0e"))]), 0, "t").await.unwrap();
    let row = r#"{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"a"}],"optional":false,"name":"R"},"payload":{"a":7}}"#;
    assert_eq!(texts(&done.batch), [(None, some(row))]);
    let mut json = typed(Format::Json, Direction::FromTopic);
    let done = json.convert(&batch(&[(None, Some(b"{\"a\":7}")), (None, Some(b"{"))]), 0, "t").await.unwrap();
    assert_eq!(texts(&done.batch), [(None, some(r#"{"schema":null,"payload":{"a":7}}"#))]);
    assert_eq!(done.rejected.len(), 1);
    let mut text = typed(Format::String, Direction::FromTopic);
    let done = text.convert(&batch(&[(None, Some(b"x"))]), 0, "t").await.unwrap();
    let said = r#"{"schema":{"type":"string","optional":false},"payload":"x"}"#;
    assert_eq!(texts(&done.batch), [(None, some(said))]);
    for direction in [Direction::ToTopic, Direction::FromTopic] {
        assert!(typed(Format::Envelope { decimals: Decimals::Text }, direction).is_idle());
    }
}

#[test]
fn types_are_told_where_they_are_known_and_nobody_looks_into_them() {
    let registry = Registry::start(&[]);
    let owned = |formats: &[&str]| formats.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>();
    let description = |formats: &[&str]| Description {
        name: "c".to_owned(),
        version: String::new(),
        summary: String::new(),
        config_schema: "{}".to_owned(),
        key_formats: owned(&["utf8"]),
        value_formats: owned(formats),
        extra: Vec::new(),
    };
    let avro = || Format::Registered(registry.format(Kind::Avro));
    let latest = Format::Registered(RegisteredFormat { latest: true, ..registry.format(Kind::Avro) });
    let of = |kind| Format::Registered(registry.format(kind));
    let envelope = || Format::Envelope { decimals: Decimals::Text };
    let (to, from) = (Direction::ToTopic, Direction::FromTopic);
    for (format, direction, seen, wanted) in [
        (Format::AsIs, to, false, "json"),
        (Format::Json, to, false, "json"),
        (avro(), to, false, "connect-json"),
        (avro(), from, false, "connect-json"),
        (avro(), from, true, "json"),
        (latest, to, false, "json"),
        (of(Kind::Json), to, false, "connect-json"),
        (of(Kind::Json), from, false, "json"),
        (of(Kind::Protobuf), to, false, "json"),
        (envelope(), to, false, "connect-json"),
        (envelope(), from, false, "connect-json"),
        (envelope(), from, true, "json"),
    ] {
        let formats = Formats { key: Format::AsIs, value: format };
        let both = description(&["json", "connect-json"]);
        let found = told(&both, &formats, direction, (false, seen));
        assert_eq!(found.1, wanted, "{formats:?} {direction:?} {seen}");
        let only = description(&["connect-json"]);
        assert!(is_known(&only));
        assert_eq!(told(&only, &formats, direction, (false, seen)).1, "connect-json");
    }
}
