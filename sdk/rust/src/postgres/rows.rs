//! Rows of a result, without a copy per value.

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, of pg_type.
    pub type_oid: u32,
    /// Length or precision of the type; -1: none.
    pub type_modifier: i32,
}

/// Rows of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    columns: Vec<Column>,
    /// Start and end of each value in `data`, row by row; none: null.
    ranges: Vec<Option<(usize, usize)>>,
    data: Vec<u8>,
    tag: String,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    rows: &'a Rows,
    first: usize,
}

impl Rows {
    /// Of flat columns: lengths row by row (-1: null), values without gaps.
    pub(crate) fn new(columns: Vec<Column>, lens: Vec<i32>, data: Vec<u8>, tag: String) -> Self {
        let mut at = 0;
        let range = |length: i32| {
            let length = usize::try_from(length).ok()?;
            at += length;
            Some((at - length, at))
        };
        let ranges = lens.into_iter().map(range).collect();
        Self { columns, ranges, data, tag }
    }

    /// For tests: of texts.
    pub fn of(columns: &[&str], rows: &[&[Option<&str>]]) -> Self {
        let column = |name: &&str| Column { name: (*name).to_owned(), type_oid: 25, type_modifier: -1 };
        let values = || rows.iter().flat_map(|row| row.iter());
        let lens = values().map(|value| value.map_or(-1, |text| i32::try_from(text.len()).unwrap_or(-1)));
        let data = values().flatten().flat_map(|text| text.bytes()).collect();
        let tag = format!("SELECT {}", rows.len());
        Self::new(columns.iter().map(column).collect(), lens.collect(), data, tag)
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.ranges.len() / self.columns.len().max(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the server said at the end: `SELECT 3`.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Row by row.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).map(|row| Row { rows: self, first: row * self.columns.len() })
    }

    /// The first row.
    pub fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }
}

impl<'a> Row<'a> {
    /// The value of a column, from 0; none: null, or no such column.
    pub fn bytes(&self, column: usize) -> Option<&'a [u8]> {
        let range =
            if column < self.rows.columns.len() { self.rows.ranges.get(self.first + column) } else { None };
        let (start, end) = (*range?)?;
        self.rows.data.get(start..end)
    }

    /// The same as text, which it always is but for what `COPY ... BINARY` gives.
    pub fn text(&self, column: usize) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(column)?).ok()
    }

    /// Whether a boolean is there, and true.
    pub fn is_true(&self, column: usize) -> bool {
        self.text(column) == Some("t")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_are_not_empty() {
        let rows = Rows::of(&["a", "b"], &[&[Some("1"), None], &[Some(""), Some("é")]]);
        let all: Vec<_> = rows.iter().map(|row| (row.text(0), row.text(1), row.text(2))).collect();
        assert_eq!(all, [(Some("1"), None, None), (Some(""), Some("é"), None)]);
        assert_eq!((rows.len(), rows.tag()), (2, "SELECT 2"));
    }
}
