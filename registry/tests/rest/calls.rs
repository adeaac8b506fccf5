//! Schemas are registered, found, looked up and compared.

use serde_json::json;

use crate::support::{Cluster, record};

#[tokio::test]
async fn a_schema_is_registered_found_and_compared() {
    let cluster = Cluster::start().await;
    let registry = cluster.registry().await;
    assert_eq!(registry.get("/").await, (200, json!({})));
    assert_eq!(registry.get("/subjects").await, (200, json!([])));
    assert_eq!(registry.get("/schemas/types").await, (200, json!(["JSON", "PROTOBUF", "AVRO"])));
    let (one, two) = (record(&["a"]), record(&["a", "b"]));
    assert_eq!(registry.register("orders-value", &one).await, 1);
    assert_eq!(registry.register("orders-value", &one.replace(',', " , ")).await, 1, "layout doesn't count");
    assert_eq!(registry.register("orders-value", &two).await, 2);
    assert_eq!(registry.register("copies-value", &one).await, 1, "one schema, one id");
    assert_eq!(registry.get("/subjects").await.1, json!(["copies-value", "orders-value"]));
    assert_eq!(registry.get("/subjects?subjectPrefix=ord").await.1, json!(["orders-value"]));
    assert_eq!(registry.get("/subjects/orders-value/versions").await.1, json!([1, 2]));
    let latest = json!({ "subject": "orders-value", "version": 2, "id": 2, "schema": two });
    assert_eq!(registry.get("/subjects/orders-value/versions/latest").await, (200, latest.clone()));
    assert_eq!(registry.get("/subjects/orders-value/versions/-1").await, (200, latest.clone()));
    assert_eq!(registry.get("/subjects/orders-value/versions/2/schema").await.1.to_string(), two);
    assert_eq!(registry.get("/schemas/ids/2").await.1, json!({ "schema": two }));
    assert_eq!(registry.get("/schemas/ids/1?fetchMaxId=true").await.1, json!({ "schema": one, "maxId": 2 }));
    assert_eq!(registry.get("/schemas/ids/1/subjects").await.1, json!(["copies-value", "orders-value"]));
    let versions =
        json!([{ "subject": "copies-value", "version": 1 }, { "subject": "orders-value", "version": 1 }]);
    assert_eq!(registry.get("/schemas/ids/1/versions").await.1, versions);
    assert_eq!(registry.post("/subjects/orders-value", &json!({ "schema": two })).await, (200, latest));
    assert_eq!(registry.get("/schemas?latestOnly=true").await.1.as_array().unwrap().len(), 2);
    assert_eq!(registry.get("/schemas?limit=1&offset=1").await.1[0]["subject"], "orders-value");
    assert_eq!(registry.get("/contexts").await.1, json!(["."]));
    for (path, code) in [
        ("/subjects/x/versions", 40401),
        ("/subjects/x/versions/1", 40401),
        ("/subjects/orders-value/versions/3", 40402),
        ("/subjects/orders-value/versions/0", 42202),
        ("/subjects/orders-value/versions/x", 42202),
        ("/schemas/ids/99", 40403),
        ("/schemas/ids/99/subjects", 40403),
    ] {
        let (status, answer) = registry.get(path).await;
        assert_eq!((u64::from(status), answer["error_code"].as_u64().unwrap()), (code / 100, code), "{path}");
    }
    let unknown = json!({ "schema": "\"int\"" });
    assert_eq!(registry.post("/subjects/x", &unknown).await.1["error_code"], 40401);
    assert_eq!(registry.post("/subjects/orders-value", &unknown).await.1["error_code"], 40403);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_told() {
    let cluster = Cluster::start().await;
    let registry = cluster.registry().await;
    registry.register("s", &record(&["a"])).await;
    let bad = json!({ "schema": r#"{"type":"record","name":"R","fields":[{"name":"n","type":"int"}]}"# });
    let (status, answer) = registry.post("/subjects/s/versions", &bad).await;
    assert_eq!((status, &answer["error_code"]), (409, &json!(409)));
    assert!(
        answer["message"].as_str().unwrap().contains("at /n: the reader's field has no default"),
        "{answer}"
    );
    let asked = registry.post("/compatibility/subjects/s/versions/latest?verbose=true", &bad).await.1;
    assert_eq!((&asked["is_compatible"], asked["messages"].as_array().unwrap().len()), (&json!(false), 1));
    assert_eq!(
        registry.post("/compatibility/subjects/s/versions", &json!({ "schema": record(&["b"]) })).await,
        (200, json!({ "is_compatible": true }))
    );
    assert_eq!(registry.post("/compatibility/subjects/s/versions/7", &bad).await.1["error_code"], 40402);
    assert_eq!(
        registry.post("/compatibility/subjects/new/versions", &bad).await.1,
        json!({ "is_compatible": true })
    );
    registry.put("/config/s", &json!({ "compatibility": "NONE" })).await;
    assert_eq!(registry.post("/subjects/s/versions", &bad).await, (200, json!({ "id": 2 })));
    // Only transitive levels look further back than one version.
    registry.put("/config/s", &json!({ "compatibility": "BACKWARD" })).await;
    let next = json!({ "schema": r#"{"type":"record","name":"R","fields":[{"name":"n","type":"long"}]}"# });
    registry.put("/config/s", &json!({ "compatibility": "BACKWARD_TRANSITIVE" })).await;
    assert_eq!(registry.post("/subjects/s/versions", &next).await.0, 409);
    registry.put("/config/s", &json!({ "compatibility": "BACKWARD" })).await;
    assert_eq!(registry.post("/subjects/s/versions", &next).await.0, 200);
}

#[tokio::test]
async fn protobuf_and_json_schema_with_references() {
    let cluster = Cluster::start().await;
    let registry = cluster.registry().await;
    let money = json!({ "schemaType": "PROTOBUF", "schema": "syntax = \"proto3\"; package shop; message Money { int64 cents = 1; }" });
    assert_eq!(registry.post("/subjects/money/versions", &money).await, (200, json!({ "id": 1 })));
    let order = |line: &str, version: i64| {
        json!({ "schemaType": "PROTOBUF",
            "schema": format!("syntax = \"proto3\"; import \"shop/money.proto\"; message Order {{ shop.Money total = 1; {line} }}"),
            "references": [{ "name": "shop/money.proto", "subject": "money", "version": version }] })
    };
    assert_eq!(
        registry.post("/subjects/orders-value/versions", &order("", 1)).await,
        (200, json!({ "id": 2 }))
    );
    assert_eq!(
        registry.post("/subjects/orders-value/versions", &order("int32 n = 2;", 1)).await.1,
        json!({ "id": 3 })
    );
    assert_eq!(registry.post("/subjects/orders-value/versions", &order("string n = 2;", 1)).await.0, 409);
    assert_eq!(registry.post("/subjects/orders-value/versions", &order("", 9)).await.1["error_code"], 42201);
    let found = registry.get("/schemas/ids/2").await.1;
    assert_eq!(
        (&found["schemaType"], &found["references"][0]["subject"]),
        (&json!("PROTOBUF"), &json!("money"))
    );
    assert_eq!(registry.get("/subjects/money/versions/1/referencedby").await.1, json!([2, 3]));
    // As a descriptor, which is how Confluent's Python client asks for it and registers it: the same schema.
    let descriptor = registry.get("/schemas/ids/1?format=serialized").await.1["schema"].clone();
    let again = json!({ "schemaType": "PROTOBUF", "schema": descriptor });
    assert_eq!(registry.post("/subjects/money/versions", &again).await.1, json!({ "id": 1 }));

    let cents = json!({ "schemaType": "JSON", "schema": r#"{"type":"integer"}"# });
    registry.post("/subjects/cents/versions", &cents).await;
    let item = json!({ "schemaType": "JSON",
        "schema": r#"{"type":"object","properties":{"price":{"$ref":"cents.json"}}}"#,
        "references": [{ "name": "cents.json", "subject": "cents", "version": 1 }] });
    assert_eq!(registry.post("/subjects/items-value/versions", &item).await.0, 200);
    let other = json!({ "schema": record(&["a"]) });
    let (status, answer) = registry.post("/subjects/items-value/versions", &other).await;
    assert_eq!(status, 409, "{answer}");
}
