//! The calls of `include/uapi/linux/raid/md_u.h`, and the one of `blkpg.h` that takes a partition away.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;

use rustix::io::Result;
use rustix::ioctl::{NoArg, Opcode, Setter, ioctl, opcode};

const SET_ARRAY_INFO: Opcode = opcode::write::<ArrayInfo>(9, 0x23);
const ADD_NEW_DISK: Opcode = opcode::write::<DiskInfo>(9, 0x21);
const RUN_ARRAY: Opcode = opcode::write::<[i32; 3]>(9, 0x30);
const STOP_ARRAY: Opcode = opcode::none(9, 0x32);
/// `_IO(0x12, 105)`, although it takes an argument.
const BLKPG: Opcode = opcode::none(0x12, 105);
const BLKPG_DEL_PARTITION: i32 = 2;

/// `mdu_array_info_t`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ArrayInfo {
    pub(super) major_version: i32,
    pub(super) minor_version: i32,
    pub(super) rest: [i32; 16],
}

/// `mdu_disk_info_t`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DiskInfo {
    pub(super) number: i32,
    pub(super) major: i32,
    pub(super) minor: i32,
    pub(super) raid_disk: i32,
    pub(super) state: i32,
}

/// `struct blkpg_partition`.
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: i32,
    names: [u8; 128],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct BlkpgArgument {
    operation: i32,
    flags: i32,
    length: i32,
    data: *mut c_void,
}

pub(super) fn set_array_info(array: BorrowedFd<'_>, info: ArrayInfo) -> Result<()> {
    // SAFETY: SET_ARRAY_INFO takes one `mdu_array_info_t`, of which `ArrayInfo` has size and layout.
    let call = unsafe { Setter::<SET_ARRAY_INFO, ArrayInfo>::new(info) };
    // SAFETY: the kernel only reads what the setter holds.
    unsafe { ioctl(array, call) }
}

pub(super) fn add_new_disk(array: BorrowedFd<'_>, disk: DiskInfo) -> Result<()> {
    // SAFETY: ADD_NEW_DISK takes one `mdu_disk_info_t`, of which `DiskInfo` has size and layout.
    let call = unsafe { Setter::<ADD_NEW_DISK, DiskInfo>::new(disk) };
    // SAFETY: the kernel only reads what the setter holds.
    unsafe { ioctl(array, call) }
}

pub(super) fn run_array(array: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: RUN_ARRAY ignores its argument.
    let call = unsafe { NoArg::<RUN_ARRAY>::new() };
    // SAFETY: no memory is handed over.
    unsafe { ioctl(array, call) }
}

pub(super) fn stop_array(array: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: STOP_ARRAY takes no argument.
    let call = unsafe { NoArg::<STOP_ARRAY>::new() };
    // SAFETY: no memory is handed over.
    unsafe { ioctl(array, call) }
}

pub(super) fn delete_partition(disk: BorrowedFd<'_>, number: i32) -> Result<()> {
    let mut partition = BlkpgPartition { start: 0, length: 0, number, names: [0; 128] };
    let argument = BlkpgArgument {
        operation: BLKPG_DEL_PARTITION,
        flags: 0,
        length: i32::try_from(size_of::<BlkpgPartition>()).unwrap_or(0),
        data: (&raw mut partition).cast(),
    };
    // SAFETY: BLKPG takes one `struct blkpg_ioctl_arg`, of which `BlkpgArgument` has size and layout.
    let call = unsafe { Setter::<BLKPG, BlkpgArgument>::new(argument) };
    // SAFETY: the kernel reads the argument and the partition that it points to, which outlives the call.
    unsafe { ioctl(disk, call) }
}
