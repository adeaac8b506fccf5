//! Confluent's rules for Protobuf, one by one; imports and descriptors.

use super::*;

fn proto(body: &str) -> Protobuf {
    Protobuf::parse(&format!("syntax = \"proto3\"; package p; {body}"), &[]).unwrap()
}

fn reads(reader: &str, writer: &str) -> bool {
    unreadable(&proto(reader), &proto(writer)).is_empty()
}

#[test]
fn fields_come_and_go_by_number() {
    assert!(reads("message A { int32 a = 1; string b = 2; }", "message A { int32 a = 1; }"));
    assert!(reads("message A { int32 a = 1; }", "message A { int32 a = 1; string b = 2; }"));
    assert!(reads("message A { int32 z = 1; }", "message A { int32 a = 1; }"));
    assert!(!reads("message A { string a = 1; }", "message A { int32 a = 1; }"));
    assert!(!reads("message B { int32 a = 1; }", "message A { int32 a = 1; }"));
    assert!(reads("message A {} message B {}", "message A {}"));
}

#[test]
fn types_stay_within_their_group() {
    let of = |kind: &str| {
        format!("message A {{ {kind} a = 1; }} enum E {{ X = 0; }} message M {{}} message N {{}}")
    };
    for (a, b) in [
        ("int32", "int64"),
        ("bool", "uint64"),
        ("sint32", "sint64"),
        ("string", "bytes"),
        ("fixed32", "sfixed32"),
        ("E", "int32"),
    ] {
        assert!(reads(&of(a), &of(b)) && reads(&of(b), &of(a)), "{a} {b}");
    }
    for (a, b) in [
        ("int32", "sint32"),
        ("float", "double"),
        ("fixed32", "fixed64"),
        ("M", "string"),
        ("M", "N"),
        ("repeated int32", "int32"),
        ("map<string, int32>", "M"),
    ] {
        assert!(!reads(&of(a), &of(b)) && !reads(&of(b), &of(a)), "{a} {b}");
    }
    assert!(!reads(&of("map<string, string>"), &of("map<string, int32>")));
}

#[test]
fn oneofs_keep_their_fields() {
    let two = "message A { oneof o { int32 a = 1; int32 b = 2; } }";
    assert!(reads("message A { oneof o { int32 a = 1; int32 b = 2; int32 c = 3; } }", two));
    assert!(!reads("message A { oneof o { int32 a = 1; } }", two));
    assert!(!reads(two, "message A { int32 a = 1; int32 b = 2; }"));
    assert!(reads("message A { oneof o { int32 a = 1; } }", "message A { int32 a = 1; }"));
}

#[test]
fn messages_that_contain_themselves_and_nested_ones_are_compared() {
    let tree = |of: &str| format!("message T {{ {of} v = 1; T left = 2; message I {{ {of} w = 1; }} }}");
    assert!(reads(&tree("int64"), &tree("int32")));
    assert!(!reads(&tree("string"), &tree("int32")));
}

#[test]
fn imports_go_by_the_references_name() {
    let money = Dependency {
        name: "shop/money.proto".into(),
        text: "syntax = \"proto3\"; package shop; message Money { int64 cents = 1; }".into(),
    };
    let text = "syntax = \"proto3\"; import \"shop/money.proto\"; import \"google/protobuf/timestamp.proto\"; \
                message Order { shop.Money total = 1; google.protobuf.Timestamp at = 2; message Line { string sku = 1; } }";
    let order = Protobuf::parse(text, std::slice::from_ref(&money)).unwrap();
    assert_eq!(order.message("Order").unwrap().fields().len(), 2);
    let line = order.message("Order.Line").unwrap();
    assert_eq!(order.indexes_of(&line).unwrap(), [0, 0]);
    assert_eq!(order.message_at(&[0, 0]).unwrap(), line);
    assert!(order.message_at(&[0, 1]).is_none() && order.message_at(&[]).is_none());
    assert!(order.indexes_of(&order.message("shop.Money").unwrap()).is_none());
    assert!(Protobuf::parse(text, &[]).is_err());
    // The same as descriptors in base64.
    let encoded = |text: &str| STANDARD.encode(descriptor(text).unwrap());
    let money = Dependency { text: encoded(&money.text), ..money };
    assert!(Protobuf::parse(&encoded(text), &[money]).is_ok());
}

#[test]
fn hostile_texts_are_refused() {
    for text in [
        "",
        "message",
        "message A { int32 a = 1; int32 b = 1; }",
        "syntax = \"proto3\"; message A { B b = 1; }",
        "import \"/etc/passwd\";",
        "AAAA",
    ] {
        let parsed = Protobuf::parse(text, &[]);
        assert!(parsed.is_err() || text.is_empty(), "{text}");
    }
    for (open, close) in [("message A{", "}"), ("option a={a:", "}"), ("option a = [", "]")] {
        let deep = format!("{}{}", open.repeat(20_000), close.repeat(20_000));
        assert!(Protobuf::parse(&deep, &[]).is_err());
    }
    assert_eq!(nesting("a { \"}{{{\" // {{{\n /* {{ */ } { { } }"), 2);
}
