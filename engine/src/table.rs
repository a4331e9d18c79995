//! The device table: every block device seen, its parents and holders, its content.

use std::collections::BTreeMap;

use ondisk::{Content, Partition, Signature};

use crate::event::{CommandId, DevName, DeviceFacts, Failure};
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
    /// Links below `/dev` that it owns, as last commanded.
    pub links: Vec<String>,
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
        self.facts.size > 0 && !suspended && !self.is_ignorable()
    }
}

/// All devices.
#[derive(Debug, Clone, Default)]
pub struct Table {
    devices: BTreeMap<DevName, Device>,
    next_order: u64,
    links_dirty: bool,
}

impl Table {
    /// Enters or updates a device; returns whether anything changed.
    ///
    /// What was read stays valid unless size, medium or dm identity changed: opening a device for reading raises no
    /// change event, and a storm of identical events must not turn into a storm of reads.
    pub fn update(&mut self, now: Moment, name: &DevName, facts: DeviceFacts) -> bool {
        match self.devices.get_mut(name) {
            Some(device) if device.facts == facts => false,
            Some(device) => {
                self.links_dirty = true;
                let replaced = device.facts.diskseq != facts.diskseq || device.facts.major != facts.major;
                let stale = replaced
                    || device.facts.size != facts.size
                    || device.facts.sector_size != facts.sector_size
                    || device.facts.dm != facts.dm;
                device.facts = facts;
                if stale {
                    device.knowledge = Knowledge::Unknown;
                }
                true
            }
            None => {
                self.links_dirty = true;
                let order = self.next_order;
                self.next_order = order.saturating_add(1);
                let device = Device {
                    name: name.clone(),
                    facts,
                    knowledge: Knowledge::Unknown,
                    seen: now,
                    order,
                    links: Vec::new(),
                };
                self.devices.insert(name.clone(), device);
                true
            }
        }
    }

    /// Removes a device; returns whether it was there.
    pub fn remove(&mut self, name: &DevName) -> bool {
        let known = self.devices.remove(name).is_some();
        self.links_dirty |= known;
        known
    }

    /// Looks one up.
    #[must_use]
    pub fn get(&self, name: &DevName) -> Option<&Device> {
        self.devices.get(name)
    }

    /// Looks one up to change it.
    pub fn get_mut(&mut self, name: &DevName) -> Option<&mut Device> {
        self.devices.get_mut(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// All of them, by name, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Device> {
        self.devices.values_mut()
    }

    /// Enters what was learnt in answer to a request; returns whether any device waited for it.
    pub fn learn(&mut self, id: CommandId, knowledge: Knowledge) -> bool {
        match self.devices.values_mut().find(|device| device.knowledge == Knowledge::Asked(id)) {
            Some(device) => {
                device.knowledge = knowledge;
                self.links_dirty = true;
                true
            }
            None => false,
        }
    }

    /// Whether links may have changed since the last call.
    pub fn take_links_dirty(&mut self) -> bool {
        std::mem::take(&mut self.links_dirty)
    }

    /// Devices that are built on `name` (its holders).
    pub fn holders<'a>(&'a self, name: &'a DevName) -> impl Iterator<Item = &'a Device> {
        self.iter().filter(move |device| device.facts.slaves.contains(name))
    }

    /// Partitions of `name`.
    pub fn partitions<'a>(&'a self, name: &'a DevName) -> impl Iterator<Item = &'a Device> {
        self.iter().filter(move |device| device.facts.parent.as_ref() == Some(name))
    }

    /// The entry of the parent's partition table that describes this partition.
    ///
    /// Number and extent must agree: after a table was changed without the kernel noticing, numbers lie.
    #[must_use]
    pub fn partition_entry(&self, device: &Device) -> Option<&Partition> {
        let parent = self.get(device.facts.parent.as_ref()?)?;
        let number = device.facts.partn?;
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
