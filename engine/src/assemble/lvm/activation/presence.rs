//! Which physical volumes are missing, and whether redundancy covers that (lvm2: lib/metadata/metadata.c,
//! vg_mark_partial_lvs; lib/metadata/raid_manip.c, partial_raid_lv_supports_degraded_activation).

use std::collections::BTreeSet;

use super::group::{Group, word};
use super::parts::{Leg, Parts};
use super::{PvDevice, Refusal};

/// A missing physical volume and who lies on it.
#[derive(Debug, Clone, Copy)]
struct Hole {
    lv: usize,
    /// Index in the group.
    pv: usize,
    covered: bool,
}

/// Volumes nested deeper than this were not made by lvm2.
pub(super) const MAX_DEPTH: usize = 64;

pub(super) struct Presence<'g, 'a> {
    group: &'g Group<'a>,
    pvs: &'g dyn Fn(&str) -> Option<PvDevice>,
    /// What was found out about a volume already.
    known: Vec<Option<Option<Hole>>>,
    /// RAID volumes that miss images.
    pub degraded: BTreeSet<usize>,
}

impl<'g, 'a> Presence<'g, 'a> {
    pub(super) fn new(group: &'g Group<'a>, pvs: &'g dyn Fn(&str) -> Option<PvDevice>) -> Self {
        Self { group, pvs, known: vec![None; group.lvs.len()], degraded: BTreeSet::new() }
    }

    /// Refuses a volume that misses what it needs.
    pub(super) fn check(&mut self, lv: usize, degraded: bool) -> Result<(), Refusal> {
        match self.hole(lv, 0)? {
            Some(hole) if !(hole.covered && degraded) => {
                let pv = self.group.vg.pvs.get(hole.pv);
                Err(Refusal::MissingPv {
                    lv: self.group.name(hole.lv).to_owned(),
                    pv: pv.map_or_else(String::new, |pv| pv.id.clone()),
                    // What lvm2 writes when it does not know either.
                    device: pv.and_then(|pv| pv.device.clone()).filter(|device| device != "[unknown]"),
                    covered: hole.covered,
                })
            }
            _ => Ok(()),
        }
    }

    /// The worst hole below a volume.
    fn hole(&mut self, lv: usize, depth: usize) -> Result<Option<Hole>, Refusal> {
        if let Some(Some(known)) = self.known.get(lv) {
            return Ok(*known);
        }
        if depth > MAX_DEPTH {
            return Err(self.group.broken(lv, "volumes nested in a ring or too deeply"));
        }
        let mut worst = None;
        let Some(info) = self.group.lvs.get(lv) else { return Ok(None) };
        let mut below = BTreeSet::new();
        for segment in &info.lv.segments {
            let parts = Parts::of(segment);
            if parts.is_raid() {
                let hole = self.raid_hole(lv, &parts.legs(), parts, depth)?;
                worst = worse(worst, hole);
                continue;
            }
            for (name, _) in parts.areas() {
                match self.group.area(name) {
                    Some(lv) => {
                        below.insert(lv);
                    }
                    None => worst = worse(worst, self.pv_hole(lv, name)),
                }
            }
            let keys: &[&str] = match segment.kind.as_str() {
                "mirror" => &["mirror_log"],
                "thin" => &["thin_pool", "external_origin"],
                "thin-pool" => &["pool", "metadata"],
                "cache" => &["cache_pool", "origin"],
                "cache-pool" => &["data", "metadata"],
                "writecache" => &["origin", "writecache"],
                "integrity" => &["origin", "meta_dev"],
                "vdo-pool" => &["data"],
                "vdo" => &["vdo_pool"],
                _ => &[],
            };
            below.extend(keys.iter().filter_map(|key| self.group.find(segment.config.text(key)?)));
        }
        below.extend(info.snapshots.iter().map(|snapshot| snapshot.cow));
        for lv in below {
            worst = worse(worst, self.hole(lv, depth + 1)?);
        }
        // What was written lies in it alone; lvm2 activates none over a degraded volume.
        if info.lv.segments.iter().any(|segment| segment.kind == "writecache") {
            worst = worst.map(|hole| Hole { covered: false, ..hole });
        }
        if let Some(slot) = self.known.get_mut(lv) {
            *slot = Some(worst);
        }
        Ok(worst)
    }

    fn raid_hole(
        &mut self,
        lv: usize,
        legs: &[Leg<'_>],
        parts: Parts<'_>,
        depth: usize,
    ) -> Result<Option<Hole>, Refusal> {
        let mut worst = None;
        let mut missing = Vec::with_capacity(legs.len());
        for leg in legs {
            let mut hole = None;
            for name in [Some(leg.data), leg.metadata].into_iter().flatten() {
                if let Some(image) = self.group.find(name) {
                    hole = worse(hole, self.hole(image, depth + 1)?);
                    // lvm2 wants integrity removed before it starts such a volume degraded.
                    if hole.is_some() && self.group.kind(image) == "integrity" {
                        worst = hole;
                    }
                }
            }
            missing.push(hole.is_some());
            if worst.is_none() {
                worst = hole.map(|hole| Hole { covered: true, ..hole });
            }
        }
        if let Some(hole) = &mut worst {
            hole.covered = hole.covered && is_covered(parts, &missing);
            if hole.covered {
                self.degraded.insert(lv);
            }
        }
        Ok(worst)
    }

    fn pv_hole(&self, lv: usize, name: &str) -> Option<Hole> {
        let pv = self.group.vg.pvs.iter().position(|pv| pv.name == name)?;
        let entry = self.group.vg.pvs.get(pv)?;
        let flagged = word(&entry.flags, "MISSING") || word(&entry.status, "MISSING");
        (flagged || (self.pvs)(&entry.id).is_none()).then_some(Hole { lv, pv, covered: false })
    }
}

/// The one of two holes that is not covered.
fn worse(one: Option<Hole>, other: Option<Hole>) -> Option<Hole> {
    match (one, other) {
        (Some(hole), _) if !hole.covered => one,
        (_, Some(_)) => other,
        _ => one,
    }
}

/// Whether a RAID volume with these images missing still has all data.
fn is_covered(parts: Parts<'_>, missing: &[bool]) -> bool {
    let count = missing.iter().filter(|missing| **missing).count();
    match () {
        () if count == missing.len() => false,
        () if parts.is_raid10() => {
            // Pairs in the order of the images; with an odd number the last pair continues with the first image.
            let legs = missing.len();
            let at =
                |index: usize| missing.get(index.checked_rem(legs).unwrap_or(0)).copied().unwrap_or(false);
            (0..legs)
                .all(|pair| !(at(pair.saturating_mul(2)) && at(pair.saturating_mul(2).saturating_add(1))))
        }
        () if parts.is_raid1() => true,
        () => count <= parts.parity(),
    }
}
