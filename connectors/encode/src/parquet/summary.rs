//! What a finished file says of its columns: sizes, counts and bounds, for tables that keep such things beside their files.

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;

use crate::datum::Datum;

/// A finished file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Rows.
    pub rows: i64,
    /// Where row groups begin.
    pub groups: Vec<i64>,
    /// Its leaves, in the schema's order.
    pub columns: Vec<ColumnSummary>,
}

/// A leaf of the schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnSummary {
    /// Its id, if it has one.
    pub id: Option<i32>,
    /// Whether it is in a list or a map: then counts are of entries and not of rows.
    pub is_repeated: bool,
    /// Bytes in the file.
    pub bytes: i64,
    /// Values, nulls included.
    pub values: i64,
    /// Nulls, if they were counted.
    pub nulls: Option<i64>,
    /// No value is less, nor greater: as the file holds them (text is bytes, and may be cut; a decimal is its digits in an integer
    /// of whatever size). None: nothing is known. Not-a-number is left out of account.
    pub bounds: Option<(Datum, Datum)>,
}

impl Summary {
    pub(super) fn of(metadata: &ParquetMetaData) -> Self {
        let groups = metadata.row_groups();
        let columns =
            metadata.file_metadata().schema_descr().columns().iter().enumerate().map(|(at, column)| {
                let info = column.self_type().get_basic_info();
                let mut all = ColumnSummary {
                    id: info.has_id().then(|| info.id()),
                    is_repeated: column.max_rep_level() > 0,
                    nulls: Some(0),
                    ..ColumnSummary::default()
                };
                let known =
                    groups.iter().map(|group| all.add(group.column(at))).fold(true, |known, one| known & one);
                all.bounds = all.bounds.filter(|_| known);
                all
            });
        Self {
            rows: metadata.file_metadata().num_rows(),
            groups: groups
                .iter()
                .filter_map(parquet::file::metadata::RowGroupMetaData::file_offset)
                .collect(),
            columns: columns.collect(),
        }
    }
}

impl ColumnSummary {
    /// Adds a row group's part; whether its bounds are known.
    fn add(&mut self, chunk: &ColumnChunkMetaData) -> bool {
        self.bytes += chunk.compressed_size();
        self.values += chunk.num_values();
        let nulls = chunk.statistics().and_then(Statistics::null_count_opt);
        let nulls = nulls.and_then(|nulls| i64::try_from(nulls).ok());
        self.nulls = self.nulls.zip(nulls).map(|(before, here)| before + here);
        let Some((least, most)) = chunk.statistics().and_then(bounds) else {
            // Nothing but nulls has no bounds, and leaves them as they are.
            return nulls == Some(chunk.num_values());
        };
        self.bounds = Some(match self.bounds.take() {
            None => (least, most),
            Some((low, high)) => (low.least(least), high.most(most)),
        });
        true
    }
}

fn bounds(statistics: &Statistics) -> Option<(Datum, Datum)> {
    let bytes = |bytes: &[u8]| Datum::Bytes(bytes.to_vec());
    Some(match statistics {
        Statistics::Boolean(of) => (Datum::Boolean(*of.min_opt()?), Datum::Boolean(*of.max_opt()?)),
        Statistics::Int32(of) => (Datum::Int(*of.min_opt()?), Datum::Int(*of.max_opt()?)),
        Statistics::Int64(of) => (Datum::Long(*of.min_opt()?), Datum::Long(*of.max_opt()?)),
        Statistics::Float(of) => {
            let (least, most) = (*of.min_opt()?, *of.max_opt()?);
            (!least.is_nan() && !most.is_nan()).then_some((Datum::Float(least), Datum::Float(most)))?
        }
        Statistics::Double(of) => {
            let (least, most) = (*of.min_opt()?, *of.max_opt()?);
            (!least.is_nan() && !most.is_nan()).then_some((Datum::Double(least), Datum::Double(most)))?
        }
        Statistics::ByteArray(of) => (bytes(of.min_bytes_opt()?), bytes(of.max_bytes_opt()?)),
        Statistics::FixedLenByteArray(of) => (digits(of.min_bytes_opt()?)?, digits(of.max_bytes_opt()?)?),
        Statistics::Int96(_) => return None,
    })
}

fn digits(bytes: &[u8]) -> Option<Datum> {
    let fill = if *bytes.first()? >= 0x80 { 0xff } else { 0 };
    let mut whole = [fill; 16];
    whole.get_mut(16_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(Datum::Decimal(i128::from_be_bytes(whole)))
}
