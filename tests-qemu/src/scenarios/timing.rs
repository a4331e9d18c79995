//! Devices that come late and events that come in masses.

use std::time::Duration;

use super::handoff::{clean_environment, handed_over, root_is};
use super::root_forms::STORAGE;
use crate::bed::Disk;
use crate::disk::Filesystem;
use crate::image::{Extra, Image};
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario, ensure};

pub(super) fn scenarios() -> Vec<Scenario> {
    Series::ALL.into_iter().flat_map(|kernel| [late(kernel), storm(kernel)]).collect()
}

/// The root's disk appears ten seconds after `/init` began to look for it.
fn late(kernel: Series) -> Scenario {
    let filesystem = Filesystem::Ext4;
    let boot = Boot::new(kernel, Image::modules(STORAGE), format!("root=UUID={} ro", filesystem.uuid()))
        .absent_disk(Disk::Probe(filesystem), Bus::VirtioBlk)
        .expect("rootward: ")
        .pause(Duration::from_secs(10))
        .plug(0)
        .root("the wait was explained at 3 s, before the disk came", |verdict| {
            let disk = verdict.kmsg.iter().position(|line| line.text.contains(" vda: vda1"));
            let told =
                verdict.kmsg.iter().position(|line| line.text.contains("rootward: root is not reached yet"));
            ensure(told.is_some() && told < disk, || format!("explained at line {told:?}, disk at {disk:?}"))
        })
        .root("the boot went on at once when the disk came", |verdict| {
            let disk = verdict.kmsg.iter().find(|line| line.text.contains(" vda: vda1"));
            let came = disk.map_or(0, |line| line.usec) / 1000;
            let uptime = Duration::from_secs_f64(verdict.uptime.max(0.0)).as_millis();
            // Loading ext4 and mounting take about one second of a slow guest; the host may be busy too.
            ensure(uptime.saturating_sub(came.into()) < 15_000, || {
                format!("disk at {came} ms, real root at {uptime} ms")
            })
        });
    Scenario::new("late-disk", root_is(handed_over(boot), "vda1", "ext4", false))
}

/// 2,000 uevents, and more while the root's disk appears: see guest/storm.rs.
fn storm(kernel: Series) -> Scenario {
    let filesystem = Filesystem::Ext4;
    let image = Image::modules(STORAGE).with(Extra::Checker("/storm"));
    let boot = Boot::new(kernel, image, format!("rdinit=/storm root=UUID={} ro", filesystem.uuid()))
        .absent_disk(Disk::Probe(filesystem), Bus::VirtioBlk)
        .expect("rootward-storm: 2000 uevents sent")
        .plug(0)
        .root("the kernel has sent them", |verdict| {
            ensure(verdict.uevent_seqnum > 2000, || format!("{} events in all", verdict.uevent_seqnum))?;
            ensure(verdict.kmsg.iter().any(|line| line.text == "rootward-storm: the disk is there"), || {
                "the storm did not last until the disk came".to_owned()
            })
        })
        .root("PID 1 has a clean environment", clean_environment)
        .never_shows("internal error, please report");
    Scenario::new("uevent-storm", root_is(boot, "vda1", "ext4", false))
}
