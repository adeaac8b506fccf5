//! The steps between files and committed objects, for all partitions of a task at once: requests of one kind go together.
//!
//! Every step can be repeated, and is, after an error: what was done is noted as soon as it is known, and what may or may not have been
//! done is found out. Nothing here takes records.

use millrace_sdk::clock::patiently;
use millrace_sdk::object_store::{
    Attributes, Change, Condition, NewObject, NewUpload, Refusal, Store, Upload,
};
use millrace_sdk::{Error, ErrorKind, Task, TopicPartition, host, warn};

use crate::lane::{Lane, complete};
use crate::settings::{PART_BYTES_MAX, Settings};
use crate::state::{self, Finished, Held, State};

/// Most attempts to take over a state that others write to.
const CLAIMS_MAX: u32 = 10;
/// Uploads that one list asks for.
const LIST_MAX: u32 = 1000;

fn plain(key: String, body: Vec<u8>, condition: Condition) -> Change {
    let attributes = Attributes { content_type: Some("application/json".into()), content_encoding: None };
    Change::Put(NewObject { key, body, condition, attributes })
}

/// Everything that belongs to committed files: uploads what is ready, commits what is closed, completes what is committed. A position that
/// moved without a file is committed if `even_nothing`.
pub fn settle(
    store: &Store,
    settings: &Settings,
    task: &Task,
    fingerprint: &str,
    even_nothing: bool,
    lanes: &mut [&mut Lane],
) -> Result<(), Error> {
    // What an earlier call left behind comes first: a commit follows only the one before it.
    write_intents(store, task, lanes)?;
    complete_all(store, lanes)?;
    upload(store, settings, lanes)?;
    loop {
        for lane in lanes.iter_mut() {
            lane.intend(task, fingerprint, even_nothing)?;
        }
        write_intents(store, task, lanes)?;
        complete_all(store, lanes)?;
        // A commit names so many.
        if lanes.iter().all(|lane| lane.closed.is_empty()) {
            return Ok(());
        }
    }
}

/// Uploads closed files to their end, and of open ones what makes a part.
pub fn upload(store: &Store, settings: &Settings, lanes: &mut [&mut Lane]) -> Result<(), Error> {
    let part_bytes = settings.s3_part_size.bytes();
    begin_uploads(store, settings, lanes, part_bytes)?;
    loop {
        let (mut changes, mut bytes) = (Vec::new(), 0);
        let mut targets = Vec::new();
        for (at, lane) in lanes.iter_mut().enumerate() {
            for (place, (closed, file)) in lane.files().enumerate() {
                if bytes + file.content.out.len().min(part_bytes) > PART_BYTES_MAX && !changes.is_empty() {
                    continue;
                }
                if let Some(change) = file.part(part_bytes, closed) {
                    let Change::PutPart(part) = &change else { continue };
                    bytes += part.body.len();
                    targets.push((at, place, part.body.len()));
                    changes.push(change);
                }
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let mut failed = None;
        for ((at, place, length), answer) in targets.into_iter().zip(store.apply(&changes)) {
            match (answer, lanes[at].files().nth(place)) {
                (Ok(etag), Some((_, file))) => file.uploaded(length, etag),
                (Ok(_), None) => {}
                (Err(Refusal::Missing(why)), _) => {
                    failed = Some(Error::fatal(
                        "s3.upload-lost",
                        format!("{why}; somebody aborted it, a lifecycle rule perhaps"),
                    ));
                }
                (Err(refusal), _) => {
                    failed.get_or_insert(refusal.into());
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
}

fn begin_uploads(
    store: &Store,
    settings: &Settings,
    lanes: &mut [&mut Lane],
    part_bytes: usize,
) -> Result<(), Error> {
    let attributes =
        || Attributes { content_type: Some(settings.content_type().to_owned()), content_encoding: None };
    let mut changes = Vec::new();
    let mut waiting = Vec::new();
    for lane in lanes.iter_mut() {
        for (closed, file) in lane.files() {
            if file.upload.is_none() && (closed || file.content.out.len() >= part_bytes) {
                changes
                    .push(Change::BeginUpload(NewUpload { key: file.key.clone(), attributes: attributes() }));
                waiting.push(file);
            }
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    let mut failed = None;
    for (file, answer) in waiting.into_iter().zip(store.apply(&changes)) {
        match answer {
            Ok(id) => file.upload = Some(id),
            Err(refusal) => {
                failed.get_or_insert(Error::from(refusal));
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Writes the commits that are intended.
fn write_intents(store: &Store, task: &Task, lanes: &mut [&mut Lane]) -> Result<(), Error> {
    let mut changes = Vec::new();
    let mut waiting: Vec<&mut Lane> = Vec::new();
    for lane in lanes.iter_mut() {
        if let Some(intent) = &lane.intent {
            changes.push(plain(lane.key.clone(), intent.bytes.clone(), state::after(Some(&lane.held))));
            waiting.push(lane);
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    let mut failed: Option<Error> = None;
    for (lane, answer) in waiting.into_iter().zip(store.apply(&changes)) {
        let outcome = match answer {
            Ok(etag) => {
                lane.committed(etag);
                Ok(())
            }
            // It may be ours: written by an attempt whose answer was lost.
            Err(Refusal::Precondition(_)) => is_ours(store, task, lane),
            Err(refusal) => Err(refusal.into()),
        };
        if let Err(error) = outcome {
            let worse = error.kind == ErrorKind::Fatal;
            if failed.is_none() || worse {
                failed = Some(error);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

fn is_ours(store: &Store, task: &Task, lane: &mut Lane) -> Result<(), Error> {
    let intended = lane.intent.as_ref().map(|intent| &intent.state);
    match state::read(store, &lane.key, task) {
        Ok(Some(held)) if Some(&held.state) == intended => {
            lane.committed(held.etag);
            return Ok(());
        }
        Err(error) if error.code != state::FENCED => return Err(error),
        _ => {}
    }
    // Another state is there: the intent was not written, or its next owner has completed what it names.
    if let Some(lost) = lane.intent.take() {
        let of = |done: &Finished| Change::AbortUpload(Upload { key: done.key.clone(), id: done.id.clone() });
        let _ = abort(store, &lost.state.uploads.iter().map(of).collect::<Vec<_>>());
    }
    Err(state::fenced(&lane.key))
}

/// Completes what is committed.
fn complete_all(store: &Store, lanes: &mut [&mut Lane]) -> Result<(), Error> {
    let mut failed = None;
    for lane in lanes.iter_mut() {
        let uploads = std::mem::take(&mut lane.completing);
        let (left, error) = complete_some(store, uploads.into());
        lane.completing = left.into();
        failed = failed.or(error);
    }
    failed.map_or(Ok(()), Err)
}

/// Completes uploads; gives back those that aren't, and why.
fn complete_some(store: &Store, uploads: Vec<Finished>) -> (Vec<Finished>, Option<Error>) {
    if uploads.is_empty() {
        return (uploads, None);
    }
    let changes: Vec<Change> = uploads.iter().map(complete).collect();
    let (mut left, mut failed) = (Vec::new(), None);
    for (upload, answer) in uploads.into_iter().zip(store.apply(&changes)) {
        let outcome = match answer {
            Ok(_) => Ok(()),
            // Completed before, by an attempt whose answer was lost or by another instance: then the object is there. (Some stores
            // deny what is about an upload that they don't know.)
            Err(refusal @ (Refusal::Missing(_) | Refusal::Denied(_))) => is_there(store, &upload, refusal),
            Err(refusal) => Err(refusal.into()),
        };
        match outcome {
            Ok(()) => host::count("objects", 1, &[]),
            Err(error) => {
                failed.get_or_insert(error);
                left.push(upload);
            }
        }
    }
    (left, failed)
}

/// Whether an upload that can't be completed has become its object.
fn is_there(store: &Store, upload: &Finished, refusal: Refusal) -> Result<(), Error> {
    match (store.head(&upload.key), refusal) {
        (Ok(meta), _) if meta.size == upload.size => Ok(()),
        (Ok(_) | Err(Refusal::Missing(_)), Refusal::Missing(_)) => {
            let message = format!(
                "{}: its upload was committed, but neither it nor the object is there any more; was it removed, or aborted by a \
                 lifecycle rule?",
                upload.key
            );
            Err(Error::fatal("s3.upload-lost", message))
        }
        (Ok(_) | Err(Refusal::Missing(_)), refusal) | (Err(refusal), _) => Err(refusal.into()),
    }
}

/// Takes over a partition: completes what is committed, and writes a state of its own, after which nobody who came before can
/// commit any more. Each step is repeated by itself: all of them together seldom go well where many requests don't.
pub fn claim(
    store: &Store,
    settings: &Settings,
    task: &Task,
    fingerprint: &str,
    of: &TopicPartition,
) -> Result<Lane, Error> {
    let key = state::key(&settings.topics_dir, &of.topic, of.partition);
    for _ in 0..CLAIMS_MAX {
        let before = patiently(|| state::read(store, &key, task))?;
        let mut left = before.as_ref().map(|held| held.state.uploads.clone()).unwrap_or_default();
        patiently(|| {
            let failed;
            (left, failed) = complete_some(store, std::mem::take(&mut left));
            failed.map_or(Ok(()), Err)
        })?;
        let mut state = match &before {
            Some(held) => held.state.next(task),
            None => State::new(task, fingerprint),
        };
        if state.partitioner != fingerprint && !state.done.is_empty() {
            let message = format!(
                "the partitioner's settings were changed while objects of partition {} were unfinished; set them back and stop the \
                 connector cleanly first, which finishes them",
                of.partition
            );
            return Err(Error::fatal("state.partitioner", message));
        }
        fingerprint.clone_into(&mut state.partitioner);
        state.uploads.clear();
        let bytes = state.bytes()?;
        let written = patiently(|| {
            match store.apply_one(plain(key.clone(), bytes.clone(), state::after(before.as_ref()))) {
                Ok(etag) => Ok(Some(etag)),
                Err(Refusal::Precondition(_)) => Ok(None),
                Err(refusal) => Err(Error::from(refusal)),
            }
        });
        if let Some(etag) = written? {
            return Ok(Lane {
                topic: of.topic.clone(),
                partition: of.partition,
                key,
                next: state.position,
                done: state.done.clone(),
                held: Held { state, etag },
                open: Default::default(),
                closed: Vec::new(),
                intent: None,
                completing: Default::default(),
            });
        }
        // Another one committed meanwhile, or it is our own of an attempt whose answer was lost: look again.
    }
    Err(Error::retriable("state.busy", format!("{key} is written by others again and again")))
}

/// Aborts uploads that earlier owners of these partitions began and nobody committed. Their lanes must be claimed.
pub fn sweep(store: &Store, settings: &Settings, topic: &str, partitions: &[i32]) -> Result<(), Error> {
    let prefix = format!("{}/{topic}/", settings.topics_dir);
    let mut after: Option<Upload> = None;
    loop {
        let page = match store.uploads(&prefix, after.as_ref(), LIST_MAX) {
            Ok(page) => page,
            Err(Refusal::Failed(error)) if error.kind == ErrorKind::Retriable => return Err(error),
            Err(refusal) => {
                let why = Error::from(refusal).message;
                warn!(
                    "unfinished uploads of earlier runs can't be found: {why}; a lifecycle rule of the bucket should remove them"
                );
                return Ok(());
            }
        };
        let orphans: Vec<Change> = page
            .uploads
            .iter()
            .filter(|upload| owner(&upload.key, topic).is_some_and(|of| partitions.contains(&of)))
            .map(|upload| Change::AbortUpload(upload.clone()))
            .collect();
        abort(store, &orphans)?;
        after = page.uploads.last().cloned();
        if !page.more || after.is_none() {
            return Ok(());
        }
    }
}

/// The partition that a file's key names.
fn owner(key: &str, topic: &str) -> Option<i32> {
    let name = key.rsplit('/').next()?;
    let (partition, _) = name.strip_prefix(topic)?.strip_prefix('+')?.split_once('+')?;
    partition.parse().ok()
}

/// Aborts uploads; such as are gone are.
pub fn abort(store: &Store, aborts: &[Change]) -> Result<(), Error> {
    if aborts.is_empty() {
        return Ok(());
    }
    let refused = store.apply(aborts).into_iter().filter_map(Result::err);
    let mut refused = refused.filter(|refusal| !matches!(refusal, Refusal::Missing(_)));
    refused.next().map_or(Ok(()), |refusal| Err(refusal.into()))
}
