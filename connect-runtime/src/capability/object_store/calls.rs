//! What an S3 store can be asked, each a request or two.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, RANGE,
};

use super::answer::{Begun, Completed, Objects, Unfinished, document, fatal};
use super::client::{Answer, Asked, Target};
use super::key::{clip, fault, whole};
use crate::component::bindings::millrace::connect::object_store::{
    Attributes, ByteRange, Change, Condition, Listing, Meta, NewObject, Object, Part, Refusal, Upload,
    Uploads, Whole,
};

/// Most entries of a list.
const ENTRIES_MAX: u32 = 1000;
/// Most bytes of an answer that is a document: a full list with keys of full length, twice over.
const DOCUMENT_BYTES_MAX: usize = 8 << 20;
/// Most parts of an upload.
const PARTS_MAX: u32 = 10_000;

/// A request about one object.
struct About<'t> {
    target: &'t Target,
    key: String,
    what: String,
}

impl About<'_> {
    async fn send(
        &self,
        method: Method,
        query: Vec<(&'static str, String)>,
        headers: HeaderMap,
        body: Vec<u8>,
        bytes_max: usize,
    ) -> Result<Answer, Refusal> {
        let (key, body, what) = (self.key.as_str(), Bytes::from(body), self.what.clone());
        self.target.send(Asked { method, key, query, headers, body, bytes_max, what }).await
    }
}

impl Target {
    fn about(&self, doing: &str, key: &str) -> Result<About<'_>, Refusal> {
        let what = format!("{doing} {} in bucket {}", clip(key), self.bucket);
        Ok(About { target: self, key: whole(&self.prefix, key)?, what })
    }

    pub(super) async fn get(
        &self,
        key: &str,
        range: Option<ByteRange>,
        bytes_max: u32,
    ) -> Result<Object, Refusal> {
        let about = self.about("get object", key)?;
        let mut headers = HeaderMap::new();
        if let Some(ByteRange { offset, length }) = range {
            let last = offset.saturating_add(length.max(1) - 1);
            headers.insert(RANGE, text(&format!("bytes={offset}-{last}"))?);
        }
        let most = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let most = if most == 0 { self.limits.response_bytes } else { most.min(self.limits.response_bytes) };
        let answer = about.send(Method::GET, Vec::new(), headers, Vec::new(), most).await?;
        let whole = answer.headers.get("content-range").and_then(|range| {
            let (_, size) = range.to_str().ok()?.rsplit_once('/')?;
            size.parse().ok()
        });
        let size = whole.unwrap_or(answer.body.len() as u64);
        Ok(Object { meta: Meta { key: key.to_owned(), size, etag: answer.etag() }, body: answer.body })
    }

    pub(super) async fn head(&self, key: &str) -> Result<Meta, Refusal> {
        let about = self.about("look at object", key)?;
        let answer = about.send(Method::HEAD, Vec::new(), HeaderMap::new(), Vec::new(), 0).await?;
        Ok(Meta { key: key.to_owned(), size: answer.length().unwrap_or(0), etag: answer.etag() })
    }

    /// The document of a request about the bucket.
    async fn listed(
        &self,
        what: String,
        query: Vec<(&'static str, String)>,
    ) -> Result<(Vec<u8>, String), Refusal> {
        let (headers, body, bytes_max) = (HeaderMap::new(), Bytes::new(), DOCUMENT_BYTES_MAX);
        let asked =
            Asked { method: Method::GET, key: "", query, headers, body, bytes_max, what: what.clone() };
        Ok((self.send(asked).await?.body, what))
    }

    /// A beginning of keys, behind the connection's own.
    fn beginning(&self, prefix: &str) -> Result<String, Refusal> {
        let whole = format!("{}{prefix}", self.prefix);
        match fault(&whole).filter(|_| !whole.is_empty()) {
            None => Ok(whole),
            Some(why) => Err(fatal("s3.key", format!("prefix {:?} can't be used: {why}", clip(prefix)))),
        }
    }

    pub(super) async fn list(&self, prefix: &str, after: Option<&str>, max: u32) -> Result<Listing, Refusal> {
        let mut query = vec![
            ("list-type", "2".to_owned()),
            ("max-keys", max.clamp(1, ENTRIES_MAX).to_string()),
            ("prefix", self.beginning(prefix)?),
        ];
        if let Some(after) = after {
            query.push(("start-after", whole(&self.prefix, after)?));
        }
        let what = format!("list objects {}* of bucket {}", clip(prefix), self.bucket);
        let (body, what) = self.listed(what, query).await?;
        let (objects, more) = document::<Objects>(&body, "ListBucketResult", &what)?.listed(&self.prefix);
        Ok(Listing { more: more && !objects.is_empty(), objects })
    }

    pub(super) async fn list_uploads(
        &self,
        prefix: &str,
        after: Option<&Upload>,
        max: u32,
    ) -> Result<Uploads, Refusal> {
        let mut query = vec![
            ("uploads", String::new()),
            ("max-uploads", max.clamp(1, ENTRIES_MAX).to_string()),
            ("prefix", self.beginning(prefix)?),
        ];
        if let Some(after) = after {
            query.push(("key-marker", whole(&self.prefix, &after.key)?));
            query.push(("upload-id-marker", after.id.clone()));
        }
        let what = format!("list uploads to {}* of bucket {}", clip(prefix), self.bucket);
        let (body, what) = self.listed(what, query).await?;
        let document = document::<Unfinished>(&body, "ListMultipartUploadsResult", &what)?;
        let (uploads, more) = document.listed(&self.prefix);
        Ok(Uploads { more: more && !uploads.is_empty(), uploads })
    }

    /// Does one change.
    pub(super) async fn change(&self, change: Change) -> Result<String, Refusal> {
        match change {
            Change::Put(object) => self.put(object).await,
            Change::Delete(key) => {
                let about = self.about("delete object", &key)?;
                match about
                    .send(Method::DELETE, Vec::new(), HeaderMap::new(), Vec::new(), DOCUMENT_BYTES_MAX)
                    .await
                {
                    Ok(_) | Err(Refusal::Missing(_)) => Ok(String::new()),
                    Err(refusal) => Err(refusal),
                }
            }
            Change::BeginUpload(new) => {
                let about = self.about("begin an upload to", &new.key)?;
                let query = vec![("uploads", String::new())];
                let headers = self.of_new_object(&new.attributes)?;
                let answer = about.send(Method::POST, query, headers, Vec::new(), DOCUMENT_BYTES_MAX).await?;
                let root = "InitiateMultipartUploadResult";
                Ok(document::<Begun>(&answer.body, root, &about.what)?.upload_id)
            }
            Change::PutPart(part) => self.put_part(part).await,
            Change::CompleteUpload(whole) => self.complete(whole).await,
            Change::AbortUpload(upload) => {
                let about = self.about("abort the upload to", &upload.key)?;
                let query = vec![("uploadId", upload.id)];
                about.send(Method::DELETE, query, HeaderMap::new(), Vec::new(), DOCUMENT_BYTES_MAX).await?;
                Ok(String::new())
            }
        }
    }

    async fn put(&self, object: NewObject) -> Result<String, Refusal> {
        let about = self.about("put object", &object.key)?;
        let mut headers = self.of_new_object(&object.attributes)?;
        match object.condition {
            Condition::Absent if self.conditional_writes => {
                headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
            }
            Condition::Unchanged(etag) if self.conditional_writes => {
                headers.insert(IF_MATCH, text(&etag)?);
            }
            Condition::Always | Condition::Absent | Condition::Unchanged(_) => {}
        }
        let is_update = headers.contains_key(IF_MATCH);
        match about.send(Method::PUT, Vec::new(), headers, object.body, DOCUMENT_BYTES_MAX).await {
            Ok(answer) => Ok(answer.etag()),
            // What isn't there has not the etag that it should have.
            Err(Refusal::Missing(why)) if is_update => Err(Refusal::Precondition(why)),
            Err(refusal) => Err(refusal),
        }
    }

    async fn put_part(&self, part: Part) -> Result<String, Refusal> {
        let about = self.about(&format!("put part {} of", part.number), &part.upload.key)?;
        if !(1..=PARTS_MAX).contains(&part.number) {
            return Err(fatal("s3.limit", format!("{}: parts are numbered 1 to {PARTS_MAX}", about.what)));
        }
        let query = vec![("partNumber", part.number.to_string()), ("uploadId", part.upload.id)];
        let answer = about.send(Method::PUT, query, HeaderMap::new(), part.body, DOCUMENT_BYTES_MAX).await?;
        Ok(answer.etag())
    }

    async fn complete(&self, whole: Whole) -> Result<String, Refusal> {
        let about = self.about("complete the upload to", &whole.upload.key)?;
        let mut body = String::from("<CompleteMultipartUpload>");
        for (number, etag) in &whole.parts {
            let etag = quick_xml::escape::escape(etag.as_str());
            body.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
        }
        body.push_str("</CompleteMultipartUpload>");
        let query = vec![("uploadId", whole.upload.id)];
        let answer =
            about.send(Method::POST, query, HeaderMap::new(), body.into_bytes(), DOCUMENT_BYTES_MAX).await?;
        Ok(document::<Completed>(&answer.body, "CompleteMultipartUploadResult", &about.what)?.etag)
    }

    /// Headers of an object that is made.
    fn of_new_object(&self, attributes: &Attributes) -> Result<HeaderMap, Refusal> {
        let mut headers = self.new_object.clone();
        let named: [(HeaderName, &Option<String>); 2] =
            [(CONTENT_TYPE, &attributes.content_type), (CONTENT_ENCODING, &attributes.content_encoding)];
        for (name, value) in named {
            if let Some(value) = value {
                headers.insert(name, text(value)?);
            }
        }
        Ok(headers)
    }
}

fn text(value: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(value).map_err(|_| {
        fatal("s3.header", format!("{:?} holds a character that a header can't have", clip(value)))
    })
}
