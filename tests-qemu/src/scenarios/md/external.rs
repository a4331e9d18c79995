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
use crate::scenario::{Boot, Scenario, ensure, equal};

pub(super) fn scenarios() -> Vec<Scenario> {
    // Only SCSI disks have serial numbers that Intel's metadata could name.
    let (imsm, ddf) = (("imsm", Bus::VirtioScsi, "sd"), ("ddf", Bus::VirtioBlk, "vd"));
    // Intel's containers hold two volumes at most, so the third level has one of its own.
    vec![levels(imsm, 5), levels(imsm, 0), levels(ddf, 5), levels(ddf, 10), mapped(ddf)]
}

fn recipe(format: &str, node: &str, level: u32) -> Arc<Recipe> {
    let script = include_str!("external_levels.sh");
    Arc::new(Recipe {
        name: format!("external-levels-{format}"),
        script: format!("{}FORMAT={format} NODE={node} LEVEL={level}\n{script}", include_str!("prelude.sh")),
        tree: Tree::Probe,
        disks: ["A", "B", "C", "D"].map(|disk| (disk.to_owned(), 112)).into(),
        kernel: Some(Series::V6_12),
        release: Some(Release::Trixie),
        ..Recipe::default()
    })
}

fn boot(recipe: &Arc<Recipe>, bus: Bus, words: &str) -> Boot {
    let boot = Boot::new(Series::V6_12, Image::universal(), format!("root=UUID={PLAIN_UUID} ro {words}"));
    [("A", "/dev/vdd"), ("B", "/dev/vde"), ("C", "/dev/vdf"), ("D", "/dev/vdg")]
        .into_iter()
        .fold(boot, |boot, (disk, serial)| boot.disk(recipe.disk(disk), bus).serial(serial))
}

/// The root is on this level; whoever writes to a volume first is not the same here and there.
fn levels((format, bus, node): (&str, Bus, &str), level: u32) -> Scenario {
    let boot = boot(&recipe(format, node, level), bus, "");
    let boot =
        handed_over(boot).never_shows("DEGRADED").root("root is on its level of RAID", move |verdict| {
            let root = root_device(verdict)?;
            let array = verdict.arrays.get(&root).ok_or_else(|| format!("{root} is no array"))?;
            equal(&array.get("md/level").map_or("", |level| level.trim()), &format!("raid{level}").as_str())
        });
    let read_auto = &["/dev/md/root_0", "/dev/md/ten_0", "/dev/md/stripe_0"];
    let suffix = match level {
        0 => "-striped",
        10 => "-mirrored",
        _ => "",
    };
    let name = format!("external-levels-{format}{suffix}");
    Scenario::new(&name, as_mdadm(boot, "whole", &[], read_auto))
}

/// A RAID 10 that md is not to have: device-mapper's stripe over two mirrors reads what md has written.
fn mapped((format, bus, node): (&str, Bus, &str)) -> Scenario {
    let boot = boot(&recipe(format, node, 10), bus, "rd.md.ddf=0").root(
        "root is on a stripe of mirrors",
        |verdict| {
            let device = |name: &str| verdict.block(name).ok_or_else(|| format!("no {name}"));
            let root = device(&root_device(verdict)?)?;
            equal(&root.dm_uuid.as_str(), &"DMRAID-ddf1_root")?;
            equal(&root.below.len(), &2)?;
            for mirror in &root.below {
                let mirror = device(mirror)?;
                ensure(mirror.dm_name.starts_with("ddf1_root-"), || mirror.dm_name.clone())?;
                equal(&mirror.below.len(), &2)?;
            }
            ensure(verdict.arrays.is_empty(), || format!("{:?}", verdict.arrays.keys()))
        },
    );
    Scenario::new("ddf-raid10-through-dm", handed_over(boot).only_reads())
}
