//! The names below `/dev/disk/by-id` that need no more than sysfs.
//!
//! Source of the rules: systemd's `60-persistent-storage.rules` and its programs `ata_id`, `scsi_id` and `usb_id`. Those
//! ask the drive; here the pages that the kernel has kept are read, so nothing waits for a drive and nothing wakes one.

use std::path::Path;

use ondisk::scsi_id::{DeviceIds, identified, linked, replaced, unit_serial};

use crate::sysfs::Attributes;

/// Who a disk is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Identity {
    /// udev's `ID_SERIAL_SHORT`.
    pub(crate) serial: Option<String>,
    /// udev's `ID_SERIAL`, of SCSI, ATA and USB disks.
    pub(crate) wwid: Option<String>,
    /// Link names without directory.
    pub(crate) links: Vec<String>,
}

/// Reads the identity of a whole disk: its kernel name, its path below `/sys`, its directory.
pub(crate) fn identity(name: &str, link: &str, disk: &Attributes, sys: &Path) -> Identity {
    let kind = |prefix: &str| name.starts_with(prefix);
    let mut identity = if kind("vd") {
        virtio(disk)
    } else if kind("nvme") {
        nvme(disk)
    } else if kind("sd") || kind("sr") {
        scsi_or_usb(link, disk, sys)
    } else if kind("mmcblk") {
        mmc(disk)
    } else if kind("pmem") {
        let links = disk
            .read("device/uuid")
            .filter(|uuid| !uuid.is_empty())
            .map(|uuid| format!("pmem-{}", linked(&uuid)));
        Identity { links: links.into_iter().collect(), ..Identity::default() }
    } else {
        Identity::default()
    };
    identity.links.sort();
    identity.links.dedup();
    identity
}

fn virtio(disk: &Attributes) -> Identity {
    let Some(serial) = attribute(disk, "serial") else { return Identity::default() };
    let links = vec![format!("virtio-{}", linked(&serial))];
    Identity { links, serial: Some(serial), wwid: None }
}

fn nvme(disk: &Attributes) -> Identity {
    let mut identity = Identity { serial: attribute(disk, "device/serial"), ..Identity::default() };
    if let Some(wwid) = attribute(disk, "wwid") {
        identity.links.push(format!("nvme-{}", linked(&wwid)));
    }
    if let (Some(model), Some(serial)) = (attribute(disk, "device/model"), &identity.serial) {
        let name = format!("{model}_{serial}");
        // Two spellings of one name: rules of systemd before and after 252.
        if !name.contains('/') {
            identity.links.push(format!("nvme-{}", linked(&name)));
        }
        identity.links.push(format!("nvme-{}", replaced(&name, "")));
        if let Some(number) = attribute(disk, "nsid") {
            identity.links.push(format!("nvme-{}", replaced(&format!("{name}_{number}"), "")));
        }
    }
    identity
}

fn mmc(disk: &Attributes) -> Identity {
    let (Some(name), Some(serial)) = (attribute(disk, "device/name"), attribute(disk, "device/serial"))
    else {
        return Identity::default();
    };
    let links = vec![format!("mmc-{}_{}", linked(&name), linked(&serial))];
    Identity { links, serial: Some(serial), wwid: None }
}

fn scsi_or_usb(link: &str, disk: &Attributes, sys: &Path) -> Identity {
    let text = |name: &str| disk.read(name).unwrap_or_default();
    let (vendor, model) = (text("device/vendor"), text("device/model"));
    if link.contains("/usb") {
        return usb(link, &vendor, &model, sys);
    }
    let page = disk.bytes("device/vpd_pg83").unwrap_or_default();
    let page = DeviceIds(page.get(4..).unwrap_or_default());
    let found = if vendor.trim_end() == "ATA" {
        page.ata()
    } else {
        page.scsi(&vendor, &model).or_else(|| unit_serial(&disk.bytes("device/vpd_pg80")?, &vendor, &model))
    };
    let mut links: Vec<String> = found.iter().map(|found| format!("{}-{}", found.bus, found.name)).collect();
    links.extend(page.wwn().map(|wwn| format!("wwn-0x{wwn}")));
    let (wwid, serial) = found.map(|found| (found.name, found.serial)).unzip();
    Identity { serial, wwid, links }
}

fn usb(link: &str, vendor: &str, model: &str, sys: &Path) -> Identity {
    // .../1-1/1-1:1.0/host6/target6:0:0/6:0:0:0/block/sda
    let mut parts = link.split('/').rev().skip(2);
    let place = parts.next().unwrap_or_default();
    let Some((device, _)) = link.split_once("/host").and_then(|(interface, _)| interface.rsplit_once('/'))
    else {
        return Identity::default();
    };
    let serial = Attributes::open(&sys.join(device)).ok().flatten().and_then(|device| device.read("serial"));
    // Some vendors put garbage there; Windows does not take these characters either.
    let serial = serial.filter(|text| text.bytes().all(|byte| (0x20..=0x7f).contains(&byte) && byte != b','));
    let serial = serial.map(|text| identified(text.as_bytes())).filter(|text| !text.is_empty());
    let mut name = format!("{}_{}", identified(vendor.as_bytes()), identified(model.as_bytes()));
    if let Some(serial) = &serial {
        name.push('_');
        name.push_str(serial);
    }
    if let [_, _, target, lun] = place.split(':').collect::<Vec<_>>().as_slice() {
        name.push_str(&format!("-{target}:{lun}"));
    }
    Identity { serial, links: vec![format!("usb-{name}")], wwid: Some(name) }
}

/// `$attr{name}`: without white space at the end, odd characters replaced; `None` when empty.
fn attribute(disk: &Attributes, name: &str) -> Option<String> {
    let text = disk.read(name)?;
    let text = replaced(text.trim_end(), "/ $%?,");
    (!text.is_empty()).then_some(text)
}
