//! Data files in the making. A file is an object nobody knows of until a commit names it: so it is finished before that, in whatever steps.

use millrace_connector_encode::Codec;
use millrace_connector_encode::datum::Datum;
use millrace_connector_encode::parquet::{ParquetFile, Summary};
use millrace_sdk::object_store::{
    Attributes, Change, Condition, NewObject, NewUpload, PARTS_MAX, Part, Refusal, Upload, Whole,
};
use millrace_sdk::{Error, host};

use crate::manifest::{Content, DataFile};
use crate::place::Warehouse;
use crate::schema::Layout;
use crate::store::Store;

/// Size of parts that larger files are uploaded in.
pub const PART_BYTES: usize = 8 << 20;
/// Bodies of one call of the host have 16 MiB together.
const CALL_BYTES_MAX: usize = 15 << 20;
/// What a file's writer holds besides what it was given, roughly.
const WRITER_BYTES: usize = 8 << 10;

/// A file that is not committed yet.
#[derive(Debug)]
pub struct Growing {
    key: String,
    /// By which rows in it are found again.
    number: u64,
    content: Content,
    partition: Vec<Datum>,
    /// Rows that were added.
    count: u64,
    /// None: it is finished.
    rows: Option<ParquetFile>,
    summary: Summary,
    /// Bytes that were not uploaded.
    out: Vec<u8>,
    uploaded: u64,
    upload: Option<String>,
    parts: Vec<(u32, String)>,
    /// The object is there.
    is_there: bool,
}

fn broken(why: String) -> Error {
    Error::fatal("iceberg.encode", why)
}

impl Growing {
    /// Begins a file for rows of this partition, which has this key and number.
    pub fn begin(
        (key, number): (String, u64),
        content: Content,
        partition: Vec<Datum>,
        layout: &Layout,
        codec: Codec,
    ) -> Result<Self, Error> {
        let mut out = Vec::new();
        let rows =
            ParquetFile::begin_with_ids(&layout.schema, &layout.ids, codec, &mut out).map_err(broken)?;
        Ok(Self {
            key,
            number,
            content,
            partition,
            count: 0,
            rows: Some(rows),
            summary: Summary::default(),
            out,
            uploaded: 0,
            upload: None,
            parts: Vec::new(),
            is_there: false,
        })
    }

    /// A file that has its bytes already.
    pub fn whole(key: String, partition: Vec<Datum>, out: Vec<u8>, summary: Summary) -> Self {
        let (number, content, count) = (0, Content::Data, 0);
        let (uploaded, upload, parts, is_there) = (0, None, Vec::new(), false);
        Self {
            key,
            number,
            content,
            partition,
            count,
            rows: None,
            summary,
            out,
            uploaded,
            upload,
            parts,
            is_there,
        }
    }

    /// Adds a row. Gives back the file's number, and the row's in it.
    pub fn push(&mut self, row: &[Datum]) -> Result<(u64, u64), Error> {
        match &mut self.rows {
            Some(rows) => rows.push(row, &mut self.out).map_err(broken)?,
            None => return Err(broken("a row for a file that is finished".to_owned())),
        }
        self.count += 1;
        Ok((self.number, self.count - 1))
    }

    /// Bytes in memory.
    pub fn held(&self) -> usize {
        self.out.len() + self.rows.as_ref().map_or(0, |rows| WRITER_BYTES + rows.pending_bytes())
    }

    /// Size so far, rows that are not encoded yet included.
    pub fn size(&self) -> u64 {
        self.uploaded + (self.out.len() + self.rows.as_ref().map_or(0, ParquetFile::pending_bytes)) as u64
    }

    /// Whether it can't have many more parts.
    pub fn is_full(&self, target: u64) -> bool {
        self.size() >= target || self.parts.len() + 4 >= PARTS_MAX
    }

    /// Makes rows into bytes that can be uploaded. False: too few for a part.
    pub fn encode(&mut self) -> Result<bool, Error> {
        if let Some(rows) = &mut self.rows {
            rows.end_group(&mut self.out).map_err(broken)?;
        }
        Ok(self.out.len() >= PART_BYTES)
    }

    /// Writes all that is left. Nothing may be added any more.
    pub fn finish(&mut self) -> Result<(), Error> {
        if let Some(rows) = self.rows.take() {
            self.summary = rows.finish(&mut self.out).map_err(broken)?;
        }
        Ok(())
    }

    /// What a manifest says of it.
    pub fn entry(self, warehouse: &Warehouse) -> DataFile {
        DataFile {
            content: self.content,
            path: warehouse.uri(&self.key),
            bytes: self.uploaded,
            partition: self.partition,
            summary: self.summary,
        }
    }

    /// What has to be done next for it to be there.
    fn next(&self) -> Option<Change> {
        let is_finished = self.rows.is_none();
        let upload = || Some(Upload { key: self.key.clone(), id: self.upload.clone()? });
        let attributes = || Attributes {
            content_type: Some("application/vnd.apache.parquet".to_owned()),
            content_encoding: None,
        };
        match (&self.upload, self.out.len()) {
            _ if self.is_there => None,
            (None, length) if is_finished && length <= PART_BYTES => Some(Change::Put(NewObject {
                key: self.key.clone(),
                body: self.out.clone(),
                condition: Condition::Always,
                attributes: attributes(),
            })),
            (None, length) if length >= PART_BYTES => {
                Some(Change::BeginUpload(NewUpload { key: self.key.clone(), attributes: attributes() }))
            }
            (Some(_), length) if length >= PART_BYTES || (is_finished && length > 0) => {
                Some(Change::PutPart(Part {
                    upload: upload()?,
                    number: u32::try_from(self.parts.len() + 1).unwrap_or(u32::MAX),
                    body: self.out[..length.min(PART_BYTES)].to_vec(),
                }))
            }
            (Some(_), _) if is_finished => {
                Some(Change::CompleteUpload(Whole { upload: upload()?, parts: self.parts.clone() }))
            }
            _ => None,
        }
    }

    /// Notes that a change was made.
    fn done(&mut self, change: &Change, answer: String) {
        let mut sent = |length: usize| {
            self.out.drain(..length);
            self.uploaded += length as u64;
        };
        match change {
            Change::Put(object) => {
                sent(object.body.len());
                self.is_there = true;
            }
            Change::BeginUpload(_) => self.upload = Some(answer),
            Change::PutPart(part) => {
                sent(part.body.len());
                self.parts.push((part.number, answer));
            }
            Change::CompleteUpload(_) => self.is_there = true,
            Change::Delete(_) | Change::AbortUpload(_) => {}
        }
    }

    /// Whether an upload that can't be completed was completed before, by an attempt whose answer was lost.
    fn was_completed(&mut self, store: &Store, refusal: Refusal) -> Result<(), Error> {
        match store.head(&self.key) {
            Ok(meta) if meta.size == self.uploaded => {
                self.is_there = true;
                Ok(())
            }
            Ok(_) | Err(Refusal::Missing(_)) => Err(match refusal {
                Refusal::Missing(why) => {
                    let message = format!("{why}; somebody aborted it, a lifecycle rule perhaps");
                    Error::fatal("s3.upload-lost", message)
                }
                refusal => refusal.into(),
            }),
            Err(refusal) => Err(refusal.into()),
        }
    }
}

/// Uploads finished files to their end, and of growing ones what makes a part.
pub fn upload(store: &Store, files: &mut [&mut Growing]) -> Result<(), Error> {
    loop {
        let (mut changes, mut places, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (at, file) in files.iter().enumerate() {
            let size = file.out.len().min(PART_BYTES);
            if bytes + size > CALL_BYTES_MAX && !changes.is_empty() {
                continue;
            }
            if let Some(change) = file.next() {
                bytes += size;
                places.push(at);
                changes.push(change);
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let mut failed = None;
        for ((at, change), answer) in places.into_iter().zip(&changes).zip(store.apply(&changes)) {
            let file = &mut files[at];
            let outcome = match (answer, change) {
                (Ok(answer), change) => {
                    file.done(change, answer);
                    Ok(())
                }
                // Some stores deny what is about an upload that they don't know.
                (Err(refusal @ (Refusal::Missing(_) | Refusal::Denied(_))), Change::CompleteUpload(_)) => {
                    file.was_completed(store, refusal)
                }
                (Err(refusal), _) => Err(refusal.into()),
            };
            match outcome {
                Ok(()) if file.is_there => host::count("data_files", 1, &[]),
                Ok(()) => {}
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
}
