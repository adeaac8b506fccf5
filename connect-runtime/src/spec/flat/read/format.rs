//! How keys and values stand in the topic, by the names of Kafka Connect's and Confluent's converters: `key.converter`,
//! `value.converter` and what begins with either.

use std::sync::Arc;

use millrace_schema::Kind;
use serde_json::Map;

use super::Reader;
use crate::connection::{Connection, Fault, Surroundings};
use crate::convert::TYPED;
use crate::convert::registry::KIND;
use crate::plan::{ComponentRef, Decimals, Format, Formats, RegisteredFormat};
use crate::spec::Role;
use crate::spec::deployment::RegistrySpec;
use crate::spec::flat::keys::{self, CONVERTERS};
use crate::spec::names::nearest;
use crate::spec::read::one_of;

/// What a class is to us.
#[derive(Clone, Copy, Debug)]
enum Converter {
    Json,
    String,
    Bytes,
    Registered(Kind),
}

impl Converter {
    /// By the class's name, with or without its package.
    fn named(text: &str) -> Option<Self> {
        let simple = |class: &str| class.rsplit('.').next() == Some(text);
        let class = CONVERTERS.iter().find(|class| **class == text || simple(class))?;
        Some(match *class {
            keys::JSON_CONVERTER => Self::Json,
            keys::STRING_CONVERTER => Self::String,
            keys::AVRO_CONVERTER => Self::Registered(Kind::Avro),
            keys::PROTOBUF_CONVERTER => Self::Registered(Kind::Protobuf),
            keys::JSON_SCHEMA_CONVERTER => Self::Registered(Kind::Json),
            _ => Self::Bytes,
        })
    }

    /// The settings that it has.
    fn has(self, setting: &str) -> bool {
        match (self, setting) {
            (Self::Json, keys::SCHEMAS_ENABLE | keys::DECIMALS)
            | (Self::String, keys::ENCODING)
            | (Self::Registered(Kind::Avro), keys::DECIMALS)
            | (Self::Registered(Kind::Protobuf), keys::MESSAGE)
            | (Self::Registered(Kind::Json), keys::VALIDATE) => true,
            (Self::Registered(_), setting) => REGISTERED.contains(&setting),
            _ => false,
        }
    }
}

/// The settings of all converters with a schema registry.
const REGISTERED: &[&str] = &[
    keys::REGISTRY_URL,
    keys::REGISTRY_CONNECTION,
    keys::AUTH_SOURCE,
    keys::USER_INFO,
    keys::AUTO_REGISTER,
    keys::USE_LATEST,
    keys::KEY_STRATEGY,
    keys::VALUE_STRATEGY,
    keys::SCHEMA,
    keys::SUBJECT,
];

impl Reader<'_> {
    pub(super) fn formats(&mut self, role: Role, component: Option<&ComponentRef>) -> Formats<RegistrySpec> {
        let described =
            component.and_then(|component| self.catalog.descriptions.get(component)?.as_ref().ok());
        let typed = |formats: &[String]| formats.iter().any(|format| format == TYPED);
        let (key, value) =
            described.map_or((false, false), |said| (typed(&said.key_formats), typed(&said.value_formats)));
        let mut side = |key, typed| self.format(key, role, typed).unwrap_or_default();
        Formats { key: side(keys::KEY_CONVERTER, key), value: side(keys::VALUE_CONVERTER, value) }
    }

    /// `typed`: the connector gives types, or takes them.
    fn format(&mut self, key: &'static str, role: Role, typed: bool) -> Option<Format<RegistrySpec>> {
        let prefix = format!("{key}.");
        let own: Vec<String> = self.config.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
        self.taken.extend(own.iter().cloned());
        let Some(class) = self.text(key).filter(|class| !class.is_empty()) else {
            if let Some(stray) = own.first() {
                self.problem(stray, format!("it is a setting of `{key}`, which is not there"));
            }
            return None;
        };
        let Some(converter) = Converter::named(&class) else {
            let problem = self.at(key, "no such converter").expected(one_of(CONVERTERS));
            self.push(problem.suggest(nearest(&class, CONVERTERS.iter().copied())));
            return None;
        };
        for name in &own {
            let setting = &name[prefix.len()..];
            if !converter.has(setting) {
                let known = REGISTERED.iter().copied().filter(|known| converter.has(known));
                let problem = self.at(name, format!("this converter has no setting `{setting}`"));
                self.push(problem.suggest(nearest(setting, known)).help("docs/FORMATS.md has them all"));
            }
        }
        match converter {
            Converter::Json => self.json(key, role, typed),
            Converter::String => {
                let name = format!("{key}.{}", keys::ENCODING);
                let encoding = self.text(&name).unwrap_or_default();
                if !["", "utf-8", "utf8"].contains(&encoding.to_lowercase().as_str()) {
                    let problem = self.at(&name, "no such encoding").expected("`UTF-8`");
                    self.push(problem);
                }
                Some(Format::String)
            }
            Converter::Bytes => Some(Format::Bytes),
            Converter::Registered(kind) => self.registered(key, kind, role, typed).map(Format::Registered),
        }
    }

    /// With Kafka Connect's default: a schema beside each value.
    fn json(&mut self, key: &str, role: Role, typed: bool) -> Option<Format<RegistrySpec>> {
        let name = format!("{key}.{}", keys::SCHEMAS_ENABLE);
        let decimals = self.decimals(key);
        if !self.boolean(&name).unwrap_or(true) {
            return Some(Format::Json);
        }
        if role == Role::Source && !typed {
            let problem = self.at(key, "this source writes JSON without schemas beside it");
            self.push(
                problem.help(format!("add `{name}` = `false`, or take a converter with a schema registry")),
            );
            return None;
        }
        Some(Format::Envelope { decimals })
    }

    fn decimals(&mut self, key: &str) -> Decimals {
        let name = format!("{key}.{}", keys::DECIMALS);
        match self.text(&name).as_deref() {
            None | Some("text") => Decimals::Text,
            Some("numbers") => Decimals::Numbers,
            Some(_) => {
                let problem = self.at(&name, "no such form of decimals").expected("one of text, numbers");
                self.push(problem);
                Decimals::default()
            }
        }
    }

    fn registered(
        &mut self,
        key: &str,
        kind: Kind,
        role: Role,
        typed: bool,
    ) -> Option<RegisteredFormat<RegistrySpec>> {
        let name = |setting: &str| format!("{key}.{setting}");
        let registry = self.registry(key);
        let register = self.boolean(&name(keys::AUTO_REGISTER)).unwrap_or(true);
        let declared = self.text(&name(keys::SCHEMA)).filter(|text| !text.is_empty());
        let latest = name(keys::USE_LATEST);
        let is_latest = self.boolean(&latest);
        match (is_latest, role, &declared) {
            (Some(true), Role::Source, Some(_)) => {
                self.problem(&latest, "the schema is there, so that the subject's latest one has no use");
            }
            (Some(false), Role::Source, None) if !typed => {
                let problem = self.at(&latest, "no schema to write with");
                self.push(problem.help(format!("give one as `{}`", name(keys::SCHEMA))));
            }
            _ => {}
        }
        for strategy in [keys::KEY_STRATEGY, keys::VALUE_STRATEGY] {
            let strategy = name(strategy);
            if self.text(&strategy).is_some_and(|class| class != keys::TOPIC_NAME_STRATEGY) {
                let problem = self
                    .at(&strategy, "no such strategy")
                    .expected(format!("`{}`", keys::TOPIC_NAME_STRATEGY));
                self.push(problem.help(format!("`{}` names a subject", name(keys::SUBJECT))));
            }
        }
        // A sink reads each record with the schema that it was written with.
        let is_source = role == Role::Source;
        if !is_source
            && let Some(setting) = [keys::SCHEMA, keys::MESSAGE]
                .into_iter()
                .find(|setting| self.config.contains_key(&name(setting)))
        {
            self.problem(&name(setting), "a sink reads each record with the schema that it was written with");
        }
        Some(RegisteredFormat {
            kind,
            registry: registry?,
            subject: self.text(&name(keys::SUBJECT)).filter(|text| !text.is_empty()),
            declared: declared.filter(|_| is_source),
            latest: is_source && is_latest == Some(true),
            register: register || !is_source,
            message: self.text(&name(keys::MESSAGE)).filter(|text| is_source && !text.is_empty()),
            decimals: if kind == Kind::Avro { self.decimals(key) } else { Decimals::default() },
            validate: self.boolean(&name(keys::VALIDATE)).unwrap_or(true),
        })
    }

    /// A connection by its name; or one that only this converter has, of Confluent's settings.
    fn registry(&mut self, key: &str) -> Option<RegistrySpec> {
        let name = |setting: &str| format!("{key}.{setting}");
        let (url_key, connection) = (name(keys::REGISTRY_URL), name(keys::REGISTRY_CONNECTION));
        if self.config.contains_key(&connection) {
            for other in [keys::REGISTRY_URL, keys::AUTH_SOURCE, keys::USER_INFO].map(name) {
                if self.config.contains_key(&other) {
                    self.problem(
                        &other,
                        format!("`{connection}` names the connection, which has that itself"),
                    );
                }
            }
            let text = self.text(&connection)?;
            let referenced = self.referenced.iter().any(|known| known.key == connection);
            return Some(RegistrySpec::Named { name: text, span: self.span(&connection), referenced });
        }
        let Some(url) = self.text(&url_key) else {
            if !self.config.contains_key(&url_key) {
                let problem = self.at(key, "this converter needs a schema registry");
                self.push(problem.help(format!("add `{url_key}`, or a connection's name as `{connection}`")));
            }
            return None;
        };
        let mut settings = Map::from_iter([("url".to_owned(), url.into())]);
        if let Some((username, password)) = self.credentials(key) {
            settings
                .extend([("username".to_owned(), username.into()), ("password".to_owned(), password.into())]);
        }
        let around = Surroundings { folder: &self.folder, env: self.env };
        let kind = crate::connection::kind(KIND)?;
        match Connection::open(key, kind, settings, &around) {
            Ok(connection) => Some(RegistrySpec::Given(Arc::new(connection))),
            Err(faults) => {
                for Fault { pointer, message, expected } in faults {
                    let at = if pointer == "/url" { &url_key } else { &name(keys::USER_INFO) };
                    let problem = self.at(at, format!("`{}` {message}", pointer.trim_start_matches('/')));
                    self.push(problem.expected(expected));
                }
                None
            }
        }
    }

    fn credentials(&mut self, key: &str) -> Option<(String, String)> {
        let (source, info) = (format!("{key}.{}", keys::AUTH_SOURCE), format!("{key}.{}", keys::USER_INFO));
        if self.text(&source).is_some_and(|text| text != keys::AUTH_USER_INFO) {
            let problem = self.at(&source, "no such source of credentials");
            self.push(problem.expected(format!("`{}`", keys::AUTH_USER_INFO)));
        }
        let text = self.text(&info).filter(|text| !text.is_empty())?;
        let pair = text.split_once(':');
        if pair.is_none() {
            let problem = self.at(&info, "no user and password").expected("`user:password`");
            self.push(problem);
        }
        let (username, password) = pair?;
        Some((username.to_owned(), password.to_owned()))
    }
}
