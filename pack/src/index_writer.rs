//! Writer of kmod's binary index; [`ondisk::kmod::index`] describes and reads it.

use ondisk::kmod::index::{MAGIC, NODE_CHILDS, NODE_PREFIX, NODE_VALUES, VERSION};

/// One key with its values, each with its priority.
pub type Entry = (String, Vec<(u32, String)>);

/// Writes an index. Values of one key are put in order of priority; keys may come in any order, each once.
#[must_use]
pub fn write(mut entries: Vec<Entry>) -> Vec<u8> {
    entries.sort();
    for (_, values) in &mut entries {
        values.sort();
    }
    let mut out = Vec::new();
    for word in [MAGIC, VERSION, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    let root = node(&mut out, &entries, 0);
    out[8..12].copy_from_slice(&root.to_be_bytes());
    out
}

/// Writes the node for all `entries`, whose keys agree in their first `depth` bytes; returns offset and flags.
fn node(out: &mut Vec<u8>, entries: &[Entry], depth: usize) -> u32 {
    // Sorted keys have in common what the first and the last have in common.
    let (first, last) = match entries {
        [] => return empty_root(out),
        [only] => (only.0.as_bytes(), only.0.as_bytes()),
        [first, .., last] => (first.0.as_bytes(), last.0.as_bytes()),
    };
    let common = first[depth..].iter().zip(&last[depth..]).take_while(|(a, b)| a == b).count();
    let prefix = &first[depth..depth + common];
    let depth = depth + common;
    let (here, below) = match entries {
        [own, below @ ..] if own.0.len() == depth => (Some(&own.1), below),
        below => (None, below),
    };
    let mut children: Vec<(u8, u32)> = Vec::new();
    for group in below.chunk_by(|a, b| a.0.as_bytes()[depth] == b.0.as_bytes()[depth]) {
        let byte = group[0].0.as_bytes()[depth];
        children.push((byte, node(out, group, depth + 1)));
    }
    let mut offset = u32::try_from(out.len()).unwrap_or(0);
    if !prefix.is_empty() {
        offset |= NODE_PREFIX;
        out.extend_from_slice(prefix);
        out.push(0);
    }
    if let [(first, _), ..] = children.as_slice() {
        offset |= NODE_CHILDS;
        let last = children.last().map_or(*first, |(byte, _)| *byte);
        out.extend_from_slice(&[*first, last]);
        let mut next = children.iter().peekable();
        for byte in *first..=last {
            let child = next.next_if(|(b, _)| *b == byte).map_or(0, |(_, child)| *child);
            out.extend_from_slice(&child.to_be_bytes());
        }
    }
    if let Some(values) = here {
        offset |= NODE_VALUES;
        out.extend_from_slice(&u32::try_from(values.len()).unwrap_or(0).to_be_bytes());
        for (priority, value) in values {
            out.extend_from_slice(&priority.to_be_bytes());
            out.extend_from_slice(value.as_bytes());
            out.push(0);
        }
    }
    offset
}

/// kmod takes a root without any flag for a missing node, so an empty index gets a root with no values.
fn empty_root(out: &mut Vec<u8>) -> u32 {
    let offset = u32::try_from(out.len()).unwrap_or(0) | NODE_VALUES;
    out.extend_from_slice(&0_u32.to_be_bytes());
    offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use ondisk::kmod::Index;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn empty() {
        let index = Index::parse(write(Vec::new())).unwrap();
        assert_eq!(index.search("x"), Ok(None));
        assert_eq!(index.dump().unwrap(), []);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            map in prop::collection::btree_map("[ab\\*\u{e9}:]{0,6}", prop::collection::btree_set((0u32..9, "[a-z]{1,3}"), 1..3), 0..20),
            name in "[ab:]{0,6}",
        ) {
            let map: BTreeMap<String, Vec<(u32, String)>> =
                map.into_iter().map(|(key, values)| (key, values.into_iter().collect())).collect();
            let index = Index::parse(write(map.clone().into_iter().collect())).unwrap();
            let dump: BTreeMap<String, Vec<(u32, String)>> = index.dump().unwrap().into_iter()
                .map(|(key, values)| (key, values.iter().map(|m| (m.priority, m.value.to_owned())).collect()))
                .collect();
            prop_assert_eq!(&dump, &map);
            for (key, values) in &map {
                prop_assert_eq!(index.search(key).unwrap(), Some(values[0].1.as_str()));
            }
            // The walk of the trie finds what trying every pattern finds.
            let mut expected: Vec<&str> = map.iter()
                .filter(|(pattern, _)| ondisk::kmod::glob::matches(pattern, &name))
                .flat_map(|(_, values)| values.iter().map(|(_, value)| value.as_str()))
                .collect();
            expected.sort_unstable();
            expected.dedup();
            let mut found: Vec<&str> = index.search_wild(&name).unwrap().iter().map(|m| m.value).collect();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
