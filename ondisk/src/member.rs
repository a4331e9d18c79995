//! What a part of something larger says of the whole: the facts by which a container is put together.

use serde::{Deserialize, Serialize};

use crate::{ata_raid, lvm, md};

/// Details of a signature that is a member of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "it is always boxed")]
pub enum Member {
    /// An LVM2 physical volume.
    Lvm(lvm::PhysicalVolume),
    /// A member of an MD array.
    Md(md::Superblock),
    /// A disk of a BIOS RAID set.
    AtaRaid(ata_raid::Disk),
}

impl Member {
    /// The physical volume, if it is one.
    #[must_use]
    pub fn lvm(&self) -> Option<&lvm::PhysicalVolume> {
        match self {
            Member::Lvm(pv) => Some(pv),
            _ => None,
        }
    }

    /// The superblock, if it is a member of an MD array.
    #[must_use]
    pub fn md(&self) -> Option<&md::Superblock> {
        match self {
            Member::Md(superblock) => Some(superblock),
            _ => None,
        }
    }

    /// The disk of a BIOS RAID set, if it is one.
    #[must_use]
    pub fn ata_raid(&self) -> Option<&ata_raid::Disk> {
        match self {
            Member::AtaRaid(disk) => Some(disk),
            _ => None,
        }
    }
}
