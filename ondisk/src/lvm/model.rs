//! LVM2 metadata as data (lvm2: lib/format_text/{export,import_vsn1}.c).
//!
//! Names, status words and flags are kept as written: what they mean for activation is decided elsewhere. Identifiers
//! are LVM's 32 characters without the dashes of the printed form, which is also how device-mapper UUIDs hold them.

use serde::{Deserialize, Serialize};

/// A part of a device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    /// First byte.
    pub offset: u64,
    /// Length; 0 in a data area means: up to the end of the device.
    pub length: u64,
}

/// What a physical volume says of itself and of its volume group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhysicalVolume {
    /// Identifier of this PV, 32 characters.
    pub id: String,
    /// Size of the device in bytes when the label was written.
    pub device_size: u64,
    /// Where extents lie.
    pub data_areas: Vec<Area>,
    /// Where metadata lies; none for a PV made with `--metadatacopies 0`.
    pub metadata_areas: Vec<Area>,
    /// Newest valid metadata on this PV; `None` for an orphan, a PV without metadata areas, or when no copy is valid.
    pub vg: Option<VolumeGroup>,
    /// What is wrong with its metadata areas, as advice to an operator.
    pub doubts: Vec<String>,
}

/// A volume group as one copy of its metadata describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VolumeGroup {
    /// Name.
    pub name: String,
    /// Identifier, 32 characters.
    pub id: String,
    /// Serial number of the metadata: the highest valid one counts.
    pub seqno: u64,
    /// `status`, e.g. `RESIZEABLE`, `READ`, `WRITE`, `EXPORTED`, `CLUSTERED`.
    pub status: Vec<String>,
    /// `flags`.
    pub flags: Vec<String>,
    /// `system_id`; `None` when absent or empty.
    pub system_id: Option<String>,
    /// `lock_type`, e.g. `none`, `sanlock`, `dlm`.
    pub lock_type: Option<String>,
    /// Extent size in 512-byte sectors; never 0.
    pub extent_size: u64,
    /// `tags`.
    pub tags: Vec<String>,
    /// Its physical volumes, in the order of the text.
    pub pvs: Vec<PvEntry>,
    /// Its logical volumes, hidden ones included, in the order of the text.
    pub lvs: Vec<LogicalVolume>,
}

/// A physical volume as its group knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PvEntry {
    /// Name inside the metadata (`pv0`), which segments refer to.
    pub name: String,
    /// Identifier, 32 characters.
    pub id: String,
    /// Device at the time of writing (`/dev/sdb2`), a hint for people.
    pub device: Option<String>,
    /// `status`, e.g. `ALLOCATABLE`.
    pub status: Vec<String>,
    /// `flags`, e.g. `MISSING`.
    pub flags: Vec<String>,
    /// `tags`.
    pub tags: Vec<String>,
    /// Device size in 512-byte sectors; 0 when absent.
    pub dev_size: u64,
    /// First extent, in 512-byte sectors from the start of the device.
    pub pe_start: u64,
    /// Number of extents.
    pub pe_count: u64,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogicalVolume {
    /// Name.
    pub name: String,
    /// Identifier, 32 characters.
    pub id: String,
    /// `status`, e.g. `READ`, `WRITE`, `VISIBLE`, `LOCKED`.
    pub status: Vec<String>,
    /// `flags`, e.g. `ACTIVATION_SKIP`.
    pub flags: Vec<String>,
    /// `tags`.
    pub tags: Vec<String>,
    /// `read_ahead` in 512-byte sectors: `None` is automatic, `Some(0)` none.
    pub read_ahead: Option<u32>,
    /// Persistent device number, if one was asked for; major 0 stands for device-mapper's own.
    pub device_number: Option<(u32, u32)>,
    /// Segments, ascending by `start_extent`.
    pub segments: Vec<Segment>,
}

/// A run of logical extents.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Segment {
    /// First logical extent.
    pub start_extent: u64,
    /// Number of logical extents.
    pub extent_count: u64,
    /// `type` without the flags that newer versions append to it (`striped`, `raid1`, `thin-pool`).
    pub kind: String,
    /// Flags appended to `type` after `+` (`COMPATIBLE_WITH_OLD_LV` form, e.g. `raid0+RAID_TAKEOVER`).
    pub kind_flags: Vec<String>,
    /// Everything else in the segment, unread: each segment type has its own keys.
    pub config: Section,
}

/// A section of LVM's configuration format.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Section(pub Vec<(String, Value)>);

/// A value of LVM's configuration format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// A whole number.
    Number(i64),
    /// Text.
    Text(String),
    /// A number with a fraction, as written.
    Fraction(String),
    /// `[ ... ]`; holds no sections.
    List(Vec<Value>),
    /// A nested section.
    Section(Section),
}

impl Section {
    /// The value of the first entry with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// A number that is not negative.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Value::Number(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// A text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A list; a single value counts as a list of one.
    #[must_use]
    pub fn list(&self, key: &str) -> Option<&[Value]> {
        match self.get(key)? {
            Value::List(list) => Some(list),
            Value::Section(_) => None,
            single => Some(std::slice::from_ref(single)),
        }
    }

    /// A nested section.
    #[must_use]
    pub fn section(&self, key: &str) -> Option<&Section> {
        match self.get(key)? {
            Value::Section(section) => Some(section),
            _ => None,
        }
    }

    /// A list of `name, first extent` pairs, as `stripes`, `raids` without extents and `mirrors` hold them.
    #[must_use]
    pub fn areas(&self, key: &str) -> Option<Vec<(&str, u64)>> {
        self.list(key)?
            .chunks(2)
            .map(|pair| match pair {
                [Value::Text(name), Value::Number(start)] => {
                    Some((name.as_str(), u64::try_from(*start).ok()?))
                }
                _ => None,
            })
            .collect()
    }
}

impl VolumeGroup {
    /// The logical volume of this name.
    #[must_use]
    pub fn lv(&self, name: &str) -> Option<&LogicalVolume> {
        self.lvs.iter().find(|lv| lv.name == name)
    }

    /// The physical volume that segments call by this name.
    #[must_use]
    pub fn pv(&self, name: &str) -> Option<&PvEntry> {
        self.pvs.iter().find(|pv| pv.name == name)
    }
}

impl LogicalVolume {
    /// Whether users see it: the hidden ones are parts of others.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.status.iter().any(|word| word == "VISIBLE")
    }
}
