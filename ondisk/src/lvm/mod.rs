//! LVM2 physical volume label (lvm2: lib/label/label.h, lib/format_text/layout.h).

pub mod model;

pub use model::{Area, LogicalVolume, PhysicalVolume, PvEntry, Section, Segment, Value, VolumeGroup};

use crate::bytes::Bytes as _;
use crate::crc::crc32;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadError, Signature};

const SECTOR: usize = 512;
/// LVM2's CRC is CRC-32 with this initial value and no final inversion.
const CRC_INIT: u32 = 0xf597_a6cf;
/// Groups of a printed PV UUID.
const GROUPS: [usize; 7] = [6, 4, 4, 4, 4, 4, 6];

/// What the PV says of its group.
pub(crate) fn member(_probe: &Probe<'_>) -> Result<Option<PhysicalVolume>, ReadError> {
    Ok(None)
}

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    // RAID and LVM are not looked for on floppies.
    if probe.is_tiny() {
        return Ok(Found::Nothing);
    }
    // The label may be in any of the first four sectors; pvcreate writes it to the second.
    let labels = probe.head().chunks_exact(SECTOR).take(4);
    Ok((0..).zip(labels).find_map(|(sector, label)| parse(sector, label)).unwrap_or(Found::Nothing))
}

fn parse(sector: u64, label: &[u8]) -> Option<Found> {
    if !label.has(0, b"LABELONE") || !label.has(24, b"LVM2 001") || label.le64(8)? != sector {
        return None;
    }
    let mut signature = Signature {
        uuid: uuid(label.slice(32, 32)?),
        version: Some("LVM2 001".into()),
        ..Signature::new(Kind::Lvm2Pv)
    };
    if crc32(CRC_INIT, label.get(20..)?) != label.le32(16)? {
        signature.doubt = Some("checksum of the LVM label is wrong; try pvck --repair".into());
        return Some(Found::Rejected(signature));
    }
    Some(Found::Valid(signature))
}

/// 32 characters in LVM2's groups.
fn uuid(id: &[u8]) -> Option<String> {
    if id.iter().all(|byte| *byte == 0) {
        return None;
    }
    let mut rest = id;
    let mut groups = Vec::with_capacity(GROUPS.len());
    for length in GROUPS {
        let (group, tail) = rest.split_at_checked(length)?;
        groups.push(String::from_utf8_lossy(group).into_owned());
        rest = tail;
    }
    Some(groups.join("-"))
}
