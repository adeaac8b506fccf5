//! What is asked of a field's value.

use std::borrow::Cow;
use std::cmp::Ordering;

use regex_lite::Regex;
use serde_json::{Number, Value};

/// One condition.
#[derive(Debug)]
pub(crate) enum Condition {
    OneOf(Vec<Literal>),
    NoneOf(Vec<Literal>),
    Matches(Regex),
    Exists(bool),
    Bound(Bound, Numeric),
}

/// Which side of a limit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    Gt,
    Gte,
    Lt,
    Lte,
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Boolean(bool),
    Number(Numeric),
    Text(String),
}

/// A number that is compared exactly while both sides are whole.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numeric {
    Whole(i128),
    Real(f64),
}

/// A field's value, JSON text, with its plain text where that is asked for.
#[derive(Debug)]
pub(crate) struct Field<'t> {
    json: &'t str,
    text: Option<Cow<'t, str>>,
}

impl Condition {
    /// Whether the values that a record has at the field meet the condition; an empty list: the field isn't there.
    pub(crate) fn holds(&self, values: &[Field<'_>]) -> bool {
        match self {
            Self::OneOf(literals) => values.iter().any(|v| literals.iter().any(|l| v.equals(l))),
            Self::NoneOf(literals) => !values.iter().any(|v| literals.iter().any(|l| v.equals(l))),
            Self::Matches(regex) => values.iter().any(|v| regex.is_match(v.plain())),
            Self::Exists(wanted) => values.is_empty() != *wanted,
            Self::Bound(bound, limit) => {
                values.iter().filter_map(Field::number).any(|n| bound.holds(n, *limit))
            }
        }
    }
}

impl Bound {
    fn holds(self, number: Numeric, limit: Numeric) -> bool {
        let Some(ordering) = number.partial_cmp(&limit) else { return false };
        match self {
            Self::Gt => ordering.is_gt(),
            Self::Gte => ordering.is_ge(),
            Self::Lt => ordering.is_lt(),
            Self::Lte => ordering.is_le(),
        }
    }
}

impl Literal {
    /// None for a list or an object.
    pub(crate) fn new(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(boolean) => Self::Boolean(*boolean),
            Value::Number(number) => Self::Number(number.clone().into()),
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(_) | Value::Object(_) => return None,
        })
    }
}

impl<'t> Field<'t> {
    /// From a value's JSON text, which a parser has seen already.
    pub(crate) fn new(json: &'t str) -> Self {
        let text = json.starts_with('"').then(|| match json.contains('\\') {
            true => Cow::Owned(serde_json::from_str(json).unwrap_or_default()),
            false => Cow::Borrowed(json.trim_matches('"')),
        });
        Self { json, text }
    }

    /// The text without quotes and escapes; of anything else its JSON.
    fn plain(&self) -> &str {
        self.text.as_deref().unwrap_or(self.json)
    }

    /// A number, or text that reads as one.
    fn number(&self) -> Option<Numeric> {
        let plain = self.plain().trim();
        if let Ok(whole) = plain.parse() {
            return Some(Numeric::Whole(whole));
        }
        // Not what Rust reads beyond JSON's numbers: inf, nan, .5, +1.
        serde_json::from_str::<f64>(plain).ok().map(Numeric::Real)
    }

    fn equals(&self, literal: &Literal) -> bool {
        match literal {
            Literal::Null => self.json == "null",
            Literal::Boolean(boolean) => self.plain() == if *boolean { "true" } else { "false" },
            Literal::Number(number) => {
                self.number().is_some_and(|n| n.partial_cmp(number) == Some(Ordering::Equal))
            }
            Literal::Text(text) => self.text.as_deref() == Some(text),
        }
    }
}

impl From<Number> for Numeric {
    fn from(number: Number) -> Self {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        whole.map_or_else(|| Self::Real(number.as_f64().unwrap_or(f64::NAN)), Self::Whole)
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (*self, *other) {
            (Self::Whole(a), Self::Whole(b)) => Some(a.cmp(&b)),
            (a, b) => a.real().partial_cmp(&b.real()),
        }
    }
}

impl Numeric {
    fn real(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "beside a real number, which is no more exact")]
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }
}
