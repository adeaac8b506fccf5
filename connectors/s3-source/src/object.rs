//! An object that is read from any place, as long as it is the same one.

use bytes::Bytes;
use millrace_connector_decode::blob::Blob;
use millrace_sdk::Error;
use millrace_sdk::object_store::{ByteRange, Meta, Refusal, Store};

/// Another object has its key by now.
pub const CHANGED: &str = "s3.changed";
/// What a store says of a range behind an object's end.
const INVALID_RANGE: &str = "s3.InvalidRange";
/// It is not there any more.
pub const MISSING: &str = "s3.missing";

/// One version of an object.
#[derive(Debug)]
pub struct Object {
    store: Store,
    meta: Meta,
    /// Most bytes of one request.
    piece: usize,
}

impl Object {
    /// The object that was listed.
    pub fn new(store: Store, meta: Meta, piece: usize) -> Self {
        Self { store, meta, piece }
    }

    fn piece(&self, offset: u64, length: usize) -> Result<Bytes, Error> {
        let range = ByteRange { offset, length: length as u64 };
        let object = match self.store.get_range(&self.meta.key, range) {
            Ok(object) => object,
            Err(Refusal::Missing(why)) => return Err(Error::fatal(MISSING, why)),
            // A shorter object may have taken its place.
            Err(Refusal::Failed(error)) if error.code == INVALID_RANGE => {
                return match self.store.head(&self.meta.key) {
                    Ok(now) => self.is_same(&now).and(Err(error)),
                    Err(Refusal::Missing(why)) => Err(Error::fatal(MISSING, why)),
                    Err(refusal) => Err(refusal.into()),
                };
            }
            Err(refusal) => return Err(refusal.into()),
        };
        self.is_same(&object.meta)?;
        Ok(object.body.into())
    }

    fn is_same(&self, now: &Meta) -> Result<(), Error> {
        let Meta { key, etag, .. } = &self.meta;
        if now.etag == *etag {
            return Ok(());
        }
        Err(Error::fatal(CHANGED, format!("{key}: its etag is {} by now, and was {etag}", now.etag)))
    }
}

impl Blob for Object {
    fn size(&self) -> u64 {
        self.meta.size
    }

    fn read_at(&mut self, offset: u64, length: usize) -> Result<Bytes, Error> {
        let left = usize::try_from(self.meta.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(left);
        if length == 0 {
            return Ok(Bytes::new());
        }
        if length <= self.piece {
            return self.piece(offset, length);
        }
        let mut all = Vec::with_capacity(length);
        while all.len() < length {
            let piece = self.piece(offset + all.len() as u64, self.piece.min(length - all.len()))?;
            if piece.is_empty() {
                break;
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }
}
