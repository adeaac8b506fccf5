//! Paths found in JSON text, beside what a parser finds.

use proptest::prelude::*;

use super::*;

fn paths(paths: &[&str]) -> Fields {
    let paths: Vec<Path> = paths.iter().map(|p| p.parse().expect("a path")).collect();
    Fields::new(&paths)
}

/// What is found, as (path, name, value) in text.
fn find<'t>(wanted: &[&str], text: &'t str) -> Vec<(usize, Option<&'t str>, &'t str)> {
    let mut found = Vec::new();
    paths(wanted).find(text, &mut found).expect("JSON");
    found.into_iter().map(|f| (f.path, f.name.map(|n| &text[n]), &text[f.value])).collect()
}

#[test]
fn members_and_elements_are_found_in_one_pass() {
    let text = r#" { "a" : 1.50, "b": {"c": [10, {"d":null}, 30]} } "#;
    assert_eq!(
        find(&["b.c[1].d", "a", "b.c[2]", "missing.too"], text),
        [(1, Some("\"a\""), "1.50"), (0, Some("\"d\""), "null"), (2, None, "30")]
    );
}

#[test]
fn a_path_may_end_above_another() {
    let text = r#"{"a":{"b":1}}"#;
    assert_eq!(find(&["a", "a.b"], text), [(0, Some("\"a\""), r#"{"b":1}"#), (1, Some("\"b\""), "1")]);
}

#[test]
fn each_element_is_found() {
    let text = r#"{"items":[{"card":1},{"card":2},"none"]}"#;
    assert_eq!(find(&["items[*].card"], text), [(0, Some("\"card\""), "1"), (0, Some("\"card\""), "2")]);
}

#[test]
fn a_repeated_name_is_found_each_time() {
    assert_eq!(find(&["pin"], r#"{"pin":1,"pin":2}"#).len(), 2);
}

#[test]
fn names_are_compared_as_they_are_meant() {
    assert_eq!(find(&["Zeit é"], r#"{"Zeit \u00e9":1}"#), [(0, Some(r#""Zeit \u00e9""#), "1")]);
    assert_eq!(find(&[r#""""#], r#"{"":1}"#), [(0, Some(r#""""#), "1")]);
}

#[test]
fn the_parent_tells_objects_apart() {
    let mut found = Vec::new();
    let text = r#"{"items":[{"a":1,"b":2},{"a":3}]}"#;
    paths(&["items[*].a", "items[*].b"]).find(text, &mut found).expect("JSON");
    let parents: Vec<&str> = found.iter().map(|f| &text[f.parent..=f.parent + 5]).collect();
    assert_eq!(parents, [r#"{"a":1"#, r#"{"a":1"#, r#"{"a":3"#]);
}

#[test]
fn scalars_have_no_fields() {
    for text in ["1", "-2", "1.5", "\"a\"", "null", "true", "18446744073709551615"] {
        assert_eq!(find(&["a"], text), []);
    }
}

#[test]
fn what_is_no_document_is_refused_with_its_place() {
    let mut found = Vec::new();
    for text in ["", "{", "{\"a\":1,}", "{\"a\" 1}", "{} {}", "{\"a\":01}"] {
        let error = paths(&["a"]).find(text, &mut found).expect_err(text);
        assert!(error.to_string().contains("line 1 column"), "{error}");
    }
}

#[test]
fn depth_has_a_limit_but_not_where_nothing_is_looked_for() {
    let deep = format!("{{\"a\":{}{},\"b\":1}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(find(&["b"], &deep), [(0, Some("\"b\""), "1")]);
}

proptest! {
    #[test]
    fn any_text_is_searched_or_refused(text in ".*") {
        let _ = paths(&["a", "a.b[0]", "c[*]"]).find(&text, &mut Vec::new());
    }

    #[test]
    fn what_is_found_is_what_a_parser_finds(a in any::<i64>(), b in ".*", c in prop::collection::vec(any::<bool>(), 0..5)) {
        let document = serde_json::json!({ "a": a, "b": { "x.y": b }, "c": c });
        let text = serde_json::to_string_pretty(&document).expect("plain data");
        let found = find(&["a", "b.\"x.y\"", "c[*]"], &text);
        let values: Vec<serde_json::Value> =
            found.iter().map(|(_, _, value)| serde_json::from_str(value).expect("a value")).collect();
        let mut wanted = vec![document["a"].clone(), document["b"]["x.y"].clone()];
        wanted.extend(document["c"].as_array().expect("a list").iter().cloned());
        prop_assert_eq!(values, wanted);
    }
}
