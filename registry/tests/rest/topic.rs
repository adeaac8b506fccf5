//! The topic: several writers, and records of another registry.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use millrace_client::{Admin, NewTopic, ProduceRecord, Producer, ProducerConfig};
use serde_json::json;

use crate::support::{Cluster, record};

/// Registries on one cluster at the same time: each change is decided on what all have written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_registries_never_give_one_id_twice() {
    const EACH: usize = 12;
    let cluster = Cluster::start().await;
    let (a, b) = (Arc::new(cluster.registry().await), Arc::new(cluster.registry().await));
    let mut calls = Vec::new();
    for n in 0..EACH {
        for (name, registry) in [("a", &a), ("b", &b)] {
            let registry = Arc::clone(registry);
            calls.push(tokio::spawn(async move {
                registry.register(&format!("{name}{n}"), &record(&[&format!("{name}{n}")])).await
            }));
        }
    }
    let mut ids = BTreeSet::new();
    for call in calls {
        assert!(ids.insert(call.await.unwrap()), "an id was given twice");
    }
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), (1..=2 * EACH as u64).collect::<Vec<_>>());
    // Each write fences the other, which then reads what it missed.
    a.register("last", &record(&["x"])).await;
    assert_eq!(b.register("last", &record(&["x", "y"])).await, 2 * EACH as u64 + 2);
    let all = b.get("/schemas").await.1;
    drop((a, b));
    assert_eq!(cluster.registry().await.get("/schemas").await.1, all);
}

/// Records as Confluent's registry 7 writes them.
#[tokio::test]
async fn a_topic_of_confluents_registry_is_read() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    Admin::new(&client).create_topics(&[NewTopic::new("_schemas", 1)]).await.unwrap();
    let producer = Producer::start(&client, ProducerConfig::default()).await.unwrap();
    for (key, value) in [
        (r#"{"keytype":"NOOP","magic":0}"#, None),
        (
            r#"{"keytype":"SCHEMA","subject":"orders-value","version":1,"magic":1}"#,
            Some(
                r#"{"subject":"orders-value","version":1,"id":4,"md5":"x","schema":"{\"type\":\"record\",\"name\":\"R\",\"fields\":[]}","ts":1,"deleted":false}"#,
            ),
        ),
        (
            r#"{"keytype":"CONFIG","subject":null,"magic":0}"#,
            Some(r#"{"alias":null,"compatibilityLevel":"FULL","normalize":null}"#),
        ),
        (
            r#"{"keytype":"SCHEMA","subject":"events-value","version":1,"magic":1}"#,
            Some(
                r#"{"subject":"events-value","version":1,"id":5,"schemaType":"JSON","references":[],"metadata":null,"ruleSet":null,"schema":"{}","deleted":false}"#,
            ),
        ),
    ] {
        let record = ProduceRecord {
            topic: "_schemas".into(),
            key: Some(Bytes::from(key)),
            value: value.map(Bytes::from),
            ..ProduceRecord::default()
        };
        producer.send(record).await.unwrap().wait().await.unwrap();
    }
    let registry = cluster.registry().await;
    assert_eq!(registry.get("/subjects").await.1, json!(["events-value", "orders-value"]));
    assert_eq!(registry.get("/schemas/ids/5").await.1, json!({ "schemaType": "JSON", "schema": "{}" }));
    assert_eq!(registry.get("/config").await.1, json!({ "compatibilityLevel": "FULL" }));
    assert_eq!(registry.register("new", &record(&["a"])).await, 6);
}

#[tokio::test]
async fn a_topic_with_several_partitions_is_refused() {
    let cluster = Cluster::start().await;
    Admin::new(&cluster.client()).create_topics(&[NewTopic::new("many", 2)]).await.unwrap();
    let config = millrace_registry::Config {
        listen: "127.0.0.1:0".into(),
        topic: "many".into(),
        ..Default::default()
    };
    let error = millrace_registry::start(config, &cluster.client()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "schema registry: topic many has 2 partitions, but schemas are kept in one; name another topic"
    );
}
