//! Two texts, line by line.

/// Most lines of a difference that are shown.
const SHOWN_MAX: usize = 60;

/// Lines only in `wanted` with `-`, only in `found` with `+`, the others with a blank.
pub(crate) fn lines(wanted: &str, found: &str) -> String {
    let (wanted, found): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), found.lines().collect());
    let head = wanted.iter().zip(&found).take_while(|(a, b)| a == b).count();
    let tail =
        wanted[head..].iter().rev().zip(found[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut shown: Vec<String> = Vec::new();
    shown.extend(wanted[head.saturating_sub(3)..head].iter().map(|line| format!("  {line}")));
    shown.extend(wanted[head..wanted.len() - tail].iter().map(|line| format!("- {line}")));
    shown.extend(found[head..found.len() - tail].iter().map(|line| format!("+ {line}")));
    shown.extend(wanted[wanted.len() - tail..].iter().take(3).map(|line| format!("  {line}")));
    let more = shown.len().saturating_sub(SHOWN_MAX);
    shown.truncate(SHOWN_MAX);
    if more > 0 {
        shown.push(format!("... and {more} lines more"));
    }
    shown.join("\n") + "\n"
}

#[test]
fn a_changed_line_is_seen() {
    assert_eq!(lines("a\nb\nc\n", "a\nx\nc\n"), "  a\n- b\n+ x\n  c\n");
    assert_eq!(lines("a\n", "a\n"), "  a\n");
    assert_eq!(lines("a\na\n", "a\n"), "  a\n- a\n");
}
