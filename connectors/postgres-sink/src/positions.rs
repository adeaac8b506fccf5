//! How far each partition was written: rows of a table in the target, changed in the transaction that writes the records.
//!
//! A row belongs to the task that was last assigned the partition, at its generation. Whoever writes says as whom, and from where to
//! where: a task that was replaced changes no row, and then nothing at all. A row with an empty topic is the fence of a task, by
//! its number: it holds the highest generation.

use std::collections::BTreeMap;

use millrace_sdk::postgres::{Failure, Session, Statement};
use millrace_sdk::{Error, Task, TopicOffset, TopicPartition};

use crate::value::element_text;

/// Next offset of a partition of which nothing is held.
const NONE: i64 = -1;

/// Where a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Next offset that is committed.
    held: i64,
    /// The same with what the open transaction writes.
    next: i64,
}

/// The positions of a task.
#[derive(Debug)]
pub struct Positions {
    table: String,
    connector: String,
    task: u32,
    generation: i64,
    places: BTreeMap<(String, i32), Place>,
}

/// Partitions and their new next offsets.
pub type Nexts = BTreeMap<(String, i32), i64>;

impl Positions {
    /// `table` is as SQL writes it.
    pub fn new(table: String, task: &Task) -> Result<Self, Error> {
        let generation = i64::try_from(task.generation)
            .map_err(|_| Error::fatal("generation", "a generation that no bigint holds"))?;
        let (connector, places) = (task.connector.clone(), BTreeMap::new());
        Ok(Self { table, connector, task: task.number, generation, places })
    }

    /// Makes the table, if it is not there.
    pub fn prepare(&self, session: &mut Session) -> Result<(), Error> {
        let found =
            session.query(&Statement::new("SELECT to_regclass($1::text)").text(self.table.clone()))?;
        if found.first().is_some_and(|row| row.text(0).is_some()) {
            return Ok(());
        }
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {} (connector text NOT NULL, topic text NOT NULL, partition integer NOT NULL, \
             next_offset bigint NOT NULL, task integer NOT NULL, generation bigint NOT NULL, \
             updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (connector, topic, partition))",
            self.table
        );
        match session.run(&sql) {
            // Another task was quicker.
            Err(Failure::Statement(error)) if matches!(error.code.as_str(), "23505" | "42710" | "42P07") => {
                Ok(())
            }
            Err(Failure::Statement(error)) if error.code == "42501" => Err(Error::fatal(
                "sql.42501",
                format!("the table of positions can't be made: {error}; let somebody who may run: {sql}"),
            )),
            done => Ok(done?),
        }
    }

    /// Takes partitions over, from whichever task had them.
    pub fn claim(
        &mut self,
        session: &mut Session,
        partitions: &[TopicPartition],
    ) -> Result<Vec<TopicOffset>, Error> {
        session.run("BEGIN ISOLATION LEVEL READ COMMITTED")?;
        let claimed = self.claim_in_transaction(session, partitions);
        match claimed {
            Ok(claimed) => {
                session.run("COMMIT")?;
                // Not before: what is known here is asked of the table when a session was lost.
                let mut held = Vec::new();
                for (topic, partition, next) in claimed {
                    self.places.insert((topic.clone(), partition), Place { held: next, next });
                    if next != NONE {
                        held.push(TopicOffset { topic, partition, offset: next });
                    }
                }
                Ok(held)
            }
            Err(error) => {
                let _ = session.run("ROLLBACK");
                Err(error)
            }
        }
    }

    fn claim_in_transaction(
        &self,
        session: &mut Session,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(String, i32, i64)>, Error> {
        let Self { table, connector, task, generation, .. } = self;
        let fence = Statement::new(format!(
            "INSERT INTO {table} AS p (connector, topic, partition, next_offset, task, generation) \
             VALUES ($1::text, '', $2::int4, 0, $2::int4, $3::int8) \
             ON CONFLICT (connector, topic, partition) DO UPDATE SET generation = EXCLUDED.generation, updated_at = now() \
             WHERE p.generation <= EXCLUDED.generation RETURNING 1"
        ));
        let fence = fence.text(connector.clone()).text(task.to_string()).text(generation.to_string());
        if session.query(&fence)?.is_empty() {
            return Err(self.fenced());
        }
        let topics = array(partitions.iter().map(|at| at.topic.clone()));
        let numbers = array(partitions.iter().map(|at| at.partition.to_string()));
        let claim = Statement::new(format!(
            "INSERT INTO {table} AS p (connector, topic, partition, next_offset, task, generation) \
             SELECT $1::text, v.topic, v.number, {NONE}, $2::int4, $3::int8 \
             FROM unnest($4::text[], $5::int4[]) AS v(topic, number) ORDER BY v.topic, v.number \
             ON CONFLICT (connector, topic, partition) DO UPDATE SET task = EXCLUDED.task, generation = EXCLUDED.generation, \
             updated_at = now() RETURNING p.topic, p.partition, p.next_offset"
        ));
        let claim = claim
            .text(connector.clone())
            .text(task.to_string())
            .text(generation.to_string())
            .text(topics)
            .text(numbers);
        let rows = session.query(&claim)?;
        rows.iter().map(|row| place(&row)).collect()
    }

    /// Gives partitions up.
    pub fn revoke(&mut self, partitions: &[TopicPartition]) {
        for TopicPartition { topic, partition } in partitions {
            self.places.remove(&(topic.clone(), *partition));
        }
    }

    /// The next offset that was not written.
    pub fn next(&self, topic: &str, partition: i32) -> Result<i64, Error> {
        let place = self.places.iter().find(|((known, number), _)| known == topic && *number == partition);
        place.map(|(_, place)| place.next).ok_or_else(|| {
            Error::fatal("order", format!("records of {topic} partition {partition}, which was not assigned"))
        })
    }

    /// Moves positions. It changes as many rows as there are `nexts`, or else the task was replaced.
    pub fn moved(&self, nexts: &Nexts) -> Statement {
        let from = |key| self.places.get(key).map_or(NONE, |place| place.next);
        let sql = format!(
            "UPDATE {} AS p SET next_offset = v.next, updated_at = now() \
             FROM unnest($1::text[], $2::int4[], $3::int8[], $4::int8[]) AS v(topic, number, held, next) \
             WHERE p.connector = $5::text AND p.topic = v.topic AND p.partition = v.number AND p.next_offset = v.held \
             AND p.task = $6::int4 AND p.generation = $7::int8",
            self.table
        );
        Statement::new(sql)
            .text(array(nexts.keys().map(|(topic, _)| topic.clone())))
            .text(array(nexts.keys().map(|(_, number)| number.to_string())))
            .text(array(nexts.keys().map(|key| from(key).to_string())))
            .text(array(nexts.values().map(ToString::to_string)))
            .text(self.connector.clone())
            .text(self.task.to_string())
            .text(self.generation.to_string())
    }

    /// The open transaction writes up to here.
    pub fn wrote(&mut self, nexts: &Nexts) {
        for (key, next) in nexts {
            if let Some(place) = self.places.get_mut(key) {
                place.next = *next;
            }
        }
    }

    /// The open transaction was committed.
    pub fn committed(&mut self) {
        self.places.values_mut().for_each(|place| place.held = place.next);
    }

    /// What an open transaction has written and not committed.
    pub fn uncommitted(&self) -> Nexts {
        let open = self.places.iter().filter(|(_, place)| place.next != place.held);
        open.map(|(key, place)| (key.clone(), place.next)).collect()
    }

    /// Forgets what an open transaction has written.
    pub fn rolled_back(&mut self) {
        self.places.values_mut().for_each(|place| place.next = place.held);
    }

    /// Asks where the partitions stand, in a session that knows nothing of an earlier one: true if what was written in that is
    /// committed (or there was nothing).
    pub fn ask(&mut self, session: &mut Session) -> Result<bool, Error> {
        let ours = Statement::new(format!(
            "SELECT topic, partition, next_offset FROM {} WHERE connector = $1::text AND task = $2::int4 \
             AND generation = $3::int8 AND topic <> ''",
            self.table
        ));
        let ours =
            ours.text(self.connector.clone()).text(self.task.to_string()).text(self.generation.to_string());
        let rows = session.query(&ours)?;
        let mut found = BTreeMap::new();
        for row in rows.iter() {
            let (topic, partition, next) = place(&row)?;
            found.insert((topic, partition), next);
        }
        if self.places.keys().any(|key| !found.contains_key(key)) {
            return Err(self.fenced());
        }
        for ((topic, partition), place) in &self.places {
            let next = found[&(topic.clone(), *partition)];
            if next < place.held {
                anew(&format!(
                    "the database holds {topic} partition {partition} up to {next}, and held it up to {}: it was put back, or lost what it had \
                     committed; starting again from there",
                    place.held
                ));
            }
        }
        let undone =
            self.places.iter().any(|(key, place)| place.next != place.held && found[key] == place.held);
        if !undone {
            for (key, place) in &mut self.places {
                *place = Place { held: found[key], next: found[key] };
            }
        }
        Ok(!undone)
    }

    /// Everything that is committed.
    pub fn durable(&self) -> Vec<TopicOffset> {
        let held = self.places.iter().filter(|(_, place)| place.held != NONE);
        held.map(|((topic, partition), place)| TopicOffset {
            topic: topic.clone(),
            partition: *partition,
            offset: place.held,
        })
        .collect()
    }

    /// Somebody else writes for this task now.
    pub fn fenced(&self) -> Error {
        let Self { table, connector, task, generation, .. } = self;
        let message = format!(
            "connector {connector} task {task}: {table} holds a newer owner than generation {generation}; this task was replaced"
        );
        Error::fatal("fenced", message)
    }
}

/// Ends this instance with a trap: the host starts another one, which goes on from the positions that the target holds. No error
/// says that; one that may be repeated would not bring back the records that the host counts as taken.
pub fn anew(why: &str) -> ! {
    panic!("{why}");
}

fn place(row: &millrace_sdk::postgres::Row<'_>) -> Result<(String, i32, i64), Error> {
    let number = |at: usize| row.text(at).and_then(|text| text.parse::<i64>().ok());
    match (row.text(0), number(1).and_then(|number| i32::try_from(number).ok()), number(2)) {
        (Some(topic), Some(partition), Some(next)) => Ok((topic.to_owned(), partition, next)),
        _ => Err(Error::fatal("positions", "the table of positions has a row that can't be read")),
    }
}

fn array(texts: impl Iterator<Item = String>) -> String {
    let mut array = String::from("{");
    for (at, text) in texts.enumerate() {
        if at > 0 {
            array.push(',');
        }
        element_text(Some(&text), &mut array);
    }
    array.push('}');
    array
}
