//! What connectors say of what they work with: each looks for itself, with all that its pipeline grants it.
//!
//! A connector that fails to look costs a finding of its own and nothing else: it is called in an instance of its own, within limits, and
//! what it says is cut to size, without control characters and without its secrets.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::{Finding, Health, connections};
use crate::component::{CallError, Component, ComponentHost, Diagnosed, DiagnosedHealth};
use crate::plan::schema::noted;
use crate::plan::{Grants, GuestPlan, Limits, Plan};

/// Longest that one connector may look, whatever its `limits.call_timeout`.
const LIMIT: Duration = Duration::from_secs(60);
/// What it is waited for beyond that: a file that doesn't answer holds a call past its limit.
const GRACE: Duration = Duration::from_secs(5);
/// Connectors that look at the same time: each may have a session with the same server.
const AT_ONCE_MAX: usize = 8;
/// The beginning of a secret that gives something away.
const PART_BYTES_MIN: usize = 4;
/// In the place of a secret.
const HIDDEN: &str = "[hidden]";

/// A connector that is to look.
struct Look<'p> {
    name: &'p str,
    guest: &'p GuestPlan,
    topic: &'p str,
}

/// Sources and sinks in the order of the plan. Those that would look at a connection that is `lost` are left out: that was told.
pub(super) async fn look(plan: &Plan, host: &ComponentHost, lost: &BTreeSet<String>) -> Vec<Finding> {
    let is_lost = |name: &String| lost.contains(&connections::subject(name));
    let mut looks = Vec::new();
    for pipeline in &plan.pipelines {
        let topic = pipeline.topic.name.as_str();
        let source = pipeline.source.iter().map(|source| (&source.name, &source.guest));
        let sinks = pipeline.sinks.iter().map(|sink| (&sink.name, &sink.guest));
        let able = source.chain(sinks).filter(|(_, guest)| !guest.grants.connections.keys().any(is_lost));
        looks.extend(able.map(|(name, guest)| Look { name, guest, topic }));
    }
    let mut findings = Vec::new();
    for some in looks.chunks(AT_ONCE_MAX) {
        let begun: Vec<_> = some.iter().map(|look| look.begin(host)).collect();
        let until = tokio::time::Instant::now() + LIMIT + GRACE;
        for (look, begun) in some.iter().zip(begun) {
            findings.extend(match tokio::time::timeout_at(until, begun).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => vec![look.unable(&error.to_string())],
                Err(_) => vec![look.unable("it does not come back from a file or folder")],
            });
        }
    }
    findings
}

impl Look<'_> {
    fn begin(&self, host: &ComponentHost) -> JoinHandle<Vec<Finding>> {
        let (host, name, guest) = (host.clone(), self.name.to_owned(), self.guest.clone());
        let topics = vec![self.topic.to_owned()];
        tokio::spawn(async move { one(&host, &name, &guest, &topics).await })
    }

    /// That it could not be asked stands in nobody's way.
    fn unable(&self, why: &str) -> Finding {
        unable(self.name, why)
    }
}

fn unable(name: &str, why: &str) -> Finding {
    let mend = "look at what it works with yourself, and tell whoever made the connector";
    Finding::warning(name, format!("can't say how things are: {why}"), mend)
}

async fn one(host: &ComponentHost, name: &str, guest: &GuestPlan, topics: &[String]) -> Vec<Finding> {
    // One that can't be loaded was told already.
    let Ok(component) = host.load(&guest.component).await else { return Vec::new() };
    let config = Value::Object(guest.settings.clone()).to_string();
    let limits = Limits { call_timeout: guest.limits.call_timeout.min(LIMIT), ..guest.limits };
    let secrets = secrets(&component, guest);
    let conceal = |text: String| concealed(&text, &secrets);
    let looked = component.diagnose(&config, topics, &there(&guest.grants), limits, conceal).await;
    let mut findings: Vec<Finding> = match looked {
        Ok(found) => found.into_iter().flatten().map(|found| finding(name, found)).collect(),
        // It does not understand its settings, which was told when they were checked.
        Err(CallError::Fatal { failure, .. }) if failure.code == "settings" => Vec::new(),
        Err(CallError::Fatal { failure, .. }) => {
            let mend = "mend what it says, and look again";
            vec![Finding::failed(name, format!("{} ({})", failure.message, failure.code), mend)]
        }
        Err(CallError::Retriable { failure, .. }) => {
            let mend = "look again; if it stays, mend what it says";
            vec![Finding::warning(name, format!("{} ({})", failure.message, failure.code), mend)]
        }
        Err(error) => vec![unable(name, &error.to_string())],
    };
    // What a connector says instead of findings was cut before, and the worst of that is a part of a secret at its end.
    for finding in &mut findings {
        for text in
            [Some(&mut finding.subject), Some(&mut finding.said), finding.mend.as_mut()].into_iter().flatten()
        {
            *text = concealed(text, &secrets);
        }
    }
    findings
}

/// Folders that are to be made are not there to be looked at.
fn there(grants: &Grants) -> Grants {
    let files = grants.files.iter().filter(|grant| grant.host.is_dir()).cloned().collect();
    Grants { files, connections: grants.connections.clone() }
}

fn finding(name: &str, found: Diagnosed) -> Finding {
    let Diagnosed { subject, health, said, mend } = found;
    let health = match health {
        DiagnosedHealth::Ok => Health::Ok,
        DiagnosedHealth::Warning => Health::Warning,
        DiagnosedHealth::Failed => Health::Failed,
    };
    let mend = match health {
        _ if !mend.is_empty() => Some(mend),
        Health::Ok => None,
        Health::Warning | Health::Failed => Some("mend what it says, and look again".to_owned()),
    };
    Finding { subject: format!("{name}: {subject}"), health, said, mend }
}

/// What the settings have that nobody is to see. The longest ones first: one may be part of another.
fn secrets(component: &Component, guest: &GuestPlan) -> Vec<String> {
    let schema = serde_json::from_str(&component.describe().config_schema).unwrap_or(Value::Null);
    let values = noted(&schema, "x-secret").into_keys().filter_map(|name| guest.settings.get(name));
    let mut secrets: Vec<String> =
        values.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect();
    // What a connector says comes without line ends, and so does a key in it that has them.
    let tame: Vec<String> = secrets.iter().map(|secret| tamed(secret)).collect();
    secrets.extend(tame);
    secrets.retain(|secret| !secret.is_empty());
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

fn tamed(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A text without secrets, and without the beginning of one where it is cut off.
fn concealed(text: &str, secrets: &[String]) -> String {
    let mut text = secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN));
    if let Some(cut) = text.strip_suffix('…') {
        let is_part = |length: &usize| {
            secrets.iter().any(|secret| secret.is_char_boundary(*length) && cut.ends_with(&secret[..*length]))
        };
        let longest = secrets.iter().map(String::len).max().unwrap_or(0);
        if let Some(length) = (PART_BYTES_MIN..longest).rev().find(is_part) {
            text.truncate(cut.len() - length);
            text.push_str(HIDDEN);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use millrace_test_components::{hostile_sink, hostile_source};
    use serde_json::json;

    use super::*;
    use crate::component::{BundledComponent, HostConfig};
    use crate::plan::ComponentRef;

    fn host() -> ComponentHost {
        let bundled = [("sink", hostile_sink()), ("source", hostile_source())];
        let bundled = bundled.map(|(name, wasm)| BundledComponent { name, wasm }).to_vec();
        ComponentHost::new(HostConfig { bundled, ..HostConfig::default() }).unwrap()
    }

    fn guest(component: &str, settings: Value) -> GuestPlan {
        GuestPlan {
            component: ComponentRef::Bundled(component.to_owned()),
            settings: settings.as_object().unwrap().clone(),
            grants: Grants::default(),
            limits: Limits { memory_bytes_max: 64 << 20, call_timeout: Duration::from_secs(2) },
        }
    }

    #[tokio::test]
    async fn a_connector_that_fails_to_look_costs_a_finding_of_its_own() {
        let host = host();
        let topics = ["orders".to_owned()];
        for (diagnosis, health, said) in [
            ("trap", Health::Warning, "on purpose"),
            ("loop", Health::Warning, "was stopped after its time limit of 2s"),
            ("memory", Health::Warning, "trap in diagnose"),
            ("fatal", Health::Failed, "nobody lets it look (test.fatal)"),
            ("retriable", Health::Warning, "nobody answers (test.retriable)"),
            ("", Health::Ok, "orders"),
        ] {
            let guest = guest("sink", json!({ "do": "nothing", "diagnosis": diagnosis }));
            let found = one(&host, "p.s", &guest, &topics).await;
            let [only] = &found[..] else { panic!("{diagnosis}: {found:?}") };
            assert!(only.subject.starts_with("p.s") && only.said.contains(said), "{diagnosis}: {only:?}");
            assert_eq!((only.health, only.mend.is_some()), (health, health != Health::Ok), "{diagnosis}");
        }
    }

    #[tokio::test]
    async fn what_it_says_is_bounded_and_without_its_secrets() {
        let host = host();
        let flood = guest("sink", json!({ "do": "nothing", "diagnosis": "flood" }));
        let found = one(&host, "p.s", &flood, &[]).await;
        assert_eq!(found.len(), 100);
        let is_tame = |text: &str| text.len() < 5_000 && !text.contains(char::is_control);
        assert!(found.iter().all(|finding| is_tame(&finding.subject) && is_tame(&finding.said)));
        assert!(found.iter().all(|finding| finding.mend.as_deref().is_some_and(is_tame)));
        let settings = json!({ "do": "nothing", "diagnosis": "secret", "password": "hunter2" });
        let found = one(&host, "p.s", &guest("sink", settings), &[]).await;
        let hidden = [Finding::failed("p.s: door", "the password is [hidden]", "say [hidden]")];
        assert_eq!(found, hidden);
        let key = "-----BEGIN KEY-----\nhunter\r\n2\n-----END KEY-----\n";
        let settings = json!({ "do": "nothing", "diagnosis": "secret", "password": key });
        assert_eq!(one(&host, "p.s", &guest("sink", settings), &[]).await, hidden);
    }

    #[tokio::test]
    async fn a_connector_that_knows_nothing_of_it_is_not_asked() {
        let guest = guest("source", json!({ "do": "count" }));
        assert_eq!(one(&host(), "p.source", &guest, &[]).await, []);
    }
}
