//! LSI Logic MegaRAID for IDE and SATA (layout: dmraid's lib/format/ataraid/lsi.h).

use crate::bytes::Bytes as _;

use super::letters;
use super::model::{Above, Level, Part, State};

pub(super) const MAGIC: &[u8] = b"$XIDE$";
/// Disks in the table.
const DISKS: usize = 4;

/// `data` is what lies before the metadata, in sectors.
pub(super) fn part(sector: &[u8], data: u64) -> Option<Part> {
    let (code, stride) = (sector.u8(0x10)?, u32::from(sector.le16(0x12)?));
    let (number, set_number, id) = (sector.u8(0x1f0)?, sector.u8(0x1f1)?, sector.le32(0x1f2)?);
    let slot = usize::from(set_number) * 2 + usize::from(number);
    let entry = sector.slice(0x20 + slot * 16, 16).filter(|_| slot < DISKS)?;
    let (stripe, mirror) = (u32::from(entry.u8(0)? & 0xf), u32::from(entry.u8(0)? >> 4));
    let offline = entry.u8(8)? != 0;
    let nested = code == 3;
    let level = match code {
        1 | 3 => Level::Raid0,
        2 => Level::Raid1,
        code => Level::Unsupported(code.into()),
    };
    let name = letters(&format!("lsi_{id}{set_number}"), 4, usize::MAX);
    Some(Part {
        set: if nested { format!("{name}-{mirror}") } else { name.clone() },
        above: nested.then_some(Above { set: name, level: Level::Raid1, stride, order: mirror, members: 2 }),
        level,
        stride,
        members: 2,
        order: if nested { stripe } else { u32::try_from(slot).ok()? },
        offset: 0,
        sectors: data,
        state: if offline { State::Broken } else { State::Ok },
        total: None,
        generation: None,
    })
}
