//! Compatibility levels and modes, of one subject and of all.

use serde_json::json;

use crate::support::{Cluster, record};

#[tokio::test]
async fn levels_of_one_subject_and_of_all() {
    let cluster = Cluster::start().await;
    let registry = cluster.registry().await;
    assert_eq!(registry.get("/config").await, (200, json!({ "compatibilityLevel": "BACKWARD" })));
    assert_eq!(registry.get("/config/s").await.1["error_code"], 40408);
    assert_eq!(
        registry.put("/config", &json!({ "compatibility": "full_transitive" })).await.1,
        json!({ "compatibility": "FULL_TRANSITIVE" })
    );
    assert_eq!(
        registry.get("/config/s?defaultToGlobal=true").await.1["compatibilityLevel"],
        "FULL_TRANSITIVE"
    );
    assert_eq!(registry.put("/config/s", &json!({ "compatibility": "NONE" })).await.0, 200);
    assert_eq!(registry.get("/config/s").await.1["compatibilityLevel"], "NONE");
    assert_eq!(registry.delete("/config/s").await.1["compatibilityLevel"], "NONE");
    assert_eq!(registry.delete("/config/s").await.1["error_code"], 40408);
    assert_eq!(registry.put("/config", &json!({ "compatibility": "NEW" })).await.1["error_code"], 42203);
    let (status, answer) =
        registry.put("/config", &json!({ "compatibility": "NONE", "normalize": true })).await;
    assert_eq!(
        (status, answer["message"].as_str().unwrap()),
        (422, "the setting `normalize` is not supported by this registry")
    );
    registry.delete("/config").await;
    assert_eq!(registry.get("/config").await.1["compatibilityLevel"], "BACKWARD");
}

#[tokio::test]
async fn modes() {
    let cluster = Cluster::start().await;
    let registry = cluster.registry().await;
    assert_eq!(registry.get("/mode").await.1, json!({ "mode": "READWRITE" }));
    assert_eq!(registry.get("/mode/s").await.1["error_code"], 40409);
    assert_eq!(registry.put("/mode", &json!({ "mode": "NEW" })).await.1["error_code"], 42204);
    registry.put("/mode", &json!({ "mode": "READONLY" })).await;
    let new = json!({ "schema": record(&["a"]) });
    assert_eq!(registry.post("/subjects/s/versions", &new).await.1["error_code"], 42205);
    registry.put("/mode/s", &json!({ "mode": "IMPORT" })).await;
    let imported = json!({ "schema": record(&["a"]), "id": 77, "version": 5 });
    assert_eq!(registry.post("/subjects/s/versions", &imported).await.1, json!({ "id": 77 }));
    assert_eq!(registry.get("/subjects/s/versions").await.1, json!([5]));
    let clash = json!({ "schema": record(&["b"]), "id": 77, "version": 6 });
    assert_eq!(registry.post("/subjects/s/versions", &clash).await.1["error_code"], 42205);
    registry.delete("/mode").await;
    registry.delete("/mode/s").await;
    assert_eq!(registry.register("s", &record(&["a", "b"])).await, 78);
    assert_eq!(registry.put("/mode/s", &json!({ "mode": "IMPORT" })).await.1["error_code"], 42205);
    assert_eq!(registry.put("/mode/s?force=true", &json!({ "mode": "IMPORT" })).await.0, 200);
}
