//! JMicron (layout: dmraid's lib/format/ataraid/jm.h).

use crate::bytes::Bytes as _;
use crate::text;

use super::model::{Above, Level, Part, State};

/// Slots in the table of members.
const MEMBERS: usize = 8;

/// `VERSION` as blkid prints it.
pub(super) fn version(sector: &[u8]) -> Option<String> {
    let (minor, major) = (sector.u8(2)?, sector.u8(3)?);
    sector.has(0, b"JM").then(|| format!("{major}.{minor}"))
}

pub(super) fn part(sector: &[u8]) -> Option<Part> {
    let meta = sector.slice(0, 128)?;
    let sum = (0..128).step_by(2).filter_map(|at| meta.le16(at)).fold(0, u16::wrapping_add);
    if sum > 1 {
        return None;
    }
    // The low bits of a member are a segment of the disk.
    let disk = |at| meta.le32(at).map(|id| id & !0xf);
    let own = disk(0x10)?;
    let slots = (0..MEMBERS).filter_map(|slot| Some((slot, meta.le32(0x40 + slot * 4)?)));
    let mut number = None;
    let mut members = 0;
    for (slot, id) in slots {
        if id != 0 {
            members = u32::try_from(slot).ok()? + 1;
        }
        if id & !0xf == own {
            number = u32::try_from(slot).ok();
        }
    }
    let code = meta.u8(0x30)?;
    let level = match code {
        0 => Level::Raid0,
        1 | 2 => Level::Raid1,
        3 => Level::Linear,
        code => Level::Unsupported(code.into()),
    };
    let stride = 1_u32.checked_shl(u32::from(meta.u8(0x31)?) + 1)?;
    let name = format!("jmicron_{}", text::ascii(meta.slice(0x20, 16)?).unwrap_or_default());
    let nested = code == 2;
    let number = number?;
    let below = number / 2;
    Some(Part {
        set: if nested { format!("{name}-{below}") } else { name.clone() },
        above: nested.then_some(Above {
            set: name,
            level: Level::Raid0,
            stride,
            order: below,
            members: members / 2,
        }),
        level,
        stride,
        members: if nested { 2 } else { members },
        order: number,
        offset: meta.le32(0x14)?.into(),
        sectors: u64::from(meta.le32(0x18)?) * (32 << 11) + u64::from(meta.le16(0x1c)?),
        state: if meta.le16(0x32)? & !7 == 0 { State::Ok } else { State::Broken },
        total: None,
        generation: None,
    })
}
