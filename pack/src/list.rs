//! Reading an image: cpio archives one after another, each stored or compressed, zeros in between.

use std::fs;
use std::path::Path;

use crate::compress::Compression;
use crate::cpio::{self, Entry};
use crate::error::{Error, Result};

/// One archive of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the image.
    pub offset: u64,
    /// How many bytes of the image it takes.
    pub length: u64,
    /// How it is compressed.
    pub compression: Compression,
    /// Its files, in the order of the archive.
    pub entries: Vec<Entry>,
}

/// Reads an image file.
///
/// # Errors
/// The file cannot be read, or [`read`] refuses its content.
pub fn list(path: &Path) -> Result<Vec<Segment>> {
    read(&fs::read(path).map_err(Error::io("read", path))?)
}

/// Reads an image.
///
/// # Errors
/// Anything in it that is neither an archive, nor a compression that is read here, nor zeros.
pub fn read(image: &[u8]) -> Result<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut at = 0;
    while let Some(zeros) = image[at..].iter().position(|byte| *byte != 0) {
        at += zeros;
        let bytes = &image[at..];
        let offset = at as u64;
        let damaged = |_| Error::Image { offset, what: "damaged compressed data" };
        if cpio::is_archive(bytes) {
            let (entries, length) = cpio::read(bytes, offset)?;
            let compression = Compression::None;
            segments.push(Segment { offset, length: length as u64, compression, entries });
            at += length;
            continue;
        }
        let Some(compression) = Compression::of_bytes(bytes)? else {
            return Err(Error::Image { offset, what: "neither a cpio archive nor a known compression" });
        };
        let (content, rest) = compression.unpack(bytes).map_err(damaged)?;
        let length = bytes.len() - rest.len();
        let mut entries = Vec::new();
        let mut inner = 0;
        // A compressed stream can hold several archives as well; offsets within it start anew.
        while let Some(zeros) = content[inner..].iter().position(|byte| *byte != 0) {
            inner += zeros;
            let (more, length) = cpio::read(&content[inner..], inner as u64)?;
            entries.extend(more);
            inner += length;
        }
        segments.push(Segment { offset, length: length as u64, compression, entries });
        at += length;
    }
    if segments.is_empty() {
        return Err(Error::Image { offset: 0, what: "the file is empty" });
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Layout, assemble};
    use crate::tree::Tree;

    #[test]
    fn both_layouts_in_all_compressions() {
        for layout in [Layout::Whole, Layout::PerModule] {
            for kind in [Compression::None, Compression::Zstd, Compression::Gzip, Compression::Xz] {
                let mut tree = Tree::default();
                tree.file("init", "program");
                tree.file("lib/modules/1/a.ko.zst", "packed");
                let image = assemble(tree, layout, kind, 0, |path| path.ends_with(".zst")).unwrap();
                let segments = read(&image).unwrap();
                let names: Vec<Vec<&str>> =
                    segments.iter().map(|s| s.entries.iter().map(|e| e.name.as_str()).collect()).collect();
                let kinds: Vec<Compression> = segments.iter().map(|s| s.compression).collect();
                let module = ["lib", "lib/modules", "lib/modules/1", "lib/modules/1/a.ko.zst"];
                match layout {
                    Layout::Whole => {
                        assert_eq!(kinds, [kind]);
                        assert_eq!(names[0][0], "init");
                        assert_eq!(names[0][1..], module);
                    }
                    Layout::PerModule => {
                        assert_eq!(kinds, [Compression::None, kind]);
                        assert_eq!(names[0], module);
                        assert_eq!(names[1], ["init"]);
                        assert_eq!(segments[1].offset % 4, 0);
                    }
                }
            }
        }
    }

    #[test]
    fn foreign_files_are_refused() {
        assert!(matches!(read(b""), Err(Error::Image { .. })));
        assert!(matches!(read(b"\x7fELF"), Err(Error::Image { .. })));
        assert!(matches!(read(b"\x02\x21\x4c\x18"), Err(Error::Compression("lz4"))));
        assert!(matches!(read(b"\x28\xb5\x2f\xfdgarbage"), Err(Error::Image { .. })));
    }
}
