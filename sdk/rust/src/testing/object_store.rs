//! A bucket for native tests, which behaves as S3 does: objects appear whole, uploads in parts are unseen until they are completed,
//! conditions are checked when the object is written. Each thread has one of its own, for whatever connection.
//!
//! Tests that kill or throttle use [`Bucket::kill_at`] and its like, or give [`Bucket::interfere`] a function that decides before each request what
//! becomes of it.

mod trouble;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::Error;
use crate::object_store::{
    ByteRange, Change, Condition, ENTRIES_MAX, Listing, Meta, Object, PART_BYTES_MIN, Refusal, Upload,
    Uploads,
};

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done and answered.
    Done,
    /// It never arrives.
    Lost(Refusal),
    /// It is done, but its answer never arrives.
    Unanswered(Refusal),
}

/// Decides what becomes of each request, by its name (`put`, `complete-upload`, ...).
pub type Interference = Box<dyn FnMut(&str) -> Fate>;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Stored>,
    uploads: BTreeMap<(String, String), BTreeMap<u32, Vec<u8>>>,
    /// Makes etags and ids that never come again.
    serial: u64,
    interference: Option<Interference>,
    /// As a store that knows of none.
    ignores_conditions: bool,
    /// Requests so far.
    requests: u64,
}

struct Stored {
    body: Vec<u8>,
    etag: String,
}

/// The bucket of a thread.
#[derive(Clone, Default)]
pub struct Bucket(Rc<RefCell<State>>);

thread_local! {
    static BUCKET: Bucket = Bucket::default();
}

/// This thread's bucket.
pub fn bucket() -> Bucket {
    BUCKET.with(Clone::clone)
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bucket").field(&self.0.borrow().objects.keys()).finish()
    }
}

impl Bucket {
    /// Takes everything away, the interference too.
    pub fn clear(&self) {
        *self.0.borrow_mut() = State::default();
    }

    /// Lets `decide` say what becomes of each request; none: all are done.
    pub fn interfere(&self, decide: Option<Interference>) {
        self.0.borrow_mut().interference = decide;
    }

    /// From now on every write is made, whatever its condition.
    pub fn ignore_conditions(&self) {
        self.0.borrow_mut().ignores_conditions = true;
    }

    /// The objects.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.borrow().objects.iter().map(|(key, stored)| (key.clone(), stored.body.clone())).collect()
    }

    /// Uploads that were neither completed nor aborted.
    pub fn unfinished(&self) -> Vec<Upload> {
        let state = self.0.borrow();
        state.uploads.keys().map(|(key, id)| Upload { key: key.clone(), id: id.clone() }).collect()
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.0.borrow().requests
    }

    fn request<R>(
        &self,
        name: &str,
        done: impl FnOnce(&mut State) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        // Taken out meanwhile: it may look at the bucket.
        let interference = self.0.borrow_mut().interference.take();
        let mut fate = Fate::Done;
        if let Some(mut decide) = interference {
            fate = decide(name);
            self.0.borrow_mut().interference = Some(decide);
        }
        let mut state = self.0.borrow_mut();
        state.requests += 1;
        match fate {
            Fate::Done => done(&mut state),
            Fate::Lost(refusal) => Err(refusal),
            Fate::Unanswered(refusal) => {
                let _unseen = done(&mut state);
                Err(refusal)
            }
        }
    }

    pub(crate) fn get(&self, key: &str, range: Option<ByteRange>) -> Result<Object, Refusal> {
        self.request("get", |state| {
            let stored = state.objects.get(key).ok_or_else(|| missing(key))?;
            let size = stored.body.len();
            if range.is_some_and(|range| usize::try_from(range.offset).map_or(true, |start| start >= size)) {
                let message = format!("InvalidRange: {key} has {size} bytes");
                return Err(Refusal::Failed(Error::fatal("s3.InvalidRange", message)));
            }
            let range = range.map_or(0..size, |range| {
                let start = usize::try_from(range.offset).unwrap_or(size).min(size);
                start..start.saturating_add(usize::try_from(range.length).unwrap_or(size)).min(size)
            });
            Ok(Object { meta: stored.meta(key), body: stored.body[range].to_vec() })
        })
    }

    pub(crate) fn head(&self, key: &str) -> Result<Meta, Refusal> {
        self.request("head", |state| {
            state.objects.get(key).map(|stored| stored.meta(key)).ok_or_else(|| missing(key))
        })
    }

    pub(crate) fn list(&self, prefix: &str, after: Option<&str>, max: u32) -> Result<Listing, Refusal> {
        self.request("list", |state| {
            let behind = |key: &&String| after.is_none_or(|after| key.as_str() > after);
            let mut objects: Vec<Meta> = state
                .objects
                .iter()
                .filter(|(key, _)| key.starts_with(prefix) && behind(key))
                .map(|(key, stored)| stored.meta(key))
                .collect();
            let most = max.clamp(1, ENTRIES_MAX) as usize;
            let more = objects.len() > most;
            objects.truncate(most);
            Ok(Listing { objects, more })
        })
    }

    pub(crate) fn list_uploads(
        &self,
        prefix: &str,
        after: Option<&Upload>,
        max: u32,
    ) -> Result<Uploads, Refusal> {
        self.request("list-uploads", |state| {
            let behind = |key: &str, id: &str| {
                after.is_none_or(|after| (key, id) > (after.key.as_str(), after.id.as_str()))
            };
            let mut uploads: Vec<Upload> = state
                .uploads
                .keys()
                .filter(|(key, id)| key.starts_with(prefix) && behind(key, id))
                .map(|(key, id)| Upload { key: key.clone(), id: id.clone() })
                .collect();
            let most = max.clamp(1, ENTRIES_MAX) as usize;
            let more = uploads.len() > most;
            uploads.truncate(most);
            Ok(Uploads { uploads, more })
        })
    }

    pub(crate) fn change(&self, change: &Change) -> Result<String, Refusal> {
        match change {
            Change::Put(object) => self.request("put", |state| {
                let etag = state.objects.get(&object.key).map(|stored| stored.etag.as_str());
                let holds = match &object.condition {
                    _ if state.ignores_conditions => true,
                    Condition::Always => true,
                    Condition::Absent => etag.is_none(),
                    Condition::Unchanged(wanted) => etag == Some(wanted.as_str()),
                };
                if !holds {
                    return Err(Refusal::Precondition(format!("{} is another one", object.key)));
                }
                Ok(state.store(&object.key, object.body.clone()))
            }),
            Change::Delete(key) => self.request("delete", |state| {
                state.objects.remove(key);
                Ok(String::new())
            }),
            Change::BeginUpload(new) => self.request("begin-upload", |state| {
                state.serial += 1;
                let id = format!("upload-{:06}", state.serial);
                state.uploads.insert((new.key.clone(), id.clone()), BTreeMap::new());
                Ok(id)
            }),
            Change::PutPart(part) => self.request("put-part", |state| {
                let parts = state.parts(&part.upload)?;
                let etag = etag(&part.body);
                parts.insert(part.number, part.body.clone());
                Ok(etag)
            }),
            Change::CompleteUpload(whole) => self.request("complete-upload", |state| {
                let parts = state.parts(&whole.upload)?;
                let mut body = Vec::new();
                for (at, (number, wanted)) in whole.parts.iter().enumerate() {
                    let part = parts.get(number).filter(|part| etag(part) == *wanted);
                    let part =
                        part.ok_or_else(|| missing(&format!("part {number} of {}", whole.upload.key)))?;
                    assert!(at + 1 == whole.parts.len() || part.len() >= PART_BYTES_MIN, "EntityTooSmall");
                    body.extend_from_slice(part);
                }
                assert!(!whole.parts.is_empty(), "MalformedXML: an upload without parts");
                state.uploads.remove(&(whole.upload.key.clone(), whole.upload.id.clone()));
                Ok(state.store(&whole.upload.key, body))
            }),
            Change::AbortUpload(upload) => self.request("abort-upload", |state| {
                state.parts(upload)?;
                state.uploads.remove(&(upload.key.clone(), upload.id.clone()));
                Ok(String::new())
            }),
        }
    }
}

impl State {
    fn store(&mut self, key: &str, body: Vec<u8>) -> String {
        self.serial += 1;
        let etag = format!("\"{:016x}-{}\"", self.serial, body.len());
        self.objects.insert(key.to_owned(), Stored { body, etag: etag.clone() });
        etag
    }

    fn parts(&mut self, upload: &Upload) -> Result<&mut BTreeMap<u32, Vec<u8>>, Refusal> {
        let parts = self.uploads.get_mut(&(upload.key.clone(), upload.id.clone()));
        parts.ok_or_else(|| missing(&format!("upload {} to {}", upload.id, upload.key)))
    }
}

impl Stored {
    fn meta(&self, key: &str) -> Meta {
        Meta { key: key.to_owned(), size: self.body.len() as u64, etag: self.etag.clone() }
    }
}

fn missing(what: &str) -> Refusal {
    Refusal::Missing(format!("{what} is not there"))
}

/// FNV-1a of a part's bytes.
fn etag(body: &[u8]) -> String {
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("\"{hash:016x}\"")
}
