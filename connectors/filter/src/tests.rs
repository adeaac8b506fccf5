//! What each condition keeps.

use serde_json::{Value, json};

use super::*;

fn filter(settings: Value) -> FilterTransform {
    let settings: Settings = serde_json::from_value(settings).expect("the settings' form");
    FilterTransform::new(&settings).expect("good settings")
}

/// Whether the record goes on.
fn kept(settings: Value, record: &str) -> bool {
    filter(settings).decide(Some(record.as_bytes())).expect("JSON") == Action::Keep
}

#[test]
fn equality_is_of_what_is_meant() {
    let large = json!({ "field": "Wildlife Size", "equals": "Large" });
    assert!(kept(large.clone(), r#"{"Wildlife Size":"Large"}"#));
    assert!(kept(large.clone(), r#"{"Wildlife Size":"L\u0061rge"}"#));
    assert!(!kept(large.clone(), r#"{"Wildlife Size":"Small"}"#));
    assert!(!kept(large, r#"{"Size":"Large"}"#));
    assert!(kept(json!({ "field": "a", "equals": null }), r#"{"a":null}"#));
    assert!(!kept(json!({ "field": "a", "equals": null }), "{}"));
    assert!(!kept(json!({ "field": "a", "equals": "1" }), r#"{"a":1}"#));
}

#[test]
fn numbers_are_numbers_even_as_text() {
    for value in ["300", "300.0", "3e2", r#""300""#, r#"" 300 ""#] {
        assert!(kept(json!({ "field": "a", "equals": 300 }), &format!("{{\"a\":{value}}}")), "{value}");
    }
    for value in [r#""""#, r#""inf""#, r#""nan""#, "null", "[300]", "true"] {
        assert!(!kept(json!({ "field": "a", "gt": -1 }), &format!("{{\"a\":{value}}}")), "{value}");
    }
    // Beyond what a double tells apart.
    let big = json!({ "field": "a", "gt": 9_007_199_254_740_992_u64 });
    assert!(kept(big.clone(), r#"{"a":9007199254740993}"#));
    assert!(!kept(big, r#"{"a":9007199254740992}"#));
}

#[test]
fn all_conditions_must_hold() {
    let range = json!({ "field": "a", "gte": 10, "lt": 20 });
    assert!(kept(range.clone(), r#"{"a":10}"#));
    assert!(!kept(range.clone(), r#"{"a":20}"#));
    assert!(!kept(range, r#"{"a":9.9}"#));
}

#[test]
fn a_field_that_is_not_there_is_not_equal() {
    assert!(kept(json!({ "field": "a", "not_equals": 1 }), "{}"));
    assert!(kept(json!({ "field": "a", "not_in": [1, 2] }), "{}"));
    assert!(!kept(json!({ "field": "a", "not_in": [1, 2] }), r#"{"a":2}"#));
    assert!(!kept(json!({ "field": "a", "in": [1, "x"] }), "{}"));
    assert!(kept(json!({ "field": "a", "in": [1, "x"] }), r#"{"a":"x"}"#));
    assert!(kept(json!({ "field": "a", "exists": false }), "{}"));
    assert!(kept(json!({ "field": "a", "exists": true }), r#"{"a":null}"#));
}

#[test]
fn text_is_matched_anywhere_unless_held_to_the_ends() {
    assert!(kept(json!({ "field": "a", "matches": "^B-7[0-9]7" }), r#"{"a":"B-737-300"}"#));
    assert!(!kept(json!({ "field": "a", "matches": "^7" }), r#"{"a":"B-737-300"}"#));
}

#[test]
fn one_of_several_values_is_enough() {
    let dear = json!({ "field": "items[*].price", "gt": 100 });
    assert!(kept(dear.clone(), r#"{"items":[{"price":5},{"price":500}]}"#));
    assert!(!kept(dear, r#"{"items":[]}"#));
}

#[test]
fn drop_turns_it_round() {
    let settings = json!({ "field": "a", "equals": 1, "action": "drop" });
    assert!(!kept(settings.clone(), r#"{"a":1}"#));
    assert!(kept(settings, "{}"));
}

#[test]
fn tombstones_stay_unless_said_otherwise() {
    assert_eq!(filter(json!({ "field": "a", "equals": 1 })).decide(None), Ok(Action::Keep));
    assert_eq!(
        filter(json!({ "field": "a", "equals": 1, "tombstones": "drop" })).decide(None),
        Ok(Action::Drop)
    );
}

#[test]
fn what_is_no_json_is_rejected() {
    let mut filter = filter(json!({ "field": "a", "equals": 1 }));
    assert_eq!(filter.decide(Some(b"{\"a\":")).expect_err("cut off").code, "json");
    assert_eq!(filter.decide(Some(b"\xff")).expect_err("not UTF-8").code, "json");
}

#[test]
fn bad_settings_are_named() {
    let check = |settings: Value| {
        let settings: Settings = serde_json::from_value(settings).expect("the settings' form");
        settings.check().expect_err("bad")
    };
    assert!(check(json!({ "field": "a" })).message.contains("no condition"));
    assert_eq!(check(json!({ "field": "a..b", "exists": true })).path, "/field");
    assert_eq!(check(json!({ "field": "a", "matches": "(" })).path, "/matches");
    assert_eq!(check(json!({ "field": "a", "in": [{}] })).path, "/in");
}

#[test]
fn it_describes_itself() {
    millrace_sdk::testing::check_description(&<FilterTransform as millrace_sdk::Transform>::describe())
        .expect("a sound description");
}
