//! Why a call to the database did not succeed.

use std::fmt;

use crate::error::{Error, Rejection};

/// The session is over, or a statement was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The session is over, and its transaction with it. Whether a COMMIT under way happened is not known.
    Session(Error),
    /// The server refused a statement; a transaction that it was in takes nothing but ROLLBACK.
    Statement(Box<SqlError>),
}

/// What the server says; what it left out is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlError {
    /// SQLSTATE: `23505`.
    pub code: String,
    /// The message.
    pub message: String,
    /// More about it; may hold values.
    pub detail: String,
    /// What the server recommends.
    pub hint: String,
    /// The schema it is about.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
    /// The type.
    pub data_type: String,
    /// The constraint.
    pub constraint: String,
    /// Where it happened: `COPY orders, line 3, column amount: "x"`.
    pub place: String,
    /// Character of the statement, from 1; 0: none.
    pub position: u32,
    /// The same transaction may succeed when it is begun anew.
    pub retriable: bool,
}

impl SqlError {
    /// As an error of the call.
    pub fn error(&self) -> Error {
        let (code, message) = (format!("sql.{}", self.code), self.to_string());
        if self.retriable { Error::retriable(code, message) } else { Error::fatal(code, message) }
    }

    /// As what is wrong with one record.
    pub fn rejection(&self) -> Rejection {
        Rejection::new(format!("sql.{}", self.code), self.to_string())
    }
}

impl fmt::Display for SqlError {
    /// Names what it is about where the message doesn't.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (what, name) in
            [("table", &self.table), ("column", &self.column), ("constraint", &self.constraint)]
        {
            if !name.is_empty() && !self.message.contains(name.as_str()) {
                write!(f, ", {what} {name}")?;
            }
        }
        for more in [&self.detail, &self.hint].into_iter().filter(|more| !more.is_empty()) {
            write!(f, "; {}", more.trim_end_matches('.'))?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(error) => error.fmt(f),
            Self::Statement(error) => write!(f, "{error} (sql.{})", error.code),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Session(error) => error,
            Failure::Statement(error) => error.error(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_does_not_name_is_named() {
        let error = SqlError {
            code: "23502".into(),
            message: r#"null value in column "id" violates not-null constraint"#.into(),
            table: "orders".into(),
            column: "id".into(),
            detail: "Failing row contains (null).".into(),
            ..SqlError::default()
        };
        let words = r#"null value in column "id" violates not-null constraint, table orders; Failing row contains (null)"#;
        assert_eq!(error.rejection(), Rejection::new("sql.23502", words));
        assert_eq!(Error::from(Failure::Statement(Box::new(error))), Error::fatal("sql.23502", words));
    }
}
