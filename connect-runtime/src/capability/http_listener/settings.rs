//! Settings of a connection of kind `http_listener` that fit their schema, made into a [`Target`].

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderName;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::auth::{Algorithm, Auth, Encoding, Part, Signature, parts};
use crate::connection::settings::{Faults, bytes, read, time};
use crate::connection::{self, Fault, Surroundings};
use crate::spec::duration;

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

/// See [`connection::Kind::open`].
pub(crate) fn open(
    settings: &Map<String, Value>,
    _around: &Surroundings<'_>,
) -> Result<connection::Target, Vec<Fault>> {
    let raw: Raw = read(settings, "http_listener")?;
    let mut faults = Faults::default();
    let body_bytes_max = bytes(raw.body_max, "/body_max", 1 << 20, BODY_BYTES_MAX, &mut faults);
    let held_bytes_max = bytes(raw.held_max, "/held_max", 16 << 20, HELD_BYTES_MAX, &mut faults);
    if faults.0.is_empty() && held_bytes_max < 2 * body_bytes_max {
        faults.push("/held_max", "is less than two bodies", "at least twice `body_max`");
    }
    let timeout = time(raw.timeout, "/timeout", 30, &mut faults);
    let listen = raw.listen.parse::<SocketAddr>();
    if listen.is_err() {
        faults.push("/listen", "is no address with a port", "such as 127.0.0.1:8090 or [::]:8090");
    }
    let auth = match raw.auth.map(read_auth).transpose() {
        Ok(auth) => auth,
        Err(fault) => {
            faults.0.push(fault);
            None
        }
    };
    match listen {
        Ok(listen) if faults.0.is_empty() => Ok(connection::Target::HttpListener(Target {
            listen,
            auth,
            body_bytes_max,
            held_bytes_max,
            connections_max: raw.connections_max.unwrap_or(256),
            timeout,
        })),
        _ => Err(faults.0),
    }
}

fn read_auth(raw: RawAuth) -> Result<Auth, Fault> {
    Ok(match raw {
        RawAuth::Basic { user, password } => {
            if user.contains(':') {
                return Err(Fault::new("/auth/basic/user", "holds a colon", "a user without one (RFC 7617)"));
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
            Fault::new("/auth/hmac/secret", "is no base64", "the secret without a prefix such as whsec_")
        })?
    } else {
        raw.secret.into_bytes()
    };
    let signed = parts(raw.signed.as_deref().unwrap_or("{body}")).map_err(|why| {
        Fault::new(
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
        return Err(Fault::new(
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
        Err(_) => Err(Fault::new(pointer, "is no header's name", "such as X-Hub-Signature-256")),
    }
}
