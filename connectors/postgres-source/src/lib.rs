//! The bundled connector postgres-source: rows of tables, then every change of them, from PostgreSQL's logical replication.
//!
//! Exactly once: a record and the place in the log that it stands for are one transaction, and the slot is moved only behind what is
//! durable. Rows that were there before are read in chunks beside the stream, so that a kill costs a chunk and not the
//! snapshot, and tables that are published later are read without a restart; `tables` says why no row is missed or comes back.
//!
//! | file | what is in it |
//! |---|---|
//! | `pull` | the task: stream and chunks in turn, checkpoints |
//! | `tables`, `snapshot` | which changes belong into the topic while rows are read |
//! | `position`, `lsn` | checkpoints |
//! | `name` | tables as settings and as SQL name them |
//! | `pgoutput`, `frame` | what the server sends |
//! | `types`, `value` | PostgreSQL's types as JSON |
//! | `shape`, `envelope`, `schema` | records |
//! | `upstream`, `server` | what is asked of a server; a real one |
//! | `diagnosis` | what `millrace doctor` is told |
//! | `query` | the other mode: rows behind a cursor, for roles that may not replicate |

mod diagnosis;
mod envelope;
mod frame;
mod lsn;
mod name;
mod pgoutput;
mod position;
mod pull;
mod query;
mod schema;
mod server;
mod settings;
mod shape;
mod snapshot;
mod tables;
mod types;
mod upstream;
mod value;

use millrace_sdk::{Checkpoint, Description, Error, Finding, Flow, Poll, PollLimits, Problem, Source, Task};

use crate::pull::Pull;
use crate::query::Query;
use crate::server::Server;
use crate::settings::{Mode, Settings, WantsTypes};

/// What the host calls values with their schemas.
const TYPED: &str = "connect-json";

/// The source's only task.
#[derive(Debug)]
pub struct PostgresSource(Reader);

/// How it finds what is new.
#[derive(Debug)]
enum Reader {
    Changes(Box<Pull<Server>>),
    Rows(Box<Query<Server>>),
}

/// The settings of a source.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(transparent)]
pub struct SourceSettings(Settings);

impl Source for PostgresSource {
    type Settings = SourceSettings;

    fn describe() -> Description {
        Description::new(
            "postgres-source",
            env!("CARGO_PKG_VERSION"),
            "Reads the tables of a PostgreSQL database and follows their changes",
        )
        .settings(include_str!("settings.schema.json"))
        .key_formats(&["json", TYPED])
        .value_formats(&["json", TYPED])
        .extra("delivery", "exactly-once")
    }

    fn validate(settings: &SourceSettings) -> Result<Vec<Problem>, Error> {
        Ok(settings.0.problems())
    }

    fn diagnose(settings: &SourceSettings, _topics: &[String]) -> Result<Vec<Finding>, Error> {
        diagnosis::diagnose(&settings.0)
    }

    fn open(
        task: &Task,
        SourceSettings(mut settings): SourceSettings,
        resume: Vec<Checkpoint>,
    ) -> Result<Self, Error> {
        settings.wants_types =
            WantsTypes { keys: task.key_format == TYPED, values: task.value_format == TYPED };
        if let Some(problem) = settings.problems().into_iter().find(|problem| !problem.warning) {
            return Err(Error::fatal("settings", format!("{}: {}", problem.path, problem.message)));
        }
        let mut server = Server::new(&settings);
        if settings.mode == Mode::Query {
            let positions = query::position::resume(&resume, &settings)?;
            let database = server.prepare_query()?;
            let query = Query::new(server, settings, &database, positions);
            return Ok(Self(Reader::Rows(Box::new(query))));
        }
        let (kept, tables) = match position::resume(&resume)? {
            Some((kept, tables)) => (Some(kept), tables),
            None => Default::default(),
        };
        let facts = server.prepare(kept.as_ref())?;
        let pull = Pull::new(server, settings, &facts.database, facts.position, tables);
        Ok(Self(Reader::Changes(Box::new(pull))))
    }

    fn poll(&mut self, limits: PollLimits, out: &mut Poll) -> Result<Flow, Error> {
        match &mut self.0 {
            Reader::Changes(pull) => pull.poll(limits, out),
            Reader::Rows(query) => query.poll(limits, out),
        }
    }

    fn commit(&mut self, done: &[Checkpoint]) -> Result<(), Error> {
        if let Reader::Changes(pull) = &mut self.0
            && let Some(lsn) = position::confirmed(done)?
        {
            pull.confirm(lsn);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        if let Reader::Changes(pull) = &mut self.0 {
            pull.close();
        }
        Ok(())
    }
}

millrace_sdk::export_source!(PostgresSource);
