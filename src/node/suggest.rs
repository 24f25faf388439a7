//! What somebody may have meant.

use super::name::Name;

/// The name nearest to a mistyped one: at most two edits away, and fewer than half its letters.
pub(super) fn closest<'a>(wanted: &Name, names: impl Iterator<Item = &'a Name>) -> Option<&'a Name> {
    let far = wanted.as_bytes().len().div_ceil(2).min(3);
    names
        .take(10_000)
        .map(|name| (distance(wanted.as_bytes(), name.as_bytes()), name))
        .filter(|(edits, _)| *edits < far.max(2))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Levenshtein's distance between two names.
fn distance(a: &[u8], b: &[u8]) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
