//! The memory of the initramfs is given back.

use super::handoff::handed_over;
use crate::bed::Disk;
use crate::disk::PLAIN_UUID;
use crate::image::{Extra, Image};
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario, Seen, ensure};
use crate::verdict::MEMORY_WANTED;

/// Size of a useless file in our image, in MiB: an initramfs that stays cannot hide in the noise.
const BALLAST: usize = 24;
/// What we may keep, and what two boots of the same machine differ by, in kB.
const TOLERANCE: u64 = 2048;

pub(super) fn scenarios() -> Vec<Scenario> {
    Series::ALL.into_iter().map(scenario).collect()
}

fn scenario(kernel: Series) -> Scenario {
    let modules = ["virtio_pci", "virtio_blk", "ext4", "crc32c_generic"];
    let ours = Image::compressed(&modules).with(Extra::Ballast("/etc/ballast", BALLAST));
    let ours = Boot::new(kernel, ours, format!("root=UUID={PLAIN_UUID} ro {MEMORY_WANTED}"))
        .disk(Disk::Plain, Bus::VirtioBlk);
    let bare = Image::Bare(vec!["crc32c_generic", "virtio_pci", "virtio_blk", "ext4"]);
    let bare = Boot::new(kernel, bare, MEMORY_WANTED).disk(Disk::Plain, Bus::VirtioBlk);
    Scenario {
        name: format!("memory-given-back-{}", kernel.name()),
        boots: vec![handed_over(ours), bare],
        comparison: Some(Box::new(compare)),
    }
}

fn compare(seen: &[Seen]) -> Result<(), String> {
    let free = |seen: &Seen| {
        let verdict = seen.verdict.as_ref()?;
        // How much of what is free waits on per-CPU lists differs by megabytes from boot to boot.
        Some(verdict.meminfo.get("MemFree")? + verdict.free_on_cpu_lists)
    };
    let [Some(ours), Some(bare)] = seen.iter().map(free).collect::<Vec<_>>()[..] else {
        return Err("a verdict without MemFree".to_owned());
    };
    ensure(ours + TOLERANCE >= bare, || {
        format!("{ours} kB free, but {bare} kB after an almost empty initramfs: {} kB are lost", bare - ours)
    })
}
