//! The settings, as `settings.schema.json` describes them.

use std::collections::BTreeMap;

use millrace_sdk::Problem;
use millrace_sdk::settings::{Size, Span};
use serde::Deserialize;

/// Longest name of a slot or publication: PostgreSQL cuts longer ones.
const NAME_BYTES_MAX: usize = 63;

/// Settings of one source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Connection that is read from.
    pub(crate) connection: String,
    /// How changes are found.
    #[serde(default)]
    pub(crate) mode: Mode,
    /// Of the mode query: tables, and the columns that their rows are followed by.
    #[serde(default)]
    pub(crate) cursors: BTreeMap<String, Vec<String>>,
    /// Of the mode query: how often is asked; none: once.
    pub(crate) poll_every: Option<Span>,
    /// The replication slot.
    #[serde(default = "millrace")]
    pub(crate) slot: String,
    /// The publication.
    #[serde(default = "millrace")]
    pub(crate) publication: String,
    /// Tables, `schema.table`; none: all that are published.
    pub(crate) tables: Option<Vec<String>>,
    /// Whether rows are read that were there before.
    #[serde(default)]
    pub(crate) snapshot: SnapshotMode,
    /// Sessions that read rows at once.
    #[serde(default = "one")]
    pub(crate) snapshot_max_threads: usize,
    /// Rows of a chunk.
    #[serde(default = "chunk_rows")]
    pub(crate) chunk_rows: u32,
    /// What records look like.
    #[serde(default)]
    pub(crate) format: Format,
    /// Whether records carry Kafka Connect's schemas.
    #[serde(default)]
    pub(crate) schemas: bool,
    /// Whether a null record follows a delete.
    #[serde(default = "yes")]
    pub(crate) tombstones: bool,
    /// Whether deletes are rows with a mark.
    #[serde(default)]
    pub(crate) rewrite_deletes: bool,
    /// Whether changes tell their place in the transaction.
    #[serde(default)]
    pub(crate) transactions: bool,
    /// Beginning of topic names; none: the pipeline's topic.
    pub(crate) topic_prefix: Option<String>,
    /// Topics by table.
    #[serde(default)]
    pub(crate) topics: BTreeMap<String, String>,
    /// How often the slot moves when nothing happens.
    #[serde(default = "heartbeat")]
    pub(crate) heartbeat: Span,
    /// A statement that is run at each heartbeat.
    pub(crate) heartbeat_query: Option<String>,
    /// How often new tables are looked for.
    #[serde(default = "heartbeat")]
    pub(crate) refresh: Span,
    /// Most bytes of log that the slot may hold back before there is an alarm.
    pub(crate) slot_lag_max: Option<Size>,
    /// What an alarm is.
    #[serde(default)]
    pub(crate) slot_lag_action: LagAction,
    /// What the topic's formats ask for; not a setting of this connector.
    #[serde(skip)]
    pub(crate) wants_types: WantsTypes,
}

/// Whether the topic's formats have a use for types.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WantsTypes {
    pub(crate) keys: bool,
    pub(crate) values: bool,
}

/// How changes are found.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// By logical replication.
    #[default]
    Replication,
    /// By asking for rows behind a cursor.
    Query,
}

/// Whether rows are read that were there before.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SnapshotMode {
    /// All rows of each table.
    #[default]
    Initial,
    /// Changes only.
    Never,
}

/// What records look like.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Debezium's envelope.
    #[default]
    Debezium,
    /// The row.
    Flat,
}

/// What happens when the slot holds back too much.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LagAction {
    /// A line in the log, at each refresh.
    #[default]
    Warn,
    /// The task fails.
    Fail,
}

fn millrace() -> String {
    "millrace".to_owned()
}

fn chunk_rows() -> u32 {
    10_000
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

fn heartbeat() -> Span {
    Span::from_ms(10_000)
}

impl Settings {
    /// What stands for the database in records: Debezium's `topic.prefix`.
    pub(crate) fn name(&self) -> &str {
        self.topic_prefix.as_deref().unwrap_or(&self.slot)
    }

    /// The topic of a table's records; empty: the pipeline's.
    pub(crate) fn topic(&self, table: &str) -> String {
        match (self.topics.get(table), &self.topic_prefix) {
            (Some(topic), _) => topic.clone(),
            (None, Some(prefix)) => format!("{prefix}.{}", topic_name(table)),
            (None, None) => String::new(),
        }
    }

    /// Whether keys carry Kafka Connect's schemas.
    pub(crate) fn typed_keys(&self) -> bool {
        self.schemas || self.wants_types.keys
    }

    /// Whether values do.
    pub(crate) fn typed_values(&self) -> bool {
        self.schemas || self.wants_types.values
    }

    /// Whether this table is wanted.
    pub(crate) fn wants(&self, table: &str) -> bool {
        if self.mode == Mode::Query {
            return self.cursors.contains_key(table);
        }
        self.tables.as_ref().is_none_or(|tables| tables.iter().any(|wanted| wanted == table))
    }

    /// Whether rows say if they were deleted.
    pub(crate) fn marks_deletes(&self) -> bool {
        self.format == Format::Flat && self.rewrite_deletes
    }

    /// Checks beyond the schema.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let is_slot = |name: &str| {
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if !is_slot(&self.slot) || self.slot.is_empty() || self.slot.len() > NAME_BYTES_MAX {
            let message = "a slot's name has lower case letters, digits and underscores, at most 63";
            problems.push(Problem::error("/slot", message));
        }
        if self.publication.is_empty() || self.publication.len() > NAME_BYTES_MAX {
            problems.push(Problem::error("/publication", "a publication's name has at most 63 bytes"));
        }
        for (place, table) in self.tables.iter().flatten().enumerate() {
            if !is_table(table) {
                problems.push(Problem::error(format!("/tables/{place}"), "no table such as public.orders"));
            }
        }
        self.mode_problems(&mut problems);
        for table in self.topics.keys() {
            let pointer = format!("/topics/{}", pointed(table));
            if !is_table(table) {
                problems.push(Problem::error(pointer, "no table such as public.orders"));
            } else if !self.wants(table) {
                let tables = if self.mode == Mode::Query { "cursors" } else { "tables" };
                problems.push(Problem::error(pointer, format!("not one of `{tables}`")));
            }
        }
        if self.rewrite_deletes && self.format == Format::Debezium {
            let message = "Debezium's envelope tells deletes already; it is for the format flat";
            problems.push(Problem::error("/rewrite_deletes", message));
        }
        if self.transactions && self.format == Format::Flat {
            let message = "rows have no place for it; it is for the format debezium";
            problems.push(Problem::error("/transactions", message));
        }
        if self.heartbeat.ms() == 0 {
            problems.push(Problem::error("/heartbeat", "at least 1ms"));
        }
        if self.refresh.ms() == 0 {
            problems.push(Problem::error("/refresh", "at least 1ms"));
        }
        problems
    }

    /// What belongs to the other mode, or is missing in this one.
    fn mode_problems(&self, problems: &mut Vec<Problem>) {
        let other = match self.mode {
            Mode::Replication => {
                vec![("/cursors", !self.cursors.is_empty()), ("/poll_every", self.poll_every.is_some())]
            }
            Mode::Query => vec![
                ("/tables", self.tables.is_some()),
                ("/snapshot", self.snapshot == SnapshotMode::Never),
                ("/snapshot_max_threads", self.snapshot_max_threads > 1),
                ("/transactions", self.transactions),
                ("/rewrite_deletes", self.rewrite_deletes),
                ("/heartbeat_query", self.heartbeat_query.is_some()),
                ("/slot_lag_max", self.slot_lag_max.is_some()),
            ],
        };
        let of = if self.mode == Mode::Query {
            "replication; a query sees neither changes nor deletes"
        } else {
            "query"
        };
        for (path, _) in other.into_iter().filter(|(_, is_set)| *is_set) {
            problems.push(Problem::error(path, format!("is of the mode {of}")));
        }
        if self.mode == Mode::Query && self.cursors.is_empty() {
            let message = "which tables, and by which columns? Such as { public.orders: [updated_at, id] }";
            problems.push(Problem::error("/cursors", message));
        }
        for (table, columns) in &self.cursors {
            let pointer = format!("/cursors/{}", pointed(table));
            let is_twice = |at: usize| columns[..at].contains(&columns[at]);
            if !is_table(table) {
                problems.push(Problem::error(pointer, "no table such as public.orders"));
            } else if columns.is_empty() || (0..columns.len()).any(is_twice) {
                problems.push(Problem::error(pointer, "columns, each once: [id], or [updated_at, id]"));
            }
        }
        if self.poll_every.is_some_and(|every| every.ms() == 0) {
            problems.push(Problem::error("/poll_every", "at least 1ms"));
        }
    }
}

/// A name as a JSON pointer has it.
fn pointed(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn is_table(name: &str) -> bool {
    name.split_once('.').is_some_and(|(schema, table)| !schema.is_empty() && !table.is_empty())
}

/// Kafka's names of topics have letters, digits, dots, underscores and hyphens: anything else becomes an underscore, as with
/// Debezium.
fn topic_name(table: &str) -> String {
    let fits = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    table.chars().map(|char| if fits(char) { char } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(mut more: Value) -> Settings {
        more["connection"] = "db".into();
        serde_json::from_value(more).expect("settings")
    }

    #[test]
    fn settings_that_can_not_be_are_told_with_their_place() {
        let paths = |more: Value| -> Vec<String> {
            settings(more).problems().into_iter().map(|problem| problem.path).collect()
        };
        assert_eq!(paths(json!({})), [""; 0]);
        assert_eq!(paths(json!({ "slot": "A", "publication": "x".repeat(64) })), ["/slot", "/publication"]);
        let topics = json!({ "tables": ["public.a", "b"], "topics": { "c": "t", "public.d/e": "t", "public.a": "t" } });
        assert_eq!(paths(topics), ["/tables/1", "/topics/c", "/topics/public.d~1e"]);
        assert_eq!(paths(json!({ "rewrite_deletes": true })), ["/rewrite_deletes"]);
        assert_eq!(paths(json!({ "format": "flat", "transactions": true })), ["/transactions"]);
        assert_eq!(paths(json!({ "heartbeat": "0s", "refresh": "0s" })), ["/heartbeat", "/refresh"]);
        assert_eq!(
            paths(json!({ "cursors": { "public.a": ["id"] }, "poll_every": "1s" })),
            ["/cursors", "/poll_every"]
        );
        assert_eq!(paths(json!({ "mode": "query" })), ["/cursors"]);
        let query = json!({ "mode": "query", "tables": ["public.a"], "snapshot": "never", "poll_every": "0s",
            "cursors": { "a": ["id"], "public.b": [], "public.c": ["x", "x"], "public.d": ["x", "id"] }, "topics": { "public.d": "t", "public.e": "t" } });
        assert_eq!(
            paths(query),
            [
                "/tables",
                "/snapshot",
                "/cursors/a",
                "/cursors/public.b",
                "/cursors/public.c",
                "/poll_every",
                "/topics/public.e"
            ]
        );
    }

    #[test]
    fn the_description_is_complete() {
        use millrace_sdk::Source;
        let description = crate::PostgresSource::describe();
        millrace_sdk::testing::check_description(&description).expect("a complete description");
    }

    #[test]
    fn topics_are_by_table_or_the_pipelines() {
        assert_eq!(settings(json!({})).topic("public.orders"), "");
        let named = settings(json!({ "topic_prefix": "shop", "topics": { "public.b": "other" } }));
        assert_eq!(named.topic("public.Ä b$"), "shop.public.__b_");
        assert_eq!(named.topic("public.b"), "other");
        assert_eq!((named.name(), settings(json!({ "slot": "s" })).name()), ("shop", "s"));
    }
}
