//! Parquet files: rows are taken apart into columns (`shred`), and columns written a row group at a time by the crate `parquet`.

mod join;
mod schema;
mod shred;
mod summary;

use std::io::{self, Write};
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::{Compression, GzipLevel};
use parquet::column::writer::ColumnWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

pub use self::join::JoinedFile;
use self::shred::{Column, Values};
pub use self::summary::{ColumnSummary, Summary};
use crate::Codec;
use crate::datum::Datum;
use crate::types::{Field, Schema};

/// A row group is written when its columns have this many bytes in memory.
const ROW_GROUP_BYTES: usize = 16 << 20;
/// Or this many rows.
const ROW_GROUP_ROWS: usize = 1 << 20;

/// Writes one file.
pub struct ParquetFile {
    fields: Vec<Field>,
    columns: Vec<Column>,
    /// Rows in `columns`.
    rows: usize,
    bytes: usize,
    writer: SerializedFileWriter<Drained>,
    drain: Drained,
}

impl std::fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetFile")
            .field("rows", &self.rows)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// What the library has written and nobody has fetched yet. (It asks for `Send`, hence the lock.)
#[derive(Clone, Default)]
struct Drained(Arc<Mutex<Vec<u8>>>);

impl Drained {
    fn fetch(&self, out: &mut Vec<u8>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.append(&mut held);
    }
}

impl Write for Drained {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(error: &ParquetError) -> String {
    format!("the Parquet file can't be written: {error}")
}

/// What files written here have in common.
fn properties(codec: Codec) -> Result<WriterProperties, String> {
    let compression = match codec {
        Codec::None => Compression::UNCOMPRESSED,
        Codec::Gzip => Compression::GZIP(GzipLevel::default()),
        Codec::Snappy => Compression::SNAPPY,
        // The library has it in C only.
        Codec::Zstd => return Err("Parquet can't be written with zstd; snappy and gzip can".into()),
    };
    Ok(WriterProperties::builder()
        .set_compression(compression)
        .set_created_by(format!("millrace version {}", env!("CARGO_PKG_VERSION")))
        .build())
}

impl ParquetFile {
    /// Begins a file.
    pub fn begin(schema: &Schema, codec: Codec, out: &mut Vec<u8>) -> Result<Self, String> {
        Self::begin_with_ids(schema, &[], codec, out)
    }

    /// Begins a file whose columns have ids: one for each field, element, key and value of the schema, each before what is in it.
    pub fn begin_with_ids(
        schema: &Schema,
        ids: &[i32],
        codec: Codec,
        out: &mut Vec<u8>,
    ) -> Result<Self, String> {
        let properties = properties(codec)?;
        let root = Arc::new(schema::of(schema, ids).map_err(|error| failed(&error))?);
        let drain = Drained::default();
        let writer = SerializedFileWriter::new(drain.clone(), root, Arc::new(properties))
            .map_err(|error| failed(&error))?;
        drain.fetch(out);
        let columns = shred::columns(&schema.fields);
        Ok(Self { fields: schema.fields.clone(), columns, rows: 0, bytes: 0, writer, drain })
    }

    /// Adds a row that was made for this file's schema.
    pub fn push(&mut self, row: &[Datum], out: &mut Vec<u8>) -> Result<(), String> {
        shred::row(row, &self.fields, &mut self.columns);
        self.rows += 1;
        self.bytes += row.iter().map(Datum::bytes).sum::<usize>();
        if self.bytes >= ROW_GROUP_BYTES || self.rows >= ROW_GROUP_ROWS {
            self.end_group(out)
        } else {
            Ok(())
        }
    }

    /// Rows that are not in `out` yet, in bytes.
    pub fn pending_bytes(&self) -> usize {
        self.bytes
    }

    /// Writes what is pending as a row group.
    pub fn end_group(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        if self.rows > 0 {
            self.write_group().map_err(|error| failed(&error))?;
            (self.rows, self.bytes) = (0, 0);
        }
        self.drain.fetch(out);
        Ok(())
    }

    /// Writes what is pending, and the footer.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<Summary, String> {
        self.end_group(out)?;
        let metadata = self.writer.finish().map_err(|error| failed(&error))?;
        self.drain.fetch(out);
        Ok(Summary::of(&metadata))
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            let Some(mut writer) = group.next_column()? else { break };
            let (def, rep) = (take(&mut column.def), take(&mut column.rep));
            let (def, rep) = (column.def_max > 0)
                .then_some(def.as_slice())
                .map_or((None, None), |def| (Some(def), (column.rep_max > 0).then_some(rep.as_slice())));
            match (writer.untyped(), &mut column.values) {
                (ColumnWriter::BoolColumnWriter(writer), Values::Boolean(values)) => {
                    writer.write_batch(&take(values), def, rep)?;
                }
                (ColumnWriter::Int32ColumnWriter(writer), Values::Int(values)) => {
                    writer.write_batch(&take(values), def, rep)?;
                }
                (ColumnWriter::Int64ColumnWriter(writer), Values::Long(values)) => {
                    writer.write_batch(&take(values), def, rep)?;
                }
                (ColumnWriter::FloatColumnWriter(writer), Values::Float(values)) => {
                    writer.write_batch(&take(values), def, rep)?;
                }
                (ColumnWriter::DoubleColumnWriter(writer), Values::Double(values)) => {
                    writer.write_batch(&take(values), def, rep)?;
                }
                (ColumnWriter::ByteArrayColumnWriter(writer), Values::Bytes(values)) => {
                    writer.write_batch(&take(values), def, rep)?;
                }
                (ColumnWriter::FixedLenByteArrayColumnWriter(writer), Values::Fixed(_, values)) => {
                    writer.write_batch(&take(values), def, rep)?;
                }
                _ => return Err(ParquetError::General("a column of another type than its values".into())),
            }
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }
}
