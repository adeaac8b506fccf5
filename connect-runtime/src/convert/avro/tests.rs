//! Against the library: what it writes is read here and written again, byte for byte.

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Days, Decimal, Duration, Millis, Months};
use millrace_schema::Schema;
use proptest::prelude::*;

use super::*;
use crate::convert::Decimals;

fn avro(text: &str) -> Avro {
    match Schema::parse(millrace_schema::Kind::Avro, text, &[]).unwrap() {
        Schema::Avro(avro) => avro,
        _ => unreachable!(),
    }
}

fn json(schema: &str, bytes: &[u8]) -> Result<String, String> {
    let mut out = Vec::new();
    to_json(&avro(schema), bytes, Decimals::Text, &mut out).map_err(|bad| bad.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

fn bytes(schema: &str, json: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    from_json(&avro(schema), json.as_bytes(), &mut out).map_err(|bad| bad.to_string())?;
    Ok(out)
}

fn of_library(schema: &str, value: Value) -> Vec<u8> {
    let schema = apache_avro::Schema::parse_str(schema).unwrap();
    GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value).unwrap()
}

/// What the library writes for `value` is `text` here, and `text` gives its bytes again.
fn same(schema: &str, value: Value, text: &str) {
    let written = of_library(schema, value);
    assert_eq!(json(schema, &written).unwrap(), text, "{schema}");
    assert_eq!(bytes(schema, text).unwrap(), written, "{schema} {text}");
}

#[test]
fn every_type_at_its_ends() {
    let logical = |of: &str, name: &str| format!(r#"{{"type":"{of}","logicalType":"{name}"}}"#);
    same("\"null\"", Value::Null, "null");
    same("\"boolean\"", Value::Boolean(true), "true");
    for value in [i32::MIN, -1, 0, 63, 64, i32::MAX] {
        same("\"int\"", Value::Int(value), &value.to_string());
    }
    for value in [i64::MIN, -1, 0, 9_007_199_254_740_993, i64::MAX] {
        same("\"long\"", Value::Long(value), &value.to_string());
    }
    same("\"double\"", Value::Double(f64::INFINITY), "\"Infinity\"");
    same("\"float\"", Value::Float(f32::NEG_INFINITY), "\"-Infinity\"");
    same("\"double\"", Value::Double(f64::NAN), "\"NaN\"");
    same("\"double\"", Value::Double(5e-324), "5e-324");
    same("\"double\"", Value::Double(-0.0), "-0.0");
    same("\"float\"", Value::Float(0.1), "0.1");
    same("\"bytes\"", Value::Bytes(vec![0, 255]), "\"AP8=\"");
    same("\"string\"", Value::String("a\"\\\n\u{0}ä😀".into()), "\"a\\\"\\\\\\n\\u0000ä😀\"");
    same(r#"{"type":"fixed","name":"F","size":2}"#, Value::Fixed(2, vec![1, 2]), "\"AQI=\"");
    same(r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, Value::Enum(1, "B".into()), "\"B\"");
    same(r#"{"type":"array","items":"int"}"#, Value::Array(vec![]), "[]");
    same(r#"{"type":"array","items":"int"}"#, Value::Array(vec![Value::Int(1), Value::Int(2)]), "[1,2]");
    same(
        r#"{"type":"map","values":"int"}"#,
        Value::Map([("k".to_owned(), Value::Int(1))].into()),
        r#"{"k":1}"#,
    );
    same(&logical("int", "date"), Value::Date(i32::MIN), "\"-5877641-06-23\"");
    same(&logical("int", "time-millis"), Value::TimeMillis(86_399_999), "\"23:59:59.999\"");
    same(&logical("int", "time-millis"), Value::TimeMillis(-1), "-1");
    same(&logical("long", "time-micros"), Value::TimeMicros(1), "\"00:00:00.000001\"");
    same(&logical("long", "timestamp-millis"), Value::TimestampMillis(0), "\"1970-01-01T00:00:00.000Z\"");
    same(
        &logical("long", "timestamp-millis"),
        Value::TimestampMillis(i64::MAX),
        "\"+292278994-08-17T07:12:55.807Z\"",
    );
    same(&logical("long", "timestamp-micros"), Value::TimestampMicros(-1), "\"1969-12-31T23:59:59.999999Z\"");
    same(
        &logical("long", "timestamp-nanos"),
        Value::TimestampNanos(i64::MIN),
        "\"1677-09-21T00:12:43.145224192Z\"",
    );
    same(
        &logical("long", "local-timestamp-millis"),
        Value::LocalTimestampMillis(1),
        "\"1970-01-01T00:00:00.001\"",
    );
    let uuid = "0f0e0d0c-0b0a-0908-0706-050403020100";
    same(&logical("string", "uuid"), Value::Uuid(uuid.parse().unwrap()), &format!("\"{uuid}\""));
    let fixed = r#"{"type":"fixed","name":"F","size":16,"logicalType":"uuid"}"#;
    same(fixed, Value::Uuid(uuid.parse().unwrap()), &format!("\"{uuid}\""));
    let duration = r#"{"type":"fixed","name":"F","size":12,"logicalType":"duration"}"#;
    let value = Value::Duration(Duration::new(Months::new(1), Days::new(2), Millis::new(u32::MAX)));
    same(duration, value, r#"{"months":1,"days":2,"millis":4294967295}"#);
}

#[test]
fn decimals_keep_every_digit() {
    let of = r#"{"type":"bytes","logicalType":"decimal","precision":40,"scale":2}"#;
    let number: num_bigint::BigInt = "1234567890123456789012345678901234567890".parse().unwrap();
    let text = "\"12345678901234567890123456789012345678.90\"";
    same(of, Value::Decimal(Decimal::from(number.to_signed_bytes_be())), text);
    // As a number, too, in both directions.
    assert_eq!(bytes(of, text.trim_matches('"')).unwrap(), bytes(of, text).unwrap());
    let mut out = Vec::new();
    to_json(&avro(of), &bytes(of, text).unwrap(), Decimals::Numbers, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), text.trim_matches('"'));
    let fixed = r#"{"type":"fixed","name":"D","size":8,"logicalType":"decimal","precision":9,"scale":3}"#;
    assert_eq!(json(fixed, &bytes(fixed, "-0.001").unwrap()).unwrap(), "\"-0.001\"");
    for bad in ["\"0.0001\"", "\"1234567\"", "true", "\"x\""] {
        assert!(bytes(fixed, bad).is_err(), "{bad}");
    }
}

const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"id","type":"long"},
    {"name":"note","type":["null","string"]},
    {"name":"kind","type":"string","default":"web"},
    {"name":"raw","type":"bytes","default":"\u00ff"},
    {"name":"either","type":["int","string",{"type":"record","name":"Line","fields":[{"name":"sku","type":"string"}]}],"default":7}]}"#;

#[test]
fn unions_and_defaults() {
    let whole = r#"{"id":1,"note":null,"kind":"web","raw":"/w==","either":{"int":7}}"#;
    assert_eq!(json(ORDER, &bytes(ORDER, r#"{"id":1}"#).unwrap()).unwrap(), whole);
    assert_eq!(bytes(ORDER, whole).unwrap(), bytes(ORDER, r#"{"id":1}"#).unwrap());
    for (given, shown) in [
        (r#""x""#, r#"{"string":"x"}"#),
        (r#"{"string":"x"}"#, r#"{"string":"x"}"#),
        (r#"{"sku":"s"}"#, r#"{"shop.Line":{"sku":"s"}}"#),
        ("5", r#"{"int":5}"#),
    ] {
        let text = json(ORDER, &bytes(ORDER, &format!(r#"{{"id":1,"either":{given}}}"#)).unwrap()).unwrap();
        assert!(text.ends_with(&format!(r#""either":{shown}}}"#)), "{text}");
    }
    let two = r#"["null",{"type":"map","values":"int"},{"type":"record","name":"R","fields":[]}]"#;
    assert_eq!(
        bytes(two, "{}").unwrap_err(),
        r#"it fits several of the union's types; say which: {"<type>": value}"#
    );
    assert_eq!(json(two, &bytes(two, r#"{"R":{}}"#).unwrap()).unwrap(), r#"{"R":{}}"#);
}

#[test]
fn what_does_not_fit_is_told_without_the_value() {
    for (given, message) in [
        ("{}", "at /id: it is missing and has no default"),
        (r#"{"id":"secret"}"#, "at /id: a whole number of 64 bits was expected, not this text"),
        (r#"{"id":1.5}"#, "at /id: a whole number of 64 bits was expected, not this number"),
        (r#"{"id":1,"note":[]}"#, "at /note: text was expected, not this array"),
        (r#"{"id":1,"more":1}"#, "record shop.Order has no field `more`, and its value would be lost"),
        (r#"{"id":1,"id":2}"#, "field `id` is there twice"),
        ("[]", "an object was expected, not this array"),
    ] {
        assert_eq!(bytes(ORDER, given).unwrap_err(), message);
    }
    assert!(bytes(ORDER, "{").unwrap_err().starts_with("not JSON: "));
    assert!(
        bytes("\"float\"", "1e39").is_err()
            && bytes("\"double\"", "1e999").is_err()
            && bytes("\"int\"", "2147483648").is_err()
    );
}

#[test]
fn hostile_records_end_at_a_limit() {
    let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
    assert_eq!(json(list, &[2, 2, 0]).unwrap(), r#"{"next":{"next":{"next":null}}}"#);
    assert!(json(list, &vec![2; 1 << 20]).unwrap_err().ends_with("nested more than 64 levels"));
    // So many nulls, in a record of ten bytes.
    let nulls = r#"{"type":"array","items":"null"}"#;
    let mut many = Vec::new();
    crate::convert::put_varint(crate::convert::zigzag(i64::MAX), &mut many);
    assert_eq!(json(nulls, &many).unwrap_err(), "it comes to more than 8388608 bytes of JSON");
    for (schema, bad) in [
        ("\"string\"", &[1][..]),
        ("\"string\"", &[4, 0xff, 0xff]),
        ("\"string\"", &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ("\"int\"", &[0x80; 12]),
        ("\"int\"", &[0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ("\"int\"", &[0, 0]),
        ("\"boolean\"", &[2]),
        ("[\"null\",\"int\"]", &[4, 0]),
        (r#"{"type":"enum","name":"E","symbols":["A"]}"#, &[2]),
        (r#"{"type":"array","items":"int"}"#, &[2, 2]),
    ] {
        assert!(json(schema, bad).is_err(), "{schema} {bad:?}");
    }
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    assert!(bytes("\"int\"", &deep).is_err());
}

/// Very many defaults for very few bytes; and one that is large, very often.
#[test]
fn hostile_defaults_end_at_a_limit() {
    let fields: Vec<String> =
        (0..2_000).map(|n| format!(r#"{{"name":"f{n}","type":"null","default":null}}"#)).collect();
    let wide = format!(
        r#"{{"type":"array","items":{{"type":"record","name":"R","fields":[{}]}}}}"#,
        fields.join(",")
    );
    let many = format!("[{}{{}}]", "{},".repeat(1_000));
    assert!(bytes(&wide, &many).unwrap_err().ends_with("more than 1048576 values would be filled in"));
    let large = format!(
        r#"{{"type":"array","items":{{"type":"record","name":"R","fields":[{{"name":"a","type":"string","default":"{}"}}]}}}}"#,
        "x".repeat(100_000)
    );
    assert!(bytes(&large, &many).unwrap_err().ends_with("it comes to more than 8388608 bytes of Avro"));
}

/// A schema, and values of it.
fn arbitrary() -> impl Strategy<Value = Vec<(String, Value)>> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(|v| ("\"int\"".to_owned(), Value::Int(v))),
        any::<i64>().prop_map(|v| ("\"long\"".to_owned(), Value::Long(v))),
        any::<f64>().prop_map(|v| ("\"double\"".to_owned(), Value::Double(v))),
        any::<f32>().prop_map(|v| ("\"float\"".to_owned(), Value::Float(v))),
        any::<String>().prop_map(|v| ("\"string\"".to_owned(), Value::String(v))),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|v| ("\"bytes\"".to_owned(), Value::Bytes(v))),
        any::<Option<i64>>().prop_map(|v| {
            let value = v.map_or(Value::Union(0, Box::new(Value::Null)), |v| {
                Value::Union(1, Box::new(Value::Long(v)))
            });
            ("[\"null\",\"long\"]".to_owned(), value)
        }),
        prop::collection::vec(any::<String>(), 0..4).prop_map(|v| {
            let items = v.into_iter().map(Value::String).collect();
            (r#"{"type":"array","items":"string"}"#.to_owned(), Value::Array(items))
        }),
        any::<i64>().prop_map(|v| (
            r#"{"type":"long","logicalType":"timestamp-micros"}"#.to_owned(),
            Value::TimestampMicros(v)
        )),
    ];
    prop::collection::vec(leaf, 0..12)
}

proptest! {
    #[test]
    fn records_come_back_byte_for_byte(fields in arbitrary()) {
        let names = |place: usize| format!("f{place}");
        let schema: Vec<String> = fields.iter().enumerate().map(|(place, (of, _))| format!(r#"{{"name":"{}","type":{of}}}"#, names(place))).collect();
        let schema = format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, schema.join(","));
        let value = Value::Record(fields.into_iter().enumerate().map(|(place, (_, value))| (names(place), value)).collect());
        let written = of_library(&schema, value);
        let text = json(&schema, &written).unwrap();
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        // A NaN has many forms, and JSON one.
        let again = bytes(&schema, &text).unwrap();
        prop_assert!(again == written || text.contains("NaN"), "{}", text);
    }

    #[test]
    fn any_bytes_are_read_calmly(given in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = json(ORDER, &given);
    }

    #[test]
    fn any_text_is_written_calmly(text in "\\PC{0,60}|[\\[\\]{}\",:0-9a-z]{0,60}") {
        let _ = bytes(ORDER, &text);
    }
}
