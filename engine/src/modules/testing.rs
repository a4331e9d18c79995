//! A small kernel tree for the tests.

use cmdline::plan::ModulePlan;
use ondisk::kmod::index::{MAGIC, NODE_CHILDS, NODE_PREFIX, NODE_VALUES, VERSION};
use ondisk::kmod::{Config, alias_name, name_of_path};

use super::{Catalog, Files};

/// Writes an index the simple way: every key its own chain of nodes below one node per byte.
pub(crate) fn index(entries: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [MAGIC, VERSION, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    let all: Vec<(&[u8], u32, &str)> =
        entries.iter().zip(0..).map(|((key, value), n)| (key.as_bytes(), n, value.as_str())).collect();
    let root = node(&mut out, &all);
    out[8..12].copy_from_slice(&root.to_be_bytes());
    out
}

fn node(out: &mut Vec<u8>, entries: &[(&[u8], u32, &str)]) -> u32 {
    let first = entries.iter().filter_map(|(key, ..)| key.first()).min().copied();
    let last = entries.iter().filter_map(|(key, ..)| key.first()).max().copied();
    let mut children = Vec::new();
    if let (Some(first), Some(last)) = (first, last) {
        for byte in first..=last {
            let below: Vec<_> = entries
                .iter()
                .filter_map(|(key, n, value)| Some((key.strip_prefix(&[byte])?, *n, *value)))
                .collect();
            children.push(if below.is_empty() { 0 } else { node(out, &below) });
        }
    }
    let mut offset = u32::try_from(out.len()).unwrap() | NODE_PREFIX;
    out.push(0);
    if let (Some(first), Some(last)) = (first, last) {
        offset |= NODE_CHILDS;
        out.extend_from_slice(&[first, last]);
        for child in children {
            out.extend_from_slice(&child.to_be_bytes());
        }
    }
    let values: Vec<_> = entries.iter().filter(|(key, ..)| key.is_empty()).collect();
    if !values.is_empty() {
        offset |= NODE_VALUES;
        out.extend_from_slice(&u32::try_from(values.len()).unwrap().to_be_bytes());
        for (_, n, value) in values {
            out.extend_from_slice(&n.to_be_bytes());
            out.extend_from_slice(value.as_bytes());
            out.push(0);
        }
    }
    offset
}

/// A catalog from lines such as `fs/ext4: fs/jbd2 fs/mbcache` (below `kernel/`, without `.ko`), aliases and a
/// modprobe.d text. `unix` (alias `net-pf-1`) is built in.
pub(crate) fn catalog(deps: &[&str], aliases: &[(&str, &str)], conf: &str, plan: &ModulePlan) -> Catalog {
    let path = |word: &str| format!("kernel/{word}.ko");
    let dep: Vec<_> = deps
        .iter()
        .map(|line| {
            let (module, rest) = line.split_once(':').unwrap();
            let rest: String = rest.split_whitespace().map(|dep| format!(" {}", path(dep))).collect();
            (name_of_path(&path(module)), format!("{}:{rest}", path(module)))
        })
        .collect();
    let alias: Vec<_> =
        aliases.iter().map(|(alias, module)| (alias_name(alias).unwrap(), (*module).to_owned())).collect();
    let mut config = Config::default();
    config.add("test.conf", conf);
    let files = Files {
        dep: index(&dep),
        alias: index(&alias),
        builtin: index(&[("unix".into(), "kernel/net/unix/unix.ko:".into())]),
        builtin_alias: index(&[("net_pf_1".into(), "unix".into())]),
    };
    Catalog::new(files, config, plan).unwrap()
}
