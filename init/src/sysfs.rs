//! What `/sys` says: block devices with their facts, and the modalias of every device. Used for coldplug, and again
//! when the kernel had to drop uevents.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use engine::event::DmFacts;
use engine::{DevName, DeviceFacts, QueueFacts};
use rustix::fs::{CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::by_id;
use crate::by_path;
use crate::error::{Context, Result};
use crate::scsi;

/// Longest attribute that is read; the kernel gives at most a page.
const ATTRIBUTE_MAX: usize = 4096;

/// Bytes in a sector of `size` and `start`, whatever the device's own sectors are (`SECTOR_SIZE`).
const SECTOR: u64 = 512;

/// Buses that lead to disks, walked before all others.
const FIRST: [&str; 9] = ["pci", "virtio", "nvme", "scsi", "usb", "platform", "mmc", "vmbus", "acpi"];

/// Buses without drivers to load that have an entry per CPU or memory block, so thousands on large machines. The CPUs'
/// modalias names accelerated ciphers and the like; those are loaded when somebody asks for the cipher.
const SKIPPED: [&str; 8] =
    ["clockevents", "clocksource", "cpu", "event_source", "machinecheck", "memory", "node", "workqueue"];

/// The tree.
#[derive(Debug, Clone)]
pub struct Sysfs {
    root: PathBuf,
    /// Whether SCSI disks are looked at as paths.
    scsi: bool,
}

impl Default for Sysfs {
    fn default() -> Sysfs {
        Sysfs::new()
    }
}

impl Sysfs {
    /// The kernel's.
    #[must_use]
    pub fn new() -> Sysfs {
        Sysfs::below("/sys")
    }

    /// A copy elsewhere.
    pub fn below(root: impl Into<PathBuf>) -> Sysfs {
        Sysfs { root: root.into(), scsi: false }
    }

    /// The same, with or without [`DeviceFacts::scsi`].
    #[must_use]
    pub fn with_scsi(self, scsi: bool) -> Sysfs {
        Sysfs { scsi, ..self }
    }

    /// The names of all block devices, partitions included; whole disks before their partitions.
    #[must_use]
    pub fn block_devices(&self) -> Vec<DevName> {
        let mut names: Vec<DevName> =
            names_in(&self.root.join("class/block")).map(|name| DevName(name.replace('!', "/"))).collect();
        names.sort();
        names
    }

    /// What is known of a block device; `None` when there is none of that name any more.
    ///
    /// # Errors
    /// If its directory is there and cannot be read.
    pub fn facts(&self, name: &DevName) -> Result<Option<DeviceFacts>> {
        let path = self.root.join("class/block").join(name.0.replace('/', "!"));
        let (Some(link), Some(directory)) = (self.device_path(&path), Attributes::open(&path)?) else {
            return Ok(None);
        };
        let Some(uevent) = directory.read("uevent") else { return Ok(None) };
        let variable = |key: &str| {
            uevent
                .lines()
                .find_map(|line| line.split_once('=').filter(|(name, _)| *name == key))
                .map(|(_, value)| value)
        };
        let number = |key: &str| variable(key).and_then(|text| text.parse::<u32>().ok());
        // A path of an NVMe multipath device is a disk without node.
        let (Some(major), Some(minor)) = (number("MAJOR"), number("MINOR")) else { return Ok(None) };
        let parent = (variable("DEVTYPE") == Some("partition")).then(|| parent_of(&link)).flatten();
        let disk = if parent.is_some() { "../" } else { "" };
        let mut facts = DeviceFacts {
            major,
            minor,
            partn: number("PARTN").or_else(|| parent.as_ref().and_then(|_| directory.number("partition"))),
            size: directory.number::<u64>("size").unwrap_or(0).saturating_mul(SECTOR),
            sector_size: directory.number(&format!("{disk}queue/logical_block_size")).unwrap_or(512),
            read_only: directory.read("ro").is_some_and(|text| text != "0"),
            // Linux 5.15 and later; only newer ones name it for partitions.
            diskseq: variable("DISKSEQ")
                .and_then(|text| text.parse().ok())
                .or_else(|| parent.as_ref().and_then(|_| directory.number("../diskseq")))
                .unwrap_or(0),
            parent,
            ..DeviceFacts::default()
        };
        if facts.parent.is_some() {
            return Ok(Some(facts));
        }
        if name.0.starts_with("dm-") {
            facts.dm = dm(&directory, facts.size);
            facts.slaves = slaves(&path);
        } else if name.0.starts_with("md") {
            // Before it is started an array can be neither read nor written.
            let state = directory.read("md/array_state").unwrap_or_default();
            if !matches!(state.as_str(), "" | "clear" | "inactive") {
                facts.md = Some(crate::md::look_up(&name.0));
            }
            facts.slaves = slaves(&path);
        } else {
            let identity = by_id::identity(&name.0, &link, &directory, &self.root);
            if let Some(wwid) = identity.wwid.filter(|_| self.scsi && name.0.starts_with("sd")) {
                let wwn = identity.links.iter().any(|link| link.starts_with("wwn-"));
                facts.scsi = Some(Box::new(scsi::facts(wwid, wwn, &link, &directory)));
            }
            facts.serial = identity.serial;
            facts.ids = identity.links;
            facts.path = by_path::path(&link, &self.root);
        }
        Ok(Some(facts))
    }

    /// What is known of the request queue of a device with these facts (lvm2 asks for the read-ahead with BLKRAGET, which
    /// is the same number, and for `queue/dax` here: lib/device/dev-type.c, dev_is_pmem).
    #[must_use]
    pub fn queue(&self, name: &DevName, facts: &DeviceFacts) -> Option<QueueFacts> {
        let path = self.root.join("class/block").join(name.0.replace('/', "!"));
        let directory = Attributes::open(&path).ok()??;
        let disk = if facts.parent.is_some() { "../" } else { "" };
        let kibibytes: u32 = directory.number(&format!("{disk}queue/read_ahead_kb")).unwrap_or(0);
        let dax = directory.number::<u32>(&format!("{disk}queue/dax")).is_some_and(|on| on > 0);
        Some(QueueFacts { read_ahead: kibibytes.saturating_mul(2), dax })
    }

    /// Hands every device's path below `/sys` and modalias to `found`, buses that lead to disks first.
    pub fn modaliases(&self, mut found: impl FnMut(&str, &str)) {
        let buses = self.root.join("bus");
        let mut names: Vec<String> =
            names_in(&buses).filter(|name| !SKIPPED.contains(&name.as_str())).collect();
        names.sort_by_cached_key(|name| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
        for bus in names {
            let devices = buses.join(bus).join("devices");
            let Ok(Some(directory)) = Attributes::open(&devices) else { continue };
            for device in names_in(&devices) {
                if let Some(modalias) =
                    directory.read(&format!("{device}/modalias")).filter(|text| !text.is_empty())
                    && let Some(path) = self.device_path(&devices.join(&device))
                {
                    found(&path, &modalias);
                }
            }
        }
    }

    /// Where a link of `/sys/class` or `/sys/bus` leads: a path below `/sys`, such as `devices/pci0000:00/0000:00:01.0`.
    fn device_path(&self, link: &Path) -> Option<String> {
        let target = rustix::fs::readlinkat(CWD, link, Vec::new()).ok()?;
        let target = target.to_str().ok()?;
        let path = target.trim_start_matches("../");
        path.starts_with("devices/").then(|| path.to_owned())
    }
}

/// The disk of a partition: the last but one name of its path.
fn parent_of(link: &str) -> Option<DevName> {
    let name = link.rsplit('/').nth(1)?;
    Some(DevName(name.replace('!', "/")))
}

/// A mapping is usable once it has a live table and is not suspended; before its first table its size is 0.
fn dm(directory: &Attributes, size: u64) -> Option<DmFacts> {
    let live = size > 0 && directory.read("dm/suspended").as_deref() == Some("0");
    live.then(|| directory.read("dm/name"))
        .flatten()
        .map(|name| DmFacts { name, uuid: directory.read("dm/uuid").unwrap_or_default() })
}

fn slaves(path: &Path) -> Vec<DevName> {
    let mut slaves: Vec<DevName> =
        names_in(&path.join("slaves")).map(|name| DevName(name.replace('!', "/"))).collect();
    slaves.sort();
    slaves
}

fn names_in(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let entries = rustix::fs::open(directory, flags, Mode::empty()).and_then(Dir::new).ok();
    entries.into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().to_str().ok()?;
        (!name.starts_with('.')).then(|| name.to_owned())
    })
}

/// An open directory of `/sys`, whose attributes are read by short paths.
#[derive(Debug)]
pub(crate) struct Attributes {
    directory: OwnedFd,
}

impl Attributes {
    /// Opens the directory; `None` when it is not there.
    pub(crate) fn open(path: &Path) -> Result<Option<Attributes>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(directory) => Ok(Some(Attributes { directory })),
            Err(Errno::NOENT | Errno::NODEV) => Ok(None),
            Err(error) => Err(error).on("open", path),
        }
    }

    /// The bytes of an attribute; `None` when it is not there or the device does not answer.
    pub(crate) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.directory.as_fd(), name, flags, Mode::empty()).ok()?;
        let mut buffer = [0; ATTRIBUTE_MAX];
        let count = rustix::io::read(&file, &mut buffer).ok()?;
        buffer.get(..count).map(<[u8]>::to_vec)
    }

    /// The text of an attribute without the line end; bytes that are not UTF-8 are replaced.
    pub(crate) fn read(&self, name: &str) -> Option<String> {
        let mut bytes = self.bytes(name)?;
        while bytes.last().is_some_and(|byte| *byte == b'\n') {
            bytes.pop();
        }
        Some(
            String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        )
    }

    /// The decimal number that an attribute holds.
    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.read(name)?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use engine::ScsiFacts;

    use super::*;

    /// A `/sys` in miniature.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Tree {
            let root = std::env::temp_dir().join(format!("rootward-sysfs-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&root).unwrap();
            Tree(root)
        }

        fn write(&self, path: &str, contents: impl AsRef<[u8]>) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, contents).unwrap();
        }

        fn link(&self, path: &str, target: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, path).unwrap();
        }

        /// A device with its subsystem, and all that the kernel makes for a disk below it.
        fn disk(&self, devices: &[(&str, &str)], class: &str, name: &str, number: u32) -> String {
            for (device, subsystem) in devices {
                let depth = device.split('/').count();
                self.link(&format!("{device}/subsystem"), &format!("{}bus/{subsystem}", "../".repeat(depth)));
            }
            let below = devices.last().map_or("devices/virtual", |(device, _)| device);
            let path = format!("{below}/{class}{name}");
            self.write(
                &format!("{path}/uevent"),
                format!("MAJOR=8\nMINOR={number}\nDEVNAME={name}\nDEVTYPE=disk\nDISKSEQ=7\n"),
            );
            self.write(&format!("{path}/size"), "2048\n");
            self.write(&format!("{path}/ro"), "0\n");
            self.write(&format!("{path}/diskseq"), "7\n");
            self.write(&format!("{path}/queue/logical_block_size"), "4096\n");
            self.link(&format!("class/block/{name}"), &format!("../../{path}"));
            path
        }

        fn facts(&self, name: &str) -> Option<DeviceFacts> {
            Sysfs::below(&self.0).facts(&name.into()).unwrap()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_virtio_disk_and_its_partition() {
        let tree = Tree::new("virtio");
        let pci = "devices/pci0000:00/0000:00:02.0/0000:01:00.0";
        let bridge = "devices/pci0000:00/0000:00:02.0";
        let disk = tree.disk(
            &[(bridge, "pci"), (pci, "pci"), (&format!("{pci}/virtio1"), "virtio")],
            "block/",
            "vda",
            0,
        );
        tree.write(&format!("{disk}/serial"), "root disk\n");
        let partition = format!("{disk}/vda2");
        tree.write(&format!("{partition}/uevent"), "MAJOR=8\nMINOR=2\nDEVTYPE=partition\nPARTN=2\n");
        tree.write(&format!("{partition}/size"), "8\n");
        tree.write(&format!("{partition}/ro"), "1\n");
        tree.link("class/block/vda2", &format!("../../{partition}"));

        let facts = tree.facts("vda").unwrap();
        assert_eq!((facts.major, facts.minor, facts.size, facts.sector_size), (8, 0, 2048 * 512, 4096));
        assert_eq!((facts.read_only, facts.diskseq, &facts.parent, facts.partn), (false, 7, &None, None));
        assert_eq!(facts.serial.as_deref(), Some("root disk"));
        assert_eq!(facts.ids, ["virtio-root_disk"]);
        assert_eq!(facts.path.as_deref(), Some("pci-0000:01:00.0"), "bridges do not appear");

        let facts = tree.facts("vda2").unwrap();
        assert_eq!((facts.parent, facts.partn), (Some("vda".into()), Some(2)));
        assert_eq!((facts.size, facts.sector_size, facts.read_only, facts.diskseq), (4096, 4096, true, 7));
        assert!(facts.ids.is_empty() && facts.path.is_none(), "those of the disk count");

        let sysfs = Sysfs::below(&tree.0);
        let queue = |name: &str| sysfs.queue(&name.into(), &tree.facts(name).unwrap());
        assert_eq!(queue("vda"), Some(QueueFacts::default()));
        tree.write(&format!("{disk}/queue/read_ahead_kb"), "4096\n");
        tree.write(&format!("{disk}/queue/dax"), "1\n");
        assert_eq!(queue("vda"), Some(QueueFacts { read_ahead: 8192, dax: true }));
        assert_eq!(queue("vda2"), queue("vda"), "a partition has none of its own");

        assert_eq!(Sysfs::below(&tree.0).block_devices(), ["vda".into(), "vda2".into()]);
        assert_eq!(tree.facts("vdb"), None);
    }

    #[test]
    fn an_nvme_disk() {
        let tree = Tree::new("nvme");
        let pci = "devices/pci0000:00/0000:00:05.0";
        let disk = tree.disk(&[(pci, "pci"), (&format!("{pci}/nvme/nvme0"), "nvme")], "", "nvme0n1", 0);
        tree.link(&format!("{disk}/device"), "..");
        tree.write(&format!("{pci}/nvme/nvme0/serial"), "deadbeef            \n");
        tree.write(&format!("{pci}/nvme/nvme0/model"), "QEMU NVMe Ctrl                          \n");
        tree.write(&format!("{disk}/wwid"), "nvme.1b36-64656164-51454d55-00000001\n");
        tree.write(&format!("{disk}/nsid"), "1\n");
        let facts = tree.facts("nvme0n1").unwrap();
        assert_eq!(
            facts.ids,
            [
                "nvme-QEMU_NVMe_Ctrl_deadbeef",
                "nvme-QEMU_NVMe_Ctrl_deadbeef_1",
                "nvme-nvme.1b36-64656164-51454d55-00000001"
            ]
        );
        assert_eq!(facts.serial.as_deref(), Some("deadbeef"));
        assert_eq!(facts.path.as_deref(), Some("pci-0000:00:05.0-nvme-1"));
        // A path of a multipath disk has no node and no number.
        tree.write(&format!("{disk}/uevent"), "DEVTYPE=disk\n");
        assert_eq!(tree.facts("nvme0n1"), None);
    }

    #[test]
    fn scsi_ata_and_usb_disks() {
        let tree = Tree::new("scsi");
        let pci = "devices/pci0000:00/0000:00:05.0";
        let virtio = format!("{pci}/virtio2");
        let (host, target) = (format!("{virtio}/host2"), format!("{virtio}/host2/target2:0:1"));
        let device = format!("{target}/2:0:1:3");
        let scsi: [(&str, &str); 5] =
            [(pci, "pci"), (&virtio, "virtio"), (&host, "scsi"), (&target, "scsi"), (&device, "scsi")];
        let disk = tree.disk(&scsi, "block/", "sda", 0);
        tree.link(&format!("{disk}/device"), "../..");
        tree.write(&format!("{device}/vendor"), "QEMU    \n");
        tree.write(&format!("{device}/model"), "QEMU HARDDISK   \n");
        tree.write(&format!("{device}/vpd_pg83"), b"\x00\x83\x00\x09\x02\x00\x00\x05disk1");
        let facts = tree.facts("sda").unwrap();
        assert_eq!(facts.ids, ["scsi-0QEMU_QEMU_HARDDISK_disk1"]);
        assert!(facts.scsi.is_none(), "nobody asks for it");
        tree.write(&format!("{device}/rev"), "2.5+\n");
        tree.write(&format!("{device}/state"), "running\n");
        tree.write(&format!("{device}/dh_state"), "detached\n");
        tree.write(&format!("{device}/access_state"), "");
        let facts = Sysfs::below(&tree.0).with_scsi(true).facts(&"sda".into()).unwrap().unwrap();
        let expected = ScsiFacts {
            wwid: "0QEMU_QEMU_HARDDISK_disk1".into(),
            vendor: "QEMU".into(),
            product: "QEMU HARDDISK".into(),
            revision: "2.5+".into(),
            place: disk.clone(),
            protocol: "scsi:unspec".into(),
            running: true,
            ..ScsiFacts::default()
        };
        assert_eq!(facts.scsi.as_deref(), Some(&expected));
        tree.write(
            &format!("{device}/vpd_pg83"),
            b"\x00\x83\x00\x0c\x01\x03\x00\x08\x50\x01\x02\x03\x04\x05\x06\x07",
        );
        let named = Sysfs::below(&tree.0).with_scsi(true).facts(&"sda".into()).unwrap().unwrap();
        assert_eq!(
            named.scsi.map(|scsi| (scsi.wwn, scsi.wwid)),
            Some((true, "35001020304050607".to_owned()))
        );
        assert_eq!(facts.serial.as_deref(), Some("disk1"));
        assert_eq!(facts.path.as_deref(), Some("pci-0000:00:05.0-scsi-0:0:1:3"));

        let pci = "devices/pci0000:00/0000:00:1f.2";
        let (host, target) = (format!("{pci}/ata5/host6"), format!("{pci}/ata5/host6/target6:0:0"));
        let device = format!("{target}/6:0:0:0");
        tree.disk(
            &[(pci, "pci"), (&host, "scsi"), (&target, "scsi"), (&device, "scsi")],
            "block/",
            "sdb",
            16,
        );
        tree.write(&format!("{pci}/ata5/ata_port/ata5/port_no"), "3\n");
        assert_eq!(tree.facts("sdb").unwrap().path.as_deref(), Some("pci-0000:00:1f.2-ata-3.0"));

        let pci = "devices/pci0000:00/0000:00:1d.0";
        let usb = [format!("{pci}/usb1"), format!("{pci}/usb1/1-4"), format!("{pci}/usb1/1-4/1-4:1.0")];
        let (host, target) = (format!("{}/host7", usb[2]), format!("{}/host7/target7:0:0", usb[2]));
        let device = format!("{target}/7:0:0:0");
        let chain: [(&str, &str); 7] = [
            (pci, "pci"),
            (&usb[0], "usb"),
            (&usb[1], "usb"),
            (&usb[2], "usb"),
            (&host, "scsi"),
            (&target, "scsi"),
            (&device, "scsi"),
        ];
        let disk = tree.disk(&chain, "block/", "sdc", 32);
        tree.link(&format!("{disk}/device"), "../..");
        tree.write(&format!("{device}/vendor"), "ACME    \n");
        tree.write(&format!("{device}/model"), "Stick 8G        \n");
        tree.write(&format!("{}/serial", usb[1]), "A1 B2\n");
        let facts = tree.facts("sdc").unwrap();
        assert_eq!(facts.ids, ["usb-ACME_Stick_8G_A1_B2-0:0"]);
        assert_eq!(facts.path.as_deref(), Some("pci-0000:00:1d.0-usb-0:4:1.0-scsi-0:0:0:0"));
    }

    #[test]
    fn a_mapping_is_there_once_it_has_a_table() {
        let tree = Tree::new("dm");
        let disk = tree.disk(&[], "block/", "dm-0", 0);
        tree.write(&format!("{disk}/dm/name"), "root\n");
        tree.write(&format!("{disk}/dm/uuid"), "CRYPT-LUKS2-abc-root\n");
        tree.write(&format!("{disk}/dm/suspended"), "0\n");
        tree.link(&format!("{disk}/slaves/vda2"), "../../vda2");
        let facts = tree.facts("dm-0").unwrap();
        assert_eq!(facts.dm, Some(DmFacts { name: "root".into(), uuid: "CRYPT-LUKS2-abc-root".into() }));
        assert_eq!(facts.slaves, ["vda2".into()]);
        assert_eq!(facts.path, None);
        tree.write(&format!("{disk}/dm/suspended"), "1\n");
        assert_eq!(tree.facts("dm-0").unwrap().dm, None);
        tree.write(&format!("{disk}/dm/suspended"), "0\n");
        tree.write(&format!("{disk}/size"), "0\n");
        assert_eq!(tree.facts("dm-0").unwrap().dm, None);
    }

    #[test]
    fn modaliases_of_storage_come_first() {
        let tree = Tree::new("modalias");
        for (bus, device, modalias) in [
            ("serio", "serio0", "serio:ty06"),
            ("virtio", "virtio1", "virtio:d00000002v00001AF4"),
            ("pci", "0000:00:04.0", "pci:v00001AF4"),
            ("cpu", "cpu0", "cpu:type:x86"),
        ] {
            tree.write(&format!("devices/{device}/modalias"), format!("{modalias}\n"));
            tree.link(&format!("bus/{bus}/devices/{device}"), &format!("../../../devices/{device}"));
        }
        tree.write("devices/silent/uevent", "");
        tree.link("bus/pci/devices/silent", "../../../devices/silent");
        let mut seen = Vec::new();
        Sysfs::below(&tree.0).modaliases(|path, modalias| seen.push(format!("{path} {modalias}")));
        assert_eq!(
            seen,
            [
                "devices/0000:00:04.0 pci:v00001AF4",
                "devices/virtio1 virtio:d00000002v00001AF4",
                "devices/serio0 serio:ty06"
            ]
        );
    }

    #[test]
    fn names_with_exclamation_marks() {
        let tree = Tree::new("cciss");
        tree.disk(&[("devices/pci0000:00/0000:00:05.0", "pci")], "block/", "cciss!c0d0", 0);
        assert_eq!(Sysfs::below(&tree.0).block_devices(), ["cciss/c0d0".into()]);
        assert!(tree.facts("cciss/c0d0").is_some());
    }
}
