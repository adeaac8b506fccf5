//! DescribeConfigs, IncrementalAlterConfigs, DescribeLogDirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, DescribeLogDirsRequest, IncrementalAlterConfigsRequest,
    alter_configs_request,
};
use millrace_broker::{Broker, Config, Env, Loggers};
use millrace_log::disk::SimDisk;
use millrace_wire::compression::Compression;

use crate::fetch::{self, values};
use crate::produce::produce;
use crate::support::{Client, START_MS, batch, broker, broker_on, broker_with, text};
use crate::topics::{create, create_all, new_topic, with_config};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;

/// All settings of a resource, or some.
pub(crate) async fn describe(
    client: &mut Client,
    version: i16,
    kind: i8,
    name: &str,
    keys: &[&str],
) -> DescribeConfigsResult {
    let keys = (!keys.is_empty()).then(|| keys.iter().map(|key| text(key)).collect());
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys);
    let mut request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    request.include_documentation = version >= 3;
    client.call(version, request).await.results.remove(0)
}

#[tokio::test(start_paused = true)]
async fn topic_settings_with_source_and_synonyms() {
    let broker = broker_with(&[("log.retention.hours", "2"), ("log.segment.bytes", "2000000")]).await;
    let mut client = Client::new(&broker);
    create_all(&mut client, vec![with_config(new_topic("t", 1), "retention.ms", "5")]).await;
    for version in 1..=4 {
        let all = describe(&mut client, version, TOPIC, "t", &[]).await;
        assert_eq!(all.error_code, 0);
        assert!(all.configs.len() > 30);
        let find = |name: &str| all.configs.iter().find(|config| &*config.name == name).unwrap();
        let own = find("retention.ms");
        assert_eq!((own.value.as_deref(), own.config_source), (Some("5"), 1));
        let synonyms: Vec<(&str, &str, i8)> =
            own.synonyms.iter().map(|s| (&*s.name, s.value.as_deref().unwrap(), s.source)).collect();
        assert_eq!(
            synonyms,
            [
                ("retention.ms", "5", 1),
                ("log.retention.hours", "7200000", 4),
                ("log.retention.hours", "604800000", 5)
            ]
        );
        let given = find("segment.bytes");
        assert_eq!((given.value.as_deref(), given.config_source), (Some("2000000"), 4));
        let default = find("cleanup.policy");
        assert_eq!((default.value.as_deref(), default.config_source), (Some("delete"), 5));
        if version >= 3 {
            assert_eq!(own.config_type, 5);
            assert!(own.documentation.is_some());
        }
    }
    let one = describe(&mut client, 4, TOPIC, "t", &["cleanup.policy"]).await;
    assert_eq!(one.configs.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn brokers_and_unknown_resources() {
    let broker = broker_with(&[("num.partitions", "9")]).await;
    let mut client = Client::new(&broker);
    let own = describe(&mut client, 4, BROKER, "1", &["num.partitions"]).await;
    assert_eq!(own.configs[0].value.as_deref(), Some("9"));
    assert_eq!((own.configs[0].config_source, own.configs[0].read_only), (4, true));
    let changeable = describe(&mut client, 4, BROKER, "1", &["message.max.bytes"]).await;
    assert_eq!((changeable.configs[0].config_source, changeable.configs[0].read_only), (5, false));
    assert_eq!(describe(&mut client, 4, TOPIC, "none", &[]).await.error_code, 3);
    assert_eq!(describe(&mut client, 4, BROKER, "2", &[]).await.error_code, 42);
    assert_eq!(describe(&mut client, 4, 77, "x", &[]).await.error_code, 42);
    assert_eq!(describe(&mut client, 4, BROKER, "", &[]).await.error_code, 0);
}

async fn alter(client: &mut Client, name: &str, changes: &[(&str, i8, Option<&str>)]) -> i16 {
    alter_kind(client, TOPIC, name, changes).await
}

/// Changes settings of a resource: name, operation and value of each; the error code.
pub(crate) async fn alter_kind(
    client: &mut Client,
    kind: i8,
    name: &str,
    changes: &[(&str, i8, Option<&str>)],
) -> i16 {
    let configs = changes.iter().map(|(name, operation, value)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(configs.collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    client.call(1, request).await.responses[0].error_code
}

#[tokio::test(start_paused = true)]
async fn settings_change_and_take_effect() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let big = "x".repeat(400);
    assert_eq!(produce(&mut client, 9, -1, "t", 0, batch(&[&big])).await.error_code, 0);
    assert_eq!(alter(&mut client, "t", &[("max.message.bytes", 0, Some("200"))]).await, 0);
    assert_eq!(produce(&mut client, 9, -1, "t", 0, batch(&[&big])).await.error_code, 10);
    assert_eq!(alter(&mut client, "t", &[("max.message.bytes", 1, None)]).await, 0);
    assert_eq!(produce(&mut client, 9, -1, "t", 0, batch(&[&big])).await.error_code, 0);
    assert_eq!(values(&mut client, "t", 0).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn lists_are_appended_to_and_subtracted_from() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let policy = "cleanup.policy";
    for (operation, expected) in [(2, "delete,compact"), (2, "delete,compact"), (3, "delete")] {
        assert_eq!(alter(&mut client, "t", &[(policy, operation, Some("compact"))]).await, 0);
        let now = describe(&mut client, 4, TOPIC, "t", &[policy]).await;
        assert_eq!(now.configs[0].value.as_deref(), Some(expected));
    }
    for (changes, error) in [
        (vec![("retention.ms", 2, Some("5"))], 40),
        (vec![("no.such", 0, Some("5"))], 40),
        // As in Kafka: what was never set is not there afterwards.
        (vec![("no.such", 1, None)], 0),
        (vec![("retention.ms", 0, Some("x"))], 40),
        (vec![("retention.ms", 0, None)], 42),
        (vec![("retention.ms", 9, Some("5"))], 42),
        (vec![("retention.ms", 0, Some("5")), ("retention.ms", 1, None)], 42),
        (vec![("retention.ms", 0, Some("5")), ("segment.ms", 0, Some("x"))], 40),
    ] {
        assert_eq!(alter(&mut client, "t", &changes).await, error, "{changes:?}");
    }
    let kept = describe(&mut client, 4, TOPIC, "t", &["retention.ms"]).await;
    assert_eq!(kept.configs[0].config_source, 5, "a refused resource is left alone");
    assert_eq!(alter(&mut client, "none", &[("retention.ms", 0, Some("5"))]).await, 3);
}

#[tokio::test(start_paused = true)]
async fn the_older_request_replaces_all_settings() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create_all(&mut client, vec![with_config(new_topic("t", 1), "retention.ms", "5")]).await;
    for version in 0..=2 {
        let segment = (1000 + version).to_string();
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(text("segment.ms"))
            .with_value(Some(text(&segment)));
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text("t"))
            .with_configs(vec![config]);
        let request = AlterConfigsRequest::default().with_resources(vec![resource]);
        assert_eq!(client.call(version, request).await.responses[0].error_code, 0);
        let now = describe(&mut client, 4, TOPIC, "t", &["retention.ms", "segment.ms"]).await;
        let sources: Vec<i8> = now.configs.iter().map(|config| config.config_source).collect();
        assert_eq!(sources, [5, 1], "version {version}");
        assert_eq!(now.configs[1].value.as_deref(), Some(&*segment));
    }
}

/// Value and source of one setting of this broker, and the sources of its synonyms.
async fn broker_value(client: &mut Client, name: &str) -> (String, i8, Vec<i8>) {
    let found = describe(client, 4, BROKER, "1", &[name]).await.configs.remove(0);
    let synonyms = found.synonyms.iter().map(|synonym| synonym.source).collect();
    (found.value.unwrap().to_string(), found.config_source, synonyms)
}

#[tokio::test(start_paused = true)]
async fn broker_settings_change_take_effect_and_outlive_a_restart() {
    let disk = Arc::new(SimDisk::new());
    let settings = [("message.max.bytes", "1000")];
    let broker = broker_on(disk.clone(), &settings).await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 1).await;
    let big = "x".repeat(400);
    let name = "message.max.bytes";
    assert_eq!(alter_kind(&mut client, BROKER, "", &[(name, 0, Some("300"))]).await, 0);
    assert_eq!(broker_value(&mut client, name).await, ("300".to_owned(), 3, vec![3, 4, 5]));
    assert_eq!(produce(&mut client, 9, -1, "t", 0, batch(&[&big])).await.error_code, 10);
    assert_eq!(alter_kind(&mut client, BROKER, "1", &[(name, 0, Some("2000"))]).await, 0);
    assert_eq!(broker_value(&mut client, name).await, ("2000".to_owned(), 2, vec![2, 3, 4, 5]));
    assert_eq!(produce(&mut client, 9, -1, "t", 0, batch(&[&big])).await.error_code, 0);
    let topic = describe(&mut client, 4, TOPIC, "t", &["max.message.bytes"]).await;
    assert_eq!((topic.configs[0].value.as_deref(), topic.configs[0].config_source), (Some("2000"), 2));
    broker.shutdown().await.unwrap();

    let broker = broker_on(disk, &settings).await;
    let mut client = Client::new(&broker);
    assert_eq!(broker_value(&mut client, name).await, ("2000".to_owned(), 2, vec![2, 3, 4, 5]));
    let cluster = describe(&mut client, 4, BROKER, "", &[]).await;
    assert_eq!((cluster.configs.len(), cluster.configs[0].value.as_deref()), (1, Some("300")));
    assert_eq!(alter_kind(&mut client, BROKER, "1", &[(name, 1, None)]).await, 0);
    assert_eq!(produce(&mut client, 9, -1, "t", 0, batch(&[&big])).await.error_code, 10);
    assert_eq!(alter_kind(&mut client, BROKER, "", &[(name, 1, None)]).await, 0);
    assert_eq!(broker_value(&mut client, name).await, ("1000".to_owned(), 4, vec![4, 5]));
    assert_eq!(produce(&mut client, 9, -1, "t", 0, batch(&[&big])).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn broker_settings_read_at_start_are_refused() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    for (resource, name, value) in [
        ("1", "node.id", "5"),
        ("1", "log.retention.hours", "5"),
        ("", "log.dirs", "/x"),
        ("1", "no.such", "5"),
        ("1", "message.max.bytes", "x"),
        ("2", "message.max.bytes", "5"),
        ("one", "message.max.bytes", "5"),
    ] {
        let refused = alter_kind(&mut client, BROKER, resource, &[(name, 0, Some(value))]).await;
        assert_eq!(refused, 42, "{resource} {name}={value}");
    }
    assert!(describe(&mut client, 4, BROKER, "", &[]).await.configs.is_empty());
}

#[tokio::test(start_paused = true)]
async fn compression_type_has_effect() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let wanted = with_config(new_topic("t", 1), "compression.type", "lz4");
    assert_eq!(create_all(&mut client, vec![wanted]).await, [0]);
    assert_eq!(produce(&mut client, 9, -1, "t", 0, batch(&["a", "b"])).await.error_code, 0);
    let response = client.call(12, fetch::request("t", 0, 0)).await;
    let stored = fetch::batches(fetch::partition(&response).records.clone());
    assert_eq!(stored[0].header.attributes.compression().unwrap(), Compression::Lz4);
    assert_eq!(values(&mut client, "t", 0).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn log_dirs_tell_sizes() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    create(&mut client, "t", 2).await;
    produce(&mut client, 9, -1, "t", 1, batch(&["a"])).await;
    for version in 1..=4 {
        let response = client.call(version, DescribeLogDirsRequest::default().with_topics(None)).await;
        let dir = &response.results[0];
        assert_eq!(&*dir.log_dir, "/data");
        let sizes: Vec<bool> = dir.topics[0].partitions.iter().map(|p| p.partition_size > 0).collect();
        assert_eq!(sizes, [false, true], "version {version}");
    }
}

/// Loggers that only remember.
#[derive(Debug, Default)]
struct Remembered(std::sync::Mutex<BTreeMap<String, String>>);

impl Loggers for Remembered {
    fn levels(&self) -> BTreeMap<String, String> {
        self.0.lock().unwrap().clone()
    }

    fn exists(&self, logger: &str) -> bool {
        matches!(logger, "root" | "millrace_broker")
    }

    fn set(&self, changes: &[(String, Option<String>)]) -> Result<(), String> {
        for (logger, level) in changes {
            match level {
                Some(level) => self.0.lock().unwrap().insert(logger.clone(), level.clone()),
                None => self.0.lock().unwrap().remove(logger),
            };
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn log_levels_are_settings_of_a_brokers_loggers() {
    let mut config = Config::new();
    config.set("log.dirs", "/data").unwrap();
    let env = Env {
        loggers: Some(Arc::new(Remembered::default())),
        ..Env::simulated(Arc::new(SimDisk::new()), 7, START_MS)
    };
    let broker = Broker::start(config, env).await.unwrap();
    let mut client = Client::new(&broker);
    assert_eq!(alter_kind(&mut client, LOGGER, "1", &[("root", 0, Some("WARN"))]).await, 0);
    assert_eq!(alter_kind(&mut client, LOGGER, "1", &[("millrace_broker", 0, Some("DEBUG"))]).await, 0);
    let told = describe(&mut client, 4, LOGGER, "1", &[]).await;
    let levels: Vec<(&str, &str, i8)> = told
        .configs
        .iter()
        .map(|config| (&*config.name, config.value.as_deref().unwrap(), config.config_source))
        .collect();
    assert_eq!(levels, [("millrace_broker", "DEBUG", 6), ("root", "WARN", 6)]);
    for (resource, logger, operation, level, error) in [
        ("2", "root", 0, Some("INFO"), 42),
        ("1", "kafka", 0, Some("INFO"), 40),
        ("1", "root", 0, Some("LOUD"), 40),
        ("1", "root", 1, None, 42),
        ("1", "root", 2, Some("INFO"), 42),
    ] {
        let refused = alter_kind(&mut client, LOGGER, resource, &[(logger, operation, level)]).await;
        assert_eq!(refused, error, "{resource} {logger} {level:?}");
    }
    assert_eq!(alter_kind(&mut client, LOGGER, "1", &[("millrace_broker", 1, None)]).await, 0);
    assert_eq!(describe(&mut client, 4, LOGGER, "1", &[]).await.configs.len(), 1);
    // A broker that can't change its log says so.
    let fixed = self::broker().await;
    let mut other = Client::new(&fixed);
    assert_eq!(describe(&mut other, 4, LOGGER, "1", &[]).await.error_code, 42);
}
