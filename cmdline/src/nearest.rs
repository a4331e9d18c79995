//! The known name that a misspelt one most likely stands for.

/// Names longer than this are not compared; no parameter's name comes near it.
const MAX_NAME: usize = 64;

/// Edit distance with neighbouring letters swapped counted once (optimal string alignment), by bytes.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut swapped_from = 0;
    for (i, &x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(last.len());
        row.push(i + 1);
        let mut left_byte = 0;
        for (j, &y) in b.iter().enumerate() {
            let at = |row: &[usize], k: usize| row.get(k).copied().unwrap_or(usize::MAX / 2);
            let mut best =
                (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if i > 0 && j > 0 && x == left_byte && y == swapped_from {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
            left_byte = y;
        }
        swapped_from = x;
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

/// The nearest of `names`, if one is near enough to be worth a suggestion.
pub(crate) fn nearest<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if wrong.len() > MAX_NAME {
        return None;
    }
    let allowed = (wrong.len() / 4).clamp(1, 4);
    // `-` for `_` is the commonest slip of all and must not lose to a shorter distance.
    let folded = wrong.replace('-', "_");
    names
        .filter(|name| name.len().abs_diff(wrong.len()) <= allowed)
        .map(|name| (distance(folded.as_bytes(), name.replace('-', "_").as_bytes()), name))
        .filter(|(far, _)| *far <= allowed)
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("retry", "rerty", 1),
            ("ab", "ba", 1),
        ] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }

    #[test]
    fn suggestions() {
        let names = ["rd.luks.uuid", "rd.retry", "rd.udev.log_level"];
        for (wrong, expected) in [
            ("rd.luks.uid", Some("rd.luks.uuid")),
            ("rd.rerty", Some("rd.retry")),
            ("rd.udev.log-level", Some("rd.udev.log_level")),
            ("rd.something.else", None),
        ] {
            assert_eq!(nearest(wrong, names.iter().copied()), expected, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn distance_is_a_symmetric_measure(a in "[a-d]{0,8}", b in "[a-d]{0,8}") {
            let there = distance(a.as_bytes(), b.as_bytes());
            prop_assert_eq!(there, distance(b.as_bytes(), a.as_bytes()));
            prop_assert_eq!(there == 0, a == b);
            prop_assert!(there <= a.len().max(b.len()));
        }
    }
}
