//! Columns: their names, what they hold, and the JSON that a record of them becomes.

use millrace_sdk::{Error, Poll};

use super::scan::{Field, Scanner};
use crate::json::{is_number, push_escaped, push_string};
use crate::options::{Key, Options, Type};

/// The columns of a file.
#[derive(Debug)]
pub(super) struct Columns {
    list: Vec<Column>,
    key: KeyColumns,
    empty_as_null: bool,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// `{"name":` or `,"name":`, for text with the opening quote of the value.
    prefix: Vec<u8>,
    kind: Type,
}

#[derive(Debug)]
enum KeyColumns {
    None,
    One(usize),
    /// Each with its `{"name":` or `,"name":`.
    Object(Vec<(Vec<u8>, usize)>),
}

/// Code and message of a rejection.
type Refusal = (&'static str, String);

impl Columns {
    /// Columns of these names. `origin` says, in errors, where the names come from.
    pub(super) fn new(names: Vec<String>, options: &Options, origin: &str) -> Result<Self, Error> {
        let names = unique(names);
        let find = |wanted: &str| {
            names.iter().position(|name| name == wanted).ok_or_else(|| {
                let message =
                    format!("{origin}: there is no column {wanted:?}; there are {}", names.join(", "));
                Error::fatal("csv.column", message)
            })
        };
        for wanted in options.types.keys() {
            find(wanted)?;
        }
        let key = match &options.key {
            None => KeyColumns::None,
            Some(Key::Field(field)) => KeyColumns::One(find(field)?),
            Some(Key::Fields(fields)) => {
                let part = |(index, field): (usize, &String)| Ok((prefix(index, field), find(field)?));
                KeyColumns::Object(fields.iter().enumerate().map(part).collect::<Result<_, Error>>()?)
            }
        };
        let column = |(index, name): (usize, &String)| {
            let kind = options.types.get(name).copied().unwrap_or(Type::Text);
            Column { name: name.clone(), prefix: prefix(index, name), kind }
        };
        let list = names.iter().enumerate().map(column).collect();
        Ok(Self { list, key, empty_as_null: options.empty_as_null })
    }

    /// Adds the record that the scanner found in `data`.
    pub(super) fn write(&self, data: &[u8], scanner: &Scanner, out: &mut Poll) -> Result<(), Refusal> {
        let fields = scanner.fields();
        if fields.len() != self.list.len() {
            let (expected, found) = (self.list.len(), fields.len());
            return Err(("csv.columns", format!("{found} fields where {expected} columns are expected")));
        }
        let mut record = out.batch.record();
        match &self.key {
            KeyColumns::None => {}
            KeyColumns::One(index) if fields[*index].is_empty() => {}
            KeyColumns::One(index) => {
                record.key_with(|key| {
                    scanner.pieces(data, &fields[*index], |piece| key.extend_from_slice(piece))
                });
            }
            KeyColumns::Object(parts) => {
                let mut result = Ok(());
                record.key_with(|key| {
                    for (prefix, index) in parts {
                        key.extend_from_slice(prefix);
                        let value = self.value(&self.list[*index], data, scanner, &fields[*index], key);
                        result = std::mem::replace(&mut result, Ok(())).and(value);
                    }
                    key.push(b'}');
                });
                result?;
            }
        }
        let value = record.value();
        for (column, field) in self.list.iter().zip(fields) {
            value.extend_from_slice(&column.prefix);
            self.value(column, data, scanner, field, value)?;
        }
        value.push(b'}');
        record.end();
        Ok(())
    }

    #[inline]
    fn value(
        &self,
        column: &Column,
        data: &[u8],
        scanner: &Scanner,
        field: &Field,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        if field.is_empty() && (self.empty_as_null || column.kind != Type::Text) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        let text = scanner.raw(data, field);
        match column.kind {
            Type::Text if !field.is_escaped() => {
                out.push(b'"');
                out.extend_from_slice(text);
                out.push(b'"');
            }
            Type::Text if !field.is_doubled() => push_string(out, text),
            Type::Text => {
                out.push(b'"');
                scanner.pieces(data, field, |piece| push_escaped(out, piece));
                out.push(b'"');
            }
            Type::Number if is_number(text) => out.extend_from_slice(text),
            Type::Boolean if text == b"true" || text == b"false" => out.extend_from_slice(text),
            Type::Number | Type::Boolean => {
                let kind = if column.kind == Type::Number { "number" } else { "boolean (true, false)" };
                let text = String::from_utf8_lossy(text);
                return Err(("csv.type", format!("column {}: {text:?} is no {kind}", column.name)));
            }
        }
        Ok(())
    }
}

fn prefix(index: usize, name: &str) -> Vec<u8> {
    let mut prefix = vec![if index == 0 { b'{' } else { b',' }];
    push_string(&mut prefix, name.as_bytes());
    prefix.push(b':');
    prefix
}

/// Members of a JSON object need names of their own: an empty name becomes `column_3`, a repeated one `name_2`.
fn unique(names: Vec<String>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let name = if name.is_empty() { format!("column_{}", index + 1) } else { name };
        let mut candidate = name.clone();
        let mut count = 1;
        while unique.contains(&candidate) {
            count += 1;
            candidate = format!("{name}_{count}");
        }
        unique.push(candidate);
    }
    unique
}
