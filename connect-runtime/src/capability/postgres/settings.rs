//! Settings of a connection of kind `postgres` that fit their schema, made into a [`Target`].

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::address::{Host, Url};
use super::connect::{Limits, Target};
use super::tls;
use crate::connection::settings::{Faults, bytes, certificates, read, time};
use crate::connection::{self, Fault, Surroundings};

/// Largest result.
const RESULT_BYTES_MAX: u64 = 64 << 20;

/// As `settings.schema.json` has it; the defaults are those that it names.
#[derive(Deserialize)]
struct Raw {
    url: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    password: Option<String>,
    tls: Option<tls::Mode>,
    ca: Option<String>,
    target: Option<Wanted>,
    connect_timeout: Option<String>,
    statement_timeout: Option<String>,
    application_name: Option<String>,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    sessions: Option<usize>,
    result_max: Option<String>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Any,
    Primary,
}

/// See [`connection::Kind::open`].
pub(crate) fn open(
    settings: &Map<String, Value>,
    around: &Surroundings<'_>,
) -> Result<connection::Target, Vec<Fault>> {
    let raw: Raw = read(settings, "postgres")?;
    let mut faults = Faults::default();
    let place = place(&raw, &mut faults);
    for (name, value) in &raw.parameters {
        if !is_parameter(name) || value.contains('\0') {
            let pointer = format!("/parameters/{}", name.replace('~', "~0").replace('/', "~1"));
            faults.push(&pointer, "is no setting of a server", "such as search_path");
        }
    }
    let texts = [&raw.database, &raw.user, &raw.password, &raw.application_name];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        faults.push("", "holds a zero byte", "text");
    }
    let limits = Limits {
        connect_timeout: time(raw.connect_timeout, "/connect_timeout", 10, &mut faults),
        statement_timeout: time(raw.statement_timeout, "/statement_timeout", 30, &mut faults),
        sessions: raw.sessions.unwrap_or(4),
        result_bytes: bytes(raw.result_max, "/result_max", 16 << 20, RESULT_BYTES_MAX, &mut faults),
    };
    let roots = raw.ca.map(|path| certificates(&path, around, &mut faults)).unwrap_or_default();
    match place {
        Some(Url { user: Some(user), hosts, database }) if faults.0.is_empty() => {
            let local = hosts.iter().all(Host::is_local);
            let tls = raw.tls.unwrap_or(if local { tls::Mode::Prefer } else { tls::Mode::VerifyFull });
            Ok(connection::Target::Postgres(Box::new(Target {
                database: database.unwrap_or_else(|| user.clone()),
                hosts,
                user,
                password: raw.password,
                tls,
                roots,
                primary: raw.target == Some(Wanted::Primary),
                application_name: raw.application_name.unwrap_or_else(|| "millrace".into()),
                parameters: raw.parameters,
                limits,
                client: std::sync::OnceLock::new(),
            })))
        }
        _ => Err(faults.0),
    }
}

/// Where the server is and as whom we come, from the URL or its parts; none: told in `faults`.
fn place(raw: &Raw, faults: &mut Faults) -> Option<Url> {
    let before = faults.0.len();
    let mut place = match (&raw.url, &raw.host) {
        (Some(text), _) => Url::parse(text).unwrap_or_else(|why| {
            faults.push("/url", &why, "such as postgres://user@db.example.com:5432/shop");
            Url::default()
        }),
        (None, Some(host)) => match Host::list(host, raw.port.unwrap_or(5432)) {
            Ok(hosts) => Url { hosts, ..Url::default() },
            Err(why) => {
                faults.push("/host", &why, "such as db.example.com or /var/run/postgresql");
                Url::default()
            }
        },
        (None, None) => {
            faults.push("", "says nowhere where the server is", "`url`, or `host`");
            return None;
        }
    };
    if raw.url.is_some() {
        let twice = [("/host", raw.host.is_some()), ("/port", raw.port.is_some())];
        let twice = twice.into_iter().chain([
            ("/database", raw.database.is_some() && place.database.is_some()),
            ("/user", raw.user.is_some() && place.user.is_some()),
        ]);
        for (pointer, _) in twice.filter(|(_, twice)| *twice) {
            faults.push(pointer, "is said by `url`, too", "one of them");
        }
    }
    place.database = place.database.or_else(|| raw.database.clone());
    place.user = place.user.or_else(|| raw.user.clone());
    if place.user.is_none() && faults.0.len() == before {
        faults.push("", "has no user", "`user`, or postgres://user@...");
    }
    (faults.0.len() == before).then_some(place)
}

/// `search_path`, `my.setting`.
fn is_parameter(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
}
