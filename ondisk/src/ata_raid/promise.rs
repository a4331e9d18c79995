//! Promise FastTrak (layout: dmraid's lib/format/ataraid/pdc.h).

use crate::bytes::Bytes as _;

use super::model::{Above, Level, Part, State};
use super::{letters, sum32};

pub(super) const MAGIC: &[u8] = b"Promise Technology, Inc.";
/// Sectors from the end of the disk at which metadata may begin, in libblkid's order.
pub(super) const PLACES: [u64; 13] = [63, 255, 256, 16, 399, 591, 675, 735, 911, 974, 991, 951, 3087];
/// One disk may be part of several sets: further areas follow at this distance in sectors.
pub(super) const NEXT: u64 = 14;
/// At most so many areas.
pub(super) const AREAS: u64 = 4;
/// Length of an area in bytes.
pub(super) const LENGTH: usize = 2048;

/// `place` is where the first area was found, in sectors from the end; `first` says whether this is that area.
pub(super) fn part(area: &[u8], disk: u64, place: u64, first: bool) -> Option<Part> {
    let (body, stored) = (area.get(..LENGTH - 4)?, area.le32(LENGTH - 4)?);
    // dmraid leaves the further areas unchecked.
    if !area.has(0, MAGIC) || (first && sum32(body) != stored) {
        return None;
    }
    let number = u32::from(area.u8(0x205)?);
    let start = area.le32(0x210)?;
    let (code, total) = (area.u8(0x21f)?, u32::from(area.u8(0x220)?));
    let (shift, sectors, magic) = (area.u8(0x221)?, u64::from(area.le32(0x224)?), area.le32(0x22c)?);
    if !(1..8).contains(&total) {
        return None;
    }
    let stride = if shift == 0 { 0 } else { 1_u32.checked_shl(shift.into())? };
    let nested = code == 2 || (code == 1 && total > 3);
    let half = total / 2;
    let (level, share) = match code {
        _ if nested => (Level::Raid0, sectors.checked_div(half.into())?),
        0 => (Level::Raid0, sectors / u64::from(total)),
        1 => (Level::Raid1, sectors),
        8 => (Level::Linear, disk.checked_sub(place)?),
        code => (Level::Unsupported(code.into()), 0),
    };
    let name = letters(&format!("pdc_{magic}"), 4, usize::MAX);
    let upper = u32::from(number >= half);
    Some(Part {
        set: if nested { format!("{name}-{upper}") } else { name.clone() },
        above: nested.then_some(Above { set: name, level: Level::Raid1, stride, order: upper, members: 2 }),
        level,
        stride,
        members: if nested { half } else { total },
        order: number,
        offset: if first { 0 } else { start.into() },
        sectors: share,
        state: State::Ok,
        total: None,
        generation: None,
    })
}
