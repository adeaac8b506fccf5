//! One signed request to an S3 store, within the connection's limits.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use object_store::CredentialProvider;
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody};
use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode, Url};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::answer::{Refused, fatal, retriable};
use crate::capability::http;
use crate::component::bindings::millrace::connect::object_store::Refusal;
use crate::percent::encoded;

/// Most idle sockets that are kept.
const IDLE_SOCKETS_MAX: usize = 64;
/// Most bytes of an error's body that are read.
const ERROR_BYTES_MAX: usize = 64 << 10;

type Credentials = Arc<dyn CredentialProvider<Credential = AwsCredential>>;

/// Where credentials come from.
pub(super) enum Auth {
    /// They are not needed.
    Anonymous,
    /// Those of the connection.
    Keys(AwsCredential),
    /// Those that AWS's tools would find: environment, web identity, the container's or the machine's role.
    Environment,
}

/// What a connection bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) response_bytes: usize,
    pub(super) in_flight: usize,
}

/// A connection of kind `s3`. Its sockets are shared by all whom it is granted to.
pub(crate) struct Target {
    /// Of the bucket, without a slash at its end.
    pub(super) base: String,
    pub(super) bucket: String,
    pub(super) prefix: String,
    pub(super) region: String,
    pub(super) auth: Auth,
    pub(super) conditional_writes: bool,
    /// Go with new objects: encryption, storage class.
    pub(super) new_object: HeaderMap,
    pub(super) limits: Limits,
    pub(super) roots: Vec<CertificateDer<'static>>,
    /// Made by the first request.
    pub(super) client: OnceLock<Client>,
    /// Likewise.
    pub(super) chain: OnceCell<Credentials>,
}

/// A request to be signed.
pub(super) struct Asked<'a> {
    pub(super) method: Method,
    /// Whole; empty: the bucket itself.
    pub(super) key: &'a str,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Most bytes of the answer.
    pub(super) bytes_max: usize,
    /// For messages.
    pub(super) what: String,
}

/// A success.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The etag as it is written.
    pub(super) fn etag(&self) -> String {
        self.headers.get(ETAG).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    }

    /// What the store says that the object has.
    pub(super) fn length(&self) -> Option<u64> {
        self.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }
}

impl Target {
    /// The bucket, and the prefix of all keys.
    pub(crate) fn place(&self) -> (&str, &str) {
        (&self.bucket, &self.prefix)
    }

    /// Most requests that a task may have under way.
    pub(super) fn in_flight(&self) -> usize {
        self.limits.in_flight
    }

    /// Sends a request; anything but a success is a refusal.
    pub(super) async fn send(&self, asked: Asked<'_>) -> Result<Answer, Refusal> {
        let (what, timeout) = (asked.what.clone(), self.limits.timeout);
        match tokio::time::timeout(timeout, self.exchange(asked)).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(retriable("s3.timeout", format!("{what}: no whole answer within {timeout:?}"), None))
            }
        }
    }

    async fn exchange(&self, asked: Asked<'_>) -> Result<Answer, Refusal> {
        let Asked { method, key, query, headers, body, bytes_max, what } = asked;
        let url = self.url(key, &query);
        let headers = self.signed(&method, &url, headers, &body, &what).await?;
        let request = self.client()?.request(method, url).headers(headers).body(body);
        let mut response = request.send().await.map_err(|error| broken(&what, &error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let most = if status.is_success() { bytes_max } else { ERROR_BYTES_MAX };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&what, &error))? {
            if body.len() + chunk.len() > most {
                if !status.is_success() {
                    break;
                }
                let message = format!(
                    "{what}: an answer of more than {most} bytes; ask for a range, or raise `response_max` of the connection"
                );
                return Err(fatal("s3.response-size", message));
            }
            body.extend_from_slice(&chunk);
        }
        match status.is_success() {
            true => Ok(Answer { headers, body }),
            false => Err(refused(status, &headers).read(&body).refusal(&what)),
        }
    }

    fn url(&self, key: &str, query: &[(&'static str, String)]) -> String {
        let mut url = self.base.clone();
        url.push('/');
        url.push_str(&encoded(key, true));
        for (at, (name, value)) in query.iter().enumerate() {
            url.push(if at == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            url.push_str(&encoded(value, false));
        }
        url
    }

    /// The headers with the signature (AWS Signature Version 4). Bodies are always part of it.
    async fn signed(
        &self,
        method: &Method,
        url: &str,
        headers: HeaderMap,
        body: &Bytes,
        what: &str,
    ) -> Result<HeaderMap, Refusal> {
        let found;
        let credential = match &self.auth {
            Auth::Anonymous => return Ok(headers),
            Auth::Keys(credential) => credential,
            Auth::Environment => {
                let chain = self.chain.get_or_try_init(async || self.find_credentials()).await?;
                found = chain.get_credential().await.map_err(|error| {
                    let message =
                        format!("{what}: no credentials: {error}; set `access_key_id` of the connection");
                    retriable("s3.credentials", message, None)
                })?;
                &*found
            }
        };
        let unsigned =
            |why: String| fatal("s3.request", format!("{what}: the request can't be signed: {why}"));
        let request = hyper::Request::builder().method(method.clone()).uri(url);
        let mut request =
            request.body(HttpRequestBody::empty()).map_err(|error| unsigned(error.to_string()))?;
        *request.headers_mut() = headers;
        AwsAuthorizer::new(credential, "s3", &self.region)
            .try_authorize(&mut request, Some(Sha256::digest(body).as_slice()))
            .map_err(|error| unsigned(error.to_string()))?;
        Ok(std::mem::take(request.headers_mut()))
    }

    /// The chain of AWS's tools, as the library goes through it. Reaches nothing yet.
    fn find_credentials(&self) -> Result<Credentials, Refusal> {
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_http_connector(Connector(self.client()?.clone()))
            .build();
        let store = store.map_err(|error| fatal("s3.credentials", format!("no credentials: {error}")))?;
        Ok(Arc::clone(store.credentials()))
    }

    fn client(&self) -> Result<&Client, Refusal> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let built = self.build().map_err(|why| fatal("s3.client", why))?;
        Ok(self.client.get_or_init(|| built))
    }

    fn build(&self) -> Result<Client, String> {
        let builder = http::builder(&self.roots, self.limits.connect_timeout)?;
        http::built(builder.pool_max_idle_per_host(IDLE_SOCKETS_MAX))
    }
}

/// Gives the library our client to ask for credentials with.
#[derive(Debug)]
struct Connector(Client);

impl HttpConnector for Connector {
    fn connect(&self, _options: &object_store::ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

fn refused(status: StatusCode, headers: &HeaderMap) -> Refused {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
    Refused {
        status: status.as_u16(),
        retry_after: text(RETRY_AFTER.as_str()).and_then(|seconds| seconds.trim().parse().ok()),
        region: text("x-amz-bucket-region"),
        ..Refused::default()
    }
}

/// The client's word, without the URL.
fn broken(what: &str, error: &reqwest::Error) -> Refusal {
    let why = http::cause(error);
    match error {
        error if error.is_connect() => {
            retriable("s3.connect", format!("{what}: the store can't be reached: {why}"), None)
        }
        error if error.is_builder() => fatal("s3.request", format!("{what}: no such request: {why}")),
        _ => retriable("s3.broken", format!("{what}: the exchange broke off: {why}"), None),
    }
}

/// The bucket's own URL.
pub(super) fn base(
    endpoint: Option<&Url>,
    region: &str,
    bucket: &str,
    in_path: bool,
) -> Result<String, &'static str> {
    let amazon;
    let endpoint = match endpoint {
        Some(endpoint) => endpoint,
        None => {
            amazon =
                Url::parse(&format!("https://s3.{region}.amazonaws.com")).map_err(|_| "no such region")?;
            &amazon
        }
    };
    let mut base = endpoint.clone();
    if in_path {
        let path = endpoint.path().trim_end_matches('/');
        base.set_path(&format!("{path}/{}", encoded(bucket, false)));
    } else {
        let host = endpoint.host_str().ok_or("it has no host")?;
        base.set_host(Some(&format!("{bucket}.{host}")))
            .map_err(|_| "the bucket can't stand in a host's name")?;
    }
    Ok(base.as_str().trim_end_matches('/').to_owned())
}
