//! Messages of the output plugin `pgoutput`, protocol versions 1 and 2 without streaming.
//!
//! Source: PostgreSQL's documentation, "Logical Replication Message Formats". What comes in was made by another program: every
//! length is checked against what is there, and nothing is allocated for a number before its bytes are seen. Values stay where
//! they are; a decoded message borrows from the bytes.

mod reader;
#[cfg(test)]
pub(crate) mod tests;

use self::reader::Reader;

/// Most columns of a relation; PostgreSQL has at most 1,600.
const COLUMNS_MAX: usize = 1_664;
/// Most relations of one TRUNCATE.
const RELATIONS_MAX: usize = 1 << 20;

/// Why bytes are no message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// It ends too early.
    Short,
    /// There is more than the message.
    Long,
    /// Of a type that is not known.
    Kind(u8),
    /// A part that has a value of its own meaning has another one.
    Part(&'static str),
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short => f.write_str("it ends too early"),
            Self::Long => f.write_str("it goes on after its end"),
            Self::Kind(kind) => write!(f, "type {:?} is not known", char::from(*kind)),
            Self::Part(part) => write!(f, "{part} is not as it should be"),
        }
    }
}

/// One message.
#[derive(Debug, PartialEq)]
pub(crate) enum Message<'a> {
    Begin(Begin),
    Commit(Commit),
    /// Where a transaction that was replicated came from.
    Origin,
    Relation(Relation),
    /// The name of a type that is not built in; the catalog knows more.
    Type,
    Insert {
        relation: u32,
        new: Tuple<'a>,
    },
    Update {
        relation: u32,
        /// What the row was: its key, or with REPLICA IDENTITY FULL all of it. None: the key has not changed.
        old: Option<Old<'a>>,
        new: Tuple<'a>,
    },
    Delete {
        relation: u32,
        old: Old<'a>,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// Of `pg_logical_emit_message`.
    Logical,
}

/// A transaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    /// Where its commit record is.
    pub(crate) commit_lsn: u64,
    /// Microseconds since 2000.
    pub(crate) commit_time: i64,
    pub(crate) xid: u32,
}

/// A transaction is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Where its commit record is.
    pub(crate) commit_lsn: u64,
    /// Behind its commit record.
    pub(crate) end_lsn: u64,
}

/// What a row was.
#[derive(Debug, PartialEq)]
pub(crate) struct Old<'a> {
    /// Whether all columns are there, or those of the replica identity only; the others are null then.
    pub(crate) is_whole: bool,
    pub(crate) tuple: Tuple<'a>,
}

/// A table as the following messages have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) id: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) identity: Identity,
    pub(crate) columns: Vec<Column>,
}

/// How rows are known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// By the primary key.
    Default,
    /// Not at all.
    Nothing,
    /// By all columns.
    Full,
    /// By the columns of an index.
    Index,
}

/// A column of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Part of the replica identity.
    pub(crate) is_identity: bool,
    pub(crate) name: String,
    pub(crate) type_oid: u32,
    pub(crate) type_modifier: i32,
}

/// The values of a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tuple<'a> {
    pub(crate) values: Vec<Value<'a>>,
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    /// Stored beside the table and not changed: the server doesn't send it.
    Unchanged,
    /// In the text format of its type.
    Text(&'a str),
}

/// Reads one message. Value bytes that are no UTF-8 are refused: the session asked for it.
pub(crate) fn decode(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut from = Reader::new(bytes);
    let message = match from.u8()? {
        b'B' => Message::Begin(Begin { commit_lsn: from.u64()?, commit_time: from.i64()?, xid: from.u32()? }),
        b'C' => {
            let _flags = from.u8()?;
            let commit = Commit { commit_lsn: from.u64()?, end_lsn: from.u64()? };
            let _time = from.i64()?;
            Message::Commit(commit)
        }
        b'O' => {
            let _commit_lsn = from.u64()?;
            let _name = from.text()?;
            Message::Origin
        }
        b'R' => Message::Relation(relation(&mut from)?),
        b'Y' => {
            let _oid = from.u32()?;
            let _schema = from.text()?;
            let _name = from.text()?;
            Message::Type
        }
        b'I' => {
            let relation = from.u32()?;
            match from.u8()? {
                b'N' => Message::Insert { relation, new: tuple(&mut from)? },
                _ => return Err(Malformed::Part("the kind of the new row")),
            }
        }
        b'U' => update(&mut from)?,
        b'D' => {
            let relation = from.u32()?;
            let is_whole = match from.u8()? {
                b'K' => false,
                b'O' => true,
                _ => return Err(Malformed::Part("the kind of the old row")),
            };
            Message::Delete { relation, old: Old { is_whole, tuple: tuple(&mut from)? } }
        }
        b'T' => truncate(&mut from)?,
        b'M' => {
            let _flags = from.u8()?;
            let _lsn = from.u64()?;
            let _prefix = from.text()?;
            let length = from.length()?;
            let _content = from.take(length)?;
            Message::Logical
        }
        kind => return Err(Malformed::Kind(kind)),
    };
    from.end()?;
    Ok(message)
}

fn update<'a>(from: &mut Reader<'a>) -> Result<Message<'a>, Malformed> {
    let relation = from.u32()?;
    let mut old = None;
    let mut kind = from.u8()?;
    if matches!(kind, b'K' | b'O') {
        old = Some(Old { is_whole: kind == b'O', tuple: tuple(from)? });
        kind = from.u8()?;
    }
    match kind {
        b'N' => Ok(Message::Update { relation, old, new: tuple(from)? }),
        _ => Err(Malformed::Part("the kind of the new row")),
    }
}

fn truncate<'a>(from: &mut Reader<'a>) -> Result<Message<'a>, Malformed> {
    let count = from.length()?;
    let _options = from.u8()?;
    if count > RELATIONS_MAX {
        return Err(Malformed::Part("the number of relations"));
    }
    let mut relations = Vec::new();
    for _ in 0..count {
        relations.push(from.u32()?);
    }
    Ok(Message::Truncate { relations })
}

fn relation(from: &mut Reader<'_>) -> Result<Relation, Malformed> {
    let id = from.u32()?;
    let schema = match from.text()? {
        // As the protocol has it.
        "" => "pg_catalog".to_owned(),
        schema => schema.to_owned(),
    };
    let name = from.text()?.to_owned();
    let identity = match from.u8()? {
        b'd' => Identity::Default,
        b'n' => Identity::Nothing,
        b'f' => Identity::Full,
        b'i' => Identity::Index,
        _ => return Err(Malformed::Part("the replica identity")),
    };
    let mut columns = Vec::new();
    for _ in 0..count(from)? {
        columns.push(Column {
            is_identity: from.u8()? & 1 != 0,
            name: from.text()?.to_owned(),
            type_oid: from.u32()?,
            type_modifier: from.i32()?,
        });
    }
    Ok(Relation { id, schema, name, identity, columns })
}

fn tuple<'a>(from: &mut Reader<'a>) -> Result<Tuple<'a>, Malformed> {
    let mut values = Vec::new();
    for _ in 0..count(from)? {
        values.push(match from.u8()? {
            b'n' => Value::Null,
            b'u' => Value::Unchanged,
            b't' => {
                let length = from.length()?;
                Value::Text(from.utf8(length)?)
            }
            // Binary is sent only when it was asked for.
            _ => return Err(Malformed::Part("the kind of a value")),
        });
    }
    Ok(Tuple { values })
}

fn count(from: &mut Reader<'_>) -> Result<usize, Malformed> {
    match usize::from(from.u16()?) {
        count if count <= COLUMNS_MAX => Ok(count),
        _ => Err(Malformed::Part("the number of columns")),
    }
}
