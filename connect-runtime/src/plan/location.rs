//! Settings that say to others where a connection leads (`"x-location-of": SETTING`, where that one names the connection): the URI by which
//! readers know its objects. A component sees neither bucket nor prefix, and would write a wrong URI into everything that it makes.
//!
//! Of a folder (`SETTING` has `x-path`; there may be a list of them) it sees the path as the user wrote it: the URI is filled in where it is left out. One that is
//! given stands, since readers may have the folder at another place.

use std::path::Path;

use serde_json::{Map, Value};

use super::schema;
use crate::connection::{Connection, Target};

/// Schemes that mean S3, by whichever program.
const S3: [&str; 3] = ["s3://", "s3a://", "s3n://"];

/// The settings that this one tells the location of.
pub(super) fn of(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let noted = schema.get("x-location-of");
    let several = noted.and_then(Value::as_array).into_iter().flatten();
    noted.into_iter().filter(|noted| noted.is_string()).chain(several).filter_map(Value::as_str)
}

/// Settings that are left out and tell where a folder lies, with that folder as the user wrote it.
pub(super) fn folders(config_schema: &Value, settings: &Map<String, Value>) -> Vec<(String, String)> {
    let paths = schema::noted(config_schema, "x-path");
    let folder = |name: &str| {
        let path = paths.get(name)?;
        let is_folder = path.get("x-path-kind").and_then(Value::as_str) == Some("folder");
        is_folder.then(|| settings.get(name)?.as_str()).flatten()
    };
    schema::noted(config_schema, "x-location-of")
        .into_iter()
        .filter(|(name, _)| !settings.contains_key(*name))
        .filter_map(|(name, schema)| Some((name.to_owned(), of(schema).find_map(folder)?.to_owned())))
        .collect()
}

/// The URI of a folder; none: its path is no text.
pub(super) fn uri(folder: &Path) -> Option<String> {
    Some(format!("file://{}", std::path::absolute(folder).ok()?.to_str()?))
}

/// What is wrong with a URI for this connection, and what would be right. What is no URI at all is told by whoever asked for one.
pub(super) fn fault(uri: &str, connection: &Connection) -> Option<(String, String)> {
    let Target::S3(target) = connection.target() else { return None };
    let named = S3.iter().find_map(|scheme| uri.strip_prefix(scheme))?;
    let (bucket, prefix) = target.place();
    let name = connection.name();
    // Keys go on behind a slash in the URI, and so they must behind the prefix.
    if !prefix.is_empty() && !prefix.ends_with('/') {
        let message = format!("can't be said: the `prefix` of connection `{name}` is no folder");
        return Some((message, "a connection whose `prefix` ends in a slash".to_owned()));
    }
    let is_it = named.trim_end_matches('/') == format!("{bucket}/{prefix}").trim_end_matches('/');
    let message = || format!("is not where connection `{name}` leads");
    (!is_it).then(|| {
        (message(), format!("s3://, then the `bucket` of connection `{name}`, a slash and its `prefix`"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::connection::{Surroundings, kind};

    fn lake(prefix: &str) -> Connection {
        let serde_json::Value::Object(settings) =
            json!({ "bucket": "lake", "prefix": prefix, "anonymous": true })
        else {
            panic!("an object")
        };
        let around =
            Surroundings { folder: std::path::Path::new("/"), env: &crate::spec::ProcessEnvironment };
        Connection::open("l", kind("s3").expect("a kind"), settings, &around).expect("opens")
    }

    #[test]
    fn a_folders_uri_is_filled_in_where_it_is_left_out() {
        let schema = json!({ "properties": {
            "folder": { "x-path": "write", "x-path-kind": "folder" },
            "connection": { "x-connection": "s3" },
            "warehouse": { "x-location-of": ["connection", "folder"] } } });
        let of = |settings: Value| folders(&schema, settings.as_object().expect("an object"));
        assert_eq!(of(json!({ "folder": "lake" })), [("warehouse".to_owned(), "lake".to_owned())]);
        assert!(of(json!({ "connection": "lake" })).is_empty());
        assert!(of(json!({ "folder": "lake", "warehouse": "file:///there" })).is_empty());
        assert_eq!(uri(Path::new("/data/lake")).as_deref(), Some("file:///data/lake"));
        assert!(uri(Path::new("lake")).expect("a URI").ends_with("/lake"));
    }

    #[test]
    fn a_uri_is_the_bucket_and_the_prefix() {
        for (prefix, right) in
            [("", "s3://lake"), ("", "s3a://lake/"), ("wh/", "s3://lake/wh"), ("a/b/", "s3n://lake/a/b/")]
        {
            assert_eq!(fault(right, &lake(prefix)), None, "{right}");
        }
        for (prefix, wrong) in [
            ("", "s3://other"),
            ("", "s3://lake/wh"),
            ("wh/", "s3://lake"),
            ("wh/", "s3://lake/whole"),
            ("wh/", "s3://pond/wh"),
        ] {
            let (message, _) = fault(wrong, &lake(prefix)).expect("refused");
            assert_eq!(message, "is not where connection `l` leads", "{wrong}");
        }
        assert!(fault("s3://lake/raw-", &lake("raw-")).expect("refused").0.contains("is no folder"));
        assert_eq!(fault("lake", &lake("")), None);
    }
}
