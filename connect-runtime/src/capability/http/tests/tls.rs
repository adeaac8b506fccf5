//! Servers with TLS, whose certificates are trusted or not.

use std::path::Path;
use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{get, send, target};

/// A server for `localhost`, its port, and its certificate as PEM.
async fn start() -> (u16, String) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let answer = b"HTTP/1.1 200 X\r\nconnection: close\r\ncontent-length: 6\r\n\r\nsecret";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, cert.pem())
}

#[tokio::test]
async fn a_server_is_trusted_by_its_certificate_only() {
    let (port, pem) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, pem).unwrap();
    let connection = |host: &str, ca: Option<&Path>| {
        let mut settings = json!({ "url": format!("https://{host}:{port}") });
        if let Some(ca) = ca {
            settings["ca"] = ca.to_str().unwrap().into();
        }
        target(settings)
    };
    let trusted = connection("localhost", Some(&ca));
    assert_eq!(send(&trusted, get("/")).await.unwrap().body, b"secret");
    for (host, ca) in [("localhost", None), ("127.0.0.1", Some(ca.as_path()))] {
        let error = send(&connection(host, ca), get("/")).await.unwrap_err();
        assert!(error.starts_with("retriable http.connect: ") && error.contains("certificate"), "{error}");
    }
}
