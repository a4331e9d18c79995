//! Multipath: two paths to one unit, as the real root's multipath-tools would make of them, and a path that fails.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::distribution::healthy;
use super::handoff::{handed_over, root_device};
use super::root_forms::STORAGE;
use crate::bed::{Disk, Recipe, Tree};
use crate::dialogue::{PROMPT, STOP, Step};
use crate::disk::{Filesystem, PLAIN_UUID};
use crate::image::{Extra, Image};
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::rootfs::Release;
use crate::scenario::{Boot, Scenario, Seen, ensure, equal};
use crate::verdict::Verdict;

const KERNEL: Series = Series::V6_12;
/// The unit's id, as scsi_id and multipath-tools derive it from its NAA name.
const WWID: &str = "35000c50000000000";
const CONF: Extra = Extra::Text(
    "/etc/multipath.conf",
    "defaults {\n    find_multipaths yes\n}\nblacklist {\n    devnode \"^vd\"\n}\n",
);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        debian(Release::Bookworm),
        debian(Release::Trixie),
        partition(),
        path_lost(),
        all_lost(),
        switched_off(),
    ]
}

fn image() -> Image {
    Image::modules(&[STORAGE, &["dm_multipath", "dm_service_time"]].concat()).with(CONF)
}

fn boot(words: &str) -> Boot {
    Boot::new(KERNEL, image(), format!("root=UUID={} ro {words}", Filesystem::Ext4.uuid()))
        .disk(Disk::Probe(Filesystem::Ext4), Bus::TwoPaths)
}

/// Root is on a partition of the map, which has this many paths.
fn on_the_map(boot: Boot, paths: usize) -> Boot {
    boot.root("root is on the first partition of the multipath device", move |verdict| {
        let root = verdict.block(&root_device(verdict)?).ok_or("no such device")?;
        equal(&root.dm_name, &format!("{WWID}-part1"))?;
        equal(&root.dm_uuid, &format!("part1-mpath-{WWID}"))?;
        let map = root.below.first().and_then(|name| verdict.block(name)).ok_or("no map below it")?;
        equal(&map.dm_name, WWID)?;
        equal(&map.dm_uuid, &format!("mpath-{WWID}"))?;
        equal(&map.below.len(), &paths)
    })
}

fn partition() -> Scenario {
    let boot = on_the_map(handed_over(boot("")), 2).only_reads();
    Scenario::new("multipath-partition", boot.shows(&format!("made /dev/mapper/{WWID} ")))
}

/// A path goes away between the claim of the unit and the mount.
fn path_lost() -> Scenario {
    let mut boot = boot("rd.break=pre-mount").expect(PROMPT);
    boot.steps.push(Step::Monitor("device_del", json!({ "id": "path0a" })));
    let boot = boot
        .pause(Duration::from_secs(8))
        .types("why")
        .expect(&format!("1 path of {WWID}"))
        .expect(PROMPT)
        .types("continue");
    // It goes from the table too, as multipathd would have it.
    let boot = on_the_map(handed_over(boot), 1).only_reads();
    Scenario::new("multipath-path-lost", boot)
}

/// All paths go away before the mount: it is not queued for ever, as the kernel would have it, but fails after
/// `no_path_retry` polling intervals, and the boot says of what.
fn all_lost() -> Scenario {
    let conf = "defaults {\n    find_multipaths yes\n    no_path_retry 2\n    polling_interval 3\n}\n";
    let image = Image::modules(&[STORAGE, &["dm_multipath", "dm_service_time"]].concat())
        .with(Extra::Text("/etc/multipath.conf", conf));
    let words = format!("root=UUID={} ro rd.break=pre-mount rd.retry=30", Filesystem::Ext4.uuid());
    let mut boot =
        Boot::new(KERNEL, image, words).disk(Disk::Probe(Filesystem::Ext4), Bus::TwoPaths).expect(PROMPT);
    for path in ["path0a", "path0b"] {
        boot.steps.push(Step::Monitor("device_del", json!({ "id": path })));
    }
    let boot = boot
        .pause(Duration::from_secs(4))
        .types("continue")
        .expect("as no_path_retry says")
        .expect(STOP)
        .expect("errno 5")
        .expect(PROMPT)
        .types("why")
        .expect(WWID)
        .expect(PROMPT)
        .types("poweroff")
        .stops_before_root();
    Scenario::new("multipath-all-paths-lost", boot)
}

/// Without multipath the first path is used as it is.
fn switched_off() -> Scenario {
    let boot = handed_over(boot("rd.multipath=0")).root("root is on a single path", |verdict| {
        let root = root_device(verdict)?;
        ensure(["sda1", "sdb1"].contains(&root.as_str()), || root.clone())
    });
    Scenario::new("multipath-off", boot)
}

/// A Debian on the unit, and the same unit beside a Debian elsewhere, whose multipathd makes the map itself: what
/// `multipath -ll` and `dmsetup table` say has to be the same.
fn debian(release: Release) -> Scenario {
    let script = "\
printf 'label: gpt\\nsize=+\\n' | sfdisk -q $UNIT
conf() {
    printf 'defaults {\\n    find_multipaths yes\\n}\\n' >/new/etc/multipath.conf
    printf 'multipath -ll\\nmultipathd show paths format %%w.%%d.%%t\\ndmsetup info -c --noheadings -o name,uuid\\n' \\
        >/new/etc/rootward-commands
}
alone() {
    conf
    sed -i 's#^UUID=[^ ]*#/dev/vda#' /new/etc/fstab
}
fill ${UNIT}1 conf
PLAIN_UUID=2a1f0d7c-3c55-4c0f-8d6e-5b1c7d9e0005 fill $ALONE alone
";
    let recipe = Arc::new(Recipe {
        name: "multipath-debian".to_owned(),
        script: script.to_owned(),
        tree: Tree::DebianWith(release, &["multipath-tools", "kpartx"]),
        disks: vec![("UNIT".to_owned(), 1300), ("ALONE".to_owned(), 1300)],
        ..Recipe::default()
    });
    let kernel = release.kernel();
    let boot = |cmdline: String, image: Image| healthy(Boot::new(kernel, image, cmdline));
    let ours = boot(format!("root=UUID={PLAIN_UUID} ro"), Image::universal().with(CONF))
        .disk(recipe.disk("UNIT"), Bus::TwoPaths);
    let theirs = boot("root=/dev/vda ro".to_owned(), Image::universal())
        .disk(recipe.disk("ALONE"), Bus::VirtioBlk)
        .disk(recipe.disk("UNIT"), Bus::TwoPaths);
    Scenario {
        name: format!("debian{}-multipath-{}", release.number(), kernel.name()),
        boots: vec![on_the_map(ours, 2), theirs],
        comparison: Some(Box::new(same_map)),
    }
}

/// What the tools say of the unit, without what differs from boot to boot.
fn shown(verdict: &Verdict) -> Vec<String> {
    let commands = [
        "multipath -ll",
        "multipathd show paths format %w.%d.%t",
        "dmsetup info -c --noheadings -o name,uuid",
        "dmsetup table",
    ];
    let mut lines = Vec::new();
    for command in commands {
        let mut shown: Vec<String> = verdict
            .command(command)
            .stdout
            .lines()
            .filter(|line| command != "dmsetup table" || line.starts_with(WWID))
            .filter(|line| !line.contains("vda"))
            .map(without_numbers)
            .collect();
        if command != "multipath -ll" {
            shown.sort();
        }
        lines.extend(shown);
    }
    lines
}

/// Paths of equal worth come in the order in which udev's workers happened to report them, and dm devices in any: neither
/// is a difference.
fn without_numbers(line: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = |word: &str| {
        let parts: Vec<&str> = word.split(':').collect();
        match parts.as_slice() {
            ["8", minor] if digits(minor) => "PATH",
            [major, minor] if digits(major) && digits(minor) => "DM",
            [_, _, _, _] if parts.iter().all(|part| digits(part)) => "ADDRESS",
            _ if ["sda", "sdb"].contains(&word) => "PATH",
            _ if word.strip_prefix("dm-").is_some_and(digits) => "DM",
            _ => word,
        }
        .to_owned()
    };
    line.split_whitespace().map(plain).collect::<Vec<_>>().join(" ")
}

fn same_map(seen: &[Seen]) -> Result<(), String> {
    let verdicts: Vec<&Verdict> = seen.iter().filter_map(|one| one.verdict.as_ref()).collect();
    let [ours, theirs] = verdicts.as_slice() else { return Err("a verdict is missing".to_owned()) };
    let theirs = shown(theirs);
    ensure(theirs.iter().any(|line| line.contains(WWID)), || format!("multipathd made no map: {theirs:?}"))?;
    equal(&shown(ours), &theirs)
}
