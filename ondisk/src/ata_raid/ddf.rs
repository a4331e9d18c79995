//! SNIA Common RAID Disk Data Format 1.2 (the specification, and mdadm's super-ddf.c for what Linux makes of it).

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes as _;
use crate::crc::crc32;
use crate::probe::Probe;
use crate::{ReadAt, ReadError, Signature, text};

use super::model::{Disk, Format};
use super::{Found, Writes, sha1};

const MAGIC: [u8; 4] = [0xde, 0x11, 0xde, 0x11];
const SWAPPED: [u8; 4] = [0x11, 0xde, 0x11, 0xde];
/// Smaller disks hold no DDF (libblkid's figure).
const MIN_SIZE: u64 = 0x30000;
/// Where the anchor may be, in sectors from the end; only the first is the specification's.
const PLACES: [u64; 2] = [1, 257];
/// mdadm's limit for a section, in sectors.
const MAX_SECTION: u32 = 1024;
const SECTOR: u64 = 512;
/// Where a header says where its sections are: disks, virtual disk records, configurations.
const DISKS: usize = 200;
const VIRTUAL: usize = 208;
const CONFIGS: usize = 216;
/// Magic numbers of virtual disk records and of a configuration.
const RECORDS: u32 = 0xdddd_dddd;
const CONFIG: u32 = 0xeeee_eeee;
/// A set's state while it is not cleanly stopped.
const INCONSISTENT: u8 = 0x10;

/// What one disk says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Identity of the group.
    pub guid: [u8; 24],
    /// Grows with every change: the greatest one is current.
    pub sequence: u32,
    /// This disk's reference.
    pub disk: u32,
    /// All disks of the group.
    pub disks: Vec<Physical>,
    /// All sets of the group; the index of mdadm's arrays counts the unused entries too.
    pub sets: Vec<Virtual>,
    /// This disk's parts.
    pub parts: Vec<Config>,
    /// This disk stands by.
    pub spare: bool,
    /// The controller's firmware gives the sets new identities with every boot.
    pub fickle: bool,
    /// Host for which mdadm made it (super-ddf.c: `match_home_ddf`).
    pub host: Option<String>,
}

/// A disk of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Physical {
    /// Reference by which configurations name it.
    pub reference: u32,
    /// Type bits of the specification (2 in a set, 4 global spare, 8 spare).
    pub kind: u16,
    /// State bits (1 online, 2 failed, 4 rebuilding, 64 missing).
    pub state: u16,
    /// Sectors before the metadata.
    pub sectors: u64,
}

/// A set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Virtual {
    /// Index of its entry: mdadm's number of the array in its container.
    pub index: u32,
    /// Identity.
    pub guid: [u8; 24],
    /// Name; often empty.
    pub name: String,
    /// State: 0 optimal, 1 degraded, 2 deleted, 3 missing, 4 failed, 5 partially optimal; 8 morphing,
    /// 16 inconsistent, that is not cleanly stopped.
    pub state: u8,
    /// The low two bits: 0 not initialised, 1 quickly, 2 fully.
    pub initialised: u8,
}

/// How the disks of one basic virtual disk hold its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The set.
    pub guid: [u8; 24],
    /// Grows with every change of this record.
    pub sequence: u32,
    /// Primary level and its qualifier.
    pub level: (u8, u8),
    /// Sectors of one member's part of a stripe, as a power of two.
    pub stride_shift: u8,
    /// Number of basic virtual disks, the number of this one, and the level that joins them.
    pub secondary: (u8, u8, u8),
    /// Sectors on each member.
    pub sectors: u64,
    /// Sectors of the whole set.
    pub total: u64,
    /// Reference of each member, and the first sector on it.
    pub members: Vec<(u32, u64)>,
}

/// Reads the metadata of a disk.
pub(super) fn probe(probe: &Probe<'_>) -> Result<Option<Found>, ReadError> {
    let Some(anchor) = anchor(probe)? else { return Ok(None) };
    found(probe, &anchor)
}

/// A disk's anchor, in either byte order.
fn anchor(probe: &Probe<'_>) -> Result<Option<Vec<u8>>, ReadError> {
    if probe.size() < MIN_SIZE {
        return Ok(None);
    }
    for place in PLACES {
        let at = (probe.size() / SECTOR).saturating_sub(place) * SECTOR;
        let Some(anchor) = probe.bytes(at, 512)? else { continue };
        if anchor.has(0, &MAGIC) || anchor.has(0, &SWAPPED) {
            return Ok(Some(anchor.into_owned()));
        }
    }
    Ok(None)
}

/// What has to be written to a disk so that its metadata call a set inconsistent and these disks, by their reference,
/// missing: as mdmon does before the first write (mdadm: `ddf_set_array_state`, `handle_missing`,
/// `__write_ddf_structure`). Empty if they do already; `None` if the metadata are not as they should be. While one of the
/// two copies is being changed its header says so, and the other one counts.
///
/// # Errors
/// The device's read error.
pub fn dirty(dev: &dyn ReadAt, index: u32, missing: &[u32]) -> Result<Option<Writes>, ReadError> {
    let probe = Probe::new(dev)?;
    let Some(anchor) = anchor(&probe)?.filter(|anchor| anchor.has(0, &MAGIC) && intact(anchor)) else {
        return Ok(None);
    };
    let (mut writes, mut copies) = (Writes::new(), 0_u32);
    for (kind, place) in [(1, 96), (2, 104)] {
        let Some(base) = anchor.be64(place) else { continue };
        let Some(header) = header(&probe, base, kind, &anchor)? else { continue };
        let mut sections = [DISKS, VIRTUAL, CONFIGS].into_iter().map(|at| section(&probe, base, &header, at));
        let (Some(disks), Some(records), Some(configs)) =
            (sections.next().transpose()?, sections.next().transpose()?, sections.next().transpose()?)
        else {
            return Ok(None);
        };
        let (Some(disks), Some(records), Some(configs)) = (disks, records, configs) else { return Ok(None) };
        let Some(marked) = marked(&header, &disks, &records, &configs, index, missing) else {
            return Ok(None);
        };
        copies += 1;
        if marked.is_empty() {
            continue;
        }
        // With other members it is another state of the whole group.
        let closed = if missing.is_empty() { Some(header.clone()) } else { resealed(&header, newer) };
        let open = resealed(&header, |header| set_byte(header, 48, 1));
        let (Some(open), Some(closed), Some(base)) = (open, closed, base.checked_mul(SECTOR)) else {
            return Ok(None);
        };
        writes.push((base, open));
        writes.extend(marked);
        writes.push((base, closed));
    }
    Ok((copies > 0).then_some(writes))
}

/// Those of a copy's sections that change, a configuration by itself.
fn marked(
    header: &[u8],
    disks: &(u64, Vec<u8>),
    records: &(u64, Vec<u8>),
    configs: &(u64, Vec<u8>),
    index: u32,
    missing: &[u32],
) -> Option<Writes> {
    let mut writes = Writes::new();
    let (at, entry) = entry_of(&records.1, index)?;
    let guid: [u8; 24] = entry.array(0)?;
    let length = usize::from(header.be16(134)?).checked_mul(512).filter(|length| *length > 0)?;
    let mut degraded = None;
    if !missing.is_empty() {
        writes.push((disks.0, resealed(&disks.1, |disks| lose(disks, missing))?));
        for (number, config) in configs.1.chunks_exact(length).enumerate() {
            let ours = config.be32(0) == Some(CONFIG) && intact(config) && config.array(8) == Some(guid);
            if ours {
                let count = usize::from(config.be16(64)?);
                // Of a mirror of three two are left.
                let left = (0..count).filter(|slot| {
                    config.be32(512 + slot * 4).is_some_and(|reference| !missing.contains(&reference))
                });
                degraded = degraded.max(Some(if config.u8(67)? == 1 && left.count() > 1 { 5 } else { 1 }));
                let place = configs.0.checked_add(u64::try_from(number.checked_mul(length)?).ok()?)?;
                writes.push((place, resealed(config, |config| forget(config, count, missing))?));
            }
        }
        // A disk with no part of the set says nothing of its level.
        degraded = Some(degraded.unwrap_or(1));
    }
    let state = entry.u8(32)?;
    let wanted = degraded.map_or(state, |degraded| state & !7 | degraded) | INCONSISTENT;
    if state != wanted {
        writes.push((records.0, resealed(&records.1, |records| set_byte(records, at + 32, wanted))?));
    }
    Some(writes)
}

/// Calls these disks failed, missing and not online.
fn lose(disks: &mut [u8], missing: &[u32]) -> Option<()> {
    let count = disks.be16(10)?;
    for reference in missing {
        let at = (0..usize::from(count))
            .map(|number| 64 + number * 64)
            .find(|at| disks.be32(at + 24) == Some(*reference))?;
        let state = disks.be16(at + 30)? & !1 | 2 | 64;
        disks.get_mut(at + 30..at + 32)?.copy_from_slice(&state.to_be_bytes());
    }
    Some(())
}

/// Takes these disks out of a configuration, which grows newer by that.
fn forget(config: &mut [u8], count: usize, missing: &[u32]) -> Option<()> {
    let sequence = config.be32(36)?.wrapping_add(1);
    config.get_mut(36..40)?.copy_from_slice(&sequence.to_be_bytes());
    let references = config.get_mut(512..)?.chunks_exact_mut(4).take(count);
    for reference in references {
        if reference.be32(0).is_some_and(|reference| missing.contains(&reference)) {
            reference.fill(0);
        }
    }
    Some(())
}

/// The next sequence number of a header.
fn newer(header: &mut [u8]) -> Option<()> {
    let sequence = header.be32(40)?.wrapping_add(1);
    header.get_mut(40..44)?.copy_from_slice(&sequence.to_be_bytes());
    Some(())
}

fn set_byte(bytes: &mut [u8], at: usize, value: u8) -> Option<()> {
    *bytes.get_mut(at)? = value;
    Some(())
}

/// Where the entry of a set is in the virtual disk records, and the entry.
fn entry_of(records: &[u8], index: u32) -> Option<(usize, &[u8])> {
    let used = records.be32(0) == Some(RECORDS) && intact(records) && index < u32::from(records.be16(10)?);
    let at = usize::try_from(index).ok()?.checked_mul(64)?.checked_add(64)?;
    let entry = records.slice(at, 64).filter(|_| used)?;
    set(index, entry).map(|_| (at, entry))
}

fn found(probe: &Probe<'_>, anchor: &[u8]) -> Result<Option<Found>, ReadError> {
    let big = anchor.has(0, &MAGIC);
    let lba = if big { anchor.be64(96) } else { anchor.le64(96) }.unwrap_or(0);
    // blkid asks for the primary header's magic number, mdadm for much more.
    if lba > 0 {
        let Some(at) = lba.checked_mul(SECTOR) else { return Ok(None) };
        let Some(primary) = probe.bytes(at, 4)? else { return Ok(None) };
        if anchor.get(..4) != Some(&primary) {
            return Ok(None);
        }
    }
    let group = if big { read(probe, anchor)? } else { None };
    let doubt = match (&group, big) {
        (Some(_), _) => None,
        (None, true) => {
            Some("checksum or content of the DDF metadata is wrong; look at it with mdadm --examine")
        }
        (None, false) => {
            Some("this controller's DDF is in a byte order that neither md nor mdadm understands")
        }
    };
    Ok(Some(Found {
        signature: Signature {
            uuid: anchor.slice(8, 24).and_then(text::ascii),
            version: anchor.slice(32, 8).and_then(text::ascii),
            doubt: doubt.map(Into::into),
            ..Signature::new(Format::Ddf.kind())
        },
        disk: group.map(Disk::Ddf),
    }))
}

/// Whether the CRC at byte 4 is that of the bytes with the CRC itself all ones: the specification's, or mdadm's, which
/// begins with zero and inverts nothing at the end.
fn intact(bytes: &[u8]) -> bool {
    sums(bytes).is_some_and(|sums| bytes.be32(4).is_some_and(|stored| sums.contains(&stored)))
}

/// mdadm's CRC and the specification's.
fn sums(bytes: &[u8]) -> Option<[u32; 2]> {
    let (head, tail) = (bytes.get(..4)?, bytes.get(8..)?);
    let crc = |start: u32| crc32(crc32(crc32(start, head), &[0xff; 4]), tail);
    Some([crc(0), !crc(!0)])
}

/// The bytes after a change, with a CRC of the kind that they had; `None` if it was wrong.
fn resealed(bytes: &[u8], change: impl FnOnce(&mut [u8]) -> Option<()>) -> Option<Vec<u8>> {
    let kind = sums(bytes)?.iter().position(|sum| bytes.be32(4) == Some(*sum))?;
    let mut bytes = bytes.to_vec();
    change(&mut bytes)?;
    let sum = *sums(&bytes)?.get(kind)?;
    bytes.get_mut(4..8)?.copy_from_slice(&sum.to_be_bytes());
    Some(bytes)
}

/// The header at `lba` if it fits the anchor.
fn header(probe: &Probe<'_>, lba: u64, kind: u8, anchor: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
    let Some(at) = lba.checked_mul(SECTOR) else { return Ok(None) };
    let Some(bytes) = probe.bytes(at, 512)? else { return Ok(None) };
    // Identity, revision, places, and everything from the type on.
    let same =
        [8..40, 96..112, 113..512].into_iter().all(|range| bytes.get(range.clone()) == anchor.get(range));
    let good = bytes.has(0, &MAGIC) && bytes.u8(112) == Some(kind) && same && intact(&bytes);
    Ok(good.then(|| bytes.into_owned()))
}

fn read(probe: &Probe<'_>, anchor: &[u8]) -> Result<Option<Group>, ReadError> {
    let revision = anchor.has(32, b"01.00.00") || anchor.has(32, b"01.02.00");
    let (Some(primary_at), Some(secondary_at)) = (anchor.be64(96), anchor.be64(104)) else { return Ok(None) };
    if !revision || !intact(anchor) {
        return Ok(None);
    }
    let primary = header(probe, primary_at, 1, anchor)?;
    let secondary = header(probe, secondary_at, 2, anchor)?;
    // mdadm's choice: the newer one, unless it was being written.
    let (active, base) = match (primary, secondary) {
        (Some(primary), Some(secondary)) => {
            let (old, new) = (primary.be32(40), secondary.be32(40));
            let open = |header: &[u8]| header.u8(48) != Some(0);
            if (old < new && !open(&secondary)) || (old == new && open(&primary) && !open(&secondary)) {
                (secondary, secondary_at)
            } else {
                (primary, primary_at)
            }
        }
        (Some(primary), None) => (primary, primary_at),
        (None, Some(secondary)) => (secondary, secondary_at),
        (None, None) => return Ok(None),
    };
    let section = |at: usize| -> Result<Option<Vec<u8>>, ReadError> {
        Ok(section(probe, base, &active, at)?.map(|(_, bytes)| bytes))
    };
    let controller = section(192)?.unwrap_or_default();
    let (Some(physical), Some(virtual_), Some(configs), Some(data)) =
        (section(DISKS)?, section(VIRTUAL)?, section(CONFIGS)?, section(224)?)
    else {
        return Ok(None);
    };
    let mut group = group(&active, &physical, &virtual_, &configs, &data);
    if let Some(group) = &mut group {
        group.fickle = controller.has(8, b"LSI     ");
        let ours = intact(&controller) && controller.has(8, b"Linux-MD");
        let host = controller.get(64..512).filter(|_| ours);
        let host = host.and_then(|data| data.split(|byte| *byte == 0).next());
        group.host =
            host.map(|name| String::from_utf8_lossy(name).into_owned()).filter(|name| !name.is_empty());
    }
    Ok(group)
}

/// A section's place in bytes, and what is there: the header says offset and length side by side, in sectors.
fn section(
    probe: &Probe<'_>,
    base: u64,
    header: &[u8],
    at: usize,
) -> Result<Option<(u64, Vec<u8>)>, ReadError> {
    let (Some(offset), Some(length)) = (header.be32(at), header.be32(at + 4)) else { return Ok(None) };
    let start = base.checked_add(offset.into()).and_then(|sector| sector.checked_mul(SECTOR));
    let (Some(start), true) = (start, length <= MAX_SECTION) else { return Ok(None) };
    Ok(probe.bytes(start, length as usize * 512)?.map(|bytes| (start, bytes.into_owned())))
}

fn group(header: &[u8], physical: &[u8], virtual_: &[u8], configs: &[u8], data: &[u8]) -> Option<Group> {
    let checked = |bytes: &[u8], magic: u32| bytes.be32(0) == Some(magic) && intact(bytes);
    let data = data.get(..512)?;
    if !checked(physical, 0x2222_2222) || !checked(virtual_, RECORDS) || !checked(data, 0x3333_3333) {
        return None;
    }
    let disk = data.be32(32)?;
    let entries = physical.get(64..)?.chunks_exact(64).take(physical.be16(10)?.into());
    let disks = entries.filter_map(self::disk).collect();
    let entries = virtual_.get(64..)?.chunks_exact(64).take(virtual_.be16(10)?.into());
    let sets = (0..).zip(entries).filter_map(|(index, entry)| set(index, entry)).collect();
    let (record, elements) = (usize::from(header.be16(134)?), usize::from(header.be16(136)?));
    let mut parts = Vec::new();
    let mut spare = false;
    for config in configs.chunks_exact(record.checked_mul(512).filter(|length| *length > 0)?) {
        match config.be32(0) {
            Some(CONFIG) if intact(config) => parts.extend(part(config, elements)),
            Some(0x5555_5555) if intact(config) => spare = true,
            // Unused, or known to the vendor alone.
            _ => {}
        }
    }
    Some(Group {
        guid: header.array(8)?,
        sequence: header.be32(40)?,
        disk,
        disks,
        sets,
        parts,
        spare,
        fickle: false,
        host: None,
    })
}

fn disk(entry: &[u8]) -> Option<Physical> {
    let reference = entry.be32(24).filter(|reference| *reference != u32::MAX)?;
    Some(Physical { reference, kind: entry.be16(28)?, state: entry.be16(30)?, sectors: entry.be64(32)? })
}

fn set(index: u32, entry: &[u8]) -> Option<Virtual> {
    let guid: [u8; 24] = entry.array(0)?;
    if guid.iter().all(|byte| *byte == 0xff) {
        return None;
    }
    Some(Virtual {
        index,
        guid,
        name: text::ascii(entry.slice(48, 16)?).unwrap_or_default(),
        state: entry.u8(32)?,
        initialised: entry.u8(33)? & 3,
    })
}

fn part(record: &[u8], elements: usize) -> Option<Config> {
    let count = usize::from(record.be16(64)?).min(elements);
    let references = record.get(512..)?;
    let offsets = references.get(elements.checked_mul(4)?..)?;
    let members = (0..count).map(|slot| Some((references.be32(slot * 4)?, offsets.be64(slot * 8)?)));
    Some(Config {
        guid: record.array(8)?,
        sequence: record.be32(36)?,
        stride_shift: record.u8(66)?,
        level: (record.u8(67)?, record.u8(68)?),
        secondary: (record.u8(69)?, record.u8(70)?, record.u8(71)?),
        sectors: record.be64(72)?,
        total: record.be64(80)?,
        members: members.collect::<Option<_>>()?,
    })
}

impl Config {
    /// md's level and layout, and the number of members of all basic virtual disks together (mdadm: `layout_ddf2md`); `None`
    /// for what is not started through md. That is RAID 4 and 6 too, which mdadm knows, and concatenated disks: for these
    /// mdadm has a level, but never tells the kernel (`sysfs_set_array` leaves out every level below zero), so that it starts
    /// none either.
    #[must_use]
    pub fn level(&self) -> Option<(u32, u32, u32)> {
        let members = u32::try_from(self.members.len()).ok()?;
        let (sets, _, joined) = self.secondary;
        if sets > 1 {
            let striped = self.level.0 == 1 && matches!(joined, 0 | 3);
            let layout = match (members, self.level.1) {
                (2, 0) => 0x102,
                (3, 1) => 0x103,
                _ => return None,
            };
            return striped.then_some((10, layout, members.checked_mul(sets.into())?));
        }
        let (level, layout) = match (self.level, members) {
            ((0, 0), _) => (0, 0),
            ((1, 0), 2) | ((1, 1), 3) => (1, 0),
            ((0x11, 0), _) => (10, 0x102),
            ((0x11, 1), _) => (10, 0x201),
            ((5, 2), _) => (5, 0),
            ((5, 0), _) => (5, 1),
            ((5, 3), _) => (5, 2),
            _ => return None,
        };
        Some((level, layout, members))
    }
}

impl Group {
    /// mdadm's UUID of the group, or of a set; four words as `mdadm --detail` prints them.
    #[must_use]
    pub fn uuid(&self, set: Option<&Virtual>) -> [u8; 16] {
        let mut words = match set {
            None => sha1::uuid(&[&self.guid]),
            Some(set) if !self.fickle => sha1::uuid(&[&set.guid]),
            Some(set) => {
                let mut name = [0; 16];
                for (into, byte) in name.iter_mut().zip(set.name.as_bytes()) {
                    *into = *byte;
                }
                let [low, high, ..] = set.index.to_le_bytes();
                sha1::uuid(&[&self.guid, &name, &[low, high]])
            }
        };
        words.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        words
    }
}
