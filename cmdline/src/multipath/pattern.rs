//! POSIX extended regular expressions (regex(7)), as multipath.conf(5) uses them; without back-references and
//! equivalence classes. A search takes a bounded number of steps.

use std::fmt;

/// Longest pattern that is taken, in bytes.
const LONGEST: usize = 512;
/// Deepest nesting of parentheses.
const DEEPEST: u8 = 16;
/// Longest text that is searched; ids and names are shorter.
const LONGEST_TEXT: usize = 256;
/// Most repetitions in `{}` (RE_DUP_MAX).
const MOST: u32 = 255;
/// Steps of one search; what needs more does not match.
const MOST_STEPS: u32 = 50_000;

/// A compiled expression that matches anywhere in a text unless it is anchored.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    node: Node,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Start,
    End,
    Any,
    Byte(u8),
    /// Inclusive ranges, and whether the set is inverted.
    Set(Vec<(u8, u8)>, bool),
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    /// At least, at most.
    Repeat(Box<Node>, u32, Option<u32>),
}

/// Positions in the text at which a match may stand; one flag more than the text has bytes.
type Positions = Vec<bool>;

impl Pattern {
    /// Reads an expression; `None` if it is none or too large.
    #[must_use]
    pub fn new(text: &str) -> Option<Pattern> {
        let mut reader = Reader { rest: text.as_bytes() };
        let node = (text.len() <= LONGEST).then(|| reader.either(0)).flatten()?;
        reader.rest.is_empty().then(|| Pattern { text: text.to_owned(), node })
    }

    /// The text that it was made from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches anywhere in `text`.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        let text = text.as_bytes();
        let text = text.get(..LONGEST_TEXT).unwrap_or(text);
        let mut steps = MOST_STEPS;
        walk(&self.node, text, vec![true; text.len().saturating_add(1)], &mut steps).contains(&true)
            && steps > 0
    }
}

/// Where the text may stand after the node, given where it may stand before.
fn walk(node: &Node, text: &[u8], from: Positions, steps: &mut u32) -> Positions {
    *steps = steps.saturating_sub(1);
    if *steps == 0 {
        return from;
    }
    let step = |fits: &dyn Fn(u8) -> bool| -> Positions {
        let moved = from.iter().zip(text).map(|(on, byte)| *on && fits(*byte));
        std::iter::once(false).chain(moved).collect()
    };
    match node {
        Node::Start => from.iter().enumerate().map(|(at, on)| *on && at == 0).collect(),
        Node::End => from.iter().enumerate().map(|(at, on)| *on && at == text.len()).collect(),
        Node::Any => step(&|_| true),
        Node::Byte(wanted) => step(&|byte| byte == *wanted),
        Node::Set(ranges, inverted) => {
            step(&|byte| ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte)) != *inverted)
        }
        Node::Sequence(nodes) => nodes.iter().fold(from, |at, node| walk(node, text, at, steps)),
        Node::Either(nodes) => nodes
            .iter()
            .map(|node| walk(node, text, from.clone(), steps))
            .reduce(|mut all, more| {
                unite(&mut all, &more);
                all
            })
            .unwrap_or(from),
        Node::Repeat(node, least, most) => {
            let mut at = from;
            for _ in 0..*least {
                at = walk(node, text, at, steps);
            }
            let mut all = at.clone();
            let mut left = most.map(|most| most.saturating_sub(*least));
            while left != Some(0) {
                at = walk(node, text, at, steps);
                if !unite(&mut all, &at) {
                    break;
                }
                left = left.map(|left| left.saturating_sub(1));
            }
            all
        }
    }
}

/// Adds positions; returns whether any is new.
fn unite(all: &mut Positions, more: &Positions) -> bool {
    let mut grown = false;
    for (one, other) in all.iter_mut().zip(more) {
        grown |= *other && !*one;
        *one |= *other;
    }
    grown
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let eaten = self.rest.first() == Some(&byte);
        if eaten {
            self.next();
        }
        eaten
    }

    fn either(&mut self, depth: u8) -> Option<Node> {
        if depth > DEEPEST {
            return None;
        }
        let mut branches = vec![self.sequence(depth)?];
        while self.eat(b'|') {
            branches.push(self.sequence(depth)?);
        }
        if branches.len() > 1 { Some(Node::Either(branches)) } else { branches.pop() }
    }

    fn sequence(&mut self, depth: u8) -> Option<Node> {
        let mut nodes = Vec::new();
        while let Some(byte) = self.rest.first().copied() {
            if byte == b'|' || (byte == b')' && depth > 0) {
                break;
            }
            self.next();
            let node = match byte {
                b'^' => Node::Start,
                b'$' => Node::End,
                b'.' => Node::Any,
                b'[' => self.set()?,
                b'\\' => Node::Byte(self.next()?),
                b'(' => {
                    let inner = self.either(depth.saturating_add(1))?;
                    if !self.eat(b')') {
                        return None;
                    }
                    inner
                }
                b'*' | b'+' | b'?' => return None,
                byte => Node::Byte(byte),
            };
            let node = self.repeated(node)?;
            nodes.push(node);
        }
        Some(Node::Sequence(nodes))
    }

    fn repeated(&mut self, node: Node) -> Option<Node> {
        let (least, most) = match self.rest {
            [b'*', ..] => (0, None),
            [b'+', ..] => (1, None),
            [b'?', ..] => (0, Some(1)),
            [b'{', b'0'..=b'9', ..] => {
                self.next();
                let end = self.rest.iter().position(|byte| *byte == b'}')?;
                let bounds = std::str::from_utf8(self.rest.get(..end)?).ok()?;
                // The brace itself is taken below.
                self.rest = self.rest.get(end..)?;
                let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number <= MOST);
                match bounds.split_once(',') {
                    None => (number(bounds)?, Some(number(bounds)?)),
                    Some((least, "")) => (number(least)?, None),
                    Some((least, most)) => (number(least)?, Some(number(most)?)),
                }
            }
            _ => return Some(node),
        };
        self.next();
        // Repeating a repetition would multiply the costs.
        let again = matches!(self.rest, [b'*' | b'+' | b'?', ..] | [b'{', b'0'..=b'9', ..]);
        let ordered = most.is_none_or(|most| least <= most);
        (ordered && !again).then(|| Node::Repeat(Box::new(node), least, most))
    }

    fn set(&mut self) -> Option<Node> {
        let inverted = self.eat(b'^');
        let mut ranges = Vec::new();
        let mut first = true;
        loop {
            let low = self.next()?;
            match (low, self.rest) {
                (b']', _) if !first => return Some(Node::Set(ranges, inverted)),
                (b'[', [b':', ..]) => {
                    let end = self.rest.windows(2).position(|pair| pair == b":]")?;
                    ranges.extend_from_slice(class(self.rest.get(1..end)?)?);
                    self.rest = self.rest.get(end.checked_add(2)?..)?;
                }
                (low, [b'-', high, ..]) if *high != b']' => {
                    ranges.push((low, *high));
                    self.rest = self.rest.get(2..)?;
                }
                (low, _) => ranges.push((low, low)),
            }
            first = false;
        }
    }
}

fn class(name: &[u8]) -> Option<&'static [(u8, u8)]> {
    Some(match name {
        b"digit" => &[(b'0', b'9')],
        b"alpha" => &[(b'a', b'z'), (b'A', b'Z')],
        b"alnum" => &[(b'a', b'z'), (b'A', b'Z'), (b'0', b'9')],
        b"lower" => &[(b'a', b'z')],
        b"upper" => &[(b'A', b'Z')],
        b"xdigit" => &[(b'0', b'9'), (b'a', b'f'), (b'A', b'F')],
        b"space" => &[(b' ', b' '), (9, 13)],
        b"blank" => &[(b' ', b' '), (9, 9)],
        b"punct" => &[(b'!', b'/'), (b':', b'@'), (b'[', b'`'), (b'{', b'~')],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grep_says() {
        for (pattern, text, expected) in [
            ("", "x", true),
            ("b", "abc", true),
            ("^b", "abc", false),
            ("c$", "abc", true),
            ("a.c", "abc", true),
            ("a.c", "ac", false),
            (".*", "", true),
            ("^sd[a-z]", "sda", true),
            ("^(sd[a-z]|dasd[a-z]|nvme[0-9])", "vda", false),
            ("^(sd[a-z]|dasd[a-z]|nvme[0-9])", "nvme0n1", true),
            ("(HP|HPE)", "HPE", true),
            ("MSA [12]0[4567]0 (SAN|SAS|FC|iSCSI)", "MSA 2050 SAN", true),
            ("MSA [12]0[4567]0 (SAN|SAS|FC|iSCSI)", "MSA 3050 SAN", false),
            ("3303[ ]+NVDISK", "3303   NVDISK", true),
            ("SAN ARRAY$", "SAN ARRAY ALUA", false),
            ("P2000G3 FC/iSCSI", "P2000G3 FC/iSCSI", true),
            ("[^a]", "aaa", false),
            ("[^a]", "aba", true),
            ("[]x]y", "]y", true),
            ("[a-]", "-", true),
            ("[[:digit:]]{3}", "ab12", false),
            ("[[:digit:]]{3}", "ab123", true),
            ("^a{2,3}$", "aaaa", false),
            ("^a{2,3}$", "aaa", true),
            ("^a{2,}$", "aaaa", true),
            ("^(a*)*$", "aaaa", true),
            ("^(a|ab)(c|bcd)$", "abcd", true),
            ("a\\.b", "axb", false),
            ("a\\.b", "a.b", true),
            ("a{", "a{", true),
            ("^360[0-9a-f]{14}$", "3600140512345678a", true),
        ] {
            let compiled = Pattern::new(pattern).unwrap_or_else(|| panic!("{pattern}"));
            assert_eq!(compiled.is_in(text), expected, "{pattern} in {text}");
        }
    }

    #[test]
    fn what_is_no_expression() {
        for text in ["(", "a(b", "[", "[a", "*", "a**", "a{3,2}", "a{256}", "\\", "[[:word:]]", "(|*)"] {
            assert!(Pattern::new(text).is_none(), "{text}");
        }
        assert!(Pattern::new(&"(".repeat(400)).is_none());
        assert!(Pattern::new(&"a".repeat(600)).is_none());
    }

    #[test]
    fn costs_are_bounded() {
        let pattern = Pattern::new("((((a*)*)*)*)*((((a+)+)+)+)+b").expect("a pattern");
        assert!(!pattern.is_in(&"a".repeat(10_000)));
        // 255 to the fourth would take for ever.
        let pattern = Pattern::new("((((a?){255}){255}){255}){255}").expect("a pattern");
        assert!(!pattern.is_in(&"a".repeat(300)));
    }
}
