//! What a segment lies on.

use ondisk::lvm::{Segment, Value};

/// Most images of a RAID volume (kernel: dm-raid.c, MAX_RAID_DEVICES).
const MAX_LEGS: usize = 253;

/// An image of a RAID volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leg<'a> {
    pub data: &'a str,
    /// Absent in RAID 0 without metadata.
    pub metadata: Option<&'a str>,
}

/// The volumes and physical volumes below a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a>(&'a Segment);

impl<'a> Parts<'a> {
    pub(super) fn of(segment: &'a Segment) -> Self {
        Self(segment)
    }

    pub(super) fn is_raid(self) -> bool {
        self.0.kind.starts_with("raid")
    }

    pub(super) fn is_raid1(self) -> bool {
        self.0.kind == "raid1"
    }

    pub(super) fn is_raid10(self) -> bool {
        self.0.kind.starts_with("raid10")
    }

    /// Name and first extent of each area of a striped or mirrored segment.
    pub(super) fn areas(self) -> impl Iterator<Item = (&'a str, u64)> {
        let key = if self.0.kind == "mirror" { "mirrors" } else { "stripes" };
        let list = match self.0.kind.as_str() {
            "striped" | "linear" | "mirror" => self.0.config.list(key).unwrap_or_default(),
            _ => &[],
        };
        list.chunks(2).filter_map(|pair| match pair {
            [Value::Text(name), Value::Number(extent)] => Some((name.as_str(), u64::try_from(*extent).ok()?)),
            _ => None,
        })
    }

    /// Images of a RAID segment.
    pub(super) fn legs(self) -> Vec<Leg<'a>> {
        let key = if self.0.kind == "raid0" { "raid0_lvs" } else { "raids" };
        let list = if self.is_raid() { self.0.config.list(key).unwrap_or_default() } else { &[] };
        let mut legs = Vec::new();
        let mut metadata = None;
        for name in list.iter().filter_map(|value| match value {
            Value::Text(name) => Some(name.as_str()),
            _ => None,
        }) {
            // As lvm2 tells them apart.
            if metadata.is_none() && name.contains("_rmeta_") {
                metadata = Some(name);
            } else {
                legs.push(Leg { data: name, metadata: metadata.take() });
            }
        }
        legs.truncate(MAX_LEGS + 1);
        legs
    }

    /// How many areas the segment says that it has.
    pub(super) fn area_count(self) -> u64 {
        let key = match self.0.kind.as_str() {
            "mirror" => "mirror_count",
            kind if kind.starts_with("raid") && !kind.starts_with("raid0") => "device_count",
            _ => "stripe_count",
        };
        self.0.config.number(key).unwrap_or(0)
    }

    /// Stripe size in sectors; 0 without stripes.
    pub(super) fn stripe_size(self) -> u64 {
        let striped = match self.0.kind.as_str() {
            "striped" | "linear" => self.area_count() > 1,
            _ => self.is_raid(),
        };
        if striped { self.0.config.number("stripe_size").unwrap_or(0) } else { 0 }
    }

    /// Images that the layout can do without.
    pub(super) fn parity(self) -> usize {
        match self.0.kind.as_str() {
            kind if kind.starts_with("raid4") || kind.starts_with("raid5") => 1,
            kind if kind.starts_with("raid6") => 2,
            _ => 0,
        }
    }
}
