//! THE table of paths.

use hyper::Method;
use serde::de::DeserializeOwned;

use super::answer::{Outcome, Problem};
use super::{Api, Ask, admin, components, connectors, offsets, plugins, tasks};
use crate::herder::ownership::TaskId;
use crate::herder::record::TargetState;

/// The answer to one request.
pub(super) async fn answer(api: &Api, ask: &Ask) -> Outcome {
    let path: Option<Vec<String>> = ask.path.trim_matches('/').split('/').map(decoded).collect();
    let path = path.ok_or_else(|| Problem::bad_request("the path is no UTF-8 text"))?;
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let is =
        |method: &Method| ask.method == *method || (*method == Method::GET && ask.method == Method::HEAD);
    let get = is(&Method::GET);
    let (put, post) = (is(&Method::PUT), is(&Method::POST));
    let (patch, delete) = (is(&Method::PATCH), is(&Method::DELETE));
    match path[..] {
        [""] if get => admin::root(api).await,
        ["health"] if get => admin::health(api).await,
        ["admin", "loggers"] if get => admin::loggers(api),
        ["admin", "loggers", logger] if get => admin::logger(api, logger),
        ["admin", "loggers", logger] if put => admin::set_logger(api, logger, ask).await,

        ["connector-plugins"] if get => plugins::list(api, ask).await,
        ["connector-plugins", plugin, "config"] if get => plugins::config(api, plugin).await,
        ["connector-plugins", plugin, "config", "validate"] if put => {
            plugins::validate(api, plugin, ask).await
        }

        ["connectors"] if get => connectors::list(api, ask).await,
        ["connectors"] if post => connectors::create(api, ask).await,
        ["connectors", name] if get => connectors::show(api, name).await,
        ["connectors", name] if delete => connectors::delete(api, name).await,
        ["connectors", name, "config"] if get => connectors::config(api, name),
        ["connectors", name, "config"] if put => connectors::put_config(api, name, ask).await,
        ["connectors", name, "config"] if patch => connectors::patch_config(api, name, ask).await,
        ["connectors", name, "status"] if get => connectors::status(api, name).await,
        ["connectors", name, "components"] if get => components::show(api, name).await,
        ["connectors", name, "pause"] if put => connectors::target(api, name, TargetState::Paused).await,
        ["connectors", name, "resume"] if put => connectors::target(api, name, TargetState::Started).await,
        ["connectors", name, "stop"] if put => connectors::target(api, name, TargetState::Stopped).await,
        ["connectors", name, "restart"] if post => connectors::restart(api, name, ask).await,
        ["connectors", name, "tasks"] if get => tasks::list(api, name),
        ["connectors", name, "tasks", task, "status"] if get => {
            tasks::status(api, &task_id(name, task)?).await
        }
        ["connectors", name, "tasks", task, "restart"] if post => {
            tasks::restart(api, task_id(name, task)?).await
        }
        ["connectors", name, "topics"] if get => tasks::topics(api, name),
        ["connectors", name, "topics", "reset"] if put => tasks::forget_topics(api, name),
        ["connectors", name, "offsets"] if get => offsets::show(api, name).await,
        ["connectors", name, "offsets"] if patch => offsets::alter(api, name, ask).await,
        ["connectors", name, "offsets"] if delete => offsets::reset(api, name).await,

        [""]
        | ["health" | "connectors" | "connector-plugins"]
        | ["admin", "loggers"]
        | ["admin", "loggers", _]
        | ["connectors", _]
        | [
            "connectors",
            _,
            "config" | "status" | "components" | "pause" | "resume" | "stop" | "restart" | "tasks" | "topics"
            | "offsets",
        ]
        | ["connectors", _, "topics", "reset"]
        | ["connectors", _, "tasks", _, "status" | "restart"]
        | ["connector-plugins", _, "config"]
        | ["connector-plugins", _, "config", "validate"] => Err(Problem::no_such_method()),
        _ => Err(Problem::no_such_path()),
    }
}

fn task_id(connector: &str, task: &str) -> Result<TaskId, Problem> {
    // Kafka Connect's framework says the same of what is no number.
    let task = task.parse().map_err(|_| Problem::no_such_path())?;
    Ok(TaskId { connector: connector.to_owned(), task })
}

/// A part of a path with `%xx` put back; none: it is no text.
fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

impl Ask {
    /// The values of a parameter of the query.
    pub(super) fn parameters(&self, name: &str) -> Vec<String> {
        let pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let plain = |value: &str| decoded(&value.replace('+', " "));
        pairs.filter(|(known, _)| *known == name).filter_map(|(_, value)| plain(value)).collect()
    }

    /// Whether a parameter of the query says so.
    pub(super) fn is_set(&self, name: &str, default: bool) -> bool {
        self.parameters(name).last().map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }

    /// The body as JSON of a known form.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if !self.is_json {
            return Err(Problem::not_json());
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            Problem::bad_request(format!("the request's body is not what is expected: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_paths() {
        for (part, text) in [
            ("a.b", Some("a.b")),
            ("a%20b%2Fc", Some("a b/c")),
            ("%", Some("%")),
            ("%ff", None),
            ("%4", Some("%4")),
        ] {
            assert_eq!(decoded(part).as_deref(), text, "{part}");
        }
    }
}
