//! Envelopes of every shape, to Avro and back.

use millrace_schema::{Kind, Schema};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::semantics::*;
use super::value::{to_payload, to_plain};
use super::*;
use crate::convert::{Decimals, avro as records};

fn plain(text: &str, decimals: Decimals) -> Result<String, String> {
    let run = || {
        let envelope = Envelope::parse(text.as_bytes())?;
        let Some(payload) = envelope.payload() else { return Ok("-".to_owned()) };
        let Some(schema) = envelope.schema() else { return Ok(payload.to_owned()) };
        let mut out = Vec::new();
        to_plain(&ConnectSchema::parse(schema)?, payload, decimals, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    };
    run().map_err(|bad: Bad| bad.to_string())
}

#[test]
fn logical_types_become_what_they_stand_for() {
    let field = |name: &str, more: &str| format!(r#"{{"field":"{name}","optional":true,{more}}}"#);
    let logical = |kind: &str, name: &str| format!(r#""type":"{kind}","name":"{name}""#);
    let schema = [
        field("price", &format!(r#"{},"parameters":{{"scale":"2"}}"#, logical("bytes", DECIMAL))),
        field("day", &logical("int32", DATE)),
        field("at", &logical("int64", TIMESTAMP)),
        field("time", &logical("int32", TIME)),
        field("local", &logical("int64", LOCAL_MICROS)),
        field("long", &logical("int64", MICRO_TIME)),
        field("n", r#""type":"int64""#),
        field("tags", r#""type":"array","items":{"type":"string"}"#),
        field("missing", r#""type":"string""#),
    ]
    .join(",");
    let text = format!(
        r#"{{"schema":{{"type":"struct","fields":[{schema}]}},"payload":{{"price":"BNI=","day":19782,"at":-1,"time":1,"local":1,"long":-1,"n":9223372036854775807,"tags":["a"]}}}}"#
    );
    let rest = r#","day":"2024-02-29","at":"1969-12-31T23:59:59.999Z","time":"00:00:00.001","local":"1970-01-01T00:00:00.000001","long":-1,"n":9223372036854775807,"tags":["a"],"missing":null}"#;
    assert_eq!(plain(&text, Decimals::Text).unwrap(), format!(r#"{{"price":"12.34"{rest}"#));
    assert_eq!(plain(&text, Decimals::Numbers).unwrap(), format!(r#"{{"price":12.34{rest}"#));
    let numeric = text.replace("\"BNI=\"", "12345678901234567890.12");
    assert!(plain(&numeric, Decimals::Text).unwrap().contains(r#""12345678901234567890.12""#));
}

#[test]
fn nulls_and_what_is_no_envelope() {
    assert_eq!(plain(r#"{"schema":null,"payload":null}"#, Decimals::Text).unwrap(), "-");
    assert_eq!(plain(r#"{"schema":null,"payload":[1]}"#, Decimals::Text).unwrap(), "[1]");
    for (text, why) in [
        ("", "not JSON: "),
        ("{}", "it has to be "),
        ("[]", "it has to be "),
        (r#"{"schema":{},"payload":1,"more":2}"#, "it has to be "),
        (r#"{"schema":{},"payload":1}"#, "at /schema: a schema without a type"),
        (r#"{"schema":{"type":"int9"},"payload":1}"#, "at /schema: a schema of the unknown type int9"),
        (r#"{"schema":{"type":"array"},"payload":1}"#, "at /schema: a schema of type array without `items`"),
        (r#"{"schema":{"type":"int8"},"payload":128}"#, "128 is not between -128 and 127"),
        (r#"{"schema":{"type":"int32"},"payload":1.5}"#, "a whole number of 64 bits was expected"),
        (r#"{"schema":{"type":"string"},"payload":1}"#, "text was expected, not this number"),
        (
            r#"{"schema":{"type":"struct","fields":[{"field":"a","type":"boolean"}]},"payload":{}}"#,
            "at /a: it is null or missing",
        ),
        (
            r#"{"schema":{"type":"struct","fields":[{"field":"a","type":"int8"},{"field":"a","type":"int8"}]},"payload":{}}"#,
            "at /schema: field `a` is there twice",
        ),
        (
            r#"{"schema":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}},"payload":"!"}"#,
            "it is not base64",
        ),
    ] {
        let found = plain(text, Decimals::Text).unwrap_err();
        assert!(found.starts_with(why), "{text}: {found}");
    }
}

#[test]
fn depth_and_defaults_end() {
    let nested = |levels: usize| {
        format!(
            r#"{{"schema":{}{{"type":"int8"}}{},"payload":{}1{}}}"#,
            r#"{"type":"array","items":"#.repeat(levels),
            "}".repeat(levels),
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    assert!(plain(&nested(60), Decimals::Text).is_ok());
    assert!(plain(&nested(100), Decimals::Text).is_err());
    let text = format!(
        r#"{{"schema":{{"type":"array","items":{{"type":"string","default":"{}"}}}},"payload":[{}null]}}"#,
        "x".repeat(100_000),
        "null,".repeat(1_000)
    );
    assert_eq!(
        plain(&text, Decimals::Text).unwrap_err(),
        "at /84: it comes to more than 8388608 bytes of JSON"
    );
}

/// A change of Debezium's, as it is registered.
#[test]
fn avro_of_a_struct() {
    let value = |optional: bool, field: &str| {
        json!({ "type": "struct", "optional": optional, "name": "shop.public.orders.Value", "field": field, "fields": [
            { "field": "id", "type": "int64", "optional": false, "default": 0 },
            { "field": "small", "type": "int16", "optional": true, "doc": "Not large." },
            { "field": "price", "type": "bytes", "optional": true, "name": DECIMAL, "version": 1, "parameters": { "scale": "2" } },
            { "field": "day", "type": "int32", "optional": true, "name": "io.debezium.time.Date", "version": 1 },
            { "field": "at", "type": "int64", "optional": false, "name": LOCAL_MICROS, "version": 1 },
            { "field": "tags", "type": "map", "optional": false, "keys": { "type": "int32" }, "values": { "type": "string" } },
        ] })
    };
    let schema = json!({ "type": "struct", "name": "shop-1.Envelope", "version": 2, "fields": [value(true, "before"), value(true, "after")] });
    let made = avro::to_avro(&ConnectSchema::parse(&schema.to_string()).unwrap()).unwrap();
    let made: Value = serde_json::from_str(&made).unwrap();
    expect_test::expect![[r#"
        {
          "connect.name": "shop-1.Envelope",
          "connect.version": 2,
          "fields": [
            {
              "default": null,
              "name": "before",
              "type": [
                "null",
                {
                  "connect.name": "shop.public.orders.Value",
                  "fields": [
                    {
                      "default": 0,
                      "name": "id",
                      "type": {
                        "connect.default": 0,
                        "type": "long"
                      }
                    },
                    {
                      "default": null,
                      "doc": "Not large.",
                      "name": "small",
                      "type": [
                        "null",
                        {
                          "connect.doc": "Not large.",
                          "connect.type": "int16",
                          "type": "int"
                        }
                      ]
                    },
                    {
                      "default": null,
                      "name": "price",
                      "type": [
                        "null",
                        {
                          "connect.name": "org.apache.kafka.connect.data.Decimal",
                          "connect.parameters": {
                            "scale": "2"
                          },
                          "connect.version": 1,
                          "logicalType": "decimal",
                          "precision": 64,
                          "scale": 2,
                          "type": "bytes"
                        }
                      ]
                    },
                    {
                      "default": null,
                      "name": "day",
                      "type": [
                        "null",
                        {
                          "connect.name": "io.debezium.time.Date",
                          "connect.version": 1,
                          "logicalType": "date",
                          "type": "int"
                        }
                      ]
                    },
                    {
                      "name": "at",
                      "type": {
                        "connect.name": "io.debezium.time.MicroTimestamp",
                        "connect.version": 1,
                        "logicalType": "local-timestamp-micros",
                        "type": "long"
                      }
                    },
                    {
                      "name": "tags",
                      "type": {
                        "connect.internal.type": "MapEntry",
                        "items": {
                          "fields": [
                            {
                              "name": "key",
                              "type": "int"
                            },
                            {
                              "name": "value",
                              "type": "string"
                            }
                          ],
                          "name": "MapEntry",
                          "namespace": "io.confluent.connect.avro",
                          "type": "record"
                        },
                        "type": "array"
                      }
                    }
                  ],
                  "name": "Value",
                  "namespace": "shop.public.orders",
                  "type": "record"
                }
              ]
            },
            {
              "default": null,
              "name": "after",
              "type": [
                "null",
                "shop.public.orders.Value"
              ]
            }
          ],
          "name": "Envelope",
          "namespace": "shop_1",
          "type": "record"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&made).unwrap());
}

#[test]
fn a_field_that_avro_has_no_name_for_is_told() {
    let schema = ConnectSchema::parse(
        r#"{"type":"struct","fields":[{"field":"a","type":"struct","fields":[{"field":"b c","type":"int8"}]}]}"#,
    );
    let bad = avro::to_avro(&schema.unwrap()).unwrap_err().to_string();
    assert!(bad.starts_with("at /a: field `b c` can't be called so in Avro"), "{bad}");
}

#[test]
fn avro_of_others_has_the_nearest_types() {
    let text = json!({ "type": "record", "name": "a.R", "fields": [
        { "name": "at", "type": { "type": "long", "logicalType": "timestamp-micros" } },
        { "name": "price", "type": ["null", { "type": "fixed", "name": "F", "size": 8, "logicalType": "decimal", "precision": 9, "scale": 2 }] },
        { "name": "kind", "type": { "type": "enum", "name": "K", "symbols": ["X", "Y"] }, "default": "Y" },
        { "name": "either", "type": ["int", "string", "K"] },
        { "name": "debezium", "type": { "type": "long", "connect.name": "io.debezium.time.MicroTimestamp", "connect.version": 1 } },
        { "name": "raw", "type": "bytes", "default": "\u{ff}" },
    ] })
    .to_string();
    let Ok(Schema::Avro(schema)) = Schema::parse(Kind::Avro, &text, &[]) else { panic!("{text}") };
    let connect = avro::from_avro(&schema, &text, &[]).unwrap();
    expect_test::expect![[r#"{"type":"struct","fields":[{"type":"string","optional":false,"name":"io.debezium.time.ZonedTimestamp","version":1,"field":"at"},{"type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"connect.decimal.precision":"9","scale":"2"},"field":"price"},{"type":"string","optional":false,"name":"a.K","parameters":{"io.confluent.connect.avro.Enum":"a.K","io.confluent.connect.avro.Enum.X":"X","io.confluent.connect.avro.Enum.Y":"Y"},"default":"Y","field":"kind"},{"type":"struct","fields":[{"type":"int32","optional":true,"field":"int"},{"type":"string","optional":true,"field":"string"},{"type":"string","optional":true,"name":"a.K","parameters":{"io.confluent.connect.avro.Enum":"a.K","io.confluent.connect.avro.Enum.X":"X","io.confluent.connect.avro.Enum.Y":"Y"},"field":"a.K"}],"optional":false,"name":"io.confluent.connect.avro.Union","field":"either"},{"type":"int64","optional":false,"name":"io.debezium.time.MicroTimestamp","version":1,"field":"debezium"},{"type":"bytes","optional":false,"default":"/w==","field":"raw"}],"optional":false,"name":"a.R"}"#]]
    .assert_eq(&connect.print());
    let plain = r#"{"at":"2026-01-31T12:34:56.789012Z","price":"1.50","kind":"X","either":{"a.K":"Y"},"debezium":7,"raw":"/w=="}"#;
    let mut payload = Vec::new();
    to_payload(&connect, plain, &mut payload).unwrap();
    assert_eq!(
        String::from_utf8(payload).unwrap(),
        r#"{"at":"2026-01-31T12:34:56.789012Z","price":"AJY=","kind":"X","either":{"int":null,"string":null,"a.K":"Y"},"debezium":7,"raw":"/w=="}"#
    );
    let text = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
    let Ok(Schema::Avro(schema)) = Schema::parse(Kind::Avro, text, &[]) else { panic!("{text}") };
    let bad = avro::from_avro(&schema, text, &[]).unwrap_err().to_string();
    assert!(bad.starts_with("at /next: record L of its schema contains itself"), "{bad}");
}

/// A type that refers to the one before it twice, and so on: a kilobyte that stands for a billion types.
#[test]
fn a_schema_that_multiplies_ends_at_a_limit() {
    let mut text = r#"{"type":"record","name":"R0","fields":[]}"#.to_owned();
    let mut outer = String::new();
    for level in 1..30 {
        let below = if level == 1 { text.clone() } else { outer.clone() };
        outer = format!(
            r#"{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":{below}}},{{"name":"b","type":"R{}"}}]}}"#,
            level - 1
        );
    }
    text = outer;
    let Ok(Schema::Avro(schema)) = Schema::parse(Kind::Avro, &text, &[]) else { panic!("{text}") };
    let bad = avro::from_avro(&schema, &text, &[]).unwrap_err().to_string();
    assert!(bad.ends_with("a schema of more than 5000 types"), "{bad}");
}

#[test]
fn json_schema_is_confluents() {
    let schema = json!({ "type": "struct", "name": "R", "fields": [
        { "field": "a", "type": "int8", "optional": false },
        { "field": "b", "type": "bytes", "optional": true, "name": DECIMAL, "version": 1, "parameters": { "scale": "2" } },
        { "field": "c", "type": "map", "keys": { "type": "string" }, "values": { "type": "double" } },
    ] });
    let made = json_schema::to_json_schema(&ConnectSchema::parse(&schema.to_string()).unwrap()).unwrap();
    expect_test::expect![[r#"{"properties":{"a":{"connect.index":0,"connect.type":"int8","type":"integer"},"b":{"connect.index":1,"oneOf":[{"type":"null"},{"connect.parameters":{"scale":"2"},"connect.type":"bytes","connect.version":1,"title":"org.apache.kafka.connect.data.Decimal","type":"string"}]},"c":{"additionalProperties":{"connect.type":"float64","type":"number"},"connect.index":2,"connect.type":"map","type":"object"}},"title":"R","type":"object"}"#]]
    .assert_eq(&made);
    let Ok(Schema::Json(parsed)) = Schema::parse(Kind::Json, &made, &[]) else { panic!("{made}") };
    assert_eq!(parsed.validate(&json!({ "a": 1, "b": null, "c": { "x": 1.5 } })), Ok(()));
    assert!(parsed.validate(&json!({ "a": "1" })).is_err());
}

/// A schema with a payload that fits it.
type Pair = (ConnectSchema, Value);

fn leaf() -> impl Strategy<Value = Pair> {
    let of = |is: Is| move |value: Value| (ConnectSchema::of(is.clone()), value);
    let named =
        |is: Is, name: &'static str| move |value: Value| (ConnectSchema::named(is.clone(), name), value);
    let base64 = || {
        vec(any::<u8>(), 0..12).prop_map(|bytes| {
            use base64::Engine;
            Value::from(base64::engine::general_purpose::STANDARD.encode(bytes))
        })
    };
    let decimal = (any::<i64>(), 0..80u32).prop_map(|(unscaled, scale)| {
        use base64::Engine;
        let bytes = num_bigint::BigInt::from(unscaled).to_signed_bytes_be();
        let mut schema = ConnectSchema::named(Is::Bytes, DECIMAL);
        schema.parameters.insert(SCALE.to_owned(), scale.to_string());
        (schema, Value::from(base64::engine::general_purpose::STANDARD.encode(bytes)))
    });
    prop_oneof![
        any::<i8>().prop_map(Value::from).prop_map(of(Is::Int8)),
        any::<i16>().prop_map(Value::from).prop_map(of(Is::Int16)),
        any::<i32>().prop_map(Value::from).prop_map(of(Is::Int32)),
        any::<i64>().prop_map(Value::from).prop_map(of(Is::Int64)),
        // What a float holds exactly.
        any::<i16>().prop_map(|n| Value::from(f64::from(n) / 16.0)).prop_map(of(Is::Float)),
        prop_oneof![
            any::<f64>().prop_filter("no number", |n| n.is_finite()).prop_map(Value::from),
            Just("NaN".into())
        ]
        .prop_map(of(Is::Double)),
        any::<bool>().prop_map(Value::from).prop_map(of(Is::Boolean)),
        ".{0,8}".prop_map(Value::from).prop_map(of(Is::String)),
        base64().prop_map(of(Is::Bytes)),
        decimal,
        any::<i32>().prop_map(Value::from).prop_map(named(Is::Int32, DATE)),
        any::<i32>().prop_map(Value::from).prop_map(named(Is::Int32, TIME)),
        any::<i64>().prop_map(Value::from).prop_map(named(Is::Int64, TIMESTAMP)),
        any::<i64>().prop_map(Value::from).prop_map(named(Is::Int64, MICRO_TIME)),
        any::<i64>().prop_map(Value::from).prop_map(named(Is::Int64, LOCAL_MILLIS)),
        any::<i64>().prop_map(Value::from).prop_map(named(Is::Int64, LOCAL_MICROS)),
        any::<i64>().prop_map(Value::from).prop_map(named(Is::Int64, LOCAL_NANOS)),
        any::<i64>().prop_map(Value::from).prop_map(named(Is::Int64, "io.debezium.time.NanoTime")),
        any::<i32>().prop_map(Value::from).prop_map(named(Is::Int32, "io.debezium.time.Year")),
        Just(Value::from("0f0e0d0c-0b0a-0908-0706-050403020100")).prop_map(named(Is::String, UUID)),
        Just(Value::from("{}")).prop_map(named(Is::String, "io.debezium.data.Json")),
        // A decimal without its parameter is no decimal.
        base64().prop_map(named(Is::Bytes, DECIMAL)),
    ]
}

/// With all that a schema may say besides. A default that stands for null hides the null.
fn said(pair: impl Strategy<Value = Pair>) -> impl Strategy<Value = Pair> {
    (pair, any::<bool>(), 0..4u8, proptest::option::of("[a-z]{1,3}"), 0..5u8).prop_map(
        |((mut schema, value), optional, default, doc, more)| {
            schema.optional = optional;
            schema.doc = doc;
            if more == 0 {
                schema.parameters.insert("own".to_owned(), "\"é".to_owned());
            }
            if more == 1 && schema.name.is_none() && !matches!(schema.is, Is::Struct(_)) {
                (schema.name, schema.version) = (Some("a.b-c".to_owned()), Some(7));
            }
            match default {
                0 => schema.default = Some(value.clone()).filter(|value| !value.is_null()),
                1 if optional => return (schema, Value::Null),
                _ => {}
            }
            (schema, value)
        },
    )
}

fn pair() -> impl Strategy<Value = Pair> {
    said(leaf()).prop_recursive(4, 24, 4, |inner| {
        let array = inner.clone().prop_map(|(schema, value)| {
            let values = vec![value.clone(), value];
            (ConnectSchema::of(Is::Array(Box::new(schema))), values.into())
        });
        let texts = (inner.clone(), "[a-z\"]{0,3}").prop_map(|((schema, value), key)| {
            let keys = Box::new(ConnectSchema::of(Is::String));
            (ConnectSchema::of(Is::Map(keys, Box::new(schema))), json!({ key: value }))
        });
        let pairs = (inner.clone(), inner.clone()).prop_map(|((keys, key), (values, value))| {
            let is_text = keys.is == Is::String;
            let schema = ConnectSchema::of(Is::Map(Box::new(keys), Box::new(values)));
            match key {
                Value::String(key) if is_text => (schema, json!({ key: value })),
                // Null is no name of a member.
                _ if is_text => (schema, json!({})),
                key => (schema, json!([[key, value]])),
            }
        });
        let name =
            prop_oneof![Just(None), "[A-Z][a-z-]{0,2}".prop_map(Some), "[a-z]\\.[A-Z0-9]".prop_map(Some),];
        let structs = (vec(inner, 0..4), name).prop_map(|(parts, name)| {
            let mut payload = serde_json::Map::new();
            let fields = parts.into_iter().enumerate().map(|(place, (schema, value))| {
                let name = format!("f{place}");
                payload.insert(name.clone(), value);
                Field { name, schema }
            });
            let is = Is::Struct(fields.collect());
            (ConnectSchema { name, ..ConnectSchema::of(is) }, Value::Object(payload))
        });
        said(prop_oneof![array, texts, pairs, structs])
    })
}

proptest! {
    #[test]
    fn nothing_is_lost_on_the_way_to_avro_and_back((schema, payload) in pair()) {
        let printed = schema.print();
        prop_assert_eq!(&ConnectSchema::parse(&printed).unwrap(), &schema);
        let text = avro::to_avro(&schema).unwrap();
        let parsed = match Schema::parse(Kind::Avro, &text, &[]) {
            Ok(Schema::Avro(parsed)) => parsed,
            other => return Err(TestCaseError::fail(format!("{text}: {other:?}"))),
        };
        let mut plain = Vec::new();
        to_plain(&schema, &payload.to_string(), Decimals::Text, &mut plain).unwrap();
        let mut record = Vec::new();
        records::from_json(&parsed, &plain, &mut record).map_err(|bad| TestCaseError::fail(format!("{text}: {bad}")))?;
        let mut again = Vec::new();
        records::to_json(&parsed, &record, Decimals::Text, &mut again).unwrap();
        // A number may be written otherwise.
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        prop_assert_eq!(json(&again), json(&plain));
        let back = avro::from_avro(&parsed, &text, &[]).unwrap();
        prop_assert_eq!(back.print(), printed, "{}", text);
        let mut out = Vec::new();
        to_payload(&back, std::str::from_utf8(&again).unwrap(), &mut out).unwrap();
        prop_assert_eq!(json(&out), with_defaults(&schema, &payload));
    }

    /// What an envelope says is not trusted.
    #[test]
    fn no_envelope_makes_it_panic(schema in "\\PC{0,40}", payload in "\\PC{0,40}", (known, _) in pair()) {
        let _ = ConnectSchema::parse(&schema);
        let text = format!(r#"{{"schema":{schema},"payload":{payload}}}"#);
        let _ = plain(&text, Decimals::Text);
        if let Ok(payload) = serde_json::from_str::<Box<RawValue>>(&payload) {
            let (mut plain, mut back) = (Vec::new(), Vec::new());
            let _ = to_plain(&known, payload.get(), Decimals::Numbers, &mut plain);
            let _ = to_payload(&known, payload.get(), &mut back);
        }
    }
}

/// A payload with its nulls replaced, as Kafka Connect reads it.
fn with_defaults(schema: &ConnectSchema, value: &Value) -> Value {
    let value = match (&schema.default, value) {
        (Some(default), Value::Null) => default,
        _ => value,
    };
    match (&schema.is, value) {
        (Is::Array(items), Value::Array(values)) => values.iter().map(|v| with_defaults(items, v)).collect(),
        (Is::Map(keys, of), Value::Array(pairs)) => pairs
            .iter()
            .map(|pair| json!([with_defaults(keys, &pair[0]), with_defaults(of, &pair[1])]))
            .collect(),
        (Is::Map(_, of), Value::Object(members)) => {
            Value::Object(members.iter().map(|(k, v)| (k.clone(), with_defaults(of, v))).collect())
        }
        (Is::Struct(fields), Value::Object(members)) => {
            let member = |field: &Field| {
                let value = members.get(&field.name).unwrap_or(&Value::Null);
                (field.name.clone(), with_defaults(&field.schema, value))
            };
            Value::Object(fields.iter().map(member).collect())
        }
        _ => value.clone(),
    }
}
