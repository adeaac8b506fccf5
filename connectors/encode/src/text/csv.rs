//! Fields of JSON objects as csv (RFC 4180, lines end with `\n`).
//!
//! Texts are written as they are, numbers and booleans with the digits they have, objects and arrays as JSON, null and missing
//! fields as nothing. A field is quoted where it has to be. Members that are no column are left out.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr3;
use millrace_connector_fields::{Fields, Found, Path, document};
use millrace_sdk::Rejection;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// Writes csv.
#[derive(Debug)]
pub struct Csv {
    delimiter: u8,
    header: bool,
    columns: Option<Columns>,
    found: Vec<Found>,
}

#[derive(Debug)]
struct Columns {
    /// Paths as written; also what the header says.
    names: Vec<String>,
    fields: Fields,
    /// Where each column's value was found, in `found`.
    cells: Vec<Option<usize>>,
}

impl Columns {
    fn new(names: Vec<String>) -> Result<Self, String> {
        let paths: Result<Vec<Path>, _> = names.iter().map(|name| name.parse()).collect();
        let fields = Fields::new(&paths.map_err(|error| error.to_string())?);
        Ok(Self { cells: vec![None; names.len()], names, fields })
    }
}

impl Csv {
    /// With these columns; none: the members of the first record.
    pub fn new(columns: Option<Vec<String>>, delimiter: u8, header: bool) -> Result<Self, String> {
        let columns = columns.map(Columns::new).transpose()?;
        Ok(Self { delimiter, header, columns, found: Vec::new() })
    }

    /// The columns, once they are known.
    pub fn columns(&self) -> Option<&[String]> {
        self.columns.as_ref().map(|columns| columns.names.as_slice())
    }

    /// Appends one record.
    pub fn encode(&mut self, value: Option<&[u8]>, first: bool, out: &mut Vec<u8>) -> Result<(), Rejection> {
        let syntax = |message: String| Rejection::new("json.syntax", message);
        let text = document(value.unwrap_or(b"null")).map_err(|error| syntax(error.to_string()))?;
        if !text.trim_start().starts_with('{') {
            let message = "csv is made of JSON objects, this value is none; set format to lines or jsonl";
            return Err(Rejection::new("csv.object", message));
        }
        let columns = match &mut self.columns {
            Some(columns) => columns,
            None => {
                let names = members(text).map_err(|error| syntax(error.to_string()))?;
                if names.is_empty() {
                    return Err(Rejection::new(
                        "csv.object",
                        "an object without members has no columns; set columns",
                    ));
                }
                let columns = Columns::new(names).map_err(|error| Rejection::new("csv.columns", error))?;
                self.columns.insert(columns)
            }
        };
        columns.fields.find(text, &mut self.found).map_err(|error| syntax(error.to_string()))?;
        columns.cells.fill(None);
        for (index, found) in self.found.iter().enumerate() {
            columns.cells[found.path] = Some(index);
        }
        if first && self.header {
            let header = columns.names.iter().map(|name| Cow::Borrowed(title(name)));
            push_row(out, self.delimiter, header);
        }
        let found = &self.found;
        let cells = columns.cells.iter().map(|cell| match cell {
            Some(index) => plain(&text[found[*index].value.clone()]),
            None => Cow::Borrowed(""),
        });
        push_row(out, self.delimiter, cells);
        Ok(())
    }
}

/// What the header calls a path: itself, without the quotes around a single name.
fn title(path: &str) -> &str {
    let inner = path.strip_prefix('"').and_then(|path| path.strip_suffix('"'));
    inner.filter(|inner| !inner.contains(['"', '\\'])).unwrap_or(path)
}

/// A JSON value as a cell.
fn plain(value: &str) -> Cow<'_, str> {
    match value.as_bytes().first() {
        Some(b'"') => serde_json::from_str(value).unwrap_or(Cow::Borrowed(value)),
        _ if value == "null" => Cow::Borrowed(""),
        _ => Cow::Borrowed(value),
    }
}

fn push_row<'c>(out: &mut Vec<u8>, delimiter: u8, cells: impl Iterator<Item = Cow<'c, str>>) {
    let start = out.len();
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            out.push(delimiter);
        }
        let cell = cell.as_bytes();
        if memchr3(b'"', b'\n', b'\r', cell).is_none() && !cell.contains(&delimiter) {
            out.extend_from_slice(cell);
            continue;
        }
        out.push(b'"');
        for piece in cell.split_inclusive(|&byte| byte == b'"') {
            out.extend_from_slice(piece);
            if piece.ends_with(b"\"") {
                out.push(b'"');
            }
        }
        out.push(b'"');
    }
    if out.len() == start {
        // One empty cell; an empty line would be no row at all.
        out.extend_from_slice(b"\"\"");
    }
    out.push(b'\n');
}

/// Names of an object's members in their order, as paths.
fn members(text: &str) -> Result<Vec<String>, serde_json::Error> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
            let mut names: Vec<String> = Vec::new();
            while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                let path = if name.is_empty() || name.contains(['.', '[', '"']) {
                    serde_json::Value::from(name).to_string()
                } else {
                    name
                };
                if !names.contains(&path) {
                    names.push(path);
                }
            }
            Ok(names)
        }
    }

    serde_json::Deserializer::from_str(text).deserialize_map(Members)
}
