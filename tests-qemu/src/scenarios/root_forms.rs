//! Every form of root= on every file system; buses take turns so that each meets each form and each file
//! system.

use super::handoff::{handed_over, linked, root_is};
use crate::bed::Disk;
use crate::disk::Filesystem;
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario, equal};

/// Drivers of all buses used here, and of the file system that most roots have. What is named is loaded, and Btrfs alone
/// measures checksums for half a second of an emulated machine.
pub(super) const STORAGE: &[&str] = &["virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "nvme", "ext4"];

/// Drivers of all buses and file systems used here.
fn image() -> Image {
    Image::compressed(&[STORAGE, &["xfs", "btrfs"]].concat())
}

const FORMS: [&str; 5] = ["path", "uuid", "label", "partuuid", "partlabel"];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for kernel in Series::ALL {
        for (row, form) in FORMS.into_iter().enumerate() {
            for (column, filesystem) in Filesystem::ALL.into_iter().enumerate() {
                let bus = Bus::ALL[(row + column) % Bus::ALL.len()];
                all.push(scenario(kernel, form, filesystem, bus));
            }
        }
        all.push(duplicate(kernel));
    }
    all
}

fn scenario(kernel: Series, form: &str, filesystem: Filesystem, bus: Bus) -> Scenario {
    let partition = bus.first_partition();
    let root = match form {
        "path" => format!("root={partition}"),
        "uuid" => format!("root=UUID={}", filesystem.uuid()),
        // As one types it in a boot loader; also upper case, which blkid's users are used to.
        "partuuid" => format!("root=PARTUUID={}", filesystem.partuuid().to_uppercase()),
        "label" => format!("\"root=LABEL={}\"", filesystem.label()),
        _ => format!("root=PARTLABEL={}", filesystem.partlabel()),
    };
    let writable = form == "uuid";
    let access = if writable { "rw" } else { "ro" };
    let boot = Boot::new(kernel, image(), format!("{root} {access}"))
        .disk(Disk::Probe(filesystem), bus)
        .root("it is the right root", move |verdict| equal(&verdict.marker, filesystem.name()));
    let boot = root_is(handed_over(boot), partition, filesystem.name(), writable);
    let boot = linked(boot, &format!("/dev/disk/by-uuid/{}", filesystem.uuid()), partition);
    let boot = linked(boot, &format!("/dev/disk/by-partuuid/{}", filesystem.partuuid()), partition);
    let boot = linked(boot, &format!("/dev/disk/by-partlabel/{}", filesystem.partlabel()), partition);
    let boot = linked(boot, &format!("/dev/disk/by-label/{}", encoded(filesystem)), partition);
    Scenario::new(&format!("root-{form}-{}-{}", filesystem.name(), bus.name()), boot)
}

/// udev's encoding of the labels (`udev_util_encode_string`): valid UTF-8 stays, space and slash do not.
fn encoded(filesystem: Filesystem) -> &'static str {
    match filesystem {
        Filesystem::Ext4 => "root\\x2fext\\x20\u{e9}4",
        Filesystem::Xfs => "root\\x2fx\\x20fs",
        Filesystem::Btrfs => "root\\x20btrfs\\x2f1",
    }
}

/// A cloned disk left in the machine.
fn duplicate(kernel: Series) -> Scenario {
    let filesystem = Filesystem::Ext4;
    let boot = Boot::new(kernel, image(), format!("root=UUID={} ro", filesystem.uuid()))
        .disk(Disk::Probe(filesystem), Bus::VirtioBlk)
        .disk(Disk::Probe(filesystem), Bus::VirtioBlk)
        .root("one of the two is the root, and the log names the other", |verdict| {
            let chosen = super::handoff::root_device(verdict)?;
            let other = match &*chosen {
                "vda1" => "vdb1",
                "vdb1" => "vda1",
                _ => return Err(format!("/ is on {chosen}")),
            };
            let named = verdict.own_log().any(|line| line.contains(other) && line.contains("also names"));
            if named { Ok(()) } else { Err(format!("no line of the log names {other} as a second match")) }
        });
    Scenario::new("root-duplicate-uuid", handed_over(boot))
}
