//! The tables of settings: order, defaults, synonyms, refusals.

use std::collections::BTreeMap;

use super::topic::{TOPIC_SETTINGS, TopicConfig, effective, validate};
use super::*;

fn names_sorted(rows: &[setting::Setting]) {
    for pair in rows.windows(2) {
        assert!(pair[0].name < pair[1].name, "{} stands before {}", pair[0].name, pair[1].name);
    }
}

#[test]
fn tables_are_sorted_and_their_defaults_valid() {
    names_sorted(BROKER_SETTINGS);
    names_sorted(TOPIC_SETTINGS);
    for row in BROKER_SETTINGS.iter().chain(TOPIC_SETTINGS) {
        if let Some(default) = row.default {
            row.validate(default).unwrap();
        }
        for (synonym, _) in row.synonyms {
            assert!(broker_setting(synonym).is_some(), "{} has unknown synonym {synonym}", row.name);
        }
    }
}

#[test]
fn synonyms_have_the_same_default() {
    for row in TOPIC_SETTINGS {
        if let Some((synonym, Unit::Same)) = row.synonyms.first()
            && let Some(default) = broker_setting(synonym).unwrap().default
        {
            assert_eq!(row.default, Some(default), "{}", row.name);
        }
    }
}

#[test]
fn changes_lie_over_what_was_given() {
    let mut config = Config::new();
    config.set("log.retention.ms", "5").unwrap();
    config.set("message.max.bytes", "10").unwrap();
    let clone = config.clone();
    let pairs = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    let default =
        pairs(&[("message.max.bytes", "20"), ("log.roll.ms", "7"), ("node.id", "9"), ("no.such", "1")]);
    assert!(config.set_dynamic(&default, &pairs(&[("message.max.bytes", "30")])));
    assert!(!config.set_dynamic(&default, &pairs(&[("message.max.bytes", "30")])));
    assert_eq!((clone.long("message.max.bytes"), clone.node_id()), (30, 1));
    let of_topic = |name: &str, overrides: &[(&str, &str)]| effective(name, &pairs(overrides), &clone);
    assert_eq!(of_topic("max.message.bytes", &[]), "30");
    assert_eq!(of_topic("max.message.bytes", &[("max.message.bytes", "40")]), "40");
    assert_eq!(
        (of_topic("segment.ms", &[]), of_topic("retention.ms", &[])),
        ("7".to_owned(), "5".to_owned())
    );
    assert!(config.set_dynamic(&BTreeMap::new(), &BTreeMap::new()));
    assert_eq!(clone.long("message.max.bytes"), 10);
}

#[test]
fn changeable_settings_are_in_the_table() {
    for row in BROKER_SETTINGS.iter().filter(|row| dynamic::is_changeable(row.name)) {
        assert!(dynamic::validate(row.name, None).is_ok(), "{}", row.name);
    }
    assert!(["log.retention.ms", "max.connections"].into_iter().all(dynamic::is_changeable));
    let refused = dynamic::validate("log.retention.hours", Some("1")).unwrap_err();
    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
}

use setting::Unit;

#[test]
fn unknown_key_names_the_nearest() {
    let error = Config::new().set("log.retention.hour", "1").unwrap_err();
    assert_eq!(error.to_string(), "unknown setting log.retention.hour; did you mean log.retention.hours?");
    let error = Config::new().set("xyzzy", "1").unwrap_err();
    assert_eq!(error.to_string(), "unknown setting xyzzy");
}

#[test]
fn values_are_checked() {
    let error = Config::new().set("num.partitions", "0").unwrap_err();
    assert_eq!(error.to_string(), "setting num.partitions: \"0\" is not allowed; expected at least 1");
    assert!(Config::new().set("num.partitions", "three").is_err());
    assert!(Config::new().set("listeners", "localhost:9092").is_err());
    assert!(Config::new().set("auto.create.topics.enable", "yes").is_err());
}

#[test]
fn files_tell_file_and_line() {
    let error = Config::from_properties("# a comment\nnode.id=1\nnum.partition=3\n", "server.properties");
    assert_eq!(
        error.unwrap_err().to_string(),
        "server.properties line 3: unknown setting num.partition; did you mean num.partitions?"
    );
    let error = Config::from_yaml("node.id: 1\nlisteners:\n  - a\n", "broker.yaml").unwrap_err();
    assert_eq!(
        error.to_string(),
        "broker.yaml line 3: expected `name: value` at the start of a line, found \"  - a\""
    );
}

#[test]
fn both_formats_give_the_same() {
    let text = "node.id=3\nlisteners=PLAINTEXT://[::1]:0\nlog.dirs = /var/lib/x \\\n  ,/var/lib/y\n";
    let properties = Config::from_properties(text, "a").unwrap();
    let yaml = "node.id: 3 # three\n\"listeners\": 'PLAINTEXT://[::1]:0'\nlog.dirs: /var/lib/x ,/var/lib/y\n";
    assert_eq!(properties, Config::from_yaml(yaml, "b").unwrap());
    assert_eq!(properties.node_id(), 3);
    assert_eq!(properties.data_dir(), PathBuf::from("/var/lib/x"));
    assert_eq!(properties.listen(), Address { host: "::1".to_owned(), port: 0 });
    assert_eq!(properties.listen().to_string(), "[::1]:0");
}

#[test]
fn controller_listener_is_not_the_clients() {
    let mut config = Config::new();
    config.set("controller.listener.names", "CONTROLLER").unwrap();
    config.set("listeners", "CONTROLLER://127.0.0.1:1,PLAINTEXT://127.0.0.1:2").unwrap();
    assert_eq!(config.listen().port, 2);
    assert_eq!(config.advertised(), None);
}

#[test]
fn topic_settings_fall_back_to_the_brokers() {
    let mut config = Config::new();
    let none = BTreeMap::new();
    assert_eq!(effective("retention.ms", &none, &config), "604800000");
    config.set("log.retention.hours", "2").unwrap();
    assert_eq!(effective("retention.ms", &none, &config), "7200000");
    config.set("log.retention.ms", "5").unwrap();
    assert_eq!(effective("retention.ms", &none, &config), "5");
    let own = BTreeMap::from([("retention.ms".to_owned(), "9".to_owned())]);
    assert_eq!(TopicConfig::resolve(&own, &config).retention_ms, 9);
}

#[test]
fn appends_are_durable_before_ack_unless_relaxed() {
    let config = Config::new();
    assert!(TopicConfig::resolve(&BTreeMap::new(), &config).durable_before_ack());
    let relaxed = BTreeMap::from([("flush.messages".to_owned(), "1000".to_owned())]);
    assert!(!TopicConfig::resolve(&relaxed, &config).durable_before_ack());
}

#[test]
fn topic_overrides_are_checked() {
    assert!(validate("cleanup.policy", "compact,delete").is_ok());
    assert!(validate("cleanup.policy", "shred").is_err());
    assert!(validate("retention.ms", "-2").is_err());
    assert_eq!(
        validate("retention.mss", "1").unwrap_err().to_string(),
        "unknown topic setting retention.mss; did you mean retention.ms?"
    );
}
