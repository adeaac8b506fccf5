//! Snapshots of the metadata: all of an image's records in one file, so that a start needn't read the log from its
//! beginning and the log can lose its front.
//!
//! The form is that of Apache Kafka's (KIP-630): `<end offset>-<epoch>.checkpoint` beside the log's segments, with the
//! batches of a log that begins at offset 0, the first of them a control batch that is the header, the last one a
//! control batch that is the footer. So `kafka-dump-log --cluster-metadata-decoder` reads it, and a node of a quorum could send it to
//! another. A file without footer, or with anything that does not check out, is no snapshot.
//!
//! Rooms: `files` (which there are; how one is written, so that a crash leaves all of it or none).

mod files;

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_log::disk::DiskFile;
use millrace_log::{Scanner, Step};
use millrace_wire::batch::RawBatch;
use millrace_wire::ids::{LeaderEpoch, Offset};
use millrace_wire::record::{self, BatchBuilder, BatchOptions};

use super::image::Image;
use super::record::MetadataRecord;

pub(crate) use files::SnapshotFiles;

/// Records are gathered in batches of about this size.
const BATCH_BYTES: usize = 256 << 10;
/// What a batch may unpack to.
const UNCOMPRESSED_BYTES_MAX: usize = 64 << 20;
/// Control record types (`ControlRecordType`).
const HEADER: i16 = 3;
const FOOTER: i16 = 4;

/// Which state a snapshot has: everything below an offset, the last of it written in this epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SnapshotId {
    pub(crate) end: Offset,
    pub(crate) epoch: LeaderEpoch,
}

/// A snapshot that can't be written, or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The disk refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// It is not whole, or was changed.
    #[error("snapshot {} is damaged at byte {position}: {reason}", path.display())]
    Damaged { path: PathBuf, position: u64, reason: String },
    /// A batch can't be built.
    #[error("a snapshot cannot be built: {0}")]
    Build(#[from] record::Error),
}

/// Writes the image's records into an empty file; nothing is synced.
fn write(file: &Arc<dyn DiskFile>, id: SnapshotId, image: &Image) -> Result<(), Written> {
    let mut out = Output { file, id, position: 0, next: 0 };
    let mut header = BytesMut::new();
    header.put_i16(0);
    header.put_i64(image.timestamp_ms);
    header.put_u8(0); // no tagged fields
    out.control(HEADER, &header, image.timestamp_ms)?;
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for record in image.records() {
        builder.push(image.timestamp_ms, None, Some(&record.encode()), std::iter::empty())?;
        if builder.size_bytes() >= BATCH_BYTES {
            let full = std::mem::replace(&mut builder, BatchBuilder::new(BatchOptions::default()));
            out.batch(full)?;
        }
    }
    if !builder.is_empty() {
        out.batch(builder)?;
    }
    out.control(FOOTER, &[0, 0, 0], image.timestamp_ms)
}

/// Why a file wasn't written; who knows its name makes an [`Error`] of it.
#[derive(Debug)]
enum Written {
    Io(io::Error),
    Build(record::Error),
}

impl From<io::Error> for Written {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<record::Error> for Written {
    fn from(error: record::Error) -> Self {
        Self::Build(error)
    }
}

struct Output<'f> {
    file: &'f Arc<dyn DiskFile>,
    id: SnapshotId,
    position: u64,
    /// The next batch's offset in the file.
    next: i64,
}

impl Output<'_> {
    fn control(&mut self, kind: i16, value: &[u8], timestamp_ms: i64) -> Result<(), Written> {
        let mut key = BytesMut::new();
        key.put_i16(0);
        key.put_i16(kind);
        let mut builder = BatchBuilder::new(BatchOptions { control: true, ..BatchOptions::default() });
        builder.push(timestamp_ms, Some(&key), Some(value), std::iter::empty())?;
        self.batch(builder)
    }

    fn batch(&mut self, builder: BatchBuilder) -> Result<(), Written> {
        let records = builder.len() as i64;
        let bytes = builder.build(Offset(self.next))?;
        let batch = RawBatch::parse(&bytes).map_err(io::Error::other)?;
        let prefix = batch.header.prefix(Offset(self.next), self.id.epoch);
        let parts = [IoSlice::new(&prefix), IoSlice::new(&bytes[prefix.len()..])];
        self.file.write_all_at(&parts, self.position)?;
        self.position += bytes.len() as u64;
        self.next += records;
        Ok(())
    }
}

/// Why a file is no snapshot.
enum Unfit {
    Io(io::Error),
    /// From this byte on.
    Damaged(u64, String),
}

/// Reads a file of `len` bytes back: an image without an offset. Everything is checked before anything is returned.
fn read(file: Arc<dyn DiskFile>, len: u64, id: SnapshotId) -> Result<Image, Unfit> {
    let mut image = Image::default();
    let mut scanner = Scanner::new(file, 0, len);
    let (mut next, mut last_control) = (0, None);
    loop {
        let (position, batch) = match scanner.step().map_err(Unfit::Io)? {
            Step::Batch { position, batch } => (position, batch),
            Step::Bad { position, reason } => return Err(Unfit::Damaged(position, reason)),
            Step::End => break,
        };
        let damaged = |reason: String| Err(Unfit::Damaged(position, reason));
        let header = &batch.header;
        if header.base_offset.0 != next || header.partition_leader_epoch != id.epoch {
            let (offset, epoch) = (header.base_offset, header.partition_leader_epoch);
            return damaged(format!(
                "a batch of offset {offset} and epoch {epoch}, expected {next} and {}",
                id.epoch
            ));
        }
        if last_control == Some(FOOTER) || (next == 0) != (control_kind(&batch) == Some(HEADER)) {
            return damaged("the batches are not between one header and one footer".to_owned());
        }
        next = header.next_offset().0;
        last_control = control_kind(&batch);
        image.timestamp_ms = header.max_timestamp;
        if header.attributes.is_control() {
            continue;
        }
        if let Err(reason) = apply(&mut image, &batch) {
            return damaged(reason);
        }
    }
    match last_control {
        Some(FOOTER) => Ok(image),
        _ => Err(Unfit::Damaged(len, "it ends without a footer".to_owned())),
    }
}

fn apply(image: &mut Image, batch: &RawBatch) -> Result<(), String> {
    for record in record::decode(batch, UNCOMPRESSED_BYTES_MAX).map_err(|error| error.to_string())? {
        let record = record.map_err(|error| error.to_string())?;
        let decoded = MetadataRecord::decode(record.value.unwrap_or_default());
        image.apply(&decoded.map_err(|error| error.to_string())?);
    }
    Ok(())
}

/// The type of a control batch's first record; 0 if it can't be told.
fn control_kind(batch: &RawBatch) -> Option<i16> {
    if !batch.header.attributes.is_control() {
        return None;
    }
    let mut records = record::decode(batch, UNCOMPRESSED_BYTES_MAX).ok()?;
    let key: Bytes = Iterator::next(&mut records)?.ok()?.key?;
    Some(key.get(2..4).map_or(0, |kind| i16::from_be_bytes([kind[0], kind[1]])))
}
