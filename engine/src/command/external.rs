//! Arrays whose metadata the kernel does not know (`external:`), as requests (kernel: Documentation/admin-guide/md.rst).

use ondisk::ata_raid::Format;

use crate::event::DevName;

/// A container and what of its volumes is to be started. All sizes are in sectors of 512 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRequest {
    /// Whose metadata: [`Format::Imsm`] or [`Format::Ddf`].
    pub format: Format,
    /// UUID as mdadm's map has it.
    pub uuid: String,
    /// `/dev/md/NAME` for mdadm's map.
    pub path: String,
    /// Number of the node, where the name asks for one.
    pub number: Option<u32>,
    /// Numbers that mdadm.conf keeps for others.
    pub reserved: Vec<u32>,
    /// All disks.
    pub disks: Vec<DevName>,
    /// Volumes.
    pub volumes: Vec<VolumeRequest>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeRequest {
    /// Its number in the container.
    pub index: u32,
    /// UUID as mdadm's map has it.
    pub uuid: String,
    /// `/dev/md/NAME` for mdadm's map.
    pub path: String,
    /// Number of the node, where the name asks for one.
    pub number: Option<u32>,
    /// md's level.
    pub level: u32,
    /// md's layout.
    pub layout: u32,
    /// Bytes of one member's part of a stripe.
    pub chunk: u32,
    /// Members when complete.
    pub members: u32,
    /// What is used of each member.
    pub component: u64,
    /// Size of the volume, if it is not what level and members give.
    pub size: Option<u64>,
    /// Its redundancy is to be built anew; else it is taken to be right.
    pub resync: bool,
    /// The members that are there: device, slot, first sector.
    pub legs: Vec<(DevName, u32, u64)>,
}

/// A running volume whose metadata have to call it not cleanly stopped before the first write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedVolume {
    /// The array.
    pub array: DevName,
    /// Members that are not there and that its metadata count on, by index (Intel) or reference (DDF): to be called missing
    /// with it.
    pub missing: Vec<u32>,
}
