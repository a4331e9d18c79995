//! The builder VM: makes disks that need device-mapper or md, which a build host may lack.
//!
//! It boots a stock kernel through the almost empty init into a Debian tree, so that no disk is made by the
//! program under test. A script runs there as root with every target disk as a variable; the host learns its
//! outcome over the verdict port, and what it printed is in the log.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::accel::Accel;
use crate::cache::Cache;
use crate::dialogue::{End, hold};
use crate::guest::GuestPrograms;
use crate::kernel::{Kernel, Series};
use crate::program::{output, program};
use crate::qemu::{Bus, Drive, Machine, Writes};
use crate::rootfs::Release;
use crate::{Error, debian, disk, image, rootfs, tpm, usb_key};

/// A job for the builder VM.
#[derive(Debug, Clone, Default)]
pub struct Job<'a> {
    /// Names the cached result.
    pub name: &'a str,
    /// Bash script; fails at the first command that does (`set -euo pipefail`). Each disk is a variable
    /// holding its device node.
    pub script: String,
    /// Small files, in the script's working directory.
    pub files: Vec<(&'a str, Vec<u8>)>,
    /// Existing images to read: variable and path.
    pub inputs: Vec<(&'a str, PathBuf)>,
    /// Disks to make: variable and size in MiB. They start out as zeros.
    pub targets: Vec<(&'a str, u64)>,
    /// Kernel to run, where it matters; otherwise the newest.
    pub kernel: Option<Series>,
    /// Release whose tools are wanted, where it matters; otherwise the newest.
    pub release: Option<Release>,
    /// On a machine with a TPM 2.0, whose state is kept in `tpm` beside the images, and with the security key
    /// [`ENROLLED`](usb_key::ENROLLED).
    pub tokens: bool,
}

/// The VM.
#[derive(Debug, Clone)]
pub struct Builder<'a> {
    /// Kernels fetched; the newest runs the builder.
    pub kernels: &'a [Kernel],
    /// Guest programs.
    pub guest: &'a GuestPrograms,
    /// Where results are kept.
    pub cache: &'a Cache,
    /// How to run it.
    pub accel: Accel,
}

/// Virtual disks appear in the order in which they are attached.
const NODES: &[&str] = &["vdc", "vdd", "vde", "vdf", "vdg", "vdh", "vdi", "vdj", "vdk", "vdl", "vdm", "vdn"];

impl Builder<'_> {
    /// Runs `job` unless its result is in the cache; returns the directory with one raw image per target,
    /// named after its variable, and `console.log`.
    pub fn run(&self, job: &Job<'_>) -> Result<PathBuf, Error> {
        let kernel = image::of_series(self.kernels, job.kernel.unwrap_or(Series::V6_12))?;
        let root =
            rootfs::builder_root(job.release.unwrap_or(Release::Trixie), kernel, self.guest, self.cache)?;
        let mut recipe = format!("{}\n{}\n{:?}\n", job.script, root.display(), job.targets);
        if job.tokens {
            recipe += "tokens\n";
        }
        for (name, content) in &job.files {
            recipe += &format!("file {name} {}\n", crate::cache::digest(content)?);
        }
        for (name, path) in &job.inputs {
            // Inputs come from the cache, so their path already is their content's name.
            recipe += &format!("input {name} {}\n", path.display());
        }
        self.cache.entry("built", job.name, &recipe, |directory| self.make(job, kernel, &root, directory))
    }

    fn make(&self, job: &Job<'_>, kernel: &Kernel, root: &Path, directory: &Path) -> Result<(), Error> {
        let initrd = image::bare(
            kernel,
            &["crc32c_generic", "virtio_pci", "virtio_blk", "ext4"],
            self.guest,
            self.cache,
        )?;
        let system = disk::plain_ext4(root, "builder", self.cache)?;
        fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let mut drives = vec![drive(system, Writes::Discarded)];
        let script = directory.join("script.tar");
        drives.push(drive(script.clone(), Writes::Discarded));
        let mut preamble = String::new();
        let mut nodes = NODES.iter();
        let mut name = |variable: &str| {
            let node = nodes.next().ok_or_else(|| Error::Bed("too many disks for the builder".to_owned()))?;
            preamble += &format!("{variable}=/dev/{node}\n");
            Ok::<(), Error>(())
        };
        for (variable, path) in &job.inputs {
            name(variable)?;
            drives.push(drive(path.clone(), Writes::Discarded));
        }
        for (variable, size) in &job.targets {
            name(variable)?;
            let path = directory.join(variable);
            disk::blank(&path, size << 20)?;
            drives.push(drive(path, Writes::Image));
        }
        let files = directory.join("files");
        fs::create_dir_all(&files).map_err(Error::io(&files))?;
        image::place(&files, "script", &format!("{preamble}{}", job.script))?;
        for (name, content) in &job.files {
            fs::write(files.join(name), content).map_err(Error::io(files.join(name)))?;
        }
        // Padded: a disk is a whole number of sectors.
        output(program("tar").arg("-C").arg(&files).args(["--record-size=1M", "-cf"]).arg(&script).arg("."))?;
        let machine = Machine {
            kernel: if job.tokens { kernel.vmlinuz.clone() } else { kernel.vmlinux.clone() },
            initrd,
            cmdline: "bare.rw=1 bare.init=/builder loglevel=4".to_owned(),
            // Two key derivations of a gigabyte, one after the other.
            memory: 2304,
            // Scripts do one thing after the other, and an emulator of one CPU has no races of its own.
            cpus: 1,
            drives,
            tpm: job.tokens.then(|| directory.join("tpm")),
            usb_key: job.tokens.then_some(usb_key::ENROLLED),
        };
        let guest = machine.start(self.accel, directory)?;
        let conversation = hold(guest, &[], Duration::from_secs(100) * self.accel.patience())?;
        let log = directory.join("verdict.json");
        let outcome = fs::read_to_string(&log).unwrap_or_default();
        if conversation.end != End::PowerOff || outcome.trim() != "ok" {
            let lines: Vec<&str> = conversation.console.lines().collect();
            let last = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n");
            let qemu = fs::read_to_string(directory.join("qemu.log")).unwrap_or_default();
            return Err(Error::Bed(format!(
                "builder VM, {}: {:?}, said {:?}; its last words:\n{last}{qemu}",
                job.name,
                conversation.end,
                outcome.trim()
            )));
        }
        if job.tokens {
            tpm::settle(&directory.join("tpm"))?;
        }
        for (variable, _) in &job.targets {
            disk::record_content(&directory.join(variable))?;
        }
        crate::cache::remove(&script)?;
        crate::cache::remove(&log)?;
        crate::cache::remove(&files)
    }
}

fn drive(image: PathBuf, writes: Writes) -> Drive {
    Drive { image, bus: Bus::VirtioBlk, serial: None, plugged: true, writes }
}

/// Key for recipes: the content of a file by its hash.
pub fn fingerprint(path: &Path) -> Result<String, Error> {
    Ok(debian::sha256(path)?)
}
