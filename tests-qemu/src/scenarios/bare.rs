//! The bed itself: the almost empty init, without the program under test, must reach every kind of disk.
//! When one of these fails, a failure of the same disk elsewhere says nothing about `/init`.

use std::time::Duration;

use crate::bed::Disk;
use crate::disk::Filesystem;
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::rootfs::Release;
use crate::scenario::{Boot, Scenario, equal};

/// What the file systems ask the crypto API for by name, so that no module depends on it.
const CHECKSUMS: &[&str] = &["crc32c_generic", "xxhash_generic", "sha256_generic", "blake2b_generic"];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for kernel in Series::ALL {
        for (filesystem, bus) in Filesystem::ALL.into_iter().zip(Bus::ALL) {
            let modules = [
                CHECKSUMS,
                &["virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "nvme", filesystem.name()],
            ]
            .concat();
            let cmdline = format!("bare.root={} bare.fstype={}", bus.first_partition(), filesystem.name());
            let boot = Boot::new(kernel, Image::Bare(modules), cmdline)
                .disk(Disk::Probe(filesystem), bus)
                .root("the disk holds its own root", move |verdict| equal(&verdict.marker, filesystem.name()))
                .root("the checker is PID 1", |verdict| equal(&verdict.pid1.argv, &["/sbin/init"]));
            all.push(Scenario::new(&format!("bed-{}-{}", filesystem.name(), bus.name()), boot));
        }
    }
    for kernel in Series::ALL {
        let boot =
            Boot::new(kernel, Image::Bare([CHECKSUMS, &["virtio_pci", "virtio_blk", "ext4"]].concat()), "")
                .absent_disk(Disk::Plain, Bus::VirtioBlk)
                .expect("Run /init as init process")
                .pause(Duration::from_secs(2))
                .plug(0)
                .root("the disk came", |verdict| equal(&verdict.marker, "plain"));
        all.push(Scenario::new("bed-hotplug", boot));
    }
    for (release, kernel) in [(Release::Bookworm, Series::V6_1), (Release::Trixie, Series::V6_12)] {
        let boot =
            Boot::new(kernel, Image::Bare([CHECKSUMS, &["virtio_pci", "virtio_blk", "ext4"]].concat()), "")
                .disk(Disk::Debian(release), Bus::VirtioBlk)
                .memory(768)
                .patience(Duration::from_secs(120))
                .root("systemd is running", |verdict| {
                    equal(&verdict.command("systemctl is-system-running --wait").stdout, "running")
                });
        all.push(Scenario::new(&format!("bed-debian{}", release.number()), boot));
    }
    all
}
