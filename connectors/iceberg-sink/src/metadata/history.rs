//! How long snapshots are kept (specification, "Snapshot Retention Policy"): by the table's properties, as engines expire them.
//!
//! It is only told for a table whose snapshots are one line, with `main` at its end. Then what a snapshot dropped is in none after it, and so
//! the files of the oldest ones can be told from what others need by looking at their neighbours. Branches, tags, and what was rolled back,
//! are left to engines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{MAIN, Metadata};

/// Iceberg's own: five days.
const AGE_MS_MAX: i64 = 432_000_000;

/// A snapshot that is expired, and whose files are not removed yet.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Expired {
    /// Its id.
    pub snapshot: i64,
    /// Its list of manifests.
    pub list: String,
}

impl Metadata {
    /// The oldest snapshots that the table doesn't want any more, oldest first; or why it can't be told.
    pub fn expired(&self, now_ms: i64, most: usize) -> Result<Vec<Expired>, String> {
        if self.property("gc.enabled").is_some_and(|text| text.eq_ignore_ascii_case("false")) {
            return Err("its property gc.enabled is false".to_owned());
        }
        let line = self.line()?;
        let main = self.0.get("refs").and_then(|refs| refs.get(MAIN));
        let limit = |name: &str, property: &str, default: i64| match main.and_then(|main| main[name].as_i64())
        {
            Some(own) => Ok(own),
            None => match self.property(property) {
                None => Ok(default),
                Some(text) => {
                    text.parse().map_err(|_| format!("its property {property} is no number: {text:?}"))
                }
            },
        };
        let age = limit("max-snapshot-age-ms", "history.expire.max-snapshot-age-ms", AGE_MS_MAX)?;
        let least = limit("min-snapshots-to-keep", "history.expire.min-snapshots-to-keep", 1)?.max(1);
        let is_kept = |(at, snapshot): &(i64, &&Value)| {
            *at < least
                || snapshot["timestamp-ms"].as_i64().is_none_or(|made| made >= now_ms.saturating_sub(age))
        };
        let kept = (0..).zip(&line).take_while(is_kept).count();
        let expired = |snapshot: &&Value| {
            let list = snapshot["manifest-list"].as_str()?.to_owned();
            Some(Expired { snapshot: snapshot["snapshot-id"].as_i64()?, list })
        };
        Ok(line[kept..].iter().rev().take(most).map_while(expired).collect())
    }

    /// Whether it has a snapshot with this id.
    pub fn has_snapshot(&self, id: i64) -> bool {
        self.list("snapshots").iter().any(|snapshot| snapshot["snapshot-id"].as_i64() == Some(id))
    }

    /// The snapshots, newest first; or why they are no line.
    fn line(&self) -> Result<Vec<&Value>, String> {
        let refs = self.0.get("refs").and_then(Value::as_object);
        if let Some((other, _)) = refs.into_iter().flatten().find(|(name, _)| *name != MAIN) {
            return Err(format!("it has a branch or tag besides {MAIN}: {other}"));
        }
        let id = |snapshot: &Value, name: &str| snapshot[name].as_i64();
        let mut left: BTreeMap<i64, &Value> =
            self.list("snapshots").iter().filter_map(|one| Some((id(one, "snapshot-id")?, one))).collect();
        let (mut line, mut next) = (Vec::new(), self.snapshot_id());
        while let Some(snapshot) = next.and_then(|next| left.remove(&next)) {
            line.push(snapshot);
            next = id(snapshot, "parent-snapshot-id");
        }
        match left.keys().next() {
            Some(other) => Err(format!("{MAIN} does not come from its snapshot {other}")),
            None => Ok(line),
        }
    }

    /// The lists of the oldest and of the newest snapshot that are kept.
    pub fn ends(&self) -> Result<Vec<String>, String> {
        let line = self.line()?;
        let ends = [line.first(), line.last()].into_iter().flatten();
        Ok(ends.filter_map(|snapshot| snapshot["manifest-list"].as_str().map(str::to_owned)).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Snapshots 1, 2, ... that were made at 10, 20, ...
    fn table(count: i64, further: Value) -> Metadata {
        let snapshot = |id: i64| {
            let mut snapshot =
                json!({ "snapshot-id": id, "timestamp-ms": id * 10, "manifest-list": format!("l{id}") });
            if id > 1 {
                snapshot["parent-snapshot-id"] = json!(id - 1);
            }
            snapshot
        };
        let mut table = json!({
            "format-version": 2, "current-schema-id": 0, "schemas": [{ "type": "struct", "schema-id": 0, "fields": [] }],
            "default-spec-id": 0, "partition-specs": [{ "spec-id": 0, "fields": [] }], "current-snapshot-id": count,
            "snapshots": (1..=count).map(snapshot).collect::<Value>(),
        });
        table.as_object_mut().expect("an object").extend(further.as_object().expect("an object").clone());
        Metadata::read(table).expect("metadata")
    }

    fn ids(table: &Metadata, now_ms: i64) -> Vec<i64> {
        table.expired(now_ms, 100).expect("a line").iter().map(|one| one.snapshot).collect()
    }

    fn properties(age: &str, least: &str) -> Value {
        json!({ "properties": { "history.expire.max-snapshot-age-ms": age, "history.expire.min-snapshots-to-keep": least } })
    }

    #[test]
    fn age_and_count_say_what_is_kept() {
        let of = |age: &str, least: &str, now| ids(&table(5, properties(age, least)), now);
        assert_eq!(of("20", "1", 50), [1, 2]);
        assert_eq!(of("20", "1", 1_000), [1, 2, 3, 4], "the newest is always kept");
        assert_eq!(of("20", "4", 1_000), [1]);
        assert_eq!(of("0", "0", 30), [1, 2], "what lies ahead is not old");
        assert_eq!(ids(&table(5, json!({})), AGE_MS_MAX + 21), [1, 2]);
        let own = json!({ "refs": { "main": { "snapshot-id": 5, "max-snapshot-age-ms": 20, "min-snapshots-to-keep": 4 } } });
        assert_eq!(ids(&table(5, own), 1_000), [1]);
        let first = table(5, properties("20", "1")).expired(1_000, 2).expect("a line");
        assert_eq!(first.iter().map(|one| one.list.as_str()).collect::<Vec<_>>(), ["l1", "l2"]);
        assert_eq!(table(3, json!({})).ends().expect("a line"), ["l3", "l1"]);
    }

    #[test]
    fn what_is_no_line_is_left_alone() {
        let why = |further: Value| table(3, further).expired(i64::MAX, 100).expect_err("left alone");
        assert!(why(json!({ "properties": { "gc.enabled": "false" } })).contains("gc.enabled"));
        let tag = json!({ "main": { "snapshot-id": 3 }, "eom": { "snapshot-id": 1, "type": "tag" } });
        assert_eq!(why(json!({ "refs": tag })), "it has a branch or tag besides main: eom");
        assert_eq!(why(json!({ "current-snapshot-id": 2 })), "main does not come from its snapshot 3");
        assert!(why(properties("soon", "1")).contains("is no number"));
    }
}
