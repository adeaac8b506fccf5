//! Whether a connection is reached, for `millrace doctor`: a session, and what the server says of itself in it. Changes nothing.

use std::time::{Duration, SystemTime};

use super::connect::Target;
use crate::component::bindings::millrace::connect::postgres::{Mode, Problem};
use crate::component::bindings::millrace::connect::types::Error as GuestError;
use crate::doctor::{Reached, Unreached};

/// What is asked, one value after the other.
const QUESTION: &str = "SELECT current_setting('server_version'), current_user, current_setting('wal_level'), \
    (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots'), pg_is_in_recovery(), \
    trunc(extract(epoch FROM clock_timestamp()))";

/// See [`crate::doctor`].
pub(crate) async fn check(target: &Target) -> Result<Reached, Unreached> {
    let mut session = target.open(Mode::Plain).await.map_err(unreached)?;
    let rows = session.rows_of(QUESTION).await.map_err(unreached)?;
    let mut rest = rows.data.as_slice();
    let mut next = |len: &i32| {
        let (value, behind) = rest.split_at_checked(usize::try_from(*len).unwrap_or(0)).unwrap_or_default();
        rest = behind;
        String::from_utf8_lossy(value).into_owned()
    };
    let answers: Vec<String> = rows.lens.iter().map(&mut next).collect();
    let [version, user, wal_level, slots, slots_max, is_standby, clock] = &answers[..] else {
        let said = format!("the server answers {} values instead of 7", answers.len());
        return Err(Unreached { said, mend: "see what it is that listens there".to_owned() });
    };
    let but = (is_standby == "t").then(|| {
        let said =
            format!("PostgreSQL {version}, as {user}: a standby, which takes no writes and no slots here");
        (said, "name the primary, or say `target: primary` with all hosts".to_owned())
    });
    let clock = clock.parse().ok().and_then(|s| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(s)));
    let said = format!(
        "PostgreSQL {version}, as {user}; wal_level {wal_level}, {slots} of {slots_max} replication slots in use"
    );
    Ok(Reached { said, but, clock })
}

fn unreached(problem: Problem) -> Unreached {
    let (code, message) = match problem {
        Problem::Session(GuestError::Retriable(failure) | GuestError::Fatal(failure)) => {
            (failure.code, failure.message)
        }
        Problem::Statement(error) => (format!("sql.{}", error.code), error.message),
    };
    let mend = match code.as_str() {
        "postgres.auth" | "sql.28P01" | "sql.28000" => {
            "correct `user` and `password` of the connection, or the server's pg_hba.conf"
        }
        "sql.3D000" => "correct `database` of the connection, or make the database",
        "sql.53300" => "raise the server's max_connections, or lower `sessions` of the connections",
        "postgres.timeout" => {
            "look at the network between here and there, or raise `connect_timeout` of the connection"
        }
        "postgres.tls" => "correct `tls` and `ca` of the connection",
        "postgres.standby" => "name the primary among the hosts",
        _ => "start the server, or correct the connection",
    };
    Unreached { said: format!("{message} ({code})"), mend: mend.to_owned() }
}
