//! Intel and DDF volumes of every level, on disks made by mdadm, which is the oracle.

use std::sync::Arc;

use super::super::handoff::{handed_over, root_device};
use super::as_mdadm;
use crate::bed::{Recipe, Tree};
use crate::disk::PLAIN_UUID;
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::rootfs::Release;
use crate::scenario::{Boot, Scenario, equal};

pub(super) fn scenarios() -> Vec<Scenario> {
    // Only SCSI disks have serial numbers that Intel's metadata could name.
    [levels("imsm", Bus::VirtioScsi, "sd"), levels("ddf", Bus::VirtioBlk, "vd")].into()
}

/// The root is on RAID 5; whoever writes to a volume first is not the same here and there.
fn levels(format: &str, bus: Bus, node: &str) -> Scenario {
    let script = include_str!("external_levels.sh");
    let recipe = Arc::new(Recipe {
        name: format!("external-levels-{format}"),
        script: format!("{}FORMAT={format} NODE={node}\n{script}", include_str!("prelude.sh")),
        tree: Tree::Probe,
        disks: ["A", "B", "C", "D"].map(|disk| (disk.to_owned(), 112)).into(),
        kernel: Some(Series::V6_12),
        release: Some(Release::Trixie),
        ..Recipe::default()
    });
    let boot = Boot::new(Series::V6_12, Image::universal(), format!("root=UUID={PLAIN_UUID} ro"));
    let boot = [("A", "/dev/vdd"), ("B", "/dev/vde"), ("C", "/dev/vdf"), ("D", "/dev/vdg")]
        .into_iter()
        .fold(boot, |boot, (disk, serial)| boot.disk(recipe.disk(disk), bus).serial(serial));
    let boot = handed_over(boot).never_shows("DEGRADED").root("root is on RAID 5", |verdict| {
        let root = root_device(verdict)?;
        let array = verdict.arrays.get(&root).ok_or_else(|| format!("{root} is no array"))?;
        equal(&array.get("md/level").map(|level| level.trim()), &Some("raid5"))
    });
    let read_auto = &["/dev/md/root_0", "/dev/md/ten_0", "/dev/md/stripe_0"];
    Scenario::new(&format!("external-levels-{format}"), as_mdadm(boot, "whole", &[], read_auto))
}
