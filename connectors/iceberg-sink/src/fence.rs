//! What the table says of this connector: how far each partition of the topic is in it, and who wrote that.
//!
//! It stands in properties of the table, which change in the same step as its data, and outlive snapshots that expire:
//!
//! - `millrace.task.CONNECTOR/N`: which instance task N is, how many commits it made, and below which number its files are in the table;
//! - `millrace.position.CONNECTOR/TOPIC/PARTITION`: the position, and the instance that holds it.
//!
//! A task that starts writes its name over those before it. From then on they can't commit: each commit is made of metadata that says
//! that it is theirs, and is refused if that is not the newest.

use std::collections::BTreeMap;

use millrace_sdk::{Error, Task, TopicPartition};
use serde::{Deserialize, Serialize};

use crate::metadata::Metadata;
use crate::metadata::history::Expired;
use crate::place::Instance;

/// Dead instances that a task still has to clean up after.
const DEAD_MAX: usize = 64;

/// Code of the error that another instance has taken over.
pub const FENCED: &str = "fenced";

/// A task's mark.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct TaskMark {
    /// Which start of the task it is.
    pub generation: u64,
    /// Which one of those.
    pub instance: String,
    /// Its commits.
    pub commits: u64,
    /// Its files with lower numbers are in the table.
    pub files: u64,
    /// Snapshots that it expired, or an instance before it did, and that may have left files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expired: Vec<Expired>,
    /// Instances before it, which may have left something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead: Vec<Dead>,
}

/// An instance that was replaced.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Dead {
    /// Its name.
    pub instance: String,
    /// Its commits with lower numbers were made.
    pub commits: u64,
    /// Its files with lower numbers are in the table.
    pub files: u64,
}

/// A partition's mark.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct PartitionMark {
    /// Everything before this offset is in the table.
    offset: Option<i64>,
    task: u32,
    generation: u64,
    instance: String,
}

/// What a task holds of a table.
#[derive(Clone, Debug)]
pub struct Fence {
    task: Task,
    /// Who it is.
    pub instance: Instance,
    /// Its mark as it was last committed.
    pub mark: TaskMark,
    /// Its partitions, and their positions as they were last committed.
    pub held: BTreeMap<(String, i32), Option<i64>>,
}

/// What a claim found.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Properties to set.
    pub properties: BTreeMap<String, String>,
    /// The task's mark from then on.
    pub mark: TaskMark,
    /// The positions.
    pub positions: BTreeMap<(String, i32), Option<i64>>,
}

/// Another instance has taken over.
pub fn fenced(what: &str) -> Error {
    Error::fatal(
        FENCED,
        format!("{what} was written by another instance of this connector, which has taken over"),
    )
}

/// A later start of the same task has been here, as far as anybody can tell.
fn outdated(name: &str, theirs: u64, own: u64) -> Error {
    let message = format!(
        "the table's property {name} was written by start {theirs} of this task, and this is start {own}: another instance of this connector \
         has taken over; or else the cluster has lost its state, or is another one, and then the connector wants another name, or its properties \
         removed from the table"
    );
    Error::fatal(FENCED, message)
}

fn read<T: for<'de> Deserialize<'de>>(metadata: &Metadata, name: &str) -> Result<Option<T>, Error> {
    let Some(text) = metadata.property(name) else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|error| {
        let message = format!(
            "the table's property {name} can't be read: {error}; restore it, or remove it to begin anew"
        );
        Error::fatal("table.property", message)
    })
}

fn text<T: Serialize>(mark: &T) -> Result<String, Error> {
    serde_json::to_string(mark)
        .map_err(|error| Error::fatal("table.property", format!("a property can't be written: {error}")))
}

impl Fence {
    /// Of a task that holds nothing yet.
    pub fn new(task: &Task) -> Self {
        let instance = Instance::new(task);
        let mark =
            TaskMark { generation: task.generation, instance: instance.name.clone(), ..TaskMark::default() };
        Self { task: task.clone(), instance, mark, held: BTreeMap::new() }
    }

    fn task_name(&self) -> String {
        format!("millrace.task.{}/{}", self.task.connector, self.task.number)
    }

    fn name(&self, of: &(String, i32)) -> String {
        format!("millrace.position.{}/{}/{}", self.task.connector, of.0, of.1)
    }

    fn partition_mark(&self, offset: Option<i64>) -> PartitionMark {
        let (task, generation) = (self.task.number, self.task.generation);
        PartitionMark { offset, task, generation, instance: self.instance.name.clone() }
    }

    /// What has to be written so that these partitions are this instance's.
    pub fn claim(&self, metadata: Option<&Metadata>, partitions: &[TopicPartition]) -> Result<Claim, Error> {
        let mut mark = self.mark.clone();
        let own = self.task_name();
        let before: Option<TaskMark> = metadata.map_or(Ok(None), |metadata| read(metadata, &own))?;
        if let Some(before) = before.filter(|before| before.instance != mark.instance) {
            if before.generation > mark.generation {
                return Err(outdated(&own, before.generation, mark.generation));
            }
            if mark.commits > 0 {
                return Err(fenced(&format!("the table's property {own}")));
            }
            mark.expired = before.expired;
            mark.dead = before.dead;
            mark.dead.push(Dead { instance: before.instance, commits: before.commits, files: before.files });
            let spare = mark.dead.len().saturating_sub(DEAD_MAX);
            mark.dead.drain(..spare);
        }
        let mut properties = BTreeMap::from([(own, text(&mark)?)]);
        let mut positions = BTreeMap::new();
        for of in partitions {
            let of = (of.topic.clone(), of.partition);
            let name = self.name(&of);
            let before: Option<PartitionMark> =
                metadata.map_or(Ok(None), |metadata| read(metadata, &name))?;
            if let Some(before) = &before
                && before.task == self.task.number
                && before.generation > self.task.generation
            {
                return Err(outdated(&name, before.generation, self.task.generation));
            }
            let offset = before.and_then(|before| before.offset);
            properties.insert(name, text(&self.partition_mark(offset))?);
            positions.insert(of, offset);
        }
        Ok(Claim { properties, mark, positions })
    }

    /// Whether a claim is in the table.
    pub fn is_claimed(&self, metadata: &Metadata, claim: &Claim) -> bool {
        claim.properties.iter().all(|(name, value)| metadata.property(name) == Some(value.as_str()))
    }

    /// Whether all that it holds is still its own.
    pub fn check(&self, metadata: &Metadata) -> Result<(), Error> {
        let own = self.task_name();
        let task: Option<TaskMark> = read(metadata, &own)?;
        if task.is_none_or(|task| task.instance != self.instance.name) {
            return Err(fenced(&format!("the table's property {own}")));
        }
        for (of, offset) in &self.held {
            let name = self.name(of);
            let mark: Option<PartitionMark> = read(metadata, &name)?;
            if mark.is_none_or(|mark| mark.instance != self.instance.name || mark.offset != *offset) {
                return Err(fenced(&format!("the table's property {name}")));
            }
        }
        Ok(())
    }

    /// The mark that this commit of its own made, if it is in the table.
    pub fn committed(&self, metadata: &Metadata, commit: u64) -> Result<Option<TaskMark>, Error> {
        let task: Option<TaskMark> = read(metadata, &self.task_name())?;
        Ok(task.filter(|task| task.instance == self.instance.name && task.commits > commit))
    }

    /// Whether an instance after this one found so many commits of it: the next one is not in the table then, and never will be.
    pub fn was_left_with(&self, metadata: &Metadata, commits: u64) -> bool {
        let task: Option<TaskMark> = read(metadata, &self.task_name()).ok().flatten();
        let is_it = |dead: &Dead| dead.instance == self.instance.name && dead.commits == commits;
        task.is_some_and(|task| task.dead.iter().any(is_it))
    }

    /// The properties that a commit sets, which expires these snapshots besides.
    pub fn advance(
        &self,
        positions: &BTreeMap<(String, i32), i64>,
        files: u64,
        expired: &[Expired],
    ) -> Result<BTreeMap<String, String>, Error> {
        let mut mark = TaskMark { commits: self.mark.commits + 1, files, ..self.mark.clone() };
        mark.expired.extend_from_slice(expired);
        let mut properties = BTreeMap::from([(self.task_name(), text(&mark)?)]);
        for (of, offset) in positions {
            properties.insert(self.name(of), text(&self.partition_mark(Some(*offset)))?);
        }
        Ok(properties)
    }
}
