//! ApiVersions, and what is advertised.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::Decodable;

use crate::support::{Client, broker, text};

fn request() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(text("a-client.x"))
        .with_client_software_version(text("1.0.0"))
}

#[tokio::test(start_paused = true)]
async fn every_version_lists_the_same_ranges() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let mut lists = Vec::new();
    for version in 0..=4 {
        let request = if version >= 3 { request() } else { ApiVersionsRequest::default() };
        let response = client.call(version, request).await;
        assert_eq!(response.error_code, 0);
        lists.push(response.api_keys);
    }
    assert!(lists.windows(2).all(|pair| pair[0] == pair[1]));
    let keys: Vec<i16> = lists[0].iter().map(|api| api.api_key).collect();
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "keys are sorted and unique: {keys:?}");
}

#[tokio::test(start_paused = true)]
async fn produce_is_advertised_from_0_for_old_librdkafka() {
    let broker = broker().await;
    let response = Client::new(&broker).call(3, request()).await;
    let range = |key: ApiKey| {
        let api = response.api_keys.iter().find(|api| api.api_key == key as i16).unwrap();
        (api.min_version, api.max_version)
    };
    assert_eq!(range(ApiKey::Produce), (0, 13));
    assert_eq!(range(ApiKey::Fetch), (4, 18));
    assert_eq!(range(ApiKey::Metadata), (0, 13));
    assert_eq!(range(ApiKey::ApiVersions), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn no_feature_promises_transactions_version_2() {
    let broker = broker().await;
    let response = Client::new(&broker).call(4, request()).await;
    let names: Vec<&str> = response.finalized_features.iter().map(|feature| &*feature.name).collect();
    assert_eq!(names, ["metadata.version"]);
}

#[tokio::test(start_paused = true)]
async fn unknown_version_gets_version_0_and_the_range() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    let mut frame = BytesMut::new();
    frame.put_i16(ApiKey::ApiVersions as i16);
    frame.put_i16(99);
    frame.put_i32(7);
    frame.put_i16(-1);
    client.send_raw(&frame).await;
    let mut answer = client.receive_raw().await.unwrap();
    assert_eq!(answer.split_to(4), &7_i32.to_be_bytes()[..], "a version 0 header: the correlation id alone");
    let response = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(response.error_code, 35);
    assert_eq!(response.api_keys.len(), 1);
    assert_eq!((response.api_keys[0].min_version, response.api_keys[0].max_version), (0, 4));
    // The connection goes on.
    assert_eq!(client.call(4, request()).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn bad_software_name_is_an_invalid_request() {
    let broker = broker().await;
    let mut client = Client::new(&broker);
    for name in ["", "-a", "a-", "a b", "é"] {
        let response = client.call(3, request().with_client_software_name(text(name))).await;
        assert_eq!(response.error_code, 42, "{name:?}");
    }
}
