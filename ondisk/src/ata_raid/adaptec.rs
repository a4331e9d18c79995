//! Adaptec HostRAID (layout: dmraid's lib/format/ataraid/asr.h, published by Adaptec); big-endian throughout.

use crate::bytes::Bytes as _;
use crate::text;

use super::model::{Above, Level, Part, State};

/// Version of the reserved block that is understood.
const VERSION: u8 = 8;
/// Bytes before the lines of the table.
const HEAD: usize = 64;
/// Bytes of a line.
const LINE: usize = 64;
/// More lines than the format has room for.
const MAX_LINES: u16 = 127;
/// Length of the table in bytes.
pub(super) const TABLE: usize = HEAD + LINE * MAX_LINES as usize;

/// `VERSION` as blkid prints it.
pub(super) fn version(sector: &[u8]) -> Option<String> {
    let version = sector.u8(0x3f)?;
    is_block(sector)?;
    Some(version.to_string())
}

fn is_block(sector: &[u8]) -> Option<()> {
    (sector.be32(0)? == 0x37fc_4d1e && sector.be32(0x100)? == 0x4450_544d).then_some(())
}

/// First sector of the table.
pub(super) fn table(block: &[u8]) -> Option<u64> {
    is_block(block)?;
    (block.u8(0x3f)? == VERSION).then(|| block.be32(0x104)).flatten().map(u64::from)
}

/// One line of the table: a disk or an array.
#[derive(Clone, Copy)]
struct Line<'a>(&'a [u8]);

impl Line<'_> {
    fn count(self) -> Option<u32> {
        self.0.be16(0).map(u32::from)
    }
    fn id(self) -> Option<u32> {
        self.0.be32(4)
    }
    /// 0 is a disk, 1 an array of disks, 3 an array of arrays.
    fn tier(self) -> Option<u8> {
        self.0.u8(8)
    }
    fn level(self) -> Option<Level> {
        Some(match self.0.u8(9)? {
            0 => Level::Raid0,
            1 => Level::Raid1,
            0xfe => Level::Spare,
            code => Level::Unsupported(code.into()),
        })
    }
    /// Host adapter, channel, LUN and SCSI id, by which dmraid orders the disks.
    fn address(self) -> Option<u64> {
        let (hba, channel, lun) = (self.0.u8(13)?, self.0.u8(14)?, self.0.u8(15)?);
        let high = u32::from_be_bytes([0, hba, channel, lun]);
        Some(u64::from(high) << 32 | u64::from(self.0.be32(16)?))
    }
    fn name(self) -> Option<String> {
        text::ascii(self.0.slice(48, 16)?)
    }
}

pub(super) fn part(block: &[u8], table: &[u8]) -> Option<Part> {
    let count = table.be16(10)?;
    if table.be32(0)? != 0x9007_65c4
        || count == 0
        || count >= table.be16(8)?
        || usize::from(table.be16(12)?) != LINE
        || count > MAX_LINES
    {
        return None;
    }
    let lines: Vec<Line<'_>> = table.get(HEAD..)?.chunks_exact(LINE).take(count.into()).map(Line).collect();
    let own = block.be32(0x40)?;
    let place = lines.iter().rposition(|line| line.id() == Some(own))?;
    let disk = *lines.get(place)?;
    // The array that the disk belongs to is the nearest one above it in the table.
    let array = lines.iter().take(place).rev().find(|line| line.tier() == Some(1));
    let top = lines.iter().find(|line| line.tier() == Some(3));
    // Lines without a name bear that of the first.
    let first = lines.first()?;
    let named = |line: &Line<'_>| line.name().or_else(|| first.name()).unwrap_or_default();
    let name = format!("asr_{}", named(&disk));
    let stride = u32::from(disk.0.be16(28)?);
    let mut others: Vec<u64> =
        lines.iter().filter(|line| line.tier() == Some(0)).filter_map(|line| line.address()).collect();
    others.sort_unstable();
    let order = others.iter().position(|address| Some(*address) == disk.address()).unwrap_or(place);
    let spare = disk.level() == Some(Level::Spare);
    let level = if spare { Level::Spare } else { array?.level()? };
    let nested = !spare && top.is_some();
    let below = lines.iter().filter(|line| line.tier() == Some(1));
    let below: Vec<u32> = below.filter_map(|line| line.id()).collect();
    let array_id = array.and_then(|array| array.id());
    Some(Part {
        set: match array {
            _ if spare => ".asr_spares".into(),
            Some(array) if nested => format!(".asr_{}_{:x}_donotuse", named(array), array_id?),
            _ => name.clone(),
        },
        above: match nested {
            true => Some(Above {
                set: name,
                level: Level::Raid1,
                stride,
                order: u32::try_from(below.iter().position(|id| Some(*id) == array_id)?).ok()?,
                members: u32::try_from(below.len()).ok()?,
            }),
            false => None,
        },
        level,
        stride,
        members: array.and_then(|array| array.count()).unwrap_or(0),
        order: u32::try_from(order).ok()?,
        offset: 0,
        sectors: disk.0.be32(24)?.into(),
        state: match disk.0.u8(10)? {
            0 => State::Ok,
            1 | 3 => State::Broken,
            2 | 0x0a => State::Rebuilding,
            4 | 0x10 | 0x20 => State::Unsynced,
            _ => State::Broken,
        },
        total: None,
        generation: None,
    })
}
