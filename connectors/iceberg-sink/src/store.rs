//! Where the table's files lie: in a bucket, or in a folder of this machine. Both are asked in the same words, those of a bucket.

mod fault;
pub mod folder;

use millrace_sdk::object_store::{
    self, Attributes, Change, Condition, Listing, Meta, NewObject, Object, Refusal, Upload, Uploads,
};

use self::folder::Folder;
use crate::settings::Settings;

/// The files of a warehouse, by their keys.
#[derive(Clone, Debug)]
pub enum Store {
    /// A bucket, by the name of its connection.
    Bucket(object_store::Store),
    /// A folder.
    Folder(Folder),
}

impl Store {
    /// The one that the settings name; `scratch` is where a folder has files that are not finished, below it. Asks for nothing yet.
    pub fn of(settings: &Settings, scratch: &str) -> Self {
        match &settings.folder {
            Some(folder) => Self::Folder(Folder::new(folder, scratch)),
            None => {
                Self::Bucket(object_store::Store::new(settings.connection.as_deref().unwrap_or_default()))
            }
        }
    }

    /// Whether it is a folder: its files have no etags, and listing them is cheap and true.
    pub fn is_folder(&self) -> bool {
        matches!(self, Self::Folder(_))
    }

    /// A whole object; `bytes_max` 0: as large as the store gives them.
    pub fn get(&self, key: &str, bytes_max: u32) -> Result<Object, Refusal> {
        match self {
            Self::Bucket(bucket) => bucket.get(key, bytes_max),
            Self::Folder(folder) => folder.get(key, bytes_max),
        }
    }

    /// What is known of an object without its bytes.
    pub fn head(&self, key: &str) -> Result<Meta, Refusal> {
        match self {
            Self::Bucket(bucket) => bucket.head(key),
            Self::Folder(folder) => folder.head(key),
        }
    }

    /// Objects whose keys begin with `prefix`, behind the key `after`; of a folder, not those of folders below.
    pub fn list(&self, prefix: &str, after: Option<&str>, max: u32) -> Result<Listing, Refusal> {
        match self {
            Self::Bucket(bucket) => bucket.list(prefix, after, max),
            Self::Folder(folder) => folder.list(prefix, after, max),
        }
    }

    /// Unfinished uploads to keys that begin with `prefix`; of a folder, to whichever: they lie there.
    pub fn uploads(&self, prefix: &str, max: u32) -> Result<Uploads, Refusal> {
        match self {
            Self::Bucket(bucket) => bucket.uploads(prefix, None, max),
            Self::Folder(folder) => folder.unfinished(prefix).map(|keys| Uploads {
                uploads: keys.into_iter().map(|key| Upload { key: key.clone(), id: key }).collect(),
                more: false,
            }),
        }
    }

    /// Does all of it; the answers have the order of the changes.
    pub fn apply(&self, changes: &[Change]) -> Vec<Result<String, Refusal>> {
        match self {
            Self::Bucket(bucket) => bucket.apply(changes),
            Self::Folder(folder) => changes.iter().map(|change| folder.change(change)).collect(),
        }
    }

    /// Writes an object; gives back its etag.
    pub fn put(&self, key: &str, body: impl Into<Vec<u8>>, condition: Condition) -> Result<String, Refusal> {
        match self {
            Self::Bucket(bucket) => bucket.put(key, body, condition),
            Self::Folder(folder) => {
                let attributes = Attributes { content_type: None, content_encoding: None };
                let object = NewObject { key: key.to_owned(), body: body.into(), condition, attributes };
                folder.change(&Change::Put(object))
            }
        }
    }

    /// Deletes an object, if it is there.
    pub fn delete(&self, key: &str) -> Result<(), Refusal> {
        match self {
            Self::Bucket(bucket) => bucket.delete(key),
            Self::Folder(folder) => folder.change(&Change::Delete(key.to_owned())).map(drop),
        }
    }
}
