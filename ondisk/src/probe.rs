//! The device as the parsers see it: its first bytes in memory, the rest on request.

use std::borrow::Cow;

use crate::{ReadAt, ReadError, Signature};

/// How much of the start of a device is read at once: up to the end of the btrfs superblock at 64 KiB, which is the
/// farthest of all fixed positions at the start (swap with 64 KiB pages and ISO 9660 descriptors end before it).
pub const HEAD: usize = 68 << 10;

/// Devices up to this size are taken for floppies: no RAID on them, and the first file system found wins.
/// The figure is that of libblkid.
const TINY: u64 = 1440 * 1024;

/// What one parser has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Not this format.
    Nothing,
    /// This format.
    Valid(Signature),
    /// This format, but a checksum says that it cannot be used.
    Rejected(Signature),
}

impl From<Option<Signature>> for Found {
    fn from(found: Option<Signature>) -> Self {
        found.map_or(Found::Nothing, Found::Valid)
    }
}

/// One device under examination.
pub(crate) struct Probe<'a> {
    dev: &'a dyn ReadAt,
    head: Vec<u8>,
}

impl<'a> Probe<'a> {
    /// Reads the start of `dev`.
    ///
    /// # Errors
    /// The device's read error.
    pub(crate) fn new(dev: &'a dyn ReadAt) -> Result<Self, ReadError> {
        let len = usize::try_from(dev.size()).map_or(HEAD, |size| size.min(HEAD));
        let mut head = vec![0; len];
        let count = dev.read_at(0, &mut head)?;
        head.truncate(count);
        Ok(Self { dev, head })
    }

    /// The first bytes of the device, at most [`HEAD`].
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.dev.size()
    }

    /// Logical sector size in bytes; nonsense from a driver counts as 512.
    pub(crate) fn sector_size(&self) -> u32 {
        let size = self.dev.sector_size();
        if size.is_power_of_two() && (512..=65536).contains(&size) { size } else { 512 }
    }

    /// The last `len` whole bytes before the last sector boundary; nothing if the device is smaller.
    ///
    /// # Errors
    /// The device's read error.
    pub(crate) fn bytes_before_end(&self, len: u64) -> Result<Cow<'_, [u8]>, ReadError> {
        let end = self.size() & !511;
        let bytes = match (end.checked_sub(len), usize::try_from(len)) {
            (Some(from), Ok(len)) => self.bytes(from, len)?,
            _ => None,
        };
        Ok(bytes.unwrap_or(Cow::Borrowed(&[])))
    }

    /// Whether the device is the size of a floppy.
    pub(crate) fn is_tiny(&self) -> bool {
        self.size() <= TINY
    }

    /// `len` bytes at `offset`, or `None` if the device ends before; the caller bounds `len`.
    ///
    /// # Errors
    /// The device's read error.
    pub(crate) fn bytes(&self, offset: u64, len: usize) -> Result<Option<Cow<'_, [u8]>>, ReadError> {
        let Some(end) = offset.checked_add(len as u64).filter(|end| *end <= self.size()) else {
            return Ok(None);
        };
        if let (Ok(from), Ok(to)) = (usize::try_from(offset), usize::try_from(end))
            && let Some(bytes) = self.head.get(from..to)
        {
            return Ok(Some(Cow::Borrowed(bytes)));
        }
        let mut buf = vec![0; len];
        let count = self.dev.read_at(offset, &mut buf)?;
        Ok((count == len).then_some(Cow::Owned(buf)))
    }

    /// Feeds `len` bytes from `offset` to `sink` in pieces of at most 64 KiB; `false` if the device ends before.
    ///
    /// # Errors
    /// The device's read error.
    pub(crate) fn stream(
        &self,
        offset: u64,
        len: u64,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<bool, ReadError> {
        const PIECE: u64 = 64 << 10;
        let mut at = offset;
        let mut left = len;
        while left > 0 {
            let step = left.min(PIECE);
            let Some(bytes) =
                usize::try_from(step).ok().map(|step| self.bytes(at, step)).transpose()?.flatten()
            else {
                return Ok(false);
            };
            sink(&bytes);
            at = at.saturating_add(step);
            left = left.saturating_sub(step);
        }
        Ok(true)
    }

    /// Doubt about something that says it is `need` bytes long.
    pub(crate) fn truncation(&self, need: u64) -> Option<String> {
        (need > self.size()).then(|| {
            format!(
                "it says it is {need} bytes long, but the device has only {}: truncated or resized",
                self.size()
            )
        })
    }
}

/// Identifies every prefix of `disk` that ends within `range`, and the disk with every byte of it changed.
#[cfg(test)]
pub(crate) fn hurt(disk: &[u8], range: std::ops::Range<usize>) {
    for end in range.clone() {
        let _ = crate::identify(&disk.get(..end).expect("inside the disk"));
    }
    let mut changed = disk.to_vec();
    for at in range {
        let was = changed.get(at).copied().expect("inside the disk");
        for value in [0, 1, 0x7f, 0x80, 0xff, was ^ 1] {
            *changed.get_mut(at).expect("inside the disk") = value;
            let _ = crate::identify(&changed.as_slice());
        }
        *changed.get_mut(at).expect("inside the disk") = was;
    }
}
