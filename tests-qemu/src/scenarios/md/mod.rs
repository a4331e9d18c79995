//! MD arrays in front of the root, on disks made by mdadm; what mdadm makes of the same disks is the oracle.

mod debian;
mod external;
mod oracle;

use std::sync::Arc;
use std::time::Duration;

use super::handoff::{handed_over, root_device};
use super::root_forms::STORAGE;
use crate::bed::{Recipe, Tree};
use crate::disk::PLAIN_UUID;
use crate::image::{Extra, Image};
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::rootfs::Release;
use crate::scenario::{Boot, Scenario, ensure, equal};
use crate::written::WROTE;

/// What arrays of all levels need.
const MD: &[&str] = &["md_mod", "raid0", "raid1", "raid10", "raid456"];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![accidents(), at_once(), never()];
    all.extend(debian::scenarios());
    all.extend(external::scenarios());
    for tools in [Release::Bookworm, Release::Trixie] {
        all.extend([levels(tools), incomplete(tools)]);
    }
    all
}

/// The arrays are used as a boot uses them, one of them mounted, until nothing is rebuilt any more.
const USED: &str = "\
used() {
    local array
    mount -o ro $1 /new
    umount /new
    for array in /dev/md[0-9]*; do mdadm --wait $array || true; done
    stop_all
}
";

fn recipe(name: &str, script: &str, disks: &[&str], kernel: Series, tools: Release) -> Arc<Recipe> {
    Arc::new(Recipe {
        name: name.to_owned(),
        script: format!("{}{WROTE}{USED}{script}", include_str!("prelude.sh")),
        tree: Tree::Probe,
        disks: disks.iter().map(|disk| ((*disk).to_owned(), 280)).collect(),
        kernel: Some(kernel),
        release: Some(tools),
        ..Recipe::default()
    })
}

fn attached(mut boot: Boot, recipe: &Arc<Recipe>, disks: &[&'static str]) -> Boot {
    for disk in disks {
        boot = boot.disk(recipe.disk(disk), Bus::VirtioBlk);
    }
    boot
}

/// All arrays of the dump's part are there as mdadm starts them.
fn as_mdadm(
    boot: Boot,
    title: &'static str,
    left_alone: &'static [&'static str],
    read_auto: &'static [&'static str],
) -> Boot {
    boot.check("arrays, names and links are those that mdadm makes", move |seen| {
        let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
        oracle::same(&seen.dump, title, verdict, left_alone, read_auto)
    })
}

fn levels_recipe(tools: Release) -> Arc<Recipe> {
    recipe("md-levels", include_str!("levels.sh"), &["A", "B", "C", "D"], Series::V6_1, tools)
}

fn levels_image() -> Image {
    Image::modules(&[STORAGE, MD, &["linear"]].concat())
        .with(Extra::Text("/etc/mdadm/mdadm.conf", "HOMEHOST probe\n"))
}

/// Every level and every version of metadata, in one machine, by the mdadm of this release.
fn levels(tools: Release) -> Scenario {
    let boot = Boot::new(Series::V6_1, levels_image(), format!("root=UUID={PLAIN_UUID} ro ${{NAMED}}"));
    // Root may be there before the last array: what is named holds it.
    let boot = attached(boot, &levels_recipe(tools), &["A", "B", "C", "D"]).never_shows("degraded");
    Scenario::new(
        &format!("md-levels-debian{}", tools.number()),
        on_array(handed_over(as_mdadm(boot, "whole", &[], &[]))),
    )
}

/// The same without one disk: what redundancy covers starts after the wait, nothing else does.
fn incomplete(tools: Release) -> Scenario {
    // Root is a member short too, so that it waits with the others.
    let cmdline = "root=UUID=2a1f0d7c-3c55-4c0f-8d6e-5b1c7d9e0004 ro rd.auto=1";
    let boot =
        attached(Boot::new(Series::V6_1, levels_image(), cmdline), &levels_recipe(tools), &["A", "B", "C"])
            .patience(Duration::from_secs(60))
            .expect("degraded start in")
            .shows("(probe:four, raid4) starts degraded: 3 of 4 members seen, missing slot 3")
            .shows("(probe:stripe, raid0): 3 of 4 members seen, missing slot 3; raid0 has no redundancy")
            .shows("its write journal is missing");
    // mdadm --run starts what has lost its journal, read-only; we leave that to somebody who knows.
    let boot = as_mdadm(boot, "incomplete", &["/dev/md/journal"], &[]).writes_as_the_tools("incomplete");
    Scenario::new(&format!("md-incomplete-debian{}", tools.number()), on_array(handed_over(boot)))
}

fn accidents_recipe() -> Arc<Recipe> {
    recipe("md-accidents", include_str!("accidents.sh"), &["A", "B", "C"], Series::V6_12, Release::Trixie)
}

/// Stale and split halves, an array with partitions, mdadm.conf: on demand.
fn accidents() -> Scenario {
    let conf = "HOMEHOST probe\nARRAY <ignore> UUID=11111111:22222222:33333333:44444404\n\
                ARRAY /dev/md/renamed UUID=11111111:22222222:33333333:44444405\n";
    let image = Image::modules(&[STORAGE, MD].concat()).with(Extra::Text("/etc/mdadm/mdadm.conf", conf));
    let boot = Boot::new(Series::V6_12, image, format!("root=UUID={PLAIN_UUID} ro"));
    let boot = attached(boot, &accidents_recipe(), &["A", "B", "C"])
        .root("the stale half is left out and named", |verdict| {
            let named = |line: &str| line.contains("vdb1 is left out") && line.contains("out of date");
            ensure(verdict.own_log().any(named), || "no line of the log says so".to_owned())
        })
        .root("of the split halves the older one is left out and named", |verdict| {
            let named = |line: &str| line.contains("vda2 is left out");
            ensure(verdict.own_log().any(named), || "no line of the log says so".to_owned())
        })
        .root("partitions of the array are there with their links", |verdict| {
            let link = "/dev/md/parted1";
            ensure(verdict.links.contains_key(link), || format!("no {link}: {:?}", verdict.links.keys()))?;
            let label = "/dev/disk/by-partlabel/on-md";
            ensure(verdict.links.contains_key(label), || format!("no {label}"))
        });
    let boot = as_mdadm(boot, "whole", &[], &[]).writes_as_the_tools("whole");
    Scenario::new("md-accidents", on_array(handed_over(boot)))
}

/// A grace of nothing: the mirror starts without its other half as soon as devices have come to rest.
fn at_once() -> Scenario {
    let image = Image::modules(&[STORAGE, MD].concat());
    let cmdline = "root=/dev/disk/by-id/md-uuid-11111111:22222222:33333333:44444401 ro rootward.degraded=0 \
                   rd.md.uuid=11111111-2222-2222-3333-333344444401 rd.md.waitclean=1";
    let boot = Boot::new(Series::V6_12, image, cmdline);
    let boot = attached(boot, &levels_recipe(Release::Trixie), &["B", "C"])
        .never_shows("degraded start in")
        .root("it says so, and when it does nobody has waited", |verdict| {
            let first = verdict.kmsg.iter().find(|line| line.text.starts_with("rootward: "));
            let started = verdict.kmsg.iter().find(|line| line.text.contains("starts degraded"));
            let (first, started) = (first.ok_or("no line")?, started.ok_or("it does not say so")?);
            let waited = started.usec.saturating_sub(first.usec) / 1000;
            ensure(waited < 20_000, || format!("{waited} ms after the first line"))
        })
        .root("nothing but the named array runs", |verdict| {
            let running: Vec<String> = oracle::booted(verdict)
                .into_values()
                .filter(oracle::Array::runs)
                .map(|array| array.path)
                .collect();
            equal(&running, &["/dev/md/probe:root"])
        });
    Scenario::new("md-at-once", on_array(handed_over(boot)).writes_as_the_tools("at-once"))
}

/// A user who wants no degraded start is told what is missing.
fn never() -> Scenario {
    let image = Image::modules(&[STORAGE, MD].concat());
    let cmdline =
        format!("root=UUID={PLAIN_UUID} rootward.degraded=never rd.retry=3 rd.shell=0 rd.emergency=poweroff");
    let boot = attached(
        Boot::new(Series::V6_12, image, cmdline),
        &levels_recipe(Release::Trixie),
        &["B", "C"],
    )
    .stops_before_root()
    .shows(
        "array 11111111:22222222:33333333:44444401 (probe:root, raid1): 1 of 2 members seen, missing slot 0; \
                rootward.degraded=never forbids a degraded start",
    )
    .shows("rootward.degraded=10")
    .only_reads();
    Scenario::new("md-never-degraded", boot)
}

/// / is ext4 on an array.
fn on_array(boot: Boot) -> Boot {
    boot.root("/ is on an array", |verdict| {
        let device = root_device(verdict)?;
        ensure(device.starts_with("md"), || device.clone())
    })
}
