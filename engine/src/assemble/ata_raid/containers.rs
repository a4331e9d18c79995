//! Containers of Intel and DDF metadata and the volumes in them, from what their disks say (mdadm:
//! `container_content_imsm`, `container_content_ddf`).

use std::fmt::Write as _;

use ondisk::ata_raid::{Disk, Format, ddf, imsm};

use crate::assemble::md::judge;
use crate::command::VolumeRequest;
use crate::event::DevName;
use crate::table::Device;

/// Attributes of Intel metadata that mdadm understands or may ignore.
const ATTRIBUTES: u32 =
    0x8000_0000 | 0x2000_0000 | 0x0400_0000 | 0x0800_0000 | 0x4000_0000 | 0x40 | 0x10 | 0x4 | 0x2 | 0x1;

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Whose metadata.
    pub format: Format,
    /// mdadm's UUID.
    pub uuid: [u8; 16],
    /// Disks that belong to it, failed ones left out.
    pub disks: Vec<DevName>,
    /// Disks that it should have.
    pub expected: usize,
    /// Host that it belongs to, where the metadata say so.
    pub host: Option<String>,
    /// Volumes.
    pub volumes: Vec<Volume>,
}

/// A volume and what keeps it from being started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Name in the metadata.
    pub name: String,
    /// What would be asked for.
    pub request: VolumeRequest,
    /// Not cleanly stopped.
    pub dirty: bool,
    /// Members that are not there although the metadata count on them, as the metadata name disks: an index in Intel's, a
    /// reference in DDF. Should one come back, it would be taken for a good one.
    pub unrecorded: Vec<u32>,
    /// What the metadata call the members that are there.
    pub references: Vec<(DevName, u32)>,
    /// Why it cannot be started whatever comes.
    pub refused: Option<String>,
}

/// As mdadm's map writes it.
#[must_use]
pub fn colons(uuid: [u8; 16]) -> String {
    let mut text = String::new();
    for (index, byte) in uuid.iter().enumerate() {
        if index > 0 && index % 4 == 0 {
            text.push(':');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl Volume {
    /// Whether enough of its members are there: `Some(true)` all, `Some(false)` as many as it needs.
    #[must_use]
    pub fn standing(&self) -> Option<bool> {
        let (have, all) = (self.request.legs.len(), usize::try_from(self.request.members).ok()?);
        if have >= all {
            return Some(true);
        }
        let slots: Vec<u32> = self.request.legs.iter().map(|(_, slot, _)| *slot).collect();
        let enough = match self.request.level {
            1 => have > 0,
            5 => have.saturating_add(1) >= all && !self.dirty,
            10 => {
                let there: Vec<bool> = (0..self.request.members).map(|slot| slots.contains(&slot)).collect();
                judge::every_stripe_has_a_copy(self.request.layout, &there)
            }
            _ => false,
        };
        enough.then_some(false)
    }

    /// How many of its members are there, in words.
    #[must_use]
    pub fn count(&self) -> String {
        let dirty = if self.dirty { ", not cleanly stopped" } else { "" };
        format!("{} of {} members seen{dirty}", self.request.legs.len(), self.request.members)
    }
}

/// The disk with Intel's metadata on it, if it has them.
#[must_use]
pub fn intel(device: &Device) -> Option<(&Device, &imsm::Anchor)> {
    match device.content()?.member.as_deref()?.ata_raid()? {
        Disk::Imsm(anchor) if device.facts.partn.is_none() => Some((device, anchor)),
        _ => None,
    }
}

/// All containers of these disks.
#[must_use]
pub fn containers(devices: &[&Device]) -> Vec<Container> {
    fn member<'a>(device: &&'a Device) -> Option<(&'a Device, &'a Disk)> {
        Some((*device, device.content()?.member.as_deref()?.ata_raid()?))
    }
    let imsm = devices.iter().filter_map(|device| intel(device));
    let ddf = devices.iter().filter_map(member).filter_map(|(device, disk)| match disk {
        Disk::Ddf(group) => Some((device, group)),
        _ => None,
    });
    let mut containers = of_imsm(&imsm.collect::<Vec<_>>());
    containers.extend(of_ddf(&ddf.collect::<Vec<_>>()));
    containers
}

/// The copy of Intel's metadata that counts, of all that come from one container.
#[derive(Debug, Clone, Copy)]
pub struct Newest<'a> {
    /// The copy.
    pub anchor: &'a imsm::Anchor,
    /// Why it cannot be believed.
    pub refused: Option<&'static str>,
}

/// The newest of the copies with this first family number. A spare that takes a disk's place changes the family, and the disk
/// that was replaced still calls itself a member of the old one: like mdadm (super-intel.c: `imsm_thunderdome`), the newest
/// family is believed if the disks of the others belong to it by what these say themselves.
#[must_use]
pub fn newest<'a>(disks: &[(&Device, &'a imsm::Anchor)], orig_family: u32) -> Option<Newest<'a>> {
    let same = || disks.iter().copied().filter(|(_, anchor)| anchor.orig_family == orig_family);
    let (_, newest) = same().max_by_key(|(_, anchor)| anchor.generation)?;
    let differs = same().any(|(_, anchor)| anchor.generation == newest.generation && anchor != newest);
    // Another family that does without all the disks of the newest one has gone its own way.
    let counts_on = |anchor: &imsm::Anchor| {
        same().filter(|(_, other)| other.family == newest.family).any(|(device, _)| {
            let index = device.facts.serial.as_deref().and_then(|serial| anchor.index(serial));
            index.and_then(|index| anchor.disks.get(index)).is_some_and(|disk| !disk.failed)
        })
    };
    let others = || same().filter(|(_, anchor)| anchor.family != newest.family);
    let apart = others().any(|(_, anchor)| {
        let last = others().filter(|(_, other)| other.family == anchor.family);
        last.max_by_key(|(_, other)| other.generation).is_some_and(|(_, last)| !counts_on(last))
    });
    let refused = if differs {
        Some("its disks hold different metadata of the same age: detach those that are not to be used")
    } else if apart {
        Some("its disks were used apart from each other: detach those that are not to be used")
    } else {
        None
    };
    Some(Newest { anchor: newest, refused })
}

fn of_imsm(disks: &[(&Device, &imsm::Anchor)]) -> Vec<Container> {
    let mut families: Vec<u32> = disks.iter().map(|(_, anchor)| anchor.orig_family).collect();
    families.sort_unstable();
    families.dedup();
    let family = |family: &u32| {
        // The newest copy says who belongs to the family.
        let Newest { anchor: newest, refused } = newest(disks, *family)?;
        let same = disks
            .iter()
            .filter(|(_, anchor)| anchor.orig_family == newest.orig_family && anchor.family == newest.family);
        let index = |device: &Device| {
            let index = newest.index(device.facts.serial.as_deref()?)?;
            newest.disks.get(index).filter(|disk| !disk.failed).map(|_| index)
        };
        let known: Vec<(&Device, usize)> =
            same.filter_map(|(device, _)| Some((*device, index(device)?))).collect();
        let volumes = (0..).zip(&newest.volumes).map(|(number, volume)| {
            let uuid = usize::try_from(number).ok().and_then(|number| newest.uuid(Some(number)));
            let volume = imsm_volume(number, volume, uuid.unwrap_or_default(), newest.attributes, &known);
            Volume { refused: refused.map(str::to_owned).or(volume.refused), ..volume }
        });
        Some(Container {
            format: Format::Imsm,
            uuid: newest.uuid(None)?,
            disks: known.iter().map(|(device, _)| device.name.clone()).collect(),
            expected: newest.disks.iter().filter(|disk| !disk.failed).count(),
            host: None,
            volumes: volumes.collect(),
        })
    };
    families.iter().filter_map(family).collect()
}

fn imsm_volume(
    number: u32,
    volume: &imsm::Volume,
    uuid: [u8; 16],
    attributes: u32,
    known: &[(&Device, usize)],
) -> Volume {
    let (level, layout) = volume.level().unwrap_or_default();
    // What a rebuild or a migration has come to is in the older of two maps.
    let current = volume.old_map.as_ref().unwrap_or(&volume.map);
    let stale = |slot: usize| current.slots.get(slot).is_none_or(|(_, stale)| *stale);
    let mut legs = Vec::new();
    let (mut unrecorded, mut references) = (Vec::new(), Vec::new());
    for (slot, (disk, _)) in volume.map.slots.iter().enumerate() {
        let there = known.iter().find(|(_, index)| u32::try_from(*index) == Ok(*disk));
        match (there, u32::try_from(slot)) {
            _ if stale(slot) => {}
            (Some((device, _)), Ok(number)) => {
                legs.push((device.name.clone(), number, volume.map.offset));
                references.push((device.name.clone(), *disk));
            }
            _ => unrecorded.push(*disk),
        }
    }
    let refused = if volume.level().is_none() {
        Some(format!("its RAID level (code {}) is none that md knows", volume.map.level))
    } else if attributes & !ATTRIBUTES != 0 {
        Some(format!("its metadata use features that mdadm does not know (0x{:x})", attributes & !ATTRIBUTES))
    } else if matches!(volume.migration, Some((3 | 4, _))) {
        Some("its migration to another level or size has to be finished where it was begun".into())
    } else if current.state == 3 {
        Some("the firmware says that it has failed".into())
    } else {
        None
    };
    // A volume without redundancy has nothing to be built; a rebuild is not one of the whole.
    let unsynced = volume.dirty || current.state == 1 || matches!(volume.migration, Some((0 | 5, _)));
    let complete = legs.len() == volume.map.slots.len();
    Volume {
        name: volume.name.clone(),
        request: VolumeRequest {
            index: number,
            uuid: colons(uuid),
            path: String::new(),
            number: None,
            level,
            layout,
            chunk: volume.map.stride.saturating_mul(512),
            members: u32::try_from(volume.map.slots.len()).unwrap_or(u32::MAX),
            component: volume.component().unwrap_or(0),
            size: Some(volume.sectors),
            resync: level > 0 && unsynced && complete,
            legs,
        },
        dirty: volume.dirty,
        unrecorded,
        references,
        refused,
    }
}

fn of_ddf(disks: &[(&Device, &ddf::Group)]) -> Vec<Container> {
    let mut groups: Vec<[u8; 24]> = disks.iter().map(|(_, group)| group.guid).collect();
    groups.sort_unstable();
    groups.dedup();
    let container = |guid: &[u8; 24]| {
        let same: Vec<_> = disks.iter().filter(|(_, group)| group.guid == *guid).copied().collect();
        let (_, newest) = same.iter().max_by_key(|(_, group)| group.sequence)?;
        // Online, and neither failed nor being rebuilt.
        let good = |reference: u32| {
            newest.disks.iter().any(|disk| disk.reference == reference && disk.state & 7 == 1)
        };
        let known: Vec<(&Device, u32)> = same
            .iter()
            .filter(|(_, group)| good(group.disk))
            .map(|(device, group)| (*device, group.disk))
            .collect();
        let volume = |set: &ddf::Virtual| {
            let configs: Vec<&ddf::Config> = same
                .iter()
                .flat_map(|(_, group)| &group.parts)
                .filter(|part| part.guid == set.guid)
                .collect();
            ddf_volume(set, colons(newest.uuid(Some(set))), &configs, &known, &good)
        };
        Some(Container {
            format: Format::Ddf,
            uuid: newest.uuid(None),
            disks: known.iter().map(|(device, _)| device.name.clone()).collect(),
            expected: newest.disks.iter().filter(|disk| disk.state & 7 == 1).count(),
            host: newest.host.clone(),
            volumes: newest.sets.iter().filter_map(volume).collect(),
        })
    };
    groups.iter().filter_map(container).collect()
}

fn ddf_volume(
    set: &ddf::Virtual,
    uuid: String,
    configs: &[&ddf::Config],
    known: &[(&Device, u32)],
    good: &dyn Fn(u32) -> bool,
) -> Option<Volume> {
    let newest = configs.iter().max_by_key(|config| config.sequence)?;
    let (level, layout, members) = newest.level().unwrap_or_default();
    let width = u32::try_from(newest.members.len()).ok()?;
    let (mut legs, mut unrecorded, mut references) = (Vec::new(), Vec::new(), Vec::new());
    for basic in 0..newest.secondary.0.max(1) {
        // Each basic disk of a stacked set has a record of its own.
        let config = configs
            .iter()
            .filter(|config| newest.secondary.0 <= 1 || config.secondary.1 == basic)
            .max_by_key(|config| config.sequence);
        let Some(config) = config else { continue };
        for (slot, (reference, offset)) in (0..).zip(&config.members) {
            if let Some((device, _)) = known.iter().find(|(_, disk)| disk == reference) {
                let slot = u32::from(basic).saturating_mul(width).saturating_add(slot);
                legs.push((device.name.clone(), slot, *offset));
                references.push((device.name.clone(), *reference));
            } else if good(*reference) {
                unrecorded.push(*reference);
            }
        }
    }
    let refused = if newest.level().is_none() {
        Some(match newest.level {
            // Of those that stand alone device-mapper makes one device.
            (0x0f | 0x1f, _) if newest.secondary.0 <= 1 => {
                "its disks are concatenated, which md does not do for DDF; with rd.md.ddf=0 it is mapped"
                    .into()
            }
            (level, qualifier) => format!(
                "its RAID level (0x{level:x}, qualifier {qualifier}) is none that is started through md"
            ),
        })
    } else if matches!(set.state & 7, 2..=4) {
        Some("the firmware says that it is deleted, missing or failed".into())
    } else if set.state & 8 != 0 {
        Some("its migration has to be finished in the firmware".into())
    } else {
        None
    };
    // Parity that was never built is no better than one that a crash left behind (mdadm: `container_content_ddf`).
    let dirty = set.state & 0x10 != 0 || (level == 5 && set.initialised != 2);
    let chunk = 512_u32.checked_shl(newest.stride_shift.into()).unwrap_or(0);
    let complete = u32::try_from(legs.len()) == Ok(members);
    Some(Volume {
        name: set.name.clone(),
        request: VolumeRequest {
            index: set.index,
            uuid,
            path: String::new(),
            number: None,
            level,
            layout,
            chunk,
            members,
            component: newest.sectors,
            size: None,
            resync: level > 0 && (dirty || set.initialised != 2) && complete,
            legs,
        },
        dirty,
        unrecorded,
        references,
        refused,
    })
}
