//! What an S3 store answers: its documents, and what its refusals mean for a guest.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::key::clip;
use crate::component::Failure;
use crate::component::bindings::millrace::connect::object_store::{Meta, Refusal, Upload};
use crate::component::bindings::millrace::connect::types::Error as GuestError;

/// Longest wait that a store may ask for, in seconds.
const RETRY_AFTER_MAX_S: u32 = 3600;

/// A failure that nothing but a change from outside mends.
pub(super) fn fatal(code: &str, message: String) -> Refusal {
    Refusal::Failed(GuestError::fatal(code, message))
}

/// A failure that may go away by itself.
pub(super) fn retriable(code: &str, message: String, retry_after_ms: Option<u32>) -> Refusal {
    Refusal::Failed(GuestError::Retriable(Failure { code: code.to_owned(), message, retry_after_ms }))
}

/// What came back with a status that is no success, or with an error in the body of one.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) status: u16,
    /// S3's own code, where the answer has a body.
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    /// Seconds that the store asks to wait.
    pub(super) retry_after: Option<u32>,
    /// Where the bucket is, if it isn't here.
    pub(super) region: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorDocument {
    code: String,
    message: Option<String>,
}

impl Refused {
    /// Takes code and message out of a body, if it is S3's document of an error.
    pub(super) fn read(mut self, body: &[u8]) -> Self {
        if let Some(document) = error_of(body) {
            (self.code, self.message) = (Some(document.code), document.message);
        }
        self
    }

    /// What it means. `what` was asked, such as `put object a/b of bucket lake`.
    pub(super) fn refusal(&self, what: &str) -> Refusal {
        let code = self.code.as_deref().unwrap_or_default();
        let said = match (&self.code, &self.message) {
            (Some(code), Some(message)) => format!("{code}: {}", clip(message)),
            (Some(code), None) => code.clone(),
            _ => format!("status {}", self.status),
        };
        let wait = self.retry_after.map(|seconds| seconds.min(RETRY_AFTER_MAX_S) * 1000);
        let named =
            if code.is_empty() { format!("s3.{}", self.status) } else { format!("s3.{}", clip(code)) };
        let again = |way_out: &str| retriable(&named, format!("{what}: {said}{way_out}"), wait);
        match (code, self.status) {
            ("NoSuchBucket", _) => {
                fatal(&named, format!("{what}: {said}; make the bucket, or correct `bucket`"))
            }
            (
                "SlowDown" | "InternalError" | "ServiceUnavailable" | "RequestTimeout" | "OperationAborted",
                _,
            )
            | (_, 408 | 429 | 500 | 502..=599) => again(""),
            ("ConditionalRequestConflict", _) => again("; another writer was at it at the same time"),
            ("ExpiredToken", _) => again("; renew the temporary credentials of the connection"),
            ("RequestTimeTooSkewed", _) => fatal(&named, format!("{what}: {said}; set this machine's clock")),
            ("PreconditionFailed", _) | (_, 304 | 412) => Refusal::Precondition(format!("{what}: {said}")),
            ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect", _)
            | (_, 301 | 307) => {
                let way_out = match &self.region {
                    Some(region) => format!("the bucket is in {}: set `region`", clip(region)),
                    None => "check `region` and `endpoint` of the connection".to_owned(),
                };
                fatal(&named, format!("{what}: {said}; {way_out}"))
            }
            (_, 401 | 403) => Refusal::Denied(format!(
                "{what}: {said}; check the connection's credentials and what they are allowed"
            )),
            (_, 404) => Refusal::Missing(format!("{what}: {said}")),
            _ => fatal(&named, format!("{what}: {said}")),
        }
    }
}

fn error_of(body: &[u8]) -> Option<ErrorDocument> {
    let text = std::str::from_utf8(body).ok()?.trim();
    if !root_is(text, "Error") {
        return None;
    }
    quick_xml::de::from_str(text).ok()
}

/// Whether a document's outermost element has this name.
fn root_is(text: &str, name: &str) -> bool {
    let mut rest = text;
    while let Some(after) = rest.trim_start().strip_prefix('<') {
        match after.strip_prefix(['?', '!']) {
            Some(_) => rest = after.split_once('>').map_or("", |(_, rest)| rest),
            None => return after.strip_prefix(name).is_some_and(|rest| rest.starts_with(['>', ' ', '/'])),
        }
    }
    false
}

/// A document of a success. A store may answer 200 and tell the error in the body (CompleteMultipartUpload).
pub(super) fn document<T: DeserializeOwned>(body: &[u8], root: &str, what: &str) -> Result<T, Refusal> {
    let text = std::str::from_utf8(body).unwrap_or_default().trim();
    if root_is(text, "Error") {
        return Err(Refused { status: 500, ..Refused::default() }.read(body).refusal(what));
    }
    let read = if root_is(text, root) { quick_xml::de::from_str(text).ok() } else { None };
    read.ok_or_else(|| {
        let message = format!("{what}: the answer is no {root}; is `endpoint` that of an S3 store?");
        fatal("s3.answer", message)
    })
}

/// ListBucketResult
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Objects {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    contents: Vec<Content>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    key: String,
    #[serde(default)]
    size: u64,
    #[serde(rename = "ETag", default)]
    etag: String,
}

impl Objects {
    /// The objects without the connection's prefix, and whether there are more.
    pub(super) fn listed(self, prefix: &str) -> (Vec<Meta>, bool) {
        let meta = |content: Content| {
            let key = content.key.strip_prefix(prefix)?.to_owned();
            Some(Meta { key, size: content.size, etag: content.etag })
        };
        (self.contents.into_iter().filter_map(meta).collect(), self.is_truncated)
    }
}

/// ListMultipartUploadsResult
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Unfinished {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    upload: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    upload_id: String,
}

impl Unfinished {
    /// The uploads without the connection's prefix, and whether there are more.
    pub(super) fn listed(self, prefix: &str) -> (Vec<Upload>, bool) {
        let upload = |entry: Entry| {
            Some(Upload { key: entry.key.strip_prefix(prefix)?.to_owned(), id: entry.upload_id })
        };
        (self.upload.into_iter().filter_map(upload).collect(), self.is_truncated)
    }
}

/// InitiateMultipartUploadResult
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Begun {
    pub(super) upload_id: String,
}

/// CompleteMultipartUploadResult
#[derive(Deserialize)]
pub(super) struct Completed {
    #[serde(rename = "ETag", default)]
    pub(super) etag: String,
}
