//! What goes into one file or object: records in, bytes out, in a sink's format.
//!
//! Typed rows have the schema of the settings, or that of the records' envelope, or one that is inferred: then the first records of a
//! file are kept as they are until there are enough of them to see its columns. A record that wants other columns begins another
//! file, with columns for both where they can be inferred.

mod pack;

use std::mem::take;
use std::sync::Arc;

use millrace_sdk::{Error, Rejection};
use serde::Deserialize;

use self::pack::Pack;
use crate::avro::AvroFile;
use crate::datum::{Datum, Form, row};
use crate::json::Json;
use crate::parquet::ParquetFile;
use crate::text::csv::Csv;
use crate::text::push_on_one_line;
use crate::types::infer::Shape;
use crate::types::{Schema, connect};
use crate::{Codec, types};

/// Records that a file's columns are inferred from.
const SAMPLE_RECORDS: usize = 1000;
/// Or so many bytes of them.
const SAMPLE_BYTES: usize = 1 << 20;
/// What a file's writer holds besides what it was given, roughly.
const WRITER_BYTES: usize = 8 << 10;

/// What files are.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JSON lines
    Json,
    /// CSV
    Csv,
    /// Avro object container files
    Avro,
    /// Parquet
    Parquet,
}

/// What becomes of a record without a value.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum NullValues {
    /// It is rejected.
    #[default]
    Fail,
    /// It is passed over.
    Ignore,
}

impl NullValues {
    /// What is said of a record that is rejected.
    pub const MISSING: &str = "a record without a value; behavior_on_null_values says what may become of it";
}

/// How files are written.
#[derive(Clone, Debug)]
pub struct Options {
    /// What they are.
    pub format: Format,
    /// How blocks, pages, or the whole of a text are compressed.
    pub codec: Codec,
    /// avro, parquet: the columns; none: as the records have them.
    pub schema: Option<Schema>,
    /// csv: paths of the fields; none: the members of a file's first record.
    pub columns: Option<Vec<String>>,
    /// csv: between two fields.
    pub delimiter: u8,
    /// csv: whether files begin with the columns' names.
    pub header: bool,
}

/// A record's value as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    /// The schema beside it.
    pub schema: Option<&'a str>,
    /// The document.
    pub payload: &'a str,
}

impl<'a> Value<'a> {
    /// Takes a value out of its envelope, if it is in one.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Rejection> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Rejection::new("json.syntax", "not a JSON document: it is not UTF-8"))?;
        Ok(match connect::envelope(text) {
            Some(("null", payload)) => Self { schema: None, payload },
            Some((schema, payload)) => Self { schema: Some(schema), payload },
            None => Self { schema: None, payload: text },
        })
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is in.
    Yes,
    /// It has other columns than this file.
    WantsAnother,
}

/// How files are written, and what is remembered from one to the next.
#[derive(Debug)]
pub struct Kind {
    format: Format,
    codec: Codec,
    schema: Option<Arc<Schema>>,
    columns: Option<Vec<String>>,
    delimiter: u8,
    header: bool,
    /// The envelope's schema that was last read: its text and what it says.
    last: Option<(String, Arc<Schema>)>,
    /// What was seen of values without a schema.
    shape: Shape,
}

/// The content of one file.
#[derive(Debug)]
pub struct Content {
    writer: Writer,
    pack: Pack,
    /// Bytes that are ready.
    pub out: Vec<u8>,
    /// Bytes so far.
    pub written: u64,
}

#[derive(Debug)]
enum Writer {
    Json,
    Csv { csv: Box<Csv>, first: bool },
    Sample { shape: Shape, texts: Vec<String>, bytes: usize },
    Rows { rows: Rows, schema: Arc<Schema>, origin: Origin },
}

/// Where columns come from.
#[derive(Debug)]
enum Origin {
    Settings,
    Envelope,
    Inferred(Shape),
}

#[derive(Debug)]
enum Rows {
    Avro(AvroFile),
    Parquet(Box<ParquetFile>),
}

fn refused(code: &str, message: impl Into<String>) -> Rejection {
    Rejection::new(code, message)
}

fn broken(why: String) -> Error {
    Error::fatal("encode", why)
}

impl Kind {
    /// As a sink's settings say; the error is about the schema.
    pub fn new(options: Options) -> Result<Self, String> {
        let Options { format, codec, schema, columns, delimiter, header } = options;
        let schema = schema.map(Arc::new);
        let kind =
            Self { format, codec, schema, columns, delimiter, header, last: None, shape: Shape::default() };
        if let Some(schema) = &kind.schema {
            kind.rows(schema, &mut Vec::new())?;
        }
        Ok(kind)
    }

    fn rows(&self, schema: &Schema, out: &mut Vec<u8>) -> Result<Rows, String> {
        Ok(match self.format {
            Format::Avro => Rows::Avro(AvroFile::begin(schema, self.codec, out)?),
            _ => Rows::Parquet(Box::new(ParquetFile::begin(schema, self.codec, out)?)),
        })
    }

    /// The columns that a record's envelope names.
    fn of_envelope(&mut self, text: &str) -> Result<Arc<Schema>, Rejection> {
        if let Some((known, schema)) = &self.last
            && known == text
        {
            return Ok(Arc::clone(schema));
        }
        let read = connect::read(text).and_then(|(name, slot)| Schema::of(&name, slot.ty));
        let schema = Arc::new(read.map_err(|why| refused("schema", format!("the record's schema: {why}")))?);
        self.last = Some((text.to_owned(), Arc::clone(&schema)));
        Ok(schema)
    }

    /// Begins a file that this record can be the first of.
    pub fn begin(&mut self, value: &Value<'_>) -> Result<Content, Rejection> {
        let mut out = Vec::new();
        let is_text = matches!(self.format, Format::Json | Format::Csv);
        let pack = if is_text { Pack::new(self.codec) } else { Pack::Plain };
        let writer = match self.format {
            Format::Json => Writer::Json,
            Format::Csv => {
                let csv = Csv::new(self.columns.clone(), self.delimiter, self.header);
                Writer::Csv { csv: Box::new(csv.map_err(|why| refused("csv.columns", why))?), first: true }
            }
            Format::Avro | Format::Parquet => match (&self.schema, value.schema) {
                (Some(schema), _) => {
                    let schema = Arc::clone(schema);
                    let rows = self.rows(&schema, &mut out).map_err(|why| refused("schema", why))?;
                    Writer::Rows { rows, schema, origin: Origin::Settings }
                }
                (None, Some(text)) => {
                    let schema = self.of_envelope(text)?;
                    let rows = self.rows(&schema, &mut out).map_err(|why| refused("schema", why))?;
                    Writer::Rows { rows, schema, origin: Origin::Envelope }
                }
                (None, None) => Writer::Sample { shape: self.shape.clone(), texts: Vec::new(), bytes: 0 },
            },
        };
        let mut content = Content { writer, pack, out: Vec::new(), written: 0 };
        content.emit(&out);
        Ok(content)
    }

    /// Gives a value a place in what was seen, if it has one. All files of a task go by it: a number here and text there would be a
    /// table that nobody can read.
    fn widen(&mut self, json: &Json<'_>) -> Result<(), Rejection> {
        let misfit = |why: String| refused("schema.misfit", why);
        let mut wider = self.shape.clone();
        wider.widen(json).map_err(misfit)?;
        let schema = wider.resolve().and_then(|ty| Schema::of("Record", ty)).map_err(misfit)?;
        if self.format == Format::Avro {
            types::avro::write(&schema).map_err(|why| refused("schema.name", why))?;
        }
        self.shape = wider;
        Ok(())
    }
}

impl Content {
    /// Bytes in memory.
    pub fn held(&self) -> usize {
        WRITER_BYTES + self.out.len() + self.pending()
    }

    /// Those of them that are not in `out` yet.
    pub fn pending(&self) -> usize {
        let writer = match &self.writer {
            Writer::Json | Writer::Csv { .. } => 0,
            Writer::Sample { bytes, .. } => *bytes,
            Writer::Rows { rows: Rows::Avro(file), .. } => file.pending_bytes(),
            Writer::Rows { rows: Rows::Parquet(file), .. } => file.pending_bytes(),
        };
        writer + self.pack.held()
    }

    /// Size of the file so far, as far as it is known.
    pub fn size(&self) -> u64 {
        self.written + self.pending() as u64
    }

    /// Adds a record.
    pub fn add(&mut self, kind: &mut Kind, value: &Value<'_>) -> Result<Result<Added, Rejection>, Error> {
        let mut lines = Vec::new();
        match &mut self.writer {
            Writer::Json => {
                if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(value.payload) {
                    return Ok(Err(refused("json.syntax", format!("not a JSON document: {error}"))));
                }
                push_on_one_line(&mut lines, value.payload.as_bytes());
            }
            Writer::Csv { csv, first } => {
                if let Err(why) = csv.encode(Some(value.payload.as_bytes()), *first, &mut lines) {
                    return Ok(Err(why));
                }
                *first = false;
            }
            Writer::Sample { .. } | Writer::Rows { .. } => return self.add_row(kind, value),
        }
        self.emit(&lines);
        Ok(Ok(Added::Yes))
    }

    fn add_row(&mut self, kind: &mut Kind, value: &Value<'_>) -> Result<Result<Added, Rejection>, Error> {
        let json = match Json::read(value.payload) {
            Ok(json) => json,
            Err(error) => return Ok(Err(refused("json.syntax", error.to_string()))),
        };
        let made = match &mut self.writer {
            Writer::Rows { schema, origin: Origin::Settings, .. } => {
                let form = if value.schema.is_some() { Form::Connect } else { Form::Plain };
                row(&json, &schema.fields, form)
            }
            Writer::Rows { schema, origin: Origin::Envelope, .. } => match value.schema {
                Some(text) => match kind.of_envelope(text) {
                    Ok(known) if known == *schema => row(&json, &schema.fields, Form::Connect),
                    Ok(_) => return Ok(Ok(Added::WantsAnother)),
                    Err(why) => return Ok(Err(why)),
                },
                None => return Ok(Ok(Added::WantsAnother)),
            },
            Writer::Rows { .. } | Writer::Sample { .. } if value.schema.is_some() => {
                return Ok(Ok(Added::WantsAnother));
            }
            Writer::Rows { schema, origin: Origin::Inferred(shape), .. } => {
                if !shape.takes(&json) {
                    return Ok(kind.widen(&json).map(|()| Added::WantsAnother));
                }
                row(&json, &schema.fields, Form::Inferred)
            }
            Writer::Sample { shape, texts, bytes } => {
                if texts.is_empty() || !shape.takes(&json) {
                    if let Err(why) = kind.widen(&json) {
                        return Ok(Err(why));
                    }
                    *shape = kind.shape.clone();
                }
                texts.push(value.payload.to_owned());
                *bytes += value.payload.len();
                if texts.len() >= SAMPLE_RECORDS || *bytes >= SAMPLE_BYTES {
                    self.end_sample(kind)?;
                }
                return Ok(Ok(Added::Yes));
            }
            Writer::Json | Writer::Csv { .. } => return Ok(Ok(Added::WantsAnother)),
        };
        match made {
            Ok(row) => self.push(&row).map(|()| Ok(Added::Yes)),
            Err(why) => Ok(Err(refused("schema.misfit", why))),
        }
    }

    /// Settles the columns, and writes what was kept.
    fn end_sample(&mut self, kind: &Kind) -> Result<(), Error> {
        let Writer::Sample { shape, texts, .. } = &mut self.writer else { return Ok(()) };
        let (shape, texts) = (take(shape), take(texts));
        let schema = shape.resolve().and_then(|ty| Schema::of("Record", ty)).map_err(broken)?;
        let (schema, mut out) = (Arc::new(schema), Vec::new());
        let rows = kind.rows(&schema, &mut out).map_err(broken)?;
        self.writer = Writer::Rows { rows, schema: Arc::clone(&schema), origin: Origin::Inferred(shape) };
        self.emit(&out);
        for text in &texts {
            let json = Json::read(text).map_err(|error| broken(error.to_string()))?;
            let row = row(&json, &schema.fields, Form::Inferred).map_err(broken)?;
            self.push(&row)?;
        }
        Ok(())
    }

    fn push(&mut self, row: &[Datum]) -> Result<(), Error> {
        let before = self.out.len();
        if let Writer::Rows { rows, .. } = &mut self.writer {
            match rows {
                Rows::Avro(file) => file.push(row, &mut self.out).map_err(broken)?,
                Rows::Parquet(file) => file.push(row, &mut self.out).map_err(broken)?,
            }
        }
        self.written += (self.out.len() - before) as u64;
        Ok(())
    }

    /// Adds bytes, compressed if text is.
    fn emit(&mut self, bytes: &[u8]) {
        let before = self.out.len();
        self.pack.add(bytes, &mut self.out);
        self.written += (self.out.len() - before) as u64;
    }

    /// Makes what is held into bytes that can be written.
    pub fn relieve(&mut self, kind: &Kind) -> Result<(), Error> {
        self.end_sample(kind)?;
        let before = self.out.len();
        self.pack.relieve(&mut self.out);
        if let Writer::Rows { rows, .. } = &mut self.writer {
            match rows {
                Rows::Avro(file) => file.end_block(&mut self.out).map_err(broken)?,
                Rows::Parquet(file) => file.end_group(&mut self.out).map_err(broken)?,
            }
        }
        self.written += (self.out.len() - before) as u64;
        Ok(())
    }

    /// Writes all that is left. Nothing may be added any more.
    pub fn finish(&mut self, kind: &Kind) -> Result<(), Error> {
        self.end_sample(kind)?;
        let before = self.out.len();
        self.pack.finish(&mut self.out).map_err(broken)?;
        match std::mem::replace(&mut self.writer, Writer::Json) {
            Writer::Rows { rows: Rows::Avro(mut file), .. } => {
                file.end_block(&mut self.out).map_err(broken)?
            }
            Writer::Rows { rows: Rows::Parquet(file), .. } => {
                file.finish(&mut self.out).map(drop).map_err(broken)?
            }
            Writer::Json | Writer::Csv { .. } | Writer::Sample { .. } => {}
        }
        self.written += (self.out.len() - before) as u64;
        Ok(())
    }
}
