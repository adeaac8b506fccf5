//! The table of calls: method and path to what the registry does.

use hyper::{Method, Uri};
use millrace_schema::Kind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::query::{Query, segments};
use crate::error::Refused;
use crate::registry::{NewSchema, Registry, Which};

/// What a call answers with.
pub(super) enum Answer {
    /// JSON.
    Json(Value),
    /// A schema's own text.
    Raw(String),
}

fn json_of(value: impl Serialize) -> Result<Answer, Refused> {
    serde_json::to_value(value).map(Answer::Json).map_err(Refused::store)
}

pub(super) async fn answer(
    registry: &Registry,
    method: &Method,
    uri: &Uri,
    body: &[u8],
) -> Result<Answer, Refused> {
    let path = segments(uri.path())?;
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let query = Query::parse(uri.query())?;
    // HEAD is GET without its body, which hyper leaves out.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    match path.split_first() {
        None => only(method, &[Method::GET]).and_then(|()| json_of(json!({}))),
        Some((&"subjects", rest)) => subjects(registry, method, rest, &query, body).await,
        Some((&"schemas", rest)) => {
            only(method, &[Method::GET]).and_then(|()| schemas(registry, rest, &query))
        }
        Some((&"compatibility", ["subjects", subject, "versions", which @ ..])) if which.len() < 2 => {
            only(method, &[Method::POST])?;
            compatibility(registry, subject, which.first().copied(), &query, body).await
        }
        Some((&"config", rest)) if rest.len() < 2 => {
            config(registry, method, rest.first().copied(), &query, body).await
        }
        Some((&"mode", rest)) if rest.len() < 2 => {
            mode(registry, method, rest.first().copied(), &query, body).await
        }
        Some((&"contexts", [])) => only(method, &[Method::GET]).and_then(|()| json_of(registry.contexts())),
        Some((&"v1", ["metadata", what])) => only(method, &[Method::GET]).and_then(|()| metadata(what)),
        _ => Err(Refused::not_found()),
    }
}

async fn subjects(
    registry: &Registry,
    method: &Method,
    path: &[&str],
    query: &Query,
    body: &[u8],
) -> Result<Answer, Refused> {
    let (deleted, permanent, format) =
        (query.is_true("deleted"), query.is_true("permanent"), query.text("format"));
    match (path, method) {
        ([], &Method::GET) => {
            let prefix = query.text("subjectPrefix").unwrap_or_default();
            json_of(registry.subjects(prefix, deleted, query.is_true("deletedOnly")))
        }
        ([subject], &Method::POST) => {
            json_of(registry.look_up(subject, &parse::<NewSchema>(body)?, deleted, format).await?)
        }
        ([subject], &Method::DELETE) => json_of(registry.delete_subject(subject, permanent).await?),
        ([subject, "versions"], &Method::GET) => json_of(registry.versions(subject, deleted)?),
        ([subject, "versions"], &Method::POST) => {
            let id = registry.register(subject, &parse::<NewSchema>(body)?).await?;
            json_of(json!({ "id": id }))
        }
        ([subject, "versions", which], &Method::GET) => {
            json_of(registry.version(subject, Which::parse(which)?, deleted, format)?)
        }
        ([subject, "versions", which], &Method::DELETE) => {
            json_of(registry.delete_version(subject, Which::parse(which)?, permanent).await?)
        }
        ([subject, "versions", which, "schema"], &Method::GET) => {
            Ok(Answer::Raw(registry.version(subject, Which::parse(which)?, deleted, format)?.text.schema))
        }
        ([subject, "versions", which, "referencedby"], &Method::GET) => {
            json_of(registry.referenced_by(subject, Which::parse(which)?)?)
        }
        (
            [] | [_] | [_, "versions"] | [_, "versions", _] | [_, "versions", _, "schema" | "referencedby"],
            _,
        ) => Err(Refused::method()),
        _ => Err(Refused::not_found()),
    }
}

fn schemas(registry: &Registry, path: &[&str], query: &Query) -> Result<Answer, Refused> {
    let (subject, format, deleted) = (query.text("subject"), query.text("format"), query.is_true("deleted"));
    match path {
        [] => {
            let prefix = query.text("subjectPrefix").unwrap_or_default();
            let offset = query.number("offset")?.unwrap_or(0);
            json_of(registry.list(
                prefix,
                deleted,
                query.is_true("latestOnly"),
                offset,
                query.number("limit")?,
            ))
        }
        ["types"] => json_of(Kind::ALL.map(Kind::name)),
        ["ids", id] => {
            let mut answer = serde_json::to_value(registry.schema(number(id)?, subject, format)?)
                .map_err(Refused::store)?;
            if query.is_true("fetchMaxId") {
                answer["maxId"] = registry.max_id(subject).into();
            }
            Ok(Answer::Json(answer))
        }
        ["ids", id, "schema"] => Ok(Answer::Raw(registry.schema(number(id)?, subject, format)?.schema)),
        ["ids", id, "subjects"] => {
            let mut subjects: Vec<String> =
                registry.used(number(id)?, subject, deleted)?.into_iter().map(|(of, _)| of).collect();
            subjects.dedup();
            json_of(subjects)
        }
        ["ids", id, "versions"] => {
            let uses = registry.used(number(id)?, subject, deleted)?.into_iter();
            json_of(
                uses.map(|(subject, version)| json!({ "subject": subject, "version": version }))
                    .collect::<Vec<_>>(),
            )
        }
        _ => Err(Refused::not_found()),
    }
}

async fn compatibility(
    registry: &Registry,
    subject: &str,
    which: Option<&str>,
    query: &Query,
    body: &[u8],
) -> Result<Answer, Refused> {
    let which = which.map(Which::parse).transpose()?;
    let found = registry.compatibility(subject, &parse::<NewSchema>(body)?, which).await?;
    let mut answer = json!({ "is_compatible": found.is_empty() });
    if query.is_true("verbose") {
        answer["messages"] = found.into();
    }
    Ok(Answer::Json(answer))
}

async fn config(
    registry: &Registry,
    method: &Method,
    subject: Option<&str>,
    query: &Query,
    body: &[u8],
) -> Result<Answer, Refused> {
    match *method {
        Method::GET => {
            let level = registry.level(subject, query.is_true("defaultToGlobal"))?;
            json_of(json!({ "compatibilityLevel": level.name() }))
        }
        Method::PUT => {
            let level = setting(body, "compatibility")?.ok_or_else(Refused::invalid_level)?;
            let level = registry.set_level(subject, &level).await?;
            json_of(json!({ "compatibility": level.name() }))
        }
        Method::DELETE => {
            let level = registry.unset_level(subject).await?;
            json_of(json!({ "compatibilityLevel": level.name() }))
        }
        _ => Err(Refused::method()),
    }
}

async fn mode(
    registry: &Registry,
    method: &Method,
    subject: Option<&str>,
    query: &Query,
    body: &[u8],
) -> Result<Answer, Refused> {
    let mode = match *method {
        Method::GET => registry.mode(subject, query.is_true("defaultToGlobal"))?,
        Method::PUT => {
            let mode = setting(body, "mode")?.ok_or_else(Refused::invalid_mode)?;
            registry.set_mode(subject, &mode, query.is_true("force")).await?
        }
        Method::DELETE => registry.unset_mode(subject).await?,
        _ => return Err(Refused::method()),
    };
    json_of(json!({ "mode": mode.name() }))
}

fn metadata(what: &str) -> Result<Answer, Refused> {
    match what {
        "id" => json_of(json!({
            "id": "", "scope": { "path": [], "clusters": { "schema-registry-cluster": "schema-registry" } }
        })),
        "version" => json_of(json!({ "version": env!("CARGO_PKG_VERSION"), "commitId": "" })),
        _ => Err(Refused::not_found()),
    }
}

/// The one setting that is known of a body; others would be lost, so they are refused unless they are null.
fn setting(body: &[u8], name: &str) -> Result<Option<String>, Refused> {
    let fields: Map<String, Value> = parse(body)?;
    if let Some((other, _)) = fields.iter().find(|(field, value)| *field != name && !value.is_null()) {
        return Err(Refused::unsupported(&format!("the setting `{other}`")));
    }
    Ok(fields.get(name).and_then(Value::as_str).map(str::to_owned))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body)
        .map_err(|error| Refused::bad_request(format!("the body is not what was expected: {error}")))
}

/// An id of a schema.
fn number(text: &str) -> Result<u32, Refused> {
    text.parse().map_err(|_| Refused::not_found())
}

fn only(method: &Method, allowed: &[Method]) -> Result<(), Refused> {
    if allowed.contains(method) { Ok(()) } else { Err(Refused::method()) }
}
