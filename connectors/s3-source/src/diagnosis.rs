//! What `millrace doctor` is told: whether objects can be listed and read, deleted where that is wanted, and whether there are any.

use millrace_sdk::object_store::probe::{self, Needs};
use millrace_sdk::object_store::{ByteRange, ENTRIES_MAX, Meta, Refusal, Store};
use millrace_sdk::{Error, Finding};

use crate::settings::{Settings, WhenDone};

/// Looks at everything.
pub(crate) fn diagnose(settings: &Settings) -> Vec<Finding> {
    let needs = Needs { deletes: settings.when_done == WhenDone::Delete, ..Needs::default() };
    let store = Store::new(settings.connection.as_str());
    let mut findings = probe::tried(&store, &settings.prefix, needs);
    // That it can't be listed is told by now.
    if let Ok(listed) = store.list(&settings.prefix, None, ENTRIES_MAX) {
        findings.push(objects(&store, settings, &listed.objects, listed.more));
    }
    findings
}

/// Whether there are some on the first page.
fn objects(store: &Store, settings: &Settings, listed: &[Meta], more: bool) -> Finding {
    let subject = "objects to read";
    let wanted = || listed.iter().filter(|object| object.key.ends_with(&settings.suffix));
    match wanted().next() {
        Some(first) => {
            // Of an empty one nothing can be read.
            let tried = wanted().find(|object| object.size > 0);
            let refused = tried.and_then(|object| unreadable(store, object));
            refused.unwrap_or_else(|| Finding::ok(subject, format!("are there, such as {}", first.key)))
        }
        None if more => Finding::ok(subject, format!("are not among the first {ENTRIES_MAX} objects")),
        None if settings.follow => Finding::ok(subject, "are not there yet"),
        None => {
            let mend = "correct `prefix` or `suffix`, or set `follow: true` to wait for them";
            Finding::warning(subject, "are not there", mend)
        }
    }
}

/// Whoever may read objects need not have the right to the key that one is encrypted with.
fn unreadable(store: &Store, object: &Meta) -> Option<Finding> {
    let subject = format!("object {}", object.key);
    match store.get_range(&object.key, ByteRange { offset: 0, length: 1 }) {
        Ok(_) | Err(Refusal::Missing(_)) => None,
        Err(Refusal::Denied(why)) => {
            let mend = "allow s3:GetObject for it, and kms:Decrypt if it is encrypted with a key of its own";
            Some(Finding::failed(subject, format!("can't be read: {why}"), mend))
        }
        Err(refusal) => {
            let said = format!("can't be read: {}", Error::from(refusal).message);
            Some(Finding::warning(subject, said, "look again; if it stays, look at the store"))
        }
    }
}
