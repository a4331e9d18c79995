//! The device table: every block device seen, its parents and holders, its content.

use std::collections::BTreeMap;

use ondisk::{Content, Partition, Signature};

use crate::assemble::dm_partitions;
use crate::event::{CommandId, DevName, DeviceFacts, DmFacts, Failure};
use crate::links::{self, Registry};
use crate::time::Moment;

/// What is known of a device's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Knowledge {
    /// Nobody has looked, or what was seen is out of date.
    Unknown,
    /// Asked for.
    Asked(CommandId),
    /// Known.
    Known(Content),
    /// The device could not be read.
    Unreadable(Failure),
}

/// One block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Kernel name.
    pub name: DevName,
    /// What sysfs says.
    pub facts: DeviceFacts,
    /// What it holds.
    pub knowledge: Knowledge,
    /// When it was first seen.
    pub seen: Moment,
    /// Position in the order of appearance.
    pub order: u64,
    /// Links below `/dev` that it may claim, sorted; kept true by the table.
    pub claims: Vec<String>,
    /// Links below `/dev` that it owns, as last commanded.
    pub links: Vec<String>,
    /// Reads of this medium that failed.
    pub failed_reads: u8,
    /// What it was claimed for, if it is a part of something that hides it (a path of a multipath device, a member of a
    /// BIOS RAID set): its content is that of the whole, so nobody else may use it.
    pub claimed: Option<String>,
    /// The device-mapper UUID of the device of which it is a copy by design, such as the origin of a snapshot.
    pub copy_of: Option<String>,
    /// What was read of a partition before its disk was read, see [`Table::admit`].
    early: Option<Knowledge>,
}

/// Reads of one medium that may fail before it is left alone until it changes.
///
/// Drives report themselves before they can be read; each `change` event is worth another look, a storm of them is not.
const MOST_READS: u8 = 3;

/// What a report of a device changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// The device is new, or what is known of it changed.
    Changed,
    /// Another device has taken the name: whatever was begun with the old one, or with its partitions, is void.
    Replaced(Vec<DevName>),
}

impl Device {
    /// The content, once known.
    #[must_use]
    pub fn content(&self) -> Option<&Content> {
        match &self.knowledge {
            Knowledge::Known(content) => Some(content),
            _ => None,
        }
    }

    /// The one signature, if the content is known and unambiguous.
    #[must_use]
    pub fn signature(&self) -> Option<&Signature> {
        self.content().and_then(Content::only)
    }

    /// Whether all is known of its content that there is to know for now.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self.knowledge, Knowledge::Known(_) | Knowledge::Unreadable(_))
    }

    /// Whether it is a virtual device that the kernel makes by default and that cannot hold a root.
    ///
    /// Reading a floppy drive blocks for seconds when no medium is in it; ram and zram disks start empty.
    fn is_ignorable(&self) -> bool {
        let numbered = |prefix: &str| {
            self.name
                .0
                .strip_prefix(prefix)
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
        };
        numbered("ram") || numbered("zram") || numbered("fd")
    }

    /// Whether it makes sense to read it now.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        let suspended = self.name.0.starts_with("dm-") && self.facts.dm.is_none();
        let stopped = is_array(self) && self.facts.md.is_none();
        self.facts.size > 0 && !suspended && !stopped && !self.is_ignorable() && !self.is_internal()
    }

    /// Whether it is a part of a logical volume: what it holds is the volume's or the kernel's own.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.facts.dm.as_ref().is_some_and(DmFacts::is_part_of_lv)
    }

    /// Whether others may use it: it is neither a part of a logical volume nor claimed.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.claimed.is_none() && !self.is_internal()
    }
}

/// All devices.
#[derive(Debug, Clone, Default)]
pub struct Table {
    devices: BTreeMap<DevName, Device>,
    next_order: u64,
    links: Registry,
}

impl Table {
    /// Enters or updates a device; returns what that changed.
    ///
    /// What was read stays valid unless size, medium or dm identity changed: opening a device for reading raises no
    /// change event, and a storm of identical events must not turn into a storm of reads.
    pub fn update(&mut self, now: Moment, name: &DevName, mut facts: DeviceFacts) -> Change {
        let Some(device) = self.devices.get_mut(name) else {
            self.insert(now, name, facts);
            return Change::Changed;
        };
        if !is_another(&device.facts, &facts) {
            facts.queue = facts.queue.or(device.facts.queue);
        }
        if device.facts == facts {
            let again =
                matches!(device.knowledge, Knowledge::Unreadable(_)) && device.failed_reads < MOST_READS;
            if again {
                device.knowledge = Knowledge::Unknown;
            }
            return if again { Change::Changed } else { Change::Nothing };
        }
        if is_another(&device.facts, &facts) {
            let diskseq = facts.diskseq;
            self.remove(name);
            self.insert(now, name, facts);
            return Change::Replaced(self.void_partitions(name, diskseq));
        }
        let stale = device.facts.size != facts.size
            || device.facts.sector_size != facts.sector_size
            || device.facts.dm != facts.dm
            || device.facts.md.is_some() != facts.md.is_some();
        let repaired = device.facts.slaves != facts.slaves;
        device.facts = facts;
        if stale {
            device.knowledge = Knowledge::Unknown;
            device.early = None;
            device.failed_reads = 0;
        }
        if repaired {
            self.read_again_above(name);
        }
        self.refresh(name);
        Change::Changed
    }

    /// What could not be read is tried again when what it lies on has changed: a multipath device that has a path again.
    fn read_again_above(&mut self, name: &DevName) {
        let unreadable = |device: &&Device| matches!(device.knowledge, Knowledge::Unreadable(_));
        let above = self.devices.values().filter(unreadable);
        let above = above.filter(|device| self.stack(device).iter().any(|below| below.name == *name));
        for name in above.map(|device| device.name.clone()).collect::<Vec<_>>() {
            if let Some(device) = self.devices.get_mut(&name) {
                (device.knowledge, device.failed_reads) = (Knowledge::Unknown, 0);
            }
        }
    }

    fn insert(&mut self, now: Moment, name: &DevName, facts: DeviceFacts) {
        let order = self.next_order;
        self.next_order = order.saturating_add(1);
        let device = Device {
            name: name.clone(),
            facts,
            knowledge: Knowledge::Unknown,
            seen: now,
            order,
            claims: Vec::new(),
            links: Vec::new(),
            failed_reads: 0,
            claimed: None,
            copy_of: None,
            early: None,
        };
        let owner = device.facts.parent.as_ref().and_then(|parent| self.devices.get(parent)?.claimed.clone());
        self.devices.insert(name.clone(), Device { claimed: owner, ..device });
        self.refresh(name);
    }

    /// Removes a device; returns whether it was there.
    pub fn remove(&mut self, name: &DevName) -> bool {
        let Some(device) = self.devices.remove(name) else { return false };
        self.links.withdraw(&device);
        self.refresh_partitions(name);
        true
    }

    /// Forgets what partitions of the disk that had this name before held; the disk comes first in the answer.
    fn void_partitions(&mut self, disk: &DevName, diskseq: u64) -> Vec<DevName> {
        let mut void = vec![disk.clone()];
        for device in self.devices.values_mut() {
            let reported_anew = diskseq != 0 && device.facts.diskseq == diskseq;
            if device.facts.parent.as_ref() == Some(disk) && !reported_anew {
                device.knowledge = Knowledge::Unknown;
                device.early = None;
                void.push(device.name.clone());
            }
        }
        void.iter().for_each(|name| self.refresh_one(name));
        void
    }

    /// Computes the links of a device and of its partitions anew.
    fn refresh(&mut self, name: &DevName) {
        self.refresh_one(name);
        self.refresh_partitions(name);
    }

    fn refresh_partitions(&mut self, name: &DevName) {
        let partitions: Vec<DevName> =
            self.partitions(name).map(|partition| partition.name.clone()).collect();
        partitions.iter().for_each(|partition| self.refresh_one(partition));
    }

    fn refresh_one(&mut self, name: &DevName) {
        let Some(device) = self.devices.get(name) else { return };
        let claims = links::claims(device, self);
        if let Some(device) = self.devices.get_mut(name) {
            self.links.withdraw(device);
            device.claims = claims;
            self.links.enter(device);
        }
    }

    /// Keeps a device, and every partition that the kernel has made or will make on it, for `owner` alone.
    pub fn claim(&mut self, name: &DevName, owner: &str) {
        let Some(device) = self.devices.get_mut(name) else { return };
        if device.claimed.as_deref() == Some(owner) {
            return;
        }
        device.claimed = Some(owner.to_owned());
        self.refresh(name);
        let partitions: Vec<DevName> = self.partitions(name).map(|part| part.name.clone()).collect();
        partitions.iter().for_each(|part| self.claim(part, owner));
    }

    /// Gives a claimed device back, and its partitions.
    pub fn release(&mut self, name: &DevName) {
        let Some(device) = self.devices.get_mut(name) else { return };
        if device.claimed.take().is_none() {
            return;
        }
        self.refresh(name);
        let partitions: Vec<DevName> = self.partitions(name).map(|part| part.name.clone()).collect();
        partitions.iter().for_each(|part| self.release(part));
    }

    /// Enters that a device is a copy of the one with this device-mapper UUID.
    pub fn mark_copy(&mut self, name: &DevName, original: String) {
        let Some(device) = self.devices.get_mut(name) else { return };
        if device.copy_of.as_ref() != Some(&original) {
            device.copy_of = Some(original);
            self.refresh(name);
        }
    }

    /// The device of which this one is a copy, if that one has shown up.
    #[must_use]
    pub fn original(&self, copy: &Device) -> Option<&Device> {
        let uuid = copy.copy_of.as_ref()?;
        self.iter().find(|device| device.facts.dm.as_ref().is_some_and(|dm| dm.uuid == *uuid))
    }

    /// Looks one up.
    #[must_use]
    pub fn get(&self, name: &DevName) -> Option<&Device> {
        self.devices.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// Has every device read that should be and was not: `ask` is called with its name and returns the number of the
    /// request.
    pub fn read_unknown(&mut self, mut ask: impl FnMut(&DevName) -> CommandId) {
        for device in self.devices.values_mut() {
            // What is claimed is read through the device that it is a part of.
            if device.knowledge == Knowledge::Unknown && device.is_readable() && device.claimed.is_none() {
                device.knowledge = Knowledge::Asked(ask(&device.name));
            }
        }
    }

    /// Forgets what was read of devices on which nothing useful was found, so that they are read again.
    pub fn forget_useless(&mut self) {
        for device in self.devices.values_mut() {
            device.failed_reads = 0;
            let useless = device.content().is_none_or(|content| content.signatures.is_empty());
            if useless && !matches!(device.knowledge, Knowledge::Asked(_)) {
                device.knowledge = Knowledge::Unknown;
            }
        }
        let names: Vec<DevName> = self.devices.keys().cloned().collect();
        names.iter().for_each(|name| self.refresh_one(name));
    }

    /// Enters what was learnt in answer to a request; returns whether any device waited for it.
    pub fn learn(&mut self, id: CommandId, knowledge: Knowledge) -> bool {
        let asked = Knowledge::Asked(id);
        let found = self.iter().find(|device| device.knowledge == asked && device.early.is_none());
        let Some((name, early)) = found.map(|device| (device.name.clone(), self.is_disk_unread(device)))
        else {
            return false;
        };
        let Some(device) = self.devices.get_mut(&name) else { return false };
        match &knowledge {
            Knowledge::Unreadable(_) => device.failed_reads = device.failed_reads.saturating_add(1),
            _ => device.failed_reads = 0,
        }
        if early && matches!(knowledge, Knowledge::Known(_)) {
            device.early = Some(knowledge);
            return true;
        }
        device.knowledge = knowledge;
        self.refresh(&name);
        true
    }

    /// Whether nobody knows yet if the disk of a partition is a part of something, as a mirror's half is, which lends its
    /// partitions to nobody. udev too looks at a disk before its partitions.
    fn is_disk_unread(&self, partition: &Device) -> bool {
        let Some(parent) = &partition.facts.parent else { return false };
        self.get(parent).is_none_or(|disk| disk.claimed.is_none() && disk.is_readable() && !disk.is_settled())
    }

    /// Lets what was read of partitions be known now that their disks are, and belong to whom they belong to; returns
    /// whether there was any. A disk that hangs must not hold its partitions up for ever: `all` waits for none.
    pub fn admit(&mut self, all: bool) -> bool {
        let ready = |device: &&Device| device.early.is_some() && (all || !self.is_disk_unread(device));
        let names: Vec<DevName> = self.iter().filter(ready).map(|device| device.name.clone()).collect();
        for name in &names {
            if let Some(device) = self.devices.get_mut(name)
                && let Some(knowledge) = device.early.take()
            {
                device.knowledge = knowledge;
                self.refresh(name);
            }
        }
        !names.is_empty()
    }

    /// Devices whose links are not what was last commanded, with the links they own now.
    pub fn changed_links(&mut self) -> Vec<(DevName, Vec<String>)> {
        let mut changes = Vec::new();
        for name in self.links.take_doubtful() {
            let Some(device) = self.devices.get_mut(&name) else { continue };
            let links = self.links.owned_by(device);
            if device.links != links {
                device.links.clone_from(&links);
                changes.push((name, links));
            }
        }
        changes
    }

    /// Devices that are built on `name` (its holders).
    pub fn holders<'a>(&'a self, name: &'a DevName) -> impl Iterator<Item = &'a Device> {
        self.iter().filter(move |device| device.facts.slaves.contains(name))
    }

    /// The device and everything that it lies on, from the top down.
    #[must_use]
    pub fn stack<'a>(&'a self, device: &'a Device) -> Vec<&'a Device> {
        let (mut stack, mut at) = (vec![device], 0);
        while let Some(device) = stack.get(at) {
            at += 1;
            let below = device.facts.slaves.iter().chain(&device.facts.parent);
            for device in below.filter_map(|name| self.get(name)) {
                if !stack.iter().any(|seen| seen.name == device.name) {
                    stack.push(device);
                }
            }
        }
        stack
    }

    /// Partitions of `name`.
    pub fn partitions<'a>(&'a self, name: &'a DevName) -> impl Iterator<Item = &'a Device> {
        self.iter().filter(move |device| device.facts.parent.as_ref() == Some(name))
    }

    /// The disk that a partition is on, and its number: the kernel's, or a mapping made in its stead.
    #[must_use]
    pub fn place(&self, device: &Device) -> Option<(&Device, u32)> {
        let facts = &device.facts;
        if let (Some(parent), Some(number)) = (&facts.parent, facts.partn) {
            return Some((self.get(parent)?, number));
        }
        let (number, disk) = dm_partitions::parse_uuid(&facts.dm.as_ref()?.uuid)?;
        let [below] = facts.slaves.as_slice() else { return None };
        let parent = self.get(below)?;
        parent.facts.dm.as_ref().is_some_and(|dm| dm.uuid == disk).then_some((parent, number))
    }

    /// The entry of the disk's partition table that describes this partition.
    ///
    /// Number and extent must agree: after a table was changed without the kernel noticing, numbers lie.
    #[must_use]
    pub fn partition_entry(&self, device: &Device) -> Option<&Partition> {
        let (parent, number) = self.place(device)?;
        let table = parent.content()?.table.as_ref()?;
        table.partitions.iter().find(|partition| {
            // The kernel shows an extended MBR partition as two sectors, however long it is.
            let extended = matches!(partition.kind.as_str(), "0x5" | "0xf" | "0x85");
            partition.number == number && (partition.length == device.facts.size || extended)
        })
    }

    /// Whether any device is still to be read.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.iter().any(|device| matches!(device.knowledge, Knowledge::Asked(_)))
    }
}

/// Whether it is an MD array's whole device.
fn is_array(device: &Device) -> bool {
    let number = device.name.0.strip_prefix("md");
    device.facts.parent.is_none()
        && number.is_some_and(|rest| rest.starts_with('_') || rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What lvm2 puts into the names of hidden volumes, and refuses in those of others (lib/misc/lvm-string.c).
const RESERVED: [&str; 17] = [
    "_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_imeta", "_iorig", "_mimage", "_mlog", "_pmspare",
    "_rimage", "_rmeta", "_tdata", "_tmeta", "_vdata", "_vorigin", "_wcorig",
];
/// The same for the beginning of names: what is being moved lies in such a volume, which begins with the moved one's data.
const RESERVED_START: [&str; 2] = ["pvmove", "snapshot"];

impl DmFacts {
    /// Whether this is a layer or a hidden part of a logical volume: layers have a suffix after the 64 characters of the
    /// UUID (lvm2: lib/activate/dev_manager.c), hidden volumes a reserved name.
    #[must_use]
    pub fn is_part_of_lv(&self) -> bool {
        let Some(ids) = self.uuid.strip_prefix("LVM-") else { return false };
        let volume = links::split_name(&self.name).map_or(self.name.as_str(), |(_, volume)| volume);
        ids.as_bytes().get(64) == Some(&b'-')
            || RESERVED.iter().any(|word| volume.contains(word))
            || RESERVED_START.iter().any(|word| volume.starts_with(word))
    }
}

/// Whether the facts are those of two devices that had the same name one after the other.
///
/// A number is compared only where both reports have it. Device-mapper names are reused as soon as they are free.
fn is_another(old: &DeviceFacts, new: &DeviceFacts) -> bool {
    let differ = |old: u64, new: u64| old != 0 && new != 0 && old != new;
    let renamed = match (&old.dm, &new.dm) {
        (Some(old), Some(new)) => old.uuid != new.uuid,
        _ => false,
    };
    differ(old.diskseq, new.diskseq) || old.major != new.major || old.minor != new.minor || renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_logical_volumes() {
        let ids = "a".repeat(64);
        for (name, uuid, part) in [
            ("vg-root", format!("LVM-{ids}"), false),
            ("vg-pool-tpool", format!("LVM-{ids}-tpool"), true),
            ("vg-root_rimage_0", format!("LVM-{ids}"), true),
            ("vg_rmeta-root", format!("LVM-{ids}"), false),
            ("my--vg_tdata--x-a--b", format!("LVM-{ids}"), false),
            ("vg-pvmove0", format!("LVM-{ids}"), true),
            ("vg-old--pvmove0", format!("LVM-{ids}"), false),
            ("my--vg-a--b_tmeta", format!("LVM-{ids}"), true),
            ("x_rimage_0", "CRYPT-LUKS2-0-x".to_owned(), false),
        ] {
            assert_eq!(DmFacts { name: name.into(), uuid }.is_part_of_lv(), part, "{name}");
        }
    }

    #[test]
    fn a_claim_holds_for_partitions_too() {
        let mut table = Table::default();
        let (disk, first, second) = (DevName("sda".into()), DevName("sda1".into()), DevName("sda2".into()));
        let part =
            DeviceFacts { parent: Some(disk.clone()), partn: Some(1), size: 512, ..DeviceFacts::default() };
        table.update(Moment(0), &disk, DeviceFacts { size: 1024, ..DeviceFacts::default() });
        table.update(Moment(0), &first, part.clone());
        table.claim(&disk, "dm-0");
        table.update(Moment(0), &second, DeviceFacts { partn: Some(2), ..part });
        for name in [&disk, &first, &second] {
            assert!(table.get(name).is_some_and(|device| !device.is_free()), "{name}");
        }
        table.release(&disk);
        assert!(table.iter().all(Device::is_free));
    }
}
