//! What has to be there before anything starts; each thing that is missing is told with the statement that mends it.

use millrace_sdk::Error;
use millrace_sdk::postgres::{Failure, Statement, identifier, literal};

use super::{Server, odd};
use crate::lsn::Lsn;
use crate::name;
use crate::position::Position;

/// The oldest server that has all that is asked (13: `pg_current_snapshot`).
const VERSION_MIN: u32 = 130_000;

/// What is known of the server then.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) database: String,
    /// Where the stream begins.
    pub(crate) position: Position,
}

impl Server {
    /// Checks the server, and makes the publication and the slot if they are not there and may be made.
    pub(crate) fn prepare(&mut self, kept: Option<&Position>) -> Result<Facts, Error> {
        let (database, user) = self.check(true)?;
        self.prepare_publication(&user)?;
        let system = self.system();
        if let Some(Position { system: known, lsn, .. }) = kept
            && !known.is_empty()
            && system.as_ref().is_some_and(|system| system != known)
        {
            let message = format!(
                "this is another database system than the one whose changes were read up to {lsn}; correct the connection, or reset the offsets"
            );
            return Err(Error::fatal("postgres.system", message));
        }
        let confirmed = self.prepare_slot(kept, &database)?;
        let mut position = kept.cloned().unwrap_or(Position { lsn: confirmed, ..Position::default() });
        position.system = system.unwrap_or(position.system);
        Ok(Facts { database, position })
    }

    /// The database and the role. `reads_log`: by logical replication.
    pub(crate) fn check(&mut self, reads_log: bool) -> Result<(String, String), Error> {
        let sql = "SELECT current_setting('server_version_num'), current_setting('wal_level'), pg_is_in_recovery(), \
                   current_database(), current_user";
        let rows = self.rows(sql)?;
        let row = rows.first().ok_or_else(|| odd("itself"))?;
        let text = |column: usize| row.text(column).unwrap_or_default().to_owned();
        if text(0).parse::<u32>().unwrap_or_default() < VERSION_MIN {
            let message =
                format!("the server is of version {}; PostgreSQL 13 is the oldest that will do", text(0));
            return Err(Error::fatal("postgres.version", message));
        }
        if text(2) == "t" {
            let message = "the server is a standby, which can't be asked for snapshots; connect to the primary (`target: primary`)";
            return Err(Error::retriable("postgres.standby", message));
        }
        if reads_log && text(1) != "logical" {
            let message = format!(
                "wal_level of the server is {}, and changes are read at logical only; run: ALTER SYSTEM SET wal_level = logical; \
                 then restart the server",
                text(1)
            );
            return Err(Error::fatal("postgres.wal_level", message));
        }
        Ok((text(3), text(4)))
    }

    fn prepare_publication(&mut self, user: &str) -> Result<(), Error> {
        let name = self.settings.publication.clone();
        let quoted = identifier(&name);
        let wanted = self.settings.tables.clone();
        let sql = "SELECT pubinsert AND pubupdate AND pubdelete FROM pg_publication WHERE pubname = $1";
        let rows = self.query(&Statement::new(sql).text(name.as_str()))?;
        match (rows.first(), wanted) {
            (None, None) => {
                let message = format!(
                    "there is no publication {name}; run: CREATE PUBLICATION {quoted} FOR ALL TABLES; or FOR TABLE with some of them. \
                     With the setting `tables` it is made by itself"
                );
                Err(Error::fatal("postgres.publication", message))
            }
            (None, Some(tables)) => {
                let list: Vec<String> = tables.iter().map(|table| name::quoted(table)).collect();
                let create = format!("CREATE PUBLICATION {quoted} FOR TABLE {}", list.join(", "));
                let made = self.sql(|session| session.run(&create));
                made.map_err(|failure| {
                    let message = format!("the publication can't be made as {user}: {failure}; run as an owner of the tables: {create}");
                    Error::fatal("postgres.publication", message)
                })?;
                millrace_sdk::info!("publication {name} was made");
                Ok(())
            }
            (Some(row), wanted) => {
                if row.text(0) == Some("f") {
                    millrace_sdk::warn!(
                        "publication {name} leaves out inserts, updates or deletes: the topic will, too"
                    );
                }
                let published = crate::upstream::Upstream::published(self)?;
                for table in wanted.iter().flatten() {
                    if !published.contains(table) {
                        let message = format!(
                            "publication {name} does not have the table {table}; run: ALTER PUBLICATION {quoted} ADD TABLE {}",
                            name::quoted(table)
                        );
                        return Err(Error::fatal("postgres.publication", message));
                    }
                }
                Ok(())
            }
        }
    }

    /// What the database system is called; none: the role may not ask.
    fn system(&mut self) -> Option<String> {
        let rows = self.rows("SELECT system_identifier::text FROM pg_control_system()").ok()?;
        rows.first()?.text(0).map(str::to_owned)
    }

    /// Where the slot stands; it is made if this is the first run.
    fn prepare_slot(&mut self, kept: Option<&Position>, database: &str) -> Result<Lsn, Error> {
        let slot = self.settings.slot.clone();
        let sql = "SELECT plugin, database, confirmed_flush_lsn, coalesce(wal_status, '') FROM pg_replication_slots \
                   WHERE slot_name = $1";
        let rows = self.query(&Statement::new(sql).text(slot.as_str()))?;
        let Some(row) = rows.first() else {
            if kept.is_some() {
                return Err(lost(&slot, "it is not there any more"));
            }
            let sql =
                format!("SELECT lsn FROM pg_create_logical_replication_slot({}, 'pgoutput')", literal(&slot));
            let made = self.rows(&sql).map_err(|failure| match &failure {
                Failure::Statement(error) if error.code == "42501" => no_right(&failure),
                Failure::Statement(error) if error.code == "53400" => {
                    let message = format!(
                        "{failure}; run: ALTER SYSTEM SET max_replication_slots = 20; then restart the server"
                    );
                    Error::fatal("postgres.slot", message)
                }
                Failure::Statement(error) if matches!(error.code.as_str(), "55P03" | "57014") => {
                    let message = format!(
                        "slot {slot} waits for the transactions that are open to end; it is tried again"
                    );
                    Error::retriable("postgres.slot", message)
                }
                _ => failure.into(),
            })?;
            millrace_sdk::info!("slot {slot} was made");
            let lsn = made.first().and_then(|row| row.text(0)?.parse().ok());
            return lsn.ok_or_else(|| odd("the slot"));
        };
        if row.text(0) != Some("pgoutput") || row.text(1) != Some(database) {
            let message = format!(
                "slot {slot} is one of {} in database {}, not of pgoutput in {database}; choose another name with `slot`",
                row.text(0).unwrap_or("physical replication"),
                row.text(1).unwrap_or("none")
            );
            return Err(Error::fatal("postgres.slot", message));
        }
        if row.text(3) == Some("lost") {
            return Err(lost(&slot, "the server has removed the log that it needs (max_slot_wal_keep_size)"));
        }
        let confirmed: Lsn = row.text(2).and_then(|text| text.parse().ok()).ok_or_else(|| odd("the slot"))?;
        if let Some(kept) = kept
            && confirmed > kept.lsn
        {
            let why = format!(
                "it stands at {confirmed} and changes were read up to {} only: somebody moved it, or made it anew",
                kept.lsn
            );
            return Err(lost(&slot, &why));
        }
        Ok(confirmed)
    }
}

/// Changes are lost for good.
pub(super) fn lost(slot: &str, why: &str) -> Error {
    let message = format!(
        "slot {slot} can't be read on: {why}. Changes are lost. Reset the offsets of the source, so that the tables are read anew; if the \
         slot is there, first run: SELECT pg_drop_replication_slot({})",
        literal(slot)
    );
    Error::fatal("postgres.slot", message)
}

/// The role may not replicate.
pub(super) fn no_right(failure: &Failure) -> Error {
    let message = format!(
        "{failure}; the role needs the right to replicate, run: ALTER ROLE ... REPLICATION (Amazon RDS: GRANT rds_replication TO ...)"
    );
    Error::fatal("postgres.rights", message)
}
