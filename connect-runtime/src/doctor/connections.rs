//! Connections that components are granted, and those of formats: whether they are reached, and whether clocks agree.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Finding, guests};
use crate::capability::{http, http_listener, object_store, postgres, sockets};
use crate::connection::{Connection, Target};
use crate::convert::registry;
use crate::plan::{Format, Plan};

/// Longest that one connection is waited for.
const LIMIT: Duration = Duration::from_secs(15);
/// Clocks that differ by more confuse timestamps, tokens and signatures.
const SKEW_MAX: Duration = Duration::from_secs(30);

/// What was seen of a connection that is reached.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// In words.
    pub(crate) said: String,
    /// What is not as it should be all the same, and what to do about it.
    pub(crate) but: Option<(String, String)>,
    /// What the other side takes for the time.
    pub(crate) clock: Option<SystemTime>,
}

/// Why a connection is not reached, and what to do about it.
#[derive(Debug)]
pub(crate) struct Unreached {
    pub(crate) said: String,
    pub(crate) mend: String,
}

/// Each connection once, all at the same time.
pub(super) async fn look(plan: &Plan, served: Option<&str>) -> Vec<Finding> {
    let granted = guests(plan).into_iter().flat_map(|guest| guest.grants.connections.values());
    let by_name: BTreeMap<&str, &Arc<Connection>> =
        granted.chain(registries(plan)).map(|connection| (connection.name(), connection)).collect();
    let mut looks = tokio::task::JoinSet::new();
    for (at, connection) in by_name.into_values().cloned().enumerate() {
        let is_served = served.is_some_and(|listener| registry::is_at(&connection, listener));
        looks.spawn(async move { (at, one(&connection, is_served).await) });
    }
    let mut findings: Vec<_> = looks.join_all().await;
    findings.sort_unstable_by_key(|(at, _)| *at);
    findings.into_iter().flat_map(|(_, found)| found).collect()
}

/// What the host itself asks for schemas.
fn registries(plan: &Plan) -> impl Iterator<Item = &Arc<Connection>> {
    let formats = plan.pipelines.iter().flat_map(|pipeline| {
        let source = pipeline.source.iter().map(|source| &source.formats);
        source.chain(pipeline.sinks.iter().map(|sink| &sink.formats))
    });
    formats.flat_map(|formats| [&formats.key, &formats.value]).filter_map(|format| match format {
        Format::Registered(of) => Some(&of.registry),
        _ => None,
    })
}

async fn one(connection: &Arc<Connection>, is_served: bool) -> Vec<Finding> {
    let subject = subject(connection.name());
    if is_served {
        return vec![Finding::ok(subject, "the schema registry that runs beside the broker")];
    }
    let checked = tokio::time::timeout(LIMIT, check(connection)).await;
    let before = SystemTime::now();
    let reached = match checked {
        Ok(Ok(reached)) => reached,
        Ok(Err(Unreached { said, mend })) => return vec![Finding::failed(subject, said, mend)],
        Err(_) => {
            let said = format!("no answer within {LIMIT:?}");
            return vec![Finding::failed(subject, said, "look at the network between here and there")];
        }
    };
    let skew = reached.clock.and_then(|clock| skew(before, clock));
    let mut findings = vec![match reached.but {
        None => Finding::ok(subject.as_str(), reached.said),
        Some((said, mend)) => Finding::warning(subject.as_str(), said, mend),
    }];
    findings.extend(skew.map(|skew| {
        let said = format!("clocks are {} s apart", skew.as_secs());
        Finding::warning(subject, said, "set the clock here, or there; let both follow a time server")
    }));
    findings
}

/// What findings about a connection are about.
pub(super) fn subject(name: &str) -> String {
    format!("connection {name}")
}

/// Tries a connection.
async fn check(connection: &Arc<Connection>) -> Result<Reached, Unreached> {
    match connection.target() {
        Target::Http(target) => http::check(connection.name(), target).await,
        Target::HttpListener(target) => http_listener::check(target).await,
        Target::Postgres(target) => postgres::check(target).await,
        Target::S3(target) => object_store::check(target).await,
        Target::Tcp(target) => sockets::check(target).await,
        Target::SchemaRegistry(_) => registry::check(connection).await,
    }
}

/// How far two clocks are apart, if that is too far. A second either way is how dates are written.
fn skew(here: SystemTime, there: SystemTime) -> Option<Duration> {
    let apart = here.duration_since(there).unwrap_or_else(|error| error.duration());
    (apart > SKEW_MAX).then_some(apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_a_little_either_way() {
        let now = SystemTime::now();
        let (little, much) = (Duration::from_secs(29), Duration::from_secs(300));
        for there in [now, now - little, now + little] {
            assert_eq!(skew(now, there), None);
        }
        for there in [now - much, now + much] {
            assert_eq!(skew(now, there), Some(much));
        }
    }
}
