//! The table fits the records of a batch, before any of them is taken: it is made, or its columns are widened, if the settings allow it.
//! Records that don't fit even then are refused when their turn comes.

use std::sync::Arc;

use millrace_connector_encode::json::Json;
use millrace_connector_encode::types::infer::Shape;
use millrace_connector_encode::types::{Field, Schema, Type};
use millrace_sdk::clock::now_ms;
use millrace_sdk::{Error, TopicPartition};

use crate::key;
use crate::metadata::Metadata;
use crate::partition::Spec;
use crate::rows::{Value, has_more, misnamed};
use crate::schema::evolve::{By, widen};
use crate::schema::{Columns, Ids, names};
use crate::settings::Settings;
use crate::writer::Writer;
use crate::{IcebergSink, Read};

/// Records that don't fit make the table be read again, but not more often than this.
const RELOAD_MS: i64 = 5_000;

/// Makes the table fit, and the writer fit the table.
pub(crate) fn fit(sink: &mut IcebergSink, read: &[Read<'_>]) -> Result<(), Error> {
    let values: Vec<&Value<'_>> = read
        .iter()
        .filter_map(|read| match read {
            Read::Row(value, _) => Some(value),
            Read::Gone(_) | Read::Nothing | Read::Rejected(_) => None,
        })
        .collect();
    if values.is_empty() {
        let deletes = read.iter().any(|read| matches!(read, Read::Gone(_)));
        return if deletes { refresh(sink) } else { Ok(()) };
    }
    if sink.session.metadata().is_none() {
        let key = read.iter().find_map(|read| match read {
            Read::Row(_, key) => key.as_ref(),
            _ => None,
        });
        create(sink, &values, key)?;
    }
    refresh(sink)?;
    if !wants_more(sink, &values) {
        return Ok(());
    }
    // Somebody may have widened it already.
    if now_ms() - sink.session.read_ms() >= RELOAD_MS {
        sink.session.reload()?;
        refresh(sink)?;
    }
    if sink.settings.auto_evolve && wants_more(sink, &values) {
        let columns = sink.writer.as_ref().map(|writer| writer.fields().to_vec()).unwrap_or_default();
        let counts =
            |value: &Value<'_>| has_more(&value.json, &columns) && misnamed(&value.json, &columns).is_none();
        let wanted: Vec<(Vec<Field>, By)> = fields_of(&values, counts);
        sink.session.evolve(|metadata| widened(metadata, &wanted))?;
        refresh(sink)?;
    }
    Ok(())
}

/// Makes the writer one for the table as it is now. What was written for an earlier one is committed.
fn refresh(sink: &mut IcebergSink) -> Result<(), Error> {
    let Some(metadata) = sink.session.metadata() else { return Ok(()) };
    if sink.writer.as_ref().is_some_and(|writer| writer.is_current(metadata)) {
        return Ok(());
    }
    if sink.writer.is_some() {
        sink.commit()?;
    }
    let Some(metadata) = sink.session.metadata() else { return Ok(()) };
    check_division(&sink.settings, metadata)?;
    sink.writer = Some(Writer::new(metadata, &sink.settings)?);
    Ok(())
}

/// Checks that the table is divided as the settings say, if they say it. It is not changed here: how old and new files lie is a decision about
/// the table, and not about who writes it.
pub(crate) fn check_division(settings: &Settings, metadata: &Metadata) -> Result<(), Error> {
    if settings.partition_by.is_empty() {
        return Ok(());
    }
    let broken = |why: String| Error::fatal("table.metadata", why);
    let (columns, spec) = (metadata.columns().map_err(broken)?, metadata.spec().map_err(broken)?);
    let wanted = Spec::of(&settings.partition_by, &columns);
    if wanted.is_ok_and(|wanted| wanted.divides_as(&spec)) {
        return Ok(());
    }
    let told = spec.told(&columns);
    let message = format!(
        "partition_by says {}, but the table {} is divided by {}: make it the same, or leave it out; how a table is divided is changed by an \
         engine",
        settings.partition_by.join(", "),
        settings.table,
        if told.is_empty() { "nothing" } else { &told },
    );
    Err(Error::fatal("table.partition", message))
}

/// Whether a value says that the table should have other columns.
fn wants_more(sink: &IcebergSink, values: &[&Value<'_>]) -> bool {
    let Some(writer) = &sink.writer else { return false };
    let mut seen: Option<&Arc<Schema>> = None;
    values.iter().any(|value| match &value.schema {
        // They come in runs.
        Some(schema) if seen.is_some_and(|seen| Arc::ptr_eq(seen, schema)) => false,
        Some(schema) => {
            seen = Some(schema);
            let mut columns = writer.columns().fields.clone();
            widen(&mut columns, &schema.fields, By::Schema, &mut Ids(i32::MAX / 2)) == Ok(true)
        }
        None => has_more(&value.json, writer.fields()),
    })
}

/// What fields values have: by their schemas, or, of those without that `counts`, by themselves.
fn fields_of(values: &[&Value<'_>], counts: impl Fn(&Value<'_>) -> bool) -> Vec<(Vec<Field>, By)> {
    let mut all: Vec<(Vec<Field>, By)> = Vec::new();
    let mut seen: Vec<&Arc<Schema>> = Vec::new();
    let mut shape = Shape::default();
    for value in values {
        match &value.schema {
            Some(schema) if seen.iter().any(|seen| Arc::ptr_eq(seen, schema)) => {}
            Some(schema) => {
                seen.push(schema);
                all.push((schema.fields.clone(), By::Schema));
            }
            None if counts(value) => {
                let mut wider = shape.clone();
                if wider.widen(&value.json).is_ok_and(|changed| !changed || names::fit(&wider)) {
                    shape = wider;
                }
            }
            None => {}
        }
    }
    if let Ok(Type::Struct(fields)) = shape.resolve_known() {
        all.push((fields, By::Values));
    }
    all
}

/// The table's columns, widened by what fits; none: they need not be.
fn widened(metadata: &Metadata, wanted: &[(Vec<Field>, By)]) -> Result<Option<(Columns, i32)>, Error> {
    let broken = |why: String| Error::fatal("table.metadata", why);
    let mut columns = metadata.columns().map_err(broken)?;
    let (mut ids, mut changed) = (Ids(metadata.last_column()), false);
    for (fields, by) in wanted {
        // What doesn't fit in part doesn't at all.
        let (mut trial, mut trial_ids) = (columns.fields.clone(), Ids(ids.0));
        if widen(&mut trial, fields, *by, &mut trial_ids) == Ok(true) {
            (columns.fields, ids, changed) = (trial, trial_ids, true);
        }
    }
    columns.layout().map_err(broken)?;
    Ok(changed.then_some((columns, ids.0)))
}

/// `key` is what the first row's key says.
fn create(sink: &mut IcebergSink, values: &[&Value<'_>], key: Option<&Value<'_>>) -> Result<(), Error> {
    if !sink.settings.auto_create {
        return Err(Error::fatal("table.missing", format!("there is no table {}", sink.settings.table)));
    }
    let Some((mut fields, _)) = fields_of(values, |_| true).into_iter().next() else { return Ok(()) };
    let wrong = |why: String| Error::fatal("table.create", format!("the table can't be made: {why}"));
    let names = match key {
        _ if !sink.settings.upserts() => Vec::new(),
        key => key_fields(&sink.settings.pk_fields, key, &mut fields).map_err(wrong)?,
    };
    let (mut columns, last) = Columns::new(&fields).map_err(wrong)?;
    let id =
        |name: &String| columns.fields.iter().find(|column| column.name == *name).map(|column| column.id);
    columns.identifiers = names.iter().filter_map(id).collect();
    let spec = Spec::of(&sink.settings.partition_by, &columns)
        .map_err(|why| wrong(format!("partition_by: {why}")))?;
    if let Some(other) = spec.fields.iter().find(|field| !columns.identifiers.contains(&field.source))
        && sink.settings.upserts()
    {
        return Err(wrong(format!("partition_by: {}", key::division_told(&other.name, &names))));
    }
    columns.layout().map_err(wrong)?;
    let partition =
        |lane: &crate::Lane| TopicPartition { topic: lane.topic.clone(), partition: lane.partition };
    let partitions: Vec<TopicPartition> = sink.lanes.iter().map(partition).collect();
    sink.session.create(&partitions, |uuid, location| {
        Ok(Metadata::new(uuid, location, &columns, last, &spec, now_ms()))
    })
}

/// The names of the key's columns, which `fields` has then, each with a value in every row: the specification wants it of identifier fields.
fn key_fields(
    said: &[String],
    key: Option<&Value<'_>>,
    fields: &mut Vec<Field>,
) -> Result<Vec<String>, String> {
    let own = key.map(|key| fields_of(&[key], |_| true)).unwrap_or_default();
    let own: Vec<Field> = own.into_iter().next().map(|(fields, _)| fields).unwrap_or_default();
    let names: Vec<String> = match (said, key.map(|key| &key.json)) {
        ([], Some(Json::Object(members))) => members.iter().map(|(name, _)| name.to_string()).collect(),
        (said, _) => said.to_vec(),
    };
    for (at, name) in names.iter().enumerate() {
        if !fields.iter().any(|field| field.name == *name) {
            let field = own.iter().find(|field| field.name == *name).cloned();
            let field =
                field.ok_or_else(|| format!("pk_fields: no record shows what type {name} should have"))?;
            fields.insert(at.min(fields.len()), field);
        }
        let field = fields.iter_mut().find(|field| field.name == *name);
        let Some(field) = field else { continue };
        if !key::can_be_key(&field.slot.ty) {
            return Err(key::type_told(name));
        }
        field.slot.optional = false;
    }
    match names.is_empty() {
        true => {
            Err("the first record's key has no fields that could be the table's key; name them in pk_fields"
                .to_owned())
        }
        false => Ok(names),
    }
}
