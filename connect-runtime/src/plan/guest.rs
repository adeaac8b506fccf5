//! One component's block: its settings against its schema, and the grants that follow from them.

use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use super::build::{Named, Planner};
use super::catalog::Description;
use super::schema::{self, Finding};
use super::{Access, ComponentRef, FolderGrant, Grants, GuestPlan, Limits, location};
use crate::connection::Connections;
use crate::spec::{RESERVED, Role, Settings, Span, pointer_join};

/// A source, a sink or a transform, as far as they are alike.
pub(super) struct Block<'s> {
    pub(super) name: &'s str,
    pub(super) role: Role,
    pub(super) span: Span,
    /// None: it was refused already.
    pub(super) component: Option<&'s ComponentRef>,
    pub(super) settings: &'s Settings,
    pub(super) files: &'s [FolderGrant],
    pub(super) limits: Limits,
}

/// The component with checked settings and all its grants, or problems in `planner`.
pub(super) fn guest(planner: &mut Planner<'_>, block: &Block<'_>) -> Option<GuestPlan> {
    let component = block.component?;
    let described = planner.description(block, component)?;
    let mut settings = typed_references(block.settings, &described.config_schema);
    let fit = settings_fit(planner, block, &described, &settings);
    if !fit || !block.settings.is_whole() {
        return None;
    }
    let mut files = block.files.to_vec();
    for (path, access, place) in paths(planner, block, &described, &settings) {
        // A folder may be shared: whoever writes to it has names of its own there.
        if access == Access::Write && block.role == Role::Sink && !path.is_folder {
            planner.writes(block.name, path.host.clone(), place);
        }
        grant(&mut files, path.folder(access));
    }
    let connections = connections(planner, block, &described, &settings)?;
    for (setting, folder) in location::folders(&described.config_schema, &settings) {
        if let Some(uri) = location::uri(&planner.absolute(Path::new(&folder))) {
            settings.insert(setting, uri.into());
        }
    }
    let grants = Grants { files, connections };
    let guest = GuestPlan { component: component.clone(), settings, grants, limits: block.limits };
    planner.ask(block, &guest);
    Some(guest)
}

/// References give text; where the schema asks for a number or a boolean, that is what the text becomes.
pub(crate) fn typed_references(settings: &Settings, schema: &Value) -> Map<String, Value> {
    let mut map = settings.as_json().clone();
    for (name, value) in &mut map {
        typed(value, &schema["properties"][name], &pointer_join("", name), settings);
    }
    map
}

/// Recursive, but no deeper than the file's own limit.
fn typed(value: &mut Value, schema: &Value, pointer: &str, settings: &Settings) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                typed(value, &schema["properties"][name], &pointer_join(pointer, name), settings);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                typed(item, &schema["items"], &format!("{pointer}/{at}"), settings);
            }
        }
        Value::String(text) if settings.is_referenced(pointer) => {
            let wanted = schema["type"].as_str();
            if matches!(wanted, Some("integer" | "number" | "boolean"))
                && let Ok(typed) = serde_json::from_str::<Value>(text)
                && (typed.is_number() || typed.is_boolean())
            {
                *value = typed;
            }
        }
        _ => {}
    }
}

fn settings_fit(
    planner: &mut Planner<'_>,
    block: &Block<'_>,
    described: &Description,
    settings: &Map<String, Value>,
) -> bool {
    let connector = &described.name;
    let schema = &described.config_schema;
    let declared = schema.get("properties").and_then(Value::as_object);
    if let Some(reserved) =
        declared.into_iter().flatten().map(|(k, _)| k).find(|k| RESERVED.contains(&k.as_str()))
    {
        let message =
            format!("connector `{connector}` declares a setting `{reserved}`, which is the pipeline's own");
        let problem = planner.at(block.span, message).help("its author has to rename it");
        planner.push(problem);
        return false;
    }
    let findings = match schema {
        Value::Null => Vec::new(),
        schema => match schema::check(schema, &Value::Object(settings.clone())) {
            Ok(findings) => findings,
            Err(why) => {
                let message = format!("the settings schema of connector `{connector}` can't be used: {why}");
                let problem = planner.at(block.span, message).help("its author has to mend it");
                planner.push(problem);
                return false;
            }
        },
    };
    let fit = findings.is_empty();
    // What a reference that can't be filled in would have given is not known.
    for found in findings.into_iter().filter(|found| !block.settings.is_unresolved(&found.pointer)) {
        let problem = report(planner, block, connector, found);
        planner.push(problem);
    }
    fit
}

fn report(
    planner: &Planner<'_>,
    block: &Block<'_>,
    connector: &str,
    found: Finding,
) -> crate::spec::Diagnostic {
    let place = block.settings.place(&found.pointer);
    let span = match place {
        Some(place) if found.at_key => place.key,
        Some(place) => place.value,
        None => block.span,
    };
    let message = match found.pointer.strip_prefix('/') {
        Some(path) if !found.at_key => {
            let path = path.replace('/', ".").replace("~1", "/").replace("~0", "~");
            format!("`{path}` of {connector} {}", found.message)
        }
        _ => format!("{connector}: {}", found.message),
    };
    let mut problem = planner.at(span, message).suggest(found.suggestion);
    problem.expected = found.expected;
    problem.help(inspect(connector, block.component))
}

fn inspect(connector: &str, component: Option<&ComponentRef>) -> String {
    let component = component.map_or_else(|| connector.to_owned(), ToString::to_string);
    format!("`millrace connector inspect {component}` shows its settings")
}

/// A path that a setting names.
struct NamedPath {
    /// As written, a glob cut before its first wildcard.
    guest: PathBuf,
    /// The same on this machine.
    host: PathBuf,
    /// The path is the folder itself.
    is_folder: bool,
}

impl NamedPath {
    fn folder(&self, access: Access) -> FolderGrant {
        let up = |path: &Path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let (guest, host) = match self.is_folder {
            true => (self.guest.clone(), self.host.clone()),
            false => (up(&self.guest), up(&self.host)),
        };
        FolderGrant { host, guest: guest.to_string_lossy().into_owned(), access }
    }
}

/// The paths in settings that the schema marks with `x-path`. The user wrote them, so they are granted.
fn paths(
    planner: &Planner<'_>,
    block: &Block<'_>,
    described: &Description,
    settings: &Map<String, Value>,
) -> Vec<(NamedPath, Access, Span)> {
    let mut found = Vec::new();
    for (name, schema) in schema::noted(&described.config_schema, "x-path") {
        let access = match schema.get("x-path").and_then(Value::as_str) {
            Some("write") => Access::Write,
            _ => Access::Read,
        };
        let kind = schema.get("x-path-kind").and_then(Value::as_str).unwrap_or("file");
        let place = block.settings.place(&pointer_join("", name)).map_or(block.span, |place| place.value);
        let texts = match settings.get(name) {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => continue,
        };
        for text in texts {
            let guest = if kind == "glob" { before_wildcard(text) } else { PathBuf::from(text) };
            let host = planner.absolute(&guest);
            found.push((NamedPath { guest, host, is_folder: kind != "file" }, access, place));
        }
    }
    found
}

/// The connections that settings name; None: one of them can't be used.
fn connections(
    planner: &mut Planner<'_>,
    block: &Block<'_>,
    described: &Description,
    settings: &Map<String, Value>,
) -> Option<Connections> {
    let mut granted = Connections::new();
    let mut all = true;
    for (setting, schema) in schema::noted(&described.config_schema, "x-connection") {
        let kind = schema.get("x-connection").and_then(Value::as_str).unwrap_or_default();
        let Some(name) = settings.get(setting).and_then(Value::as_str) else { continue };
        match planner.connection(name, kind) {
            Named::Granted(connection) => {
                granted.insert(name.to_owned(), connection);
                continue;
            }
            Named::Refused => {}
            found => {
                let problem = no_connection(planner, block, &described.name, (setting, kind, name), found);
                planner.push(problem);
            }
        }
        all = false;
    }
    for (setting, schema) in schema::noted(&described.config_schema, "x-location-of") {
        let named = |setting: &str| settings.get(setting).and_then(Value::as_str);
        let connection = location::of(schema).filter_map(named).find_map(|name| granted.get(name));
        let fault =
            named(setting).zip(connection).and_then(|(uri, connection)| location::fault(uri, connection));
        let Some((message, expected)) = fault else { continue };
        let place = block.settings.place(&pointer_join("", setting)).map_or(block.span, |place| place.value);
        let message = format!("`{setting}` of {} {message}", described.name);
        let problem = planner.at(place, message).expected(expected);
        planner.push(problem);
        all = false;
    }
    all.then_some(granted)
}

fn no_connection(
    planner: &Planner<'_>,
    block: &Block<'_>,
    connector: &str,
    (setting, kind, name): (&str, &str, &str),
    found: Named,
) -> crate::spec::Diagnostic {
    let pointer = pointer_join("", setting);
    let span = block.settings.place(&pointer).map_or(block.span, |place| place.value);
    let hidden = block.settings.is_referenced(&pointer);
    let what = format!("`{setting}` of {connector}");
    planner.no_connection(span, &what, kind, name, hidden, found)
}

/// The folder of a glob that holds all it can match.
fn before_wildcard(glob: &str) -> PathBuf {
    let is_plain = |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']);
    let parts: Vec<Component<'_>> = Path::new(glob).components().collect();
    let plain = parts.iter().take_while(|part| is_plain(part)).count();
    // Without a wildcard the last part is a file: its folder is what is listed.
    let folder: PathBuf = parts.iter().take(plain.min(parts.len().saturating_sub(1))).collect();
    if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder }
}

/// Adds a grant unless one for the same folder covers it; writing covers reading.
fn grant(files: &mut Vec<FolderGrant>, new: FolderGrant) {
    match files.iter_mut().find(|old| old.host == new.host && old.guest == new.guest) {
        Some(old) if new.access == Access::Write => old.access = Access::Write,
        Some(_) => {}
        None => files.push(new),
    }
}
