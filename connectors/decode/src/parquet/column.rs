//! A column of a row group: its values with their levels, a batch of rows at a time.
//!
//! A column's definition level says how much of the path to a value is there; its repetition level, at which list of the path an entry begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::file::metadata::ColumnChunkMetaData;

use super::pages::{Budget, Pages};
use super::{BATCH_ROWS, Shared, trouble};
use crate::Trouble;

/// A column that is being read.
pub(super) struct Column {
    reader: ColumnReader,
    def: Vec<i16>,
    rep: Vec<i16>,
    values: Values,
    def_max: i16,
    /// Entries of `def` and `rep` that were taken.
    at: usize,
    /// Values that were taken.
    value_at: usize,
    /// Entries of the batch.
    count: usize,
    budget: Arc<Budget>,
    seen: Arc<AtomicUsize>,
}

/// Values that are there, as Parquet holds them.
#[derive(Debug)]
pub(super) enum Values {
    Boolean(Vec<bool>),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

impl Column {
    pub(super) fn open(
        blob: &Shared,
        size: u64,
        chunk: &ColumnChunkMetaData,
        ahead: usize,
        budget: &Arc<Budget>,
    ) -> Result<Self, Trouble> {
        let (of, seen) = (chunk.column_descr_ptr(), Arc::new(AtomicUsize::new(0)));
        let pages = Pages::new(blob, size, chunk, ahead, budget, &seen)?;
        let def_max = of.max_def_level();
        let reader = get_column_reader(of, Box::new(pages));
        let values = match &reader {
            ColumnReader::BoolColumnReader(_) => Values::Boolean(Vec::new()),
            ColumnReader::Int32ColumnReader(_) => Values::Int(Vec::new()),
            ColumnReader::Int64ColumnReader(_) => Values::Long(Vec::new()),
            ColumnReader::Int96ColumnReader(_) => Values::Int96(Vec::new()),
            ColumnReader::FloatColumnReader(_) => Values::Float(Vec::new()),
            ColumnReader::DoubleColumnReader(_) => Values::Double(Vec::new()),
            ColumnReader::ByteArrayColumnReader(_) => Values::Bytes(Vec::new()),
            ColumnReader::FixedLenByteArrayColumnReader(_) => Values::Fixed(Vec::new()),
        };
        let (def, rep, budget) = (Vec::new(), Vec::new(), Arc::clone(budget));
        Ok(Self { reader, def, rep, values, def_max, at: 0, value_at: 0, count: 0, budget, seen })
    }

    /// Passes over so many rows.
    pub(super) fn skip(&mut self, mut rows: u64) -> Result<(), Trouble> {
        while rows > 0 {
            self.budget.renew();
            self.seen.store(0, Ordering::Relaxed);
            let wanted = usize::try_from(rows.min(BATCH_ROWS)).unwrap_or(1);
            let skipped = match &mut self.reader {
                ColumnReader::BoolColumnReader(reader) => reader.skip_records(wanted),
                ColumnReader::Int32ColumnReader(reader) => reader.skip_records(wanted),
                ColumnReader::Int64ColumnReader(reader) => reader.skip_records(wanted),
                ColumnReader::Int96ColumnReader(reader) => reader.skip_records(wanted),
                ColumnReader::FloatColumnReader(reader) => reader.skip_records(wanted),
                ColumnReader::DoubleColumnReader(reader) => reader.skip_records(wanted),
                ColumnReader::ByteArrayColumnReader(reader) => reader.skip_records(wanted),
                ColumnReader::FixedLenByteArrayColumnReader(reader) => reader.skip_records(wanted),
            };
            if skipped.map_err(trouble)? != wanted {
                return Err(Trouble::rotten("a column has fewer rows than its row group"));
            }
            rows -= wanted as u64;
        }
        Ok(())
    }

    /// Reads the next rows.
    pub(super) fn read(&mut self, rows: u64) -> Result<(), Trouble> {
        self.seen.store(0, Ordering::Relaxed);
        (self.at, self.value_at) = (0, 0);
        self.def.clear();
        self.rep.clear();
        let wanted = usize::try_from(rows).unwrap_or(usize::MAX);
        let (def, rep) = (Some(&mut self.def), Some(&mut self.rep));
        let read = match (&mut self.reader, &mut self.values) {
            (ColumnReader::BoolColumnReader(reader), Values::Boolean(values)) => {
                values.clear();
                reader.read_records(wanted, def, rep, values)
            }
            (ColumnReader::Int32ColumnReader(reader), Values::Int(values)) => {
                values.clear();
                reader.read_records(wanted, def, rep, values)
            }
            (ColumnReader::Int64ColumnReader(reader), Values::Long(values)) => {
                values.clear();
                reader.read_records(wanted, def, rep, values)
            }
            (ColumnReader::Int96ColumnReader(reader), Values::Int96(values)) => {
                values.clear();
                reader.read_records(wanted, def, rep, values)
            }
            (ColumnReader::FloatColumnReader(reader), Values::Float(values)) => {
                values.clear();
                reader.read_records(wanted, def, rep, values)
            }
            (ColumnReader::DoubleColumnReader(reader), Values::Double(values)) => {
                values.clear();
                reader.read_records(wanted, def, rep, values)
            }
            (ColumnReader::ByteArrayColumnReader(reader), Values::Bytes(values)) => {
                values.clear();
                reader.read_records(wanted, def, rep, values)
            }
            (ColumnReader::FixedLenByteArrayColumnReader(reader), Values::Fixed(values)) => {
                values.clear();
                reader.read_records(wanted, def, rep, values)
            }
            _ => return Err(Trouble::rotten("a column of another type than its values")),
        };
        let (records, _, levels) = read.map_err(trouble)?;
        if records != wanted {
            return Err(Trouble::rotten("a column has fewer rows than its row group"));
        }
        self.count = levels;
        Ok(())
    }

    /// The definition level of the next entry.
    pub(super) fn def(&self) -> Result<i16, String> {
        if self.at >= self.count {
            return Err("a column ends within a row".to_owned());
        }
        // Of a column that can't be null there are no levels.
        Ok(self.def.get(self.at).copied().unwrap_or(self.def_max))
    }

    /// The repetition level of the next entry; none: the batch is at its end.
    pub(super) fn rep(&self) -> Option<i16> {
        (self.at < self.count).then(|| self.rep.get(self.at).copied().unwrap_or(0))
    }

    /// Passes over an entry without a value.
    pub(super) fn pass(&mut self) -> Result<(), String> {
        if self.def()? >= self.def_max {
            return Err("a value where there should be none".to_owned());
        }
        self.at += 1;
        Ok(())
    }

    /// Takes an entry; gives the place of its value, if it has one.
    pub(super) fn take(&mut self) -> Result<Option<usize>, String> {
        let is_there = self.def()? >= self.def_max;
        self.at += 1;
        Ok(is_there.then(|| {
            self.value_at += 1;
            self.value_at - 1
        }))
    }

    pub(super) fn values(&self) -> &Values {
        &self.values
    }
}
