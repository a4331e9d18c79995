//! fnmatch(3) patterns (flags 0) matched one pattern byte at a time.
//!
//! Feeding the pattern instead of the name lets many patterns share the work of their common beginning, which is what
//! a trie of patterns needs. The state is the set of places in the name that the pattern so far can have reached, so
//! no pattern costs more than its length times the length of the name.

/// Longest bracket expression that is understood, in bytes.
const MAX_CLASS: usize = 256;

/// Where in the name the pattern can have reached.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reached {
    /// Exactly one place: true until the first wildcard.
    One(usize),
    /// One bit for each place.
    Many(Vec<u64>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    Plain,
    Escape,
    /// The inside of a bracket expression so far.
    Class(Vec<u8>),
}

/// A pattern, half read, against one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matching {
    reached: Reached,
    mode: Mode,
}

impl Default for Matching {
    fn default() -> Self {
        Self::new()
    }
}

impl Matching {
    /// Nothing of the pattern read yet.
    #[must_use]
    pub fn new() -> Self {
        Matching { reached: Reached::One(0), mode: Mode::Plain }
    }

    /// Reads the next byte of the pattern; `false` when no continuation can match `name` any more.
    pub fn feed(&mut self, byte: u8, name: &[u8]) -> bool {
        match &mut self.mode {
            Mode::Plain => match byte {
                b'*' => {
                    self.star(name.len());
                    true
                }
                b'?' => self.step(name, |_| true),
                b'[' => {
                    self.mode = Mode::Class(Vec::new());
                    true
                }
                b'\\' => {
                    self.mode = Mode::Escape;
                    true
                }
                _ => self.step(name, |c| c == byte),
            },
            Mode::Escape => {
                self.mode = Mode::Plain;
                self.step(name, |c| c == byte)
            }
            Mode::Class(inside) => {
                if byte == b']' && !matches!(inside.as_slice(), [] | [b'!' | b'^'] | [.., b'\\']) {
                    let inside = std::mem::take(inside);
                    self.mode = Mode::Plain;
                    return self.step(name, |c| class_holds(&inside, c));
                }
                inside.push(byte);
                inside.len() <= MAX_CLASS
            }
        }
    }

    /// Whether the pattern, if it ends here, matches all of `name`.
    #[must_use]
    pub fn accepts(&self, name: &[u8]) -> bool {
        self.mode == Mode::Plain
            && match &self.reached {
                Reached::One(at) => *at == name.len(),
                Reached::Many(bits) => has(bits, name.len()),
            }
    }

    /// The only literal byte that can come next, when there is just one; wildcards can always come.
    #[must_use]
    pub fn only_literal(&self, name: &[u8]) -> Option<Option<u8>> {
        match (&self.reached, &self.mode) {
            (Reached::One(at), Mode::Plain) => Some(name.get(*at).copied()),
            _ => None,
        }
    }

    fn star(&mut self, len: usize) {
        let first = match &self.reached {
            Reached::One(at) => Some(*at),
            Reached::Many(bits) => (0..=len).find(|place| has(bits, *place)),
        };
        let mut bits = vec![0; len / 64 + 1];
        for place in first.unwrap_or(len.saturating_add(1))..=len {
            set(&mut bits, place);
        }
        self.reached = Reached::Many(bits);
    }

    fn step(&mut self, name: &[u8], fits: impl Fn(u8) -> bool) -> bool {
        match &mut self.reached {
            Reached::One(at) => {
                let alive = name.get(*at).is_some_and(|c| fits(*c));
                *at = at.saturating_add(1);
                alive
            }
            Reached::Many(bits) => {
                let mut next = vec![0; bits.len()];
                let mut alive = false;
                for (place, c) in name.iter().enumerate() {
                    if has(bits, place) && fits(*c) {
                        set(&mut next, place.saturating_add(1));
                        alive = true;
                    }
                }
                *bits = next;
                alive
            }
        }
    }
}

fn has(bits: &[u64], place: usize) -> bool {
    bits.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
}

fn set(bits: &mut [u64], place: usize) {
    if let Some(word) = bits.get_mut(place / 64) {
        *word |= 1 << (place % 64);
    }
}

/// Whether the bracket expression with this inside holds `c`.
fn class_holds(inside: &[u8], c: u8) -> bool {
    let (negated, mut rest) = match inside {
        [b'!' | b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut held = false;
    while let [first, tail @ ..] = rest {
        let (low, tail) = match (first, tail) {
            (b'\\', [escaped, tail @ ..]) => (*escaped, tail),
            _ => (*first, tail),
        };
        let (high, tail) = match tail {
            [b'-', b'\\', escaped, tail @ ..] => (*escaped, tail),
            [b'-', high, tail @ ..] => (*high, tail),
            _ => (low, tail),
        };
        held |= (low..=high).contains(&c);
        rest = tail;
    }
    held != negated
}

/// Whether `pattern` matches all of `name`.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut state = Matching::new();
    pattern.bytes().all(|byte| state.feed(byte, name.as_bytes())) && state.accepts(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*", "a", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbd", false),
            ("*", "", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[abc", "a", false),
            ("pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00001AF4d00001042sv00001AF4sd00001100bc01sc00i00", true),
            (
                "usb:v0D8Cp0103d*dc*dsc*dp*ic08isc06ip50in*",
                "usb:v0D8Cp0103d0100dc00dsc00dp00ic08isc06ip50in00",
                true,
            ),
            (
                "cpu:type:x86,ven*fam*mod*:feature:*0081*",
                "cpu:type:x86,ven0000fam0006mod003A:feature:,0000,0081,",
                true,
            ),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} against {name}");
        }
    }

    /// The textbook definition, exponential but obvious.
    fn slow(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], rest) => rest.is_empty(),
            ([b'*', tail @ ..], _) => (0..=name.len()).any(|n| slow(tail, &name[n..])),
            ([b'?', tail @ ..], [_, rest @ ..]) => slow(tail, rest),
            ([p, tail @ ..], [c, rest @ ..]) => p == c && slow(tail, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?]{0,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &name), slow(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn never_panics(pattern in "\\PC*", name in "\\PC*") {
            let _ = matches(&pattern, &name);
        }
    }
}
