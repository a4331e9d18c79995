//! Volume groups as the devices that are there describe them (lvm2: lib/cache/lvmcache.c, lib/metadata/metadata.c).

use std::collections::{BTreeMap, BTreeSet};

use ondisk::Kind;
use ondisk::lvm::{PhysicalVolume, PvEntry, VolumeGroup};

use super::activation::PvDevice;
use super::conf::LvmConf;
use crate::event::{DevName, QueueFacts};
use crate::table::{Device, Table};

/// A physical volume that was seen.
#[derive(Clone, Copy)]
pub struct Pv<'a> {
    pub device: &'a Device,
    pub label: &'a PhysicalVolume,
}

/// A group whose metadata was seen.
pub struct Group<'a> {
    /// The newest metadata of all PVs.
    pub vg: &'a VolumeGroup,
    /// For each PV of the metadata the devices that carry it.
    pub members: Vec<Vec<&'a Device>>,
    /// Devices whose metadata names this group, which does not know them any more.
    pub outdated: Vec<&'a Device>,
}

/// Whether the device is a PV that may be used.
pub fn pv<'a>(device: &'a Device) -> Option<Pv<'a>> {
    device.signature().filter(|signature| signature.kind == Kind::Lvm2Pv)?;
    let label = device.content()?.member.as_ref()?.lvm()?;
    device.is_free().then_some(Pv { device, label })
}

/// Every group that can be seen, in the order in which their devices appeared.
pub fn all<'a>(table: &'a Table, conf: &LvmConf) -> Vec<Group<'a>> {
    let mut pvs: Vec<Pv<'a>> = table.iter().filter_map(pv).filter(|pv| conf.accepts(pv.device)).collect();
    if pvs.is_empty() {
        return Vec::new();
    }
    pvs.sort_by_key(|pv| pv.device.order);
    let below = components(table, &pvs);
    pvs.retain(|pv| !below.contains(&pv.device.name));
    let mut newest: BTreeMap<&str, &VolumeGroup> = BTreeMap::new();
    let mut order = Vec::new();
    for vg in pvs.iter().filter_map(|pv| pv.label.vg.as_ref()) {
        match newest.get(vg.id.as_str()) {
            Some(known) if known.seqno >= vg.seqno => {}
            Some(_) => {
                newest.insert(&vg.id, vg);
            }
            None => {
                newest.insert(&vg.id, vg);
                order.push(vg.id.as_str());
            }
        }
    }
    order.into_iter().filter_map(|id| newest.get(id)).map(|vg| group(vg, &pvs)).collect()
}

fn group<'a>(vg: &'a VolumeGroup, pvs: &[Pv<'a>]) -> Group<'a> {
    // A PV whose own metadata names another group was taken out of this one while this one's other PVs were away.
    let mine = |pv: &&Pv<'_>| pv.label.vg.as_ref().is_none_or(|own| own.id == vg.id);
    let carriers = |entry: &PvEntry| {
        pvs.iter().filter(mine).filter(|pv| pv.label.id == entry.id).map(|pv| pv.device).collect()
    };
    let known = |pv: &&Pv<'_>| vg.pvs.iter().any(|entry| entry.id == pv.label.id);
    let names_it = |pv: &&Pv<'_>| pv.label.vg.as_ref().is_some_and(|own| own.id == vg.id);
    Group {
        vg,
        members: vg.pvs.iter().map(carriers).collect(),
        outdated: pvs.iter().filter(names_it).filter(|pv| !known(pv)).map(|pv| pv.device).collect(),
    }
}

/// PVs that lie below another device with the same PV on it: paths of a multipath device, members of a mirror.
fn components(table: &Table, pvs: &[Pv<'_>]) -> BTreeSet<DevName> {
    let mut ids: BTreeMap<&str, u32> = BTreeMap::new();
    for pv in pvs {
        let count = ids.entry(&pv.label.id).or_default();
        *count = count.saturating_add(1);
    }
    let mut below = BTreeSet::new();
    for top in pvs.iter().filter(|pv| ids.get(pv.label.id.as_str()).is_some_and(|count| *count > 1)) {
        let mut todo: Vec<&DevName> = underneath(top.device).collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = todo.pop() {
            if let Some(device) = table.get(name).filter(|device| seen.insert(device.name.clone())) {
                todo.extend(underneath(device));
            }
        }
        let same =
            |name: &DevName| pvs.iter().any(|pv| pv.device.name == *name && pv.label.id == top.label.id);
        below.extend(seen.into_iter().filter(same));
    }
    below
}

fn underneath(device: &Device) -> impl Iterator<Item = &DevName> {
    device.facts.slaves.iter().chain(&device.facts.parent)
}

impl<'a> Group<'a> {
    /// The device of a PV, if exactly one carries it and the metadata does not count it as lost.
    pub fn present(&self, id: &str) -> Option<&'a Device> {
        let at = self.vg.pvs.iter().position(|entry| entry.id == id)?;
        self.device(at)
    }

    fn device(&self, at: usize) -> Option<&'a Device> {
        let entry = self.vg.pvs.get(at)?;
        match self.members.get(at)?.as_slice() {
            // What was written while a PV was away is not on it: lvm2 wants vgextend --restoremissing first.
            [device] if !is_lost(entry) => Some(device),
            _ => None,
        }
    }

    /// The same as activation wants it.
    pub fn number(&self, id: &str) -> Option<PvDevice> {
        let facts = &self.present(id)?.facts;
        let QueueFacts { read_ahead, dax } = facts.queue.unwrap_or_default();
        Some(PvDevice { major: facts.major, minor: facts.minor, read_ahead, dax })
    }

    /// PVs that are not there.
    pub fn missing(&self) -> impl Iterator<Item = &'a PvEntry> {
        let vg = self.vg;
        vg.pvs.iter().enumerate().filter(|(at, _)| self.device(*at).is_none()).map(|(_, entry)| entry)
    }

    /// Whether every PV is there.
    pub fn is_complete(&self) -> bool {
        self.missing().next().is_none()
    }

    /// Devices in use for this group.
    pub fn devices(&self) -> impl Iterator<Item = &'a Device> {
        (0..self.vg.pvs.len()).filter_map(|at| self.device(at))
    }

    /// PVs that several devices carry, with these.
    pub fn duplicates(&self) -> impl Iterator<Item = (&'a PvEntry, &[&'a Device])> {
        let vg = self.vg;
        vg.pvs
            .iter()
            .zip(&self.members)
            .filter(|(_, devices)| devices.len() > 1)
            .map(|(pv, devices)| (pv, devices.as_slice()))
    }

    /// Why lvm2 would leave the group alone, and what to do about it.
    pub fn obstacle(&self, groups: &[Group<'_>], conf: &LvmConf) -> Option<(String, String)> {
        let name = &self.vg.name;
        if let Some((why, advice)) = self.not_ours(conf) {
            return Some((why, advice));
        }
        if let Some((pv, devices)) = self.duplicates().next() {
            let devices: Vec<&str> = devices.iter().map(|device| device.name.0.as_str()).collect();
            let devices = devices.join(" and ");
            return Some((
                format!("PV {} is on {devices}: one is a copy, and nothing tells which", pv.id),
                format!(
                    "detach one of {devices}, or reject it with devices/global_filter in the image's lvm.conf"
                ),
            ));
        }
        // A guest's disk that is a volume may well hold a group named as the host's: that is no reason to lose the host.
        let nested = self.is_nested();
        let twin = groups.iter().find(|other| {
            other.vg.name == *name
                && other.vg.id != self.vg.id
                && other.not_ours(conf).is_none()
                && (nested || !other.is_nested())
        })?;
        Some((
            format!("there are two groups of this name, with the ids {} and {}", self.vg.id, twin.vg.id),
            format!("detach one of the two, or rename one: vgrename {} NEWNAME", twin.vg.id),
        ))
    }

    /// Whether all that was seen of it lies on volumes of other groups.
    fn is_nested(&self) -> bool {
        let on_volume = |device: &&Device| {
            let uuid = device.facts.dm.as_ref().map_or("", |dm| dm.uuid.as_str());
            uuid.starts_with("LVM-") || uuid.contains("-LVM-")
        };
        self.members.iter().flatten().all(on_volume)
    }

    fn not_ours(&self, conf: &LvmConf) -> Option<(String, String)> {
        let vg = self.vg;
        let name = &vg.name;
        let has = |word: &str| vg.status.iter().any(|seen| seen == word);
        if has("EXPORTED") {
            return Some(("it is exported".into(), format!("vgimport {name}")));
        }
        if has("CLUSTERED") {
            let advice = format!("vgchange --lock-type none {name}, if no other machine uses it");
            return Some(("it belongs to a cluster (clvmd)".into(), advice));
        }
        if let Some(lock) = vg.lock_type.as_deref().filter(|lock| !matches!(*lock, "" | "none")) {
            let advice =
                format!("vgchange --lock-type none --lock-opt force {name}, if no other machine uses it");
            return Some((format!("it is shared through {lock}, which does not run here"), advice));
        }
        conf.foreign(vg.system_id.as_deref()?)
    }
}

/// Whether the metadata counts the PV as lost, although its device may be there again.
pub fn is_lost(entry: &PvEntry) -> bool {
    entry.flags.iter().chain(&entry.status).any(|word| word == "MISSING")
}
