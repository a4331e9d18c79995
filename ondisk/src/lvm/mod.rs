//! LVM2 physical volumes and the metadata on them: label, metadata areas, text.

pub mod config;
mod import;
mod label;
pub mod model;
pub mod pool;
pub mod vdo;

use std::fmt;

pub use import::parse_metadata;
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

/// Text that is no usable metadata or configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataError {
    /// Not LVM's configuration format.
    Syntax {
        /// Line, from 1.
        line: u32,
        /// What is wrong there.
        what: &'static str,
    },
    /// Longer than anything real.
    TooLarge,
    /// Not the metadata of a volume group, or of a newer format.
    Foreign,
    /// Metadata that lvm2 would refuse too.
    Invalid {
        /// `VG vg`, `PV pv0` or `LV root`.
        object: String,
        /// The part of it that is missing or wrong.
        what: String,
    },
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetadataError::Syntax { line, what } => write!(f, "line {line} of its text: {what}"),
            MetadataError::TooLarge => f.write_str("its text is too large"),
            MetadataError::Foreign => f.write_str("its text is not LVM2 metadata of a known version"),
            MetadataError::Invalid { object, what } => write!(f, "wrong or missing in {object}: {what}"),
        }
    }
}

impl std::error::Error for MetadataError {}

/// What the PV says of itself and of its group; `None` without a usable label.
///
/// lvm2 takes the committed metadata of each area, skips an area whose header or text is damaged, and uses the highest
/// sequence number of all areas of all PVs. (A PV without any valid copy still counts as present.)
pub(crate) fn member(probe: &Probe<'_>) -> Result<Option<PhysicalVolume>, ReadError> {
    label::read(probe)
}

/// An identifier as 32 characters without dashes, from either form (lvm2: lib/uuid/uuid.c).
fn bare_id(written: &str) -> Option<String> {
    let id: String = written.chars().filter(|char| *char != '-').collect();
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'!' | b'#')))
        .then_some(id)
}

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    // RAID and LVM are not looked for on floppies.
    if probe.is_tiny() {
        return Ok(Found::Nothing);
    }
    let labels = probe.head().chunks_exact(SECTOR).take(label::LABEL_SECTORS);
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
