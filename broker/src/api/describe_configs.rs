//! DescribeConfigs (key 32), versions 1 to 4. KIP-133, KIP-226, KIP-569.
//!
//! - Topics, brokers and groups; all settings, or the ones asked for, each with its value, where it comes from and, if asked,
//!   its synonyms from the strongest to the weakest, and one line of documentation.
//! - An unknown topic is UNKNOWN_TOPIC_OR_PARTITION; a broker is this one, with all its settings, or, with an empty
//!   name, what was changed for all brokers. A broker's loggers are settings too (KIP-412). A group
//!   need not be there (KIP-848). Other kinds of resource are INVALID_REQUEST.
//! - A resource that is named twice is answered once.
//! - Sensitive settings have no value.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::broker_loggers::{self, RESOURCE_BROKER_LOGGER};
use super::{RequestContext, reply};
use crate::config::group::GROUP_SETTINGS;
use crate::config::setting::{Kind, Setting};
use crate::config::topic::TOPIC_SETTINGS;
use crate::config::{BROKER_SETTINGS, Config, broker_setting, dynamic};
use crate::controller::record::{RESOURCE_BROKER, RESOURCE_GROUP, RESOURCE_TOPIC};
use crate::controller::topic_name;

/// Where a value comes from (`ConfigEntry.ConfigSource`).
const TOPIC_CONFIG: i8 = 1;
const DYNAMIC_BROKER_CONFIG: i8 = 2;
const DYNAMIC_DEFAULT_BROKER_CONFIG: i8 = 3;
const STATIC_BROKER_CONFIG: i8 = 4;
const DEFAULT_CONFIG: i8 = 5;
const DYNAMIC_BROKER_LOGGER_CONFIG: i8 = 6;
const GROUP_CONFIG: i8 = 8;

/// A setting with the value that holds.
pub(super) struct Described {
    pub(super) name: StrBytes,
    pub(super) value: Option<StrBytes>,
    pub(super) source: i8,
    pub(super) is_sensitive: bool,
    read_only: bool,
    kind: Kind,
    doc: &'static str,
    synonyms: Vec<DescribeConfigsSynonym>,
}

/// Answers resource by resource.
pub(super) async fn handle(ctx: &RequestContext, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let options = (request.include_synonyms, request.include_documentation);
    let mut seen = BTreeSet::new();
    let new = |resource: &DescribeConfigsResource| {
        seen.insert((resource.resource_type, resource.resource_name.to_string()))
    };
    let results = request.resources.into_iter().filter(new).map(|resource| describe(ctx, resource, options));
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn describe(
    ctx: &RequestContext,
    resource: DescribeConfigsResource,
    options: (bool, bool),
) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
        // Kafka's word for no error is an empty text here.
        .with_error_message(Some(StrBytes::default()));
    match settings(ctx, &resource) {
        Err((error, message)) => {
            result.with_error_code(error.code()).with_error_message(Some(reply::text(message)))
        }
        Ok(settings) => {
            // An empty list of names asks for all settings, as null does (KAFKA-9432).
            let names = resource.configuration_keys.filter(|names| !names.is_empty());
            let asked =
                |setting: &Described| names.as_ref().is_none_or(|names| names.contains(&setting.name));
            let shown =
                settings.into_iter().filter(asked).map(|setting| entry(ctx.version, setting, options));
            result.with_configs(shown.collect())
        }
    }
}

fn settings(
    ctx: &RequestContext,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Described>, (ResponseError, String)> {
    let broker = &ctx.broker;
    let name = &*resource.resource_name;
    match resource.resource_type {
        RESOURCE_TOPIC => match broker.image().topic(name) {
            Some(topic) => Ok(describe_topic(&broker.config, &topic.config)),
            None => match topic_name::refuse(name) {
                Some(reason) => Err((ResponseError::InvalidTopicException, reason)),
                None => Err((ResponseError::UnknownTopicOrPartition, format!("topic {name} does not exist"))),
            },
        },
        RESOURCE_BROKER if name.is_empty() => Ok(describe_all_brokers(&broker.config)),
        RESOURCE_BROKER if name == broker.node_id.to_string() => Ok(describe_broker(&broker.config)),
        RESOURCE_BROKER => {
            let message = format!("this is broker {}, not {name:?}; ask that one", broker.node_id);
            Err((ResponseError::InvalidRequest, message))
        }
        RESOURCE_GROUP if name.is_empty() => {
            Err((ResponseError::InvalidRequest, "a group without a name has no settings".to_owned()))
        }
        RESOURCE_GROUP => Ok(describe_group(&broker.config, broker.image().group_config(name))),
        RESOURCE_BROKER_LOGGER => match broker_loggers::of(broker, name) {
            Ok(loggers) => Ok(loggers.levels().into_iter().map(logger).collect()),
            Err(refusal) => Err((refusal.error, refusal.message)),
        },
        other => {
            let message = format!(
                "resources of type {other} have no settings here; 2 (topic), 4 (broker), 8 (loggers), 32 (group) have"
            );
            Err((ResponseError::InvalidRequest, message))
        }
    }
}

/// A logger's level.
fn logger((name, level): (String, String)) -> Described {
    Described {
        name: StrBytes::from_string(name),
        value: Some(StrBytes::from_string(level)),
        source: DYNAMIC_BROKER_LOGGER_CONFIG,
        is_sensitive: false,
        read_only: false,
        kind: Kind::Text,
        doc: "what is logged",
        synonyms: Vec::new(),
    }
}

/// All settings of a topic with these overrides.
pub(super) fn describe_topic(config: &Config, overrides: &BTreeMap<String, String>) -> Vec<Described> {
    TOPIC_SETTINGS.iter().map(|row| own_or_inherited(config, overrides, row, TOPIC_CONFIG)).collect()
}

/// All settings of a group with these of its own, whether or not there is such a group.
fn describe_group(config: &Config, own: &BTreeMap<String, String>) -> Vec<Described> {
    GROUP_SETTINGS.iter().map(|row| own_or_inherited(config, own, row, GROUP_CONFIG)).collect()
}

/// A setting of something that has some of its own and the broker's beside.
fn own_or_inherited(
    config: &Config,
    overrides: &BTreeMap<String, String>,
    row: &'static Setting,
    own_source: i8,
) -> Described {
    let own = overrides.get(row.name).map(|value| (row.name, value.clone(), own_source));
    let unit = |name: &str| row.synonyms.iter().find(|(synonym, _)| *synonym == name).map(|(_, unit)| *unit);
    let names: Vec<&'static str> = row.synonyms.iter().map(|(synonym, _)| *synonym).collect();
    let inherited = layers(config, &names).into_iter().map(|(name, value, source)| {
        let value = unit(name).map_or(value.clone(), |unit| unit.convert(&value));
        (name, value, source)
    });
    let chain: Vec<Layer> = own.into_iter().chain(inherited).collect();
    let first = chain.first().filter(|(_, _, source)| *source != DEFAULT_CONFIG);
    let value = match first {
        Some((_, value, _)) => Some(value.clone()),
        None => row.default.map(str::to_owned),
    };
    let source = first.map_or(DEFAULT_CONFIG, |(_, _, source)| *source);
    described(row, value, source, false, synonyms(chain))
}

/// A name, the value given under it, and where it was given.
type Layer = (&'static str, String, i8);

/// Every value that was given under these names, the strongest first: layer by layer, and in a layer name by name.
fn layers(config: &Config, names: &[&'static str]) -> Vec<Layer> {
    let dynamic = config.dynamic();
    let mut found = Vec::new();
    let mut add = |source, value: &dyn Fn(&str) -> Option<String>| {
        found.extend(names.iter().filter_map(|name| Some((*name, value(name)?, source))));
    };
    add(DYNAMIC_BROKER_CONFIG, &|name| dynamic.broker.get(name).cloned());
    add(DYNAMIC_DEFAULT_BROKER_CONFIG, &|name| dynamic.default.get(name).cloned());
    add(STATIC_BROKER_CONFIG, &|name| config.explicit(name).map(str::to_owned));
    add(DEFAULT_CONFIG, &|name| broker_setting(name)?.default.map(str::to_owned));
    found
}

/// All settings of this broker.
fn describe_broker(config: &Config) -> Vec<Described> {
    let describe = |row: &'static Setting| {
        // What is given under a stronger name is told with that name.
        let chain = layers(config, &dynamic::synonyms(row.name)).into_iter();
        let chain: Vec<Layer> = chain.skip_while(|(name, _, _)| *name != row.name).collect();
        let source = chain.first().map_or(DEFAULT_CONFIG, |(_, _, source)| *source);
        let value = chain.first().map(|(_, value, _)| value.clone());
        described(row, value, source, !dynamic::is_changeable(row.name), synonyms(chain))
    };
    BROKER_SETTINGS.iter().map(describe).collect()
}

/// What was changed for all brokers.
fn describe_all_brokers(config: &Config) -> Vec<Described> {
    let dynamic = config.dynamic();
    let changed = dynamic.default.iter().filter_map(|(name, value)| Some((broker_setting(name)?, value)));
    let describe = |(row, value): (&'static Setting, &String)| {
        let source = DYNAMIC_DEFAULT_BROKER_CONFIG;
        described(row, Some(value.clone()), source, false, synonyms(vec![(row.name, value.clone(), source)]))
    };
    changed.map(describe).collect()
}

fn synonyms(chain: Vec<Layer>) -> Vec<DescribeConfigsSynonym> {
    let synonym = |(name, value, source): Layer| {
        DescribeConfigsSynonym::default()
            .with_name(reply::text(name))
            .with_value(Some(reply::text(value)))
            .with_source(source)
    };
    chain.into_iter().map(synonym).collect()
}

fn described(
    row: &'static Setting,
    value: Option<String>,
    source: i8,
    read_only: bool,
    synonyms: Vec<DescribeConfigsSynonym>,
) -> Described {
    let is_sensitive = row.kind == Kind::Password;
    Described {
        name: StrBytes::from_static_str(row.name),
        value: value.filter(|_| !is_sensitive).map(StrBytes::from_string),
        source,
        is_sensitive,
        read_only,
        kind: row.kind,
        doc: row.doc,
        synonyms: if is_sensitive { Vec::new() } else { synonyms },
    }
}

fn entry(
    version: i16,
    setting: Described,
    (with_synonyms, with_docs): (bool, bool),
) -> DescribeConfigsResourceResult {
    let mut entry = DescribeConfigsResourceResult::default()
        .with_name(setting.name)
        .with_value(setting.value)
        .with_read_only(setting.read_only)
        .with_config_source(setting.source)
        .with_is_sensitive(setting.is_sensitive);
    if with_synonyms {
        entry.synonyms = setting.synonyms;
    }
    if version >= 3 {
        entry.config_type = setting.kind as i8;
        entry.documentation = with_docs.then(|| StrBytes::from_static_str(setting.doc));
    }
    entry
}
