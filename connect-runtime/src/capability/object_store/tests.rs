//! What a store answers, good and bad, and what becomes of it. Real servers are asked in `tests/s3`.

use std::path::Path;

use serde_json::{Value, json};

use super::client::Target;
use super::open;
use crate::capability::http::tests::server::{Reply, Server};
use crate::component::bindings::millrace::connect::object_store::{
    Attributes, ByteRange, Change, Condition, NewObject, Refusal, Upload, Whole,
};
use crate::component::bindings::millrace::connect::types::Error as GuestError;
use crate::connection::{self, Fault, Surroundings};
use crate::spec::ProcessEnvironment;

/// A target made of settings that fit their schema.
fn read(settings: Value) -> Result<Box<Target>, Vec<Fault>> {
    let around = Surroundings { folder: Path::new("."), env: &ProcessEnvironment };
    match open(settings.as_object().unwrap(), &around)? {
        connection::Target::S3(target) => Ok(target),
        _ => panic!("another kind"),
    }
}

fn settings(server: &Server, further: Value) -> Value {
    let mut settings = json!({
        "bucket": "lake", "endpoint": server.url(), "allow_http": true, "access_key_id": "AKIA", "secret_access_key": "hunter2",
    });
    settings.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    settings
}

fn target(server: &Server, further: Value) -> Box<Target> {
    read(settings(server, further)).unwrap()
}

fn told(refusal: Refusal) -> String {
    match refusal {
        Refusal::Missing(why) => format!("missing {why}"),
        Refusal::Precondition(why) => format!("precondition {why}"),
        Refusal::Denied(why) => format!("denied {why}"),
        Refusal::Failed(GuestError::Retriable(failure)) => {
            format!("retriable {} {:?} {}", failure.code, failure.retry_after_ms, failure.message)
        }
        Refusal::Failed(GuestError::Fatal(failure)) => format!("fatal {} {}", failure.code, failure.message),
    }
}

fn put(key: &str, condition: Condition) -> Change {
    let attributes =
        Attributes { content_type: Some("text/csv".into()), content_encoding: Some("gzip".into()) };
    Change::Put(NewObject { key: key.into(), body: b"hello".to_vec(), condition, attributes })
}

#[tokio::test]
async fn requests_are_signed_and_stay_below_the_prefix() {
    let server = Server::start(|_| Reply::Is(200, "etag: \"e\"\r\n".into(), String::new())).await;
    let further = json!({ "prefix": "raw/", "session_token": "token", "storage_class": "STANDARD_IA", "region": "eu-west-3" });
    let target = target(&server, further);
    assert_eq!(target.change(put("a b/ü+", Condition::Absent)).await.unwrap(), "\"e\"");
    let seen = server.seen().remove(0);
    assert!(seen.head.starts_with("PUT /lake/raw/a%20b/%C3%BC%2B HTTP/1.1"), "{}", seen.head);
    assert_eq!(seen.header("if-none-match"), Some("*"));
    assert_eq!(seen.header("content-type"), Some("text/csv"));
    assert_eq!(seen.header("content-encoding"), Some("gzip"));
    assert_eq!(seen.header("x-amz-storage-class"), Some("STANDARD_IA"));
    assert_eq!(seen.header("x-amz-security-token"), Some("token"));
    // sha256("hello")
    let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(seen.header("x-amz-content-sha256"), Some(digest));
    let signature = seen.header("authorization").unwrap();
    assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIA/"), "{signature}");
    assert!(signature.contains("/eu-west-3/s3/aws4_request, SignedHeaders="), "{signature}");
    for signed in ["host", "if-none-match", "x-amz-date", "x-amz-storage-class"] {
        assert!(signature.contains(signed), "{signed} is not signed: {signature}");
    }
    assert!(!seen.head.contains("hunter2"), "{}", seen.head);
    for key in ["../a", "a/../../../b", ""] {
        let refusal = told(target.head(key).await.unwrap_err());
        assert!(refusal.starts_with("fatal s3.key "), "{refusal}");
    }
    assert_eq!(server.seen().len(), 1, "a key that leads out was asked for");
}

#[tokio::test]
async fn a_refusal_says_what_can_be_done_about_it() {
    let server = Server::start(|seen| {
        let (status, code) = seen.path().strip_prefix("/lake/").and_then(|path| path.split_once('-')).unwrap();
        let body = match code {
            "" => String::new(),
            code => format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>said &lt;so&gt;</Message></Error>"
            ),
        };
        let headers = "retry-after: 7\r\nx-amz-bucket-region: eu-north-1\r\n";
        Reply::Is(status.parse().unwrap(), headers.into(), body)
    })
    .await;
    let target = target(&server, json!({}));
    for (key, wanted) in [
        (
            "503-SlowDown",
            "retriable s3.SlowDown Some(7000) get object 503-SlowDown in bucket lake: SlowDown: said <so>",
        ),
        ("429-", "retriable s3.429 Some(7000) "),
        ("500-InternalError", "retriable s3.InternalError "),
        ("400-RequestTimeout", "retriable s3.RequestTimeout "),
        ("400-ExpiredToken", "retriable s3.ExpiredToken "),
        ("409-ConditionalRequestConflict", "retriable s3.ConditionalRequestConflict "),
        ("404-NoSuchKey", "missing get object 404-NoSuchKey in bucket lake: NoSuchKey: said <so>"),
        ("404-", "missing "),
        ("404-NoSuchBucket", "fatal s3.NoSuchBucket "),
        ("412-PreconditionFailed", "precondition "),
        ("304-", "precondition "),
        ("403-AccessDenied", "denied "),
        ("403-", "denied "),
        ("403-RequestTimeTooSkewed", "fatal s3.RequestTimeTooSkewed "),
        ("501-NotImplemented", "fatal s3.NotImplemented "),
        ("400-EntityTooSmall", "fatal s3.EntityTooSmall "),
        ("301-PermanentRedirect", "fatal s3.PermanentRedirect "),
    ] {
        let refusal = told(target.get(key, None, 0).await.unwrap_err());
        assert!(refusal.starts_with(wanted), "{key}: {refusal}");
        if key.starts_with("301") {
            assert!(refusal.contains("the bucket is in eu-north-1: set `region`"), "{refusal}");
        }
    }
}

#[tokio::test]
async fn an_error_in_a_success_is_one() {
    let server = Server::start(|seen| match seen.path() {
        "/lake/u/kept?uploadId=i%2F1" => Reply::ok(
            "\n  <?xml version=\"1.0\"?><CompleteMultipartUploadResult xmlns=\"x\"><Key>u</Key><ETag>\"e-1\"</ETag></CompleteMultipartUploadResult>",
        ),
        _ => Reply::ok("  <?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code><Message>again</Message></Error>"),
    })
    .await;
    let target = target(&server, json!({}));
    let complete = |key: &str| {
        let upload = Upload { key: key.into(), id: "i/1".into() };
        target.change(Change::CompleteUpload(Whole { upload, parts: vec![(1, "\"<p>\"".into())] }))
    };
    assert_eq!(complete("u/kept").await.unwrap(), "\"e-1\"");
    assert!(
        server.seen()[0].body.contains("<ETag>&quot;&lt;p&gt;&quot;</ETag>"),
        "{}",
        server.seen()[0].body
    );
    let refusal = told(complete("u/lost").await.unwrap_err());
    assert!(refusal.starts_with("retriable s3.InternalError "), "{refusal}");
}

#[tokio::test]
async fn lists_are_read_with_what_is_escaped_in_them() {
    let server = Server::start(|seen| {
        if seen.path().contains("uploads=") {
            return Reply::ok(
                "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>\
                 <Upload><Key>raw/u</Key><UploadId>1</UploadId><Initiator><ID>x</ID></Initiator></Upload></ListMultipartUploadsResult>",
            );
        }
        Reply::ok(
            "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>lake</Name><IsTruncated>false</IsTruncated>\
             <Contents><Key>raw/a&amp;b</Key><ETag>&quot;e&quot;</ETag><Size>7</Size><StorageClass>X</StorageClass></Contents>\
             <CommonPrefixes><Prefix>raw/c/</Prefix></CommonPrefixes>\
             <Contents><Key>other/x</Key><Size>1</Size></Contents></ListBucketResult>",
        )
    })
    .await;
    let target = target(&server, json!({ "prefix": "raw/" }));
    let listing = target.list("a", Some("a a"), 5000).await.unwrap();
    let objects: Vec<_> = listing.objects.iter().map(|o| (o.key.as_str(), o.size, o.etag.as_str())).collect();
    assert_eq!((objects, listing.more), (vec![("a&b", 7, "\"e\"")], false));
    assert_eq!(
        server.seen()[0].path(),
        "/lake/?list-type=2&max-keys=1000&prefix=raw%2Fa&start-after=raw%2Fa%20a"
    );
    let uploads = target.list_uploads("", None, 10).await.unwrap();
    assert_eq!(
        (uploads.uploads[0].key.as_str(), uploads.uploads[0].id.as_str(), uploads.more),
        ("u", "1", true)
    );
    let server = Server::start(|_| Reply::ok("<html>welcome</html>")).await;
    let refusal = told(super::tests::target(&server, json!({})).list("", None, 1).await.unwrap_err());
    assert!(refusal.starts_with("fatal s3.answer ") && refusal.contains("is `endpoint`"), "{refusal}");
}

#[tokio::test]
async fn answers_and_times_are_bounded() {
    let server = Server::start(|seen| match seen.path() {
        "/lake/endless" => Reply::Endless,
        "/lake/slow" => Reply::Slow,
        "/lake/silent" => Reply::Silent,
        "/lake/range" => {
            Reply::Is(206, "content-range: bytes 2-5/100\r\n".into(), seen.header("range").unwrap().into())
        }
        _ => Reply::ok("twelve bytes"),
    })
    .await;
    let target = target(&server, json!({ "timeout": "300ms", "response_max": "1KiB" }));
    let object = target.get("range", Some(ByteRange { offset: 2, length: 4 }), 0).await.unwrap();
    assert_eq!((object.body, object.meta.size), (b"bytes=2-5".to_vec(), 100));
    for (key, most, wanted) in [
        ("endless", 0, "fatal s3.response-size "),
        ("short", 11, "fatal s3.response-size "),
        ("slow", 0, "retriable s3.timeout "),
        ("silent", 0, "retriable s3.timeout "),
    ] {
        let refusal = told(target.get(key, None, most).await.unwrap_err());
        assert!(refusal.starts_with(wanted), "{key}: {refusal}");
    }
    let nobody = read(
        json!({ "bucket": "lake", "endpoint": "http://127.0.0.1:1", "allow_http": true, "anonymous": true }),
    );
    let refusal = told(nobody.unwrap().head("a").await.unwrap_err());
    assert!(refusal.starts_with("retriable s3.connect "), "{refusal}");
}

#[tokio::test]
async fn without_conditions_an_object_is_just_written() {
    let server = Server::start(|_| Reply::Is(200, "etag: \"e\"\r\n".into(), String::new())).await;
    let target = target(&server, json!({ "conditional_writes": false, "anonymous": false }));
    target.change(put("a", Condition::Absent)).await.unwrap();
    target.change(put("a", Condition::Unchanged("\"e\"".into()))).await.unwrap();
    for seen in server.seen() {
        assert_eq!((seen.header("if-none-match"), seen.header("if-match")), (None, None));
    }
}

#[test]
fn the_bucket_is_found_where_the_settings_say() {
    let base = |settings: Value| read(settings).unwrap().base.clone();
    assert_eq!(
        base(json!({ "bucket": "lake", "region": "eu-west-3" })),
        "https://lake.s3.eu-west-3.amazonaws.com"
    );
    assert_eq!(base(json!({ "bucket": "a.b" })), "https://s3.us-east-1.amazonaws.com/a.b");
    let minio = "https://minio.example.com:9000/s3/";
    assert_eq!(
        base(json!({ "bucket": "lake", "endpoint": minio })),
        "https://minio.example.com:9000/s3/lake"
    );
    assert_eq!(
        base(json!({ "bucket": "lake", "endpoint": "https://s3.example.com", "addressing": "virtual" })),
        "https://lake.s3.example.com"
    );
}

#[test]
fn settings_that_can_not_be_used_are_told_with_their_place() {
    let faults = |further: Value| -> Vec<String> {
        let mut settings = json!({ "bucket": "lake" });
        settings.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        read(settings).err().unwrap_or_default().into_iter().map(|fault| fault.pointer).collect()
    };
    assert_eq!(faults(json!({})), [""; 0]);
    for (further, pointer) in [
        (json!({ "bucket": "a/b" }), "/bucket"),
        (json!({ "bucket": ".." }), "/bucket"),
        (json!({ "prefix": "a/../b/" }), "/prefix"),
        (json!({ "prefix": "/a" }), "/prefix"),
        (json!({ "region": "EU" }), "/region"),
        (json!({ "endpoint": "http://a" }), "/endpoint"),
        (json!({ "endpoint": "a:9000" }), "/endpoint"),
        (json!({ "endpoint": "https://u@a" }), "/endpoint"),
        (json!({ "endpoint": "https://127.0.0.1", "addressing": "virtual" }), "/addressing"),
        (json!({ "access_key_id": "a" }), "/access_key_id"),
        (json!({ "access_key_id": "a b", "secret_access_key": "x" }), "/access_key_id"),
        (json!({ "secret_access_key": "a" }), "/secret_access_key"),
        (json!({ "access_key_id": "a", "secret_access_key": "x", "anonymous": true }), "/anonymous"),
        (json!({ "kms_key_id": "a" }), "/kms_key_id"),
        (json!({ "storage_class": "a\nb" }), "/storage_class"),
        (json!({ "timeout": "0s" }), "/timeout"),
        (json!({ "response_max": "65MiB" }), "/response_max"),
        (json!({ "ca": "not there.pem" }), "/ca"),
    ] {
        assert_eq!(faults(further.clone()), [pointer], "{further}");
    }
}
