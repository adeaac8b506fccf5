//! Where files lie: URIs, as readers of the table see them, and keys, as the connection has them.
//!
//! What a task writes lies in folders of its own, named by its connector, its number, its generation and this very instance, and is numbered.
//! So no two writers ever use one name, and what a dead one left beyond its last commit can be told by its number alone.

use millrace_sdk::object_store::{Change, Refusal};
use millrace_sdk::{Error, ErrorKind, Task, warn};

use crate::manifest::Of;
use crate::store::Store;

/// Objects that one list asks for.
const LIST_MAX: u32 = 1000;

/// How names of manifests end, and of those that others were merged into; of data and of deletes.
const MANIFEST: [&str; 2] = ["-manifest.avro", "-deletes.avro"];
const MERGED: [&str; 2] = ["-merged.avro", "-merged-deletes.avro"];

/// Whether it may be a manifest that this sink wrote, by its name.
pub fn is_manifest(uri: &str) -> bool {
    MANIFEST.iter().chain(&MERGED).any(|ending| uri.ends_with(ending))
}

/// Schemes that mean S3, by whichever program.
const SCHEMES: [&str; 3] = ["s3://", "s3a://", "s3n://"];

/// Before the path of a folder.
const FILE: &str = "file://";

/// The URI that a connection's keys are relative to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warehouse(String);

impl Warehouse {
    /// Of the setting `warehouse`.
    pub fn new(uri: &str) -> Result<Self, String> {
        let rest = SCHEMES.iter().find_map(|scheme| uri.strip_prefix(scheme));
        let rest =
            rest.ok_or("a URI such as s3://bucket/prefix: where readers find what the connection leads to")?;
        let rest = rest.trim_end_matches('/');
        if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err("a bucket, and folders behind it without empty names".to_owned());
        }
        Ok(Self(uri.trim_end_matches('/').to_owned()))
    }

    /// Of a folder, where readers find it.
    pub fn of_folder(uri: &str) -> Result<Self, String> {
        let path = uri.strip_prefix(FILE).and_then(|rest| rest.strip_prefix('/'));
        let path = path.ok_or("a URI such as file:///data/lake: where readers find the folder")?;
        let path = path.trim_end_matches('/');
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err("an absolute path below /, without empty names".to_owned());
        }
        Ok(Self(format!("{FILE}/{path}")))
    }

    /// The URI of a key.
    pub fn uri(&self, key: &str) -> String {
        format!("{}/{key}", self.0)
    }

    /// The key of a URI.
    pub fn key<'u>(&self, uri: &'u str) -> Result<&'u str, Error> {
        // Others say file:/ for it.
        if let Some(own) = self.0.strip_prefix(FILE)
            && let Some(path) = uri.strip_prefix(FILE).or_else(|| uri.strip_prefix("file:"))
            && let Some(key) = path.strip_prefix(own).and_then(|rest| rest.strip_prefix('/'))
        {
            return Ok(key);
        }
        let bare = |uri: &'u str| SCHEMES.iter().find_map(|scheme| uri.strip_prefix(scheme)).unwrap_or(uri);
        let own = SCHEMES.iter().find_map(|scheme| self.0.strip_prefix(scheme)).unwrap_or(&self.0);
        let key = bare(uri).strip_prefix(own).and_then(|rest| rest.strip_prefix('/'));
        key.ok_or_else(|| {
            let message = format!(
                "{uri} does not lie below {}, which the connection or the folder leads to; correct `warehouse`, or give another one",
                self.0
            );
            Error::fatal("table.location", message)
        })
    }
}

/// One instance of a task: nobody else has this name, before it or behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The connector, as names of files can have it.
    connector: String,
    /// `TASK-GENERATION-RANDOM`
    pub name: String,
}

impl Instance {
    /// A new one.
    pub fn new(task: &Task) -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("{}-{}-{}", task.number, task.generation, &random[..12]);
        Self { connector: safe(&task.connector), name }
    }

    /// Its folder of data files, below the table's location.
    pub fn data(&self, of: &str) -> String {
        format!("data/{}/{of}/", self.connector)
    }

    /// Its folder of manifests and their lists.
    pub fn metadata(&self, of: &str) -> String {
        format!("metadata/{}/{of}/", self.connector)
    }

    /// Its folder of files that are not finished.
    pub fn scratch(&self) -> String {
        self.metadata(&self.name)
    }

    /// The folder of all of the connector's.
    pub fn all_metadata(&self) -> String {
        format!("metadata/{}", self.connector)
    }

    /// Whether it was started in the place of the instance with this name.
    pub fn is_after(&self, name: &str) -> bool {
        let of = |name: &str| {
            let mut parts = name.splitn(3, '-').map(|part| part.parse::<u64>().ok());
            Some((parts.next()??, parts.next()??))
        };
        let both = of(name).zip(of(&self.name));
        both.is_some_and(|((task, start), (own, now))| task == own && start < now)
    }

    /// A data file.
    pub fn data_file(&self, number: u64) -> String {
        format!("{}{number:010}.parquet", self.data(&self.name))
    }

    /// The manifest of a commit.
    pub fn manifest(&self, commit: u64, of: Of) -> String {
        format!("{}{commit:010}{}", self.metadata(&self.name), of.of(MANIFEST))
    }

    /// The manifest that a commit merges others into.
    pub fn merged(&self, commit: u64, of: Of) -> String {
        format!("{}{commit:010}{}", self.metadata(&self.name), of.of(MERGED))
    }

    /// The list of a snapshot that a claim makes. It comes before those of commits, which are swept from a number on.
    pub fn claim_list(&self) -> String {
        format!("{}00-claim-{}.avro", self.metadata(&self.name), uuid::Uuid::new_v4().simple())
    }

    /// The list of a commit's snapshot, at an attempt.
    pub fn list(&self, commit: u64, attempt: u32) -> String {
        format!("{}{commit:010}-snapshot-{attempt:05}.avro", self.metadata(&self.name))
    }
}

/// Letters, digits, `.`, `_` and `-` as they are, all else as `~` and its bytes.
fn safe(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => out.push(char::from(byte)),
            other => out.push_str(&format!("~{other:02x}")),
        }
    }
    out
}

/// Removes a dead instance's objects from this number on.
pub fn sweep(store: &Store, folder: &str, from: u64) -> Result<(), Error> {
    // Names go on behind the number: this is before all of them, and behind those of the number before.
    let mut after = format!("{folder}{from:010}");
    loop {
        let page = store.list(folder, Some(&after), LIST_MAX)?;
        for object in &page.objects {
            store.delete(&object.key)?;
        }
        match page.objects.last() {
            Some(last) if page.more => after.clone_from(&last.key),
            _ => break,
        }
    }
    sweep_uploads(store, folder)
}

/// Removes what it did not finish.
pub fn sweep_uploads(store: &Store, folder: &str) -> Result<(), Error> {
    match store.uploads(folder, LIST_MAX) {
        Ok(page) => {
            let aborts: Vec<Change> = page.uploads.into_iter().map(Change::AbortUpload).collect();
            let refused = store.apply(&aborts).into_iter().filter_map(Result::err);
            let mut refused = refused.filter(|refusal| !matches!(refusal, Refusal::Missing(_)));
            refused.next().map_or(Ok(()), |refusal| Err(refusal.into()))
        }
        Err(Refusal::Failed(error)) if error.kind == ErrorKind::Retriable => Err(error),
        Err(refusal) => {
            let why = Error::from(refusal).message;
            warn!(
                "unfinished uploads of earlier runs can't be found: {why}; a lifecycle rule of the bucket should remove them"
            );
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_is_behind_the_warehouse() {
        let warehouse = Warehouse::new("s3://lake/raw/").expect("a warehouse");
        assert_eq!(warehouse.uri("t/f"), "s3://lake/raw/t/f");
        assert_eq!(warehouse.key("s3a://lake/raw/t/f"), Ok("t/f"));
        for other in ["s3://lake/rawer/f", "s3://lake", "gs://lake/raw/t"] {
            assert_eq!(warehouse.key(other).expect_err("elsewhere").code, "table.location", "{other}");
        }
        let folder = Warehouse::of_folder("file:///data/lake/").expect("a folder");
        assert_eq!(folder.uri("t/f"), "file:///data/lake/t/f");
        for same in ["file:///data/lake/t/f", "file:/data/lake/t/f"] {
            assert_eq!(folder.key(same), Ok("t/f"));
        }
        for other in ["file:///data/lakes/t", "s3://data/lake/t"] {
            assert_eq!(folder.key(other).expect_err("elsewhere").code, "table.location", "{other}");
        }
        for bad in ["lake", "file://lake", "file:///", "file:///a/../b", "s3://lake"] {
            assert!(Warehouse::of_folder(bad).is_err(), "{bad}");
        }
        for bad in ["lake", "s3://", "s3://lake//x", "s3://lake/../x", "file:///x"] {
            assert!(Warehouse::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn instances_follow_each_other() {
        let of = |name: &str| Instance { connector: "c".into(), name: name.into() };
        for (before, is_it) in
            [("1-2-x", true), ("1-3-x", false), ("1-4-x", false), ("2-2-x", false), ("x", false)]
        {
            assert_eq!(of("1-3-y").is_after(before), is_it, "{before}");
        }
    }

    #[test]
    fn names_of_connectors_stay_apart() {
        assert_eq!(safe("orders.lake-1"), "orders.lake-1");
        assert_ne!(safe("a b"), safe("a~20b"));
    }
}
