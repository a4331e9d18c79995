//! The label of a physical volume and its metadata areas (lvm2: lib/label/label.h, lib/format_text/layout.h).

use super::model::{Area, PhysicalVolume, VolumeGroup};
use super::{CRC_INIT, MetadataError, SECTOR, bare_id, parse_metadata};
use crate::ReadError;
use crate::bytes::Bytes as _;
use crate::crc::crc32;
use crate::probe::Probe;

/// The label may be in any of the first four sectors; pvcreate writes it to the second.
pub(super) const LABEL_SECTORS: usize = 4;
/// Areas in one list: pvcreate writes one of data and at most two of metadata.
const MAX_AREAS: usize = 8;
/// Length of a metadata area's header; the ring of texts begins behind it.
const HEADER: u64 = 512;
const MAGIC: &[u8] = b" LVM2 x[5A%r0N*>";
/// Flag of a text's location: `vgchange --vgmetadatacopies` switched the area off.
const IGNORED: u32 = 1;
/// Longest text that is read. The default area holds two of half a megabyte.
const MAX_TEXT: u64 = 8 << 20;

/// Whether a sector of `head` is a label that lvm2 accepts.
fn is_label(sector: u64, label: &[u8]) -> bool {
    label.has(0, b"LABELONE")
        && label.has(24, b"LVM2 001")
        && label.le64(8) == Some(sector)
        && label.get(20..).map(|rest| crc32(CRC_INIT, rest)) == label.le32(16)
}

/// Reads the label and the newest valid metadata of a PV.
///
/// Costs up to two reads per metadata area beyond the first 68 KiB: its header and, if it is another, its text.
pub(super) fn read(probe: &Probe<'_>) -> Result<Option<PhysicalVolume>, ReadError> {
    let labels = probe.head().chunks_exact(SECTOR).take(LABEL_SECTORS);
    let label = (0..).zip(labels).find(|(sector, label)| is_label(*sector, label));
    let Some(mut pv) = label.and_then(|(_, label)| header(label)) else { return Ok(None) };
    let mut known = None;
    for (index, area) in pv.metadata_areas.iter().enumerate() {
        let number = index.saturating_add(1);
        let doubt = match copy(probe, *area, &mut known) {
            Ok(None) => continue,
            Ok(Some(vg)) if pv.vg.as_ref().is_none_or(|newest| newest.seqno < vg.seqno) => {
                match pv.vg.replace(vg) {
                    None => continue,
                    Some(older) => {
                        format!("metadata area {} is older (seqno {})", number.saturating_sub(1), older.seqno)
                    }
                }
            }
            Ok(Some(vg)) if pv.vg.as_ref().is_some_and(|newest| newest.seqno > vg.seqno) => {
                format!("metadata area {number} is older (seqno {})", vg.seqno)
            }
            Ok(Some(_)) => continue,
            Err(Damage::Read(error)) => format!("metadata area {number}: {error}"),
            Err(Damage::Header(what)) => format!("metadata area {number} has a header with a wrong {what}"),
            Err(Damage::Text(what)) => format!("metadata area {number}: {what}"),
        };
        pv.doubts.push(doubt);
    }
    Ok(Some(pv))
}

/// What the label sector says.
fn header(label: &[u8]) -> Option<PhysicalVolume> {
    let header = label.get(usize::try_from(label.le32(20)?).ok()?..)?;
    let id = bare_id(std::str::from_utf8(header.slice(0, 32)?).ok()?)?;
    let device_size = header.le64(32)?;
    let (data_areas, at) = areas(header, 40)?;
    let (metadata_areas, _) = areas(header, at)?;
    Some(PhysicalVolume { id, device_size, data_areas, metadata_areas, vg: None, doubts: Vec::new() })
}

/// A list of areas that ends with one at 0; also where the next list begins.
fn areas(header: &[u8], mut at: usize) -> Option<(Vec<Area>, usize)> {
    let mut list = Vec::new();
    loop {
        let area = Area { offset: header.le64(at)?, length: header.le64(at.checked_add(8)?)? };
        at = at.checked_add(16)?;
        if area.offset == 0 {
            return Some((list, at));
        }
        if list.len() >= MAX_AREAS {
            return None;
        }
        list.push(area);
    }
}

/// Why a copy of the metadata cannot be used.
enum Damage {
    Read(ReadError),
    Header(&'static str),
    Text(String),
}

impl From<ReadError> for Damage {
    fn from(error: ReadError) -> Self {
        Damage::Read(error)
    }
}

impl From<MetadataError> for Damage {
    fn from(error: MetadataError) -> Self {
        Damage::Text(error.to_string())
    }
}

/// The committed metadata of one area; `None` when it holds none, is switched off, or has the text already `known` by
/// checksum and length, which need not be read twice.
fn copy(
    probe: &Probe<'_>,
    area: Area,
    known: &mut Option<(u32, u64)>,
) -> Result<Option<VolumeGroup>, Damage> {
    let header =
        probe.bytes(area.offset, SECTOR)?.ok_or(Damage::Header("position: the device ends before it"))?;
    let field = |value: Option<u64>| value.unwrap_or(0);
    if header.le32(0) != header.get(4..).map(|rest| crc32(CRC_INIT, rest)) {
        return Err(Damage::Header("checksum"));
    }
    if !header.has(4, MAGIC) {
        return Err(Damage::Header("magic number"));
    }
    if header.le32(20) != Some(1) {
        return Err(Damage::Header("version"));
    }
    if field(header.le64(24)) != area.offset {
        return Err(Damage::Header("start"));
    }
    let size = field(header.le64(32));
    // The first of the raw locations is the committed one; the second is only read by the command that wrote it.
    let (offset, length) = (field(header.le64(40)), field(header.le64(48)));
    let checksum = header.le32(56).unwrap_or(0);
    if offset == 0 || header.le32(60).unwrap_or(0) & IGNORED != 0 || *known == Some((checksum, length)) {
        return Ok(None);
    }
    let ring = size.checked_sub(HEADER).ok_or(Damage::Header("size"))?;
    if !(HEADER..size).contains(&offset) || length > ring {
        return Err(Damage::Text("its text does not fit into the area".into()));
    }
    if length > MAX_TEXT {
        return Err(MetadataError::TooLarge.into());
    }
    // What does not fit before the end of the ring continues at its beginning.
    let first = length.min(size.saturating_sub(offset));
    let wrapped = length.saturating_sub(first);
    let piece = |offset: u64, length: u64| -> Result<_, Damage> {
        let at = area.offset.checked_add(offset).zip(usize::try_from(length).ok());
        let bytes = at.map(|(at, length)| probe.bytes(at, length)).transpose()?.flatten();
        bytes.ok_or_else(|| Damage::Text("its text lies beyond the end of the device".into()))
    };
    let mut text = piece(offset, first)?;
    if wrapped > 0 {
        let rest = piece(HEADER, wrapped)?;
        text.to_mut().extend_from_slice(&rest);
    }
    if crc32(CRC_INIT, &text) != checksum {
        return Err(Damage::Text("the checksum of its text is wrong".into()));
    }
    let vg = parse_metadata(&text)?;
    *known = Some((checksum, length));
    Ok(Some(vg))
}
