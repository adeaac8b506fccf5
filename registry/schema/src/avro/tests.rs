//! Avro's resolution rules, one by one.

use super::*;

fn avro(text: &str) -> Avro {
    Avro::parse(text, &[]).unwrap()
}

/// Whether a reader with the first schema reads what the second wrote.
fn reads(reader: &str, writer: &str) -> bool {
    unreadable(&avro(reader), &avro(writer)).is_empty()
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

#[test]
fn promotions_go_one_way() {
    let order = ["\"int\"", "\"long\"", "\"float\"", "\"double\""];
    for (r, reader) in order.iter().enumerate() {
        for (w, writer) in order.iter().enumerate() {
            assert_eq!(reads(reader, writer), r >= w, "{reader} reads {writer}");
        }
    }
    assert!(reads("\"bytes\"", "\"string\"") && reads("\"string\"", "\"bytes\""));
    assert!(!reads("\"string\"", "\"int\"") && !reads("\"boolean\"", "\"int\""));
}

#[test]
fn a_new_field_needs_a_default() {
    let old = record(r#"{"name":"a","type":"int"}"#);
    assert!(!reads(&record(r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#), &old));
    assert!(reads(&record(r#"{"name":"a","type":"int"},{"name":"b","type":"int","default":0}"#), &old));
    assert!(reads(
        &record(r#"{"name":"a","type":"int"}"#),
        &record(r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#)
    ));
    assert!(reads(&record(r#"{"name":"z","aliases":["a"],"type":"long"}"#), &old));
    assert!(!reads(r#"{"type":"record","name":"Q","fields":[]}"#, &old));
    assert!(reads(r#"{"type":"record","name":"Q","aliases":["R"],"fields":[]}"#, &old));
}

#[test]
fn unions_must_cover_what_is_written() {
    assert!(reads(r#"["null","int"]"#, "\"int\""));
    assert!(reads(r#"["null","long"]"#, r#"["null","int"]"#));
    assert!(!reads(r#"["null","int"]"#, r#"["null","int","string"]"#));
    assert!(!reads("\"int\"", r#"["null","int"]"#));
    assert!(reads("\"double\"", r#"["int","long"]"#));
}

#[test]
fn enums_and_fixed() {
    let of =
        |symbols: &str, more: &str| format!(r#"{{"type":"enum","name":"E","symbols":[{symbols}]{more}}}"#);
    assert!(reads(&of("\"a\",\"b\"", ""), &of("\"a\"", "")));
    assert!(!reads(&of("\"a\"", ""), &of("\"a\",\"b\"", "")));
    assert!(reads(&of("\"a\"", r#","default":"a""#), &of("\"a\",\"b\"", "")));
    let fixed = |size| format!(r#"{{"type":"fixed","name":"F","size":{size}}}"#);
    assert!(reads(&fixed(4), &fixed(4)) && !reads(&fixed(4), &fixed(5)));
}

#[test]
fn decimals_must_agree() {
    let of = |scale| format!(r#"{{"type":"bytes","logicalType":"decimal","precision":9,"scale":{scale}}}"#);
    assert!(reads(&of(2), &of(2)) && !reads(&of(2), &of(3)));
    assert!(reads("\"bytes\"", &of(3)));
}

#[test]
fn types_that_contain_themselves_are_compared() {
    let list = |of: &str| {
        format!(
            r#"{{"type":"record","name":"L","fields":[{{"name":"v","type":"{of}"}},{{"name":"next","type":["null","L"]}}]}}"#
        )
    };
    assert!(reads(&list("long"), &list("int")));
    let found = unreadable(&avro(&list("int")), &avro(&list("long")));
    assert_eq!(found.first().unwrap(), "at /v: int was expected, long is written");
}

/// A name that stands for another definition in the other schema is looked into, wherever it stands.
#[test]
fn references_are_followed() {
    let two = |inner: &str, first: bool| {
        let whole = format!(r#"{{"type":"record","name":"I","fields":[{{"name":"x","type":"{inner}"}}]}}"#);
        if first {
            record(&format!(r#"{{"name":"a","type":{whole}}},{{"name":"b","type":"I"}}"#))
        } else {
            record(&format!(r#"{{"name":"b","type":{whole}}}"#))
        }
    };
    assert!(reads(&two("long", false), &two("int", true)));
    assert!(!reads(&two("int", false), &two("long", true)));
}

#[test]
fn dependencies_give_names() {
    let other = Dependency {
        name: "n.Money".into(),
        text: r#"{"type":"record","name":"Money","namespace":"n","fields":[{"name":"cents","type":"long"}]}"#
            .into(),
    };
    let text =
        r#"{"type":"record","name":"Order","namespace":"n","fields":[{"name":"total","type":"Money"}]}"#;
    let parsed = Avro::parse(text, std::slice::from_ref(&other)).unwrap();
    let Type::Record(order) = parsed.get(parsed.root()) else { panic!("a record") };
    let Type::Record(money) = parsed.get(order.fields[0].is) else { panic!("a record") };
    assert_eq!((money.names.full.as_str(), money.fields.len()), ("n.Money", 1));
    assert!(Avro::parse(text, &[]).is_err());
}

#[test]
fn hostile_texts_are_refused() {
    let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(500), "}".repeat(500));
    assert!(Avro::parse(&deep, &[]).is_err());
    for text in [
        "",
        "{",
        "{}",
        "nonsense",
        r#"{"type":"record","name":"1","fields":[]}"#,
        "[[\"int\"]]",
        "[\"int\",\"int\"]",
    ] {
        assert!(Avro::parse(text, &[]).is_err(), "{text}");
    }
    // A bare type name is what some clients send.
    assert!(Avro::parse("\"string\"", &[]).is_ok());
}

#[test]
fn defaults_that_say_more_than_anyone_can_check_are_refused() {
    // Each record holds the one before twice, and says nothing but "as usual".
    let mut pairs =
        r#"{"type": "record", "name": "R0", "fields": [{"name": "n", "type": "int", "default": 0}]}"#
            .to_owned();
    for level in 1..25 {
        pairs = format!(
            r#"{{"type": "record", "name": "R{level}", "fields": [
                {{"name": "one", "type": {pairs}, "default": {{}}}},
                {{"name": "two", "type": "R{}", "default": {{}}}}]}}"#,
            level - 1
        );
    }
    let mut nested = r#"{"type": "record", "name": "N0", "fields": []}"#.to_owned();
    for level in 1..25 {
        nested = format!(
            r#"{{"type": "record", "name": "N{level}", "fields": [{{"name": "f", "type": {nested}, "default": {{}}}}]}}"#
        );
    }
    let circle = r#"{"type": "record", "name": "A", "fields": [{"name": "a", "type": "A", "default": {}}]}"#;
    for text in [&pairs, &nested, circle] {
        let error = Avro::parse(text, &[]).unwrap_err();
        assert!(error.contains("its defaults"), "{error}");
    }
    for ordinary in [
        r#"{"type": "record", "name": "List", "fields": [
            {"name": "next", "type": ["null", "List"], "default": null},
            {"name": "children", "type": {"type": "array", "items": "List"}, "default": []},
            {"name": "named", "type": {"type": "map", "values": "List"}, "default": {}}]}"#,
        r#"{"type": "record", "name": "Order", "fields": [
            {"name": "to", "type": {"type": "record", "name": "Address", "fields": [
                {"name": "street", "type": "string", "default": ""}]}, "default": {}},
            {"name": "from", "type": "Address", "default": {"street": "here"}}]}"#,
    ] {
        avro(ordinary);
    }
}
