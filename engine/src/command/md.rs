//! MD arrays as requests (kernel: include/uapi/linux/raid/md_u.h).

use super::MarkedVolume;
use crate::event::DevName;

/// Bits of a disk's state as `ADD_NEW_DISK` takes them (`MD_DISK_*` in md_p.h).
pub mod disk_state {
    /// `MD_DISK_ACTIVE` and `MD_DISK_SYNC`.
    pub const IN_SYNC: i32 = 1 << 1 | 1 << 2;
    /// `MD_DISK_ACTIVE` and `MD_DISK_REPLACEMENT`.
    pub const REPLACEMENT: i32 = 1 << 1 | 1 << 17;
    /// `MD_DISK_WRITEMOSTLY`.
    pub const WRITE_MOSTLY: i32 = 1 << 9;
    /// `MD_DISK_FAILFAST`.
    pub const FAILFAST: i32 = 1 << 10;
    /// `MD_DISK_JOURNAL`.
    pub const JOURNAL: i32 = 1 << 18;
}

/// A member to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayMember {
    /// Where it lies.
    pub device: DevName,
    /// Its permanent number in the array.
    pub number: i32,
    /// Its slot; -1 is none.
    pub slot: i32,
    /// [`disk_state`] bits.
    pub state: i32,
}

/// An array whose members carry the kernel's own metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayRequest {
    /// Metadata version: `0.90`, `1.2`.
    pub metadata: String,
    /// UUID as mdadm's map has it.
    pub map_uuid: String,
    /// What the map and `mdadm --detail` call it: `/dev/md/NAME`, `/dev/md0`; `None` is the node's own path.
    pub path: Option<String>,
    /// Wanted number of the `md` device; where it is `None` or taken, the highest free one up to 127 is used.
    pub number: Option<u32>,
    /// Numbers that mdadm.conf keeps for others: they are not free for whoever wants none.
    pub reserved: Vec<u32>,
    /// What to add, in order.
    pub members: Vec<ArrayMember>,
    /// Start it so that nothing is written until somebody else writes (`read-auto`).
    pub read_auto: bool,
    /// BIOS RAID volumes below its members, to be made writable first: over a member that is read-only the kernel starts it
    /// read-only, and it stays so (md.c, `md_run`).
    pub volumes: Vec<MarkedVolume>,
}
