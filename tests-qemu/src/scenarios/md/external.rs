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
    let (imsm, ddf) = (("imsm", Bus::VirtioScsi, "sd"), ("ddf", Bus::VirtioBlk, "vd"));
    // Intel's containers hold two volumes at most, so the third level has one of its own.
    vec![levels(imsm, 5), levels(imsm, 0), levels(ddf, 5)]
}

/// The root is on this level; whoever writes to a volume first is not the same here and there.
fn levels((format, bus, node): (&str, Bus, &str), level: u32) -> Scenario {
    let script = include_str!("external_levels.sh");
    let recipe = Arc::new(Recipe {
        name: format!("external-levels-{format}"),
        script: format!("{}FORMAT={format} NODE={node} LEVEL={level}\n{script}", include_str!("prelude.sh")),
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
    let boot =
        handed_over(boot).never_shows("DEGRADED").root("root is on its level of RAID", move |verdict| {
            let root = root_device(verdict)?;
            let array = verdict.arrays.get(&root).ok_or_else(|| format!("{root} is no array"))?;
            equal(&array.get("md/level").map_or("", |level| level.trim()), &format!("raid{level}").as_str())
        });
    let read_auto = &["/dev/md/root_0", "/dev/md/ten_0", "/dev/md/stripe_0"];
    let name = format!("external-levels-{format}{}", if level == 5 { "" } else { "-striped" });
    Scenario::new(&name, as_mdadm(boot, "whole", &[], read_auto))
}
