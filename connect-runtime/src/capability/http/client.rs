//! Sends requests over a connection: every hop is checked, everything is bounded.

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Method, Response, StatusCode, Url};
use rustls::pki_types::CertificateDer;

use super::address::{Reach, Refused, Resolver, literal};
use super::allow::{self, Allowed};
use super::auth::{self, Auth};
use crate::capability::tls;
use crate::component::bindings::millrace::connect::http::{Request as Asked, Response as Answer};
use crate::component::bindings::millrace::connect::types::Error as GuestError;

/// Idle sockets kept to each host.
const IDLE_SOCKETS_MAX: usize = 8;
/// How long one is kept: an idle runtime holds none.
const IDLE_SOCKET_LIFE: Duration = Duration::from_secs(30);
/// Most headers of a request.
const HEADERS_MAX: usize = 100;
/// Longest URL.
const URL_BYTES_MAX: usize = 16 << 10;
/// In the place of a credential.
const HIDDEN: &str = "[hidden]";
/// What names us to servers.
const USER_AGENT: &str = concat!("millrace/", env!("CARGO_PKG_VERSION"));

/// Headers about the connection between us and the server: not a guest's business.
static OURS: &[HeaderName] = &[
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// Headers that only the server they were meant for may see.
static CONFIDENTIAL: &[HeaderName] = &[header::AUTHORIZATION, header::COOKIE];

/// What a connection bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) request_bytes: usize,
    pub(super) response_bytes: usize,
    pub(super) in_flight: usize,
    pub(super) redirects: usize,
}

/// A connection of kind `http`. Its sockets are shared by all whom it is granted to.
pub(crate) struct Target {
    base: Url,
    origins: Vec<Allowed>,
    reach: Arc<Reach>,
    auth: Option<Auth>,
    limits: Limits,
    roots: Vec<CertificateDer<'static>>,
    /// Made by the first request.
    client: OnceLock<Client>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) GuestError);

impl Failed {
    pub(super) fn retriable(code: &str, message: String) -> Self {
        Self(GuestError::retriable(code, message))
    }

    pub(super) fn fatal(code: &str, message: String) -> Self {
        Self(GuestError::fatal(code, message))
    }

    /// The client's word, without what the URL may hold.
    pub(super) fn sending(url: &Url, error: &reqwest::Error) -> Self {
        let place = allow::shown(url);
        if let Some(refused) = causes(error).find_map(|inner| inner.downcast_ref::<Refused>()) {
            return Self::fatal("http.denied", refused.to_string());
        }
        let why = cause(error);
        match error {
            error if error.is_timeout() => {
                Self::retriable("http.timeout", format!("{place}: no answer in time"))
            }
            error if error.is_connect() => {
                Self::retriable("http.connect", format!("{place} can't be reached: {why}"))
            }
            error if error.is_builder() => {
                Self::fatal("http.request", format!("{place}: no such request: {why}"))
            }
            _ => Self::retriable("http.broken", format!("{place}: the exchange broke off: {why}")),
        }
    }
}

/// A request that was checked.
struct Prepared {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<bytes::Bytes>,
    response_bytes: usize,
}

impl Target {
    pub(super) fn new(
        base: Url,
        origins: Vec<Allowed>,
        reach: Reach,
        auth: Option<Auth>,
        limits: Limits,
        roots: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self { base, origins, reach: Arc::new(reach), auth, limits, roots, client: OnceLock::new() }
    }

    /// The same with another word on addresses.
    #[cfg(test)]
    pub(super) fn reaching(self, reach: Reach) -> Self {
        Self { reach: Arc::new(reach), client: OnceLock::new(), ..self }
    }

    /// Most requests that a task may have under way.
    pub(super) fn in_flight(&self) -> usize {
        self.limits.in_flight
    }

    /// Sends one request; `name` is the connection's.
    pub(crate) async fn send(&self, name: &str, asked: Asked) -> Result<Answer, Failed> {
        let asked_timeout = Duration::from_millis(u64::from(asked.timeout_ms));
        let timeout = match asked_timeout.is_zero() {
            true => self.limits.timeout,
            false => asked_timeout.min(self.limits.timeout),
        };
        let prepared = self.prepare(asked)?;
        let place = allow::shown(&prepared.url);
        match tokio::time::timeout(timeout, self.follow(name, prepared)).await {
            Ok(answer) => answer,
            Err(_) => {
                Err(Failed::retriable("http.timeout", format!("{place}: no whole answer within {timeout:?}")))
            }
        }
    }

    fn prepare(&self, asked: Asked) -> Result<Prepared, Failed> {
        let url = self.url(&asked)?;
        let method = Method::from_bytes(asked.method.as_bytes())
            .ok()
            .filter(|method| *method != Method::CONNECT)
            .ok_or_else(|| Failed::fatal("http.request", "a request with a method that is none".into()))?;
        if asked.headers.len() > HEADERS_MAX {
            let message = format!("{} headers; at most {HEADERS_MAX} are sent", asked.headers.len());
            return Err(Failed::fatal("http.header", message));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &asked.headers {
            let parsed = name.parse::<HeaderName>().ok().filter(|name| !OURS.contains(name));
            let Some(parsed) = parsed else {
                return Err(Failed::fatal("http.header", format!("header {:?} can't be set", clip(name))));
            };
            let value = HeaderValue::from_str(value).map_err(|_| {
                Failed::fatal(
                    "http.header",
                    format!("the value of header {parsed} holds a control character"),
                )
            })?;
            headers.append(parsed, value);
        }
        let size = asked.body.as_ref().map_or(0, Vec::len);
        if size > self.limits.request_bytes {
            let most = self.limits.request_bytes;
            let message = format!(
                "a body of {size} bytes, over the {most} of `request_max`; send less at once, or raise it in the connection"
            );
            return Err(Failed::fatal("http.request-size", message));
        }
        let wanted = usize::try_from(asked.response_bytes_max).unwrap_or(usize::MAX);
        let response_bytes =
            if wanted == 0 { self.limits.response_bytes } else { wanted.min(self.limits.response_bytes) };
        Ok(Prepared { method, url, headers, body: asked.body.map(Into::into), response_bytes })
    }

    /// The URL that is meant.
    fn url(&self, asked: &Asked) -> Result<Url, Failed> {
        let bad = |why: &str| Failed::fatal("http.url", format!("a URL that can't be used: {why}"));
        if asked.url.len() > URL_BYTES_MAX {
            return Err(bad(&format!("more than {URL_BYTES_MAX} bytes")));
        }
        let absolute = asked.url.starts_with("http://") || asked.url.starts_with("https://");
        let parsed = match &asked.relative_to {
            Some(base) => Url::parse(base).and_then(|base| base.join(&asked.url)),
            None if absolute => Url::parse(&asked.url),
            None => {
                let base = self.base.as_str();
                let is_behind = !asked.url.is_empty() && !asked.url.starts_with('?');
                let base = if is_behind { base.trim_end_matches('/') } else { base };
                let between = if is_behind && !asked.url.starts_with('/') { "/" } else { "" };
                Url::parse(&format!("{base}{between}{}", asked.url))
            }
        };
        let url = parsed.map_err(|error| bad(&error.to_string()))?;
        allow::check(&url).map_err(bad)?;
        Ok(url)
    }

    /// Whether a URL may be asked at all. What its name resolves to is checked by the resolver.
    fn check(&self, name: &str, url: &Url, redirected: bool) -> Result<(), Failed> {
        if !self.origins.iter().any(|allowed| allowed.covers(url)) {
            let what = if redirected { "a redirect leads to" } else { "a request goes to" };
            let origin = url.origin().ascii_serialization();
            let message = format!(
                "{what} {origin}, which connection {name} does not allow; if it may, put it into `allow` of the connection"
            );
            return Err(Failed::fatal("http.denied", message));
        }
        let host = url.host_str().unwrap_or_default();
        match literal(host).map(|address| self.reach.check(host, address)) {
            Some(Err(refused)) => Err(Failed::fatal("http.denied", refused.to_string())),
            _ => Ok(()),
        }
    }

    async fn follow(&self, name: &str, mut request: Prepared) -> Result<Answer, Failed> {
        let client = self.client()?;
        let (mut hops, mut renewed) = (0, false);
        loop {
            self.check(name, &request.url, hops > 0)?;
            let mut headers = request.headers.clone();
            let ours = request.url.origin() == self.base.origin();
            if let Some(auth) = self.auth.as_ref().filter(|_| ours) {
                auth.add(client, &mut headers).await?;
            }
            let mut sent =
                client.request(request.method.clone(), request.url.clone()).headers(headers.clone());
            if let Some(body) = &request.body {
                sent = sent.body(body.clone());
            }
            let mut response = sent.send().await.map_err(|error| Failed::sending(&request.url, &error))?;
            if response.status() == StatusCode::UNAUTHORIZED
                && ours
                && !renewed
                && let Some(auth) = &self.auth
                && auth.refused(&headers).await
            {
                renewed = true;
                continue;
            }
            let may_follow = self.limits.redirects > 0 && keeps_method(&request.method, response.status());
            let next = if may_follow { redirect(&request.url, &response) } else { None };
            let Some(next) = next else {
                let body = body(&mut response, &request.url, request.response_bytes).await?;
                let answer = answer(&response, body, &request.url);
                let sent = self.auth.as_ref().filter(|_| ours).and_then(|auth| headers.get(auth.header()));
                return Ok(match sent {
                    Some(sent) if !response.status().is_success() => concealed(answer, &auth::secrets(sent)),
                    _ => answer,
                });
            };
            hops += 1;
            if hops > self.limits.redirects {
                let place = allow::shown(&request.url);
                let message = format!(
                    "{place}: more than {} redirects; raise `redirects` of the connection",
                    self.limits.redirects
                );
                return Err(Failed::fatal("http.redirects", message));
            }
            self.redirected(&mut request, next);
        }
    }

    /// Makes a request the one that a redirect asks for.
    fn redirected(&self, request: &mut Prepared, next: Url) {
        if request.url.origin() != next.origin() {
            for name in CONFIDENTIAL.iter().chain(self.auth.as_ref().map(Auth::header)) {
                request.headers.remove(name);
            }
        }
        request.url = next;
    }

    fn client(&self) -> Result<&Client, Failed> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let built = self.build().map_err(|why| Failed::fatal("http.client", why))?;
        Ok(self.client.get_or_init(|| built))
    }

    fn build(&self) -> Result<Client, String> {
        let resolver = Resolver(Arc::clone(&self.reach));
        built(builder(&self.roots, self.limits.connect_timeout)?.dns_resolver(resolver))
    }
}

/// A client that does as it is told and no more: who calls follows redirects, repeats, and decides where it may go.
pub(crate) fn builder(
    roots: &[CertificateDer<'static>],
    connect_timeout: Duration,
) -> Result<ClientBuilder, String> {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls::client(roots)?)
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        // Addresses are checked here; a proxy would look them up by itself.
        .no_proxy()
        .referer(false)
        .retry(reqwest::retry::never())
        .connect_timeout(connect_timeout)
        .pool_max_idle_per_host(IDLE_SOCKETS_MAX)
        .pool_idle_timeout(IDLE_SOCKET_LIFE);
    Ok(builder)
}

pub(crate) fn built(builder: ClientBuilder) -> Result<Client, String> {
    builder.build().map_err(|error| format!("the HTTP client does not start: {error}"))
}

/// What is behind an error, the deepest last.
pub(crate) fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |inner: &&(dyn Error + 'static)| (*inner).source())
}

/// The deepest, in words.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| "no reason given".to_owned(), ToString::to_string)
}

/// Whether a redirect asks for the same again elsewhere. The others, of requests that change something, would be asked for with GET and without their body
/// (Fetch standard, 4.4): whoever sent it would take an answer to that for one to the request.
fn keeps_method(method: &Method, status: StatusCode) -> bool {
    match status {
        StatusCode::SEE_OTHER => matches!(*method, Method::GET | Method::HEAD),
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method != Method::POST,
        _ => true,
    }
}

/// Where a response leads instead, if it does.
fn redirect(from: &Url, response: &Response) -> Option<Url> {
    let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let to = response.headers().get(header::LOCATION).filter(|_| redirects)?.to_str().ok()?;
    let mut next = from.join(to).ok()?;
    if next.fragment().is_none() {
        next.set_fragment(from.fragment());
    }
    Some(next)
}

/// A response's body, read only as far as it may go.
pub(super) async fn body(response: &mut Response, url: &Url, most: usize) -> Result<Vec<u8>, Failed> {
    let too_large = || {
        let place = allow::shown(url);
        let message = format!(
            "{place}: a response of more than {most} bytes; ask for less at once, or raise `response_max` of the connection"
        );
        Failed::fatal("http.response-size", message)
    };
    if response.content_length().is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failed::sending(url, &error))? {
        if body.len() + chunk.len() > most {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn answer(response: &Response, body: Vec<u8>, url: &Url) -> Answer {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().iter().filter_map(text).collect(),
        body,
        url: url.to_string(),
    }
}

/// An answer to what was refused, without credentials that the server repeats: guests tell people what it says.
fn concealed(answer: Answer, secrets: &[String]) -> Answer {
    let conceal =
        |text: String| secrets.iter().fold(text, |text, secret| text.replace(secret.as_str(), HIDDEN));
    let headers = answer.headers.into_iter().map(|(name, value)| (name, conceal(value))).collect();
    let body = match String::from_utf8(answer.body) {
        Ok(text) => conceal(text).into_bytes(),
        Err(bytes) => conceal(String::from_utf8_lossy(bytes.as_bytes()).into_owned()).into_bytes(),
    };
    Answer { headers, body, ..answer }
}

/// A guest's word for a message.
fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}
