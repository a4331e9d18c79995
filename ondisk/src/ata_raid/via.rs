//! VIA (layout: dmraid's lib/format/ataraid/via.h).

use crate::bytes::Bytes as _;

use super::letters;
use super::model::{Above, Level, Part, State};

/// `VERSION` as blkid prints it, if blkid takes it for a VIA disk.
pub(super) fn version(sector: &[u8]) -> Option<String> {
    let version = sector.u8(2)?;
    let sum = sector.get(..50)?.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    (sector.le16(0)? == 0xaa55 && version <= 2 && sum == sector.u8(50)?).then(|| version.to_string())
}

/// `data` is what lies before the metadata, in sectors.
pub(super) fn part(sector: &[u8], data: u64) -> Option<Part> {
    let disk = sector.le16(3)?;
    let more = sector.u8(5)?;
    let (in_array, code) = (disk & 4 != 0, disk >> 3 & 0xf);
    let (info, tolerance) = (disk >> 10 & 0x1f, disk >> 15 != 0);
    let serials = (0..8).filter_map(|slot| sector.le32(18 + slot * 4));
    let sum = serials.fold(u32::from(more), u32::wrapping_add);
    let stride = 8 << (more >> 4);
    let level = match code {
        0 | 9 => Level::Raid0,
        1 => Level::Raid1,
        8 => Level::Linear,
        code => Level::Unsupported(code.into()),
    };
    let nested = code == 9;
    let half = u32::from(info >> 3 & 1);
    let name = letters(&format!("via_{sum}"), 4, usize::MAX);
    let disks = u32::from(more & 7);
    Some(Part {
        set: if nested { format!("{name}-{half}") } else { name.clone() },
        above: nested.then_some(Above { set: name, level: Level::Raid1, stride, order: half, members: 2 }),
        level,
        stride,
        members: if code == 1 { 2 } else { disks },
        // A mirror's source comes first.
        order: u32::from(if code == 1 { u16::from(info & 3 != 0) } else { info & 7 }),
        offset: 0,
        sectors: data,
        state: if tolerance || !in_array { State::Broken } else { State::Ok },
        total: None,
        generation: None,
    })
}
