//! Settings of a connection of kind `schema_registry` that fit their schema, made into a [`Target`].
//!
//! Each address is a connection of kind `http` of its own, which only the host uses: who wrote the address meant it, so it may be
//! private, and nothing else is reached, not by a redirect either.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};

use super::ANSWER_BYTES_MAX;
use crate::capability::http;
use crate::connection::{self, Fault, Surroundings};

/// Most addresses of one registry.
const URLS_MAX: usize = 16;
/// How long one question may take.
const TIMEOUT: &str = "15s";

/// A schema registry, at one of several addresses.
pub(crate) struct Target {
    nodes: Vec<Node>,
    /// The one that answered last.
    current: AtomicUsize,
}

/// One address.
pub(super) struct Node {
    pub(super) url: String,
    pub(super) http: http::Target,
}

impl Target {
    /// All addresses, the one that answered last first, each with its number.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (usize, &Node)> {
        let first = self.current.load(Ordering::Relaxed);
        let (before, from) = self.nodes.split_at(first.min(self.nodes.len()));
        from.iter().enumerate().map(move |(at, node)| (first + at, node)).chain(before.iter().enumerate())
    }

    pub(super) fn answered(&self, number: usize) {
        self.current.store(number, Ordering::Relaxed);
    }

    /// Its addresses, for messages.
    pub(super) fn url(&self) -> String {
        let urls: Vec<&str> = self.nodes.iter().map(|node| node.url.as_str()).collect();
        urls.join(",")
    }
}

/// See [`connection::Kind::open`].
pub(crate) fn open(
    settings: &Map<String, Value>,
    around: &Surroundings<'_>,
) -> Result<connection::Target, Vec<Fault>> {
    let text = |name: &str| settings.get(name).and_then(Value::as_str);
    let auth = match (text("username"), text("password")) {
        (Some(user), Some(password)) => Some(json!({ "basic": { "user": user, "password": password } })),
        (None, None) => None,
        (Some(_), None) => return Err(vec![Fault::new("/username", "has no `password`", "both, or none")]),
        (None, Some(_)) => return Err(vec![Fault::new("/password", "has no `username`", "both, or none")]),
    };
    let urls: Vec<&str> = text("url").unwrap_or_default().split(',').map(str::trim).collect();
    if urls.len() > URLS_MAX {
        let expected = format!("at most {URLS_MAX}");
        return Err(vec![Fault::new("/url", "has too many addresses", &expected)]);
    }
    let mut nodes = Vec::new();
    for url in urls {
        let mut of_http = json!({
            "url": url,
            "private": true,
            "redirects": 0,
            "response_max": format!("{ANSWER_BYTES_MAX}B"),
            "timeout": text("timeout").unwrap_or(TIMEOUT),
        });
        if let Some(auth) = &auth {
            of_http["auth"] = auth.clone();
        }
        if let Some(ca) = text("ca") {
            of_http["ca"] = ca.into();
        }
        let Value::Object(of_http) = of_http else { continue };
        let http = http::target(&of_http, around)
            .map_err(|faults| faults.into_iter().map(ours).collect::<Vec<_>>())?;
        nodes.push(Node { url: url.trim_end_matches('/').to_owned(), http });
    }
    Ok(connection::Target::SchemaRegistry(Target { nodes, current: AtomicUsize::new(0) }))
}

/// What is wrong with a connection of kind `http`, by our names.
fn ours(fault: Fault) -> Fault {
    let pointer = match fault.pointer.as_str() {
        "/auth/basic/user" => "/username",
        "/auth" => "/password",
        known => known,
    };
    Fault { pointer: pointer.to_owned(), ..fault }
}
