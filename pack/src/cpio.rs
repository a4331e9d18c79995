//! The newc form of cpio, as the kernel reads it (Documentation/driver-api/early-userspace/buffer-format.rst).

use crate::error::{Error, Result};
use crate::tree::{Node, Tree};

/// Header of 6 + 13 * 8 bytes.
const HEADER: usize = 110;
const MAGIC: &[u8] = b"070701";
const MAGIC_CRC: &[u8] = b"070702";
const TRAILER: &str = "TRAILER!!!";
/// The kernel refuses longer names (`PATH_MAX`).
const MAX_NAME: usize = 4096;

const TYPE_MASK: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

/// One file of an archive that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path, usually without a leading slash.
    pub name: String,
    /// File type and permission bits as in `st_mode`.
    pub mode: u32,
    /// Length of the content in bytes.
    pub size: u64,
    /// Seconds since the epoch.
    pub mtime: u32,
    /// Inode number.
    pub inode: u32,
    /// Device number of a device node.
    pub rdev: (u32, u32),
    /// Content; the target of a symbolic link.
    pub data: Vec<u8>,
}

/// Writes one archive, trailer included. Inode numbers count from 1, everything belongs to root.
///
/// # Errors
/// A file of 4 GiB or more.
pub fn write(tree: &Tree, mtime: u32) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut inode = 0;
    for (path, node) in tree.iter() {
        inode += 1;
        let (mode, links, rdev, data): (u32, u32, (u32, u32), &[u8]) = match node {
            Node::Directory(mode) => (DIRECTORY | mode, 2, (0, 0), &[]),
            Node::File(mode, data) => (REGULAR | mode, 1, (0, 0), data),
            Node::Symlink(target) => (SYMLINK | 0o777, 1, (0, 0), target.as_bytes()),
            Node::Char(mode, major, minor) => (CHARACTER | mode, 1, (*major, *minor), &[]),
        };
        let size = u32::try_from(data.len()).map_err(|_| Error::TooLarge(path.to_owned()))?;
        let fields = [inode, mode, 0, 0, links, mtime, size, 0, 0, rdev.0, rdev.1];
        member(&mut out, path, fields, data);
    }
    member(&mut out, TRAILER, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], &[]);
    Ok(out)
}

fn member(out: &mut Vec<u8>, name: &str, fields: [u32; 11], data: &[u8]) {
    out.extend_from_slice(MAGIC);
    let name_size = u32::try_from(name.len() + 1).unwrap_or(0);
    for field in fields.into_iter().chain([name_size, 0]) {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out, 4);
    out.extend_from_slice(data);
    pad(out, 4);
}

/// Fills up with zeros to a multiple of `unit` bytes.
pub fn pad(out: &mut Vec<u8>, unit: usize) {
    out.resize(out.len().next_multiple_of(unit), 0);
}

/// Whether an archive begins here.
#[must_use]
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) || bytes.starts_with(MAGIC_CRC)
}

/// Reads one archive up to its trailer; returns its files and the number of bytes that it takes.
///
/// # Errors
/// Not an archive, or cut short. `base` is added to the offset that the error names.
pub fn read(bytes: &[u8], base: u64) -> Result<(Vec<Entry>, usize)> {
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        let error = |what| Error::Image { offset: base + at as u64, what };
        let cut = || error("cut short");
        let header = bytes.get(at..at + HEADER).ok_or_else(cut)?;
        if !is_archive(header) {
            return Err(error("no cpio header where one should be"));
        }
        let field = |n: usize| {
            let digits = std::str::from_utf8(&header[6 + n * 8..14 + n * 8]).ok();
            digits
                .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|text| u32::from_str_radix(text, 16).ok())
                .ok_or_else(|| error("a field that is not a hexadecimal number"))
        };
        let (size, name_size) = (field(6)? as usize, field(11)? as usize);
        if name_size == 0 || name_size > MAX_NAME {
            return Err(error("a name that is empty or too long"));
        }
        let name = bytes.get(at + HEADER..at + HEADER + name_size - 1).ok_or_else(cut)?;
        let start = (at + HEADER + name_size).next_multiple_of(4);
        let data = bytes.get(start..start + size).ok_or_else(cut)?;
        let next = (start + size).next_multiple_of(4);
        if name == TRAILER.as_bytes() {
            return Ok((entries, next.min(bytes.len())));
        }
        entries.push(Entry {
            name: String::from_utf8_lossy(name).into_owned(),
            mode: field(1)?,
            size: size as u64,
            mtime: field(5)?,
            inode: field(0)?,
            rdev: (field(9)?, field(10)?),
            data: data.to_vec(),
        });
        at = next;
    }
}

impl Entry {
    /// `d`, `-`, `l`, `c`, `b`, `p` or `s`, as ls(1) shows it.
    #[must_use]
    pub fn type_letter(&self) -> char {
        match self.mode & TYPE_MASK {
            DIRECTORY => 'd',
            REGULAR => '-',
            SYMLINK => 'l',
            CHARACTER => 'c',
            0o060_000 => 'b',
            0o010_000 => 'p',
            0o140_000 => 's',
            _ => '?',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Shown<'a> = (&'a str, char, u32, u32, (u32, u32), &'a [u8]);

    #[test]
    fn round_trip() {
        let mut tree = Tree::default();
        tree.insert("init", Node::File(0o755, b"#!".to_vec()));
        tree.insert("dev/console", Node::Char(0o600, 5, 1));
        tree.insert("etc/link", Node::Symlink("../init".into()));
        let bytes = write(&tree, 7).unwrap();
        let (entries, end) = read(&bytes, 0).unwrap();
        assert_eq!(end, bytes.len());
        let shown: Vec<_> = entries
            .iter()
            .map(|e| (e.name.as_str(), e.type_letter(), e.mode & 0o7777, e.inode, e.rdev, e.data.as_slice()))
            .collect();
        let expected: [Shown<'_>; 5] = [
            ("dev", 'd', 0o755, 1, (0, 0), b""),
            ("dev/console", 'c', 0o600, 2, (5, 1), b""),
            ("etc", 'd', 0o755, 3, (0, 0), b""),
            ("etc/link", 'l', 0o777, 4, (0, 0), b"../init"),
            ("init", '-', 0o755, 5, (0, 0), b"#!"),
        ];
        assert_eq!(shown, expected);
        assert!(entries.iter().all(|e| e.mtime == 7));
    }

    #[test]
    fn cut_short() {
        let mut tree = Tree::default();
        tree.file("a", "content");
        let bytes = write(&tree, 0).unwrap();
        for end in 0..bytes.len() - 3 {
            assert!(read(&bytes[..end], 0).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn damage_never_panics(at: prop::sample::Index, byte: u8) {
            let mut tree = Tree::default();
            tree.file("a/b", "content");
            let mut bytes = write(&tree, 0).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = read(&bytes, 0);
        }
    }
}
