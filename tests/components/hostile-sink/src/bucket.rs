//! A walk through everything that the host's object store can do, told in one line per step: what a store answers in one way and
//! another store in another shows here.

use millrace_sdk::Error;
use millrace_sdk::object_store::{
    Attributes, ByteRange, Change, Condition, NewUpload, PART_BYTES_MIN, Part, Refusal, Store, Upload, Whole,
};

/// What came of each step.
struct Told(Vec<String>);

impl Told {
    fn step<T>(
        &mut self,
        what: &str,
        result: Result<T, Refusal>,
        show: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let said = match &result {
            Ok(value) => show(value),
            Err(Refusal::Missing(_)) => "missing".to_owned(),
            Err(Refusal::Precondition(_)) => "precondition".to_owned(),
            Err(Refusal::Denied(_)) => "denied".to_owned(),
            Err(Refusal::Failed(error)) => format!("{:?} {}", error.kind, error.code),
        };
        self.0.push(format!("{what}: {said}"));
        result.ok()
    }
}

/// Walks through the bucket of this connection.
pub(crate) fn walk(connection: &str) -> Error {
    let (store, mut told) = (Store::new(connection), Told(Vec::new()));
    let done = |_: &String| "done".to_owned();
    told.step("head nothing", store.head("a/one"), |_| "there".into());
    told.step("get nothing", store.get("a/one", 0), |_| "there".into());
    let first = told.step("create", store.put("a/one", "hello", Condition::Absent), done).unwrap_or_default();
    told.step("create again", store.put("a/one", "other", Condition::Absent), done);
    let unchanged = |etag: &str| Condition::Unchanged(etag.to_owned());
    told.step("replace", store.put("a/one", "hello, world", unchanged(&first)), done);
    told.step("replace again", store.put("a/one", "other", unchanged(&first)), done);
    told.step("replace nothing", store.put("a/none", "other", unchanged(&first)), done);
    told.step("head", store.head("a/one"), |meta| format!("{} bytes", meta.size));
    let text = |object: &millrace_sdk::object_store::Object| {
        format!("{:?} of {}", String::from_utf8_lossy(&object.body), object.meta.size)
    };
    told.step("get", store.get("a/one", 0), text);
    told.step("get at most 5", store.get("a/one", 5), text);
    told.step("get a range", store.get_range("a/one", ByteRange { offset: 7, length: 100 }), text);
    let odd = "a/x=1 & ü/t+0+0000000000.json";
    told.step("an odd key", store.put(odd, "odd", Condition::Always), done);
    told.step("its head", store.head(odd), |meta| format!("{} bytes", meta.size));
    told.step("out of the prefix", store.get("../one", 0), text);
    for n in 0..5 {
        let made = store.put(&format!("b/{n}"), vec![0; n], Condition::Always);
        told.step("more", made, done);
    }
    let listed = |listing: &millrace_sdk::object_store::Listing| {
        let keys: Vec<_> =
            listing.objects.iter().map(|meta| format!("{}({})", meta.key, meta.size)).collect();
        format!("{} more={}", keys.join(" "), listing.more)
    };
    told.step("list", store.list("", None, 1000), listed);
    told.step("list two", store.list("b/", None, 2), listed);
    told.step("list on", store.list("b/", Some("b/1"), 1000), listed);
    told.step("list nothing", store.list("c/", None, 1000), listed);
    uploads(&store, &mut told);
    told.step("delete", store.delete("a/one"), |()| "done".into());
    told.step("delete again", store.delete("a/one"), |()| "done".into());
    told.step("what is left", store.list("a/", None, 10), listed);
    Error::fatal("test.done", told.0.join("; "))
}

fn uploads(store: &Store, told: &mut Told) {
    let begin = |key: &str| {
        let attributes = Attributes { content_type: Some("text/plain".into()), content_encoding: None };
        store
            .apply_one(Change::BeginUpload(NewUpload { key: key.into(), attributes }))
            .map(|id| Upload { key: key.into(), id })
    };
    let begun = |_: &Upload| "done".to_owned();
    let Some(upload) = told.step("begin", begin("u/whole"), begun) else { return };
    let Some(other) = told.step("begin another", begin("u/left"), begun) else { return };
    let part =
        |number, size| Change::PutPart(Part { upload: upload.clone(), number, body: vec![b'x'; size] });
    let mut parts = Vec::new();
    for (number, answer) in (1..).zip(store.apply(&[part(1, PART_BYTES_MIN), part(2, 3)])) {
        let etag = told.step("part", answer, |etag| format!("{} quotes", etag.matches('"').count()));
        parts.push((number, etag.unwrap_or_default()));
    }
    let listed = |uploads: &millrace_sdk::object_store::Uploads| {
        let keys: Vec<_> = uploads.uploads.iter().map(|upload| upload.key.as_str()).collect();
        format!("{} more={}", keys.join(" "), uploads.more)
    };
    told.step("not seen yet", store.head("u/whole"), |_| "there".into());
    told.step("uploads", store.uploads("u/", None, 100), listed);
    told.step("uploads elsewhere", store.uploads("v/", None, 100), listed);
    let whole = Whole { upload: upload.clone(), parts: parts.clone() };
    told.step("complete", store.apply_one(Change::CompleteUpload(whole.clone())), |_| "done".into());
    told.step("seen", store.head("u/whole"), |meta| format!("{} bytes", meta.size));
    told.step("complete again", store.apply_one(Change::CompleteUpload(whole)), |_| "done".into());
    let abort = |upload: &Upload| store.apply_one(Change::AbortUpload(upload.clone()));
    told.step("abort", abort(&other), |_| "done".into());
    told.step("abort again", abort(&other), |_| "done".into());
    let late = Change::PutPart(Part { upload: other, number: 1, body: b"late".to_vec() });
    told.step("a part too late", store.apply_one(late), |_| "done".into());
    told.step("no uploads", store.uploads("u/", None, 100), listed);
}
