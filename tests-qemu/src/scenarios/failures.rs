//! Boots that cannot succeed as asked: explained, and left in the operator's hands.

use super::handoff::{handed_over, root_is};
use super::root_forms::STORAGE;
use crate::bed::Disk;
use crate::dialogue::PROMPT;
use crate::disk::Filesystem;
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario};

/// Begins the explanation of every final failure.
const STOP: &str = "rootward: cannot reach root:";

pub(super) fn scenarios() -> Vec<Scenario> {
    Series::ALL
        .into_iter()
        .flat_map(|kernel| {
            [missing_init(kernel), wrong_uuid(kernel), wrong_uuid_rescued(kernel), no_driver(kernel)]
        })
        .collect()
}

/// The real root has no such init. The rescue works on, and since nothing was moved yet, the boot can still
/// go on with another one.
fn missing_init(kernel: Series) -> Scenario {
    let boot = Boot::new(kernel, Image::modules(STORAGE), "root=/dev/vda1 ro init=/no/such/init rd.retry=5")
        .disk(Disk::Probe(Filesystem::Ext4), Bus::VirtioBlk)
        .expect(STOP)
        .expect("/no/such/init")
        .expect(PROMPT)
        .types("why")
        .expect("cannot reach root:")
        .expect(PROMPT)
        .types("devices")
        .expect("vda1")
        .expect(PROMPT)
        .types("cmdline")
        .expect("init=/no/such/init")
        .expect(PROMPT)
        .types("try init=/sbin/init");
    Scenario::new("missing-init", root_is(handed_over(boot), "vda1", "ext4", false))
}

/// No device has the UUID: the explanation names what was seen instead.
fn wrong_uuid(kernel: Series) -> Scenario {
    let boot = Boot::new(
        kernel,
        Image::modules(STORAGE),
        "root=UUID=dead0000-0000-4000-8000-00000000beef ro rd.retry=5",
    )
    .disk(Disk::Probe(Filesystem::Ext4), Bus::VirtioBlk)
    .expect(STOP)
    .expect("UUID=dead0000-0000-4000-8000-00000000beef")
    .expect(Filesystem::Ext4.uuid())
    .expect(PROMPT)
    .types("poweroff")
    .stops_before_root();
    Scenario::new("wrong-uuid", boot)
}

/// The same, and the operator knows better.
fn wrong_uuid_rescued(kernel: Series) -> Scenario {
    let boot = Boot::new(
        kernel,
        Image::modules(STORAGE),
        "root=UUID=dead0000-0000-4000-8000-00000000beef ro rd.retry=5",
    )
    .disk(Disk::Probe(Filesystem::Xfs), Bus::VirtioScsi)
    .expect(STOP)
    .expect(PROMPT)
    .types("mount /dev/sda1");
    Scenario::new("wrong-uuid-rescued", root_is(handed_over(boot), "sda1", "xfs", false))
}

/// The image lacks the disk's driver: the explanation names the device.
fn no_driver(kernel: Series) -> Scenario {
    let boot = Boot::new(
        kernel,
        Image::modules(&["virtio_pci", "ext4"]),
        format!("root=UUID={} ro rd.retry=5", Filesystem::Ext4.uuid()),
    )
    .disk(Disk::Probe(Filesystem::Ext4), Bus::VirtioBlk)
    .expect(STOP)
    .expect("has no driver in this image")
    .expect(PROMPT)
    .types("poweroff")
    .stops_before_root();
    Scenario::new("no-driver", boot)
}
