//! What a part of something larger says of the whole: the facts by which a container is put together.

use serde::{Deserialize, Serialize};

use crate::{lvm, md};

/// Details of a signature that is a member of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Member {
    /// An LVM2 physical volume.
    Lvm(lvm::PhysicalVolume),
    /// A member of an MD array.
    Md(md::Superblock),
}

impl Member {
    /// The physical volume, if it is one.
    #[must_use]
    pub fn lvm(&self) -> Option<&lvm::PhysicalVolume> {
        match self {
            Member::Lvm(pv) => Some(pv),
            Member::Md(_) => None,
        }
    }

    /// The superblock, if it is a member of an MD array.
    #[must_use]
    pub fn md(&self) -> Option<&md::Superblock> {
        match self {
            Member::Md(superblock) => Some(superblock),
            Member::Lvm(_) => None,
        }
    }
}
