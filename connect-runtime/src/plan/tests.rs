//! Planning against made-up connectors.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::{Access, Catalog, ComponentRef, Description, Draft, Grants, Plan};
use crate::connection::{Connection, Surroundings, kind};
use crate::spec::{Environment, Role, SourceFile, parse};

struct Env;

impl Environment for Env {
    fn variable(&self, name: &str) -> Option<String> {
        Some(if name == "N" { "3".into() } else { "hunter2".into() })
    }

    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn is_file(&self, _: &Path) -> bool {
        true
    }
}

fn catalog() -> Catalog {
    let mut catalog =
        Catalog { bundled: vec!["from".into(), "to".into(), "mask".into()], ..Catalog::default() };
    let mut add = |component: ComponentRef, role, schema| {
        let described = Description {
            name: component.to_string(),
            roles: vec![role],
            config_schema: schema,
            ..Description::default()
        };
        catalog.descriptions.insert(component, Ok(described));
    };
    let from = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "path": { "type": "string", "x-path": "read" },
            "folder": { "type": "string", "x-path": "read", "x-path-kind": "folder" },
            "glob": { "type": "string", "x-path": "read", "x-path-kind": "glob" },
            "format": { "enum": ["csv", "jsonl", "lines"] },
            "batch": { "type": "integer", "minimum": 1 },
            "rotate": { "type": "object", "properties": { "records": { "type": "integer" } } },
            "every": { "type": "string", "x-unit": "duration" },
            "types": { "type": "object", "additionalProperties": { "enum": ["int", "float"] } },
        },
        "oneOf": [{ "required": ["path"] }, { "required": ["folder"] }, { "required": ["glob"] }],
    });
    add(ComponentRef::Bundled("from".into()), Role::Source, from);
    let to = json!({
        "properties": { "path": { "type": "string", "x-path": "write", "description": "the file" } },
        "required": ["path"], "additionalProperties": false,
    });
    add(ComponentRef::Bundled("to".into()), Role::Sink, to);
    let mask = json!({ "properties": { "fields": { "type": "array", "items": { "type": "string" }, "minItems": 1 } } });
    add(ComponentRef::Bundled("mask".into()), Role::Transform, mask);
    let web = json!({ "properties": { "service": { "type": "string", "x-connection": "http" }, "lake": { "type": "string", "x-connection": "s3" } } });
    add(ComponentRef::Bundled("web".into()), Role::Sink, web);
    add(ComponentRef::Path("/dir/odd.wasm".into()), Role::Sink, json!({ "unevaluatedItems": false }));
    catalog.descriptions.insert(ComponentRef::Path("/dir/bad.wasm".into()), Err("not a component".into()));
    catalog
}

fn plan(pipelines: &str) -> Result<Plan, String> {
    let text = format!("version: 1\npipelines:\n{pipelines}");
    let deployment = parse(&SourceFile::new("/dir/p.yaml", text), &Env).map_err(|all| all[0].to_string())?;
    Draft::of(&[deployment], &catalog())
        .finish()
        .map_err(|all| all.iter().map(|d| d.to_string()).collect::<Vec<_>>().join("\n"))
}

fn source(settings: &str) -> Result<Plan, String> {
    plan(&format!("  p: {{ topic: t, source: {{ connector: from, {settings} }} }}\n"))
}

#[test]
fn paths_in_settings_are_granted() {
    let grants = |settings: &str| {
        let plan = source(settings).unwrap();
        let files = plan.pipelines[0].source.as_ref().unwrap().guest.grants.files.clone();
        files
            .into_iter()
            .map(|g| (g.host.to_string_lossy().into_owned(), g.guest, g.access))
            .collect::<Vec<_>>()
    };
    let read = |host: &str, guest: &str| vec![(host.to_owned(), guest.to_owned(), Access::Read)];
    assert_eq!(grants("path: x.csv"), read("/dir", "."));
    assert_eq!(grants("path: ../in/x.csv"), read("/in", "../in"));
    assert_eq!(grants("path: /abs/x.csv"), read("/abs", "/abs"));
    assert_eq!(grants("folder: ./in"), read("/dir/in", "./in"));
    assert_eq!(grants("glob: \"in/*/x?.csv\""), read("/dir/in", "in"));
    assert_eq!(grants("glob: in/x.csv"), read("/dir/in", "in"));
    assert_eq!(grants("glob: \"*.csv\""), read("/dir", "."));
    assert_eq!(grants("path: in/x.csv, files: { read: [in] }"), read("/dir/in", "in"));
    assert_eq!(
        grants("path: in/x.csv, files: { write: [in] }"),
        vec![("/dir/in".into(), "in".into(), Access::Write)]
    );
}

#[test]
fn settings_are_checked_against_the_schema() {
    for (settings, parts) in [
        ("format: csv", vec!["a setting is missing", "one of `path`, `folder`, `glob`"]),
        ("path: x, folder: y", vec!["exclude each other"]),
        ("path: x, fromat: csv", vec!["unknown setting `fromat`", "did you mean `format`", ":3:"]),
        ("path: x, format: csw", vec!["`format` of from is not among", "did you mean `csv`"]),
        ("path: 5", vec!["`path` of from can't be a number", "expected: text"]),
        ("path: x, batch: 0", vec!["out of range", "at least 1"]),
        ("path: x, batch: 1.5", vec!["expected: a whole number"]),
        ("path: x, every: 5", vec!["can't be a number", "a duration such as \"500ms\", \"5s\""]),
        ("path: x, every: 5x", vec!["has the wrong form", "a duration such as"]),
        ("path: x, types: { a: int, b: bool }", vec!["`types.b` of from"]),
    ] {
        let shown = source(settings).unwrap_err();
        for part in parts {
            assert!(shown.contains(part), "{settings}: {part} is not in:\n{shown}");
        }
        assert_eq!(shown.matches("error: ").count(), 1, "{shown}");
    }
}

#[test]
fn references_take_the_type_the_schema_asks_for() {
    let plan = source("path: x, batch: \"${env:N}\"").unwrap();
    assert_eq!(plan.pipelines[0].source.as_ref().unwrap().guest.settings["batch"], json!(3));
    let plan = source("path: x, rotate: { records: \"${env:N}\" }").unwrap();
    assert_eq!(plan.pipelines[0].source.as_ref().unwrap().guest.settings["rotate"], json!({ "records": 3 }));
    let shown = source("path: x, batch: \"${env:SECRET}\", format: \"${env:SECRET}\"").unwrap_err();
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_only_the_connectors_know_is_refused() {
    let sink =
        |block: &str| plan(&format!("  p: {{ topic: t, sinks: {{ s: {{ {block} }} }} }}\n")).unwrap_err();
    for (block, part) in [
        ("connector: tto, path: x", "unknown connector `tto`"),
        ("connector: mask, path: x", "`mask` is a transform, not a sink"),
        ("connector: ./bad.wasm", "connector `bad.wasm` can't be loaded: not a component"),
        ("connector: ./odd.wasm", "keyword `unevaluatedItems` is not supported"),
        ("connector: to", "setting `path` is missing"),
        (
            "connector: to, path: x, transforms: [{ connector: mask, fields: [] }]",
            "`fields` of mask is empty",
        ),
    ] {
        let shown = sink(block);
        assert!(shown.contains(part), "{block}: {part} is not in:\n{shown}");
    }
}

/// Plans a sink `web` with these settings beside connections `shop` and `desk`; the worker's file has `shop` and `till`.
fn web(settings: &str) -> Result<Grants, String> {
    let opened = |name: &str, url: &str| {
        let around = Surroundings { folder: Path::new("/"), env: &Env };
        let settings = json!({ "url": url }).as_object().unwrap().clone();
        Arc::new(Connection::open(name, kind("http").unwrap(), settings, &around).unwrap())
    };
    let given = [("shop", "https://given.example"), ("till", "https://till.example")];
    let connections = given.map(|(name, url)| (name.to_owned(), opened(name, url))).into();
    let text = format!(
        "version: 1
connections:
  shop: {{ http: {{ url: \"https://shop.example\", auth: {{ bearer: \"${{env:SECRET}}\" }} }} }}
  desk: {{ http: {{ url: \"https://desk.example\" }} }}
pipelines: {{ p: {{ topic: t, sinks: {{ s: {{ connector: web, {settings} }} }} }} }}
"
    );
    let deployment = parse(&SourceFile::new("/dir/p.yaml", text), &Env).unwrap();
    let draft = Draft::of(&[deployment], &Catalog { connections, ..catalog() });
    assert!(!format!("{draft:?}").contains("hunter2"), "a plan shows a secret");
    let plan =
        draft.finish().map_err(|all| all.iter().map(|d| d.to_string()).collect::<Vec<_>>().join("\n"))?;
    Ok(plan.pipelines[0].sinks[0].guest.grants.clone())
}

#[test]
fn a_setting_that_names_a_connection_grants_it() {
    let names = |settings: &str| web(settings).unwrap().connections.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names("service: shop"), ["shop"]);
    assert_eq!(names("service: till"), ["till"], "one that is given to all pipelines");
    assert_eq!(names("x: desk"), [""; 0]);
    // The file's own comes first.
    assert_ne!(web("service: shop").unwrap(), web("service: till").unwrap());
    for (settings, parts) in [
        (
            "service: shpo",
            vec!["connection `shpo` is not declared", "did you mean `shop`", "desk, shop, till", ":5:"],
        ),
        (
            "service: \"${env:SECRET}\"",
            vec!["connection of the reference is not declared", "desk, shop, till"],
        ),
        ("lake: shop", vec!["is of kind `http`, but `lake` of web needs `s3`", "NAME: { s3: {...} }"]),
        ("lake: sea", vec!["connection `sea` is not declared"]),
    ] {
        let shown = web(settings).unwrap_err();
        for part in parts {
            assert!(shown.contains(part), "{settings}: {part} is not in:\n{shown}");
        }
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn two_sinks_dont_write_to_one_path() {
    let both = "  p: { topic: t, sinks: { a: { connector: to, path: out/x }, b: { connector: to, path: ./out/../out/x } } }\n";
    let shown = plan(both).unwrap_err();
    assert!(shown.contains("`p.a` and `p.b` write to the same path"), "{shown}");
}

#[test]
fn a_schema_that_never_ends_is_refused() {
    let mut catalog = catalog();
    let loops = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "anyOf": [{ "$ref": "#/$defs/a" }, { "$ref": "#/$defs/a" }] } } });
    let to = ComponentRef::Bundled("to".into());
    let described = Description {
        name: "to".into(),
        roles: vec![Role::Sink],
        config_schema: loops,
        ..Description::default()
    };
    catalog.descriptions.insert(to, Ok(described));
    let text = "version: 1\npipelines: { p: { topic: t, sinks: { s: { connector: to } } } }\n";
    let deployment = parse(&SourceFile::new("/dir/p.yaml", text), &Env).unwrap();
    let found = Draft::of(&[deployment], &catalog).finish().unwrap_err();
    assert!(found[0].message.contains("takes too long"), "{}", found[0]);
}

/// Plans a source with these encodings of values, a format, and a transform with encodings of its own.
fn typed(encodings: &[&str], format: &str, transform: &[&str]) -> Result<Plan, String> {
    let mut catalog = catalog();
    let mut know = |name: &str, formats: &[&str]| {
        let described = catalog.descriptions.get_mut(&ComponentRef::Bundled(name.to_owned())).unwrap();
        described.as_mut().unwrap().value_formats = formats.iter().map(|f| (*f).to_owned()).collect();
    };
    know("from", encodings);
    know("mask", transform);
    let text = format!(
        "version: 1
connections: {{ schemas: {{ schema_registry: {{ url: \"http://r\" }} }} }}
pipelines:
  p:
    source: {{ connector: from, path: x, value_format: {format} }}
    transforms: [{{ connector: mask, fields: [a] }}]
    topic: t
"
    );
    let deployment = parse(&SourceFile::new("/dir/p.yaml", text), &Env).unwrap();
    let plan = Draft::of(&[deployment], &catalog).finish();
    plan.map_err(|all| all.iter().map(|d| d.to_string()).collect::<Vec<_>>().join("\n"))
}

#[test]
fn types_of_a_source_are_not_lost_unseen() {
    let (avro, json) = ("{ type: avro, registry: schemas }", "{ type: json, schemas_enable: true }");
    let latest = "{ type: avro, registry: schemas, use_latest_version: true }";
    for (encodings, format, transform) in [
        (&["json", "connect-json"][..], avro, &["bytes"][..]),
        (&["json", "connect-json"], json, &["bytes"]),
        (&["json", "connect-json"], latest, &["json"]),
        (&["json", "connect-json"], "json", &["json"]),
        (&["json"], avro, &["json"]),
    ] {
        typed(encodings, format, transform).unwrap();
    }
    for (encodings, format, transform, wanted) in [
        (
            &["json"][..],
            json,
            &["bytes"][..],
            "`from` gives no schemas for `schemas_enable` of `value_format`",
        ),
        (
            &["connect-json"],
            json,
            &["json"],
            "transform `mask` looks into values, whose types it would change",
        ),
        (&["json", "connect-json"], avro, &["utf8", "bytes"], "`use_latest_version: true`"),
    ] {
        let shown = typed(encodings, format, transform).unwrap_err();
        assert!(shown.contains(wanted), "{format}: {shown}");
    }
}
