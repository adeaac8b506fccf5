//! Types and their extremes, and texts that are not what they should be.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn json(kind: &Type, text: &str) -> String {
    let mut out = b"before".to_vec();
    write(&mut out, kind, text, Style::default());
    String::from_utf8(out).expect("UTF-8")["before".len()..].to_owned()
}

fn scalar(kind: Scalar, text: &str) -> String {
    json(&Type::Scalar(kind), text)
}

fn array(element: Scalar, text: &str) -> String {
    json(&Type::Array { element, delimiter: b',' }, text)
}

#[test]
fn numbers_keep_every_digit() {
    for text in ["0", "-9223372036854775808", "9223372036854775807"] {
        assert_eq!(scalar(Scalar::Int64, text), text);
    }
    for text in ["-0", "1e+20", "1.7976931348623157e+308", "5e-324", "0.1", "-1.5"] {
        assert_eq!(scalar(Scalar::Float64, text), text);
    }
    for text in ["NaN", "Infinity", "-Infinity", "", "1.", ".5", "01", "1e", "0x1"] {
        assert_eq!(scalar(Scalar::Float64, text), format!("{text:?}"));
        assert_eq!(scalar(Scalar::Int32, text), format!("{text:?}"));
    }
    let long = format!("-{}.{}", "9".repeat(1000), "0".repeat(500));
    for text in ["NaN", "Infinity", "0.10", "1E400", &long] {
        assert_eq!(scalar(Scalar::Numeric, text), format!("{text:?}"));
    }
}

#[test]
fn moments_are_iso_8601() {
    for (kind, text, plain, zoned_text) in [
        (Scalar::Date, "2026-02-28", "2026-02-28", "2026-02-28Z"),
        (Scalar::Date, "0044-03-15 BC", "0044-03-15 BC", "0044-03-15Z BC"),
        (Scalar::Date, "infinity", "infinity", "infinity"),
        (Scalar::Time, "24:00:00", "24:00:00", "24:00:00Z"),
        (Scalar::TimeTz, "04:05:06.789+00", "04:05:06.789Z", "04:05:06.789Z"),
        (Scalar::TimeTz, "04:05:06-08:30", "04:05:06-08:30", "04:05:06-08:30"),
        (
            Scalar::Timestamp,
            "2026-01-01 10:00:00.123456",
            "2026-01-01T10:00:00.123456",
            "2026-01-01T10:00:00.123456Z",
        ),
        (Scalar::Timestamp, "-infinity", "-infinity", "-infinity"),
        (
            Scalar::TimestampTz,
            "294276-12-31 23:59:59.999999+00",
            "294276-12-31T23:59:59.999999Z",
            "294276-12-31T23:59:59.999999Z",
        ),
        (
            Scalar::TimestampTz,
            "4713-11-24 00:00:00+00 BC",
            "4713-11-24T00:00:00Z BC",
            "4713-11-24T00:00:00Z BC",
        ),
        (Scalar::TimestampTz, "infinity", "infinity", "infinity"),
        (Scalar::Interval, "P-1Y2M3DT-4H5M6.789S", "P-1Y2M3DT-4H5M6.789S", "P-1Y2M3DT-4H5M6.789S"),
    ] {
        assert_eq!(scalar(kind, text), format!("{plain:?}"));
        let mut out = Vec::new();
        write(&mut out, &Type::Scalar(kind), text, Style { is_iso_zoned: true });
        assert_eq!(String::from_utf8_lossy(&out), format!("{zoned_text:?}"));
    }
}

#[test]
fn other_types_are_what_they_are() {
    assert_eq!((scalar(Scalar::Bool, "t"), scalar(Scalar::Bool, "f")), ("true".into(), "false".into()));
    assert_eq!(scalar(Scalar::Bool, "yes"), "\"yes\"");
    assert_eq!(scalar(Scalar::Bytes, "\\x"), "\"\"");
    assert_eq!(scalar(Scalar::Bytes, "\\x00ffFe"), "\"AP/+\"");
    assert_eq!(scalar(Scalar::Bytes, "\\x0"), "\"\\\\x0\"");
    assert_eq!(scalar(Scalar::Bytes, "\\xäö"), "\"\\\\xäö\"");
    assert_eq!(scalar(Scalar::Json, "{\"a\": null}"), r#""{\"a\": null}""#);
    assert_eq!(scalar(Scalar::Json, "null"), "\"null\"", "not to be confused with NULL");
    assert_eq!(
        scalar(Scalar::Text, "a\u{0}\u{1f}\n\"\\ä\u{1F600}"),
        "\"a\\u0000\\u001f\\n\\\"\\\\ä\u{1F600}\""
    );
}

#[test]
fn arrays_are_arrays() {
    assert_eq!(array(Scalar::Int32, "{}"), "[]");
    assert_eq!(array(Scalar::Int32, "{1,NULL,-3}"), "[1,null,-3]");
    assert_eq!(array(Scalar::Int32, "{{1,2},{3,NULL}}"), "[[1,2],[3,null]]");
    // With its bounds, which JSON's arrays don't have.
    assert_eq!(array(Scalar::Int32, "[0:1][2:3]={{1,2},{3,4}}"), "\"[0:1][2:3]={{1,2},{3,4}}\"");
    assert_eq!(
        array(Scalar::Text, r#"{a b,"",NULL,"NULL","x,}{\"\\"}"#),
        r#"["a b","",null,"NULL","x,}{\"\\"]"#
    );
    assert_eq!(array(Scalar::Bool, "{t,f}"), "[true,false]");
    assert_eq!(array(Scalar::Bytes, r#"{"\\x00ff"}"#), r#"["AP8="]"#);
    assert_eq!(array(Scalar::TimestampTz, r#"{"2026-01-01 00:00:00+00"}"#), r#"["2026-01-01T00:00:00Z"]"#);
    let boxes = Type::Array { element: Scalar::Text, delimiter: b';' };
    assert_eq!(json(&boxes, "{(1,1),(0,0);(2,2),(1,1)}"), r#"["(1,1),(0,0)","(2,2),(1,1)"]"#);
    for bad in [
        "",
        "{",
        "}",
        "{}}",
        "{{}",
        "1",
        "{1",
        "{,}",
        "{1,}",
        "{\"",
        "{\"a",
        "{a\"}",
        "{1}2",
        "{1};",
        "[0",
        "{{{{{{{1}}}}}}}",
        "{\\",
    ] {
        assert_eq!(array(Scalar::Int32, bad), serde_json::to_string(bad).expect("JSON"), "{bad}");
    }
}

/// An array of texts as PostgreSQL writes it.
fn written(values: &[Option<String>]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let parts: Vec<String> =
        values.iter().map(|value| value.as_deref().map_or("NULL".to_owned(), quoted)).collect();
    format!("{{{}}}", parts.join(","))
}

proptest! {
    #[test]
    fn any_text_makes_a_json_document(text in "\\PC*|[\\[\\]{}\",;\\\\N0-9=:a-z -]*") {
        for kind in [Scalar::Bool, Scalar::Int64, Scalar::Float64, Scalar::Numeric, Scalar::Bytes, Scalar::Timestamp,
            Scalar::TimestampTz, Scalar::TimeTz, Scalar::Text] {
            for document in [scalar(kind, &text), array(kind, &text)] {
                prop_assert!(serde_json::from_str::<Value>(&document).is_ok(), "{kind:?} {document}");
            }
        }
        let back: String = serde_json::from_str(&scalar(Scalar::Text, &text)).expect("a string");
        prop_assert_eq!(back, text);
    }

    #[test]
    fn texts_in_arrays_survive(values in proptest::collection::vec(proptest::option::of(any::<String>()), 0..6)) {
        let back: Vec<Option<String>> = serde_json::from_str(&array(Scalar::Text, &written(&values))).expect("an array");
        prop_assert_eq!(back, values);
    }
}
