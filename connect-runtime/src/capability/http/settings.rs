//! Settings of a connection of kind `http` that fit their schema, made into a [`Target`].

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::address::{Reach, is_localhost, literal};
use super::allow::{self, Allowed};
use super::auth::{Auth, ClientAuth, OAuth2};
use super::client::{Limits, Target};
use crate::connection::settings::{Faults, bytes, certificates, read, time};
use crate::connection::{self, Fault, Surroundings};

/// Largest body of a request: a call of the host takes no more from a guest.
const REQUEST_BYTES_MAX: u64 = 16 << 20;
/// Largest body of a response.
const RESPONSE_BYTES_MAX: u64 = 64 << 20;

/// As `settings.schema.json` has it; the defaults are those that it names.
#[derive(Deserialize)]
struct Raw {
    url: String,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    private: bool,
    auth: Option<RawAuth>,
    ca: Option<String>,
    connect_timeout: Option<String>,
    timeout: Option<String>,
    request_max: Option<String>,
    response_max: Option<String>,
    in_flight: Option<usize>,
    redirects: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawAuth {
    Basic { user: String, password: String },
    Bearer(String),
    Header { name: String, value: String },
    OAuth2(RawOAuth2),
}

#[derive(Deserialize)]
struct RawOAuth2 {
    token_url: String,
    client_id: String,
    client_secret: String,
    #[serde(default)]
    client_auth: ClientAuth,
    scope: Option<String>,
    audience: Option<String>,
}

/// See [`connection::Kind::open`].
pub(crate) fn open(
    settings: &Map<String, Value>,
    around: &Surroundings<'_>,
) -> Result<connection::Target, Vec<Fault>> {
    target(settings, around).map(|target| connection::Target::Http(Box::new(target)))
}

/// What requests are sent with, for connections of kinds that are spoken over HTTP, too.
pub(crate) fn target(settings: &Map<String, Value>, around: &Surroundings<'_>) -> Result<Target, Vec<Fault>> {
    let raw: Raw = read(settings, "http")?;
    let mut faults = Faults::default();
    let mut reach = Reach { private: raw.private, ..Reach::default() };
    let base = base(&raw.url, &mut reach, &mut faults);
    let mut origins: Vec<Allowed> = base.iter().filter_map(Allowed::of).collect();
    for (at, text) in raw.allow.iter().enumerate() {
        match Allowed::parse(text) {
            Ok(allowed) => {
                grant(allowed.host(), &mut reach);
                origins.push(allowed);
            }
            Err(why) => faults.push(
                &format!("/allow/{at}"),
                &format!("is no origin: {why}"),
                "such as https://cdn.example.com, https://*.example.com or http://10.0.0.7:8080",
            ),
        }
    }
    let auth = raw.auth.and_then(|auth| read_auth(auth, &mut reach, &mut faults));
    let limits = Limits {
        connect_timeout: time(raw.connect_timeout, "/connect_timeout", 10, &mut faults),
        timeout: time(raw.timeout, "/timeout", 30, &mut faults),
        request_bytes: bytes(raw.request_max, "/request_max", 8 << 20, REQUEST_BYTES_MAX, &mut faults),
        response_bytes: bytes(raw.response_max, "/response_max", 16 << 20, RESPONSE_BYTES_MAX, &mut faults),
        in_flight: raw.in_flight.unwrap_or(8),
        redirects: raw.redirects.unwrap_or(5),
    };
    let roots = raw.ca.map(|path| certificates(&path, around, &mut faults)).unwrap_or_default();
    match base {
        Some(base) if faults.0.is_empty() => Ok(Target::new(base, origins, reach, auth, limits, roots)),
        _ => Err(faults.0),
    }
}

fn base(text: &str, reach: &mut Reach, faults: &mut Faults) -> Option<Url> {
    let expected = "such as https://api.example.com/v1";
    match allow::url(text) {
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            faults.push("/url", "has a query", "a URL that paths can be put behind");
            None
        }
        Ok(url) => {
            grant(url.host_str().unwrap_or_default(), reach);
            Some(url)
        }
        Err(why) => {
            faults.push("/url", &format!("can't be used: {why}"), expected);
            None
        }
    }
}

/// What is written as an address, or as `localhost`, is meant.
fn grant(host: &str, reach: &mut Reach) {
    match literal(host) {
        Some(address) => {
            reach.addresses.insert(address);
        }
        None => reach.localhost |= is_localhost(host),
    }
}

fn read_auth(raw: RawAuth, reach: &mut Reach, faults: &mut Faults) -> Option<Auth> {
    let auth = match raw {
        RawAuth::Basic { user, password } => {
            if user.contains(':') {
                faults.push("/auth/basic/user", "holds a colon", "a user without one (RFC 7617)");
                return None;
            }
            Auth::basic(&user, &password)
        }
        RawAuth::Bearer(token) => Auth::bearer(&token),
        RawAuth::Header { name, value } => {
            let Ok(name) = name.parse::<HeaderName>() else {
                faults.push("/auth/header/name", "is no header's name", "such as X-Api-Key");
                return None;
            };
            HeaderValue::from_str(&value).ok().map(|value| Auth::fixed(name, value))
        }
        RawAuth::OAuth2(raw) => {
            let token_url = match allow::url(&raw.token_url) {
                Ok(url) => url,
                Err(why) => {
                    let message = format!("can't be used: {why}");
                    faults.push(
                        "/auth/oauth2/token_url",
                        &message,
                        "such as https://login.example.com/token",
                    );
                    return None;
                }
            };
            grant(token_url.host_str().unwrap_or_default(), reach);
            Some(Auth::OAuth2(Box::new(OAuth2::new(
                token_url,
                raw.client_id,
                raw.client_secret,
                raw.client_auth,
                raw.scope,
                raw.audience,
            ))))
        }
    };
    if auth.is_none() {
        faults.push(
            "/auth",
            "holds a character that a header can't have",
            "no line breaks and control characters",
        );
    }
    auth
}
