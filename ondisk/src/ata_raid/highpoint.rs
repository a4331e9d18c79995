//! HighPoint 37x and 45x (layouts: dmraid's lib/format/ataraid/hpt37x.h and hpt45x.h).

use crate::bytes::Bytes as _;

use super::letters;
use super::model::{Above, Level, Part, State};

/// 37x: where the structure begins, in bytes from the start of the disk; the magic number is 32 bytes on.
pub(super) const PLACE_37X: u64 = 4608;
/// 37x: length of what is read of it.
pub(super) const LENGTH_37X: usize = 64;
/// 37x: where data begin on all disks but the first, in sectors.
const DATA_37X: u64 = 10;

/// Whether a disk is said to be good; `None` if it is not a 37x disk.
pub(super) fn is_37x(meta: &[u8]) -> Option<bool> {
    good(meta.le32(32)?, 0x5a78_16f0)
}

/// Whether a disk is said to be good; `None` if it is not a 45x disk.
pub(super) fn is_45x(sector: &[u8]) -> Option<bool> {
    good(sector.le32(0)?, 0x5a78_16f3)
}

fn good(magic: u32, ok: u32) -> Option<bool> {
    const BAD: u32 = 0x5a78_16fd;
    (magic == ok || magic == BAD).then_some(magic == ok)
}

fn stride(shift: u8) -> Option<u32> {
    if shift == 0 { Some(0) } else { 1_u32.checked_shl(shift.into()) }
}

/// The name of the lower of two sets, and that of the only or upper one. The first number becomes letters; of the
/// second dmraid leaves the last two characters.
fn names(prefix: &str, id: u32, below: u32) -> (String, String) {
    let lower = format!("{prefix}{id}-{below}");
    let count = lower.len().saturating_sub(prefix.len() + 2);
    (letters(&lower, prefix.len(), count), letters(&format!("{prefix}{id}"), prefix.len(), usize::MAX))
}

pub(super) fn part_37x(meta: &[u8], disk: u64) -> Option<Part> {
    let good = is_37x(meta)?;
    let (set, array, order) = (meta.le32(36)?, meta.le32(40)?, meta.le32(44)?);
    let (disks, shift, code, number) = (meta.u8(48)?, meta.u8(49)?, meta.u8(50)?, meta.u8(51)?);
    let total = u64::from(meta.le32(52)?);
    if number >= 8 {
        return None;
    }
    let level = match code {
        _ if set == 0 => Level::Spare,
        0 | 2 if disks > 1 => Level::Raid0,
        1 | 7 => Level::Raid1,
        3 | 6 => Level::Linear,
        code => Level::Unsupported(code.into()),
    };
    // Of a mirror it is the number of its stripes, 1, in metadata that dmraid's author has seen (`check_rd` in hpt37x.c).
    let members = u32::from(if level == Level::Raid1 { disks.max(2) } else { disks });
    let offset = if number == 0 { 0 } else { DATA_37X };
    let all = match level {
        Level::Raid0 => total / u64::from(members.max(1)),
        Level::Raid1 => total,
        _ => disk,
    };
    let stride = stride(shift)?;
    let nested = set != 0 && matches!(code, 2 | 7);
    let id = if array == 0 { set } else { array };
    let (lower, name) = names("hpt37x_", id, order);
    let name = if set == 0 { "hpt37x_SPARE".into() } else { name };
    Some(Part {
        set: if nested { lower } else { name.clone() },
        above: nested.then_some(Above {
            set: name,
            level: if code == 2 { Level::Raid1 } else { Level::Raid0 },
            stride,
            order,
            members: 2,
        }),
        level,
        stride,
        members,
        order: number.into(),
        offset,
        sectors: all.checked_sub(offset)?,
        state: if good { State::Ok } else { State::Broken },
        total: None,
        generation: None,
    })
}

/// `data` is what lies before the metadata, in sectors.
pub(super) fn part_45x(sector: &[u8], data: u64) -> Option<Part> {
    let good = is_45x(sector)?;
    let (set, total) = (sector.le32(4)?, u64::from(sector.le32(12)?));
    let (code, disks, number, shift) = (sector.u8(16)?, sector.u8(17)?, sector.u8(18)?, sector.u8(19)?);
    let (upper, upper_number, upper_shift) = (sector.u8(32)?, sector.u8(34)?, sector.u8(35)?);
    if number >= 8 {
        return None;
    }
    let level = match code {
        _ if set == 0 => Level::Spare,
        4 => Level::Linear,
        5 => Level::Raid0,
        6 => Level::Raid1,
        code => Level::Unsupported(code.into()),
    };
    let members = u32::from(disks);
    // dmraid names the lower set as such whenever the upper level is a mirror.
    let named = upper == 6;
    let nested = named && level == Level::Raid0;
    let (lower, name) = names("hpt45x_", set, upper_number.into());
    let name = if set == 0 { "hpt45x_SPARE".into() } else { name };
    Some(Part {
        set: if named && set != 0 { lower } else { name.clone() },
        above: match nested {
            true => Some(Above {
                set: name,
                level: Level::Raid1,
                stride: stride(upper_shift)?,
                order: upper_number.into(),
                members: 2,
            }),
            false => None,
        },
        level,
        stride: stride(shift)?,
        members,
        order: number.into(),
        offset: 0,
        sectors: match level {
            Level::Raid0 => total / u64::from(members.max(1)),
            Level::Raid1 => total,
            _ => data,
        },
        state: if good { State::Ok } else { State::Broken },
        total: None,
        generation: None,
    })
}
