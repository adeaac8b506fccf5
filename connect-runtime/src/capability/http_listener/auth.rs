//! Who may send: a secret in a header, or a signature over the body. Comparisons take the same time wherever they fail.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use hyper::header::HeaderMap;
use sha2::{Digest, Sha256, Sha512};

/// Longest header with signatures, and most signatures in it.
const SIGNATURES_MAX: usize = 16;

/// What a sender has to show.
#[derive(Clone)]
pub(super) enum Auth {
    /// A header with this value; the value's hash is kept.
    Header {
        /// In lower case.
        name: String,
        sha256: [u8; 32],
        /// What to ask for, in the words of RFC 9110.
        challenge: Option<&'static str>,
    },
    Hmac(Signature),
}

/// A signature over the body.
#[derive(Clone)]
pub(super) struct Signature {
    /// In lower case.
    pub(super) header: String,
    pub(super) secret: Vec<u8>,
    pub(super) algorithm: Algorithm,
    pub(super) encoding: Encoding,
    pub(super) prefix: String,
    pub(super) signed: Vec<Part>,
    /// Header with the time of sending, in lower case, and how far it may be off.
    pub(super) timestamp: Option<(String, Duration)>,
}

/// The hash.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Algorithm {
    Sha256,
    Sha512,
}

/// How bytes are written.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    Hex,
    Base64,
}

/// Of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    /// In lower case.
    Header(String),
    Body,
}

/// Why somebody may not send. Says nothing of what would have been right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("credentials are missing, or not the right ones")]
    Header(Option<&'static str>),
    #[error("the signature is missing, or not the right one")]
    Signature,
    #[error("the time of sending is missing, or too far from now")]
    Time,
}

impl Refused {
    pub(super) fn challenge(self) -> Option<&'static str> {
        if let Self::Header(challenge) = self { challenge } else { None }
    }
}

impl Auth {
    /// A header with this value.
    pub(super) fn header_value(name: &str, value: &str, challenge: Option<&'static str>) -> Self {
        Self::Header { name: name.to_ascii_lowercase(), sha256: Sha256::digest(value).into(), challenge }
    }

    /// Header that holds the credential, in lower case.
    pub(super) fn header(&self) -> &str {
        match self {
            Self::Header { name, .. } => name,
            Self::Hmac(signature) => &signature.header,
        }
    }
}

/// What can be said before the body is read.
pub(super) fn before_body(auth: Option<&Auth>, headers: &HeaderMap) -> Result<(), Refused> {
    match auth {
        Some(Auth::Header { name, sha256, challenge }) => {
            let given = headers.get(name).map(|value| <[u8; 32]>::from(Sha256::digest(value.as_bytes())));
            // Hashes tell nothing of where the values differ.
            if given == Some(*sha256) { Ok(()) } else { Err(Refused::Header(*challenge)) }
        }
        Some(Auth::Hmac(signature)) if !headers.contains_key(&signature.header) => Err(Refused::Signature),
        _ => Ok(()),
    }
}

/// The rest. `now` is the time since 1970.
pub(super) fn with_body(
    auth: Option<&Auth>,
    headers: &HeaderMap,
    body: &[u8],
    now: Duration,
) -> Result<(), Refused> {
    let Some(Auth::Hmac(signature)) = auth else { return Ok(()) };
    if let Some((name, tolerance)) = &signature.timestamp {
        let sent = headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        let sent = Duration::from_secs(sent.ok_or(Refused::Time)?);
        if sent.abs_diff(now) > *tolerance {
            return Err(Refused::Time);
        }
    }
    let given = headers.get(&signature.header).and_then(|value| value.to_str().ok());
    let given = given.ok_or(Refused::Signature)?;
    let right = match signature.algorithm {
        Algorithm::Sha256 => signature.verifies::<Hmac<Sha256>>(given, headers, body),
        Algorithm::Sha512 => signature.verifies::<Hmac<Sha512>>(given, headers, body),
    };
    if right { Ok(()) } else { Err(Refused::Signature) }
}

impl Signature {
    fn verifies<M: Mac + KeyInit + Clone>(&self, given: &str, headers: &HeaderMap, body: &[u8]) -> bool {
        let Ok(mut mac) = <M as KeyInit>::new_from_slice(&self.secret) else { return false };
        for part in &self.signed {
            match part {
                Part::Text(text) => mac.update(text.as_bytes()),
                Part::Header(name) => {
                    mac.update(headers.get(name).map(|value| value.as_bytes()).unwrap_or_default());
                }
                Part::Body => mac.update(body),
            }
        }
        given.split_ascii_whitespace().take(SIGNATURES_MAX).any(|one| {
            let bytes = one.strip_prefix(self.prefix.as_str()).and_then(|text| self.encoding.read(text));
            bytes.is_some_and(|bytes| mac.clone().verify_slice(&bytes).is_ok())
        })
    }
}

impl Encoding {
    fn read(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Base64 => STANDARD.decode(text).ok(),
            Self::Hex => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let pair = |pair: &[u8]| match pair {
                    [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
                    _ => None,
                };
                text.as_bytes().chunks(2).map(pair).collect()
            }
        }
    }
}

/// Parts of a text such as `v0:{x-slack-request-timestamp}:{body}`.
pub(super) fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            parts.push(Part::Text(rest[..open].to_owned()));
        }
        let inner = &rest[open + 1..];
        let close = inner.find('}').ok_or("a brace is not closed")?;
        parts.push(match &inner[..close] {
            "" => return Err("braces are empty".into()),
            "body" => Part::Body,
            name => Part::Header(name.to_ascii_lowercase()),
        });
        rest = &inner[close + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    if parts.contains(&Part::Body) { Ok(parts) } else { Err("the body is not signed".into()) }
}
