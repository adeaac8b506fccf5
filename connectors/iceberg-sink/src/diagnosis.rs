//! What `millrace doctor` is told: whether the catalog gives the table, it is as the settings say, and objects can be written where it lies. Nothing is
//! made. Whether a catalog takes commits is found out by none that changes nothing.

use millrace_sdk::object_store::probe::{self, Needs};
use millrace_sdk::{Error, ErrorKind, Finding};

use crate::catalog;
use crate::metadata::Metadata;
use crate::settings::Settings;
use crate::store::Store;
use crate::widen::check_division;

/// What the sink does with objects: it writes and reads them, removes what failed commits and expired snapshots leave, and uploads in parts.
const NEEDS: Needs = Needs { writes: true, deletes: true, uploads: true };

/// Looks at everything.
pub fn diagnose(settings: &Settings) -> Result<Vec<Finding>, Error> {
    let warehouse =
        settings.warehouse().map_err(|why| Error::fatal("settings", format!("/warehouse: {why}")))?;
    let store = Store::of(settings, "");
    let catalog = catalog::of(settings, &store, &warehouse);
    let subject = format!("table {}", settings.table);
    let (found, location) = match catalog.load() {
        Ok(Some(table)) => (there(subject, settings, &table.metadata), table.metadata.location().to_owned()),
        Ok(None) if settings.auto_create => (Finding::ok(subject, "will be made"), catalog.location()),
        Ok(None) => {
            let mend = "make it with an engine, or set `auto_create: true`";
            (Finding::failed(subject, "is not there", mend), catalog.location())
        }
        Err(error) => (unknown(subject, settings, &error), catalog.location()),
    };
    let mut findings = vec![found];
    match warehouse.key(&location) {
        Ok(folder) => {
            // A folder is looked at by the host, and granted to read only.
            if let Store::Bucket(bucket) = &store {
                findings.extend(probe::tried(bucket, &format!("{folder}/"), NEEDS));
            }
        }
        Err(error) => findings.push(Finding::of("objects of the table", &error)),
    }
    Ok(findings)
}

/// A table that can be read.
fn there(subject: String, settings: &Settings, metadata: &Metadata) -> Finding {
    let columns = match metadata.columns() {
        Ok(columns) => columns.fields.len(),
        Err(why) => return Finding::failed(subject, why, "choose another table, or upgrade Millrace"),
    };
    match check_division(settings, metadata) {
        Ok(()) => Finding::ok(subject, format!("is there, with {columns} columns")),
        Err(error) => {
            let mend = "make `partition_by` the same, or leave it out";
            Finding::failed(subject, error.message, mend)
        }
    }
}

/// A table of which nothing is known.
fn unknown(subject: String, settings: &Settings, error: &Error) -> Finding {
    let of = settings.catalog_connection.as_ref();
    let mend = of.map_or("allow s3:GetObject and s3:ListBucket for the connection, or correct `table`".to_owned(), |connection| {
        format!("let the credentials of connection {connection} read the table, or correct `catalog_warehouse`, `table` or the connection")
    });
    match error.kind {
        ErrorKind::Fatal => Finding::failed(subject, error.message.as_str(), mend),
        ErrorKind::Retriable => Finding::warning(
            subject,
            error.message.as_str(),
            "look again; if it stays, look at the catalog and the network",
        ),
    }
}
