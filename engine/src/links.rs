//! The links below `/dev` that udev would make for a device.
//!
//! Source: systemd's `rules.d/60-persistent-storage.rules` and lvm2's `13-dm-disk.rules`.

use std::collections::BTreeMap;

use crate::udev_encode;

use crate::event::DevName;
use crate::matching;
use crate::table::{Device, Table};

/// Every link that the device may claim, relative to `/dev`, sorted.
#[must_use]
pub fn claims(device: &Device, table: &Table) -> Vec<String> {
    let mut links = Vec::new();
    if let Some(dm) = &device.facts.dm {
        links.push(format!("mapper/{}", dm.name));
        links.push(format!("disk/by-id/dm-name-{}", dm.name));
        if !dm.uuid.is_empty() {
            links.push(format!("disk/by-id/dm-uuid-{}", dm.uuid));
        }
    }
    if let Some(signature) = device.signature() {
        if let Some(uuid) = &signature.uuid {
            links.push(format!("disk/by-uuid/{}", udev_encode::encode(uuid.as_bytes())));
        }
        if let Some(label) = &signature.label {
            links.push(format!("disk/by-label/{}", udev_encode::encode(label)));
        }
    }
    if let Some(entry) = table.partition_entry(device) {
        links.push(format!("disk/by-partuuid/{}", entry.uuid));
        if let Some(name) = &entry.name {
            links.push(format!("disk/by-partlabel/{}", udev_encode::encode(name.as_bytes())));
        }
    }
    let whole = device.facts.parent.as_ref().and_then(|parent| table.get(parent)).unwrap_or(device);
    let suffix = device.facts.partn.map(|number| format!("-part{number}")).unwrap_or_default();
    links.extend(whole.facts.ids.iter().map(|id| format!("disk/by-id/{id}{suffix}")));
    links.extend(whole.facts.path.iter().map(|path| format!("disk/by-path/{path}{suffix}")));
    links.sort();
    links.dedup();
    links
}

/// Devices whose links are not what was last commanded, with the links they own now.
///
/// A link that several devices claim belongs to an assembled device before a raw one, then to the one seen first.
pub fn changed(table: &mut Table) -> Vec<(DevName, Vec<String>)> {
    if !table.take_links_dirty() {
        return Vec::new();
    }
    let mut owners: BTreeMap<String, (bool, u64, DevName)> = BTreeMap::new();
    for device in table.iter() {
        let (raw, order) = matching::preference(device);
        for link in claims(device, table) {
            let claim = (raw, order, device.name.clone());
            match owners.get(&link) {
                Some(owner) if *owner <= claim => {}
                _ => {
                    owners.insert(link, claim);
                }
            }
        }
    }
    let mut owned: BTreeMap<DevName, Vec<String>> = BTreeMap::new();
    for (link, (_, _, name)) in owners {
        owned.entry(name).or_default().push(link);
    }
    let mut changes = Vec::new();
    for device in table.iter_mut() {
        let links = owned.remove(&device.name).unwrap_or_default();
        if device.links != links {
            device.links.clone_from(&links);
            changes.push((device.name.clone(), links));
        }
    }
    changes
}
