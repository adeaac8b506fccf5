//! Other text where fields stand.

use std::ops::Range;

/// Text to put in the place of a range of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Which bytes go.
    pub range: Range<usize>,
    /// What comes in their place.
    pub text: String,
}

/// Appends `text` to `out` with the edits made. They may come in any order; of edits that overlap, the one that begins first
/// and reaches farthest wins, so that masking `a` and `a.b` masks `a`.
pub fn splice(text: &str, edits: &mut [Edit], out: &mut Vec<u8>) {
    edits.sort_by(|a, b| (a.range.start, b.range.end).cmp(&(b.range.start, a.range.end)));
    let mut done = 0;
    for edit in edits {
        if edit.range.start < done {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[done..edit.range.start]);
        out.extend_from_slice(edit.text.as_bytes());
        done = edit.range.end;
    }
    out.extend_from_slice(&text.as_bytes()[done..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spliced(text: &str, edits: &[(Range<usize>, &str)]) -> String {
        let mut edits: Vec<Edit> = edits
            .iter()
            .map(|(range, text)| Edit { range: range.clone(), text: (*text).to_owned() })
            .collect();
        let mut out = Vec::new();
        splice(text, &mut edits, &mut out);
        String::from_utf8(out).expect("text stays text")
    }

    #[test]
    fn edits_are_made_in_their_places() {
        assert_eq!(spliced("abcdef", &[]), "abcdef");
        assert_eq!(spliced("abcdef", &[(4..5, "E!"), (0..2, "")]), "cdE!f");
    }

    #[test]
    fn the_outer_of_two_edits_wins() {
        assert_eq!(spliced("abcdef", &[(2..3, "x"), (1..4, "-")]), "a-ef");
        assert_eq!(spliced("abcdef", &[(1..2, "x"), (1..4, "-")]), "a-ef");
    }
}
