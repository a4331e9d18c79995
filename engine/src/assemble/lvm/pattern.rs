//! The patterns of lvm.conf's device filters: a small part of regular expressions (lvm2: device_mapper/regex).

/// A pattern that may match anywhere in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    from_start: bool,
    to_end: bool,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    what: What,
    least: usize,
    many: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Any,
    Byte(u8),
    /// Ranges; the flag says that those outside match.
    Class(Vec<(u8, u8)>, bool),
}

impl What {
    fn fits(&self, byte: u8) -> bool {
        match self {
            What::Any => true,
            What::Byte(own) => *own == byte,
            What::Class(ranges, outside) => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte)) != *outside
            }
        }
    }
}

impl Pattern {
    /// Reads `a|PATTERN|` or `r|PATTERN|` with any delimiter; true is `a`. `None` for what this version cannot read:
    /// groups, alternatives, counts.
    #[must_use]
    pub fn rule(text: &str) -> Option<(bool, Pattern)> {
        let mut letters = text.chars();
        let accept = match letters.next()? {
            'a' => true,
            'r' => false,
            _ => return None,
        };
        let end = match letters.next()? {
            '(' => ')',
            '[' => ']',
            '{' => '}',
            same => same,
        };
        let (pattern, _) = letters.as_str().rsplit_once(end)?;
        Some((accept, Pattern::read(pattern)?))
    }

    fn read(text: &str) -> Option<Pattern> {
        let inner = text.strip_prefix('^').unwrap_or(text);
        let body = inner.strip_suffix('$').filter(|body| !body.ends_with('\\')).unwrap_or(inner);
        let mut pieces: Vec<Piece> = Vec::new();
        let mut bytes = body.bytes();
        while let Some(byte) = bytes.next() {
            let what = match byte {
                b'*' | b'+' | b'?' => {
                    let last = pieces.last_mut()?;
                    last.least = usize::from(byte == b'+');
                    last.many = byte != b'?';
                    continue;
                }
                b'(' | b')' | b'|' | b'{' | b'}' | b'^' | b'$' => return None,
                b'.' => What::Any,
                b'[' => class(&mut bytes)?,
                b'\\' => What::Byte(bytes.next()?),
                other => What::Byte(other),
            };
            pieces.push(Piece { what, least: 1, many: false });
        }
        Some(Pattern { from_start: inner.len() < text.len(), to_end: body.len() < inner.len(), pieces })
    }

    /// Whether the path has a part that fits.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let path = path.as_bytes();
        let starts = if self.from_start { 0..=0 } else { 0..=path.len() };
        // Positions in the path at which the pieces so far may end: no backtracking, so no blow-up.
        let mut ends = vec![false; path.len().saturating_add(1)];
        starts.for_each(|at| mark(&mut ends, at));
        for piece in &self.pieces {
            let mut next = vec![false; ends.len()];
            for at in (0..ends.len()).filter(|at| ends.get(*at) == Some(&true)) {
                if piece.least == 0 {
                    mark(&mut next, at);
                }
                let fitting = path.iter().skip(at).take_while(|byte| piece.what.fits(**byte)).count();
                let most = if piece.many { fitting } else { fitting.min(1) };
                (1..=most).for_each(|more| mark(&mut next, at.saturating_add(more)));
            }
            ends = next;
        }
        if self.to_end { ends.last() == Some(&true) } else { ends.contains(&true) }
    }
}

fn mark(ends: &mut [bool], at: usize) {
    if let Some(end) = ends.get_mut(at) {
        *end = true;
    }
}

/// The rest of a `[...]`.
fn class(bytes: &mut std::str::Bytes<'_>) -> Option<What> {
    let mut members = Vec::new();
    let mut outside = false;
    loop {
        match bytes.next()? {
            b'^' if members.is_empty() && !outside => outside = true,
            b']' if !members.is_empty() => break,
            b'\\' => members.push(bytes.next()?),
            byte => members.push(byte),
        }
    }
    let mut ranges = Vec::new();
    let mut rest = members.as_slice();
    while let Some((first, tail)) = rest.split_first() {
        match tail {
            [b'-', last, more @ ..] => {
                ranges.push((*first, *last));
                rest = more;
            }
            _ => {
                ranges.push((*first, *first));
                rest = tail;
            }
        }
    }
    Some(What::Class(ranges, outside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (rule, path, fits) in [
            ("a|.*|", "/dev/sda", true),
            ("r|/dev/sdb|", "/dev/sdb", true),
            ("r|/dev/sdb|", "/dev/sdb1", true),
            ("r|/dev/sdb$|", "/dev/sdb1", false),
            ("r|^/dev/sd[a-c][0-9]+$|", "/dev/sdb12", true),
            ("r|^/dev/sd[a-c][0-9]+$|", "/dev/sdb", false),
            ("r|^/dev/sd[^a-c]|", "/dev/sdb", false),
            ("r|^/dev/sd[^a-c]|", "/dev/sdd", true),
            ("a/disk\\.x/", "/dev/diskyx", false),
            ("a/disk\\.x/", "/dev/disk.x", true),
            ("a|^dev|", "/dev/sda", false),
            ("a|/dev/x?sda|", "/dev/sda", true),
            ("a{nvme.*n1}", "/dev/nvme0n1", true),
            ("a|[-]x|", "/dev/-x", true),
        ] {
            let (accept, pattern) = Pattern::rule(rule).expect(rule);
            assert_eq!(accept, rule.starts_with('a'));
            assert_eq!(pattern.matches(path), fits, "{rule} {path}");
        }
        for rule in ["", "x|y|", "a", "a|b", "a|(b)|", "a|b|c|", "a|*|", "a|[b|", "a|b\\|", "a|b{2}|"] {
            assert!(Pattern::rule(rule).is_none(), "{rule}");
        }
        let (_, slow) = Pattern::rule("a|.*.*.*.*.*.*.*.*.*.*x$|").expect("a rule");
        assert!(!slow.matches(&"y".repeat(2000)));
    }
}
