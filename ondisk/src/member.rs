//! What a part of something larger says of the whole: the facts by which a container is put together.

use serde::{Deserialize, Serialize};

use crate::{ata_raid, bcache, bcachefs, btrfs, integrity, lvm, md, verity, zfs};

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
    /// A hash device of dm-verity.
    Verity(verity::Superblock),
    /// A device with dm-integrity's tags.
    Integrity(integrity::Superblock),
    /// A part of bcache.
    Bcache(bcache::Superblock),
    /// A device of a btrfs.
    Btrfs(btrfs::Membership),
    /// A device of a bcachefs.
    Bcachefs(bcachefs::Membership),
    /// A member of a ZFS pool.
    Zfs(zfs::Pool),
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

    /// dm-verity's superblock, if it is one.
    #[must_use]
    pub fn verity(&self) -> Option<&verity::Superblock> {
        match self {
            Member::Verity(superblock) => Some(superblock),
            _ => None,
        }
    }

    /// dm-integrity's superblock, if it is one.
    #[must_use]
    pub fn integrity(&self) -> Option<&integrity::Superblock> {
        match self {
            Member::Integrity(superblock) => Some(superblock),
            _ => None,
        }
    }

    /// bcache's superblock, if it is one.
    #[must_use]
    pub fn bcache(&self) -> Option<&bcache::Superblock> {
        match self {
            Member::Bcache(superblock) => Some(superblock),
            _ => None,
        }
    }

    /// The place in a btrfs, if it has one.
    #[must_use]
    pub fn btrfs(&self) -> Option<&btrfs::Membership> {
        match self {
            Member::Btrfs(membership) => Some(membership),
            _ => None,
        }
    }

    /// The place in a bcachefs, if it has one.
    #[must_use]
    pub fn bcachefs(&self) -> Option<&bcachefs::Membership> {
        match self {
            Member::Bcachefs(membership) => Some(membership),
            _ => None,
        }
    }

    /// The ZFS pool, if it is of one.
    #[must_use]
    pub fn zfs(&self) -> Option<&zfs::Pool> {
        match self {
            Member::Zfs(pool) => Some(pool),
            _ => None,
        }
    }
}
