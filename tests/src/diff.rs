//! Two texts, line by line.

/// Most lines of a difference that are shown.
const SHOWN_MAX: usize = 60;
/// Lines of common text that are shown around a difference.
const CONTEXT: usize = 3;

/// Lines only in `wanted` with `-`, only in `found` with `+`, those around them with a blank.
pub fn lines(wanted: &str, found: &str) -> String {
    let all = compare(&wanted.lines().collect::<Vec<_>>(), &found.lines().collect::<Vec<_>>());
    let changed: Vec<usize> = (0..all.len()).filter(|&at| all[at].0 != ' ').collect();
    let near = |at: usize| changed.iter().any(|&change| change.abs_diff(at) <= CONTEXT);
    let mut shown: Vec<String> = (0..all.len())
        .filter(|&at| changed.is_empty() || near(at))
        .map(|at| format!("{} {}", all[at].0, all[at].1))
        .collect();
    let more = shown.len().saturating_sub(SHOWN_MAX);
    shown.truncate(SHOWN_MAX);
    if more > 0 {
        shown.push(format!("... and {more} lines more"));
    }
    shown.join("\n") + "\n"
}

/// The shortest way from one text to the other, by their longest common subsequence.
fn compare<'a>(wanted: &[&'a str], found: &[&'a str]) -> Vec<(char, &'a str)> {
    // common[i][j]: lines that wanted[i..] and found[j..] have in common.
    let mut common = vec![vec![0_u32; found.len() + 1]; wanted.len() + 1];
    for i in (0..wanted.len()).rev() {
        for j in (0..found.len()).rev() {
            common[i][j] = if wanted[i] == found[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut all) = (0, 0, Vec::new());
    while i < wanted.len() || j < found.len() {
        if i < wanted.len() && j < found.len() && wanted[i] == found[j] {
            all.push((' ', wanted[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == found.len() || i < wanted.len() && common[i + 1][j] >= common[i][j + 1] {
            all.push(('-', wanted[i]));
            i += 1;
        } else {
            all.push(('+', found[j]));
            j += 1;
        }
    }
    all
}

#[test]
fn a_changed_line_is_seen() {
    assert_eq!(lines("a\nb\nc\n", "a\nx\nc\n"), "  a\n- b\n+ x\n  c\n");
    assert_eq!(lines("a\n", "a\n"), "  a\n");
    assert_eq!(lines("a\na\n", "a\n"), "  a\n- a\n");
    assert_eq!(
        lines("a\nb\nc\nd\ne\nf\ng\nh\n", "b\nc\nd\ne\nf\ng\n"),
        "- a\n  b\n  c\n  d\n  e\n  f\n  g\n- h\n"
    );
}
