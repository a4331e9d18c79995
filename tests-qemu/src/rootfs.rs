//! Root file systems as directory trees: the probe root and full Debian releases.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::guest::GuestPrograms;
use crate::image::{CHECKER_MODULES, install, packages, place};
use crate::kernel::{Kernel, Series};
use crate::program::{output, program};
use crate::{Error, debian};

/// Modules of a full distribution: what udev, mdadm, lvm2 and cryptsetup of the real root may ask for.
const DISTRIBUTION_MODULES: &[&str] = &[
    "drivers/virtio/",
    "drivers/block/",
    "drivers/md/",
    "drivers/nvme/",
    "virtio_scsi",
    "virtio_console",
    "virtio_rng",
    "xhci_pci",
    "usbhid",
    "hid_generic",
    "sd_mod",
    "sr_mod",
    "crypto/",
    "arch/x86/crypto/",
    "lib/",
    "ext4",
    "xfs",
    "btrfs",
    "bcachefs",
    "vfat",
    "nls_ascii",
    "nls_cp437",
    "overlay",
    "autofs4",
    "fuse",
    "configfs",
    "efi_pstore",
    "dm_mod",
    "loop",
    "evdev",
    "button",
    "binfmt_misc",
];

/// A Debian release installed as a full root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Debian 12.
    Bookworm,
    /// Debian 13.
    Trixie,
}

impl Release {
    /// Suite name.
    #[must_use]
    pub fn suite(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// What a full root is made of.
    fn packages(self) -> Vec<&'static str> {
        let mut packages = ROOT_PACKAGES.to_vec();
        // Debian 13 has moved the reader of crypttab out of systemd's own package.
        if self == Self::Trixie {
            packages.push("systemd-cryptsetup");
        }
        packages
    }

    /// The kernel with which its users have it.
    #[must_use]
    pub fn kernel(self) -> Series {
        match self {
            Self::Bookworm => Series::V6_1,
            Self::Trixie => Series::V6_12,
        }
    }

    /// Version number as users know it.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::Bookworm => "12",
            Self::Trixie => "13",
        }
    }
}

/// What a full root is made of. Recommended packages are left out, as mmdebstrap does.
const ROOT_PACKAGES: &[&str] =
    &["systemd-sysv", "udev", "dbus", "kmod", "lvm2", "cryptsetup", "mdadm", "e2fsprogs", "util-linux"];

/// What the builder VM makes disks with: one tree for all jobs, as a tree takes a minute to make.
const BUILDER_PACKAGES: &[&str] = &[
    "bcache-tools",
    "btrfs-progs",
    "cryptsetup-bin",
    "dmsetup",
    "dosfstools",
    "e2fsprogs",
    "fdisk",
    "gpg",
    "gpg-agent",
    "kmod",
    "lvm2",
    "mdadm",
    "thin-provisioning-tools",
    "util-linux",
    "xfsprogs",
    "xz-utils",
];

/// What only Debian 13 has: VDO, and systemd-cryptenroll as a package with the libraries that it loads for each kind of
/// token.
const TRIXIE_BUILDER_PACKAGES: &[&str] = &[
    "libfido2-1",
    "libtss2-esys-3.0.2-0t64",
    "libtss2-mu-4.0.1-0t64",
    "libtss2-rc0t64",
    "libtss2-tcti-device0t64",
    "systemd-cryptsetup",
    "vdo",
];

/// Installs packages of a suite into a tree below the cache.
pub fn bootstrap(suite: &str, wanted: &[&str], cache: &Cache) -> Result<PathBuf, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::Bed(
            "a Debian root has files of many owners: run the QEMU tests as root".to_owned(),
        ));
    }
    let apt = debian::Apt::for_suite(suite, cache.root())?;
    // The tree is remade when one of the named packages has a new version.
    let mut recipe = format!("{suite}\n");
    for package in wanted {
        recipe += &format!("{package} {}\n", apt.version(package)?);
    }
    cache.entry("trees", &format!("{suite}-{}", wanted.len()), &recipe, |tree| {
        // The excluded files are the bulk of the tree and play no part in a boot.
        output(
            program("mmdebstrap")
                .args(["--quiet", "--variant=minbase", "--skip=check/empty"])
                .arg(format!("--include={}", wanted.join(",")))
                .args(["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"])
                .args(["--dpkgopt=path-exclude=/usr/share/locale/*", "--aptopt=APT::Sandbox::User \"root\""])
                .args(["--format=directory", suite])
                .arg(tree)
                .arg(apt.source_line()),
        )?;
        for waste in ["var/lib/apt/lists", "var/cache/apt"] {
            crate::cache::remove(&tree.join(waste))?;
            fs::create_dir_all(tree.join(waste)).map_err(Error::io(tree))?;
        }
        Ok(())
    })
}

/// The tree of a full Debian, and more packages, with the checker as a unit, for `kernel`. Root is `fstab_root` in its fstab.
pub fn debian_root(
    release: Release,
    more_packages: &[&'static str],
    kernel: &Kernel,
    fstab_root: &str,
    guest: &GuestPrograms,
    cache: &Cache,
) -> Result<PathBuf, Error> {
    let base = bootstrap(release.suite(), &[release.packages(), more_packages.to_vec()].concat(), cache)?;
    let recipe =
        format!("{}\n{}\n{fstab_root}\n{}", base.display(), kernel.package, debian::sha256(&guest.checker)?)
            + UNIT
            + &DISTRIBUTION_MODULES.join(" ");
    cache.entry("trees", &format!("debian{}", release.number()), &recipe, |tree| {
        output(program("cp").args(["-a", "--reflink=auto"]).arg(&base).arg(tree))?;
        kernel.install(tree, DISTRIBUTION_MODULES)?;
        install(&guest.checker, &tree.join("usr/lib/rootward-guest"))?;
        place(tree, "etc/fstab", &format!("{fstab_root} / ext4 defaults 0 1\n"))?;
        place(tree, "etc/hostname", "rootward-test\n")?;
        // With an identity the boot is an ordinary one, not a first boot that asks questions.
        place(tree, "etc/machine-id", "5d6d0fa9dd214f4f8ed5a3b0be4a3d11\n")?;
        place(tree, "etc/rootward-marker", &format!("debian {}\n", release.number()))?;
        place(tree, "etc/systemd/system/rootward-checker.service", UNIT)?;
        let wants = tree.join("etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants).map_err(Error::io(&wants))?;
        symlink("../rootward-checker.service", wants.join("rootward-checker.service"))
            .map_err(Error::io(&wants))
    })
}

/// Not ordered after anything and of type simple, so that it is itself no job that the boot waits for.
const UNIT: &str = "[Unit]
Description=Reports the verdict of the test bed
[Service]
Type=simple
ExecStart=/usr/lib/rootward-guest --distribution
StandardOutput=journal+console
";

/// The tree of the builder VM: tools of a release, nothing of ours but the program that runs a script.
pub fn builder_root(
    release: Release,
    kernel: &Kernel,
    guest: &GuestPrograms,
    cache: &Cache,
) -> Result<PathBuf, Error> {
    let more = if release == Release::Trixie { TRIXIE_BUILDER_PACKAGES } else { &[] };
    let base = bootstrap(release.suite(), &[BUILDER_PACKAGES, more].concat(), cache)?;
    let recipe = format!("{}\n{}\n{}", base.display(), kernel.package, debian::sha256(&guest.checker)?)
        + &DISTRIBUTION_MODULES.join(" ");
    cache.entry("trees", "builder", &recipe, |tree| {
        output(program("cp").args(["-a", "--reflink=auto"]).arg(&base).arg(tree))?;
        kernel.install(tree, DISTRIBUTION_MODULES)?;
        install(&guest.checker, &tree.join("builder"))
    })
}

/// A root of a few files with the checker at `init`.
pub fn probe_root(
    marker: &str,
    init: &str,
    kernels: &[Kernel],
    guest: &GuestPrograms,
    cache: &Cache,
) -> Result<PathBuf, Error> {
    let recipe = format!("{marker}\n{init}\n{}\n{}", packages(kernels), debian::sha256(&guest.checker)?);
    cache.entry("trees", &format!("probe-{marker}"), &recipe, |tree| {
        fs::create_dir_all(tree).map_err(Error::io(tree))?;
        for directory in ["bin", "dev", "etc", "proc", "run", "sbin", "sys", "tmp", "var"] {
            fs::create_dir_all(tree.join(directory)).map_err(Error::io(tree))?;
        }
        install(&guest.checker, &tree.join(init))?;
        place(tree, "etc/rootward-marker", &format!("{marker}\n"))?;
        place(tree, "etc/os-release", "ID=probe\nNAME=\"Probe root\"\n")?;
        kernels.iter().try_for_each(|kernel| kernel.install(tree, CHECKER_MODULES))
    })
}

/// Directory tree size in MiB, for the image that is to hold it.
pub fn mebibytes(tree: &Path) -> Result<u64, Error> {
    let listing = output(program("du").args(["--summarize", "--block-size=1M"]).arg(tree))?;
    let size = listing.split_whitespace().next().and_then(|word| word.parse().ok());
    size.ok_or_else(|| Error::Bed(format!("du printed {listing:?}")))
}
