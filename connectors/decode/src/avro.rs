//! Avro object container files (specification 1.12): a header with the schema, then blocks of rows, each followed by the file's mark.
//!
//! Blocks are read one by one, so that a place is a block and a number of rows in it. Rooms: `schema` (columns, and how their values stand in
//! the file), `value` (rows).

mod schema;
mod value;

use bytes::Bytes;
use millrace_connector_encode::json::Json;
use millrace_sdk::{Poll, PollLimits};

use self::schema::{Node, columns};
use self::value::Values;
pub(crate) use self::value::digits;
use crate::Trouble;
use crate::blob::{Blob, Window};
use crate::block::{Codec, unpack};
use crate::reader::{How, Place, Stop, is_full};
use crate::row::Rows;

const MAGIC: &[u8] = b"Obj\x01";
const MARK_BYTES: usize = 16;
/// Largest header: the schema and what writers put beside it.
const HEADER_BYTES_MAX: usize = 4 << 20;
/// Largest block as it stands in the file.
const PACKED_BYTES_MAX: usize = 32 << 20;
/// Largest block without its compression.
const BLOCK_BYTES_MAX: usize = 64 << 20;
/// Bytes asked for at once.
const READ_BYTES: usize = 4 << 20;
/// Two numbers stand before a block.
const NUMBERS_BYTES_MAX: usize = 20;

/// A file that is being read.
pub struct AvroReader {
    blob: Box<dyn Blob>,
    window: Window,
    name: String,
    rows: Rows,
    nodes: Vec<Node>,
    codec: Codec,
    mark: Bytes,
    block: Option<Block>,
    /// Where the next block, or the one that is open, begins; and how many of its rows were read.
    place: Place,
}

/// A block that is being read.
struct Block {
    plain: Vec<u8>,
    /// Bytes of `plain` that were read.
    done: usize,
    rows: u64,
    /// Where the next one begins.
    end: u64,
}

impl std::fmt::Debug for AvroReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AvroReader")
            .field("name", &self.name)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// What the header says.
struct Header {
    schema: String,
    codec: Codec,
    mark: Bytes,
    bytes: usize,
}

impl AvroReader {
    /// Goes on from a place, or begins.
    pub fn open(mut blob: Box<dyn Blob>, how: How<'_>, place: Place) -> Result<Self, Trouble> {
        let mut window = Window::default();
        let header = read_header(&mut *blob, &mut window)?;
        let json =
            Json::read(&header.schema).map_err(|error| Trouble::Rotten(format!("its schema is {error}")))?;
        let (schema, nodes) =
            columns(&json).map_err(|why| Trouble::Unsupported(format!("its schema can't be read: {why}")))?;
        let rows = Rows::new(schema, how.options.key.as_ref(), how.typed)?;
        let (codec, mark) = (header.codec, header.mark);
        let mut reader =
            Self { blob, window, name: how.name.to_owned(), rows, nodes, codec, mark, block: None, place };
        reader.place.offset = reader.place.offset.max(header.bytes as u64);
        reader.pass_over()?;
        Ok(reader)
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Reads the rows that were given out before, to stand behind them.
    fn pass_over(&mut self) -> Result<(), Trouble> {
        let wanted = self.place.record;
        if wanted == 0 {
            return Ok(());
        }
        self.place.record = 0;
        self.open_block()?;
        let Some(block) = self.block.as_mut().filter(|block| wanted <= block.rows) else {
            return Err(Trouble::rotten("a block has fewer rows than were read of it before"));
        };
        for row in 0..wanted {
            let mut values = Values::new(&block.plain[block.done..]);
            values
                .row(&self.nodes, self.rows.schema())
                .map_err(|why| place_of(self.place.offset, row, &why))?;
            block.done += values.read();
        }
        self.place.record = wanted;
        Ok(())
    }

    /// Adds records until the limits are reached or the file is at its end.
    pub fn read(&mut self, limits: PollLimits, out: &mut Poll) -> Result<Stop, Trouble> {
        while !is_full(limits, out) {
            let Some(block) = &mut self.block else {
                if self.place.offset >= self.blob.size() {
                    return Ok(Stop::End);
                }
                self.open_block()?;
                continue;
            };
            if self.place.record >= block.rows {
                if block.done < block.plain.len() {
                    let rest = block.plain.len() - block.done;
                    let why = format!("{rest} bytes stand behind its last row");
                    return Err(place_of(self.place.offset, self.place.record, &why));
                }
                self.place = Place { offset: block.end, ..Place::default() };
                self.block = None;
                continue;
            }
            let mut values = Values::new(&block.plain[block.done..]);
            let row = values
                .row(&self.nodes, self.rows.schema())
                .map_err(|why| place_of(self.place.offset, self.place.record, &why))?;
            block.done += values.read();
            self.place.record += 1;
            if let Err(why) = self.rows.push(&row, out) {
                let message = format!(
                    "{}: row {} of the block at byte {}: {}",
                    self.name, self.place.record, self.place.offset, why.message
                );
                out.reject(b"", millrace_sdk::Rejection::new(why.code, message));
            }
        }
        Ok(Stop::Full)
    }

    /// Reads and unpacks the block at the place.
    fn open_block(&mut self) -> Result<(), Trouble> {
        let (offset, size) = (self.place.offset, self.blob.size());
        let at = |why: String| Trouble::Rotten(format!("the block at byte {offset}: {why}"));
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let front =
            self.window.get(&mut *self.blob, offset, left.min(NUMBERS_BYTES_MAX), READ_BYTES, size)?;
        let mut numbers = Values::new(&front);
        let (rows, packed) = match (numbers.long(), numbers.long()) {
            (Ok(rows), Ok(packed)) => (u64::try_from(rows).ok(), usize::try_from(packed).ok()),
            (Err(why), _) | (_, Err(why)) => return Err(at(why)),
        };
        let (Some(rows), Some(packed)) = (rows, packed.filter(|packed| *packed <= PACKED_BYTES_MAX)) else {
            return Err(at(format!("no block, or one of more than {PACKED_BYTES_MAX} bytes")));
        };
        let start = offset + numbers.read() as u64;
        let whole = self.window.get(&mut *self.blob, start, packed + MARK_BYTES, READ_BYTES, size)?;
        if whole[packed..] != self.mark {
            return Err(at("the file's mark does not stand behind it".to_owned()));
        }
        let mut body = &whole[..packed];
        let mut sum = None;
        if self.codec == Codec::Snappy {
            let Some((data, crc)) = body.split_last_chunk::<4>() else {
                return Err(at("no checksum".to_owned()));
            };
            (body, sum) = (data, Some(u32::from_be_bytes(*crc)));
        }
        let plain = unpack(self.codec, body, BLOCK_BYTES_MAX).map_err(|trouble| match trouble {
            Trouble::Rotten(why) => at(why),
            outside => outside,
        })?;
        if let Some(sum) = sum {
            let mut crc = flate2::Crc::new();
            crc.update(&plain);
            if crc.sum() != sum {
                return Err(at("its checksum is another one".to_owned()));
            }
        }
        // Each row has a byte at least, since a record has a field, and a field has one.
        if rows > plain.len() as u64 {
            return Err(at(format!("{rows} rows in {} bytes", plain.len())));
        }
        self.block = Some(Block { plain, done: 0, rows, end: start + (packed + MARK_BYTES) as u64 });
        Ok(())
    }
}

fn place_of(offset: u64, row: u64, why: &str) -> Trouble {
    Trouble::Rotten(format!("row {} of the block at byte {offset}: {why}", row.saturating_add(1)))
}

fn read_header(blob: &mut dyn Blob, window: &mut Window) -> Result<Header, Trouble> {
    let size = blob.size();
    let mut length = 64 << 10;
    loop {
        let seen = usize::try_from(size).unwrap_or(usize::MAX).min(length);
        let bytes = window.get(blob, 0, seen, READ_BYTES, size)?;
        if !bytes.starts_with(MAGIC) {
            return Err(Trouble::rotten("it is no Avro file"));
        }
        match header(&bytes) {
            Some(header) => return header,
            None if (seen as u64) == size => return Err(Trouble::rotten("its header is cut off")),
            None if length >= HEADER_BYTES_MAX => {
                return Err(Trouble::Rotten(format!("a header of more than {HEADER_BYTES_MAX} bytes")));
            }
            None => length *= 8,
        }
    }
}

/// None: it is not whole.
fn header(bytes: &Bytes) -> Option<Result<Header, Trouble>> {
    let mut values = Values::new(bytes.get(MAGIC.len()..)?);
    let (mut schema, mut codec) = (None, None);
    loop {
        let count = values.long().ok()?;
        if count == 0 {
            break;
        }
        if count < 0 {
            values.long().ok()?;
        }
        for _ in 0..count.unsigned_abs() {
            let (key, value) = (values.counted().ok()?, values.counted().ok()?);
            match key {
                b"avro.schema" => schema = Some(value.to_vec()),
                b"avro.codec" => codec = Some(value.to_vec()),
                _ => {}
            }
        }
    }
    let start = MAGIC.len() + values.read();
    let mark = bytes.get(start..start + MARK_BYTES)?;
    let codec = match codec.as_deref() {
        None | Some(b"null" | b"") => Codec::None,
        Some(b"deflate") => Codec::Deflate,
        Some(b"snappy") => Codec::Snappy,
        Some(b"zstandard") => Codec::Zstd,
        Some(other) => {
            let name = String::from_utf8_lossy(other);
            return Some(Err(Trouble::Unsupported(format!(
                "its blocks are compressed with {name}, of which only null, deflate, snappy and zstandard are read"
            ))));
        }
    };
    let Some(Ok(schema)) = schema.map(String::from_utf8) else {
        return Some(Err(Trouble::rotten("its header: no schema")));
    };
    Some(Ok(Header { schema, codec, mark: bytes.slice_ref(mark), bytes: start + MARK_BYTES }))
}

/// For tests of schemas alone.
#[cfg(test)]
pub(crate) fn columns_of(json: &Json<'_>) -> Result<usize, String> {
    columns(json).map(|(schema, _)| schema.fields.len())
}
