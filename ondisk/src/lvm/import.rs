//! Metadata text to the model, refusing what lvm2 refuses (lvm2: lib/format_text/import_vsn1.c, flags.c).

use super::MetadataError;
use super::config;
use super::model::{LogicalVolume, PvEntry, Section, Segment, Value, VolumeGroup};

/// Longest name of a VG or LV (lvm2: NAME_LEN, which counts the end of the text).
const MAX_NAME: usize = 127;
/// Status words that an LV may have, those included that newer versions write behind the segment type.
const LV_STATUS: &[&str] = &[
    "READ",
    "WRITE",
    "FIXED_MINOR",
    "VISIBLE",
    "PVMOVE",
    "LOCKED",
    "NOTSYNCED",
    "REBUILD",
    "WRITEMOSTLY",
    "CACHE_VOL",
    "RESHAPE",
    "RESHAPE_DATA_OFFSET",
    "RESHAPE_DELTA_DISKS_PLUS",
    "RESHAPE_DELTA_DISKS_MINUS",
    "REMOVE_AFTER_RESHAPE",
    "METADATA_FORMAT",
    "CROP_METADATA",
    "CACHE_USES_CACHEVOL",
];
const VG_STATUS: &[&str] =
    &["EXPORTED", "RESIZEABLE", "PVMOVE", "READ", "WRITE", "CLUSTERED", "SHARED", "PARTIAL"];
const PV_STATUS: &[&str] = &["ALLOCATABLE", "EXPORTED", "MISSING"];

/// Reads the metadata of a volume group.
///
/// # Errors
/// [`MetadataError`]: no text of this format, or a group that lvm2 would refuse to read too.
pub fn parse_metadata(text: &[u8]) -> Result<VolumeGroup, MetadataError> {
    let root = config::parse(text)?;
    if root.text("contents") != Some("Text Format Volume Group") || root.number("version") != Some(1) {
        return Err(MetadataError::Foreign);
    }
    let group = root.0.into_iter().find_map(|(name, value)| match value {
        Value::Section(section) => Some((name, section)),
        _ => None,
    });
    let (name, group) = group.ok_or(MetadataError::Foreign)?;
    volume_group(name, group)
}

fn volume_group(name: String, mut group: Section) -> Result<VolumeGroup, MetadataError> {
    let at = Place::Vg(&name);
    if !valid_name(&name) {
        return Err(at.invalid("its name"));
    }
    if group.get("format").is_some() && group.text("format") != Some("lvm2") {
        return Err(at.invalid("its format, which is not lvm2"));
    }
    let mut status = status(&group, at, VG_STATUS)?;
    let flags = flags(&group, at)?;
    unlock_writes(&mut status, &flags);
    let extent_size = at.number(&group, "extent_size")?;
    if extent_size == 0 || u32::try_from(extent_size).is_err() {
        return Err(at.invalid("extent_size"));
    }
    let mut vg = VolumeGroup {
        id: id(&group, at)?,
        seqno: at.number(&group, "seqno")?,
        status,
        flags,
        system_id: group.text("system_id").filter(|id| !id.is_empty()).map(str::to_owned),
        lock_type: group.text("lock_type").map(str::to_owned),
        extent_size,
        tags: tags(&group, at)?,
        ..VolumeGroup::default()
    };
    for (name, pv) in
        sections(&mut group, "physical_volumes").ok_or_else(|| at.invalid("physical_volumes"))?
    {
        vg.pvs.push(physical_volume(name, &pv)?);
    }
    for (name, lv) in sections(&mut group, "logical_volumes").unwrap_or_default() {
        vg.lvs.push(logical_volume(name, lv, extent_size)?);
    }
    vg.name = name;
    Ok(vg)
}

fn physical_volume(name: String, pv: &Section) -> Result<PvEntry, MetadataError> {
    let at = Place::Pv(&name);
    let status = status(pv, at, PV_STATUS)?;
    Ok(PvEntry {
        id: id(pv, at)?,
        device: pv.text("device").map(str::to_owned),
        status,
        flags: flags(pv, at)?,
        tags: tags(pv, at)?,
        dev_size: pv.number("dev_size").unwrap_or(0),
        pe_start: at.number(pv, "pe_start")?,
        pe_count: at.number(pv, "pe_count")?,
        name,
    })
}

fn logical_volume(name: String, mut lv: Section, extent_size: u64) -> Result<LogicalVolume, MetadataError> {
    let at = Place::Lv(&name);
    if !valid_name(&name) {
        return Err(at.invalid("its name"));
    }
    let mut status = status(&lv, at, LV_STATUS)?;
    let flags = flags(&lv, at)?;
    unlock_writes(&mut status, &flags);
    let fixed = status.iter().any(|word| word == "FIXED_MINOR");
    let device_number = if fixed { device_number(&lv, at)? } else { None };
    let read_ahead = match lv.get("read_ahead") {
        Some(Value::Number(-1)) => Some(0),
        Some(Value::Number(sectors)) => u32::try_from(*sectors).ok().filter(|sectors| *sectors > 0),
        _ => None,
    };
    let id = id(&lv, at)?;
    let tags = tags(&lv, at)?;
    let segment_count = at.number(&lv, "segment_count")?;
    let mut segments = Vec::new();
    for (_, value) in std::mem::take(&mut lv.0) {
        if let Value::Section(section) = value {
            segments.push(segment(section, at)?);
        }
    }
    if segments.len() as u64 != segment_count {
        return Err(at.invalid("segment_count"));
    }
    segments.sort_by_key(|segment| segment.start_extent);
    let mut end = 0_u64;
    for segment in &segments {
        if segment.start_extent != end {
            return Err(at.invalid("its segments: they overlap or leave a gap"));
        }
        end = end.saturating_add(segment.extent_count);
    }
    // Sizes in bytes must fit too.
    if u32::try_from(end).is_err()
        || end.checked_mul(extent_size).and_then(|size| size.checked_mul(512)).is_none()
    {
        return Err(at.invalid("its size"));
    }
    Ok(LogicalVolume { id, status, flags, tags, read_ahead, device_number, segments, name })
}

fn segment(mut section: Section, at: Place<'_>) -> Result<Segment, MetadataError> {
    let start_extent = at.number(&section, "start_extent")?;
    let extent_count = at.number(&section, "extent_count")?;
    if u32::try_from(start_extent).is_err() || extent_count == 0 || u32::try_from(extent_count).is_err() {
        return Err(at.invalid("the extents of a segment"));
    }
    let kind = section.text("type").ok_or_else(|| at.invalid("the type of a segment"))?;
    let mut words = kind.split('+').map(str::to_owned);
    let kind = words.next().unwrap_or_default();
    let kind_flags = words.collect();
    section.0.retain(|(key, _)| !matches!(key.as_str(), "start_extent" | "extent_count" | "type"));
    Ok(Segment { start_extent, extent_count, kind, kind_flags, config: section })
}

/// `minor` and `major`; a missing major is device-mapper's own, for which 0 stands, as the kernel hands it out.
fn device_number(lv: &Section, at: Place<'_>) -> Result<Option<(u32, u32)>, MetadataError> {
    let minor = at.number(lv, "minor")?;
    let major = lv.number("major").unwrap_or(0);
    // Out of range: lvm2 warns and takes the next free one.
    Ok(u32::try_from(major).ok().zip(u32::try_from(minor).ok().filter(|minor| *minor < 1 << 20)))
}

/// The sections inside a section, taken out of it.
fn sections(parent: &mut Section, key: &str) -> Option<Vec<(String, Section)>> {
    let (_, value) = parent.0.iter_mut().find(|(name, _)| name == key)?;
    let Value::Section(section) = value else { return None };
    let entries = std::mem::take(&mut section.0).into_iter();
    Some(
        entries
            .filter_map(|(name, value)| match value {
                Value::Section(section) => Some((name, section)),
                _ => None,
            })
            .collect(),
    )
}

/// An identifier without its dashes.
fn id(section: &Section, at: Place<'_>) -> Result<String, MetadataError> {
    let written = section.text("id").unwrap_or_default();
    super::bare_id(written).ok_or_else(|| at.invalid("id"))
}

/// `status` with only words that lvm2 knows: an unknown one means that the group must not be touched.
fn status(section: &Section, at: Place<'_>, known: &[&str]) -> Result<Vec<String>, MetadataError> {
    let words = words(section, "status").filter(|_| section.get("status").is_some());
    let words = words.ok_or_else(|| at.invalid("status"))?;
    match words.iter().find(|word| !known.contains(&word.as_str())) {
        Some(word) => Err(at.invalid(&format!("status flag {word}, which a newer lvm2 may know"))),
        None => Ok(words),
    }
}

fn flags(section: &Section, at: Place<'_>) -> Result<Vec<String>, MetadataError> {
    words(section, "flags").ok_or_else(|| at.invalid("flags"))
}

fn tags(section: &Section, at: Place<'_>) -> Result<Vec<String>, MetadataError> {
    words(section, "tags").ok_or_else(|| at.invalid("tags"))
}

/// A list of texts; `None` when it is something else. An absent one is empty.
fn words(section: &Section, key: &str) -> Option<Vec<String>> {
    if section.get(key).is_none() {
        return Some(Vec::new());
    }
    let texts = section.list(key)?.iter().map(|value| match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    });
    texts.collect()
}

/// Older versions see a write-locked volume as read-only; to those that know the flag it is writable.
fn unlock_writes(status: &mut Vec<String>, flags: &[String]) {
    if flags.iter().any(|flag| flag == "WRITE_LOCKED") && !status.iter().any(|word| word == "WRITE") {
        status.push("WRITE".into());
    }
}

/// lvm2's rule for names (lib/misc/lvm-string.c), which also keeps them out of other directories.
fn valid_name(name: &str) -> bool {
    !name.starts_with('-')
        && !matches!(name, "" | "." | "..")
        && name.len() <= MAX_NAME
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte))
}

/// What an error is about.
#[derive(Clone, Copy)]
enum Place<'a> {
    Vg(&'a str),
    Pv(&'a str),
    Lv(&'a str),
}

impl Place<'_> {
    fn invalid(self, what: &str) -> MetadataError {
        let (kind, name) = match self {
            Place::Vg(name) => ("VG", name),
            Place::Pv(name) => ("PV", name),
            Place::Lv(name) => ("LV", name),
        };
        MetadataError::Invalid { object: format!("{kind} {name}"), what: what.to_owned() }
    }

    fn number(self, section: &Section, key: &str) -> Result<u64, MetadataError> {
        section.number(key).ok_or_else(|| self.invalid(key))
    }
}
