//! Whole distributions on arrays: mdadm and lvm2 of the booted system see what they would have made, and work with it.

use std::sync::Arc;
use std::time::Duration;

use super::super::distribution::healthy;
use super::super::lvm::NOTE;
use crate::bed::{Recipe, Tree};
use crate::disk::PLAIN_UUID;
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::rootfs::Release;
use crate::scenario::{Boot, Scenario, ensure, equal};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![server(), levels(Release::Bookworm, Series::V6_1), levels(Release::Trixie, Series::V6_12)]
}

/// What only one of two texts says.
fn only(one: &str, other: &str) -> Vec<String> {
    let there: Vec<&str> = other.lines().collect();
    one.lines().filter(|line| !there.contains(line)).map(str::to_owned).collect()
}

/// A Debian on a mirror beside an array of every level, all of which the initramfs starts.
fn levels(release: Release, series: Series) -> Scenario {
    // Linux has no linear level from 6.8 to 6.13.
    let arrays: &[u8] =
        if series == Series::V6_1 { &[1, 2, 3, 4, 5, 6, 7, 8, 9] } else { &[1, 2, 3, 4, 5, 6, 7, 9] };
    let recipe = Arc::new(Recipe {
        name: "md-levels-debian".to_owned(),
        script: format!(
            "{}cat >live <<'EOF'\n{}EOF\n{}",
            include_str!("prelude.sh"),
            include_str!("debian_levels_live.sh"),
            include_str!("debian_levels.sh")
        ),
        tree: Tree::Debian(release),
        disks: [("A", 1260), ("B", 1260), ("C", 140), ("D", 140)]
            .map(|(disk, size)| (disk.to_owned(), size))
            .into(),
        kernel: Some(series),
        release: Some(release),
        ..Recipe::default()
    });
    let named: String =
        arrays.iter().map(|array| format!(" rd.md.uuid=11111111:22222222:33333333:4444440{array}")).collect();
    let boot = Boot::new(series, Image::universal(), format!("root=UUID={PLAIN_UUID} ro{named}"));
    let boot = ["A", "B", "C", "D"]
        .into_iter()
        .fold(boot, |boot, disk| boot.disk(recipe.disk(disk), Bus::VirtioBlk))
        .root("all arrays were there before the real root ran", |verdict| {
            let before =
                verdict.kmsg.iter().take_while(|line| !line.text.starts_with("systemd[1]: systemd "));
            let started = before
                .filter(|line| line.text.starts_with("md") && line.text.contains("detected capacity change"));
            equal(&started.count(), &arrays.len())
        })
        .check("mdadm --detail and its map are as mdadm made them", |seen| {
            let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
            let live = verdict.command("bash /facts").stdout;
            ensure(seen.dump.lines().count() > 100, || format!("the builder noted {:?}", seen.dump))?;
            equal(&only(&live, &seen.dump), &only(&seen.dump, &live))
        })
        .root("mdadm --manage works on all of them on the live system", |verdict| {
            let live = verdict.command("bash /live");
            ensure(live.status == 0 && live.stdout.ends_with("all well"), || format!("{live:?}"))
        });
    let boot = healthy(boot).patience(Duration::from_secs(240));
    Scenario::new(&format!("md-levels-live-debian{}", release.number()), boot)
}

/// The usual server, a whole distribution on volumes on a mirror, which has lost a half: systemd does not mind, lvm2 and
/// mdadm see what they would have made themselves and take it from there.
fn server() -> Scenario {
    let live = include_str!("live.sh");
    let recipe = Arc::new(Recipe {
        name: "md-debian13".to_owned(),
        script: format!(
            "{}{NOTE}cat >live <<'EOF'\n{live}EOF\n{}",
            include_str!("prelude.sh"),
            include_str!("debian.sh")
        ),
        tree: Tree::Debian(Release::Trixie),
        disks: vec![("A".to_owned(), 1200), ("B".to_owned(), 1200)],
        ..Recipe::default()
    });
    let boot = Boot::new(Series::V6_12, Image::universal(), "root=/dev/mapper/server-root ro")
        .disk(recipe.disk("A"), Bus::VirtioBlk)
        .disk(recipe.disk("B"), Bus::VirtioBlk)
        .root("/ and /home are volumes", |verdict| {
            for (point, name) in [("/", "server-root"), ("/home", "server-home")] {
                let mount = verdict.mount(point).ok_or_else(|| format!("{point} is not a mount"))?;
                let device = verdict.block_by_number(&mount.device).ok_or("no such device")?;
                equal(&device.dm_name, name)?;
                equal(&device.below, &["md127"])?;
            }
            Ok(())
        })
        .check("lvs, pvs, vgs, dmsetup, mdadm --detail and its map are as lvm2 and mdadm made them", |seen| {
            let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
            let live = verdict.command("bash /facts").stdout;
            for kind in ["LVM-", "lvm2 ", "map ", "mdadm ", "member "] {
                ensure(seen.dump.contains(kind), || format!("the builder noted {:?}", seen.dump))?;
            }
            equal(&only(&live, &seen.dump), &only(&seen.dump, &live))
        })
        .root("mdadm sees the array as it left it", |verdict| {
            let detail = verdict.command("mdadm --detail /dev/md127").stdout;
            // Systemd writes to the root all the time.
            let detail = detail.replace("State : active", "State : clean");
            for line in [
                "Raid Level : raid1",
                "Raid Devices : 2",
                "State : clean, degraded",
                "Name : rootward-test:root  (local to host rootward-test)",
                "UUID : 11111111:22222222:33333333:44444401",
            ] {
                ensure(detail.contains(line), || format!("{line:?} is not in\n{detail}"))?;
            }
            let map = verdict.run.iter().find(|entry| entry.path == "/run/mdadm/map");
            let map = map.and_then(|map| map.content.as_deref()).unwrap_or_default();
            ensure(map.starts_with("md127 1.2 11111111:22222222:33333333:01444444 /dev/md/"), || {
                map.to_owned()
            })
        })
        .root("mdadm --manage changes both halves on the live system, unnoticed by lvm2", |verdict| {
            let live = verdict.command("bash /live");
            let said = &live.stdout;
            ensure(live.status == 0 && said.ends_with("all well"), || format!("{live:?}"))?;
            // Once, by the real root's udev when it was started.
            ensure(said.contains("\nactivated 1 times\n"), || said.clone())?;
            // The last that mdadm said, after its words are behind it.
            let (_, last) = said.rsplit_once("mdadm --detail /dev/md127").ok_or("no detail")?;
            for wanted in ["Active Devices : 2", "Working Devices : 2", "Failed Devices : 0"] {
                ensure(last.contains(wanted), || format!("{wanted:?} is not in\n{last}"))?;
            }
            let state =
                last.lines().find_map(|line| line.trim().strip_prefix("State : ")).unwrap_or_default();
            ensure(["clean", "active"].contains(&state.trim()), || state.to_owned())?;
            for disk in ["/dev/vda1", "/dev/vdb1"] {
                let member = last.lines().find(|line| line.ends_with(disk)).unwrap_or_default();
                ensure(member.contains("active sync"), || format!("{disk} in\n{last}"))?;
            }
            Ok(())
        });
    // Its live system works after the boot is over.
    Scenario::new("md-debian13", healthy(boot).patience(Duration::from_secs(180)))
}
