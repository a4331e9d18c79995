//! A device with a number of its owner's choice: the one thing that the device-mapper crate cannot ask for
//! (`include/uapi/linux/dm-ioctl.h`).

use std::os::fd::AsFd;

use rustix::io::{Errno, Result};
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

const DM_DEV_CREATE: Opcode = opcode::read_write::<Header>(0xfd, 3);
const DM_PERSISTENT_DEV_FLAG: u32 = 1 << 3;

/// `struct dm_ioctl`.
#[repr(C)]
struct Header {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

/// Makes an empty device. Its major is device-mapper's, whatever was asked for once.
///
/// # Errors
///
/// `EBUSY` if the number, the name or the UUID is taken; `EINVAL` if name or UUID are too long.
pub(super) fn create(control: impl AsFd, name: &str, uuid: &str, minor: u32) -> Result<()> {
    let mut header = Header {
        version: [4, 0, 0],
        data_size: u32::try_from(size_of::<Header>()).map_err(|_| Errno::INVAL)?,
        data_start: 0,
        target_count: 0,
        open_count: 0,
        flags: DM_PERSISTENT_DEV_FLAG,
        event_nr: 0,
        padding: 0,
        // The kernel's packed form of a number; the major in it is not looked at.
        dev: u64::from(minor & 0xff) | u64::from(minor & !0xff) << 12,
        name: text(name)?,
        uuid: text(uuid)?,
        data: [0; 7],
    };
    // SAFETY: DM_DEV_CREATE takes and returns one `struct dm_ioctl`, of which `Header` has size and layout.
    let call = unsafe { Updater::<DM_DEV_CREATE, Header>::new(&mut header) };
    // SAFETY: `data_size` says that nothing follows the header, which outlives the call.
    unsafe { ioctl(control, call) }
}

/// Ends with at least one zero.
fn text<const ROOM: usize>(text: &str) -> Result<[u8; ROOM]> {
    let mut field = [0; ROOM];
    let into = field.get_mut(..text.len()).filter(|_| text.len() < ROOM).ok_or(Errno::INVAL)?;
    into.copy_from_slice(text.as_bytes());
    Ok(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(size_of::<Header>(), 312);
        assert_eq!((std::mem::offset_of!(Header, dev), std::mem::offset_of!(Header, uuid)), (40, 176));
        assert_eq!(text::<4>("abc"), Ok(*b"abc\0"));
        assert_eq!(text::<4>("abcd"), Err(Errno::INVAL));
    }
}
