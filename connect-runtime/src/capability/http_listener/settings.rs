//! Settings of a connection of kind `http_listener` that fit their schema, made into a [`Target`].

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderName;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::auth::{Algorithm, Auth, Encoding, Part, Signature, parts};
use crate::connection::{self, Fault, Surroundings};
use crate::spec::{duration, size};

/// Largest body that may be allowed.
const BODY_BYTES_MAX: u64 = 16 << 20;
/// Most bytes of requests that may be held.
const HELD_BYTES_MAX: u64 = 256 << 20;

/// An address to listen at.
#[derive(Clone)]
pub(crate) struct Target {
    pub(super) listen: SocketAddr,
    pub(super) auth: Option<Auth>,
    pub(super) body_bytes_max: usize,
    pub(super) held_bytes_max: usize,
    pub(super) connections_max: usize,
    pub(super) timeout: Duration,
}

/// As `settings.schema.json` has it; the defaults are those that it names.
#[derive(Deserialize)]
struct Raw {
    listen: String,
    auth: Option<RawAuth>,
    body_max: Option<String>,
    held_max: Option<String>,
    connections_max: Option<usize>,
    timeout: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawAuth {
    Basic { user: String, password: String },
    Bearer(String),
    Header { name: String, value: String },
    Hmac(RawHmac),
}

#[derive(Deserialize)]
struct RawHmac {
    header: String,
    secret: String,
    secret_encoding: Option<String>,
    algorithm: Option<Algorithm>,
    encoding: Option<Encoding>,
    #[serde(default)]
    prefix: String,
    signed: Option<String>,
    timestamp: Option<String>,
    tolerance: Option<String>,
}

fn fault(pointer: &str, message: impl Into<String>, expected: &str) -> Fault {
    Fault { pointer: pointer.into(), message: message.into(), expected: expected.into() }
}

/// See [`connection::Kind::open`].
pub(crate) fn open(
    settings: &Map<String, Value>,
    _around: &Surroundings<'_>,
) -> Result<connection::Target, Vec<Fault>> {
    let raw = Raw::deserialize(Value::Object(settings.clone())).map_err(|_| {
        vec![fault("", "these settings can't be used", "what docs/PIPELINES.md says of `http_listener`")]
    })?;
    let mut faults = Vec::new();
    let mut or_fault = |found: Result<usize, Fault>| found.map_err(|fault| faults.push(fault)).unwrap_or(0);
    let body_bytes_max = or_fault(bytes(raw.body_max, "/body_max", 1 << 20, BODY_BYTES_MAX));
    let held_bytes_max = or_fault(bytes(raw.held_max, "/held_max", 16 << 20, HELD_BYTES_MAX));
    if faults.is_empty() && held_bytes_max < 2 * body_bytes_max {
        faults.push(fault("/held_max", "is less than two bodies", "at least twice `body_max`"));
    }
    let timeout = raw.timeout.and_then(|text| duration(&text)).unwrap_or(Duration::from_secs(30));
    if timeout.is_zero() {
        faults.push(fault("/timeout", "can't be zero", "such as \"30s\""));
    }
    let listen = raw.listen.parse::<SocketAddr>();
    if listen.is_err() {
        faults.push(fault("/listen", "is no address with a port", "such as 127.0.0.1:8090 or [::]:8090"));
    }
    let auth = match raw.auth.map(read_auth).transpose() {
        Ok(auth) => auth,
        Err(fault) => {
            faults.push(fault);
            None
        }
    };
    match listen {
        Ok(listen) if faults.is_empty() => Ok(connection::Target::HttpListener(Target {
            listen,
            auth,
            body_bytes_max,
            held_bytes_max,
            connections_max: raw.connections_max.unwrap_or(256),
            timeout,
        })),
        _ => Err(faults),
    }
}

fn read_auth(raw: RawAuth) -> Result<Auth, Fault> {
    Ok(match raw {
        RawAuth::Basic { user, password } => {
            if user.contains(':') {
                return Err(fault("/auth/basic/user", "holds a colon", "a user without one (RFC 7617)"));
            }
            let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            Auth::header_value("authorization", &value, Some("Basic realm=\"millrace\""))
        }
        RawAuth::Bearer(token) => {
            Auth::header_value("authorization", &format!("Bearer {token}"), Some("Bearer"))
        }
        RawAuth::Header { name, value } => {
            Auth::header_value(&header(&name, "/auth/header/name")?, &value, None)
        }
        RawAuth::Hmac(raw) => Auth::Hmac(signature(raw)?),
    })
}

fn signature(raw: RawHmac) -> Result<Signature, Fault> {
    let secret = if raw.secret_encoding.as_deref() == Some("base64") {
        STANDARD.decode(&raw.secret).map_err(|_| {
            fault("/auth/hmac/secret", "is no base64", "the secret without a prefix such as whsec_")
        })?
    } else {
        raw.secret.into_bytes()
    };
    let signed = parts(raw.signed.as_deref().unwrap_or("{body}")).map_err(|why| {
        fault(
            "/auth/hmac/signed",
            format!("can't be used: {why}"),
            "{body}, and headers such as {x-timestamp}",
        )
    })?;
    for part in &signed {
        if let Part::Header(name) = part {
            header(name, "/auth/hmac/signed")?;
        }
    }
    let tolerance = raw.tolerance.and_then(|text| duration(&text)).unwrap_or(Duration::from_secs(300));
    let timestamp = raw.timestamp.map(|name| header(&name, "/auth/hmac/timestamp")).transpose()?;
    if let Some(name) = &timestamp
        && !signed.contains(&Part::Header(name.clone()))
    {
        return Err(fault(
            "/auth/hmac/timestamp",
            "is not signed, so that anybody could change it",
            "a header that stands in `signed`",
        ));
    }
    Ok(Signature {
        header: header(&raw.header, "/auth/hmac/header")?,
        secret,
        algorithm: raw.algorithm.unwrap_or(Algorithm::Sha256),
        encoding: raw.encoding.unwrap_or(Encoding::Hex),
        prefix: raw.prefix,
        signed,
        timestamp: timestamp.map(|name| (name, tolerance)),
    })
}

/// A header's name in lower case.
fn header(name: &str, pointer: &str) -> Result<String, Fault> {
    match name.parse::<HeaderName>() {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(_) => Err(fault(pointer, "is no header's name", "such as X-Hub-Signature-256")),
    }
}

fn bytes(text: Option<String>, pointer: &str, default: u64, most: u64) -> Result<usize, Fault> {
    let found = text.and_then(|text| size(&text)).unwrap_or(default);
    match usize::try_from(found) {
        Ok(bytes) if found <= most && bytes > 0 => Ok(bytes),
        Ok(0) => Err(fault(pointer, "can't be zero", "such as 1MiB")),
        _ => Err(fault(pointer, "is too large", &format!("at most {}MiB", most >> 20))),
    }
}
