//! Files of one schema put together: their row groups follow one another as they are, so that no value is decoded, and none can change.

use std::sync::Arc;

use bytes::Bytes;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::writer::SerializedFileWriter;

use super::{Drained, Summary, failed, properties};
use crate::Codec;

/// A file of whole row groups of others.
pub struct JoinedFile {
    writer: SerializedFileWriter<Drained>,
    drain: Drained,
}

impl std::fmt::Debug for JoinedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinedFile").finish_non_exhaustive()
    }
}

fn footer(file: &Bytes) -> Result<ParquetMetaData, String> {
    ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Optional)
        .parse_and_finish(file)
        .map_err(|error| format!("its footer can't be read: {error}"))
}

impl JoinedFile {
    /// Begins a file with the schema of this one, which is to be added, too.
    pub fn begin(like: &Bytes, out: &mut Vec<u8>) -> Result<Self, String> {
        let footer = footer(like)?;
        let schema = Arc::new(footer.file_metadata().schema().clone());
        // How pages are compressed is said of each column: nothing is written here.
        let properties = Arc::new(properties(Codec::None)?);
        let drain = Drained::default();
        let writer =
            SerializedFileWriter::new(drain.clone(), schema, properties).map_err(|error| failed(&error))?;
        drain.fetch(out);
        Ok(Self { writer, drain })
    }

    /// Adds the rows of a whole file. False: its schema is another one, and nothing was added. After an error this one is of no use.
    pub fn add(&mut self, file: &Bytes, out: &mut Vec<u8>) -> Result<bool, String> {
        let footer = footer(file)?;
        if footer.file_metadata().schema() != self.writer.schema_descr().root_schema() {
            return Ok(false);
        }
        self.append(file, &footer).map_err(|error| failed(&error))?;
        self.drain.fetch(out);
        Ok(true)
    }

    fn append(&mut self, file: &Bytes, footer: &ParquetMetaData) -> Result<(), ParquetError> {
        for (at, from) in footer.row_groups().iter().enumerate() {
            let index = footer.page_index_for_row_group(at);
            let mut group = self.writer.next_row_group()?;
            for (column, chunk) in from.columns().iter().enumerate() {
                let closed = ColumnCloseResult {
                    bytes_written: u64::try_from(chunk.compressed_size()).unwrap_or(0),
                    rows_written: u64::try_from(from.num_rows()).unwrap_or(0),
                    metadata: chunk.clone(),
                    bloom_filter: None,
                    column_index: index.column_index(column).cloned(),
                    offset_index: index.offset_index(column).cloned(),
                };
                group.append_column(file, closed)?;
            }
            group.close()?;
        }
        Ok(())
    }

    /// Writes the footer.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<Summary, String> {
        let metadata = self.writer.finish().map_err(|error| failed(&error))?;
        self.drain.fetch(out);
        Ok(Summary::of(&metadata))
    }
}
