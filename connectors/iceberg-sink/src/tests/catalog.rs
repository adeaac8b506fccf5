//! A REST catalog for native tests: it checks what a commit requires, and makes its updates in its own way. Whether a request arrives, and
//! whether its answer does, the bucket's interference decides, so that kills and lost answers come here, too.

use std::cell::RefCell;

use millrace_sdk::Error;
use millrace_sdk::http::{Request, Response};
use millrace_sdk::object_store::{Refusal, Store};
use serde_json::{Value, json};

thread_local! {
    static TABLE: RefCell<Option<Value>> = const { RefCell::new(None) };
}

/// Answers this thread's requests, from an empty catalog.
pub(super) fn start() {
    TABLE.with_borrow_mut(|table| *table = None);
    millrace_sdk::testing::http::serve(|_, request| {
        fate("before")?;
        let answer = TABLE.with_borrow_mut(|table| answer(table, request));
        fate("behind")?;
        Ok(answer)
    });
}

/// The table's metadata.
pub(super) fn table() -> Option<Value> {
    TABLE.with_borrow(Clone::clone)
}

fn fate(key: &str) -> Result<(), Error> {
    match Store::new("fate").head(key) {
        Err(Refusal::Failed(error)) => Err(error),
        _ => Ok(()),
    }
}

fn answer(table: &mut Option<Value>, request: &Request) -> Response {
    let reply = |status: u16, body: Value| Response::new(status, body.to_string());
    let refuse = |status: u16| reply(status, json!({ "error": { "message": "refused" } }));
    let body: Value = serde_json::from_slice(request.body.as_deref().unwrap_or(b"null")).expect("JSON");
    let loaded =
        |table: &Value| json!({ "metadata-location": "s3://b/w/metadata", "metadata": table, "config": {} });
    match (request.method.as_str(), request.url.as_str()) {
        ("GET", "/v1/config?warehouse=birds") => {
            reply(200, json!({ "defaults": {}, "overrides": { "prefix": "p" } }))
        }
        ("GET", "/v1/p/namespaces/db/tables/t") => {
            table.as_ref().map_or_else(|| refuse(404), |table| reply(200, loaded(table)))
        }
        ("POST", "/v1/p/namespaces/db/tables") if table.is_some() => refuse(409),
        ("POST", "/v1/p/namespaces/db/tables") => {
            assert_eq!((&body["name"], &body["location"]), (&json!("t"), &json!("s3://b/w/db/t")));
            let columns = crate::schema::Columns::read(&body["schema"]).expect("columns");
            let spec = crate::partition::Spec::read(&body["partition-spec"]).expect("a spec");
            let last = body["schema"]["fields"].as_array().map_or(0, Vec::len) as i32;
            let made = crate::metadata::Metadata::new("uuid", "s3://b/w/db/t", &columns, last, &spec, 1);
            let mut made: Value = serde_json::from_slice(&made.bytes()).expect("JSON");
            made["properties"] = body["properties"].clone();
            reply(200, loaded(table.insert(made)))
        }
        ("POST", "/v1/p/namespaces/db/tables/t") => {
            let Some(table) = table else { return refuse(404) };
            let required = body["requirements"].as_array().expect("requirements");
            if !required.iter().all(|required| holds(table, required)) {
                return refuse(409);
            }
            body["updates"].as_array().expect("updates").iter().for_each(|update| make(table, update));
            reply(200, loaded(table))
        }
        other => panic!("{other:?}"),
    }
}

fn holds(table: &Value, required: &Value) -> bool {
    match required["type"].as_str().expect("a type") {
        "assert-table-uuid" => required["uuid"] == table["table-uuid"],
        "assert-ref-snapshot-id" => required["snapshot-id"] == table["refs"]["main"]["snapshot-id"],
        "assert-current-schema-id" => required["current-schema-id"] == table["current-schema-id"],
        "assert-last-assigned-field-id" => required["last-assigned-field-id"] == table["last-column-id"],
        other => panic!("{other}"),
    }
}

fn make(table: &mut Value, update: &Value) {
    match update["action"].as_str().expect("an action") {
        "add-schema" => {
            table["schemas"].as_array_mut().expect("schemas").push(update["schema"].clone());
            table["last-column-id"] = update["last-column-id"].clone();
        }
        "set-current-schema" => {
            assert_eq!(update["schema-id"], -1);
            let last = table["schemas"].as_array().and_then(|all| all.last()).expect("a schema")["schema-id"]
                .clone();
            table["current-schema-id"] = last;
        }
        "add-snapshot" => {
            let snapshot = &update["snapshot"];
            assert!(snapshot["sequence-number"].as_i64() > table["last-sequence-number"].as_i64());
            table["last-sequence-number"] = snapshot["sequence-number"].clone();
            table["snapshots"].as_array_mut().expect("snapshots").push(snapshot.clone());
        }
        "set-snapshot-ref" => {
            let name = update["ref-name"].as_str().expect("a name");
            table["refs"][name] = json!({ "type": update["type"], "snapshot-id": update["snapshot-id"] });
            table["current-snapshot-id"] = update["snapshot-id"].clone();
        }
        "remove-snapshots" => {
            let gone = update["snapshot-ids"].as_array().expect("ids");
            let snapshots = table["snapshots"].as_array_mut().expect("snapshots");
            assert!(gone.iter().all(|id| snapshots.iter().any(|snapshot| snapshot["snapshot-id"] == *id)));
            snapshots.retain(|snapshot| !gone.contains(&snapshot["snapshot-id"]));
        }
        "set-properties" => {
            let properties = table["properties"].as_object_mut().expect("properties");
            properties.extend(update["updates"].as_object().expect("updates").clone());
        }
        other => panic!("{other}"),
    }
}
