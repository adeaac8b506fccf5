//! The pages of a column in a row group, found, checked, unpacked and bounded.
//!
//! What the library would take a page's word for, and panic or run out of memory over, is looked at before it gets the page.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, Type as Physical};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::ColumnDescPtr;

use super::header::{self, Header, Kind, NoHeader};
use super::{Shared, get};
use crate::Trouble;
use crate::blob::Window;
use crate::block::{Codec, unpack};

/// Largest page, in the file and unpacked.
const PAGE_BYTES_MAX: usize = 64 << 20;
/// Largest dictionary.
const DICTIONARY_BYTES_MAX: usize = 32 << 20;
/// Most values of a dictionary.
const DICTIONARY_VALUES_MAX: u32 = 1 << 20;
/// Largest header; statistics hold values.
const HEADER_BYTES_MAX: usize = 1 << 20;
/// Pages that are unpacked for the rows of one batch, all columns together.
const BATCH_BYTES_MAX: usize = 128 << 20;
/// Values that a batch may have in one column with lists.
const BATCH_VALUES_MAX: usize = 8 << 20;

/// What a batch of rows may still take.
#[derive(Debug, Default)]
pub(super) struct Budget {
    bytes: AtomicUsize,
}

impl Budget {
    /// Begins another batch.
    pub(super) fn renew(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }

    fn take(&self, bytes: usize) -> Result<(), Trouble> {
        let taken = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if taken > BATCH_BYTES_MAX {
            return Err(Trouble::Rotten(format!(
                "pages of more than {BATCH_BYTES_MAX} bytes for a few rows"
            )));
        }
        Ok(())
    }
}

/// Pages of a column.
pub(super) struct Pages {
    blob: Shared,
    window: Window,
    ahead: usize,
    /// Where the next page begins.
    next: u64,
    end: u64,
    codec: Codec,
    of: ColumnDescPtr,
    values_left: u64,
    has_dictionary: bool,
    /// The next page's header, and its length.
    seen: Option<(Header, usize)>,
    budget: Arc<Budget>,
    /// Values of the pages since the last batch began, for columns with lists.
    values: Arc<AtomicUsize>,
}

fn codec(compression: Compression) -> Result<Codec, Trouble> {
    Ok(match compression {
        Compression::UNCOMPRESSED => Codec::None,
        Compression::SNAPPY => Codec::Snappy,
        Compression::GZIP(_) => Codec::Gzip,
        Compression::ZSTD(_) => Codec::Zstd,
        other => {
            return Err(Trouble::Unsupported(format!(
                "its pages are compressed with {other:?}, of which only gzip, snappy and zstd are read"
            )));
        }
    })
}

/// The library's name, if this column can be written so.
fn encoding(number: i32, of: Physical, has_dictionary: bool) -> Option<Encoding> {
    use Physical::{BOOLEAN, BYTE_ARRAY, DOUBLE, FIXED_LEN_BYTE_ARRAY, FLOAT, INT32, INT64};
    match number {
        0 => Some(Encoding::PLAIN),
        2 if has_dictionary => Some(Encoding::PLAIN_DICTIONARY),
        3 if of == BOOLEAN => Some(Encoding::RLE),
        5 if matches!(of, INT32 | INT64) => Some(Encoding::DELTA_BINARY_PACKED),
        6 if of == BYTE_ARRAY => Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        7 if matches!(of, BYTE_ARRAY | FIXED_LEN_BYTE_ARRAY) => Some(Encoding::DELTA_BYTE_ARRAY),
        8 if has_dictionary => Some(Encoding::RLE_DICTIONARY),
        9 if matches!(of, INT32 | INT64 | FLOAT | DOUBLE | FIXED_LEN_BYTE_ARRAY) => {
            Some(Encoding::BYTE_STREAM_SPLIT)
        }
        _ => None,
    }
}

/// Bytes of a value, or the fewest that it can have.
fn width(of: &ColumnDescPtr) -> usize {
    match of.physical_type() {
        Physical::BOOLEAN => 1,
        Physical::INT32 | Physical::FLOAT | Physical::BYTE_ARRAY => 4,
        Physical::INT64 | Physical::DOUBLE => 8,
        Physical::INT96 => 12,
        Physical::FIXED_LEN_BYTE_ARRAY => usize::try_from(of.type_length()).unwrap_or(0).max(1),
    }
}

impl Pages {
    pub(super) fn new(
        blob: &Shared,
        size: u64,
        chunk: &ColumnChunkMetaData,
        ahead: usize,
        budget: &Arc<Budget>,
        values: &Arc<AtomicUsize>,
    ) -> Result<Self, Trouble> {
        let data = chunk.data_page_offset();
        let start = chunk.dictionary_page_offset().filter(|at| *at > 0 && *at < data).unwrap_or(data);
        let range = u64::try_from(start).ok().zip(u64::try_from(chunk.compressed_size()).ok());
        let range = range.and_then(|(start, length)| Some((start, start.checked_add(length)?)));
        let (next, end) = range.filter(|(_, end)| *end <= size).ok_or_else(|| {
            Trouble::Rotten(format!("column {} does not lie in the file", chunk.column_path().string()))
        })?;
        Ok(Self {
            blob: Arc::clone(blob),
            window: Window::default(),
            ahead,
            next,
            end,
            codec: codec(chunk.compression())?,
            of: chunk.column_descr_ptr(),
            values_left: u64::try_from(chunk.num_values()).unwrap_or(0),
            has_dictionary: false,
            seen: None,
            budget: Arc::clone(budget),
            values: Arc::clone(values),
        })
    }

    /// The next page's header and its length; none: there are no more pages that matter.
    fn peek(&mut self) -> Result<Option<(Header, usize)>, Trouble> {
        loop {
            if let Some(seen) = &self.seen {
                return Ok(Some(seen.clone()));
            }
            if self.values_left == 0 || self.next >= self.end {
                return Ok(None);
            }
            let (header, length) = self.read_header()?;
            if header.packed > PAGE_BYTES_MAX || header.plain > PAGE_BYTES_MAX {
                return Err(Trouble::Rotten(format!("a page of more than {PAGE_BYTES_MAX} bytes")));
            }
            if header.kind == Kind::Other {
                self.next += (length + header.packed) as u64;
            } else {
                self.seen = Some((header, length));
            }
        }
    }

    fn read_header(&mut self) -> Result<(Header, usize), Trouble> {
        let left = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
        let mut length = 1 << 10;
        loop {
            let seen = length.min(left);
            let bytes = get(&self.blob, &mut self.window, (self.next, seen), (self.ahead, self.end))?;
            match header::read(&bytes) {
                Ok(found) => return Ok(found),
                Err(NoHeader::CutOff) if seen < left && length < HEADER_BYTES_MAX => length *= 8,
                Err(_) => {
                    return Err(Trouble::Rotten(format!("no header of a page at byte {}", self.next)));
                }
            }
        }
    }

    fn pass(&mut self) -> Result<Option<(Header, u64)>, Trouble> {
        let Some((header, length)) = self.peek()? else { return Ok(None) };
        self.seen = None;
        let body = self.next + length as u64;
        self.next = body + header.packed as u64;
        if let Kind::Data { values, .. } | Kind::DataV2 { values, .. } = header.kind {
            self.values_left = self.values_left.saturating_sub(u64::from(values));
        }
        Ok(Some((header, body)))
    }

    fn page(&mut self) -> Result<Option<Page>, Trouble> {
        let Some((header, body)) = self.pass()? else { return Ok(None) };
        if self.next > self.end {
            return Err(Trouble::rotten("a page that goes on behind its column"));
        }
        let packed = get(&self.blob, &mut self.window, (body, header.packed), (self.ahead, self.end))?;
        if let Some(wanted) = header.crc {
            let mut crc = flate2::Crc::new();
            crc.update(&packed);
            if crc.sum() != wanted {
                return Err(Trouble::Rotten(format!(
                    "the page at byte {body} is damaged: its checksum is another one"
                )));
            }
        }
        self.budget.take(header.plain.max(header.packed))?;
        let page = match header.kind {
            Kind::Dictionary { values, encoding, sorted } => {
                let buf = self.plain(&packed, header.plain)?;
                let is_plain = matches!(encoding, 0 | 2);
                let fits = (values as usize).saturating_mul(width(&self.of)) <= buf.len();
                let is_small = buf.len() <= DICTIONARY_BYTES_MAX && values <= DICTIONARY_VALUES_MAX;
                if !is_plain || !fits || !is_small || self.of.physical_type() == Physical::BOOLEAN {
                    return Err(Trouble::rotten("a dictionary that is none, or too large"));
                }
                self.has_dictionary = true;
                let encoding = Encoding::PLAIN;
                Page::DictionaryPage { buf, num_values: values, encoding, is_sorted: sorted }
            }
            Kind::Data { values, encoding, def, rep } => {
                let buf = self.plain(&packed, header.plain)?;
                let levels = |max: i16, number: i32| match number {
                    3 => Ok(Encoding::RLE),
                    _ if max == 0 => Ok(Encoding::RLE),
                    _ => Err(Trouble::rotten("levels in an encoding other than RLE")),
                };
                let (def_level_encoding, rep_level_encoding) =
                    (levels(self.of.max_def_level(), def)?, levels(self.of.max_rep_level(), rep)?);
                let mut at = 0;
                for max in [self.of.max_rep_level(), self.of.max_def_level()] {
                    if max > 0 {
                        let length =
                            buf.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes);
                        let length = length.and_then(|length| usize::try_from(length).ok());
                        at = length.and_then(|length| (at + 4).checked_add(length)).unwrap_or(usize::MAX);
                        if at > buf.len() {
                            return Err(Trouble::rotten("levels that go on behind their page"));
                        }
                    }
                }
                let encoding = self.encoding(encoding, &buf[at..], values)?;
                Page::DataPage {
                    buf,
                    num_values: values,
                    encoding,
                    def_level_encoding,
                    rep_level_encoding,
                    statistics: None,
                }
            }
            Kind::DataV2 { values, nulls, rows, encoding, def_bytes, rep_bytes, packed: is_packed } => {
                let levels = (def_bytes as usize).checked_add(rep_bytes as usize);
                let levels = levels.filter(|levels| *levels <= packed.len() && *levels <= header.plain);
                let levels = levels.ok_or_else(|| Trouble::rotten("levels that go on behind their page"))?;
                let buf = if is_packed && self.codec != Codec::None && header.plain > levels {
                    let values = self.plain(&packed.slice(levels..), header.plain - levels)?;
                    Bytes::from([&packed[..levels], &values[..]].concat())
                } else {
                    packed
                };
                let encoding = self.encoding(encoding, &buf[levels..], values)?;
                Page::DataPageV2 {
                    buf,
                    num_values: values,
                    encoding,
                    num_nulls: nulls,
                    num_rows: rows,
                    def_levels_byte_len: def_bytes,
                    rep_levels_byte_len: rep_bytes,
                    is_compressed: false,
                    statistics: None,
                }
            }
            Kind::Other => return Ok(None),
        };
        if self.of.max_rep_level() > 0 && !page.is_dictionary_page() {
            let values = page.num_values() as usize;
            if self.values.fetch_add(values, Ordering::Relaxed) + values > BATCH_VALUES_MAX {
                return Err(Trouble::Rotten(format!(
                    "more than {BATCH_VALUES_MAX} values of a column in a few rows"
                )));
            }
        }
        Ok(Some(page))
    }

    fn plain(&self, packed: &Bytes, length: usize) -> Result<Bytes, Trouble> {
        if self.codec == Codec::None {
            return Ok(packed.clone());
        }
        let plain = unpack(self.codec, packed, length)?;
        if plain.len() != length {
            return Err(Trouble::rotten("a page that unpacks to another length than it says"));
        }
        Ok(plain.into())
    }

    fn encoding(&self, number: i32, data: &[u8], values: u32) -> Result<Encoding, Trouble> {
        let of = self.of.physical_type();
        let encoding = encoding(number, of, self.has_dictionary).ok_or_else(|| {
            Trouble::Rotten(format!("a page of {of} in encoding {number}, which it can't have"))
        })?;
        let fits = match encoding {
            Encoding::BYTE_STREAM_SPLIT => data.len().is_multiple_of(width(&self.of)),
            Encoding::DELTA_BINARY_PACKED
            | Encoding::DELTA_LENGTH_BYTE_ARRAY
            | Encoding::DELTA_BYTE_ARRAY => {
                data.is_empty() || delta_count(data).is_some_and(|count| count <= u64::from(values))
            }
            _ => true,
        };
        if fits { Ok(encoding) } else { Err(Trouble::rotten("a page that holds other values than it says")) }
    }
}

/// How many values a page in an encoding by differences says to have: behind the sizes of its blocks.
fn delta_count(mut data: &[u8]) -> Option<u64> {
    let mut number = || {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = data.split_first()?;
            data = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(value);
            }
        }
        None
    };
    let (_block, _parts) = (number()?, number()?);
    number()
}

fn refusal(trouble: Trouble) -> ParquetError {
    match trouble {
        Trouble::Outside(error) => ParquetError::External(Box::new(error)),
        Trouble::Rotten(why) => ParquetError::General(why),
        Trouble::Unsupported(why) => ParquetError::NYI(why),
    }
}

impl Iterator for Pages {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        self.page().map_err(refusal)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        let Some((header, _)) = self.peek().map_err(refusal)? else { return Ok(None) };
        Ok(Some(match header.kind {
            Kind::Data { values, .. } => {
                PageMetadata { num_rows: None, num_levels: Some(values as usize), is_dict: false }
            }
            Kind::DataV2 { values, rows, .. } => PageMetadata {
                num_rows: Some(rows as usize),
                num_levels: Some(values as usize),
                is_dict: false,
            },
            Kind::Dictionary { .. } | Kind::Other => {
                PageMetadata { num_rows: None, num_levels: None, is_dict: true }
            }
        }))
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.pass().map(drop).map_err(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_that_is_not_read_is_no_damage() {
        for other in [Compression::LZ4_RAW, Compression::LZ4, Compression::BROTLI(Default::default())] {
            let trouble = codec(other).expect_err("not read");
            assert!(
                matches!(&trouble, Trouble::Unsupported(why) if why.contains("only gzip, snappy and zstd")),
                "{trouble:?}"
            );
            // Through the library, which has its own errors.
            assert_eq!(super::super::trouble(refusal(trouble.clone())), trouble);
        }
    }
}
