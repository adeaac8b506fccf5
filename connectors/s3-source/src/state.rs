//! What is remembered: which objects were read, and where it stands within one.
//!
//! Keys are divided among [`BUCKETS`] buckets by their hash, and each is a partition of its own: what changes with an object is small, and a bucket
//! goes to another task as a whole when their number changes. Invariant: of a bucket at most one object is read at a time.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use millrace_connector_decode::hash::fnv1a;
use millrace_connector_decode::reader::Place;
use millrace_sdk::object_store::Meta;
use millrace_sdk::{Checkpoint, Error};
use serde::{Deserialize, Serialize};

/// How many buckets there are. Part of what is kept: it can't be changed.
pub const BUCKETS: u32 = 256;
/// More objects were read, and are still there, than can be remembered.
pub fn too_many() -> Error {
    let most = DONE_MAX * BUCKETS as usize;
    let message = format!(
        "some {most} objects were read and are still there, more can't be told apart; set order: ascending if new keys sort behind old \
         ones, choose a narrower prefix, or remove some"
    );
    Error::fatal("s3.objects", message)
}

/// Most objects that a bucket remembers; all of them together some 900,000.
const DONE_MAX: usize = if cfg!(test) { 8 } else { DONE_MAX_OF_USERS };
const DONE_MAX_OF_USERS: usize = 3_600;
/// Bytes by which an object is known.
const PRINT_BYTES: usize = 12;
/// Longest position that the host takes.
const POSITION_BYTES_MAX: usize = 64 << 10;
/// What stands beside the objects that were read: the key of the one that is, of 1,024 bytes at most, each escaped in six; its etag and its place.
const BESIDE_BYTES_MAX: usize = 6 * 1_024 + 1_024;
const _: () = assert!(DONE_MAX_OF_USERS * PRINT_BYTES / 3 * 4 + BESIDE_BYTES_MAX < POSITION_BYTES_MAX);

/// What an object is known by: a hash of its key and one of its etag.
pub type Print = [u8; PRINT_BYTES];

/// What is known of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Objects that were read.
    pub done: BTreeSet<Print>,
    /// Objects that could not be read to their end: never to be deleted.
    pub damaged: BTreeSet<Print>,
    /// The greatest key that was read, where that is all that counts.
    pub after: Option<String>,
    /// The object that is being read.
    pub open: Option<Open>,
}

/// An object that is being read.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Open {
    /// Its key.
    pub key: String,
    /// Its version.
    pub etag: String,
    /// Its bytes.
    pub size: u64,
    /// Behind the last record that was given out.
    pub place: Place,
}

/// A bucket as it is kept.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Kept {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    done: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    damaged: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open: Option<Open>,
}

fn prints(text: &str) -> Option<BTreeSet<Print>> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    let (prints, []) = bytes.as_chunks::<PRINT_BYTES>() else { return None };
    Some(prints.iter().copied().collect())
}

fn text(prints: &BTreeSet<Print>) -> String {
    BASE64_STANDARD.encode(prints.iter().flatten().copied().collect::<Vec<u8>>())
}

/// The bucket of a key.
pub fn bucket_of(key: &str) -> u32 {
    (fnv1a(key.as_bytes()) >> 16) as u32 % BUCKETS
}

/// What this version of an object is known by.
pub fn print_of(object: &Meta) -> Print {
    let mut print = [0; PRINT_BYTES];
    print[..8].copy_from_slice(&fnv1a(object.key.as_bytes()).to_be_bytes());
    print[8..].copy_from_slice(&fnv1a(object.etag.as_bytes()).to_be_bytes()[4..]);
    print
}

/// The name under which a bucket is kept.
pub fn partition(prefix: &str, bucket: u32) -> String {
    format!("{prefix}#{bucket:02x}")
}

impl Open {
    /// An object of which nothing was read.
    pub fn new(object: Meta) -> Self {
        Self { key: object.key, etag: object.etag, size: object.size, place: Place::default() }
    }

    /// What the store says of it.
    pub fn meta(&self) -> Meta {
        Meta { key: self.key.clone(), size: self.size, etag: self.etag.clone() }
    }
}

impl Bucket {
    /// The newest checkpoint of this partition.
    pub fn resume(partition: &str, all: &[Checkpoint]) -> Result<Self, Error> {
        let Some(found) = all.iter().find(|checkpoint| checkpoint.partition == partition) else {
            return Ok(Self::default());
        };
        Self::parse(&found.position).ok_or_else(|| {
            let message = format!("the position of {partition} is none of s3-source; reset the offsets");
            Error::fatal("s3.position", message)
        })
    }

    /// From a checkpoint.
    pub fn parse(position: &[u8]) -> Option<Self> {
        let kept: Kept = serde_json::from_slice(position).ok()?;
        let (done, damaged) = (prints(&kept.done)?, prints(&kept.damaged)?);
        Some(Self { done, damaged, after: kept.after, open: kept.open })
    }

    /// Into a checkpoint. Empty: there is nothing to remember.
    pub fn position(&self) -> Vec<u8> {
        if *self == Self::default() {
            return Vec::new();
        }
        let kept = Kept {
            done: text(&self.done),
            damaged: text(&self.damaged),
            after: self.after.clone(),
            open: self.open.clone(),
        };
        serde_json::to_vec(&kept).unwrap_or_default()
    }

    /// Whether an object was read.
    pub fn has(&self, object: &Meta) -> bool {
        self.after.as_deref().is_some_and(|after| object.key.as_str() <= after)
            || self.done.contains(&print_of(object))
            || self.damaged.contains(&print_of(object))
    }

    /// Whether it can remember no more objects.
    pub fn is_full(&self) -> bool {
        self.done.len() + self.damaged.len() >= DONE_MAX
    }

    /// Remembers an object that was read, by its key alone or as one of many.
    pub fn finish(&mut self, object: &Meta, ascending: bool, damaged: bool) {
        self.open = None;
        if ascending {
            self.move_to(&object.key);
        } else {
            let among = if damaged { &mut self.damaged } else { &mut self.done };
            among.insert(print_of(object));
        }
    }

    /// Whether it remembers objects that are not there any more.
    pub fn has_gone(&self, seen: &BTreeSet<Print>) -> bool {
        self.done.iter().chain(&self.damaged).any(|print| !seen.contains(print))
    }

    /// Forgets those.
    pub fn forget(&mut self, seen: &BTreeSet<Print>) {
        self.done.retain(|print| seen.contains(print));
        self.damaged.retain(|print| seen.contains(print));
    }

    /// All keys up to this one were read.
    pub fn move_to(&mut self, key: &str) {
        if self.after.as_deref().is_none_or(|after| after < key) {
            self.after = Some(key.to_owned());
        }
    }
}
