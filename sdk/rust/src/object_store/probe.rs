//! Whether a bucket lets a connector do what it needs, for [`Source::diagnose`](crate::Source::diagnose) and
//! [`Sink::diagnose`](crate::Sink::diagnose).
//!
//! An object is made only if objects may be deleted, which is asked before there is one, and it is deleted whatever happens meanwhile. What a doctor that
//! was killed left is removed by one that comes an hour later.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::{Attributes, Change, Condition, NewUpload, Refusal, Store, Upload};
use crate::clock::{now_ms, patiently};
use crate::{Error, ErrorKind, Finding};

/// How names of what is written begin, below the prefix; the time in milliseconds follows.
const MARK: &str = ".millrace-doctor-";
/// Nothing is looked at for so long: what is older was left.
const LEFT_MS: i64 = 3_600_000;
/// Most of what was left that is removed at a time.
const LEFT_MAX: u32 = 100;
/// An etag that no object has.
const NOBODYS: &str = "\"00000000000000000000000000000000\"";
/// What a store that can't do something calls that.
const UNKNOWN: &str = "s3.NotImplemented";

/// What a connector needs besides reading and listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Objects are written if they are not there, and replaced if they are as they were: what exactly once rests on.
    pub writes: bool,
    /// Objects are deleted.
    pub deletes: bool,
    /// Objects are uploaded in parts, and unfinished uploads are found and aborted.
    pub uploads: bool,
}

/// Tries all of it below `prefix`.
pub fn tried(store: &Store, prefix: &str, needs: Needs) -> Vec<Finding> {
    let mut probe = Probe::new(store, prefix);
    // Whoever may not list is not told either that an object isn't there.
    if probe.may("listed", "s3:ListBucket on the bucket", store.list(prefix, None, 1)) {
        probe.may("read", "s3:GetObject", nothing(store.get(&probe.key, 1).map(drop)));
    }
    if needs.writes || needs.uploads {
        probe.sweep();
    }
    let deleted = (needs.writes || needs.deletes).then(|| store.delete(&probe.key));
    let may_delete = matches!(deleted, Some(Ok(())));
    if needs.deletes
        && let Some(deleted) = deleted
    {
        probe.may("deleted", "s3:DeleteObject", deleted);
    }
    if needs.writes {
        probe.write(may_delete);
    }
    if needs.uploads {
        probe.upload();
    }
    probe.end(needs)
}

/// That there is no such object is an answer, too.
fn nothing(answer: Result<(), Refusal>) -> Result<(), Refusal> {
    match answer {
        Err(Refusal::Missing(_)) => Ok(()),
        answer => answer,
    }
}

struct Probe<'s> {
    store: &'s Store,
    prefix: &'s str,
    /// What findings are about.
    subject: String,
    /// Of an object that is nobody's.
    key: String,
    findings: Vec<Finding>,
}

impl<'s> Probe<'s> {
    fn new(store: &'s Store, prefix: &'s str) -> Self {
        let subject =
            format!("objects below {}", if prefix.is_empty() { "the connection's prefix" } else { prefix });
        // Two doctors at a time don't meet.
        let random = RandomState::new().build_hasher().finish();
        let key = format!("{prefix}{MARK}{}-{random:016x}", now_ms());
        Self { store, prefix, subject, key, findings: Vec::new() }
    }

    /// Notes what is refused. True: nothing is.
    fn may<T>(&mut self, what: &str, right: &str, tried: Result<T, Refusal>) -> bool {
        let Err(refusal) = tried else { return true };
        let can_not = |why: &str| format!("can't be {what}: {why}");
        let subject = self.subject.as_str();
        self.findings.push(match &refusal {
            Refusal::Denied(why) => {
                let prefix = self.prefix;
                let mend = format!(
                    "allow {right}, for keys that begin with {prefix:?} behind the connection's prefix"
                );
                Finding::failed(subject, can_not(why), mend)
            }
            Refusal::Failed(error) if error.kind == ErrorKind::Retriable => {
                let mend = "look again; if it stays, look at the store and the network";
                Finding::warning(subject, can_not(&error.message), mend)
            }
            Refusal::Failed(error) => Finding::failed(
                subject,
                can_not(&error.message),
                "choose a store that can, or correct the connection",
            ),
            Refusal::Missing(why) | Refusal::Precondition(why) => {
                Finding::failed(subject, can_not(why), "look at what answers at the connection's `endpoint`")
            }
        });
        false
    }

    fn no_conditions(&mut self) {
        let said = "are written whatever the condition: the store has no conditional writes, on which exactly once rests";
        let mend =
            "choose a store, or a version of it, that has them (`If-Match` and `If-None-Match` of PutObject)";
        self.findings.push(Finding::failed(self.subject.as_str(), said, mend));
    }

    /// Whether objects can be written, and conditions hold.
    fn write(&mut self, may_delete: bool) {
        let right = "s3:PutObject";
        // As a rule it writes nothing.
        match self.store.put(&self.key, "", Condition::Unchanged(NOBODYS.to_owned())) {
            Err(Refusal::Missing(_) | Refusal::Precondition(_)) => {}
            Err(denied @ Refusal::Denied(_)) => {
                self.may("written", right, Err::<(), _>(denied));
                return;
            }
            Err(Refusal::Failed(error)) if error.code == UNKNOWN => return self.no_conditions(),
            Err(refusal) => {
                self.may("written", right, Err::<(), _>(refusal));
                return self.remove();
            }
            Ok(_) => {
                self.no_conditions();
                return self.remove();
            }
        }
        if !may_delete {
            // It could not be removed again, and is not needed.
            return;
        }
        if self.may("written", right, self.store.put(&self.key, "", Condition::Absent)) {
            match self.store.put(&self.key, "", Condition::Absent) {
                Ok(_) => self.no_conditions(),
                Err(Refusal::Precondition(_)) => {}
                Err(refusal) => drop(self.may("written on a condition", right, Err::<(), _>(refusal))),
            }
        }
        self.remove();
    }

    /// Removes what may have been written.
    fn remove(&mut self) {
        let removed = patiently(|| self.store.delete(&self.key).map_err(Error::from));
        if let Err(error) = removed {
            let said = format!(
                "{}, which was written to see whether it may be, is still there: {}",
                self.key, error.message
            );
            let mend = "remove that object, which is empty";
            self.findings.push(Finding::warning(self.subject.as_str(), said, mend));
        }
    }

    /// Whether objects can be uploaded in parts, and what is unfinished found and aborted.
    fn upload(&mut self) {
        let attributes = Attributes { content_type: None, content_encoding: None };
        let begun =
            self.store.apply_one(Change::BeginUpload(NewUpload { key: self.key.clone(), attributes }));
        let mut uploads = Vec::new();
        uploads.extend(begun.as_ref().ok().map(|id| Upload { key: self.key.clone(), id: id.clone() }));
        self.may("uploaded in parts", "s3:PutObject", begun);
        // There may be one whose answer was lost.
        match self.store.uploads(&self.key, None, LEFT_MAX) {
            Ok(page) => {
                let further: Vec<Upload> = page
                    .uploads
                    .into_iter()
                    .filter(|found| found.key == self.key && !uploads.contains(found))
                    .collect();
                uploads.extend(further);
            }
            Err(refusal) => {
                let said = format!(
                    "can't be searched for unfinished uploads, which a kill may leave: {}",
                    Error::from(refusal).message
                );
                let mend = "allow s3:ListBucketMultipartUploads on the bucket; where the store can't list them, give the bucket a lifecycle rule that removes them (AbortIncompleteMultipartUpload)";
                self.findings.push(Finding::warning(self.subject.as_str(), said, mend));
            }
        }
        for upload in uploads {
            let mut refused = None;
            let aborted = patiently(|| {
                let aborted = nothing(self.store.apply_one(Change::AbortUpload(upload.clone())).map(drop));
                aborted.map_err(|refusal| {
                    refused = Some(refusal.clone());
                    Error::from(refusal)
                })
            });
            if let (Err(_), Some(refusal)) = (aborted, refused) {
                self.may("cleaned of unfinished uploads", "s3:AbortMultipartUpload", Err::<(), _>(refusal));
            }
        }
    }

    /// Removes what doctors left that were killed. Whether it may is found out by others.
    fn sweep(&self) {
        let mark = format!("{}{MARK}", self.prefix);
        let is_left = |key: &str| {
            let written =
                key.strip_prefix(&mark).and_then(|rest| rest.split('-').next()?.parse::<i64>().ok());
            written.is_some_and(|at| at < now_ms() - LEFT_MS)
        };
        let objects = self.store.list(&mark, None, LEFT_MAX).map(|page| page.objects).unwrap_or_default();
        let objects = objects
            .into_iter()
            .filter(|object| is_left(&object.key))
            .map(|object| Change::Delete(object.key));
        let uploads = self.store.uploads(&mark, None, LEFT_MAX).map(|page| page.uploads).unwrap_or_default();
        let uploads = uploads.into_iter().filter(|upload| is_left(&upload.key)).map(Change::AbortUpload);
        let left: Vec<Change> = objects.chain(uploads).collect();
        let _unneeded = self.store.apply(&left);
    }

    /// All findings; one, if all is well.
    fn end(mut self, needs: Needs) -> Vec<Finding> {
        if self.findings.is_empty() {
            let done =
                [(needs.writes, "written"), (needs.deletes, "deleted"), (needs.uploads, "uploaded in parts")];
            let done = done.into_iter().filter_map(|(is_needed, what)| is_needed.then_some(what));
            let all: Vec<&str> = ["listed", "read"].into_iter().chain(done).collect();
            self.findings.push(Finding::ok(self.subject, format!("can be {}", all.join(", "))));
        }
        self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Health;
    use crate::testing::object_store::{Fate, bucket};

    const ALL: Needs = Needs { writes: true, deletes: true, uploads: true };

    /// What is found while requests of this name meet this fate so many times.
    fn found(request: &'static str, fate: Fate, mut times: u32, needs: Needs) -> Vec<Finding> {
        bucket().interfere(Some(Box::new(move |name| {
            let is_hit = name == request && times > 0;
            times -= u32::from(is_hit);
            if is_hit { fate.clone() } else { Fate::Done }
        })));
        let found = tried(&Store::new("lake"), "topics/", needs);
        bucket().interfere(None);
        found
    }

    fn is_clean() -> bool {
        bucket().objects().is_empty() && bucket().unfinished().is_empty()
    }

    #[test]
    fn what_a_bucket_refuses_is_told() {
        let well = tried(&Store::new("lake"), "topics/", ALL);
        assert_eq!(
            well,
            [Finding::ok(
                "objects below topics/",
                "can be listed, read, written, deleted, uploaded in parts"
            )]
        );
        assert!(is_clean());
        for (refused, needs, told) in [
            ("list", Needs::default(), "allow s3:ListBucket on the bucket"),
            ("get", Needs::default(), "allow s3:GetObject"),
            ("put", ALL, "allow s3:PutObject"),
            ("delete", Needs { deletes: true, ..Needs::default() }, "allow s3:DeleteObject"),
            ("begin-upload", Needs { uploads: true, ..Needs::default() }, "allow s3:PutObject"),
        ] {
            let found = found(refused, Fate::Lost(Refusal::Denied("403".into())), u32::MAX, needs);
            assert!(
                matches!(&found[..], [only] if only.mend.starts_with(told) && only.health == Health::Failed),
                "{refused}: {found:?}"
            );
            assert!(is_clean(), "{refused}");
        }
        let found = found("abort-upload", Fate::Lost(Refusal::Denied("403".into())), u32::MAX, ALL);
        assert!(
            found.iter().any(|finding| finding.mend.starts_with("allow s3:AbortMultipartUpload")),
            "{found:?}"
        );
        bucket().clear();
    }

    #[test]
    fn nothing_stays_whatever_fails_on_the_way() {
        let lost = || Refusal::Failed(Error::retriable("s3.timeout", "no answer"));
        for request in ["list", "get", "put", "delete", "begin-upload", "list-uploads", "abort-upload"] {
            for fate in [Fate::Lost(lost()), Fate::Unanswered(lost())] {
                for times in 1..4 {
                    found(request, fate.clone(), times, ALL);
                    assert!(is_clean(), "{request} {fate:?} {times}: {:?}", bucket());
                }
            }
        }
    }

    #[test]
    fn who_may_not_delete_leaves_nothing_to_be_deleted() {
        let needs = Needs { deletes: false, ..ALL };
        let found = found("delete", Fate::Lost(Refusal::Denied("403".into())), u32::MAX, needs);
        assert!(matches!(&found[..], [only] if only.health == Health::Ok), "{found:?}");
        assert!(is_clean());
    }

    #[test]
    fn a_store_that_looks_at_no_conditions_is_found_out() {
        bucket().ignore_conditions();
        let found = tried(&Store::new("lake"), "topics/", ALL);
        assert!(matches!(&found[..], [only] if only.said.contains("no conditional writes")), "{found:?}");
        assert!(is_clean());
        bucket().clear();
    }

    #[test]
    fn what_a_killed_doctor_left_is_removed_later() {
        let store = Store::new("lake");
        let old = now_ms() - LEFT_MS - 1;
        let keys = [
            format!("topics/{MARK}{old}-1"),
            format!("topics/{MARK}{}-1", now_ms()),
            format!("topics/{MARK}mine"),
        ];
        for key in &keys {
            store.put(key, "", Condition::Always).expect("written");
        }
        tried(&store, "topics/", ALL);
        assert_eq!(bucket().objects().into_keys().collect::<Vec<_>>(), keys[1..]);
        bucket().clear();
    }
}
