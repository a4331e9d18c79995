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
        if let Some(mount) = root_mount(&mountinfo) {
            host.root_type = Some(mount.fstype.to_owned());
            if let Some(device) = block_device(sys, &mount) {
                host.walk(sys, &device, 0);
            }
        }
        host
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
    fstype: &'a str,
    source: &'a str,
}

/// The rows of a crypttab(5) that are about these mappings, as they stand.
#[must_use]
pub fn crypttab_rows(crypttab: &str, names: &[String]) -> String {
    let mine =
        |line: &&str| line.split_whitespace().next().is_some_and(|first| names.iter().any(|n| n == first));
    crypttab.lines().filter(mine).map(|line| format!("{line}\n")).collect()
}

/// The last mount on `/` (proc_pid_mountinfo(5)).
fn root_mount(mountinfo: &str) -> Option<Mount<'_>> {
    let parse = |line| {
        let (before, after) = str::split_once(line, " - ")?;
        let mut before = before.split(' ').skip(2);
        let (numbers, mut after) = (before.next()?, after.split(' '));
        (before.nth(1)? == "/").then_some(Mount { numbers, fstype: after.next()?, source: after.next()? })
    };
    mountinfo.lines().filter_map(parse).next_back()
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
    }

    #[test]
    fn only_rows_of_root() {
        let table =
            "# name device\nswap /dev/x /dev/urandom swap\ncr_root UUID=1 none luks\n cr_root2 UUID=2\n";
        assert_eq!(crypttab_rows(table, &["cr_root".into()]), "cr_root UUID=1 none luks\n");
        assert_eq!(crypttab_rows(table, &[]), "");
    }

    #[test]
    fn nothing_there() {
        assert_eq!(Host::scan(Path::new("/nonexistent"), Path::new("/nonexistent")), Host::default());
    }
}
