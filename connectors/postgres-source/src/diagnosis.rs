//! What `millrace doctor` is told: whether server, role, slot, publication and tables are as the source needs them. Nothing is made.

use millrace_sdk::postgres::{Statement, identifier, literal};
use millrace_sdk::{Error, Finding, Health};

use crate::name;
use crate::query::check;
use crate::server::{Server, odd};
use crate::settings::{Mode, Settings, SnapshotMode};
use crate::upstream::Upstream;

/// Tables that are looked at one by one; of more it is told that they weren't.
const TABLES_MAX: usize = 200;
/// Tables of which each is told what is wrong with it; of more it is told how many.
const SHOWN_MAX: usize = 40;

/// A table as the catalog has it, and as the role may use it.
#[derive(Debug)]
struct Facts {
    /// `relkind`, `relpersistence`, `relreplident`
    kind: String,
    persistence: String,
    identity: String,
    has_primary_key: bool,
    may_use_schema: bool,
    may_read: bool,
    has_hidden_rows: bool,
}

/// Looks at everything.
pub(crate) fn diagnose(settings: &Settings) -> Result<Vec<Finding>, Error> {
    let mut server = Server::new(settings);
    let reads_log = settings.mode == Mode::Replication;
    let (database, user) = match server.check(reads_log) {
        Ok(found) => found,
        Err(error) => return Ok(vec![Finding::of("server", &error)]),
    };
    if !reads_log {
        return cursors(&mut server, settings, &user);
    }
    let mut findings = vec![role(&mut server, &user)?, slot(&mut server, settings, &database)?];
    let (publication, tables) = publication(&mut server, settings, &user)?;
    findings.push(publication);
    let reads_rows = settings.snapshot != SnapshotMode::Never;
    findings.extend(all_tables(&mut server, tables, &user, reads_rows)?);
    Ok(findings)
}

/// Whether the role may replicate.
fn role(server: &mut Server, user: &str) -> Result<Finding, Error> {
    let sql = "SELECT rolsuper OR rolreplication OR EXISTS (SELECT FROM pg_roles g WHERE g.rolname IN ('rds_replication', 'cloudsqlsuperuser') \
               AND pg_has_role(r.oid, g.oid, 'MEMBER')) FROM pg_roles r WHERE r.rolname = current_user";
    let rows = server.rows(sql)?;
    let subject = format!("role {user}");
    Ok(match rows.first().ok_or_else(|| odd("the role"))?.is_true(0) {
        true => Finding::ok(subject, "may replicate"),
        false => {
            let role = identifier(user);
            let run = format!(
                "run: ALTER ROLE {role} REPLICATION (Amazon RDS: GRANT rds_replication TO {role}), or choose `mode: query`"
            );
            Finding::failed(subject, "may not replicate", run)
        }
    })
}

/// Whether the slot is there and ours to read, or can be made.
fn slot(server: &mut Server, settings: &Settings, database: &str) -> Result<Finding, Error> {
    let sql = "SELECT s.slot_name, s.plugin, s.database, s.active_pid::text, coalesce(s.wal_status, ''), \
               (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::bigint, \
               (SELECT count(*) FROM pg_stat_replication), current_setting('max_wal_senders')::bigint \
               FROM (SELECT 1) one LEFT JOIN pg_replication_slots s ON s.slot_name = $1";
    let rows = server.query(&Statement::new(sql).text(settings.slot.as_str()))?;
    let row = rows.first().ok_or_else(|| odd("the slot"))?;
    let number =
        |column: usize| row.text(column).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    let subject = format!("slot {}", settings.slot);
    let drop = format!("run: SELECT pg_drop_replication_slot({})", literal(&settings.slot));
    let alter = |name: &str, now: u64| {
        format!("run: ALTER SYSTEM SET {name} = {}; then restart the server", now.max(5) * 2)
    };
    let crowded = || {
        let (subject, most) = (subject.as_str(), number(8));
        let said = format!(
            "can't be read at present: all {most} senders of the server (`max_wal_senders`) are taken"
        );
        (number(7) >= most).then(|| Finding::warning(subject, said, alter("max_wal_senders", most)))
    };
    if row.text(0).is_none() {
        let (slots, most) = (number(5), number(6));
        return Ok(match slots < most {
            true => crowded().unwrap_or_else(|| Finding::ok(subject.as_str(), "will be made")),
            false => {
                let said =
                    format!("there are {slots} slots, as many as `max_replication_slots` lets there be");
                Finding::failed(subject, said, alter("max_replication_slots", most))
            }
        });
    }
    if row.text(1) != Some("pgoutput") || row.text(2) != Some(database) {
        let of = row.text(1).unwrap_or("physical replication");
        let said = format!(
            "is one of {of} in database {}, not of pgoutput in {database}",
            row.text(2).unwrap_or("none")
        );
        return Ok(Finding::failed(subject, said, "choose another name with `slot`"));
    }
    if row.text(4) == Some("lost") {
        let said = "the server has removed the log that it needs (max_slot_wal_keep_size): changes are lost";
        return Ok(Finding::failed(
            subject,
            said,
            format!("{drop}; then reset the source's offsets, so that tables are read anew"),
        ));
    }
    if let Some(process) = row.text(3) {
        let said = format!("is read by process {process} of the server");
        return Ok(Finding::warning(
            subject,
            said,
            "if that is not this pipeline, choose another name with `slot`",
        ));
    }
    if let Some(crowded) = crowded() {
        return Ok(crowded);
    }
    let lag = server.slot_lag()?.unwrap_or_default();
    let holds = format!("is there, and holds back {lag} bytes of the log");
    if row.text(4) == Some("unreserved") {
        let said = format!(
            "{holds}, which is more than `max_slot_wal_keep_size`: the server may remove what is not read yet"
        );
        let mend = "start the pipeline soon, or raise `max_slot_wal_keep_size`";
        return Ok(Finding::warning(subject, said, mend));
    }
    if let Some(most) = settings.slot_lag_max.filter(|most| lag > most.bytes_u64()) {
        let said = format!("{holds}, which is more than `slot_lag_max` ({} bytes)", most.bytes_u64());
        return Ok(Finding::warning(
            subject,
            said,
            format!("start the pipeline, or give the slot up; {drop}"),
        ));
    }
    Ok(Finding::ok(subject, holds))
}

/// Whether the publication has what is wanted, or can be made; and the tables that would be read.
fn publication(
    server: &mut Server,
    settings: &Settings,
    user: &str,
) -> Result<(Finding, Vec<String>), Error> {
    let name = settings.publication.as_str();
    let (subject, quoted) = (format!("publication {name}"), identifier(name));
    let wanted = settings.tables.clone().unwrap_or_default();
    let sql = "SELECT pubinsert AND pubupdate AND pubdelete FROM pg_publication WHERE pubname = $1";
    let rows = server.query(&Statement::new(sql).text(name))?;
    let Some(row) = rows.first() else {
        if wanted.is_empty() {
            let run =
                format!("run: CREATE PUBLICATION {quoted} FOR ALL TABLES; or name the tables in `tables`");
            return Ok((Finding::failed(subject, "is not there", run), wanted));
        }
        let list: Vec<String> = wanted.iter().map(|table| name::quoted(table)).collect();
        let create = format!("CREATE PUBLICATION {quoted} FOR TABLE {}", list.join(", "));
        // By the catalog's rows: a schema that may not be used hides names.
        let names = wanted.iter().map(|table| name::parts(table));
        let names: Vec<String> =
            names.map(|(schema, name)| format!("({}, {})", literal(schema), literal(name))).collect();
        let may = server.rows(&format!(
            "SELECT has_database_privilege(current_database(), 'CREATE') AND coalesce(bool_and(pg_has_role(r.relowner, 'USAGE')), true) \
             FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE (n.nspname, r.relname) IN ({})",
            names.join(", ")
        ))?;
        let finding = match may.first().is_some_and(|row| row.is_true(0)) {
            true => Finding::ok(subject, "will be made"),
            false => {
                let said = format!("is not there, and {user} may not make it");
                Finding::failed(subject, said, format!("run as an owner of the tables: {create}"))
            }
        };
        return Ok((finding, wanted));
    };
    let published = server.published()?;
    if let Some(missing) = wanted.iter().find(|table| !published.contains(table)) {
        let run = format!("run: ALTER PUBLICATION {quoted} ADD TABLE {}", name::quoted(missing));
        return Ok((Finding::failed(subject, format!("does not have the table {missing}"), run), wanted));
    }
    let tables: Vec<String> = if wanted.is_empty() { published } else { wanted };
    let has = format!("has {} tables that are read", tables.len());
    let finding = match (row.is_true(0), tables.is_empty()) {
        (false, _) => {
            let run =
                format!("run: ALTER PUBLICATION {quoted} SET (publish = 'insert, update, delete, truncate')");
            Finding::warning(subject, "leaves out inserts, updates or deletes: topics will, too", run)
        }
        (true, true) => {
            let run = format!("run: ALTER PUBLICATION {quoted} ADD TABLE ...");
            Finding::warning(subject, "has no tables", run)
        }
        (true, false) => Finding::ok(subject, has),
    };
    Ok((finding, tables))
}

/// Each table that is not as it should be, and how many are.
fn all_tables(
    server: &mut Server,
    mut tables: Vec<String>,
    user: &str,
    reads_rows: bool,
) -> Result<Vec<Finding>, Error> {
    let count = tables.len();
    tables.truncate(TABLES_MAX);
    let mut findings = Vec::new();
    for table in &tables {
        findings.push(one_table(table, facts(server, table)?.as_ref(), user, reads_rows));
    }
    let looked_at = findings.len();
    findings.retain(|finding| finding.health != Health::Ok);
    let good = looked_at - findings.len();
    let unshown = findings.len().saturating_sub(SHOWN_MAX);
    if unshown > 0 {
        findings.truncate(SHOWN_MAX);
        let said = format!("{unshown} more are not as they should be");
        findings.push(Finding::warning("tables", said, "mend those above, and look again"));
    }
    if count > looked_at {
        let said = format!("{} of {count} were not looked at", count - looked_at);
        findings.push(Finding::warning(
            "tables",
            said,
            "look at them yourself: what is told of the others may hold for them, too",
        ));
    }
    if good > 0 {
        let can = if reads_rows { "can be read and tell their changes" } else { "tell their changes" };
        findings.push(Finding::ok("tables", format!("{good} {can}")));
    }
    Ok(findings)
}

/// A table; none: it is not there.
fn facts(server: &mut Server, table: &str) -> Result<Option<Facts>, Error> {
    // Rights are asked by number: a schema that may not be used hides names.
    let sql = "SELECT r.relkind, r.relpersistence, r.relreplident, EXISTS (SELECT FROM pg_index i WHERE i.indrelid = r.oid AND i.indisprimary), \
               has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(r.oid, 'SELECT'), row_security_active(r.oid) \
               FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE n.nspname = $1 AND r.relname = $2 AND r.relkind IN ('r', 'p', 'v', 'm', 'f')";
    let (schema, name) = name::parts(table);
    let rows = server.query(&Statement::new(sql).text(schema).text(name))?;
    Ok(rows.first().map(|row| {
        let text = |column: usize| row.text(column).unwrap_or_default().to_owned();
        Facts {
            kind: text(0),
            persistence: text(1),
            identity: text(2),
            has_primary_key: row.is_true(3),
            may_use_schema: row.is_true(4),
            may_read: row.is_true(5),
            has_hidden_rows: row.is_true(6),
        }
    }))
}

/// How a table is for logical replication.
fn one_table(table: &str, facts: Option<&Facts>, user: &str, reads_rows: bool) -> Finding {
    let (subject, quoted, role) = (format!("table {table}"), name::quoted(table), identifier(user));
    let Some(facts) = facts else {
        return Finding::failed(subject, "is not there", "correct `tables`, or make it");
    };
    if reads_rows && let Some(finding) = unreadable(&subject, table, facts, user) {
        return finding;
    }
    if !matches!(facts.kind.as_str(), "r" | "p") {
        return Finding::failed(
            subject,
            "is no table, and has no changes to tell",
            "leave it out, or name the tables behind it",
        );
    }
    if facts.persistence != "p" {
        let run = format!("run: ALTER TABLE {quoted} SET LOGGED");
        return Finding::failed(subject, "is not logged, so that its changes can't be told", run);
    }
    if reads_rows && facts.has_hidden_rows {
        let run = format!("run: ALTER ROLE {role} BYPASSRLS");
        return Finding::failed(subject, format!("has policies that hide rows from {user}"), run);
    }
    let add = format!(
        "run: ALTER TABLE {quoted} ADD PRIMARY KEY (...); or ALTER TABLE {quoted} REPLICA IDENTITY FULL"
    );
    match facts.identity.as_str() {
        "d" if !facts.has_primary_key => {
            let said = "has no primary key: while it is published the server refuses its updates and deletes, and its rows are read in one piece";
            Finding::warning(subject, said, add)
        }
        "n" => {
            let said =
                "has no replica identity: while it is published the server refuses its updates and deletes";
            Finding::warning(subject, said, format!("run: ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT"))
        }
        "f" if !facts.has_primary_key => {
            let said = "has no primary key: records are without keys, and its rows are read in one piece of at most 32 MiB";
            Finding::warning(subject, said, format!("run: ALTER TABLE {quoted} ADD PRIMARY KEY (...)"))
        }
        _ => Finding::ok(subject, "can be read and tells its changes"),
    }
}

/// Rights that are missing.
fn unreadable(subject: &str, table: &str, facts: &Facts, user: &str) -> Option<Finding> {
    let role = identifier(user);
    if !facts.may_use_schema {
        let (schema, _) = name::parts(table);
        let run = format!("run: GRANT USAGE ON SCHEMA {} TO {role}", identifier(schema));
        return Some(Finding::failed(subject, format!("{user} may not use its schema"), run));
    }
    if !facts.may_read {
        let run = format!("run: GRANT SELECT ON {} TO {role}", name::quoted(table));
        return Some(Finding::failed(subject, format!("{user} may not read it"), run));
    }
    None
}

/// In the mode query: whether each table can be read behind its cursor without missing a row.
fn cursors(server: &mut Server, settings: &Settings, user: &str) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for (table, cursor) in &settings.cursors {
        let subject = format!("table {table}");
        let Some(facts) = facts(server, table)? else {
            findings.push(Finding::failed(subject, "is not there", "correct `cursors`, or make it"));
            continue;
        };
        if let Some(finding) = unreadable(&subject, table, &facts, user) {
            findings.push(finding);
            continue;
        }
        match check::checked(table, cursor, &server.facts(table)?) {
            Ok(doubts) if doubts.is_empty() => {
                findings.push(Finding::ok(subject, format!("can be followed by {}", cursor.join(", "))));
            }
            Ok(doubts) => findings.extend(doubts.into_iter().map(|doubt| doubted(&subject, &doubt))),
            Err(error) => findings.push(Finding::of(subject, &error)),
        }
    }
    Ok(findings)
}

/// A doubt, whose words may end with the way out.
fn doubted(subject: &str, doubt: &str) -> Finding {
    let (said, mend) = doubt.split_once("; ").unwrap_or((doubt, ""));
    Finding::warning(subject, said, mend)
}
