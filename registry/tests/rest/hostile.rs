//! Requests that nobody should send.

use bytes::Bytes;
use hyper::Method;
use serde_json::json;

use crate::support::{Cluster, call, record};

#[tokio::test]
async fn bad_requests_are_refused_and_harm_nobody() {
    let cluster = Cluster::start().await;
    let registry = cluster.registry().await;
    let address = registry.handle.address();
    let versions = "/subjects/s/versions";
    let cases: &[(Method, &str, Bytes, u16)] = &[
        (Method::POST, versions, Bytes::new(), 400),
        (Method::POST, versions, "{".into(), 400),
        (Method::POST, versions, "[1]".into(), 400),
        (Method::POST, versions, vec![b' '; 2 << 20].into(), 413),
        (Method::POST, versions, format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)).into(), 400),
        (Method::POST, versions, json!({ "schema": "" }).to_string().into(), 422),
        (Method::POST, versions, json!({ "schema": "nonsense" }).to_string().into(), 422),
        (Method::POST, versions, json!({ "schema": "x".repeat(500 << 10) }).to_string().into(), 422),
        (Method::POST, versions, json!({ "schema": "\"int\"", "schemaType": "XML" }).to_string().into(), 422),
        (Method::POST, versions, json!({ "schema": "\"int\"", "ruleSet": {} }).to_string().into(), 422),
        (Method::POST, versions, json!({ "schema": "\"int\"", "id": 5 }).to_string().into(), 422),
        (Method::POST, "/subjects/a%00b/versions", json!({ "schema": "\"int\"" }).to_string().into(), 422),
        (Method::POST, "/subjects/__GLOBAL/versions", json!({ "schema": "\"int\"" }).to_string().into(), 422),
        (Method::GET, "/subjects/%ff/versions", Bytes::new(), 400),
        (Method::GET, "/nothing", Bytes::new(), 404),
        (Method::GET, "/schemas/ids/x", Bytes::new(), 404),
        (Method::GET, "/schemas/ids/99999999999", Bytes::new(), 404),
        (Method::PUT, "/subjects", Bytes::new(), 405),
        (Method::DELETE, "/schemas/ids/1", Bytes::new(), 405),
    ];
    for (method, path, body, wanted) in cases {
        let (status, answer) = call(address, method.clone(), path, body.clone()).await;
        assert_eq!(status, *wanted, "{method} {path} {answer}");
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
    }
    assert_eq!(registry.get("/subjects").await.1, json!([]));
    assert_eq!(registry.register("s", &record(&["a"])).await, 1);
}
