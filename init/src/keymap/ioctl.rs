//! The call of `include/uapi/linux/kd.h` that gives a key its meaning.

use std::os::fd::BorrowedFd;

use ondisk::keymap::KeyMeaning;
use rustix::io::Result;
use rustix::ioctl::{Opcode, Setter, ioctl};

/// `KDSKBENT`.
const SET_KEY: Opcode = 0x4b47;

/// `struct kbentry`.
#[repr(C)]
struct Entry {
    table: u8,
    index: u8,
    value: u16,
}

/// Tells the console's keyboard what a key means.
///
/// # Errors
/// `EINVAL` for a symbol that the kernel does not know, `EPERM` without `CAP_SYS_TTY_CONFIG`.
pub(super) fn set_key(terminal: BorrowedFd<'_>, meaning: KeyMeaning) -> Result<()> {
    let entry = Entry { table: meaning.table, index: meaning.key, value: meaning.symbol };
    // SAFETY: KDSKBENT takes one `struct kbentry`, of which `Entry` has size and layout.
    let call = unsafe { Setter::<SET_KEY, Entry>::new(entry) };
    // SAFETY: the kernel only reads what the setter holds.
    unsafe { ioctl(terminal, call) }
}
