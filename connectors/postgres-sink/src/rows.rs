//! From records to what is done with rows, over the tables as the server has them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use millrace_sdk::postgres::{Failure, Session};
use millrace_sdk::{Error, RecordRef, Rejection};

use crate::plan::{Op, Shape};
use crate::record::{self, Field, Key, Read, Value};
use crate::schema::Known;
use crate::settings::{InsertMode, KAFKA_KEY, PkMode, Settings, qualified};
use crate::table::{self, Column, Name, Table};
use crate::value::{self, Form};

/// Longest name of a table or a column: PostgreSQL cuts off what is longer, so that two would be one.
const NAME_BYTES_MAX: usize = 63;
/// Tables and shapes that are known at once; with more they are looked up anew.
const KNOWN_MAX: usize = 1000;

/// Why there is nothing to do for a record.
#[derive(Debug)]
pub enum Unfit {
    /// It is no good.
    Record(Rejection),
    /// The call as a whole.
    Call(Error),
}

impl From<Rejection> for Unfit {
    fn from(why: Rejection) -> Self {
        Self::Record(why)
    }
}

impl From<Failure> for Unfit {
    fn from(failure: Failure) -> Self {
        Self::Call(failure.into())
    }
}

/// Tables, and what rows were given to them.
#[derive(Debug, Default)]
pub struct Tables {
    /// Tables.
    pub tables: Vec<Table>,
    /// Shapes of rows.
    pub shapes: Vec<Shape>,
    schemas: Known,
}

/// What a record asks for.
struct Wanted<'r> {
    name: Name,
    delete: bool,
    fields: Vec<Field<'r>>,
    /// Names of the key's columns.
    key: Vec<String>,
    /// Values are missing that the source's database did not send: the row is there.
    is_partial: bool,
}

impl Tables {
    /// Forgets tables: they are looked up again.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether so many are known that it is time to.
    pub fn is_full(&self) -> bool {
        self.tables.len() > KNOWN_MAX || self.shapes.len() > KNOWN_MAX
    }

    /// What is to be done for a record; none: nothing. `topic` names the table; `index` is the record's place.
    pub fn op(
        &mut self,
        session: &mut Session,
        settings: &Settings,
        record: &RecordRef<'_>,
        topic: &str,
    ) -> Result<Option<Op>, Unfit> {
        // Text that the record does not hold itself, and that fields borrow.
        let place = match settings.pk_mode {
            PkMode::Kafka => [
                serde_json::Value::from(record.topic).to_string(),
                record.partition.to_string(),
                record.offset.to_string(),
            ],
            _ => Default::default(),
        };
        let read = record::value(record, &mut self.schemas)?;
        let key = match settings.pk_mode {
            PkMode::RecordKey => record::key(record, &mut self.schemas)?,
            _ => Key::None,
        };
        let form = Form { unit: settings.timestamp_unit, documents: read.source.is_some() };
        let Some(wanted) = wanted(settings, read, &key, &place, topic)? else { return Ok(None) };
        // Before a table is made for it: a column that is null in the first record has no type yet.
        let is_null =
            |name: &&String| wanted.fields.iter().any(|field| field.name == **name && field.value == "null");
        if let Some(name) = wanted.key.iter().find(is_null) {
            return Err(null_key(name, &wanted).into());
        }
        let table = self.table(session, settings, &wanted)?;
        let (mut columns, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for field in &wanted.fields {
            let Some(at) = self.tables[table].column(&field.name) else { continue }; // null, of a type that nobody knows
            let column = &self.tables[table].columns[at];
            if column.generated {
                continue;
            }
            let text =
                value::text(field.value, field.kind.as_deref(), &column.kind, form).map_err(|why| {
                    Rejection::new(
                        why.code,
                        format!("column {} of {}: {}", field.name, wanted.name, why.message),
                    )
                })?;
            if wanted.key.iter().any(|name| *name == field.name) {
                if text.is_none() {
                    return Err(null_key(&field.name, &wanted).into());
                }
                keys.push(columns.len());
            }
            columns.push(at);
            values.push(text);
        }
        if columns.is_empty() {
            return Err(Rejection::new("record.shape", "the record has no field for a column").into());
        }
        // An INSERT that lacks them would be refused before it is seen that the row is there.
        let lacks = |(at, column): (usize, &Column)| column.is_required && !columns.contains(&at);
        let update = wanted.is_partial && self.tables[table].columns.iter().enumerate().any(lacks);
        let only_updates = update || settings.insert_mode == InsertMode::Update;
        if only_updates && !wanted.delete && keys.len() == columns.len() {
            return Ok(None); // nothing to change
        }
        let shape = Shape { table, delete: wanted.delete, update, columns, key: keys };
        let shape = self.shapes.iter().position(|known| *known == shape).unwrap_or_else(|| {
            self.shapes.push(shape);
            self.shapes.len() - 1
        });
        Ok(Some(Op { record: record.index as usize, shape, values }))
    }

    /// The table, made or widened if it may be.
    fn table(
        &mut self,
        session: &mut Session,
        settings: &Settings,
        wanted: &Wanted<'_>,
    ) -> Result<usize, Unfit> {
        let at = match self.tables.iter().position(|table| table.name == wanted.name) {
            Some(at) => at,
            None => {
                let table = match load(session, &wanted.name)? {
                    Some(table) => table,
                    None if settings.auto_create && !wanted.delete => create(session, &wanted.name, wanted)?,
                    None => {
                        let message = format!(
                            "there is no table {}; create it, set auto_create, or check table_name_format and search_path",
                            wanted.name
                        );
                        return Err(Unfit::Call(Error::fatal("sql.42P01", message)));
                    }
                };
                self.tables.push(table);
                self.tables.len() - 1
            }
        };
        if missing(&self.tables[at], wanted).is_empty() {
            return Ok(at);
        }
        // Somebody else may have widened it meanwhile.
        if let Some(newer) = load(session, &wanted.name)? {
            self.tables[at] = newer;
        }
        let fields = missing(&self.tables[at], wanted);
        if fields.is_empty() {
            return Ok(at);
        }
        let names: Vec<&str> = fields.iter().map(|field| &*field.name).collect();
        if !settings.auto_evolve {
            let message = format!(
                "table {} has no column {}; add it, set auto_evolve, or leave the field out with fields_whitelist",
                wanted.name,
                names.join(", ")
            );
            return Err(Rejection::new("table.column", message).into());
        }
        checked(&names)?;
        if let Some(sql) = table::widen(&wanted.name, &fields) {
            millrace_sdk::info!("adding columns"; "table" => &wanted.name, "columns" => names.join(", "));
            change(session, &sql)?;
        }
        if let Some(newer) = load(session, &wanted.name)? {
            self.tables[at] = newer;
        }
        Ok(at)
    }
}

fn null_key(name: &str, wanted: &Wanted<'_>) -> Rejection {
    Rejection::new("record.key", format!("column {name} of {}'s key would be null", wanted.name))
}

/// Fields that the table has no column for, and that have a value or a type.
fn missing<'w, 'r>(table: &Table, wanted: &'w Wanted<'r>) -> Vec<&'w Field<'r>> {
    let is_missing =
        |field: &&Field<'_>| table.column(&field.name).is_none() && table::sql_type(field).is_some();
    wanted.fields.iter().filter(is_missing).collect()
}

fn load(session: &mut Session, name: &Name) -> Result<Option<Table>, Failure> {
    let rows = session.query(&table::columns_of(name))?;
    Ok(Table::read(name.clone(), &rows))
}

fn create(session: &mut Session, name: &Name, wanted: &Wanted<'_>) -> Result<Table, Unfit> {
    let names: Vec<&str> =
        wanted.fields.iter().map(|field| &*field.name).chain([name.table.as_str()]).collect();
    checked(&names)?;
    millrace_sdk::info!("creating a table"; "table" => name);
    change(session, &table::create(name, &wanted.fields, &wanted.key))?;
    load(session, name)?.ok_or_else(|| {
        let message = format!("table {name} was made and is not seen; is its schema in search_path?");
        Unfit::Call(Error::fatal("sql.42P01", message))
    })
}

fn checked(names: &[&str]) -> Result<(), Rejection> {
    let is_none = |name: &str| name.len() > NAME_BYTES_MAX || name.is_empty() || name.contains('\0');
    match names.iter().find(|name| is_none(name)) {
        Some(name) => {
            let message =
                format!("`{name}` can't be a name: 1 to {NAME_BYTES_MAX} bytes, none of which is zero");
            Err(Rejection::new("table.name", message))
        }
        None => Ok(()),
    }
}

/// Whether a refusal to make or widen a table speaks of the columns that a record asks for: too many of them, or in the key (54), a
/// type that can't be in a key (42704, 42P16), or that no column has (42611). Else it speaks of rights, schemas, views, ...
fn is_about_columns(code: &str) -> bool {
    code.starts_with("54") || matches!(code, "42704" | "42P16" | "42611")
}

/// Changes a table for a record, within a transaction that may be open. What another task has done at the same moment is no failure.
fn change(session: &mut Session, sql: &str) -> Result<(), Unfit> {
    match execute(session, sql) {
        Err(Failure::Statement(error)) if is_about_columns(&error.code) && !error.retriable => {
            Err(Unfit::Record(error.rejection()))
        }
        done => Ok(done?),
    }
}

fn execute(session: &mut Session, sql: &str) -> Result<(), Failure> {
    let open = session.status() == millrace_sdk::postgres::Status::InTransaction;
    let (before, after) = if open { ("SAVEPOINT ddl; ", "; RELEASE SAVEPOINT ddl") } else { ("", "") };
    match session.run(&format!("{before}{sql}{after}")) {
        Err(Failure::Statement(error))
            if matches!(error.code.as_str(), "23505" | "42701" | "42710" | "42P07") =>
        {
            if open {
                session.run("ROLLBACK TO SAVEPOINT ddl")
            } else {
                Ok(())
            }
        }
        Err(Failure::Statement(error)) if open => {
            session.run("ROLLBACK TO SAVEPOINT ddl")?;
            Err(Failure::Statement(error))
        }
        done => done,
    }
}

/// What the record asks for; none: nothing.
fn wanted<'a>(
    settings: &Settings,
    read: Read<'a>,
    key: &'a Key<'a>,
    place: &'a [String; 3],
    topic: &str,
) -> Result<Option<Wanted<'a>>, Rejection> {
    // A tombstone behind an envelope: that has said which row of which table is gone.
    let says_nothing =
        settings.pk_mode == PkMode::RecordValue || settings.table_name_format.contains("${source.");
    if matches!(read.value, Value::Tombstone) && settings.delete_enabled && says_nothing {
        return Ok(None);
    }
    let name = name(settings, read.source.as_ref(), topic)?;
    let no_deletes = |what: &str| {
        let message = format!(
            "{what}, and rows are not deleted; set delete_enabled, or drop such records with a transform"
        );
        Rejection::new("record.tombstone", message)
    };
    let is_partial = matches!(read.value, Value::Row(_, true));
    let (delete, fields) = match read.value {
        Value::Nothing => return Ok(None),
        Value::Row(fields, _) => (false, fields),
        Value::Tombstone | Value::Gone(_) if !settings.delete_enabled => {
            return Err(no_deletes("the record says that a row is gone"));
        }
        Value::Tombstone => (true, Vec::new()),
        Value::Gone(fields) => (true, fields.unwrap_or_default()),
    };
    let key = key_fields(settings, key, &fields, place)?;
    let names: Vec<String> = key.iter().map(|field| field.name.clone().into_owned()).collect();
    if delete {
        return Ok(Some(Wanted { name, delete, fields: key, key: names, is_partial }));
    }
    let is_wanted = |field: &Field<'_>| {
        let listed = &settings.fields_whitelist;
        (listed.is_empty() || listed.iter().any(|name| *name == field.name))
            && !names.iter().any(|name| *name == field.name)
    };
    let mut all = key;
    all.extend(fields.into_iter().filter(is_wanted));
    Ok(Some(Wanted { name, delete, fields: all, key: names, is_partial }))
}

/// The columns of the key.
fn key_fields<'a>(
    settings: &Settings,
    key: &'a Key<'a>,
    value: &[Field<'a>],
    place: &'a [String; 3],
) -> Result<Vec<Field<'a>>, Rejection> {
    let names = &settings.pk_fields;
    let no_key = |message: String| Rejection::new("record.key", message);
    let chosen = |fields: &[Field<'a>], what: &str| -> Result<Vec<Field<'a>>, Rejection> {
        let field = |name: &String| {
            let found = fields.iter().find(|field| *field.name == **name).cloned();
            found.ok_or_else(|| no_key(format!("the {what} has no field {name}, which pk_fields names")))
        };
        names.iter().map(field).collect()
    };
    match (settings.pk_mode, key) {
        (PkMode::None, _) => Ok(Vec::new()),
        (PkMode::RecordValue, _) => chosen(value, "value"),
        (PkMode::Kafka, _) => {
            let name = |at: usize| names.get(at).cloned().unwrap_or_else(|| KAFKA_KEY[at].to_owned());
            let field = |at: usize| Field { name: Cow::Owned(name(at)), value: &place[at], kind: None };
            Ok((0..3).map(field).collect())
        }
        (PkMode::RecordKey, Key::None) => {
            Err(no_key("the record has no key, which pk_mode record_key needs".into()))
        }
        (PkMode::RecordKey, Key::Fields(fields)) if names.is_empty() => Ok(fields.clone()),
        (PkMode::RecordKey, Key::Fields(fields)) => chosen(fields, "key"),
        (PkMode::RecordKey, Key::One(text, kind)) => match names.as_slice() {
            [name] => Ok(vec![Field { name: Cow::Owned(name.clone()), value: text, kind: kind.clone() }]),
            _ => Err(no_key("the key is one value; name its column, and no other, in pk_fields".into())),
        },
    }
}

/// Of `table_name_format`.
fn name(settings: &Settings, source: Option<&(String, String)>, topic: &str) -> Result<Name, Rejection> {
    let fill = |text: &str| -> Result<String, Rejection> {
        let mut filled = text.replace("${topic}", topic);
        if filled.contains("${source.") {
            let (schema, table) = source.ok_or_else(|| {
                Rejection::new("record.source", "the record has no `source` for table_name_format")
            })?;
            filled = filled.replace("${source.schema}", schema).replace("${source.table}", table);
        }
        Ok(filled)
    };
    // Checked with the settings.
    let (schema, table) = qualified(&settings.table_name_format).unwrap_or((None, "${topic}"));
    Ok(Name {
        schema: schema.map(fill).transpose()?.filter(|schema| !schema.is_empty()),
        table: fill(table)?,
    })
}

/// Rejections by record, for what is told in order.
pub type Rejections = BTreeMap<usize, Rejection>;
