//! Intel Matrix Storage Manager, later Rapid Storage (layout and meaning: mdadm's super-intel.c).

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes as _;
use crate::probe::Probe;
use crate::scsi_id::identified;
use crate::{ReadAt, ReadError, Signature, text};

use super::model::{Above, Disk, Format, Level, Parity, Part, State};
use super::{Found, Writes, letters, sha1, sum32};

const MAGIC: &[u8] = b"Intel Raid ISM Cfg Sig. ";
/// Where the table of disks begins, and the length of an entry.
const DISKS: usize = 0xd8;
const DISK: usize = 48;
/// Length of a volume up to its first map, and of a map up to its table of members.
const VOLUME: usize = 112;
const MAP: usize = 48;
/// Beside a disk's index in a table of members: it holds old data, or none.
const OUT_OF_DATE: u32 = 1 << 24;
/// Bounds the whole metadata: mdadm reserves fewer sectors for them.
const MAX_LENGTH: u32 = 1 << 20;

/// The metadata, which are the same on all disks of a container but for their age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Number of the family, which changes when the set of disks does.
    pub family: u32,
    /// The family's number when it was made; what mdadm derives UUIDs from.
    pub orig_family: u32,
    /// Grows with every write: the greatest one is current.
    pub generation: u32,
    /// Features in use.
    pub attributes: u32,
    /// All disks of the container, in the order that the maps refer to.
    pub disks: Vec<Entry>,
    /// Volumes.
    pub volumes: Vec<Volume>,
}

/// A disk, as the container knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Serial number, at most its last 16 characters.
    pub serial: String,
    /// Size in sectors of 512 bytes.
    pub sectors: u64,
    /// Stands by.
    pub spare: bool,
    /// Is part of a volume.
    pub configured: bool,
    /// Has failed for good.
    pub failed: bool,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Size in sectors of 512 bytes.
    pub sectors: u64,
    /// Not cleanly stopped.
    pub dirty: bool,
    /// What is being done to it, if anything: Intel's code (0 initialise, 1 rebuild, 2 verify, 3 general migration,
    /// 4 state change, 5 repair) and how far that has come, in units of its own.
    pub migration: Option<(u8, u64)>,
    /// How RAID 5 guards against its write hole: 0 not, 1 and 3 partial parity log, 6 bitmap.
    pub write_hole: u8,
    /// Its map; during a migration the one that is aimed at.
    pub map: Map,
    /// The map that is left, during a migration.
    pub old_map: Option<Map>,
}

/// Where a volume lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// First sector of 512 bytes on each member.
    pub offset: u64,
    /// Sectors of 512 bytes on each member.
    pub sectors: u64,
    /// Number of stripes of data.
    pub stripes: u64,
    /// Sectors of 512 bytes of one member's part of a stripe.
    pub stride: u32,
    /// 0 normal, 1 uninitialised, 2 degraded, 3 failed.
    pub state: u8,
    /// 0, 1, 5 or 10; a mirror of four is RAID 10 too.
    pub level: u8,
    /// Copies or parity domains.
    pub domains: u8,
    /// For each slot the disk, and whether it is out of date.
    pub slots: Vec<(u32, bool)>,
}

/// Where the anchor is, and the sectors of the metadata, the anchor's first.
fn read(probe: &Probe<'_>) -> Result<Option<(u64, Vec<u8>)>, ReadError> {
    let sector = probe.sector_size();
    let Some(place) = (probe.size() / u64::from(sector)).checked_sub(2) else { return Ok(None) };
    let anchor_at = place * u64::from(sector);
    let Some(anchor) = probe.bytes(anchor_at, sector as usize)? else { return Ok(None) };
    if !anchor.has(0, MAGIC) {
        return Ok(None);
    }
    let mut bytes = anchor.into_owned();
    let Some(length) = bytes.le32(0x24).filter(|length| (0xd8..MAX_LENGTH).contains(length)) else {
        return Ok(Some((anchor_at, bytes)));
    };
    // What does not fit into the anchor's sector lies before it, the sectors in their order.
    let more = (length.div_ceil(sector) - 1) * sector;
    if let Some(at) = anchor_at.checked_sub(more.into())
        && let Some(rest) = probe.bytes(at, more as usize)?
    {
        bytes.extend_from_slice(&rest);
    }
    Ok(Some((anchor_at, bytes)))
}

/// The metadata without what fills their last sector.
fn whole(sectors: &[u8]) -> Option<&[u8]> {
    sectors.get(..usize::try_from(sectors.le32(0x24)?).ok()?)
}

/// Reads the metadata of a disk.
pub(super) fn probe(probe: &Probe<'_>) -> Result<Option<Found>, ReadError> {
    let Some((_, bytes)) = read(probe)? else { return Ok(None) };
    let version = bytes.slice(MAGIC.len(), 6).and_then(text::ascii);
    let disk = whole(&bytes).and_then(|mpb| parse(mpb, u64::from(probe.sector_size() / 512)));
    let doubt = "checksum or content of the Intel RAID metadata is wrong; look at it with mdadm --examine";
    Ok(Some(Found {
        signature: Signature {
            version,
            doubt: disk.is_none().then(|| doubt.into()),
            ..Signature::new(Format::Imsm.kind())
        },
        disk: disk.map(Disk::Imsm),
    }))
}

/// `scale` turns the disk's sectors into those of 512 bytes.
fn parse(mpb: &[u8], scale: u64) -> Option<Anchor> {
    let words = mpb.get(..mpb.len() & !3)?;
    if sum32(words).wrapping_sub(mpb.le32(0x20)?) != mpb.le32(0x20)? {
        return None;
    }
    let (disk_count, volume_count) = (usize::from(mpb.u8(0x38)?), mpb.u8(0x39)?);
    let table = mpb.slice(DISKS, disk_count * DISK)?;
    let disks = table.chunks_exact(DISK).map(|entry| disk(entry, scale)).collect::<Option<_>>()?;
    let mut at = DISKS + disk_count * DISK;
    let mut volumes = Vec::new();
    for _ in 0..volume_count {
        let (volume, length) = volume(mpb.get(at..)?, scale)?;
        volumes.push(volume);
        at += length;
    }
    let family = mpb.le32(0x28)?;
    Some(Anchor {
        family,
        orig_family: mpb.le32(0x40).filter(|family| *family != 0).unwrap_or(family),
        generation: mpb.le32(0x2c)?,
        attributes: mpb.le32(0x34)?,
        disks,
        volumes,
    })
}

fn disk(entry: &[u8], scale: u64) -> Option<Entry> {
    let status = entry.le32(24)?;
    Some(Entry {
        serial: text::ascii(entry.slice(0, 16)?).unwrap_or_default(),
        sectors: wide(entry.le32(16)?, entry.le32(32)?).checked_mul(scale)?,
        spare: status & 1 != 0,
        configured: status & 2 != 0,
        failed: status & 4 != 0,
    })
}

fn wide(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// A volume and its length.
fn volume(bytes: &[u8], scale: u64) -> Option<(Volume, usize)> {
    let status = bytes.le32(24)?;
    let (migrating, kind, dirty) = (bytes.u8(88)? != 0, bytes.u8(89)?, bytes.u8(90)?);
    let unit = wide(bytes.le32(80)?, bytes.le32(96)?);
    let (first, mut length) = map(bytes.get(VOLUME..)?, scale)?;
    let mut old_map = None;
    if migrating {
        let (second, more) = map(bytes.get(VOLUME + length..)?, scale)?;
        old_map = Some(second);
        length += more;
    }
    // Older firmware knows no repair, only a verification that repairs.
    let kind = if kind == 2 && status & 0x80 != 0 { 5 } else { kind };
    Some((
        Volume {
            name: text::ascii(bytes.slice(0, 16)?).unwrap_or_default(),
            sectors: wide(bytes.le32(16)?, bytes.le32(20)?).checked_mul(scale)?,
            dirty: dirty & 1 != 0,
            migration: migrating.then_some((kind, unit)),
            write_hole: bytes.u8(50)?,
            map: first,
            old_map,
        },
        VOLUME + length,
    ))
}

/// A map and its length.
fn map(bytes: &[u8], scale: u64) -> Option<(Map, usize)> {
    let members = usize::from(bytes.u8(16)?);
    let table = bytes.slice(MAP, members * 4)?;
    let slots = table.chunks_exact(4).filter_map(|slot| slot.le32(0));
    let scaled = |low: usize, high: usize| wide(bytes.le32(low)?, bytes.le32(high)?).checked_mul(scale);
    let length = MAP + members * 4;
    Some((
        Map {
            offset: scaled(0, 20)?,
            sectors: scaled(4, 24)?,
            stripes: wide(bytes.le32(8)?, bytes.le32(28)?),
            stride: u32::from(bytes.le16(12)?).checked_mul(u32::try_from(scale).ok()?)?,
            state: bytes.u8(14)?,
            level: bytes.u8(15)?,
            domains: bytes.u8(17)?,
            slots: slots.map(|slot| (slot & 0x00ff_ffff, slot >> 24 & 1 != 0)).collect(),
        },
        length,
    ))
}

impl Anchor {
    /// mdadm's UUID of the container, or of a volume by its number; four words as `mdadm --detail` prints them.
    #[must_use]
    pub fn uuid(&self, volume: Option<usize>) -> Option<[u8; 16]> {
        let family = self.orig_family.to_le_bytes();
        let mut words = match volume {
            None => sha1::uuid(&[MAGIC, &family]),
            Some(number) => {
                let mut name = [0; 16];
                let given = self.volumes.get(number)?.name.as_bytes();
                for (into, byte) in name.iter_mut().zip(given) {
                    *into = *byte;
                }
                let number = u32::try_from(number).ok()?.to_le_bytes();
                sha1::uuid(&[MAGIC, &family, &number, &name])
            }
        };
        // mdadm keeps words in the order of the machine and prints them as numbers.
        words.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        Some(words)
    }

    /// The disk with this serial number (as sysfs or udev gives it).
    #[must_use]
    pub fn index(&self, serial: &str) -> Option<usize> {
        let serial = shorten(serial);
        // udev replaces odd characters, the firmware does not.
        let same = |disk: &Entry| disk.serial == serial || identified(disk.serial.as_bytes()) == serial;
        self.disks.iter().position(same)
    }

    /// The parts that the disk with this index has in the volumes, named as dmraid does.
    #[must_use]
    pub fn parts(&self, index: usize) -> Vec<Part> {
        let group = letters(&format!("isw_{}", self.family), 4, usize::MAX);
        let part = |volume: &Volume| {
            let map = &volume.map;
            let slot = map.slots.iter().position(|(disk, _)| u32::try_from(index) == Ok(*disk))?;
            let (_, stale) = map.slots.get(slot)?;
            let members = u32::try_from(map.slots.len()).ok()?;
            let slot = u32::try_from(slot).ok()?;
            let name = format!("{group}_{}", volume.name);
            let nested = map.level == 1 && members > 2 || map.level == 10 && members % 2 == 0;
            Some(Part {
                set: if nested { format!("{name}-{}", slot / 2) } else { name.clone() },
                above: nested.then_some(Above {
                    set: name,
                    level: Level::Raid0,
                    stride: map.stride,
                    order: slot / 2,
                    members: members / 2,
                }),
                level: match map.level {
                    0 => Level::Raid0,
                    1 => Level::Raid1,
                    10 if nested => Level::Raid1,
                    5 => Level::Raid5(Parity::LeftAsymmetric),
                    level => Level::Unsupported(level.into()),
                },
                stride: map.stride,
                members: if nested { 2 } else { members },
                order: slot,
                offset: map.offset,
                sectors: map.sectors,
                state: match (self.disks.get(index)?.failed, *stale, volume.migration) {
                    (true, ..) => State::Broken,
                    (_, true, _) => State::Rebuilding,
                    (_, _, Some((0 | 5, _))) => State::Unsynced,
                    _ => State::Ok,
                },
                total: None,
                generation: None,
            })
        };
        self.volumes.iter().filter_map(part).collect()
    }
}

impl Volume {
    /// md's level and layout (`ALGORITHM_LEFT_ASYMMETRIC` is 0, near copies are `0x102`); `None` for others.
    #[must_use]
    pub fn level(&self) -> Option<(u32, u32)> {
        match (self.map.level, self.map.slots.len()) {
            (0, _) => Some((0, 0)),
            (1, 2) => Some((1, 0)),
            // mdadm 4.4 writes the level by its number when there are more than four members.
            (1, _) => Some((10, 0x102)),
            (10, members) if members % 2 == 0 => Some((10, 0x102)),
            (5, _) => Some((5, 0)),
            _ => None,
        }
    }

    /// Sectors of 512 bytes that md uses of each member (mdadm: `calc_component_size`).
    #[must_use]
    pub fn component(&self) -> Option<u64> {
        let (level, _) = self.level()?;
        let members = self.map.slots.len() as u64;
        let (data, copies) = match level {
            0 => (members, 1),
            5 => (members.checked_sub(1)?, 1),
            _ => (members / 2, 2),
        };
        let stride = u64::from(self.map.stride);
        let mut each = self.map.stripes.checked_mul(stride)?.checked_mul(copies)?;
        // The figure is rounded to a MiB; one that is farther off was left behind when the volume grew.
        if each.checked_mul(data)?.abs_diff(self.sectors) > data.checked_mul(2048)? {
            each = self.sectors.checked_div(data)?;
        }
        let rest = each.checked_rem(stride).filter(|_| level != 1).unwrap_or(0);
        each.checked_sub(rest)
    }
}

/// What has to be written to a disk so that its metadata call a volume dirty and these disks, by their index, missing: as
/// mdmon does before the first write (mdadm: `imsm_set_array_state`, `handle_missing`, `write_super_imsm`,
/// `store_imsm_mpb`). Empty if they do already; `None` if the metadata are not as they should be.
///
/// # Errors
/// The device's read error.
pub fn dirty(dev: &dyn ReadAt, volume: usize, missing: &[u32]) -> Result<Option<Writes>, ReadError> {
    let probe = Probe::new(dev)?;
    let Some((anchor_at, mut bytes)) = read(&probe)? else { return Ok(None) };
    let sector = probe.sector_size() as usize;
    let scale = u64::from(probe.sector_size() / 512);
    let Some(at) = whole(&bytes).and_then(|mpb| place(mpb, volume, scale)) else { return Ok(None) };
    let before = bytes.clone();
    if edit(&mut bytes, at, missing).is_none() {
        return Ok(None);
    }
    if bytes == before {
        return Ok(Some(Writes::new()));
    }
    if reseal(&mut bytes).is_none() {
        return Ok(None);
    }
    let rest = bytes.split_off(sector.min(bytes.len()));
    let mut writes = Vec::new();
    if let Some(before) = anchor_at.checked_sub(rest.len() as u64).filter(|_| !rest.is_empty()) {
        writes.push((before, rest));
    }
    writes.push((anchor_at, bytes));
    Ok(Some(writes))
}

/// Marks the volume that begins at `at`.
fn edit(bytes: &mut [u8], at: usize, missing: &[u32]) -> Option<()> {
    *bytes.get_mut(at + 90)? |= 1;
    // A log of bad blocks would have to forget those of the missing disks.
    if !missing.is_empty() && bytes.le32(0x48)? != 0 {
        return None;
    }
    let map = at + VOLUME;
    for index in missing {
        let mut slots = (0..bytes.u8(map + 16)?)
            .filter(|slot| bytes.le32(map + MAP + usize::from(*slot) * 4) == Some(*index));
        let slot = slots.next()?;
        if slots.next().is_some() {
            return None;
        }
        let table = bytes.get_mut(map + MAP + usize::from(slot) * 4..)?.get_mut(..4)?;
        table.copy_from_slice(&(index | OUT_OF_DATE).to_le_bytes());
        let first_failed = bytes.get_mut(map + 18)?;
        *first_failed = slot.min(*first_failed);
        let entry = DISKS.checked_add(usize::try_from(*index).ok()?.checked_mul(DISK)?)?;
        lose(bytes.get_mut(entry..)?.get_mut(..DISK)?)?;
    }
    Some(())
}

/// Marks a disk as failed and gone. Its serial number changes, so that it is not taken for the same when it comes back.
fn lose(entry: &mut [u8]) -> Option<()> {
    const FAILED: u8 = 4;
    let serial = entry.get(..16)?;
    let mut named: Vec<u8> = serial.iter().copied().take_while(|byte| *byte != 0).chain(*b":0").collect();
    // Cut from the front, with a zero at the end.
    named.drain(..named.len().saturating_sub(15));
    named.push(0);
    entry.get_mut(..named.len())?.copy_from_slice(&named);
    *entry.get_mut(24)? |= FAILED;
    let place = entry.get_mut(20..24)?;
    if place != [0xff; 4] {
        place.fill(0xff);
        entry.get_mut(..16)?.copy_within(1.., 0);
    }
    Some(())
}

/// Counts the generation up and puts the checksum right.
fn reseal(bytes: &mut [u8]) -> Option<()> {
    let generation = bytes.le32(0x2c)?.wrapping_add(1);
    bytes.get_mut(0x2c..0x30)?.copy_from_slice(&generation.to_le_bytes());
    bytes.get_mut(0x20..0x24)?.fill(0);
    let sum = whole(bytes).and_then(|mpb| mpb.get(..mpb.len() & !3)).map(sum32)?;
    bytes.get_mut(0x20..0x24)?.copy_from_slice(&sum.to_le_bytes());
    Some(())
}

/// Where the volume begins, if the metadata are whole and the volume is of a kind that can be marked so: one
/// with a partial parity log needs more than a flag, and during a migration mdmon does more than that too.
fn place(mpb: &[u8], wanted: usize, scale: u64) -> Option<usize> {
    let anchor = parse(mpb, scale)?;
    let volume = anchor.volumes.get(wanted)?;
    if volume.old_map.is_some() || matches!(volume.write_hole, 1 | 3) {
        return None;
    }
    let mut at = DISKS + anchor.disks.len() * DISK;
    for _ in 0..wanted {
        let (_, length) = self::volume(mpb.get(at..)?, scale)?;
        at += length;
    }
    Some(at)
}

/// A serial number as Intel's metadata hold it: without white space, colons replaced, of a long one the end.
fn shorten(serial: &str) -> String {
    let plain = |c: char| (!c.is_whitespace() && !c.is_control()).then_some(if c == ':' { ';' } else { c });
    let serial: Vec<char> = serial.chars().filter_map(plain).collect();
    serial.iter().skip(serial.len().saturating_sub(16)).collect()
}
