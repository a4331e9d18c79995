//! Firmware files that modules name, looked up as the kernel does (`drivers/base/firmware_loader/main.c`).

use std::fs;
use std::path::{Path, PathBuf};

use ondisk::kmod::glob;

/// One file to pack: where it is, and its path below `/lib/firmware` in the image.
pub type Found = (PathBuf, String);

/// The files for a name, in the first directory that has it: plain, `.zst` or `.xz`. A name can be a pattern.
#[must_use]
pub fn find(root: &Path, version: &str, name: &str) -> Vec<Found> {
    let below = [format!("updates/{version}"), "updates".to_owned(), version.to_owned(), String::new()];
    for directory in below.iter().flat_map(|sub| ["lib/firmware", "usr/lib/firmware"].map(|dir| (dir, sub))) {
        let base = root.join(directory.0).join(directory.1);
        let mut found = Vec::new();
        for wanted in expand(&base, name) {
            for end in ["", ".zst", ".xz"] {
                let file = base.join(format!("{wanted}{end}"));
                if file.is_file() {
                    found.push((file, format!("{wanted}{end}")));
                    break;
                }
            }
        }
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// A name, or the names that match its last part as a pattern.
fn expand(base: &Path, name: &str) -> Vec<String> {
    if !name.contains(['*', '?', '[']) {
        return vec![name.to_owned()];
    }
    let (directory, pattern) = name.rsplit_once('/').unwrap_or(("", name));
    let Ok(entries) = fs::read_dir(base.join(directory)) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let plain = names.map(|name| {
        let end = [".zst", ".xz"].into_iter().find(|end| name.ends_with(end)).unwrap_or("");
        name[..name.len() - end.len()].to_owned()
    });
    let mut matching: Vec<String> = plain.filter(|name| glob::matches(pattern, name)).collect();
    matching.sort();
    matching.dedup();
    let join = |file| if directory.is_empty() { file } else { format!("{directory}/{file}") };
    matching.into_iter().map(join).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_forms() {
        let root = crate::testing::Scratch::new("firmware");
        for file in [
            "lib/firmware/a/x1.bin.xz",
            "lib/firmware/a/x2.bin",
            "lib/firmware/updates/a/x2.bin",
            "lib/firmware/6.1/y",
        ] {
            root.file(file, b"");
        }
        let names = |name: &str| {
            let found = find(root.path(), "6.1", name);
            found
                .into_iter()
                .map(|(path, name)| (path.strip_prefix(root.path()).unwrap().to_owned(), name))
                .collect::<Vec<_>>()
        };
        assert_eq!(names("a/x1.bin"), [("lib/firmware/a/x1.bin.xz".into(), "a/x1.bin.xz".to_owned())]);
        assert_eq!(names("a/x2.bin")[0].0, Path::new("lib/firmware/updates/a/x2.bin"));
        assert_eq!(names("y")[0].0, Path::new("lib/firmware/6.1/y"));
        assert_eq!(names("a/x?.bin").len(), 1);
        assert_eq!(names("a/z*").len(), 0);
    }
}
