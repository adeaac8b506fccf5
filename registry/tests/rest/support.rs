//! A broker, registries on it, and calls to them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use millrace_broker::{Broker, BrokerHandle, Config, Env};
use millrace_client::transport::{BoxFuture, Stream};
use millrace_client::{Client, ClientConfig, Transport};
use millrace_registry::RegistryHandle;
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;

/// A broker in this process.
pub(crate) struct Cluster {
    broker: BrokerHandle,
    _data: tempfile::TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config::new();
        config.set_data_dir(data.path());
        config.set_listen("127.0.0.1:0").unwrap();
        let broker = Broker::start(config, Env::real()).await.unwrap();
        Self { broker, _data: data }
    }

    pub(crate) fn client(&self) -> Client {
        let config = ClientConfig {
            bootstrap: vec!["embedded:9092".to_owned()],
            transport: Arc::new(Embedded(Arc::new(self.broker.connector()))),
            ..ClientConfig::default()
        };
        Client::new(config).unwrap()
    }

    pub(crate) async fn registry(&self) -> Registry {
        let config = millrace_registry::Config { listen: "127.0.0.1:0".to_owned(), ..Default::default() };
        Registry { handle: millrace_registry::start(config, &self.client()).await.unwrap() }
    }
}

struct Embedded(Arc<dyn Fn() -> DuplexStream + Send + Sync>);

impl Transport for Embedded {
    fn connect<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, std::io::Result<Box<dyn Stream>>> {
        let stream = (self.0)();
        Box::pin(async move { Ok(Box::new(stream) as Box<dyn Stream>) })
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Embedded")
    }
}

/// A registry that is being served.
pub(crate) struct Registry {
    pub(crate) handle: RegistryHandle,
}

impl Registry {
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        call(self.handle.address(), Method::GET, path, Bytes::new()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        call(self.handle.address(), Method::DELETE, path, Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        call(self.handle.address(), Method::POST, path, body.to_string().into()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        call(self.handle.address(), Method::PUT, path, body.to_string().into()).await
    }

    /// Registers Avro, and gives the id.
    pub(crate) async fn register(&self, subject: &str, schema: &str) -> u64 {
        let body = serde_json::json!({ "schema": schema });
        let (status, answer) = self.post(&format!("/subjects/{subject}/versions"), &body).await;
        assert_eq!(status, 200, "{answer}");
        answer["id"].as_u64().unwrap()
    }
}

/// The status, and the answer as JSON, or as text if it is none.
pub(crate) async fn call(address: SocketAddr, method: Method, path: &str, body: Bytes) -> (u16, Value) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "registry");
    let answer = sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/vnd.schemaregistry.v1+json");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// A record with one optional text after another.
pub(crate) fn record(fields: &[&str]) -> String {
    let field =
        |name: &&str| serde_json::json!({ "name": name, "type": ["null", "string"], "default": null });
    let fields: Vec<Value> = fields.iter().map(field).collect();
    serde_json::json!({ "type": "record", "name": "R", "fields": fields }).to_string()
}
