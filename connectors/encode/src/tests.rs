//! Files read back by readers that are not ours: Avro by `apache-avro`, Parquet by the record reader of `parquet`.

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::Codec;
use crate::avro::AvroFile;
use crate::datum::{Datum, Form, row};
use crate::json::Json;
use crate::parquet::{JoinedFile, ParquetFile};
use crate::types::infer::Shape;
use crate::types::{Schema, avro};

const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"id","type":"long"},
    {"name":"small","type":["null","int"]},
    {"name":"ok","type":["null","boolean"]},
    {"name":"ratio","type":["null","double"]},
    {"name":"name","type":["null","string"]},
    {"name":"raw","type":["null","bytes"]},
    {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}]},
    {"name":"huge","type":["null",{"type":"bytes","logicalType":"decimal","precision":38,"scale":0}]},
    {"name":"day","type":["null",{"type":"int","logicalType":"date"}]},
    {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
    {"name":"tags","type":["null",{"type":"array","items":["null","string"]}]},
    {"name":"grid","type":["null",{"type":"array","items":{"type":"array","items":"long"}}]},
    {"name":"by","type":["null",{"type":"map","values":["null","long"]}]},
    {"name":"to","type":["null",{"type":"record","name":"To","fields":[
        {"name":"city","type":["null","string"]},{"name":"codes","type":{"type":"array","items":"int"}}]}]}]}"#;

const ROWS: [&str; 4] = [
    r#"{"id":1,"small":-7,"ok":true,"ratio":0.5,"name":"é","raw":"AAEC","price":"12.50","huge":99999999999999999999999999999999999999,
        "day":"2026-11-27","at":"2026-11-27T08:00:00.000001Z","tags":["a",null,""],"grid":[[1,2],[],[3]],"by":{"x":1,"y":null},
        "to":{"city":"Oslo","codes":[1,2]}}"#,
    r#"{"id":2}"#,
    r#"{"id":3,"tags":[],"grid":[],"by":{},"to":{"codes":[]},"price":"-0.01","huge":-1}"#,
    r#"{"id":9223372036854775807,"grid":[[]],"to":{"city":null,"codes":[5]},"ok":false}"#,
];

fn parquet_file(schema: &Schema, rows: &[&str], codec: Codec, group: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut file = ParquetFile::begin(schema, codec, &mut out).expect("begun");
    for (at, text) in rows.iter().enumerate() {
        let json = Json::read(text).expect("JSON");
        file.push(&row(&json, &schema.fields, Form::Plain).expect("a row"), &mut out).expect("pushed");
        if at % group == group - 1 {
            file.end_group(&mut out).expect("a group");
        }
    }
    file.finish(&mut out).expect("finished");
    out
}

fn read_parquet(bytes: Vec<u8>) -> Vec<Value> {
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).expect("a Parquet file");
    let rows = reader.get_row_iter(None).expect("rows");
    rows.map(|row| plain(&parquet::record::Field::Group(row.expect("a row")))).collect()
}

/// The record reader's values as JSON, as far as the tests go.
fn plain(field: &parquet::record::Field) -> Value {
    use parquet::record::Field;
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => json!(value),
        Field::Int(value) => json!(value),
        Field::Long(value) => json!(value),
        Field::Float(value) => json!(value),
        Field::Double(value) => json!(value),
        Field::Str(text) => json!(text),
        Field::Bytes(bytes) => json!(bytes.data()),
        Field::Decimal(decimal) => {
            let digits = decimal
                .data()
                .iter()
                .fold(if decimal.data()[0] >= 0x80 { -1_i128 } else { 0 }, |all, byte| {
                    (all << 8) | i128::from(*byte)
                });
            json!(format!("{digits}e-{}", decimal.scale()))
        }
        Field::Date(days) => json!(format!("day {days}")),
        Field::TimestampMillis(at) | Field::TimestampMicros(at) => json!(format!("at {at}")),
        Field::ListInternal(list) => list.elements().iter().map(plain).collect(),
        Field::MapInternal(map) => {
            map.entries().iter().map(|(key, value)| json!([plain(key), plain(value)])).collect()
        }
        Field::Group(row) => {
            row.get_column_iter().map(|(name, field)| (name.clone(), plain(field))).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn parquet_is_read_back() {
    let schema = avro::read(SCHEMA).expect("a schema");
    for (codec, group) in [(Codec::None, 1), (Codec::Snappy, 3), (Codec::Gzip, 100)] {
        let rows = read_parquet(parquet_file(&schema, &ROWS, codec, group));
        assert_eq!(rows.len(), 4, "{codec:?}");
        let whole = &rows[0];
        assert_eq!(whole["price"], "1250e-2");
        assert_eq!(whole["huge"], "99999999999999999999999999999999999999e-0");
        assert_eq!(whole["day"], "day 20784");
        assert_eq!(whole["at"], "at 1795766400000001");
        assert_eq!((&whole["tags"], &whole["grid"]), (&json!(["a", null, ""]), &json!([[1, 2], [], [3]])));
        assert_eq!(whole["by"], json!([["x", 1], ["y", null]]));
        assert_eq!(whole["to"], json!({ "city": "Oslo", "codes": [1, 2] }));
        assert_eq!(whole["raw"], json!([0, 1, 2]));
        for name in ["small", "tags", "grid", "by", "to", "price", "huge"] {
            assert_eq!(rows[1][name], Value::Null, "{name}");
        }
        assert_eq!(
            (&rows[2]["tags"], &rows[2]["grid"], &rows[2]["by"]),
            (&json!([]), &json!([]), &json!([]))
        );
        assert_eq!((&rows[2]["price"], &rows[2]["huge"]), (&json!("-1e-2"), &json!("-1e-0")));
        assert_eq!(rows[2]["to"], json!({ "city": null, "codes": [] }));
        assert_eq!((&rows[3]["grid"], &rows[3]["to"]["codes"]), (&json!([[]]), &json!([5])));
        assert_eq!(rows[3]["id"], json!(i64::MAX));
    }
}

#[test]
fn parquet_says_what_is_in_its_columns() {
    let schema = avro::read(SCHEMA).expect("a schema");
    let bytes = parquet_file(&schema, &ROWS, Codec::Snappy, 100);
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).expect("a Parquet file");
    let group = reader.metadata().row_group(0);
    let Some(Statistics::Int64(ids)) = group.column(0).statistics() else { panic!("no statistics") };
    assert_eq!((ids.min_opt(), ids.max_opt()), (Some(&1), Some(&i64::MAX)));
    assert_eq!(group.num_rows(), 4);
}

#[test]
fn avro_is_read_back() {
    use apache_avro::types::Value as Avro;
    let schema = avro::read(SCHEMA).expect("a schema");
    for codec in [Codec::None, Codec::Gzip] {
        let mut out = Vec::new();
        let mut file = AvroFile::begin(&schema, codec, &mut out).expect("begun");
        for text in ROWS {
            let json = Json::read(text).expect("JSON");
            file.push(&row(&json, &schema.fields, Form::Plain).expect("a row"), &mut out).expect("pushed");
        }
        file.end_block(&mut out).expect("ended");
        let rows: Vec<Avro> = apache_avro::Reader::new(&out[..])
            .expect("an Avro file")
            .collect::<Result<_, _>>()
            .expect("rows");
        let field = |row: usize, name: &str| {
            let Avro::Record(fields) = &rows[row] else { panic!("no record") };
            let (_, value) = fields.iter().find(|(known, _)| known == name).expect("a field");
            match value {
                Avro::Union(_, inner) => (**inner).clone(),
                other => other.clone(),
            }
        };
        assert_eq!(rows.len(), 4);
        assert_eq!(field(0, "name"), Avro::String("é".into()));
        assert_eq!(field(0, "day"), Avro::Date(20784));
        assert_eq!(field(0, "at"), Avro::TimestampMicros(1_795_766_400_000_001));
        assert_eq!(field(0, "price"), Avro::Decimal(vec![0x04, 0xe2].into()));
        assert_eq!(field(2, "price"), Avro::Decimal(vec![0xff].into()));
        assert_eq!(field(1, "to"), Avro::Null);
        assert_eq!(
            field(0, "grid"),
            Avro::Array(vec![
                Avro::Array(vec![Avro::Long(1), Avro::Long(2)]),
                Avro::Array(vec![]),
                Avro::Array(vec![Avro::Long(3)]),
            ])
        );
    }
}

#[test]
fn a_finished_file_tells_its_ids_counts_and_bounds() {
    let schema = avro::read(
        r#"{"type":"record","name":"R","fields":[
            {"name":"n","type":["null","long"]}, {"name":"s","type":["null","string"]}, {"name":"d","type":["null","double"]},
            {"name":"small","type":["null",{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}]},
            {"name":"huge","type":["null",{"type":"bytes","logicalType":"decimal","precision":30,"scale":0}]},
            {"name":"l","type":{"type":"array","items":"int"}}]}"#,
    )
    .expect("a schema");
    let rows = [
        r#"{"n":5,"s":"b","d":"NaN","small":"-1.5","huge":-7,"l":[1,2]}"#,
        r#"{"n":-5,"s":"a","d":1.5,"small":"2","huge":900000000000000000000000000000,"l":[]}"#,
        r#"{"l":[3]}"#,
    ];
    let (ids, mut out) = ([1, 2, 3, 4, 5, 6, 7], Vec::new());
    let mut file = ParquetFile::begin_with_ids(&schema, &ids, Codec::Snappy, &mut out).expect("begun");
    for text in rows {
        let json = Json::read(text).expect("JSON");
        file.push(&row(&json, &schema.fields, Form::Plain).expect("a row"), &mut out).expect("pushed");
        file.end_group(&mut out).expect("a group");
    }
    let summary = file.finish(&mut out).expect("finished");
    assert_eq!((summary.rows, summary.groups.len(), summary.groups[0]), (3, 3, 4));
    let told: Vec<_> =
        summary.columns.iter().map(|column| (column.id, column.is_repeated, column.values)).collect();
    assert_eq!(
        told,
        [
            (Some(1), false, 3),
            (Some(2), false, 3),
            (Some(3), false, 3),
            (Some(4), false, 3),
            (Some(5), false, 3),
            (Some(7), true, 4)
        ]
    );
    assert!(summary.columns.iter().all(|column| column.bytes > 0));
    let bounds = |at: usize| summary.columns[at].bounds.clone();
    assert_eq!(summary.columns[0].nulls, Some(1));
    assert_eq!(bounds(0), Some((Datum::Long(-5), Datum::Long(5))));
    assert_eq!(bounds(1), Some((Datum::Bytes(b"a".to_vec()), Datum::Bytes(b"b".to_vec()))));
    // A group of nothing but not-a-number says nothing.
    assert_eq!(bounds(2), None);
    assert_eq!(bounds(3), Some((Datum::Int(-150), Datum::Int(200))));
    assert_eq!(
        bounds(4),
        Some((Datum::Decimal(-7), Datum::Decimal(900_000_000_000_000_000_000_000_000_000)))
    );
}

/// Objects of any shape that keeps its kinds.
fn documents() -> impl Strategy<Value = Vec<Value>> {
    let number = prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from)];
    let text = prop_oneof![Just(Value::Null), "[a-zé\"\\\\\n]{0,6}".prop_map(Value::from)];
    let deep = proptest::collection::vec(proptest::collection::vec(number.clone(), 0..3), 0..3);
    let inner = (text.clone(), proptest::option::of(deep)).prop_map(|(t, d)| json!({ "t": t, "d": d }));
    let object = (number, text, proptest::option::of(proptest::collection::vec(inner, 0..4)))
        .prop_map(|(n, t, l)| json!({ "n": n, "t": t, "l": l, "always": 1 }));
    proptest::collection::vec(object, 1..20)
}

/// Without what is null: that is what a reader sees of a column that is not there.
fn without_null(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_null(value)))
            .collect(),
        Value::Array(values) => values.iter().map(without_null).collect(),
        other => other.clone(),
    }
}

proptest! {
    /// Whatever nests: what goes in as JSON comes out of a Parquet file.
    #[test]
    fn parquet_keeps_every_shape(values in documents(), group in 1_usize..5) {
        let texts: Vec<String> = values.iter().map(Value::to_string).collect();
        let mut shape = Shape::default();
        for text in &texts {
            shape.widen(&Json::read(text).expect("JSON")).expect("it keeps its kinds");
        }
        let schema = Schema::of("R", shape.resolve().expect("columns")).expect("a schema");
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let rows = read_parquet(parquet_file(&schema, &texts, Codec::Snappy, group));
        let ours: Vec<Value> = values.iter().map(without_null).collect();
        let theirs: Vec<Value> = rows.iter().map(without_null).collect();
        prop_assert_eq!(ours, theirs);
    }
}

#[test]
fn files_of_one_schema_are_joined_as_they_are() {
    let schema = avro::read(SCHEMA).expect("a schema");
    let files = [
        parquet_file(&schema, &ROWS, Codec::Snappy, 3),
        parquet_file(&schema, &ROWS[1..3], Codec::Gzip, 100),
        parquet_file(&schema, &ROWS[..1], Codec::None, 1),
    ]
    .map(bytes::Bytes::from);
    let mut out = Vec::new();
    let mut joined = JoinedFile::begin(&files[0], &mut out).expect("begun");
    for file in &files {
        assert_eq!(joined.add(file, &mut out), Ok(true));
    }
    let other = avro::read(r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"}]}"#);
    let other = parquet_file(&other.expect("a schema"), &[r#"{"id":1}"#], Codec::Snappy, 1);
    assert_eq!(joined.add(&other.into(), &mut out), Ok(false));
    let summary = joined.finish(&mut out).expect("finished");
    assert_eq!((summary.rows, summary.groups.len()), (7, 4));
    assert_eq!(summary.groups[0], 4);
    assert_eq!(summary.columns[0].bounds, Some((Datum::Long(1), Datum::Long(i64::MAX))));
    let wanted: Vec<Value> = files.iter().flat_map(|file| read_parquet(file.to_vec())).collect();
    assert_eq!(read_parquet(out), wanted);
}

proptest! {
    /// Whatever stands in a file that is to be joined: an answer, and no more.
    #[test]
    fn what_is_no_parquet_is_not_joined(at in 0_usize..2_000, byte in any::<u8>(), cut in 0_usize..2_000) {
        let schema = avro::read(SCHEMA).expect("a schema");
        let whole = parquet_file(&schema, &ROWS, Codec::Snappy, 2);
        let mut broken = whole.clone();
        let at = at % broken.len();
        broken[at] = byte;
        let cut = broken[..cut.min(broken.len())].to_vec();
        for file in [broken, cut] {
            let mut out = Vec::new();
            if let Ok(mut joined) = JoinedFile::begin(&whole.clone().into(), &mut out) {
                let _any = joined.add(&file.clone().into(), &mut out);
            }
            let _any = JoinedFile::begin(&file.into(), &mut out);
        }
    }
}
