//! Deletes: softly, then for good; ids are never given again.

use serde_json::{Value, json};

use crate::support::{Cluster, record};

fn code(answer: &(u16, Value)) -> u64 {
    answer.1["error_code"].as_u64().unwrap_or(u64::from(answer.0))
}

#[tokio::test]
async fn softly_first_then_for_good() {
    let cluster = Cluster::start().await;
    let registry = cluster.registry().await;
    registry.register("s", &record(&["a"])).await;
    registry.register("s", &record(&["a", "b"])).await;
    assert_eq!(code(&registry.delete("/subjects/s/versions/2?permanent=true").await), 40407);
    assert_eq!(registry.delete("/subjects/s/versions/2").await, (200, json!(2)));
    assert_eq!(code(&registry.delete("/subjects/s/versions/2").await), 40406);
    assert_eq!(registry.get("/subjects/s/versions").await.1, json!([1]));
    assert_eq!(registry.get("/subjects/s/versions?deleted=true").await.1, json!([1, 2]));
    assert_eq!(code(&registry.get("/subjects/s/versions/2").await), 40402);
    assert_eq!(registry.get("/schemas/ids/2").await.0, 200, "readers still need it");
    // What was deleted and comes again is a new version with its old id.
    assert_eq!(registry.register("s", &record(&["a", "b"])).await, 2);
    assert_eq!(registry.get("/subjects/s/versions/latest").await.1["version"], 3);
    assert_eq!(code(&registry.delete("/subjects/s?permanent=true").await), 40405);
    assert_eq!(registry.delete("/subjects/s").await, (200, json!([1, 3])));
    assert_eq!(code(&registry.delete("/subjects/s").await), 40404);
    assert_eq!(registry.get("/subjects").await.1, json!([]));
    assert_eq!(registry.get("/subjects?deleted=true").await.1, json!(["s"]));
    assert_eq!(registry.get("/subjects?deletedOnly=true").await.1, json!(["s"]));
    assert_eq!(registry.delete("/subjects/s?permanent=true").await, (200, json!([1, 2, 3])));
    assert_eq!(code(&registry.get("/schemas/ids/2").await), 40403);
    assert_eq!(code(&registry.delete("/subjects/s").await), 40401);
    // An id is never given to another schema: records with it are still about.
    assert_eq!(registry.register("t", &record(&["c"])).await, 3);
    drop(registry);
    assert_eq!(cluster.registry().await.register("t", &record(&["c", "d"])).await, 4);
}

#[tokio::test]
async fn what_is_referred_to_stays() {
    let cluster = Cluster::start().await;
    let registry = cluster.registry().await;
    registry.register("money", r#"{"type":"record","name":"Money","fields":[]}"#).await;
    let order = json!({ "schema": r#"{"type":"record","name":"Order","fields":[{"name":"total","type":"Money"}]}"#,
        "references": [{ "name": "Money", "subject": "money", "version": 1 }] });
    assert_eq!(registry.post("/subjects/order/versions", &order).await.0, 200);
    assert_eq!(code(&registry.delete("/subjects/money").await), 42206);
    assert_eq!(code(&registry.delete("/subjects/money/versions/1").await), 42206);
    registry.delete("/subjects/order").await;
    assert_eq!(registry.delete("/subjects/money").await.0, 200);
}
