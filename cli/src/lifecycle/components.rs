//! What connectors are made of, and how their upgrades go, as a worker tells it: the member `components` of each.

use serde_json::Value;

use super::difference::Altered;

/// How much of a digest people are shown: enough to tell two files apart.
const DIGEST_CHARS: usize = "sha256:".len() + 12;

/// Components whose files are others by now than what runs.
pub(super) fn replaced(told: &Value) -> Vec<Altered> {
    let replaced = each(told).filter(|component| component["file"].is_object());
    let altered = |component: &Value| Altered {
        key: format!("component {}", component["component"].as_str().unwrap_or_default()),
        from: Some(shown(component)),
        to: Some(shown(&component["file"])),
    };
    replaced.map(altered).collect()
}

/// A line for each component.
pub(super) fn lines(told: &Value) -> Vec<String> {
    let line = |component: &Value| {
        let name = component["component"].as_str().unwrap_or_default();
        let file = &component["file"];
        let other =
            if file.is_object() { format!("; its file is now {}", shown(file)) } else { String::new() };
        format!("component {name}: {}{other}", shown(component))
    };
    each(told).map(line).collect()
}

/// How the last upgrade goes; none: it is done, or there was none.
pub(super) fn upgrade(told: &Value) -> Option<String> {
    let upgrade = &told["upgrade"];
    match upgrade["state"].as_str()? {
        "ROLLED_BACK" => Some(format!(
            "rolled back from {} to {}: {}",
            all(&upgrade["to"]),
            all(&upgrade["from"]),
            upgrade["reason"].as_str().unwrap_or_default()
        )),
        state => Some(format!(
            "{}: {} instead of {}",
            state.to_lowercase(),
            all(&upgrade["to"]),
            all(&upgrade["from"])
        )),
    }
}

fn each(told: &Value) -> impl Iterator<Item = &Value> {
    told["components"].as_array().into_iter().flatten()
}

/// Version and digest.
fn shown(component: &Value) -> String {
    let text = |key: &str| component[key].as_str().unwrap_or_default();
    let digest = text("digest");
    let digest = digest.get(..DIGEST_CHARS).unwrap_or(digest);
    match text("version") {
        "" => digest.to_owned(),
        version => format!("{version} ({digest})"),
    }
}

/// Components by name, in one line.
fn all(builds: &Value) -> String {
    let named = |(name, build): (&String, &Value)| format!("{name} {}", shown(build));
    let all: Vec<String> = builds.as_object().into_iter().flatten().map(named).collect();
    if all.is_empty() { "nothing that could be loaded".to_owned() } else { all.join(", ") }
}
