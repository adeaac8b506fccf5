//! Settings of a connection of kind `s3` that fit their schema, made into a [`Target`].

use std::sync::OnceLock;

use object_store::aws::AwsCredential;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use super::client::{Auth, Limits, Target, base};
use super::key;
use crate::connection::settings::{Faults, bytes, certificates, read, time};
use crate::connection::{self, Fault, Surroundings};

/// Most bytes of an object that are read at once.
const RESPONSE_BYTES_MAX: u64 = 64 << 20;

/// As `settings.schema.json` has it; the defaults are those that it names.
#[derive(Deserialize)]
struct Raw {
    bucket: String,
    #[serde(default)]
    prefix: String,
    region: Option<String>,
    endpoint: Option<String>,
    addressing: Option<Addressing>,
    #[serde(default)]
    allow_http: bool,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
    #[serde(default)]
    anonymous: bool,
    ca: Option<String>,
    conditional_writes: Option<bool>,
    server_side_encryption: Option<String>,
    kms_key_id: Option<String>,
    storage_class: Option<String>,
    connect_timeout: Option<String>,
    timeout: Option<String>,
    response_max: Option<String>,
    in_flight: Option<usize>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Addressing {
    Path,
    Virtual,
}

/// See [`connection::Kind::open`].
pub(crate) fn open(
    settings: &Map<String, Value>,
    around: &Surroundings<'_>,
) -> Result<connection::Target, Vec<Fault>> {
    let raw: Raw = read(settings, "s3")?;
    let mut faults = Faults::default();
    let region = raw.region.clone().unwrap_or_else(|| "us-east-1".to_owned());
    if !is_label(&region) {
        faults.push(
            "/region",
            "is no region",
            "lower case letters, digits and hyphens, such as eu-central-1",
        );
    }
    let base = bucket(&raw, &region, &mut faults);
    if !raw.prefix.is_empty()
        && let Some(why) = key::fault(&raw.prefix)
    {
        faults.push("/prefix", &format!("can't be used: {why}"), "a beginning of keys, such as lake/raw/");
    }
    let new_object = headers(&raw, &mut faults);
    let auth = auth(&raw, &mut faults);
    let limits = Limits {
        connect_timeout: time(raw.connect_timeout, "/connect_timeout", 10, &mut faults),
        timeout: time(raw.timeout, "/timeout", 30, &mut faults),
        response_bytes: bytes(raw.response_max, "/response_max", 16 << 20, RESPONSE_BYTES_MAX, &mut faults),
        in_flight: raw.in_flight.unwrap_or(8),
    };
    let roots = raw.ca.map(|path| certificates(&path, around, &mut faults)).unwrap_or_default();
    match (base, auth) {
        (Some(base), Some(auth)) if faults.0.is_empty() => Ok(connection::Target::S3(Box::new(Target {
            base,
            bucket: raw.bucket,
            prefix: raw.prefix,
            region,
            auth,
            conditional_writes: raw.conditional_writes.unwrap_or(true),
            new_object,
            limits,
            roots,
            client: OnceLock::new(),
            chain: OnceCell::new(),
        }))),
        _ => Err(faults.0),
    }
}

/// Whether it can be a part of a host's name.
fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// The bucket's own URL.
fn bucket(raw: &Raw, region: &str, faults: &mut Faults) -> Option<String> {
    let named =
        raw.bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if !named || raw.bucket.starts_with('.') {
        faults.push(
            "/bucket",
            "is no bucket's name",
            "letters, digits, dots and hyphens; a folder in it is `prefix`",
        );
        return None;
    }
    let expected = "such as https://minio.example.com:9000";
    if raw.endpoint.as_deref().is_some_and(|endpoint| !endpoint.contains("://")) {
        faults.push("/endpoint", "has no scheme: https:// stands in front of the host", expected);
        return None;
    }
    let endpoint = match raw.endpoint.as_deref().map(Url::parse) {
        None => None,
        Some(Ok(url)) => {
            let fault = match url.scheme() {
                "https" => None,
                "http" if raw.allow_http => None,
                "http" => Some(("has no TLS", "https, or `allow_http: true`")),
                _ => Some(("is no URL of a store", expected)),
            };
            let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
            match fault.or((!plain).then_some(("has more than host, port and path", expected))) {
                None => Some(url),
                Some((message, expected)) => {
                    faults.push("/endpoint", message, expected);
                    return None;
                }
            }
        }
        Some(Err(error)) => {
            faults.push("/endpoint", &format!("can't be used: {error}"), expected);
            return None;
        }
    };
    // A bucket with a dot in its name has no certificate for it as a host (Amazon's is for one level).
    let in_path = raw
        .addressing
        .map_or(endpoint.is_some() || raw.bucket.contains('.'), |addressing| addressing == Addressing::Path);
    match base(endpoint.as_ref(), region, &raw.bucket, in_path) {
        Ok(base) => Some(base),
        Err(why) => {
            faults.push("/addressing", &format!("can't be used: {why}"), "path");
            None
        }
    }
}

fn auth(raw: &Raw, faults: &mut Faults) -> Option<Auth> {
    match (raw.access_key_id.clone(), raw.secret_access_key.clone(), raw.anonymous) {
        (Some(_), _, true) | (_, Some(_), true) => {
            faults.push("/anonymous", "is set beside an access key", "one of the two");
            None
        }
        (Some(key_id), Some(secret_key), false) => {
            let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
            if !plain(&key_id) {
                faults.push(
                    "/access_key_id",
                    "holds a character that a header can't have",
                    "the key as it was given out",
                );
            }
            if raw.session_token.as_deref().is_some_and(|token| !plain(token)) {
                faults.push(
                    "/session_token",
                    "holds a character that a header can't have",
                    "the token as it was given out",
                );
            }
            Some(Auth::Keys(AwsCredential { key_id, secret_key, token: raw.session_token.clone() }))
        }
        (Some(_), None, false) => {
            faults.push("/access_key_id", "comes without its secret", "`secret_access_key` beside it");
            None
        }
        (None, Some(_), false) => {
            faults.push("/secret_access_key", "comes without its key", "`access_key_id` beside it");
            None
        }
        (None, None, true) => Some(Auth::Anonymous),
        (None, None, false) => Some(Auth::Environment),
    }
}

/// What goes with every new object.
fn headers(raw: &Raw, faults: &mut Faults) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let named = [
        ("x-amz-server-side-encryption", &raw.server_side_encryption, "/server_side_encryption"),
        ("x-amz-server-side-encryption-aws-kms-key-id", &raw.kms_key_id, "/kms_key_id"),
        ("x-amz-storage-class", &raw.storage_class, "/storage_class"),
    ];
    for (name, value, pointer) in named {
        match value.as_deref().map(HeaderValue::from_str) {
            None => {}
            Some(Ok(value)) => drop(headers.insert(HeaderName::from_static(name), value)),
            Some(Err(_)) => faults.push(pointer, "holds a character that a header can't have", "plain text"),
        }
    }
    if raw.kms_key_id.is_some() && raw.server_side_encryption.as_deref() != Some("aws:kms") {
        faults.push("/kms_key_id", "is for `server_side_encryption: aws:kms`", "that, or none");
    }
    headers
}
