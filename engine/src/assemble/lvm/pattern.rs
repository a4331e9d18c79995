//! The patterns of lvm.conf's device filters (lvm2: device_mapper/regex, lib/filters/filter-regex.c).
//!
//! They look like POSIX expressions and are not. There are no counts and no named classes: braces stand for themselves, and
//! `]` ends a set even as its first character. `^` and `$` are characters that lvm2 puts around every path, so that `.` and
//! `[^0-9]` fit them too: `sda.` matches `/dev/sda`.

/// What stands before and after every path (lvm2: HAT_CHAR and DOLLAR_CHAR).
const START: u8 = 2;
const END: u8 = 3;
/// Deepest nesting of parentheses that is read.
const DEEPEST: u8 = 64;

/// A pattern that may match anywhere in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    steps: Vec<Step>,
}

/// What a match does next; after the last one it is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Takes a byte of these.
    Take(Set),
    /// Goes on at either place.
    Fork(usize, usize),
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set([u64; 4]);

impl Set {
    const NONE: Set = Set([0; 4]);

    /// All but these.
    fn all_but(out: &[u8]) -> Set {
        let mut set = Set([u64::MAX; 4]);
        out.iter().for_each(|byte| set.put(*byte, false));
        set
    }

    fn of(byte: u8) -> Set {
        let mut set = Set::NONE;
        set.put(byte, true);
        set
    }

    fn put(&mut self, byte: u8, inside: bool) {
        let bit = 1_u64 << (byte & 63);
        if let Some(word) = self.0.get_mut(usize::from(byte >> 6)) {
            *word = if inside { *word | bit } else { *word & !bit };
        }
    }

    fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte >> 6)).is_some_and(|word| word >> (byte & 63) & 1 == 1)
    }
}

impl Pattern {
    /// Reads `a|PATTERN|` or `r|PATTERN|` with any delimiter; true is `a`. `None` for what lvm2 does not take, or takes for
    /// something that nobody means: an empty branch, a parenthesis that closes nothing.
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
        let pattern = letters.as_str().strip_suffix(end)?;
        Some((accept, Pattern::read(pattern)?))
    }

    fn read(text: &str) -> Option<Pattern> {
        let mut reader = Reader { rest: text.as_bytes(), steps: Vec::new() };
        reader.either(0)?;
        reader.rest.is_empty().then_some(Pattern { steps: reader.steps })
    }

    /// Whether the path has a part that fits. Every byte is looked at once for every step, so there is no blow-up.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let end = self.steps.len();
        let mut now = vec![false; end.saturating_add(1)];
        for byte in std::iter::once(START).chain(path.bytes()).chain([END]) {
            self.enter(&mut now, 0);
            if now.get(end) == Some(&true) {
                return true;
            }
            let mut next = vec![false; now.len()];
            for (at, step) in self.steps.iter().enumerate() {
                if let Step::Take(set) = step
                    && now.get(at) == Some(&true)
                    && set.has(byte)
                {
                    self.enter(&mut next, at.saturating_add(1));
                }
            }
            now = next;
        }
        now.get(end) == Some(&true)
    }

    /// Marks a place, and those that it leads to without a byte.
    fn enter(&self, marks: &mut [bool], place: usize) {
        let mut open = vec![place];
        while let Some(place) = open.pop() {
            let Some(mark) = marks.get_mut(place).filter(|mark| !**mark) else { continue };
            *mark = true;
            if let Some(Step::Fork(one, other)) = self.steps.get(place) {
                open.extend([*one, *other]);
            }
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    steps: Vec<Step>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Branches with `|` between them; none may be empty.
    fn either(&mut self, depth: u8) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        let mut jumps = Vec::new();
        loop {
            let begin = self.steps.len();
            self.sequence(depth)?;
            if self.rest.first() != Some(&b'|') {
                break;
            }
            self.next();
            // A fork before the branch leads to the next one, a jump behind it to the end of all.
            self.make_room(begin);
            let jump = self.steps.len();
            self.steps.push(Step::Fork(0, 0));
            self.set(begin, Step::Fork(begin.saturating_add(1), jump.saturating_add(1)));
            jumps.push(jump);
        }
        let end = self.steps.len();
        jumps.into_iter().for_each(|jump| self.set(jump, Step::Fork(end, end)));
        Some(())
    }

    /// Moves what begins here on by one step.
    fn make_room(&mut self, begin: usize) {
        for step in self.steps.iter_mut().skip(begin) {
            if let Step::Fork(one, other) = step {
                (*one, *other) = (one.saturating_add(1), other.saturating_add(1));
            }
        }
        self.steps.insert(begin, Step::Fork(0, 0));
    }

    fn set(&mut self, place: usize, step: Step) {
        if let Some(old) = self.steps.get_mut(place) {
            *old = step;
        }
    }

    /// Terms up to `|`, `)` or the end; at least one.
    fn sequence(&mut self, depth: u8) -> Option<()> {
        let mut empty = true;
        while let Some(byte) = self.rest.first().copied().filter(|byte| !matches!(byte, b'|' | b')')) {
            empty = false;
            self.next();
            let begin = self.steps.len();
            match byte {
                b'*' | b'+' | b'?' => return None,
                b'(' => {
                    self.either(depth.saturating_add(1))?;
                    self.next().filter(|byte| *byte == b')')?;
                }
                byte => {
                    let set = match byte {
                        b'^' => Set::of(START),
                        b'$' => Set::of(END),
                        b'.' => Set::all_but(b"\n\r\0"),
                        b'[' => self.bracket()?,
                        b'\\' => Set::of(escaped(self.next()?)),
                        byte => Set::of(byte),
                    };
                    self.steps.push(Step::Take(set));
                }
            }
            while let Some(byte @ (b'*' | b'+' | b'?')) = self.rest.first().copied() {
                self.next();
                self.repeat(begin, byte);
            }
        }
        (!empty).then_some(())
    }

    fn repeat(&mut self, begin: usize, how: u8) {
        if how != b'+' {
            self.make_room(begin);
        }
        if how != b'?' {
            self.steps.push(Step::Fork(begin, self.steps.len().saturating_add(1)));
        }
        if how != b'+' {
            self.set(begin, Step::Fork(begin.saturating_add(1), self.steps.len()));
        }
    }

    /// The rest of a `[...]`.
    fn bracket(&mut self) -> Option<Set> {
        let inside = self.rest.first() != Some(&b'^');
        let mut set = Set::NONE;
        if !inside {
            self.next();
            set = Set::all_but(b"\0");
        }
        let mut last = None;
        loop {
            let byte = self.next()?;
            let (low, high) = match (byte, last) {
                (b']', _) => return Some(set),
                (b'\\', _) => {
                    let byte = escaped(self.next()?);
                    (byte, byte)
                }
                (b'-', Some(last)) => (last, self.next()?),
                (byte, _) => (byte, byte),
            };
            (low.min(high)..=low.max(high)).for_each(|byte| set.put(byte, inside));
            last = Some(high);
        }
    }
}

fn escaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    }
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
            // Groups and branches.
            ("r/(sdb|sdc)/", "/dev/sda", false),
            ("r/(sdb|sdc)/", "/dev/sdb", true),
            ("r/(sdb|sdc)/", "/dev/sdc3", true),
            ("a/^/dev/(sd|nvme)[a-z0-9]*$/", "/dev/nvme0n1", true),
            ("a/^/dev/(sd|nvme)[a-z0-9]*$/", "/dev/dm-0", false),
            ("a|loop|nbd|", "/dev/nbd0", true),
            ("a|loop|nbd|", "/dev/sda", false),
            ("a(^/dev/(a|b|(c|d)+e)$)", "/dev/cdcde", true),
            ("a(^/dev/(a|b|(c|d)+e)$)", "/dev/cdcd", false),
            ("a(^/dev/(a|b|(c|d)+e)$)", "/dev/b", true),
            ("a|^/dev/(x(y)?)*$|", "/dev/", true),
            ("a|^/dev/(x(y)?)*$|", "/dev/xyxxy", true),
            ("a|^/dev/(x(y)?)*$|", "/dev/xyy", false),
            ("a|^/dev/a**b$|", "/dev/aab", true),
            ("a|x*|", "/dev/sda", true),
            ("a|^(a+|b*)*c$|", "/dev/c", false),
            ("a|^/dev/(a|b)?c$|", "/dev/abc", false),
            // What is otherwise than in POSIX.
            ("r|sda.|", "/dev/sda", true),
            ("r|sda[^0-9]|", "/dev/sda", true),
            ("r|sda[^0-9]|", "/dev/sda1", false),
            ("a|b{2}|", "/dev/bb", false),
            ("a|b{2}|", "/dev/b{2}", true),
            ("a|x[]y|", "/dev/xy", false),
            ("a|[[:digit:]]|", "/dev/1", false),
            ("a|[[:digit:]]|", "/dev/d]", true),
            ("a|s[c-a]x|", "/dev/sbx", true),
            ("a|a\\tb|", "/dev/atb", false),
            ("a|a$b|", "/dev/ab", false),
        ] {
            let (accept, pattern) = Pattern::rule(rule).expect(rule);
            assert_eq!(accept, rule.starts_with('a'));
            assert_eq!(pattern.matches(path), fits, "{rule} {path}");
        }
        for rule in [
            "", "x|y|", "a", "a|", "a||", "a|b", "a|b|c", "a|*|", "a|[b|", "a|b\\|", "a|(b|", "a|b)|",
            "a|()|", "a|b||", "a/b|/", "a/|b/", "a|b|*|",
        ] {
            assert!(Pattern::rule(rule).is_none(), "{rule}");
        }
        assert!(Pattern::rule(&format!("a|{}|", "(".repeat(10_000))).is_none());
    }

    #[test]
    fn costs_are_bounded() {
        for slow in ["a|.*.*.*.*.*.*.*.*.*.*x$|", "a|((((y*)*)*)*)*x$|", "a|((((y+)+)+)+)+x$|"] {
            let (_, slow) = Pattern::rule(slow).expect("a rule");
            assert!(!slow.matches(&"y".repeat(2000)));
        }
    }
}
