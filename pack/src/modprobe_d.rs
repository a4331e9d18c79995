//! The administrator's modprobe.d files that go into an image.

use std::path::Path;

use ondisk::kmod::config::effective_order;

use crate::error::{Error, Result};
use crate::kernel::optional;

/// Directories in order of precedence (modprobe.d(5)).
const DIRECTORIES: [&str; 5] =
    ["etc/modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"];

/// Name and content of every file in force below `root`; the name says its order. `/etc` and `/run` belong to one
/// machine and are left out unless `own`.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn files(root: &Path, own: bool) -> Result<Vec<(String, Vec<u8>)>> {
    let directories = if own { &DIRECTORIES[..] } else { &DIRECTORIES[2..] };
    let mut names = Vec::new();
    for directory in directories {
        let path = root.join(directory);
        names.push(match std::fs::read_dir(&path) {
            Ok(entries) => entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("read", &path)(error)),
        });
    }
    let mut found = Vec::new();
    for (directory, name) in effective_order(&names) {
        if let Some(content) = optional(&root.join(directories[directory]).join(&name))? {
            found.push((name, content));
        }
    }
    Ok(found)
}
