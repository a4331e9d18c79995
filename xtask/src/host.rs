//! Debian packages that the tasks need on the machine they run on.
//!
//! Each purpose is one table of what to look for and which package brings it. As root, what is missing
//! is installed; otherwise it is named.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tests_qemu::debian;

use crate::{Failure, run, say};

/// What tells that a package is there.
enum Probe {
    /// A program in PATH or in one of the sbin directories.
    Program(&'static str),
    /// The package itself, asked of dpkg.
    Package,
    /// A file whose name starts with this, in a directory `/usr/lib/llvm-N/lib`.
    Llvm(&'static str),
}
use Probe::{Llvm, Package, Program};

/// A need and the packages that fill it; the first one that apt knows is taken.
type Need = (Probe, &'static [&'static str]);

/// Building the static C libraries and the crates that bind them.
const NATIVE: &[Need] = &[
    (Program("cc"), &["build-essential"]),
    (Program("make"), &["build-essential"]),
    (Program("g++"), &["build-essential"]),
    (Program("dpkg-source"), &["dpkg-dev"]),
    (Program("pkg-config"), &["pkg-config", "pkgconf"]),
    (Program("autoconf"), &["autoconf"]),
    (Program("automake"), &["automake"]),
    (Program("libtoolize"), &["libtool"]),
    (Program("autopoint"), &["autopoint"]),
    (Program("msgfmt"), &["gettext"]),
    (Package, &["libpopt-dev"]),
    (Package, &["libjson-c-dev"]),
    (Package, &["uuid-dev"]),
    (Package, &["nettle-dev"]),
    // bindgen loads libclang at run time and needs its built-in headers, but no clang program.
    (Llvm("libclang-"), &["libclang1-14", "libclang1-19"]),
    (Llvm("clang"), &["libclang-common-14-dev", "libclang-common-19-dev"]),
];

/// The QEMU test bed and the tools that make and judge its disks.
const TEST_BED: &[Need] = &[
    (Program("qemu-img"), &["qemu-utils"]),
    (Program("mmdebstrap"), &["mmdebstrap"]),
    (Package, &["debian-archive-keyring"]),
    (Program("mke2fs"), &["e2fsprogs"]),
    (Program("mkfs.xfs"), &["xfsprogs"]),
    (Program("mkfs.btrfs"), &["btrfs-progs"]),
    (Program("mkfs.vfat"), &["dosfstools"]),
    (Program("mcopy"), &["mtools"]),
    (Program("mksquashfs"), &["squashfs-tools"]),
    (Program("mkfs.erofs"), &["erofs-utils"]),
    (Program("xorriso"), &["xorriso"]),
    (Program("genisoimage"), &["genisoimage"]),
    (Program("cryptsetup"), &["cryptsetup-bin"]),
    (Program("lvm"), &["lvm2"]),
    (Program("mdadm"), &["mdadm"]),
    (Program("sfdisk"), &["fdisk"]),
    (Program("blkid"), &["util-linux"]),
    (Program("depmod"), &["kmod"]),
    (Program("loadkeys"), &["kbd"]),
    (Program("swtpm"), &["swtpm"]),
    // Seals keys with it; loads the TPM's libraries by name. First Debian 13's packages, then Debian 12's.
    (Program("systemd-cryptenroll"), &["systemd-cryptsetup", "systemd"]),
    (Package, &["libtss2-tcti-swtpm0t64", "libtss2-tcti-swtpm0"]),
    (Package, &["libtss2-esys-3.0.2-0t64", "libtss2-esys-3.0.2-0"]),
    (Package, &["libtss2-mu-4.0.1-0t64", "libtss2-mu0"]),
    (Package, &["libtss2-rc0t64", "libtss2-rc0"]),
    // Answers a question in a guest.
    (Program("systemd-tty-ask-password-agent"), &["systemd"]),
    (Program("gpg"), &["gpg"]),
    (Program("gpg-agent"), &["gpg-agent"]),
    (Program("cpio"), &["cpio"]),
    (Program("zstd"), &["zstd"]),
    (Program("xz"), &["xz-utils"]),
    (Program("readelf"), &["binutils"]),
];

/// The bench's floor.
const BENCH: &[Need] = &[(Package, &["libargon2-dev"])];

/// Packages whose version decides which suite QEMU itself must come from.
const QEMU_SIBLINGS: [&str; 4] = ["qemu-system-common", "qemu-utils", "qemu-system-data", "qemu-block-extra"];

/// Makes sure that the static libraries can be built.
pub fn for_native() -> Result<(), Failure> {
    fill(NATIVE)
}

/// Makes sure that the test bed can run.
pub fn for_test_bed() -> Result<(), Failure> {
    if program("qemu-system-x86_64").is_none() {
        install_qemu()?;
    }
    fill(TEST_BED)
}

/// Makes sure that the bench's floor can be built.
pub fn for_bench() -> Result<(), Failure> {
    fill(BENCH)
}

/// Makes sure that rustfmt and clippy are there, which a minimal toolchain lacks.
pub fn for_rust() -> Result<(), Failure> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let there = Command::new("cargo").args([subcommand, "--version"]).output();
        if there.is_ok_and(|output| output.status.success()) {
            continue;
        }
        say(&format!("installing {component}"));
        run(Command::new("rustup").args(["component", "add", component]))
            .map_err(|Failure(why)| Failure(format!("cargo {subcommand} is missing, and {why}")))?;
    }
    Ok(())
}

/// Where a program is, in PATH or in the directories that only root's PATH holds.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(extra).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// Installs what is missing, or names it.
fn fill(needs: &[Need]) -> Result<(), Failure> {
    let missing: Vec<&[&str]> =
        needs.iter().filter(|need| !is_filled(need)).map(|(_, choices)| *choices).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if is_root() {
        // Which of the choices there are is known from the indexes; a container has none at first.
        run(Command::new("apt-get").args(["-qq", "update"]))?;
    }
    let mut packages: Vec<&str> = Vec::new();
    for choices in missing {
        let known = choices.iter().find(|package| apt_knows(package)).or(choices.first());
        if let Some(package) = known.filter(|package| !packages.contains(package)) {
            packages.push(package);
        }
    }
    install("", &packages)
}

fn is_filled((probe, choices): &Need) -> bool {
    match probe {
        Program(name) => program(name).is_some(),
        Package => choices.iter().any(|package| installed_version(package).is_some()),
        Llvm(prefix) => llvm_has(prefix),
    }
}

fn llvm_has(prefix: &str) -> bool {
    let versions = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut directories = versions.filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm-"));
    directories.any(|entry| {
        let files = fs::read_dir(entry.path().join("lib")).into_iter().flatten().flatten();
        files.into_iter().any(|file| {
            let name = file.file_name();
            let name = name.to_string_lossy();
            // The library of clang's C++ interface is another one.
            name.starts_with(prefix) && !name.starts_with("libclang-cpp")
        })
    })
}

fn installed_version(package: &str) -> Option<String> {
    let output = Command::new("dpkg-query")
        .args(["-W", "-f=${db:Status-Abbrev} ${Version}", package])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.strip_prefix("ii").map(|version| version.trim().to_owned())
}

fn apt_knows(package: &str) -> bool {
    let output = Command::new("apt-cache").args(["show", "--no-all-versions", package]).output();
    output.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

/// The suite that QEMU has to come from: backports where its sibling packages already do, because a
/// stock `qemu-system-x86` conflicts with newer siblings.
fn qemu_suite() -> Option<String> {
    let mut versions = QEMU_SIBLINGS.iter().filter_map(|package| installed_version(package));
    let from_backports = versions.any(|version| version.contains("~bpo"));
    from_backports.then(|| format!("{}-backports", debian::host_codename()))
}

fn install_qemu() -> Result<(), Failure> {
    match qemu_suite() {
        Some(suite) => install(&suite, &["qemu-system-x86", "qemu-utils"]),
        None => fill(&[(Program("qemu-system-x86_64"), &["qemu-system-x86"])]),
    }
}

/// Installs packages, from `suite` if one is named and it need not be in the machine's own sources.
fn install(suite: &str, packages: &[&str]) -> Result<(), Failure> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !is_root() {
        let target = if suite.is_empty() { String::new() } else { format!("-t {suite} ") };
        return Err(Failure(format!("missing packages; run: sudo apt-get install {target}{list}")));
    }
    say(&format!("installing {list}"));
    let options = if suite.is_empty() { Vec::new() } else { with_suite(suite)? };
    let _quiet = NoServices::new();
    if !suite.is_empty() {
        run(Command::new("apt-get").args(&options).args(["-qq", "update"]))?;
    }
    let mut command = Command::new("apt-get");
    command.args(&options).args(["-qq", "--no-install-recommends", "-y", "install"]);
    if !suite.is_empty() {
        command.args(["-t", suite]);
    }
    // dpkg reports each step on standard output; what goes wrong comes on standard error.
    command.args(packages).stdout(Stdio::null());
    run(command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C"))
}

/// Options that make apt see `suite` next to the machine's own sources, with its own copy of the
/// indexes, so that /etc/apt and /var/lib/apt stay as they are.
fn with_suite(suite: &str) -> Result<Vec<String>, Failure> {
    let state = debian::cache_root().join("apt").join(format!("host-{suite}"));
    let parts = state.join("parts");
    fs::create_dir_all(&parts)?;
    fs::create_dir_all(state.join("lists/partial"))?;
    for entry in fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten() {
        fs::copy(entry.path(), parts.join(entry.file_name()))?;
    }
    fs::write(parts.join("rootward-suite.list"), format!("{}\n", debian::mirror()?.line(suite)))?;
    Ok(vec![
        "-o".into(),
        format!("Dir::Etc::sourceparts={}", parts.display()),
        "-o".into(),
        format!("Dir::State::lists={}/lists", state.display()),
        "-o".into(),
        "APT::Sandbox::User=".into(),
    ])
}

/// Keeps packages from starting their services while it lives (mdadm's monitor, lvm2's poller): the
/// machine is a build host. A policy that is already there stays.
struct NoServices(Option<&'static Path>);

impl NoServices {
    fn new() -> Self {
        let policy = Path::new("/usr/sbin/policy-rc.d");
        if policy.exists() || fs::write(policy, "#!/bin/sh\nexit 101\n").is_err() {
            return Self(None);
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        // Without the mode the policy is ignored and the services start: a nuisance, not an error.
        let _ = fs::set_permissions(policy, mode);
        Self(Some(policy))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = self.0 {
            let _ = fs::remove_file(policy);
        }
    }
}
