//! Silicon Image Medley (layout: dmraid's lib/format/ataraid/sil.h).
//!
//! dmraid counts no members of RAID 5 and concatenations (`devices` in sil.c) and makes up their sizes (`sectors`). FreeBSD's
//! sys/geom/raid/md_sii.c knows both: `sii_meta_total_disks`, `sii_meta_disk_pos`, `g_raid_md_sii_start` and, for the shares of
//! concatenated disks, `g_raid_md_sii_start_disk`. Both put the parity left symmetric and the data at the start of the disks.

use crate::bytes::Bytes as _;

use super::letters;
use super::model::{Above, Level, Parity, Part, State};

/// Copies lie in the last sector and at this distance before it, in sectors.
pub(super) const NEXT: u64 = 512;
/// So many copies.
pub(super) const COPIES: u64 = 4;
/// Levels of which only FreeBSD says how they are laid out: RAID 5, disks one after the other, a disk by itself.
const PARITY: u32 = 16;
const JOINED: u32 = 4;
const SINGLE: u32 = 255;
/// More members than the format numbers.
const MOST: u32 = 8;
/// What concatenated disks keep free at their end, in sectors.
const RESERVED: u64 = 0x800;
/// Whose metadata, and in which version, FreeBSD vouches for.
const VENDOR: u16 = 0x1095;
const MAJOR: u16 = 2;

/// blkid's test, which is dmraid's with a few more bits of the magic number.
pub(super) fn version(sector: &[u8]) -> Option<String> {
    if sector.le32(0x60)? != 0x2f00_0000 || sector.u8(0x116)? >= 8 {
        return None;
    }
    intact(sector)?;
    Some(format!("{}.{}", sector.le16(0x10a)?, sector.le16(0x108)?))
}

fn intact(sector: &[u8]) -> Option<()> {
    let sum = (0..0x13e).step_by(2).filter_map(|at| sector.le16(at)).fold(0, u16::wrapping_add);
    (sum.wrapping_neg() == sector.le16(0x13e)?).then_some(())
}

/// Whether a copy may be used on a disk of so many sectors.
pub(super) fn is_valid(sector: &[u8], disk: u64) -> bool {
    intact(sector).is_some()
        && sector.le32(0x60).is_some_and(|magic| magic & 0x03ff_ffff == 0x0300_0000)
        && sector.u8(0x116).is_some_and(|number| number < 8)
        && sector.le32(0x78).is_some_and(|sectors| u64::from(sectors) <= disk)
}

pub(super) fn part(sector: &[u8], disk: u64) -> Option<Part> {
    let array = u64::from(sector.le32(0x6c)?) | u64::from(sector.le32(0x70)?) << 32;
    let at = |at| sector.u8(at).map(u32::from);
    let (second, minute, hour) = (at(0x10c)?, at(0x10d)?, at(0x10e)?);
    let (day, month, year) = (at(0x10f)?, at(0x110)?, at(0x111)?);
    let (number, code) = (at(0x116)?, at(0x117)?);
    let (striped, striped_set) = (at(0x118)?, at(0x119)?);
    let (mirrored, mirrored_set) = (at(0x11a)?, at(0x11b)?);
    let stride = u32::from(sector.le16(0x112)?);
    // The copies and the odd sector stay free.
    let usable = disk.checked_sub(3 * 512 + if disk % 2 == 1 { 1 } else { 2 })?;
    let known = sector.le16(0x106)? == VENDOR && sector.le16(0x10a)? == MAJOR;
    let (level, members, sectors) = match code {
        0 if (1..128).contains(&striped) && number < striped => {
            (Level::Raid0, striped, array / u64::from(striped))
        }
        1 => (Level::Raid1, mirrored, array),
        2 => (Level::Raid0, striped, array),
        3 => (Level::Spare, 0, usable),
        PARITY if known && (3..=MOST).contains(&striped) => {
            (Level::Raid5(Parity::LeftSymmetric), striped, array.checked_div((striped - 1).into())?)
        }
        // FreeBSD marks what it joined as single disks too, but with their number.
        JOINED | SINGLE if known && (2..=MOST).contains(&striped) => {
            (Level::Linear, striped, disk.checked_sub(RESERVED)?)
        }
        JOINED | SINGLE if known => (Level::Linear, 1, disk.checked_sub(RESERVED)?),
        code => (Level::Unsupported(code), 0, usable),
    };
    let stamp = format!("sil_{year:02}{month:02}{day:02}{hour:02}{:02}{:02}", minute % 60, second % 60);
    let name = letters(&stamp, 4, usize::MAX);
    let nested = code == 2;
    Some(Part {
        set: if nested { format!("{name}-{striped_set}") } else { name.clone() },
        above: nested.then_some(Above {
            set: name,
            level: Level::Raid1,
            stride,
            order: mirrored_set,
            members: mirrored,
        }),
        level,
        stride,
        members,
        order: number,
        offset: 0,
        sectors,
        state: state(sector, code)?,
        total: (level == Level::Linear).then_some(array),
        generation: Some(sector.le32(0x124)?),
    })
}

/// The disk's own state, which dmraid does not look at, and that of its set.
fn state(sector: &[u8], code: u32) -> Option<State> {
    Some(match (sector.u8(0x128)?, sector.u8(0x129)?) {
        (2, _) => State::Rebuilding,
        (3.., _) => State::Broken,
        // For FreeBSD it has failed, and dmraid would mark a failed one so; whether old firmware left it at that is not known.
        (0, _) if code == PARITY => State::Broken,
        (_, 0 | 2) => State::Ok,
        (_, 1) => State::Unsynced,
        _ => State::Broken,
    })
}
