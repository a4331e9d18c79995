//! kmod's binary index: a trie of module names or alias patterns (libkmod/libkmod-index.c, version 2.1).
//!
//! All integers are big-endian. After magic, version and the offset of the root node, nodes follow. The upper four
//! bits of a node's offset say which parts it has, in this order: a NUL-terminated prefix, a range of children
//! (first byte, last byte, one offset each), and values (a count, then priority and NUL-terminated string each).

use super::glob::Matching;
use super::{KmodError, MAX_NAME};

/// First four bytes of an index.
pub const MAGIC: u32 = 0xB007_F457;
/// The one version that exists: 2.1.
pub const VERSION: u32 = 0x0002_0001;
/// Node has a prefix.
pub const NODE_PREFIX: u32 = 0x8000_0000;
/// Node has values.
pub const NODE_VALUES: u32 = 0x4000_0000;
/// Node has children.
pub const NODE_CHILDS: u32 = 0x2000_0000;
/// The offset proper.
pub const NODE_MASK: u32 = 0x0FFF_FFFF;

/// More branches than any real search keeps open; a corrupt file stops here.
const MAX_OPEN: usize = 1 << 16;

/// One value that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match<'a> {
    /// Lower comes first; depmod uses the position in its load order.
    pub priority: u32,
    /// The value: a module name, or a line of modules.dep.
    pub value: &'a str,
}

/// An index in memory.
#[derive(Debug, Clone)]
pub struct Index<D = Vec<u8>> {
    data: D,
    root: u32,
}

struct Node<'a> {
    prefix: &'a [u8],
    first: u8,
    /// Offsets, four bytes each.
    children: &'a [u8],
    values: &'a [u8],
    value_count: u32,
}

impl<'a> Node<'a> {
    /// Offset of the child for `byte`; 0 is no child.
    fn child(&self, byte: u8) -> u32 {
        byte.checked_sub(self.first)
            .map(|n| usize::from(n) * 4)
            .and_then(|at| self.children.get(at..at + 4))
            .map_or(0, be32)
    }

    fn children(&self) -> impl DoubleEndedIterator<Item = (u8, u32)> + 'a {
        let first = self.first;
        let offsets = self.children.chunks_exact(4).map(be32).enumerate();
        offsets.filter_map(move |(n, offset)| {
            let byte = u8::try_from(n).ok().and_then(|n| first.checked_add(n))?;
            (offset != 0).then_some((byte, offset))
        })
    }

    fn values(&self) -> Result<Vec<Match<'a>>, KmodError> {
        let mut rest = self.values;
        let mut found = Vec::new();
        for _ in 0..self.value_count {
            let (priority, tail) = rest.split_first_chunk::<4>().ok_or(KmodError::Truncated)?;
            let (value, tail) = until_nul(tail)?;
            rest = tail;
            if let Ok(value) = std::str::from_utf8(value) {
                found.push(Match { priority: u32::from_be_bytes(*priority), value });
            }
        }
        Ok(found)
    }
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<4>().map_or(0, |four| u32::from_be_bytes(*four))
}

fn until_nul(bytes: &[u8]) -> Result<(&[u8], &[u8]), KmodError> {
    let end = bytes.iter().position(|b| *b == 0).ok_or(KmodError::Truncated)?;
    match (bytes.get(..end), bytes.get(end + 1..)) {
        (Some(text), Some(rest)) => Ok((text, rest)),
        _ => Err(KmodError::Truncated),
    }
}

impl<D: AsRef<[u8]>> Index<D> {
    /// Takes a whole `modules.*.bin` file.
    ///
    /// # Errors
    /// Wrong magic, unknown version, or too short for a header.
    pub fn parse(data: D) -> Result<Self, KmodError> {
        let header = data.as_ref().get(..12).ok_or(KmodError::NotAnIndex)?;
        let field = |n: usize| header.get(n * 4..).map_or(0, be32);
        if field(0) != MAGIC {
            return Err(KmodError::NotAnIndex);
        }
        if field(1) != VERSION {
            return Err(KmodError::IndexVersion(field(1)));
        }
        let root = field(2);
        Ok(Index { data, root })
    }

    fn node(&self, offset: u32) -> Result<Node<'_>, KmodError> {
        let start = usize::try_from(offset & NODE_MASK).map_err(|_| KmodError::Truncated)?;
        let mut rest = self.data.as_ref().get(start..).ok_or(KmodError::Truncated)?;
        let mut node = Node { prefix: &[], first: 0, children: &[], values: &[], value_count: 0 };
        if offset & NODE_PREFIX != 0 {
            (node.prefix, rest) = until_nul(rest)?;
        }
        if offset & NODE_CHILDS != 0 {
            let ([first, last], tail) = rest.split_first_chunk::<2>().ok_or(KmodError::Truncated)?;
            let count = usize::from(last.checked_sub(*first).ok_or(KmodError::Corrupt)?) + 1;
            (node.children, rest) = tail.split_at_checked(count * 4).ok_or(KmodError::Truncated)?;
            node.first = *first;
        }
        if offset & NODE_VALUES != 0 {
            let (count, tail) = rest.split_first_chunk::<4>().ok_or(KmodError::Truncated)?;
            (node.value_count, node.values) = (u32::from_be_bytes(*count), tail);
        }
        Ok(node)
    }

    /// The value of exactly this key, without regard to wildcards; the one of lowest priority if there are several.
    ///
    /// # Errors
    /// The file is cut short or contradicts itself.
    pub fn search(&self, key: &str) -> Result<Option<&str>, KmodError> {
        let mut key = key.as_bytes();
        let mut offset = self.root;
        // Every turn but the first uses up one byte of the key, so a loop in the file cannot hold us.
        loop {
            let node = self.node(offset)?;
            let Some(rest) = key.strip_prefix(node.prefix) else { return Ok(None) };
            let Some((byte, rest)) = rest.split_first() else {
                return Ok(node.values()?.first().map(|found| found.value));
            };
            offset = node.child(*byte);
            if offset == 0 {
                return Ok(None);
            }
            key = rest;
        }
    }

    /// All values whose key, read as an fnmatch(3) pattern, matches `name`: by priority, each value once.
    ///
    /// The trie is walked with all patterns at once; only branches that can still match are entered.
    ///
    /// # Errors
    /// The file is cut short, contradicts itself, or has more open branches than a real index can have.
    pub fn search_wild(&self, name: &str) -> Result<Vec<Match<'_>>, KmodError> {
        let name = name.as_bytes();
        if name.len() >= MAX_NAME {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        let mut open = vec![(self.root, Matching::new())];
        // In a well-formed trie every byte of the file is looked at no more than once.
        let mut budget = self.data.as_ref().len();
        while let Some((offset, mut state)) = open.pop() {
            let node = self.node(offset)?;
            let cost = 1 + node.prefix.len() + node.children.len();
            budget = budget.checked_sub(cost).ok_or(KmodError::Corrupt)?;
            if !node.prefix.iter().all(|byte| state.feed(*byte, name)) {
                continue;
            }
            if state.accepts(name) {
                let values = node.values()?;
                budget = budget.checked_sub(values.len() * 4).ok_or(KmodError::Corrupt)?;
                found.extend(values);
            }
            let mut enter = |byte: u8, offset: u32| {
                let mut state = state.clone();
                if state.feed(byte, name) {
                    open.push((offset, state));
                }
            };
            if let Some(literal) = state.only_literal(name) {
                let wild = *b"*?[\\";
                for byte in wild.into_iter().chain(literal.filter(|c| !wild.contains(c))) {
                    match node.child(byte) {
                        0 => {}
                        offset => enter(byte, offset),
                    }
                }
            } else {
                node.children().for_each(|(byte, offset)| enter(byte, offset));
            }
            if open.len() > MAX_OPEN {
                return Err(KmodError::Corrupt);
            }
        }
        found.sort_unstable();
        found.dedup_by(|later, earlier| later == earlier);
        let mut seen = std::collections::BTreeSet::new();
        found.retain(|m| seen.insert(m.value));
        Ok(found)
    }

    /// Every key with its values, ascending by key.
    ///
    /// # Errors
    /// The file is cut short, contradicts itself, or holds a key longer than [`MAX_NAME`].
    pub fn dump(&self) -> Result<Vec<(String, Vec<Match<'_>>)>, KmodError> {
        let mut all = Vec::new();
        let mut key: Vec<u8> = Vec::new();
        let mut open = vec![(self.root, 0_usize, None)];
        let mut budget = self.data.as_ref().len();
        while let Some((offset, depth, byte)) = open.pop() {
            let node = self.node(offset)?;
            budget =
                budget.checked_sub(1 + node.prefix.len() + node.children.len()).ok_or(KmodError::Corrupt)?;
            key.truncate(depth);
            key.extend(byte);
            key.extend_from_slice(node.prefix);
            if key.len() > MAX_NAME {
                return Err(KmodError::Corrupt);
            }
            let values = node.values()?;
            budget = budget.checked_sub(values.len() * 4).ok_or(KmodError::Corrupt)?;
            if !values.is_empty() {
                all.push((String::from_utf8_lossy(&key).into_owned(), values));
            }
            open.extend(node.children().rev().map(|(byte, offset)| (offset, key.len(), Some(byte))));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(out: &mut Vec<u8>, value: u32) {
        out.extend_from_slice(&value.to_be_bytes());
    }

    /// `a*` -> one (2), `ab` -> two (1), under a root without a prefix.
    fn small() -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, MAGIC);
        put(&mut out, VERSION);
        put(&mut out, 0);
        let leaf = |out: &mut Vec<u8>, priority: u32, value: &str| {
            let at = u32::try_from(out.len()).unwrap() | NODE_VALUES;
            put(out, 1);
            put(out, priority);
            out.extend_from_slice(value.as_bytes());
            out.push(0);
            at
        };
        let star = leaf(&mut out, 2, "one");
        let b = leaf(&mut out, 1, "two");
        let root = u32::try_from(out.len()).unwrap() | NODE_PREFIX | NODE_CHILDS;
        out.extend_from_slice(b"a\0");
        out.extend_from_slice(b"*b");
        for c in b'*'..=b'b' {
            put(
                &mut out,
                if c == b'*' {
                    star
                } else if c == b'b' {
                    b
                } else {
                    0
                },
            );
        }
        out[8..12].copy_from_slice(&root.to_be_bytes());
        out
    }

    #[test]
    fn exact_and_wild() {
        let index = Index::parse(small()).unwrap();
        assert_eq!(index.search("ab"), Ok(Some("two")));
        assert_eq!(index.search("a*"), Ok(Some("one")));
        assert_eq!(index.search("a"), Ok(None));
        let values =
            |name: &str| index.search_wild(name).unwrap().iter().map(|m| m.value).collect::<Vec<_>>();
        assert_eq!(values("ab"), ["two", "one"]);
        assert_eq!(values("a"), ["one"]);
        assert_eq!(values("axyz"), ["one"]);
        assert_eq!(values("b"), [""; 0]);
        let keys: Vec<_> = index.dump().unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a*", "ab"]);
    }

    #[test]
    fn a_loop_ends() {
        let mut bytes = small();
        let root = bytes[8..12].to_vec();
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&root);
        let index = Index::parse(bytes).unwrap();
        assert_eq!(index.search(&"ab".repeat(9)), Ok(None));
        assert_eq!(index.dump().err(), Some(KmodError::Corrupt));
        let mut bytes = small();
        let star = bytes.len() - 4 * usize::from(b'b' - b'*' + 1);
        bytes[star..star + 4].copy_from_slice(&root);
        let index = Index::parse(bytes).unwrap();
        assert_eq!(index.search_wild(&"a".repeat(100)), Err(KmodError::Corrupt));
    }

    #[test]
    fn foreign_files_are_refused() {
        assert_eq!(Index::parse(&b""[..]).err(), Some(KmodError::NotAnIndex));
        assert_eq!(Index::parse(&[0; 64][..]).err(), Some(KmodError::NotAnIndex));
        let mut bytes = small();
        bytes[5] = 9;
        assert_eq!(Index::parse(bytes).err(), Some(KmodError::IndexVersion(0x0009_0001)));
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 8usize..300, byte: u8, name in "[ab*]{0,12}") {
            let mut bytes = small();
            let len = bytes.len();
            bytes[at % len] = byte;
            if let Ok(index) = Index::parse(bytes) {
                let _ = index.search(&name);
                let _ = index.search_wild(&name);
                let _ = index.dump();
            }
        }
    }
}
