//! Results on stdout, remarks on stderr; a closed pipe is no panic.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::exit::Outcome;

/// A line of result.
pub(crate) fn line(text: impl AsRef<str>) -> Outcome {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref().as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Result as it is.
pub(crate) fn bytes(bytes: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// A remark on stderr. Nothing can be done if nobody reads it.
pub(crate) fn remark(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr(), "{}", text.as_ref());
}

/// Rows in columns; the first row is the heading. Columns of which all cells are numbers stand to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let right: Vec<bool> = (0..columns)
        .map(|at| rows.iter().skip(1).filter_map(|row| row.get(at)).all(|cell| cell.starts_with(is_numeric)))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let width = widths[at];
            // Writing to a string can't fail.
            let _ =
                if right[at] { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:<width$}  ") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.pop();
    text
}

fn is_numeric(c: char) -> bool {
    c.is_ascii_digit() || c == '-'
}

/// `1,234,567`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.2 MB`
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1000, 1_234_567].map(grouped).each_ref().map(|s| s.as_str())
        );
        assert_eq!(
            ["0 B", "999 B", "1.2 kB", "12.0 MB"],
            [0, 999, 1_234, 12_000_000].map(size).each_ref().map(|s| s.as_str())
        );
    }

    #[test]
    fn tables_align() {
        let rows = [["name", "n"], ["a", "5"], ["bcdef", "12"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "name    n\na       5\nbcdef  12");
    }
}
