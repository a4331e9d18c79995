//! What metadata means beyond its words: which volume is which part of which other (lvm2: the text_import functions of
//! lib/*/*.c and lib/metadata/lv_manip.c).

use std::collections::BTreeMap;

use ondisk::lvm::{LogicalVolume, Segment, VolumeGroup};

use super::Refusal;
use super::parts::Parts;

/// A volume and what others make of it.
#[derive(Debug)]
pub(super) struct Lv<'a> {
    pub lv: &'a LogicalVolume,
    /// In sectors.
    pub size: u64,
    pub write: bool,
    pub visible: bool,
    /// Volumes with a segment that lies on this one, once per segment.
    pub users: Vec<usize>,
    /// Layer that others give it when it is named without one.
    pub part: Option<&'static str>,
    pub raid_image: bool,
    pub raid_metadata: bool,
    /// Of thin volumes in other pools.
    pub external_origin: bool,
    /// Snapshots of which it is the origin.
    pub snapshots: Vec<Snapshot>,
    /// The snapshot of which it holds the changed chunks.
    pub cow_of: Option<Snapshot>,
    /// The thin volume that is to become its content.
    pub thin_merging: Option<usize>,
    pub cachevol: bool,
}

/// A snapshot of the old kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot {
    pub origin: usize,
    pub cow: usize,
    pub chunk_size: u64,
    pub merging: bool,
    /// Length in sectors.
    pub size: u64,
}

#[derive(Debug)]
pub(super) struct Group<'a> {
    pub vg: &'a VolumeGroup,
    pub lvs: Vec<Lv<'a>>,
    by_name: BTreeMap<&'a str, usize>,
}

impl<'a> Group<'a> {
    pub(super) fn new(vg: &'a VolumeGroup) -> Self {
        let lvs: Vec<_> = vg
            .lvs
            .iter()
            .map(|lv| Lv {
                lv,
                size: size(lv, vg.extent_size),
                write: word(&lv.status, "WRITE"),
                visible: lv.is_visible(),
                users: Vec::new(),
                part: None,
                raid_image: false,
                raid_metadata: false,
                external_origin: false,
                snapshots: Vec::new(),
                cow_of: None,
                thin_merging: None,
                cachevol: word(&lv.flags, "CACHE_VOL") || word(&lv.status, "CACHE_VOL"),
            })
            .collect();
        let by_name = vg.lvs.iter().enumerate().map(|(index, lv)| (lv.name.as_str(), index)).collect();
        let mut group = Self { vg, lvs, by_name };
        for (index, lv) in vg.lvs.iter().enumerate() {
            for segment in &lv.segments {
                group.connect(index, segment);
            }
        }
        for index in 0..group.lvs.len() {
            group.name_part(index);
        }
        group
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The volume that an area of this name is. Physical volumes go before volumes that are called as the metadata call
    /// them (lvm2: lib/format_text/import_vsn1.c, text_import_areas).
    pub(super) fn area(&self, name: &str) -> Option<usize> {
        self.find(name).filter(|_| self.vg.pv(name).is_none())
    }

    /// The volume that `key` of a segment of `lv` names.
    pub(super) fn named(&self, lv: usize, segment: &Segment, key: &str) -> Result<usize, Refusal> {
        segment
            .config
            .text(key)
            .and_then(|name| self.find(name))
            .ok_or_else(|| self.broken(lv, "a reference to another volume"))
    }

    pub(super) fn broken(&self, lv: usize, what: &'static str) -> Refusal {
        Refusal::Broken { lv: self.name(lv).to_owned(), what }
    }

    pub(super) fn name(&self, lv: usize) -> &'a str {
        self.lvs.get(lv).map_or("", |lv| lv.lv.name.as_str())
    }

    /// Type of the first segment, which decides what a volume is.
    pub(super) fn kind(&self, lv: usize) -> &'a str {
        self.first(lv).map_or("", |segment| segment.kind.as_str())
    }

    pub(super) fn first(&self, lv: usize) -> Option<&'a Segment> {
        self.lvs.get(lv)?.lv.segments.first()
    }

    /// Layer below the device that users see.
    pub(super) fn layer(&self, lv: usize) -> Option<&'static str> {
        match self.kind(lv) {
            "thin-pool" => Some("tpool"),
            "vdo-pool" => Some("vpool"),
            _ => {
                let real =
                    self.lvs.get(lv).is_some_and(|info| !info.snapshots.is_empty() || info.external_origin)
                        || self.is_writecache_origin(lv);
                real.then_some("real")
            }
        }
    }

    /// Whether it holds the changed chunks of a snapshot.
    pub(super) fn is_cow(&self, lv: usize) -> bool {
        self.kind(lv) != "thin"
            && self.lvs.get(lv).is_some_and(|info| info.cow_of.is_some() && info.snapshots.is_empty())
    }

    /// A thin pool that was never used.
    pub(super) fn is_new_pool(&self, lv: usize) -> bool {
        self.kind(lv) == "thin-pool"
            && self.first(lv).is_some_and(|segment| segment.config.number("transaction_id").unwrap_or(0) == 0)
    }

    pub(super) fn is_writecache_origin(&self, lv: usize) -> bool {
        self.is_origin_of(lv, "writecache")
    }

    /// Whether the only user is of this kind and keeps its data here.
    fn is_origin_of(&self, lv: usize, kind: &str) -> bool {
        let Some([user]) = self.lvs.get(lv).map(|info| info.users.as_slice()) else { return false };
        self.kind(*user) == kind
            && self.first(*user).and_then(|segment| segment.config.text("origin")) == Some(self.name(lv))
    }

    /// The merging snapshot of an origin.
    pub(super) fn merging(&self, lv: usize) -> Option<Snapshot> {
        self.lvs.get(lv)?.snapshots.iter().copied().find(|snapshot| snapshot.merging)
    }

    fn connect(&mut self, index: usize, segment: &Segment) {
        let mut used = Vec::new();
        let named = |key: &str| segment.config.text(key).and_then(|name| self.find(name));
        match segment.kind.as_str() {
            "thin-pool" => {
                let (data, metadata) = (named("pool"), named("metadata"));
                self.mark(data, |lv| lv.part = Some("tdata"));
                self.mark(metadata, |lv| lv.part = Some("tmeta"));
                used.extend([data, metadata]);
            }
            "thin" => {
                let (pool, origin, external, merge) =
                    (named("thin_pool"), named("origin"), named("external_origin"), named("merge"));
                self.mark(external, |lv| lv.external_origin = true);
                self.mark(merge, |lv| lv.thin_merging = Some(index));
                used.extend([origin, pool, external]);
                if merge != origin {
                    used.push(merge);
                }
            }
            "cache-pool" => {
                let (data, metadata) = (named("data"), named("metadata"));
                self.mark(data, |lv| lv.part = Some("cdata"));
                self.mark(metadata, |lv| lv.part = Some("cmeta"));
                used.extend([data, metadata]);
            }
            "cache" => {
                let (pool, origin) = (named("cache_pool"), named("origin"));
                if segment.config.get("metadata_start").is_some() {
                    self.mark(pool, |lv| lv.cachevol = true);
                }
                self.mark(pool, |lv| lv.visible = false);
                used.extend([origin, pool]);
            }
            "writecache" => used.extend([named("origin"), named("writecache")]),
            "integrity" => used.extend([named("origin"), named("meta_dev")]),
            "vdo-pool" => {
                let data = named("data");
                self.mark(data, |lv| lv.part = Some("vdata"));
                used.push(data);
            }
            "vdo" => used.push(named("vdo_pool")),
            "snapshot" => {
                let merging = segment.config.get("merging_store").is_some();
                let cow = named(if merging { "merging_store" } else { "cow_store" });
                if let (Some(origin), Some(cow), Some(chunk_size)) =
                    (named("origin"), cow, segment.config.number("chunk_size"))
                {
                    let size = segment.extent_count.saturating_mul(self.vg.extent_size);
                    let snapshot = Snapshot { origin, cow, chunk_size, merging, size };
                    self.mark(Some(origin), |lv| lv.snapshots.push(snapshot));
                    self.mark(Some(cow), |lv| lv.cow_of = Some(snapshot));
                }
            }
            kind => {
                let parts = Parts::of(segment);
                if kind.starts_with("raid") {
                    for leg in parts.legs() {
                        let (data, metadata) =
                            (self.find(leg.data), leg.metadata.and_then(|name| self.find(name)));
                        self.mark(data, |lv| lv.raid_image = true);
                        self.mark(metadata, |lv| lv.raid_metadata = true);
                        used.extend([metadata, data]);
                    }
                } else {
                    used.extend(parts.areas().map(|(name, _)| self.area(name)));
                }
            }
        }
        for lv in used.into_iter().flatten() {
            self.mark(Some(lv), |lv| lv.users.push(index));
        }
    }

    fn mark(&mut self, lv: Option<usize>, change: impl FnOnce(&mut Lv<'a>)) {
        if let Some(lv) = lv.and_then(|lv| self.lvs.get_mut(lv)) {
            change(lv);
        }
    }

    /// The layer in the UUID of a volume that is named without one (lvm2: build_dm_uuid).
    fn name_part(&mut self, lv: usize) {
        let origin = self.is_origin_of(lv, "cache") || self.is_writecache_origin(lv);
        let pool = matches!(self.kind(lv), "thin-pool" | "vdo-pool");
        let Some(info) = self.lvs.get_mut(lv) else { return };
        let own = info.part;
        info.part = if origin {
            Some("real")
        } else if matches!(own, Some("cdata" | "cmeta")) {
            own
        } else if info.cachevol {
            Some("cvol")
        } else if pool {
            Some("pool")
        } else {
            own
        };
    }
}

pub(super) fn word(words: &[String], wanted: &str) -> bool {
    words.iter().any(|word| word == wanted)
}

fn size(lv: &LogicalVolume, extent_size: u64) -> u64 {
    lv.segments
        .iter()
        .fold(0_u64, |sum, segment| sum.saturating_add(segment.extent_count))
        .saturating_mul(extent_size)
}
