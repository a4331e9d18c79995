//! What kmod and depmod leave on disk: binary indexes, configuration text and the `.modinfo` of a module.

use std::fmt;

pub mod config;
pub mod glob;
pub mod index;
pub mod modinfo;

pub use config::Config;
pub use index::{Index, Match};
pub use modinfo::ModInfo;

/// Longest module name or alias that is looked at, in bytes (`PATH_MAX`, as in libkmod).
pub const MAX_NAME: usize = 4096;

/// Why a file of kmod's could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KmodError {
    /// The index does not begin with kmod's magic.
    NotAnIndex,
    /// The index has a version that this reader does not know (major << 16 | minor).
    IndexVersion(u32),
    /// A node, a string or a section lies outside of the file.
    Truncated,
    /// The index refers to itself or holds more nodes than its size allows.
    Corrupt,
    /// Not an ELF object, or one of a class or byte order that does not exist.
    NotElf,
    /// The ELF object has no `.modinfo`, so it is not a kernel module.
    NoModInfo,
}

impl fmt::Display for KmodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KmodError::NotAnIndex => f.write_str("not a module index: run depmod for this kernel version"),
            KmodError::IndexVersion(version) => {
                write!(f, "module index of unknown version {}.{}", version >> 16, version & 0xffff)
            }
            KmodError::Truncated => f.write_str("file is cut short: copy or generate it again"),
            KmodError::Corrupt => f.write_str("module index contradicts itself: run depmod again"),
            KmodError::NotElf => f.write_str("not an ELF object: is the module still compressed?"),
            KmodError::NoModInfo => f.write_str("no .modinfo section: not a kernel module"),
        }
    }
}

impl std::error::Error for KmodError {}

/// A module name with every dash turned into an underscore, as the kernel names loaded modules.
#[must_use]
pub fn module_name(name: &str) -> String {
    name.replace('-', "_")
}

/// An alias with dashes turned into underscores outside of bracket expressions (libkmod's `alias_normalize`).
///
/// `None` when the brackets do not pair up or the alias is longer than [`MAX_NAME`]; kmod refuses those as well.
#[must_use]
pub fn alias_name(alias: &str) -> Option<String> {
    if alias.len() >= MAX_NAME {
        return None;
    }
    let mut out = String::with_capacity(alias.len());
    let mut bracket = false;
    for c in alias.chars() {
        match c {
            ']' if !bracket => return None,
            ']' => bracket = false,
            '[' => bracket = true,
            _ => {}
        }
        out.push(if c == '-' && !bracket { '_' } else { c });
    }
    (!bracket).then_some(out)
}

/// The module name that a path such as `kernel/fs/ext4/ext4.ko.xz` stands for.
#[must_use]
pub fn name_of_path(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    module_name(file.split_once(".ko").map_or(file, |(stem, _)| stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_become_underscores_outside_of_brackets() {
        assert_eq!(alias_name("a-b").as_deref(), Some("a_b"));
        assert_eq!(alias_name("x-[0-9a-f]-y").as_deref(), Some("x_[0-9a-f]_y"));
        assert_eq!(alias_name("x]"), None);
        assert_eq!(alias_name("x[0-9"), None);
        assert_eq!(alias_name(&"x".repeat(MAX_NAME)), None);
    }

    #[test]
    fn paths_name_modules() {
        assert_eq!(name_of_path("kernel/drivers/md/dm-crypt.ko.xz"), "dm_crypt");
        assert_eq!(name_of_path("ext4.ko"), "ext4");
        assert_eq!(name_of_path("plain"), "plain");
    }
}
