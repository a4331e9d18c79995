//! The one way in which this crate sees a device.

use std::fmt;

/// Random access to the bytes of a block device, a file or a buffer.
pub trait ReadAt {
    /// Fills as much of `buf` as the device has from `offset` (bytes); returns the number of bytes read, 0 at the end.
    ///
    /// # Errors
    /// [`ReadError`] with the operating system's errno.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError>;

    /// Size in bytes.
    fn size(&self) -> u64;

    /// Logical sector size in bytes (512 or 4096).
    fn sector_size(&self) -> u32 {
        512
    }

    /// Whether it is a part of a disk: BIOS RAID is looked for on whole disks only.
    fn is_partition(&self) -> bool {
        false
    }
}

/// A read that the device refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadError {
    /// Where, in bytes.
    pub offset: u64,
    /// Linux errno.
    pub errno: i32,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read at byte {}: errno {}", self.offset, self.errno)
    }
}

impl std::error::Error for ReadError {}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        (**self).read_at(offset, buf)
    }

    fn size(&self) -> u64 {
        (**self).size()
    }

    fn sector_size(&self) -> u32 {
        (**self).sector_size()
    }

    fn is_partition(&self) -> bool {
        (**self).is_partition()
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        let tail = usize::try_from(offset).ok().and_then(|start| self.get(start..)).unwrap_or(&[]);
        let count = tail.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..count), tail.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn size(&self) -> u64 {
        self.len() as u64
    }
}
