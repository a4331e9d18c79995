//! What this machine shows in `/sys` and `/proc`: its devices, loaded modules, and what its root stands on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ondisk::kmod::module_name;

/// More nested devices than any machine has.
const MAX_DEPTH: usize = 64;

/// Facts about the running machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// `modalias` of every device.
    pub modaliases: BTreeSet<String>,
    /// Loaded modules, without built-in ones.
    pub loaded: BTreeSet<String>,
    /// Type of the root file system, as in `/proc/self/mountinfo`.
    pub root_type: Option<String>,
    /// What drives the devices below root, from the bus down to the disk: modules, or the modaliases of devices whose
    /// driver is built into the running kernel, since the image can be for another one.
    pub root_drivers: Vec<String>,
    /// `dm/uuid` of the device-mapper devices below root.
    pub dm_uuids: Vec<String>,
    /// `dm/name` of the encrypted ones among them.
    pub crypt_names: Vec<String>,
    /// `md/level` of the arrays below root.
    pub md_levels: Vec<String>,
    /// Whether a logical volume is active, below root or not.
    pub has_lvm: bool,
    /// Mount points, in the order in which they were mounted.
    pub mounts: Vec<PathBuf>,
    /// Those of them that are on something encrypted.
    pub encrypted_mounts: BTreeSet<PathBuf>,
    /// Modules that the machine's configuration asks for, by name or alias.
    pub configured: Vec<String>,
}

impl Host {
    /// Looks at the machine; what cannot be read is taken for absent, as in a container.
    #[must_use]
    pub fn scan(sys: &Path, proc: &Path) -> Self {
        let mut host = Host::default();
        collect_modaliases(&sys.join("devices"), 0, &mut host.modaliases);
        for entry in fs::read_dir(sys.join("module")).into_iter().flatten().flatten() {
            // Built-in modules have no state.
            if entry.path().join("initstate").exists() {
                host.loaded.extend(entry.file_name().to_str().map(module_name));
            }
        }
        let mountinfo = fs::read_to_string(proc.join("self/mountinfo")).unwrap_or_default();
        host.see_mounts(&mountinfo);
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            let mut below = Host::default();
            if let Some(device) = block_device(sys, &mount) {
                below.walk(sys, &device, 0);
            }
            // The last one on a place is the one that is seen there.
            let place = mount.place();
            if below.dm_uuids.iter().any(|uuid| is_encryption(uuid)) {
                host.encrypted_mounts.insert(place);
            } else {
                host.encrypted_mounts.remove(&place);
            }
        }
        let mapped = fs::read_dir(sys.join("devices/virtual/block")).into_iter().flatten().flatten();
        host.has_lvm = mapped
            .filter_map(|entry| fs::read_to_string(entry.path().join("dm/uuid")).ok())
            .any(|uuid| uuid.starts_with("LVM-"));
        if let Some(mount) = root_mount(&mountinfo) {
            host.root_type = Some(mount.fstype.to_owned());
            if let Some(device) = block_device(sys, &mount) {
                host.walk(sys, &device, 0);
            }
        }
        host
    }

    /// Notes what is mounted where.
    pub(crate) fn see_mounts(&mut self, mountinfo: &str) {
        self.mounts = mountinfo.lines().filter_map(Mount::parse).map(|mount| mount.place()).collect();
    }

    /// Whether a path is on the root file system rather than on one that is mounted below it.
    #[must_use]
    pub fn is_on_root(&self, path: &Path) -> bool {
        self.mount_of(path) == Some(Path::new("/"))
    }

    /// Whether a file that is to be written there is known to be encrypted.
    #[must_use]
    pub fn is_encrypted(&self, path: &Path) -> bool {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let Ok(directory) = fs::canonicalize(directory.unwrap_or(Path::new("."))) else { return false };
        self.mount_of(&directory).is_some_and(|mount| self.encrypted_mounts.contains(mount))
    }

    fn mount_of(&self, path: &Path) -> Option<&Path> {
        let over = self.mounts.iter().filter(|mount| path.starts_with(mount));
        over.max_by_key(|mount| mount.components().count()).map(PathBuf::as_path)
    }

    /// Notes a block device of the stack, what it consists of, and the drivers of everything that it hangs on.
    fn walk(&mut self, sys: &Path, device: &Path, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        let text = |name: &str| fs::read_to_string(device.join(name)).ok().map(|text| text.trim().to_owned());
        let uuid = text("dm/uuid").filter(|uuid| !uuid.is_empty());
        if uuid.as_ref().is_some_and(|uuid| uuid.starts_with("CRYPT-")) {
            self.crypt_names.extend(text("dm/name"));
        }
        self.dm_uuids.extend(uuid);
        self.md_levels.extend(text("md/level").filter(|level| !level.is_empty()));
        for slave in fs::read_dir(device.join("slaves")).into_iter().flatten().flatten() {
            if let Ok(below) = fs::canonicalize(slave.path()) {
                self.walk(sys, &below, depth + 1);
            }
        }
        let top = fs::canonicalize(sys.join("devices")).unwrap_or_else(|_| sys.join("devices"));
        let mut chain: Vec<&Path> = device.ancestors().take_while(|path| **path != top).collect();
        chain.reverse();
        for path in chain {
            let module = fs::canonicalize(path.join("driver/module")).ok();
            let name =
                module.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).map(module_name);
            let alias =
                || fs::read_to_string(path.join("modalias")).ok().map(|text| text.trim_end().to_owned());
            let driver = name.or_else(alias).filter(|name| !name.is_empty());
            self.root_drivers.extend(driver.filter(|name| !self.root_drivers.contains(name)));
            // The disk of a partition can itself stand on others.
            if path != device && path.join("slaves").is_dir() {
                self.walk(sys, path, depth + 1);
            }
        }
    }
}

fn collect_modaliases(directory: &Path, depth: usize, all: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < MAX_DEPTH {
            collect_modaliases(&entry.path(), depth + 1, all);
        } else if kind.is_file() && entry.file_name() == "modalias" {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let text = text.trim_end_matches('\n');
            if !text.is_empty() {
                all.insert(text.to_owned());
            }
        }
    }
}

struct Mount<'a> {
    numbers: &'a str,
    place: &'a str,
    fstype: &'a str,
    source: &'a str,
}

impl<'a> Mount<'a> {
    /// A line of proc_pid_mountinfo(5).
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(2);
        let (numbers, mut after) = (before.next()?, after.split(' '));
        Some(Mount { numbers, place: before.nth(1)?, fstype: after.next()?, source: after.next()? })
    }

    /// Where it is mounted; the kernel writes white space as octal numbers.
    fn place(&self) -> PathBuf {
        let plain = self.place.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
        PathBuf::from(plain)
    }
}

/// Whether a device-mapper UUID is that of a mapping that hides its data, unlike verity and integrity.
fn is_encryption(uuid: &str) -> bool {
    let kind = uuid.strip_prefix("CRYPT-");
    kind.is_some_and(|kind| !kind.starts_with("VERITY") && !kind.starts_with("INTEGRITY"))
}

/// The last mount on `/`.
fn root_mount(mountinfo: &str) -> Option<Mount<'_>> {
    mountinfo.lines().filter_map(Mount::parse).rfind(|mount| mount.place == "/")
}

/// The device below `/sys/devices`, by number, or by name for file systems with anonymous numbers such as btrfs.
fn block_device(sys: &Path, mount: &Mount<'_>) -> Option<PathBuf> {
    if let Ok(path) = fs::canonicalize(sys.join("dev/block").join(mount.numbers)) {
        return Some(path);
    }
    let node = fs::canonicalize(mount.source).ok()?;
    let name = node.file_name().filter(|_| mount.source.starts_with("/dev/"))?;
    fs::canonicalize(sys.join("class/block").join(name)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    /// A LUKS container on an NVMe partition.
    #[test]
    fn a_stack_is_followed_down_to_the_bus() {
        let s = Scratch::new("host");
        let pci = "sys/devices/pci0000:00/0000:00:01.0";
        s.file("sys/devices/pci0000:00/modalias", b"acpi:PNP0A08:\n");
        s.file(&format!("{pci}/modalias"), b"pci:v1\n");
        s.file("sys/module/nvme/initstate", b"live\n");
        s.file("sys/module/ext4/initstate", b"live\n");
        s.file("sys/module/printk/parameters/x", b"");
        s.file("sys/bus/pci/drivers/nvme/bind", b"");
        s.link("sys/bus/pci/drivers/nvme/module", "../../../../module/nvme");
        s.link(&format!("{pci}/driver"), "../../../bus/pci/drivers/nvme");
        s.file(&format!("{pci}/nvme/nvme0/nvme0n1/nvme0n1p2/partition"), b"2\n");
        s.file("sys/devices/virtual/block/dm-0/dm/uuid", b"CRYPT-LUKS2-x-y\n");
        s.file("sys/devices/virtual/block/dm-0/dm/name", b"cr_root\n");
        s.link(
            "sys/devices/virtual/block/dm-0/slaves/nvme0n1p2",
            "../../../../pci0000:00/0000:00:01.0/nvme/nvme0/nvme0n1/nvme0n1p2",
        );
        s.link("sys/dev/block/254:0", "../../devices/virtual/block/dm-0");
        s.file(
            "proc/self/mountinfo",
            b"1 0 0:2 / / rw - rootfs rootfs rw\n22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/mapper/x rw\n\
              23 22 0:5 / /proc rw - proc proc rw\n",
        );
        let host = Host::scan(&s.path().join("sys"), &s.path().join("proc"));
        assert_eq!(host.modaliases, BTreeSet::from(["acpi:PNP0A08:".to_owned(), "pci:v1".to_owned()]));
        assert_eq!(host.loaded, BTreeSet::from(["ext4".to_owned(), "nvme".to_owned()]));
        assert_eq!(host.root_type.as_deref(), Some("ext4"));
        assert_eq!(host.root_drivers, ["acpi:PNP0A08:", "nvme"]);
        assert_eq!(host.dm_uuids, ["CRYPT-LUKS2-x-y"]);
        assert_eq!(host.crypt_names, ["cr_root"]);
        assert_eq!(host.md_levels, [""; 0]);
        assert!(!host.has_lvm && host.encrypted_mounts.contains(Path::new("/")));
    }

    #[test]
    fn places_and_what_is_below_them() {
        let mut host = Host::default();
        host.see_mounts(
            "1 0 0:2 / / rw - x x x\n2 1 8:1 / /boot rw - x x x\n3 1 8:1 / /a\\040b rw - x x x\n",
        );
        assert!(host.is_on_root(Path::new("/etc/k")) && host.is_on_root(Path::new("/bootx")));
        assert!(!host.is_on_root(Path::new("/boot/k")) && !host.is_on_root(Path::new("/a b/k")));
        assert!(!host.is_encrypted(Path::new("/image")));
        host.encrypted_mounts.insert("/".into());
        assert!(host.is_encrypted(Path::new("/image")) && host.is_encrypted(Path::new("image")));
        assert!(!host.is_encrypted(Path::new("/nonexistent/image")));
        assert!(
            is_encryption("CRYPT-LUKS2-x") && !is_encryption("CRYPT-VERITY-x") && !is_encryption("LVM-x")
        );
    }

    #[test]
    fn nothing_there() {
        assert_eq!(Host::scan(Path::new("/nonexistent"), Path::new("/nonexistent")), Host::default());
    }
}
