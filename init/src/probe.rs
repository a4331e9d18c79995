//! Looking into a device: the bytes that `ondisk` asks for.

use std::os::fd::OwnedFd;

use engine::{DevName, DeviceFacts, Failure, Outcome};
use ondisk::{Content, Member, ReadAt, ReadError};
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

/// A block device, open for reading.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
    size: u64,
    sector_size: u32,
    partition: bool,
}

impl Device {
    /// Opens the device's node.
    ///
    /// # Errors
    /// [`Failure::Gone`] if the device or its medium is not there, else [`Failure::Os`].
    pub fn open(name: &DevName, facts: &DeviceFacts) -> Result<Device, Failure> {
        let device = Device::open_path(&format!("/dev/{name}"), facts.size, facts.sector_size)?;
        Ok(Device { partition: facts.partn.is_some(), ..device })
    }

    /// Opens a file; a `size` of 0 is asked for.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn open_path(path: &str, size: u64, sector_size: u32) -> Result<Device, Failure> {
        // NONBLOCK: a drive without medium answers at once, and a tray is not closed.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failure("open", path, error))?;
        let size = if size == 0 {
            rustix::fs::seek(&fd, SeekFrom::End(0)).map_err(|error| failure("size", path, error))?
        } else {
            size
        };
        Ok(Device { fd, size, sector_size, partition: false })
    }
}

/// The dm-verity superblock at `offset` bytes.
///
/// # Errors
/// If the device cannot be read, or none is there.
pub fn verity(name: &DevName, offset: u64) -> Result<Outcome, Failure> {
    let device = Device::open_path(&format!("/dev/{name}"), 0, 512)?;
    let superblock = ondisk::verity::read(&device, offset)
        .map_err(|error| Failure::Os { what: format!("read {name}"), errno: error.errno })?;
    superblock
        .map(|superblock| Outcome::Member(Box::new(Member::Verity(superblock))))
        .ok_or_else(|| Failure::Other(format!("{name} has no usable verity superblock at byte {offset}")))
}

impl ReadAt for Device {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        let mut filled: usize = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(filled as u64);
            match rustix::io::pread(&self.fd, rest, at) {
                Ok(0) => break,
                Ok(count) => filled = filled.saturating_add(count),
                Err(Errno::INTR) => {}
                Err(error) => return Err(ReadError { offset: at, errno: error.raw_os_error() }),
            }
        }
        Ok(filled)
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn is_partition(&self) -> bool {
        self.partition
    }
}

/// Says what is on the device; blocks while it is read.
///
/// # Errors
/// [`Failure::Gone`] if the device or its medium vanished, else [`Failure::Os`].
pub fn identify(name: &DevName, facts: &DeviceFacts) -> Result<Content, Failure> {
    let device = Device::open(name, facts)?;
    ondisk::identify(&device).map_err(|error| {
        let what = format!("read {name} at byte {}", error.offset);
        classify(what, Errno::from_raw_os_error(error.errno))
    })
}

fn failure(verb: &str, path: &str, error: Errno) -> Failure {
    classify(format!("{verb} {path}"), error)
}

fn classify(what: String, error: Errno) -> Failure {
    match error {
        // No node, no device behind it, no medium.
        Errno::NOENT | Errno::NXIO | Errno::NODEV | Errno::NOMEDIUM => Failure::Gone,
        _ => Failure::Os { what, errno: error.raw_os_error() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_complete_and_end_at_the_end() {
        let path = std::env::temp_dir().join(format!("rootward-probe-{}", std::process::id()));
        let bytes: Vec<u8> = (0..10_000u32).map(|index| index.to_le_bytes()[0]).collect();
        std::fs::write(&path, &bytes).unwrap();
        let device = Device::open_path(path.to_str().unwrap(), 0, 512).unwrap();
        assert_eq!(device.size(), 10_000);
        let mut buf = vec![0; 9000];
        assert_eq!(device.read_at(500, &mut buf), Ok(9000));
        assert_eq!(buf, bytes[500..9500]);
        assert_eq!(device.read_at(9_990, &mut buf), Ok(10));
        assert_eq!(device.read_at(20_000, &mut buf), Ok(0));
        assert_eq!(ondisk::identify(&device).unwrap(), Content::default());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Device::open_path(path.to_str().unwrap(), 0, 512).unwrap_err(), Failure::Gone);
    }
}
