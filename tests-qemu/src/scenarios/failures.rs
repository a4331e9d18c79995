//! Boots that cannot succeed as asked: explained, and left in the operator's hands.

use super::handoff::{handed_over, root_is};
use super::root_forms::STORAGE;
use crate::bed::Disk;
use crate::dialogue::{PROMPT, STOP};
use crate::disk::Filesystem;
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario, ensure, equal};

pub(super) fn scenarios() -> Vec<Scenario> {
    Series::ALL
        .into_iter()
        .flat_map(|kernel| {
            [
                missing_init(kernel),
                init_fallback(kernel),
                wrong_uuid(kernel),
                wrong_uuid_rescued(kernel),
                no_driver(kernel),
            ]
        })
        .collect()
}

/// The real root has no init at all. The rescue works on, and since nothing was moved yet, the boot can still
/// go on with another one.
fn missing_init(kernel: Series) -> Scenario {
    let boot = Boot::new(kernel, Image::modules(STORAGE), "root=/dev/vda ro init=/no/such/init rd.retry=5")
        .disk(Disk::NoInit, Bus::VirtioBlk)
        .expect(STOP)
        .expect("/no/such/init")
        .expect(PROMPT)
        .types("why")
        .expect("cannot reach root:")
        .expect("/sbin/init")
        .expect(PROMPT)
        .types("devices")
        .expect("vda")
        .expect(PROMPT)
        .types("cmdline")
        .expect("init=/no/such/init")
        .expect(PROMPT)
        .types("try init=/bin/checker")
        .root("the operator's init runs", |verdict| equal(&verdict.pid1.argv, &["/bin/checker"]));
    Scenario::new("missing-init", root_is(handed_over(boot), "vda", "ext4", false))
}

/// The init asked for is missing, but /sbin/init is there (dracut's order, cmdline.md): said, and used.
fn init_fallback(kernel: Series) -> Scenario {
    let boot = Boot::new(kernel, Image::modules(STORAGE), "root=/dev/vda ro init=/no/such/init single")
        .disk(Disk::Plain, Bus::VirtioBlk)
        .root("init has the arguments that are its own", |verdict| {
            equal(&verdict.pid1.argv, &["/sbin/init", "single"])
        })
        .root("the log says what was wrong with the other", |verdict| {
            let named = verdict.own_log().any(|line| line.contains("/no/such/init"));
            ensure(named, || "no line of the log names /no/such/init".to_owned())
        });
    Scenario::new("init-fallback", root_is(handed_over(boot), "vda", "ext4", false))
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
        Image::modules(&[STORAGE, &["xfs"]].concat()),
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
