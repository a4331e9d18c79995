//! The disk and the images: the floor, ours, and the peers' as their users would make them.

use std::fs;
use std::path::{Path, PathBuf};

use tests_qemu::bed::Bed;
use tests_qemu::cache::{self, Cache};
use tests_qemu::kernel::{Kernel, Series};
use tests_qemu::program::{output, program};
use tests_qemu::rootfs;

use super::Contestant;
use super::course::{Course, KEY};
use crate::Failure;

/// UUID of the bench's root.
pub const ROOT_UUID: &str = "2f9c4a1e-6a54-4f0e-9d1c-52f0b1a7c001";
const ROOT: &str = "UUID=2f9c4a1e-6a54-4f0e-9d1c-52f0b1a7c001";

/// An ext4 disk whose init is the measuring program.
pub fn disk(scratch: &Path) -> Result<PathBuf, Failure> {
    let tree = scratch.join("root");
    cache::remove(&tree)?;
    for directory in ["dev", "proc", "sys", "run", "sbin", "etc"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    compile(include_str!("real_init.c"), &[], &tree.join("sbin/init"))?;
    fs::write(tree.join("etc/os-release"), "ID=bench\n")?;
    fs::write(tree.join("etc/fstab"), format!("{ROOT} / ext4 defaults 0 1\n"))?;
    let disk = scratch.join("root.img");
    fs::File::create(&disk)?.set_len(64 << 20)?;
    output(
        program("mkfs.ext4").args(["-q", "-F", "-U", ROOT_UUID, "-L", "bench", "-d"]).arg(&tree).arg(&disk),
    )?;
    Ok(disk)
}

/// Every image of a course whose name contains one of `filters`, or all.
pub fn contestants(
    course: Course,
    dump: &str,
    bed: &Bed,
    scratch: &Path,
    filters: &[&str],
) -> Result<Vec<Contestant>, Failure> {
    type Make<'a> = Box<dyn Fn(&Path) -> Result<(), Failure> + 'a>;
    let kernel = bed.kernel(Series::V6_12)?;
    let key = scratch.join("bench.key");
    fs::write(&key, KEY)?;
    let rootward = |arguments: [&'static str; 2]| -> Make<'_> {
        let key = key.clone();
        Box::new(move |image: &Path| {
            let mut command = program(&bed.under_test.rootward.to_string_lossy());
            command.args(["build", "--kver", &kernel.version, "--modules-dir"]).arg(&kernel.modules);
            command
                .arg("--init")
                .arg(&bed.under_test.init)
                .args(arguments.iter().filter(|word| !word.is_empty()));
            if course == Course::LuksLvm {
                command.arg("--add").arg(format!("{}:/etc/bench.key", key.display()));
            }
            Ok(output(command.arg("-o").arg(image)).map(drop)?)
        })
    };
    let peer = |(packages, script): (&'static [&'static str], &'static str)| -> Make<'_> {
        Box::new(move |image: &Path| peer_image(kernel, &bed.cache, scratch, packages, script, image))
    };
    let mut all: Vec<(&'static str, Make<'_>)> = vec![
        ("floor", Box::new(|image: &Path| floor(course, dump, kernel, scratch, image))),
        ("rootward, host-only", rootward(["--modules", course.modules()])),
        ("rootward, universal", rootward(["--universal", ""])),
        ("dracut, min", peer(course.dracut_min())),
        ("initramfs-tools, list", peer(course.initramfs_tools_list())),
    ];
    if course == Course::Plain {
        all.push(("dracut, generic", peer((course.dracut_min().0, DRACUT_GENERIC))));
        all.push(("initramfs-tools, most", peer((course.initramfs_tools_list().0, INITRAMFS_TOOLS_MOST))));
    }
    let settle = wrapper(scratch)?;
    let mut contestants = Vec::new();
    for (name, make) in all {
        let full = format!("{}: {name}", course.name());
        if !filters.is_empty() && !filters.iter().any(|filter| full.contains(filter)) {
            continue;
        }
        let file: String =
            full.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
        let plain = scratch.join(format!("{file}.image"));
        make(&plain)?;
        let bytes = plain.metadata()?.len();
        // The kernel unpacks archives one after the other.
        let image = scratch.join(format!("{file}.initrd"));
        let mut joined = settle.clone();
        joined.extend(fs::read(&plain)?);
        fs::write(&image, joined)?;
        contestants.push(Contestant { name, image, bytes });
    }
    Ok(contestants)
}

/// An archive with the settling wrapper alone.
fn wrapper(scratch: &Path) -> Result<Vec<u8>, Failure> {
    let tree = scratch.join("settle");
    cache::remove(&tree)?;
    fs::create_dir_all(&tree)?;
    compile(include_str!("settle.c"), &[], &tree.join("settle"))?;
    archive(&tree)
}

fn floor(course: Course, dump: &str, kernel: &Kernel, scratch: &Path, image: &Path) -> Result<(), Failure> {
    let tree = scratch.join("floor");
    cache::remove(&tree)?;
    for directory in ["dev", "sysroot", "m"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    let mut names = Vec::new();
    for file in kernel.select(course.floor_modules())? {
        let name = file.rsplit('/').next().unwrap_or(&file);
        let source = kernel.modules.join(&file);
        let plain = name.trim_end_matches(".xz");
        if name.ends_with(".xz") {
            let unpacked = std::process::Command::new("xz").args(["-dc"]).arg(&source).output()?;
            fs::write(tree.join("m").join(plain), unpacked.stdout)?;
        } else {
            fs::copy(&source, tree.join("m").join(plain))?;
        }
        names.push(format!("\"{plain}\""));
    }
    let mut defines = vec![
        format!("-DFLOOR_MODULES={}", names.join(",")),
        "-DFLOOR_FSTYPE=\"ext4\"".to_owned(),
        "-DFLOOR_MODULE_FLAGS=0".to_owned(),
    ];
    defines.extend(course.floor_defines(dump)?);
    compile(include_str!("floor.c"), &defines, &tree.join("init"))?;
    let stored = scratch.join("floor.cpio");
    fs::write(&stored, archive(&tree)?)?;
    output(program("zstd").args(["-q", "-f", "-19", "-o"]).arg(image).arg(&stored))?;
    Ok(())
}

/// Packs a tree with the distribution's cpio.
fn archive(tree: &Path) -> Result<Vec<u8>, Failure> {
    let script = "find . -mindepth 1 | LC_ALL=C sort | cpio --quiet --reproducible -o -H newc -R 0:0";
    let packed = std::process::Command::new("sh").args(["-c", script]).current_dir(tree).output()?;
    if !packed.status.success() {
        return Err(Failure(format!("cpio: {}", String::from_utf8_lossy(&packed.stderr))));
    }
    Ok(packed.stdout)
}

fn compile(source: &str, defines: &[String], program_path: &Path) -> Result<(), Failure> {
    let file = program_path.with_extension("c");
    fs::write(&file, source)?;
    output(
        program("cc")
            .args(["-std=gnu11", "-Os", "-static", "-s", "-Wall"])
            .args(defines)
            .arg("-o")
            .arg(program_path)
            .arg(&file)
            // Only what is referred to is taken.
            .args(["-largon2", "-lpthread"]),
    )?;
    fs::remove_file(&file)?;
    Ok(())
}

const DRACUT_GENERIC: &str = "dracut --quiet --force --no-hostonly --no-hostonly-cmdline --zstd \
    --omit 'systemd systemd-initrd dracut-systemd' /image KVER";
const INITRAMFS_TOOLS_MOST: &str = "sed -i 's/^MODULES=.*/MODULES=most/' /etc/initramfs-tools/initramfs.conf; \
    : >/etc/initramfs-tools/modules; mkinitramfs -o /image KVER";

/// Runs a peer's generator inside a Debian tree that has the kernel's modules.
fn peer_image(
    kernel: &Kernel,
    cache: &Cache,
    scratch: &Path,
    packages: &[&str],
    script: &str,
    image: &Path,
) -> Result<(), Failure> {
    let recipe = format!("{packages:?} {script} {}", kernel.package);
    let made = cache.entry("bench", "peer", &recipe, |path| {
        let base = rootfs::bootstrap(kernel.series.suite(), packages, cache)?;
        let tree = scratch.join("peer");
        cache::remove(&tree)?;
        output(program("cp").args(["-a", "--reflink=auto"]).arg(&base).arg(&tree))?;
        let modules = tree.join("usr/lib/modules");
        output(program("mkdir").arg("-p").arg(&modules))?;
        output(program("cp").arg("-a").arg(&kernel.modules).arg(&modules))?;
        if let Some(config) = kernel.vmlinuz.parent() {
            output(program("cp").arg("-a").arg(config).arg(&tree))?;
        }
        let script = format!("depmod {0} && {1}", kernel.version, script.replace("KVER", &kernel.version));
        // The generators look at /proc and /dev; a mount namespace of their own keeps the host's clean.
        let inside = "mount -t proc proc \"$1/proc\" && mount --rbind /dev \"$1/dev\" && exec chroot \"$1\" sh -ec \"$2\"";
        output(program("unshare").args(["--mount", "sh", "-ec", inside, "sh"]).arg(&tree).arg(&script))?;
        output(program("cp").arg(tree.join("image")).arg(path))?;
        cache::remove(&tree)
    })?;
    fs::copy(made, image)?;
    Ok(())
}
