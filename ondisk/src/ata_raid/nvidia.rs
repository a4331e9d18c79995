//! NVIDIA nForce RAID (layout: dmraid's lib/format/ataraid/nv.h, published by NVIDIA).

use crate::bytes::Bytes as _;

use super::model::{Above, Level, Parity, Part, State};
use super::{letters, sum32};

pub(super) const MAGIC: &[u8] = b"NVIDIA";
/// Length of the structure; also stated in it, in words.
const LENGTH: usize = 120;

/// `VERSION` as blkid prints it.
pub(super) fn version(sector: &[u8]) -> Option<String> {
    sector.has(0, MAGIC).then(|| sector.le16(0x10)).flatten().map(|version| version.to_string())
}

/// `data` is what lies before the metadata, in sectors; dmraid takes all of it.
pub(super) fn part(sector: &[u8], data: u64) -> Option<Part> {
    let meta = sector.slice(0, LENGTH)?;
    // The words, the checksum among them, add up to zero.
    if usize::try_from(meta.le32(8)?) != Ok(LENGTH / 4) || sum32(meta) != 0 {
        return None;
    }
    let unit = u32::from(meta.u8(0x12)?);
    let signature = (0..4).filter_map(|word| meta.le32(0x38 + word * 4)).fold(0, u32::wrapping_add);
    let (job, width, volumes) = (meta.u8(0x48)?, u32::from(meta.u8(0x49)?), u32::from(meta.u8(0x4a)?));
    let (code, stride, flags) = (meta.le32(0x4c)?, meta.le32(0x50)?, meta.le32(0x74)?);
    let nested = code == 0x8180;
    let in_use = match code {
        0x81 | 0x8a | 0x8180 => width * 2,
        0x95 => width + 1,
        _ => width,
    };
    let level = match code {
        _ if volumes >= in_use && unit >= in_use => Level::Spare,
        0 => Level::Spare,
        0xff => Level::Linear,
        0x80 | 0x8180 => Level::Raid0,
        0x81 => Level::Raid1,
        0x95 => Level::Raid5(Parity::LeftSymmetric),
        // Among them RAID 3 (0x83), which dmraid calls RAID 4 and maps no more than FreeBSD does.
        code => Level::Unsupported(code),
    };
    let state = match job {
        _ if flags & 2 != 0 => State::Broken,
        0 => State::Ok,
        2 | 5 => State::Unsynced,
        _ => State::Rebuilding,
    };
    let name = letters(&format!("nvidia_{signature:08x}"), 7, usize::MAX);
    let half = u32::from(unit >= width);
    Some(Part {
        set: if nested { format!("{name}-{half}") } else { name.clone() },
        above: nested.then_some(Above { set: name, level: Level::Raid1, stride, order: half, members: 2 }),
        level,
        stride,
        members: if nested { volumes / 2 } else { volumes },
        order: unit,
        offset: 0,
        sectors: data,
        state,
        total: None,
        generation: None,
    })
}
