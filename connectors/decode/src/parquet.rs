//! Parquet files: the footer, then row group by row group, each column through its pages, put together again into rows.
//!
//! The crate `parquet` reads the footer and decodes what stands in pages. Finding pages, unpacking and bounding them is done here (`pages`): its
//! own reader takes a file's word for sizes, and has Zstandard in C only. Rooms: `schema` (columns out of the file's types), `header` (what
//! stands before a page), `pages`, `column` (values with their levels), `rows` (levels into nested values).

mod column;
mod header;
mod pages;
mod rows;
mod schema;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use millrace_sdk::{Error, Poll, PollLimits, Rejection};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use self::column::Column;
use self::pages::Budget;
use self::rows::{Node, Walk};
use crate::Trouble;
use crate::blob::{Blob, exactly};
use crate::reader::{How, Place, Stop, is_full};
use crate::row::Rows;

const MAGIC: &[u8] = b"PAR1";
const MAGIC_ENCRYPTED: &[u8] = b"PARE";
/// Length of the footer, and the magic.
const TAIL_BYTES: usize = 8;
/// Largest footer.
const FOOTER_BYTES_MAX: usize = 32 << 20;
/// Most columns, those within structures counted one by one.
const COLUMNS_MAX: usize = 2_000;
/// Most rows that are read at once.
const BATCH_ROWS: u64 = 1_024;
/// Plain bytes that rows read at once come to, as far as the file says what they have.
const BATCH_BYTES: u64 = 4 << 20;
/// What all columns together read ahead.
const AHEAD_BYTES: usize = 32 << 20;
const AHEAD_BYTES_MIN: usize = 64 << 10;
const AHEAD_BYTES_MAX: usize = 4 << 20;

/// A blob that columns read from in turn.
type Shared = Arc<Mutex<Box<dyn Blob>>>;

/// A file that is being read.
pub struct ParquetReader {
    blob: Shared,
    size: u64,
    name: String,
    rows: Rows,
    nodes: Vec<Node>,
    footer: ParquetMetaData,
    group: Option<Group>,
    place: Place,
}

/// A row group that is being read.
struct Group {
    columns: Vec<Column>,
    budget: Arc<Budget>,
    rows: u64,
    /// Rows that the columns hold and nobody has taken.
    held: u64,
    batch_rows: u64,
}

impl std::fmt::Debug for ParquetReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetReader")
            .field("name", &self.name)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// What the library says of a file. What the blob said comes back as it was.
fn trouble(error: ParquetError) -> Trouble {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(outside) => Trouble::Outside(*outside),
            Err(other) => Trouble::Rotten(other.to_string()),
        },
        ParquetError::NYI(why) => Trouble::Unsupported(why),
        other => Trouble::Rotten(other.to_string()),
    }
}

impl ParquetReader {
    /// Goes on from a place, or begins.
    pub fn open(mut blob: Box<dyn Blob>, how: How<'_>, place: Place) -> Result<Self, Trouble> {
        let size = blob.size();
        let footer = read_footer(&mut *blob)?;
        let columns = footer.file_metadata().schema_descr().num_columns();
        if columns > COLUMNS_MAX {
            return Err(Trouble::Rotten(format!("{columns} columns, more than {COLUMNS_MAX}")));
        }
        let (schema, nodes) = schema::columns(footer.file_metadata().schema_descr().root_schema())
            .map_err(|why| Trouble::Unsupported(format!("its schema can't be read: {why}")))?;
        let rows = Rows::new(schema, how.options.key.as_ref(), how.typed)?;
        let blob = Arc::new(Mutex::new(blob));
        Ok(Self { blob, size, name: how.name.to_owned(), rows, nodes, footer, group: None, place })
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Adds records until the limits are reached or the file is at its end.
    pub fn read(&mut self, limits: PollLimits, out: &mut Poll) -> Result<Stop, Trouble> {
        while !is_full(limits, out) {
            let Some(group) = &mut self.group else {
                let number = usize::try_from(self.place.offset).unwrap_or(usize::MAX);
                if number >= self.footer.num_row_groups() {
                    return Ok(Stop::End);
                }
                self.group = Some(self.open_group(number).map_err(|trouble| self.within(trouble))?);
                continue;
            };
            if self.place.record >= group.rows {
                self.group = None;
                self.place = Place { offset: self.place.offset + 1, ..Place::default() };
                continue;
            }
            if group.held == 0 {
                let wanted = group.batch_rows.min(group.rows - self.place.record);
                group.budget.renew();
                let read = group.columns.iter_mut().try_for_each(|column| column.read(wanted));
                read.map_err(|trouble| self.within(trouble))?;
                if let Some(group) = &mut self.group {
                    group.held = wanted;
                }
                continue;
            }
            let mut walk = Walk::new(&mut group.columns);
            let row = walk.row(&self.nodes);
            let bad = walk.bad();
            let row = row.map_err(|why| self.within(Trouble::Rotten(why)))?;
            self.place.record += 1;
            if let Some(group) = &mut self.group {
                group.held -= 1;
            }
            let pushed = match bad {
                Some(why) => Err(Rejection::new("file.value", why)),
                None => self.rows.push(&row, out),
            };
            if let Err(why) = pushed {
                let (group, row) = (self.place.offset, self.place.record);
                let message = format!("{}: row {row} of row group {group}: {}", self.name, why.message);
                out.reject(b"", Rejection::new(why.code, message));
            }
        }
        Ok(Stop::Full)
    }

    /// Names the place.
    fn within(&self, trouble: Trouble) -> Trouble {
        match trouble {
            Trouble::Rotten(why) => {
                let (group, row) = (self.place.offset, self.place.record.saturating_add(1));
                Trouble::Rotten(format!("row group {group}, row {row}: {why}"))
            }
            outside => outside,
        }
    }

    /// Opens a row group, and passes over what was read of it before.
    fn open_group(&self, number: usize) -> Result<Group, Trouble> {
        let of = self.footer.row_group(number);
        let rows = u64::try_from(of.num_rows())
            .map_err(|_| Trouble::rotten("a row group with fewer rows than none"))?;
        let ahead = (AHEAD_BYTES / of.num_columns().max(1)).clamp(AHEAD_BYTES_MIN, AHEAD_BYTES_MAX);
        let budget = Arc::new(Budget::default());
        let mut columns = Vec::with_capacity(of.num_columns());
        for column in of.columns() {
            columns.push(Column::open(&self.blob, self.size, column, ahead, &budget)?);
        }
        let leaves = self.nodes.last().map_or(0, |node| node.leaves.end);
        if columns.len() != leaves {
            return Err(Trouble::Rotten(format!("{} columns, where its schema has {leaves}", columns.len())));
        }
        let wanted = self.place.record;
        if wanted > rows {
            return Err(Trouble::rotten("it has fewer rows than were read of it before"));
        }
        columns.iter_mut().try_for_each(|column| column.skip(wanted))?;
        let bytes = u64::try_from(of.total_byte_size()).unwrap_or(0);
        let batch_rows = (BATCH_BYTES / (bytes / rows.max(1)).max(1)).clamp(1, BATCH_ROWS);
        Ok(Group { columns, budget, rows, held: 0, batch_rows })
    }
}

fn read_footer(blob: &mut dyn Blob) -> Result<ParquetMetaData, Trouble> {
    let size = blob.size();
    let not_parquet = || Trouble::rotten("it is no Parquet file, or was cut off");
    let tail_at = size.checked_sub(TAIL_BYTES as u64).ok_or_else(not_parquet)?;
    let tail = exactly(blob, tail_at, TAIL_BYTES)?;
    match &tail[4..] {
        MAGIC => {}
        MAGIC_ENCRYPTED => return Err(Trouble::Unsupported("it is encrypted, which is not read".into())),
        _ => return Err(not_parquet()),
    }
    let length = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > FOOTER_BYTES_MAX {
        return Err(Trouble::Rotten(format!("a footer of more than {FOOTER_BYTES_MAX} bytes")));
    }
    let at = tail_at.checked_sub(length as u64).ok_or_else(not_parquet)?;
    let footer = exactly(blob, at, length)?;
    ParquetMetaDataReader::decode_metadata(&footer)
        .map_err(|error| Trouble::Rotten(format!("its footer can't be read: {error}")))
}

/// Exactly so many bytes, through what a column has read ahead.
fn get(
    blob: &Shared,
    window: &mut crate::blob::Window,
    (offset, length): (u64, usize),
    (ahead, end): (usize, u64),
) -> Result<Bytes, Trouble> {
    let mut blob = blob.lock().unwrap_or_else(PoisonError::into_inner);
    window.get(&mut **blob, offset, length, ahead, end)
}
