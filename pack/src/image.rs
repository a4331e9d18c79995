//! From a tree to the bytes that the boot loader hands to the kernel.

use crate::compress::Compression;
use crate::cpio;
use crate::error::{Error, Result};
use crate::tree::Tree;

/// What is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The whole archive; modules lie uncompressed in it. Best where every byte of the image is used.
    Whole,
    /// Each module by itself, in an archive that is stored; the few files that are always read follow in a compressed
    /// one. Best where most modules stay unread: the kernel then copies instead of unpacking.
    PerModule,
}

impl Layout {
    /// By its name on the command line.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "whole" => Some(Layout::Whole),
            "per-module" => Some(Layout::PerModule),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Layout::Whole => "whole",
            Layout::PerModule => "per-module",
        }
    }
}

/// Writes the segments of an image. `stored` says which files are compressed already.
///
/// # Errors
/// A file of 4 GiB or more.
pub fn assemble(
    tree: Tree,
    layout: Layout,
    compression: Compression,
    mtime: u32,
    stored: impl Fn(&str) -> bool,
) -> Result<Vec<u8>> {
    let pack = |archive: &[u8]| {
        let failed = |source| Error::Io { what: "compress", path: "image".into(), source };
        compression.pack(archive).map_err(failed)
    };
    match layout {
        Layout::Whole => pack(&cpio::write(&tree, mtime)?),
        Layout::PerModule => {
            let (first, rest) = tree.split(stored);
            let mut image = Vec::new();
            if first.iter().next().is_some() {
                image = cpio::write(&first, mtime)?;
                // The kernel looks for the next segment at a multiple of four (init/initramfs.c).
                cpio::pad(&mut image, 4);
            }
            image.extend(pack(&cpio::write(&rest, mtime)?)?);
            Ok(image)
        }
    }
}
