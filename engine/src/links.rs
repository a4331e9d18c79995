//! The links below `/dev` that udev would make for a device.
//!
//! Source: systemd's `rules.d/60-persistent-storage.rules` and lvm2's `13-dm-disk.rules`.

use std::collections::{BTreeMap, BTreeSet};

use ondisk::{Kind, udev_encode};

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
    // Members of arrays and volume groups share ids, so that udev makes no links of content for them.
    let member = |kind| matches!(kind, Kind::Lvm2Pv | Kind::MdMember);
    if let Some(signature) = device.signature().filter(|signature| !member(signature.kind)) {
        if let Some(uuid) = &signature.uuid {
            links.push(format!("disk/by-uuid/{}", udev_encode::encode(uuid.as_bytes())));
        }
        if let Some(label) = &signature.label {
            links.push(format!("disk/by-label/{}", udev_encode::encode(label)));
        }
    }
    if let Some(entry) = table.partition_entry(device) {
        links.push(format!("disk/by-partuuid/{}", udev_encode::encode(entry.uuid.as_bytes())));
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

/// Who claims a link; the least owns it: assembled devices before raw ones, then the one seen first.
type Claim = ((bool, u64), DevName);

/// Which devices claim which link.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    claimants: BTreeMap<String, BTreeSet<Claim>>,
    /// What each device entered, with the rank that it had then.
    entered: BTreeMap<DevName, ((bool, u64), Vec<String>)>,
    doubtful: BTreeSet<DevName>,
}

impl Registry {
    /// Takes all claims of a device back.
    pub fn withdraw(&mut self, device: &Device) {
        let Some((rank, links)) = self.entered.remove(&device.name) else { return };
        let claim: Claim = (rank, device.name.clone());
        for link in links {
            if let Some(claims) = self.claimants.get_mut(&link) {
                claims.remove(&claim);
                match claims.first() {
                    Some((_, heir)) => {
                        self.doubtful.insert(heir.clone());
                    }
                    None => {
                        self.claimants.remove(&link);
                    }
                }
            }
        }
        self.doubtful.insert(device.name.clone());
    }

    /// Enters the claims of a device.
    pub fn enter(&mut self, device: &Device) {
        let rank = matching::preference(device);
        for link in &device.claims {
            let claims = self.claimants.entry(link.clone()).or_default();
            if let Some((_, owner)) = claims.first() {
                self.doubtful.insert(owner.clone());
            }
            claims.insert((rank, device.name.clone()));
        }
        self.entered.insert(device.name.clone(), (rank, device.claims.clone()));
        self.doubtful.insert(device.name.clone());
    }

    /// Devices whose links may have changed since the last call.
    pub fn take_doubtful(&mut self) -> BTreeSet<DevName> {
        std::mem::take(&mut self.doubtful)
    }

    /// The links that the device owns now.
    #[must_use]
    pub fn owned_by(&self, device: &Device) -> Vec<String> {
        let owns = |link: &&String| {
            self.claimants
                .get(*link)
                .and_then(BTreeSet::first)
                .is_some_and(|(_, owner)| *owner == device.name)
        };
        device.claims.iter().filter(owns).cloned().collect()
    }
}
