//! What `millrace doctor` is told: whether the role may write to the tables, and tables are as the settings say. Nothing is made.

use std::collections::BTreeSet;

use millrace_sdk::postgres::{Failure, Session, Statement, identifier};
use millrace_sdk::{Error, Finding};

use crate::settings::{InsertMode, KAFKA_KEY, PkMode, Settings, qualified};
use crate::table::{Name, Table, columns_of};

/// What is wanted of the table of positions.
const POSITIONS_RIGHTS: [&str; 3] = ["SELECT", "INSERT", "UPDATE"];

/// A table as the catalog has it, and as the role may use it.
#[derive(Debug)]
struct Facts {
    table: Table,
    /// `relkind`
    kind: String,
    /// As SQL writes it.
    quoted: String,
    may_alter: bool,
    /// Columns of each unique index that an upsert may go by: not those of deferrable constraints.
    unique: Vec<BTreeSet<String>>,
}

/// Looks at everything.
pub fn diagnose(settings: &Settings, topics: &[String]) -> Result<Vec<Finding>, Error> {
    let mut session = Session::open(&settings.connection)?;
    let rows = session.rows("SELECT current_user, pg_is_in_recovery()")?;
    let row = rows.first();
    let user = row.and_then(|row| row.text(0)).unwrap_or_default().to_owned();
    if row.is_some_and(|row| row.is_true(1)) {
        let mend = "connect to the primary (`target: primary`)";
        return Ok(vec![Finding::failed("server", "is a standby, which takes no writes", mend)]);
    }
    let mut findings = vec![positions(&mut session, settings, &user)?];
    let named: BTreeSet<String> =
        topics.iter().map(|topic| settings.table_name_format.replace("${topic}", topic)).collect();
    for name in named {
        if name.contains("${") {
            let said = format!("are known by their records only: {}", settings.table_name_format);
            findings.push(Finding::ok("tables", said));
            continue;
        }
        let Some((schema, table)) = qualified(&name) else {
            findings.push(Finding::failed(
                format!("table {name}"),
                "is no name of a table",
                "set `table_name_format`",
            ));
            continue;
        };
        let name = Name { schema: schema.map(str::to_owned), table: table.to_owned() };
        findings.extend(table_of(&mut session, settings, name, &user)?);
    }
    Ok(findings)
}

/// The table of positions: used if it is there, else made.
fn positions(session: &mut Session, settings: &Settings, user: &str) -> Result<Finding, Error> {
    let sql = settings.positions();
    let subject = format!("table {} of positions", settings.positions_table);
    let schema = qualified(&settings.positions_table).and_then(|(schema, _)| schema);
    match rights(session, &sql, &POSITIONS_RIGHTS)? {
        Rights::All => Ok(Finding::ok(subject, "is there")),
        Rights::NoSchema => Ok(no_schema(subject, schema, user)),
        Rights::Missing(missing) => Ok(not_granted(subject, &missing, &sql, user)),
        Rights::NoTable => made(session, subject, schema, user),
    }
}

/// A table that will be made, if it may be.
fn made(session: &mut Session, subject: String, schema: Option<&str>, user: &str) -> Result<Finding, Error> {
    let sql = "SELECT n.nspname, has_schema_privilege(n.oid, 'CREATE') AND has_schema_privilege(n.oid, 'USAGE') FROM pg_namespace n WHERE n.nspname = coalesce($1::text, current_schema())";
    let rows = session.query(&Statement::new(sql).nullable(schema))?;
    Ok(match rows.first() {
        None => {
            let run = schema
                .map_or("set `search_path` in `parameters` of the connection".to_owned(), |schema| {
                    format!("run: CREATE SCHEMA {}", identifier(schema))
                });
            Finding::failed(subject, "can't be made: there is no such schema", run)
        }
        Some(row) if row.is_true(1) => Finding::ok(subject, "will be made"),
        Some(row) => {
            let name = identifier(row.text(0).unwrap_or_default());
            let run = format!("run: GRANT CREATE, USAGE ON SCHEMA {name} TO {}", identifier(user));
            Finding::failed(subject, format!("is not there, and {user} may not make it"), run)
        }
    })
}

/// A table that records go to.
fn table_of(
    session: &mut Session,
    settings: &Settings,
    name: Name,
    user: &str,
) -> Result<Vec<Finding>, Error> {
    let subject = format!("table {name}");
    let schema = name.schema.clone();
    let sql = name.sql();
    let missing = match rights(session, &sql, &wanted(settings))? {
        Rights::All => Vec::new(),
        Rights::Missing(missing) => missing,
        Rights::NoSchema => return Ok(vec![no_schema(subject, schema.as_deref(), user)]),
        Rights::NoTable if settings.auto_create => {
            return Ok(vec![made(session, subject, schema.as_deref(), user)?]);
        }
        Rights::NoTable => {
            return Ok(vec![Finding::failed(subject, "is not there", "make it, or set `auto_create: true`")]);
        }
    };
    // Between the two questions it may have gone.
    let Some(facts) = facts(session, name)? else {
        return Ok(vec![Finding::warning(subject, "comes and goes", "look again")]);
    };
    let mut findings = Vec::new();
    if !matches!(facts.kind.as_str(), "r" | "p" | "v" | "f") {
        let mend = "choose another with `table_name_format`";
        return Ok(vec![Finding::failed(subject, "is nothing that rows are written to", mend)]);
    }
    if !missing.is_empty() {
        findings.push(not_granted(subject.clone(), &missing, &facts.quoted, user));
    }
    findings.extend(columns(&subject, settings, &facts));
    if settings.auto_evolve && !facts.may_alter {
        let (table, role) = (&facts.quoted, identifier(user));
        let run = format!(
            "let its owner add columns and set `auto_evolve: false`, or run: ALTER TABLE {table} OWNER TO {role}"
        );
        let said = format!("is not {user}'s, so that columns can't be added to it (`auto_evolve`)");
        findings.push(Finding::warning(subject.clone(), said, run));
    }
    if findings.is_empty() {
        let required: Vec<&str> = required(&facts.table).collect();
        let said = match required.is_empty() {
            true => "can be written to".to_owned(),
            false => format!("can be written to; each record needs {}", required.join(", ")),
        };
        findings.push(Finding::ok(subject, said));
    }
    Ok(findings)
}

/// Columns that the settings name, and the key.
fn columns(subject: &str, settings: &Settings, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let key: Vec<&str> = match (settings.pk_mode, settings.pk_fields.is_empty()) {
        (PkMode::None, _) => Vec::new(),
        (PkMode::Kafka, true) => KAFKA_KEY.to_vec(),
        _ => settings.pk_fields.iter().map(String::as_str).collect(),
    };
    let named = key.iter().copied().chain(settings.fields_whitelist.iter().map(String::as_str));
    let missing: BTreeSet<&str> = named.filter(|name| facts.table.column(name).is_none()).collect();
    if !missing.is_empty() && !settings.auto_evolve {
        let list = missing.iter().copied().collect::<Vec<_>>().join(", ");
        let adds: Vec<String> =
            missing.iter().map(|name| format!("ADD COLUMN {} TYPE", identifier(name))).collect();
        let run =
            format!("run: ALTER TABLE {} {}; or set `auto_evolve: true`", facts.quoted, adds.join(", "));
        findings.push(Finding::failed(subject, format!("has no column {list}"), run));
    }
    if !settings.fields_whitelist.is_empty() {
        let is_written =
            |name: &&str| key.contains(name) || settings.fields_whitelist.iter().any(|field| field == name);
        let unwritten: Vec<&str> = required(&facts.table).filter(|name| !is_written(name)).collect();
        if !unwritten.is_empty() {
            let said =
                format!("needs a value for {}, which `fields_whitelist` leaves out", unwritten.join(", "));
            let mend = "add the columns to `fields_whitelist`, or give them a default";
            findings.push(Finding::failed(subject, said, mend));
        }
    }
    // What is behind a view or elsewhere has the index then.
    if settings.insert_mode == InsertMode::Upsert && matches!(facts.kind.as_str(), "r" | "p") {
        findings.extend(unique(subject, &key, facts));
    }
    findings
}

/// Rows are found by a unique index over the key, and no other.
fn unique(subject: &str, key: &[&str], facts: &Facts) -> Option<Finding> {
    if key.is_empty() {
        // The key's columns are known by the records.
        let run = format!("run: ALTER TABLE {} ADD PRIMARY KEY (...)", facts.quoted);
        let said = "has no unique index, by which an upsert finds rows";
        return facts.unique.is_empty().then(|| Finding::failed(subject, said, run));
    }
    let wanted: BTreeSet<String> = key.iter().map(|name| (*name).to_owned()).collect();
    if facts.unique.contains(&wanted) {
        return None;
    }
    let list = key.iter().map(|name| identifier(name)).collect::<Vec<_>>().join(", ");
    let said = format!("has no unique index over {}, by which an upsert finds rows", key.join(", "));
    Some(Finding::failed(subject, said, format!("run: ALTER TABLE {} ADD UNIQUE ({list})", facts.quoted)))
}

fn required(table: &Table) -> impl Iterator<Item = &str> {
    table
        .columns
        .iter()
        .filter(|column| column.is_required && !column.generated)
        .map(|column| column.name.as_str())
}

/// What the catalog says; none: there is no such table.
fn facts(session: &mut Session, name: Name) -> Result<Option<Facts>, Error> {
    let sql = name.sql();
    let columns = session.query(&columns_of(&name))?;
    let Some(table) = Table::read(name, &columns) else { return Ok(None) };
    let of = "SELECT r.relkind, pg_has_role(r.relowner, 'USAGE'), to_json(ARRAY(SELECT to_json(ARRAY(SELECT a.attname::text \
              FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place) JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = k.attnum \
              WHERE k.place <= i.indnkeyatts)) FROM pg_index i WHERE i.indrelid = r.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL \
              AND i.indexprs IS NULL)) FROM pg_class r WHERE r.oid = to_regclass($1::text)";
    let rows = session.query(&Statement::new(of).text(sql.as_str()))?;
    let Some(row) = rows.first() else { return Ok(None) };
    let unique: Vec<BTreeSet<String>> =
        row.text(2).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let kind = row.text(0).unwrap_or_default().to_owned();
    Ok(Some(Facts { table, kind, quoted: sql, may_alter: row.is_true(1), unique }))
}

/// What the role has to be allowed on a table that records go to.
fn wanted(settings: &Settings) -> Vec<&'static str> {
    let mut rights = match settings.insert_mode {
        InsertMode::Insert => vec!["INSERT"],
        InsertMode::Upsert => vec!["INSERT", "SELECT", "UPDATE"],
        InsertMode::Update => vec!["SELECT", "UPDATE"],
    };
    if settings.delete_enabled {
        rights.extend(["DELETE", "SELECT"]);
        rights.sort_unstable();
        rights.dedup();
    }
    rights
}

/// What the role may do with a table.
enum Rights {
    /// All that was asked for.
    All,
    /// All but these.
    Missing(Vec<String>),
    /// It may not even look into the schema.
    NoSchema,
    /// There is no such table.
    NoTable,
}

/// Which of these rights the role has. A column's right is as good, where one is enough.
fn rights(session: &mut Session, sql: &str, rights: &[&str]) -> Result<Rights, Error> {
    let asked: Vec<String> = rights
        .iter()
        .map(|right| match *right {
            "DELETE" => "has_table_privilege(oid, 'DELETE')".to_owned(),
            right => format!("has_any_column_privilege(oid, '{right}')"),
        })
        .collect();
    let question = format!(
        "SELECT {} FROM (SELECT to_regclass($1::text)::oid AS oid) t WHERE oid IS NOT NULL",
        asked.join(", ")
    );
    let rows = match session.query(&Statement::new(question).text(sql)) {
        Err(Failure::Statement(error)) if error.code == "42501" => return Ok(Rights::NoSchema),
        rows => rows?,
    };
    let Some(row) = rows.first() else { return Ok(Rights::NoTable) };
    let missing = rights.iter().enumerate().filter(|(column, _)| !row.is_true(*column));
    let missing: Vec<String> = missing.map(|(_, right)| (*right).to_owned()).collect();
    Ok(if missing.is_empty() { Rights::All } else { Rights::Missing(missing) })
}

fn no_schema(subject: String, schema: Option<&str>, user: &str) -> Finding {
    let run = format!(
        "run: GRANT USAGE ON SCHEMA {} TO {}",
        identifier(schema.unwrap_or("public")),
        identifier(user)
    );
    Finding::failed(subject, format!("{user} may not use its schema"), run)
}

fn not_granted(subject: String, missing: &[String], sql: &str, user: &str) -> Finding {
    let list = missing.join(", ");
    let run = format!("run: GRANT {list} ON {sql} TO {}", identifier(user));
    Finding::failed(subject, format!("{user} may not {list}"), run)
}
