//! Builds the tree of devices for one logical volume (lvm2: lib/activate/dev_manager.c, _add_new_lv_to_dtree).

use std::collections::BTreeSet;

use ondisk::lvm::{Segment, VolumeGroup};

use super::group::{Group, word};
use super::parts::Parts;
use super::presence::{MAX_DEPTH, Presence};
use super::tree::{Line, Node, Part, Tree};
use super::{
    Activation, KernelFacts, PoolCheck, PoolKind, PoolMetadata, PvDevice, ReadAhead, Refusal, dm_name,
    dm_uuid, modules,
};

/// More devices than this for one volume were not made by lvm2.
const MAX_DEVICES: usize = 4096;

pub(super) struct Builder<'g, 'a> {
    pub group: &'g Group<'a>,
    pub pvs: &'g dyn Fn(&str) -> Option<PvDevice>,
    pub facts: &'g KernelFacts<'g>,
    /// The volume that is activated, with all below it.
    pub read_only: bool,
    pub tree: Tree,
    /// Node with metadata, node of the pool, volume.
    pub checks: Vec<(usize, usize, usize, PoolKind)>,
}

/// A segment with those that follow it seamlessly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<'a> {
    pub segment: &'a Segment,
    pub extents: u64,
}

pub(super) fn activate(
    vg: &VolumeGroup,
    name: &str,
    pvs: &dyn Fn(&str) -> Option<PvDevice>,
    degraded: bool,
    facts: &KernelFacts<'_>,
) -> Result<Activation, Refusal> {
    if word(&vg.status, "EXPORTED") {
        return Err(Refusal::Exported(vg.name.clone()));
    }
    let shared = vg.lock_type.as_deref().is_some_and(|kind| !matches!(kind, "" | "none"));
    if shared || word(&vg.status, "CLUSTERED") || word(&vg.status, "SHARED") {
        return Err(Refusal::Shared(vg.name.clone()));
    }
    let group = Group::new(vg);
    let lv = group.find(name).ok_or_else(|| Refusal::NoSuchLv(name.to_owned()))?;
    // A snapshot comes with its origin, and all snapshots with it.
    let cow = group.lvs.get(lv).and_then(|info| info.cow_of).filter(|_| group.is_cow(lv));
    let top = cow.map_or(lv, |snapshot| snapshot.origin);
    let hidden = group.lvs.get(lv).is_none_or(|info| !info.visible);
    if (hidden && cow.is_none())
        || cow.is_some_and(|snapshot| snapshot.merging)
        || matches!(group.kind(lv), "snapshot" | "cache-pool")
    {
        return Err(Refusal::Internal(name.to_owned()));
    }
    let mut presence = Presence::new(&group, pvs);
    presence.check(top, degraded)?;
    let missing_images = presence.degraded;
    let read_only = group.lvs.get(top).is_some_and(|info| (facts.read_only)(info.lv));
    let mut builder =
        Builder { group: &group, pvs, facts, read_only, tree: Tree::default(), checks: Vec::new() };
    builder.add(top, None, 0)?;
    let order = builder.tree.order().ok_or_else(|| group.broken(top, "volumes in a ring"))?;
    let checks = std::mem::take(&mut builder.checks);
    let active: Vec<_> = builder.tree.nodes.iter().map(|node| node.active).collect();
    let (devices, places) = builder.tree.plan(&order);
    let place = |node: usize| places.get(node).copied().flatten();
    // Left over, perhaps, from a pool that was not made because of them.
    let metadata = |node: usize| match active.get(node).copied().flatten() {
        Some(number) => Some(PoolMetadata::Active(number)),
        None => place(node).map(PoolMetadata::Planned),
    };
    Ok(Activation {
        visible: dm_name(&vg.name, name, None),
        modules: modules::needed(&devices, facts.version),
        devices,
        degraded: missing_images.into_iter().map(|lv| group.name(lv).to_owned()).collect(),
        checks: checks
            .into_iter()
            .filter_map(|(node, pool, lv, kind)| {
                let name = group.name(lv).to_owned();
                Some(PoolCheck { metadata: metadata(node)?, pool: place(pool)?, name, kind })
            })
            .collect(),
    })
}

impl<'a> Builder<'_, 'a> {
    /// UUID of a volume's device.
    pub(super) fn uuid(&self, lv: usize, layer: Option<&str>) -> String {
        let (id, part) = self.group.lvs.get(lv).map_or(("", None), |info| (info.lv.id.as_str(), info.part));
        dm_uuid(&self.group.vg.id, id, layer.or(part))
    }

    /// The node that was added for a volume.
    pub(super) fn node_of(&self, lv: usize, layer: Option<&str>) -> Result<usize, Refusal> {
        self.tree
            .find(&self.uuid(lv, layer))
            .ok_or_else(|| self.group.broken(lv, "a volume without a device"))
    }

    /// Adds a node, unless there is one with this UUID.
    pub(super) fn add_node(&mut self, lv: usize, node: Node) -> Result<usize, Refusal> {
        if self.tree.nodes.len() >= MAX_DEVICES {
            return Err(Refusal::Unsupported {
                lv: self.group.name(lv).to_owned(),
                what: "so many devices for one volume",
            });
        }
        let active = (self.facts.active)(&node.uuid);
        Ok(self.tree.add(Node { active, ..node }))
    }

    /// Appends a line to a node's table and links what it names, in the order of `uses`.
    pub(super) fn line(&mut self, node: usize, uses: &[usize], line: Line) {
        for used in uses {
            self.tree.link(node, *used);
        }
        if let Some(node) = self.tree.nodes.get_mut(node) {
            node.lines.push(line);
        }
    }

    /// Adds a volume and all below it.
    pub(super) fn add(
        &mut self,
        lv: usize,
        layer: Option<&'static str>,
        depth: usize,
    ) -> Result<(), Refusal> {
        let group = self.group;
        let Some(info) = group.lvs.get(lv) else { return Ok(()) };
        if depth > MAX_DEPTH {
            return Err(group.broken(lv, "volumes nested in a ring or too deeply"));
        }
        let kind = group.kind(lv);
        if kind == "cache-pool" {
            // Has no device of its own.
            let segment = group.first(lv).ok_or_else(|| group.broken(lv, "a pool without segments"))?;
            for part in [group.named(lv, segment, "data")?, group.named(lv, segment, "metadata")?] {
                // Nothing below remembers such a pool: each one in another would double the work.
                if group.kind(part) == kind {
                    return Err(group.broken(lv, "a cache pool in a cache pool"));
                }
                self.add(part, None, depth + 1)?;
            }
            return Ok(());
        }
        let name = dm_name(&group.vg.name, &info.lv.name, layer);
        let mut layer = layer;
        if layer.is_none() && (group.is_new_pool(lv) || group.is_writecache_origin(lv)) {
            // Named as if it had no layer, identified by it.
            layer = group.layer(lv);
        }
        let uuid = self.uuid(lv, layer);
        if self.tree.find(&uuid).is_some() {
            return Ok(());
        }
        let node = Node {
            name,
            uuid,
            read_only: self.is_read_only(lv, layer),
            number: info.lv.device_number.filter(|_| layer.is_none()),
            ..Node::default()
        };
        let node = self.add_node(lv, node)?;
        if info.cachevol {
            let users: BTreeSet<_> =
                info.users.iter().copied().filter(|user| group.kind(*user) == "cache").collect();
            for user in users {
                self.add_cachevol_parts(user, lv, node)?;
            }
        }
        let mut stripe = 0;
        if layer.is_none() && !info.snapshots.is_empty() {
            self.add_origin(lv, node, depth)?;
        } else if layer.is_none()
            && group.is_cow(lv)
            && let Some(snapshot) = info.cow_of
        {
            self.add(lv, Some("cow"), depth + 1)?;
            self.snapshot_line(node, snapshot)?;
        } else if layer.is_none() && (matches!(kind, "thin-pool" | "vdo-pool") || info.external_origin) {
            let below = group.layer(lv);
            self.add(lv, below, depth + 1)?;
            let below = self.node_of(lv, below)?;
            // The layer over a VDO pool shows its header only.
            let length = if kind == "vdo-pool" { 8 } else { info.size };
            self.line(node, &[below], linear(length, below, 0));
        } else {
            for run in runs(group, lv) {
                self.add_segment(lv, node, run, depth)?;
                let parts = Parts::of(run.segment);
                stripe = stripe.max(parts.stripe_size().saturating_mul(parts.area_count()));
            }
        }
        let read_ahead = match info.lv.read_ahead {
            Some(sectors) => ReadAhead::Exactly(sectors),
            // Twice a whole stripe.
            None if stripe > 0 => {
                ReadAhead::AtLeast(u32::try_from(stripe.saturating_mul(2)).unwrap_or(u32::MAX))
            }
            None => ReadAhead::AtLeast(self.read_ahead_below(lv)),
        };
        if let Some(node) = self.tree.nodes.get_mut(node) {
            node.read_ahead = read_ahead;
        }
        if word(&info.lv.status, "PVMOVE") {
            // A move goes on for everybody whose extents it moves.
            for user in info.users.iter().copied().collect::<BTreeSet<_>>() {
                self.add(user, None, depth + 1)?;
            }
        }
        Ok(())
    }

    /// As `read_only_lv` of lvm2's dev_manager.c.
    fn is_read_only(&self, lv: usize, layer: Option<&str>) -> bool {
        let Some(info) = self.group.lvs.get(lv) else { return false };
        if (layer.is_some() && self.group.is_cow(lv)) || info.raid_image || info.raid_metadata {
            return false;
        }
        let pool = matches!(self.group.kind(lv), "thin-pool" | "vdo-pool");
        (layer.is_none() && pool) || !info.write || self.read_only
    }

    /// An origin of snapshots, with all of them.
    fn add_origin(&mut self, lv: usize, node: usize, depth: usize) -> Result<(), Refusal> {
        let group = self.group;
        if let Some(node) = self.tree.nodes.get_mut(node) {
            node.held = true;
        }
        self.add(lv, Some("real"), depth + 1)?;
        let real = self.node_of(lv, Some("real"))?;
        let size = group.lvs.get(lv).map_or(0, |info| info.size);
        if let Some(snapshot) = group.merging(lv) {
            self.add(snapshot.cow, Some("cow"), depth + 1)?;
            let cow = self.node_of(snapshot.cow, Some("cow"))?;
            let params = vec![
                Part::Node(real),
                Part::Text(" ".to_owned()),
                Part::Node(cow),
                Part::Text(format!(" P {}", snapshot.chunk_size)),
            ];
            self.line(node, &[real, cow], Line { length: size, kind: "snapshot-merge", params });
        } else {
            let line = Line { length: size, kind: "snapshot-origin", params: vec![Part::Node(real)] };
            self.line(node, &[real], line);
        }
        for snapshot in group.lvs.get(lv).map(|info| info.snapshots.clone()).unwrap_or_default() {
            self.add(snapshot.cow, None, depth + 1)?;
        }
        Ok(())
    }

    /// The halves of a volume that holds data and metadata of a cache.
    fn add_cachevol_parts(&mut self, cache: usize, cachevol: usize, below: usize) -> Result<(), Refusal> {
        let group = self.group;
        let segment = group.first(cache).ok_or_else(|| group.broken(cache, "a cache without segments"))?;
        let number = |key: &str| {
            segment
                .config
                .number(key)
                .ok_or_else(|| group.broken(cache, "a cache without the ranges of its cachevol"))
        };
        let metadata_length = number("metadata_len")?;
        for (layer, length, offset) in
            [("cdata", number("data_len")?, metadata_length), ("cmeta", metadata_length, 0)]
        {
            let uuid = self.cachevol_uuid(cache, cachevol, layer);
            if self.tree.find(&uuid).is_some() {
                continue;
            }
            let node = Node {
                name: dm_name(&group.vg.name, group.name(cachevol), Some(layer)),
                uuid,
                read_only: self.is_read_only(cache, Some(layer)),
                ..Node::default()
            };
            let node = self.add_node(cachevol, node)?;
            self.line(node, &[below], linear(length, below, offset));
        }
        Ok(())
    }

    /// UUID of one half of a cachevol: with an identifier of its own, if the metadata has one.
    pub(super) fn cachevol_uuid(&self, cache: usize, cachevol: usize, layer: &'static str) -> String {
        let key = if layer == "cmeta" { "metadata_id" } else { "data_id" };
        let own = self.group.first(cache).and_then(|segment| segment.config.text(key));
        let own = own.map(|id| id.replace('-', ""));
        let id = self.group.lvs.get(cachevol).map_or("", |info| info.lv.id.as_str());
        dm_uuid(&self.group.vg.id, own.as_deref().unwrap_or(id), Some(layer))
    }

    /// The largest read-ahead of the physical volumes below, each volume judged by its first area.
    fn read_ahead_below(&self, lv: usize) -> u32 {
        let group = self.group;
        let (mut largest, mut seen, mut open) = (0, BTreeSet::from([lv]), vec![lv]);
        while let Some(lv) = open.pop() {
            let Some(info) = group.lvs.get(lv) else { continue };
            for (number, segment) in info.lv.segments.iter().enumerate() {
                let parts = Parts::of(segment);
                for (area, (name, _)) in parts.areas().enumerate() {
                    let pv = group.vg.pv(name).filter(|_| number == 0 && area == 0);
                    if let Some(pv) = pv.and_then(|pv| (self.pvs)(&pv.id)) {
                        largest = largest.max(pv.read_ahead);
                    }
                    open.extend(group.area(name).filter(|lv| seen.insert(*lv)));
                }
                for leg in parts.legs() {
                    open.extend(group.find(leg.data).filter(|lv| seen.insert(*lv)));
                }
                for key in [
                    "external_origin",
                    "mirror_log",
                    "thin_pool",
                    "cache_pool",
                    "metadata",
                    "writecache",
                    "meta_dev",
                    "pool",
                    "data",
                    "vdo_pool",
                    "origin",
                ] {
                    // The origin of a thin snapshot is no dependency.
                    if key != "origin" || segment.kind != "thin" {
                        let lv = segment.config.text(key).and_then(|name| group.find(name));
                        open.extend(lv.filter(|lv| seen.insert(*lv)));
                    }
                }
            }
            let snapshots = info.snapshots.iter().chain(&info.cow_of);
            for lv in snapshots.flat_map(|snapshot| [snapshot.origin, snapshot.cow]) {
                open.extend(Some(lv).filter(|lv| seen.insert(*lv)));
            }
        }
        largest
    }
}

pub(super) fn linear(length: u64, below: usize, offset: u64) -> Line {
    Line { length, kind: "linear", params: vec![Part::Node(below), Part::Text(format!(" {offset}"))] }
}

/// Segments of a volume; lvm2 joins neighbours that continue each other on the same physical volumes.
fn runs<'a>(group: &Group<'a>, lv: usize) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'a>> = Vec::new();
    let Some(info) = group.lvs.get(lv) else { return runs };
    // Both sides of a move must keep their segments.
    let moving = word(&info.lv.status, "LOCKED") || word(&info.lv.status, "PVMOVE");
    for segment in &info.lv.segments {
        if !moving
            && let Some(last) = runs.last_mut()
            && continues(group, last, segment)
        {
            last.extents = last.extents.saturating_add(segment.extent_count);
        } else {
            runs.push(Run { segment, extents: segment.extent_count });
        }
    }
    runs
}

fn continues(group: &Group<'_>, run: &Run<'_>, next: &Segment) -> bool {
    if matches!(next.kind.as_str(), "zero" | "error") {
        return run.segment.kind == next.kind;
    }
    let (one, other) = (Parts::of(run.segment), Parts::of(next));
    let count = one.area_count();
    if !matches!(next.kind.as_str(), "striped" | "linear")
        || run.segment.kind != next.kind
        || count != other.area_count()
        || one.stripe_size() != other.stripe_size()
        || run.segment.config.get("tags") != next.config.get("tags")
    {
        return false;
    }
    let Some(length) = run.extents.checked_div(count) else { return false };
    one.areas().count() == other.areas().count()
        && one.areas().zip(other.areas()).all(|((name, extent), (next_name, next_extent))| {
            name == next_name
                && extent.checked_add(length) == Some(next_extent)
                && group.vg.pv(name).is_some()
        })
}
