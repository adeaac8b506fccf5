//! `key_format` and `value_format`. The connections that they name are looked up when it is planned.

use millrace_schema::Kind;

use super::deployment::{RegistrySpec, Role};
use super::read::{Field, Fields, Reader};
use super::tree::Data;
use crate::plan::{Decimals, Format, Formats, RegisteredFormat};

pub(super) const FORMAT_KEYS: &[&str] = &[
    "type",
    "registry",
    "schema",
    "subject",
    "message",
    "auto_register_schemas",
    "use_latest_version",
    "decimals",
    "validate",
    "schemas_enable",
];

/// What `type` may be, or the format itself where nothing else is to be said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Json,
    String,
    Bytes,
    Registered(Kind),
}

const TYPES: &[(&str, Type)] = &[
    ("json", Type::Json),
    ("string", Type::String),
    ("bytes", Type::Bytes),
    ("avro", Type::Registered(Kind::Avro)),
    ("protobuf", Type::Registered(Kind::Protobuf)),
    ("json-schema", Type::Registered(Kind::Json)),
];

/// What `type` may be.
pub(super) fn type_names() -> impl Iterator<Item = &'static str> {
    TYPES.iter().map(|(name, _)| *name)
}

/// The formats that may stand without anything else.
pub(super) fn plain_names() -> impl Iterator<Item = &'static str> {
    TYPES.iter().filter(|(_, of)| !matches!(of, Type::Registered(_))).map(|(name, _)| *name)
}

/// Both formats of a source or a sink.
pub(super) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>, role: Role) -> Formats<RegistrySpec> {
    let mut side = |name| {
        let field = fields.take(name)?;
        format(reader, &field, role)
    };
    let (key, value) = (side("key_format"), side("value_format"));
    Formats { key: key.unwrap_or_default(), value: value.unwrap_or_default() }
}

fn format(reader: &mut Reader<'_>, field: &Field<'_>, role: Role) -> Option<Format<RegistrySpec>> {
    if !matches!(field.node.data, Data::Map(_)) {
        return match reader.word(field, TYPES)? {
            Type::Json => Some(Format::Json),
            Type::String => Some(Format::String),
            Type::Bytes => Some(Format::Bytes),
            Type::Registered(_) => {
                let name = &field.key.name;
                let problem = reader.at(field.place(), format!("`{name}` needs a schema registry")).expected(
                    format!("`{name}: {{ type: ..., registry: NAME }}`, a name under `connections:`"),
                );
                reader.push(problem);
                None
            }
        };
    }
    let mut fields = reader.fields(field, FORMAT_KEYS)?;
    let Some(of) = fields.take("type") else {
        let problem = reader
            .at(field.key.span, format!("`{}` has no `type`", field.key.name))
            .expected("one of json, string, bytes, avro, protobuf, json-schema");
        reader.push(problem);
        return None;
    };
    let of = reader.word(&of, TYPES)?;
    let decimals = match fields.take("decimals") {
        Some(field) => {
            only(reader, &field, of, &[Type::Json, Type::Registered(Kind::Avro)]);
            reader
                .word(&field, &[("text", Decimals::Text), ("numbers", Decimals::Numbers)])
                .unwrap_or_default()
        }
        None => Decimals::default(),
    };
    let envelope = match fields.take("schemas_enable") {
        Some(field) => {
            only(reader, &field, of, &[Type::Json]);
            boolean(reader, &field).unwrap_or(false)
        }
        None => false,
    };
    let format = match of {
        Type::Json if envelope => Some(Format::Envelope { decimals }),
        Type::Json => Some(Format::Json),
        Type::String => Some(Format::String),
        Type::Bytes => Some(Format::Bytes),
        Type::Registered(kind) => registered(reader, field, &mut fields, kind, role)
            .map(|format| Format::Registered(RegisteredFormat { decimals, ..format })),
    };
    // What a format without a registry has no use for.
    if !matches!(of, Type::Registered(_)) {
        for name in [
            "registry",
            "schema",
            "subject",
            "message",
            "auto_register_schemas",
            "use_latest_version",
            "validate",
        ] {
            if let Some(field) = fields.take(name) {
                only(reader, &field, of, &[]);
            }
        }
    }
    fields.finish(reader);
    format
}

fn registered(
    reader: &mut Reader<'_>,
    block: &Field<'_>,
    fields: &mut Fields<'_>,
    kind: Kind,
    role: Role,
) -> Option<RegisteredFormat<RegistrySpec>> {
    let registry = registry(reader, block, fields);
    let subject = fields
        .take("subject")
        .and_then(|field| reader.text(&field, "the name of a subject"))
        .map(|text| text.value);
    let declared = fields.take("schema").and_then(|field| {
        for_sources(reader, &field, role);
        schema(reader, &field)
    });
    let message = fields.take("message").and_then(|field| {
        for_sources(reader, &field, role);
        only(reader, &field, Type::Registered(kind), &[Type::Registered(Kind::Protobuf)]);
        reader.text(&field, "the name of a message").map(|text| text.value)
    });
    let register = match fields.take("auto_register_schemas") {
        Some(field) => {
            for_sources(reader, &field, role);
            boolean(reader, &field).unwrap_or(true)
        }
        None => true,
    };
    let latest = match fields.take("use_latest_version") {
        Some(field) => {
            for_sources(reader, &field, role);
            let latest = boolean(reader, &field).unwrap_or(false);
            if latest && declared.is_some() {
                let message = "the schema is there, so that the subject's latest one has no use";
                let problem = reader.at(field.key.span, message);
                reader.push(problem);
            }
            latest
        }
        None => false,
    };
    let validate = match fields.take("validate") {
        Some(field) => {
            only(reader, &field, Type::Registered(kind), &[Type::Registered(Kind::Json)]);
            boolean(reader, &field).unwrap_or(true)
        }
        None => true,
    };
    let decimals = Decimals::default();
    let registry = registry?;
    Some(RegisteredFormat {
        kind,
        registry,
        subject,
        declared,
        latest,
        register,
        message,
        decimals,
        validate,
    })
}

fn registry(reader: &mut Reader<'_>, block: &Field<'_>, fields: &mut Fields<'_>) -> Option<RegistrySpec> {
    let Some(field) = fields.take("registry") else {
        let problem = reader
            .at(block.key.span, format!("`{}` names no `registry`", block.key.name))
            .expected("the name of a connection of kind `schema_registry`");
        reader.push(problem);
        return None;
    };
    let text = reader.text(&field, "the name of a connection")?;
    Some(RegistrySpec::Named { name: text.value, span: text.span, referenced: text.referenced })
}

/// The text of a schema in a file beside the YAML.
fn schema(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let path = reader.text(field, "the path of a schema")?;
    match reader.env.read(&reader.absolute(&path.value)) {
        Ok(text) => Some(text),
        Err(error) => {
            let problem = reader
                .at(path.span, format!("schema {} can't be read: {}", path.shown(), error.kind()))
                .help("paths start from the folder of this YAML file");
            reader.push(problem);
            None
        }
    }
}

fn boolean(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<bool> {
    reader.word(field, &[("true", true), ("false", false)])
}

fn for_sources(reader: &mut Reader<'_>, field: &Field<'_>, role: Role) {
    if role != Role::Source {
        let problem = reader
            .at(field.key.span, format!("`{}` has no place here", field.key.name))
            .help("a sink reads each record with the schema that it was written with");
        reader.push(problem);
    }
}

/// Refuses a key that the format has no use for.
fn only(reader: &mut Reader<'_>, field: &Field<'_>, of: Type, allowed: &[Type]) {
    if allowed.contains(&of) {
        return;
    }
    let name = |of: &Type| TYPES.iter().find(|(_, known)| known == of).map_or("", |(name, _)| *name);
    let problem = reader
        .at(field.key.span, format!("`{}` says nothing for the format `{}`", field.key.name, name(&of)));
    let allowed: Vec<&str> = allowed.iter().map(name).collect();
    let help = match allowed.as_slice() {
        [] => "it is for formats with a schema registry: avro, protobuf, json-schema".to_owned(),
        allowed => format!("it is for {}", allowed.join(" and ")),
    };
    reader.push(problem.help(help));
}
