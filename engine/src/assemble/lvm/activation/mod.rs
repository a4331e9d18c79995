//! What lvm2 does to activate a logical volume, as a plan: which device-mapper devices, under which names and UUIDs, with
//! which tables, in which order (lvm2: lib/activate/dev_manager.c, device_mapper/libdm-deptree.c).
//!
//! Pure: metadata in, plan out. `engine/tests/lvm` plays what lvm2 itself did with the same metadata.

mod build;
mod check;
mod group;
mod lines;
mod modules;
mod names;
mod parts;
mod presence;
mod refusal;
mod tree;

pub use check::PoolKind;
pub use names::{dm_name, dm_uuid};
pub use refusal::Refusal;

use std::fmt::Write as _;

use ondisk::lvm::{LogicalVolume, VolumeGroup};

pub use crate::command::ReadAhead;
use crate::command::{Action, DmDevice, DmTarget};

/// A physical volume that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PvDevice {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Read-ahead of the block device in 512-byte sectors; 0 when unknown.
    pub read_ahead: u32,
    /// Whether it is persistent memory (`queue/dax`).
    pub dax: bool,
}

/// What tables depend on besides the metadata.
pub struct KernelFacts<'a> {
    /// Major and minor number of the kernel's version.
    pub version: (u32, u32),
    /// Percentage of a thin pool from which on lvm2 would extend it, 50 to 100 (`activation/thin_pool_autoextend_threshold`).
    pub thin_threshold: u64,
    /// Numbers of the device-mapper device with this UUID, if there is one.
    pub active: &'a dyn Fn(&str) -> Option<(u32, u32)>,
    /// Whether this volume is to be activated read-only, whatever its own permission
    /// (`activation/read_only_volume_list`).
    pub read_only: &'a dyn Fn(&LogicalVolume) -> bool,
}

impl std::fmt::Debug for KernelFacts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelFacts").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Devices that make a logical volume usable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Activation {
    /// Devices to make, in this order: what a device refers to stands before it. Devices that are active already are
    /// left out. When all are made, those that are held have to be resumed, in the same order. Nobody may write to any of
    /// them before: a snapshot would miss it.
    pub devices: Vec<Planned>,
    /// Name of the device that users see, which may be active already.
    pub visible: String,
    /// Modules and aliases that the tables need, to be loaded before.
    pub modules: Vec<String>,
    /// RAID volumes that start with fewer images than they have.
    pub degraded: Vec<String>,
    /// Pools whose own metadata has to be looked at when its device is there, before the pool is made.
    pub checks: Vec<PoolCheck>,
}

impl Activation {
    /// Whether a table lies on the device of this number.
    #[must_use]
    pub fn uses(&self, (major, minor): (u32, u32)) -> bool {
        let number = format!("{major}:{minor}");
        let pieces = self.devices.iter().flat_map(|device| &device.targets).flat_map(|target| &target.params);
        let mut texts =
            pieces.filter_map(|piece| if let Piece::Text(text) = piece { Some(text) } else { None });
        texts.any(|text| text.split_whitespace().any(|word| word == number))
    }

    /// Whether the kernel writes when the devices are made, unasked: superblocks of RAID, metadata of pools and caches.
    #[must_use]
    pub fn writes(&self) -> bool {
        const READ_ONLY: [&str; 5] = ["linear", "striped", "zero", "error", "snapshot-origin"];
        let mut targets = self.devices.iter().flat_map(|device| &device.targets);
        targets.any(|target| !READ_ONLY.contains(&target.kind))
    }
}

/// A pool whose metadata may say that it must not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolCheck {
    /// The device with the pool's metadata.
    pub metadata: PoolMetadata,
    /// Index of the pool, which must not be made when the check fails.
    pub pool: usize,
    /// Name of the pool's logical volume.
    pub name: String,
    /// What lies there.
    pub kind: PoolKind,
}

/// Where a pool's metadata lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMetadata {
    /// On the device with this index in [`Activation::devices`].
    Planned(usize),
    /// On a device that is active already, with this number.
    Active((u32, u32)),
}

/// One device to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Planned {
    /// Name below `/dev/mapper`.
    pub name: String,
    /// `LVM-...`.
    pub uuid: String,
    /// Its table.
    pub targets: Vec<Target>,
    /// Map read-only.
    pub read_only: bool,
    /// Read-ahead.
    pub read_ahead: ReadAhead,
    /// Load it when its turn comes, resume it when all are made: an origin looks for its snapshots when it is resumed
    /// (kernel: dm-snap.c, origin_resume).
    pub held: bool,
    /// Persistent device number, if one was asked for.
    pub number: Option<(u32, u32)>,
}

/// A line of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// First 512-byte sector.
    pub start: u64,
    /// Length in sectors.
    pub length: u64,
    /// Target type.
    pub kind: &'static str,
    /// Parameters.
    pub params: Vec<Piece>,
}

/// A part of a target's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// `MAJOR:MINOR` of the device with this index in [`Activation::devices`].
    Device(usize),
    /// `/dev/dm-MINOR` of that device: what dm-vdo wants.
    Path(usize),
}

impl Planned {
    /// The request for this device, once those before it have been made with the numbers `made`. `None` when `made` is
    /// too short.
    #[must_use]
    pub fn device(&self, made: &[(u32, u32)]) -> Option<DmDevice> {
        let mut targets = Vec::with_capacity(self.targets.len());
        for target in &self.targets {
            targets.push(DmTarget {
                start: target.start,
                length: target.length,
                kind: target.kind.to_owned(),
                params: target.params(made)?,
            });
        }
        Some(DmDevice {
            name: self.name.clone(),
            uuid: self.uuid.clone(),
            targets,
            read_only: self.read_only,
            read_ahead: self.read_ahead,
            held: self.held,
            minor: self.number.map(|(_, minor)| minor),
            // Made writable once for all devices of the volume.
            volumes: Vec::new(),
        })
    }

    /// The request that resumes it, if it is held.
    #[must_use]
    pub fn resume(&self) -> Option<Action> {
        self.held.then(|| Action::ResumeDm(self.name.clone(), self.read_ahead))
    }
}

impl Target {
    /// Parameters with numbers in place of references; `None` when `made` is too short.
    #[must_use]
    pub fn params(&self, made: &[(u32, u32)]) -> Option<String> {
        let mut params = String::new();
        for piece in &self.params {
            let _ = match piece {
                Piece::Text(text) => {
                    params.push_str(text);
                    Ok(())
                }
                Piece::Device(index) => {
                    let (major, minor) = made.get(*index)?;
                    write!(params, "{major}:{minor}")
                }
                Piece::Path(index) => write!(params, "/dev/dm-{}", made.get(*index)?.1),
            };
        }
        Some(params)
    }
}

/// Plans the activation of logical volume `lv` and everything below it.
///
/// `pvs` knows the physical volumes that are there by their identifiers (32 characters). With `degraded` RAID volumes may
/// start without images that are missing, as far as their redundancy covers that.
///
/// # Errors
/// [`Refusal`]: why lvm2 would not activate it either, or that this needs what is not supported here.
pub fn activate(
    vg: &VolumeGroup,
    lv: &str,
    pvs: &dyn Fn(&str) -> Option<PvDevice>,
    degraded: bool,
    facts: &KernelFacts<'_>,
) -> Result<Activation, Refusal> {
    build::activate(vg, lv, pvs, degraded, facts)
}
