//! What `/init` reads from its image is what the packer knows of (`engine::image`), and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Files that are no configuration of the machine: who puts them there is said behind each.
const OTHERS: [&str; 7] = [
    "etc/cmdline",          // whoever makes the image
    "etc/cmdline.d",        // `--cmdline`
    "etc/modprobe.d",       // the packer, below other directories too
    "etc/rootward/preload", // the packer
    "etc/initrd-release",   // the packer; only its being there counts
    "etc/fstab",            // the real root's own
    "etc/lvm",              // part of a message
];

fn sources(directory: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != "tests" {
            sources(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") && entry.file_name() != "tests.rs" {
            all.push(path);
        }
    }
}

/// Beginnings of string literals that lie below `/etc`, outside of comments and of the tests at a file's end.
fn literals(text: &str) -> BTreeSet<String> {
    let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code = product.lines().filter(|line| !line.trim_start().starts_with("//"));
    let named = |line: &str| {
        let strings = line.split('"').skip(1).step_by(2);
        let below = strings.filter_map(|string| {
            let path = string.strip_prefix('/').unwrap_or(string);
            let end = path.find(|c: char| !(c.is_ascii_alphanumeric() || "/._-".contains(c)));
            let path = path.get(..end.unwrap_or(path.len()))?.trim_end_matches('/');
            path.starts_with("etc/").then(|| path.to_owned())
        });
        below.collect::<Vec<_>>()
    };
    code.flat_map(named).collect()
}

#[test]
fn all_paths_below_etc_are_known() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let known = literals(&fs::read_to_string(top.join("engine/src/image.rs")).unwrap());
    assert!(known.len() >= 12 && known.contains(engine::image::CRYPTTAB), "{known:?}");
    let mut files = Vec::new();
    sources(&top.join("init/src"), &mut files);
    sources(&top.join("engine/src"), &mut files);
    for file in files {
        for path in literals(&fs::read_to_string(&file).unwrap()) {
            assert!(
                known.contains(&path) || OTHERS.contains(&path.as_str()),
                "{} reads {path}: name it in engine/src/image.rs and bring it in pack/src/configuration.rs",
                file.display()
            );
        }
    }
}
