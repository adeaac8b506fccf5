//! Credentials of a connection: made into headers here, and nowhere shown.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::client::Failed;

/// A token is renewed so long before it expires.
const RENEW_BEFORE: Duration = Duration::from_secs(30);
/// How long a token is used whose server doesn't say how long it lives.
const LIFE_UNKNOWN: Duration = Duration::from_secs(300);
/// Longest that one is used, whatever its server says.
const LIFE_SECONDS_MAX: f64 = 86_400.0;
/// Largest answer of a token endpoint.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// What is added to requests to the connection's origin.
pub(super) enum Auth {
    /// The same header each time.
    Fixed(HeaderName, HeaderValue),
    /// A token that comes and goes.
    OAuth2(Box<OAuth2>),
}

/// Where a client's secret goes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum ClientAuth {
    #[default]
    Basic,
    Body,
}

impl Auth {
    pub(super) fn fixed(name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        Self::Fixed(name, value)
    }

    /// None: a header can't hold it.
    pub(super) fn bearer(token: &str) -> Option<Self> {
        let value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        Some(Self::fixed(AUTHORIZATION, value))
    }

    pub(super) fn basic(user: &str, password: &str) -> Option<Self> {
        let value =
            HeaderValue::from_str(&format!("Basic {}", BASE64.encode(format!("{user}:{password}")))).ok()?;
        Some(Self::fixed(AUTHORIZATION, value))
    }

    /// Puts it into a request's headers, over what the guest may have put there.
    pub(super) async fn add(&self, client: &Client, headers: &mut HeaderMap) -> Result<(), Failed> {
        match self {
            Self::Fixed(name, value) => headers.insert(name.clone(), value.clone()),
            Self::OAuth2(oauth2) => headers.insert(AUTHORIZATION, oauth2.token(client).await?),
        };
        Ok(())
    }

    /// The server refused what `headers` had; true if something else may be had now.
    pub(super) async fn refused(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Fixed(..) => false,
            Self::OAuth2(oauth2) => oauth2.forget(headers.get(AUTHORIZATION)).await,
        }
    }

    /// The header that it takes.
    pub(super) fn header(&self) -> &HeaderName {
        match self {
            Self::Fixed(name, _) => name,
            Self::OAuth2(_) => &AUTHORIZATION,
        }
    }
}

/// Client credentials (RFC 6749, 4.4).
pub(super) struct OAuth2 {
    token_url: Url,
    client_id: String,
    client_secret: String,
    client_auth: ClientAuth,
    scope: Option<String>,
    audience: Option<String>,
    /// Locked while a new one is fetched: who waits gets it, too.
    held: Mutex<Option<Held>>,
}

struct Held {
    header: HeaderValue,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: Option<String>,
    /// A number, or one in quotes, as some servers have it.
    expires_in: Option<Value>,
}

impl Answer {
    fn life(&self) -> Duration {
        let seconds = match &self.expires_in {
            Some(Value::Number(seconds)) => seconds.as_f64(),
            Some(Value::String(seconds)) => seconds.trim().parse().ok(),
            _ => None,
        };
        let seconds = seconds.filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0);
        seconds.map_or(LIFE_UNKNOWN, |seconds| Duration::from_secs_f64(seconds.min(LIFE_SECONDS_MAX)))
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl OAuth2 {
    pub(super) fn new(
        token_url: Url,
        client_id: String,
        client_secret: String,
        client_auth: ClientAuth,
        scope: Option<String>,
        audience: Option<String>,
    ) -> Self {
        Self { token_url, client_id, client_secret, client_auth, scope, audience, held: Mutex::new(None) }
    }

    async fn token(&self, client: &Client) -> Result<HeaderValue, Failed> {
        let mut held = self.held.lock().await;
        if let Some(held) = held.as_ref().filter(|held| Instant::now() < held.renew_at) {
            return Ok(held.header.clone());
        }
        let new = self.fetch(client).await?;
        let header = new.header.clone();
        *held = Some(new);
        Ok(header)
    }

    /// Forgets a token that was refused, unless another one is held already. One that was fetched and refused at once
    /// would only be fetched again: so much is told by the caller, who tries once.
    async fn forget(&self, refused: Option<&HeaderValue>) -> bool {
        let mut held = self.held.lock().await;
        if held.as_ref().map(|held| &held.header) == refused {
            *held = None;
        }
        true
    }

    async fn fetch(&self, client: &Client) -> Result<Held, Failed> {
        let place = super::allow::shown(&self.token_url);
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        form.extend(self.audience.as_deref().map(|audience| ("audience", audience)));
        let mut request = client.post(self.token_url.clone());
        match self.client_auth {
            // RFC 6749, 2.3.1: encoded as in a form, then put together.
            ClientAuth::Basic => {
                let pair = format!("{}:{}", form_text(&self.client_id), form_text(&self.client_secret));
                let mut value =
                    HeaderValue::from_str(&format!("Basic {}", BASE64.encode(pair))).map_err(|_| {
                        Failed::fatal(
                            "http.token",
                            format!("{place}: no header can hold the client's secret"),
                        )
                    })?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            ClientAuth::Body => {
                form.push(("client_id", &self.client_id));
                form.push(("client_secret", &self.client_secret));
            }
        }
        let body: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", form_text(value))).collect();
        let request = request
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(reqwest::header::ACCEPT, "application/json")
            .body(body.join("&"));
        let mut response = request.send().await.map_err(|error| Failed::sending(&self.token_url, &error))?;
        let status = response.status();
        let body = super::client::body(&mut response, &self.token_url, TOKEN_BYTES_MAX).await?;
        if !status.is_success() {
            let why = serde_json::from_slice::<Refusal>(&body).ok().map(|refusal| plain(&refusal.error));
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            let message = format!("{place} gives no token: status {}{why}", status.as_u16());
            return Err(if status.is_server_error() || status.as_u16() == 429 {
                Failed::retriable("http.token", message)
            } else {
                Failed::fatal("http.token", format!("{message}; check `auth` of the connection"))
            });
        }
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| Failed::fatal("http.token", format!("{place}: the answer holds no access_token")))?;
        let kind = answer.token_type.as_deref().unwrap_or_default();
        if !kind.is_empty() && !kind.eq_ignore_ascii_case("bearer") {
            let kind = plain(kind);
            return Err(Failed::fatal(
                "http.token",
                format!("{place}: a token of kind {kind}, where Bearer is known"),
            ));
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {}", answer.access_token))
            .map_err(|_| Failed::fatal("http.token", format!("{place}: no header can hold its token")))?;
        header.set_sensitive(true);
        let life = answer.life();
        let renew_at = Instant::now() + life.saturating_sub(RENEW_BEFORE.min(life / 2));
        Ok(Held { header, renew_at })
    }
}

/// What a server may repeat of a header with credentials: all of it, what follows the scheme, and the password in that. The longest first: one is part of
/// another.
pub(super) fn secrets(header: &HeaderValue) -> Vec<String> {
    let Ok(whole) = header.to_str() else { return Vec::new() };
    let credentials = whole.split_once(' ').map(|(_, credentials)| credentials.trim());
    let pair = credentials.and_then(|credentials| String::from_utf8(BASE64.decode(credentials).ok()?).ok());
    let password = pair.as_deref().and_then(|pair| Some(pair.split_once(':')?.1));
    let all = [Some(whole), credentials, password].into_iter().flatten();
    all.filter(|secret| !secret.is_empty()).map(str::to_owned).collect()
}

/// A word of the server's, bounded and harmless.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')).take(64).collect()
}

/// As in a form (application/x-www-form-urlencoded).
fn form_text(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_encoded() {
        assert_eq!(form_text("a b&c=é"), "a+b%26c%3D%C3%A9");
        assert_eq!(plain("invalid_client\n<script>"), "invalid_clientscript");
    }

    #[test]
    fn credentials_are_marked_as_such() {
        let Some(Auth::Fixed(name, value)) = Auth::basic("Aladdin", "open sesame") else {
            panic!("no header")
        };
        assert_eq!((name, value.to_str().unwrap()), (AUTHORIZATION, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert!(value.is_sensitive());
        assert!(Auth::bearer("a\nb").is_none());
    }
}
