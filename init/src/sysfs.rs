//! What `/sys` says: block devices with their facts, and the modalias of every device. Used for coldplug, and again
//! when the kernel had to drop uevents.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use engine::event::DmFacts;
use engine::{DevName, DeviceFacts};
use rustix::fs::{CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::by_id;
use crate::by_path;
use crate::error::{Context, Result};

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
        Sysfs { root: root.into() }
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
            facts.slaves = slaves(&path);
        } else {
            let identity = by_id::identity(&name.0, &link, &directory);
            facts.serial = identity.serial;
            facts.ids = identity.links;
            facts.path = by_path::path(&link, &self.root);
        }
        Ok(Some(facts))
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
