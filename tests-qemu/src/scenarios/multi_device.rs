//! Roots on several devices: btrfs, bcachefs, bcache.

use std::sync::Arc;
use std::time::Duration;

use super::handoff::{handed_over, root_is};
use super::root_forms::STORAGE;
use crate::bed::{Recipe, Tree};
use crate::dialogue::PROMPT;
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario, ensure};

const KERNEL: Series = Series::V6_12;
const BTRFS: &str = "6a1e7c5d-0002-4000-8000-c0ffee0000b1";
const BCACHEFS: &str = "7d3f1c52-9a4e-4f0b-8c61-2e5a90b7d413";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![btrfs(), bcachefs(), bcache()]
}

fn recipe(name: &str, script: &str, size: u64) -> Arc<Recipe> {
    Arc::new(Recipe {
        name: name.to_owned(),
        script: script.to_owned(),
        tree: Tree::Probe,
        disks: ["A", "B"].map(|disk| (disk.to_owned(), size)).to_vec(),
        ..Recipe::default()
    })
}

/// The device number of such a file system is nobody's, so that its type is all that can be compared.
fn reached(boot: Boot, fstype: &'static str) -> Boot {
    handed_over(boot).root(format!("/ is {fstype}"), move |verdict| {
        let root = verdict.mount("/").ok_or("/ is not a mount")?;
        ensure(root.fstype == fstype, || root.fstype.clone())
    })
}

/// A mirror of the disks A and B: both there, one late, one missing.
fn mirror(recipe: &Arc<Recipe>, fstype: &'static str, boot: impl Fn(&str) -> Boot) -> Vec<Boot> {
    let (a, b) = (|| recipe.disk("A"), || recipe.disk("B"));
    let complete = reached(boot("rw").disk(b(), Bus::VirtioBlk).disk(a(), Bus::VirtioBlk), fstype)
        .never_shows("degraded");
    let late = boot("ro rootward.degraded=60")
        .disk(a(), Bus::VirtioBlk)
        .absent_disk(b(), Bus::VirtioBlk)
        .expect("1 of 2 devices seen")
        .plug(1);
    let late = reached(late, fstype).never_shows("it is mounted degraded");
    let degraded = reached(boot("rw rootward.degraded=1").disk(b(), Bus::VirtioBlk), fstype)
        .shows("it is mounted degraded");
    vec![complete, late, degraded]
}

/// Two disks: both there, one late, one missing; and data that does not survive that.
fn btrfs() -> Scenario {
    let script = |data: &str| {
        format!(
            "mkfs.btrfs -q -U {BTRFS} -d {data} -m raid1 $A $B\n\
             mkdir -p /old /new\n\
             mount -o ro $CONTENT /old\n\
             mount $A /new\n\
             cp -a /old/. /new/\n\
             umount /old /new\n"
        )
    };
    let both = recipe("btrfs-raid1", &script("raid1"), 192);
    let single = recipe("btrfs-single", &script("single"), 192);
    let boot = |words: &str| {
        Boot::new(
            KERNEL,
            Image::modules(&[STORAGE, &["btrfs"]].concat()),
            format!("root=UUID={BTRFS} rd.retry=15 {words}"),
        )
    };
    let lost = boot("ro rootward.degraded=0")
        .disk(single.disk("A"), Bus::VirtioBlk)
        .expect("which bears the loss of 0")
        .expect(PROMPT)
        .types("poweroff")
        .stops_before_root()
        .patience(Duration::from_secs(60));
    let mut boots = mirror(&both, "btrfs", boot);
    boots.push(lost);
    Scenario { boots, ..Scenario::new("btrfs-two-devices", Boot::new(KERNEL, Image::universal(), "")) }
}

/// A mirror of two disks: both there, one late, one missing.
fn bcachefs() -> Scenario {
    let recipe = recipe("bcachefs", include_str!("bcachefs.sh"), 128);
    let boot = |words: &str| {
        let image = Image::modules(&[STORAGE, &["bcachefs"]].concat());
        Boot::new(KERNEL, image, format!("root=UUID={BCACHEFS} rd.retry=15 {words}"))
    };
    Scenario {
        boots: mirror(&recipe, "bcachefs", boot),
        ..Scenario::new("bcachefs-two-devices", Boot::new(KERNEL, Image::universal(), ""))
    }
}

/// A backing device and its cache; then the clean backing device alone.
fn bcache() -> Scenario {
    let recipe = recipe(
        "bcache",
        "modprobe bcache\n\
         make-bcache --bucket 64k -B $A -C $B\n\
         for disk in $A $B; do echo $disk >/sys/fs/bcache/register || true; done\n\
         for second in 1 2 3 4 5 6 7 8 9 10; do test -b /dev/bcache0 && break; sleep 1; done\n\
         fill /dev/bcache0\n\
         sync\n\
         cat /sys/block/bcache0/bcache/state\n\
         echo 1 >/sys/block/bcache0/bcache/stop\n\
         for set in /sys/fs/bcache/*-*; do echo 1 >$set/stop; done\n\
         sleep 2\n",
        192,
    );
    let image = || Image::modules(&[STORAGE, &["bcache"]].concat());
    let root = format!("root=UUID={}", crate::disk::PLAIN_UUID);
    let both = Boot::new(KERNEL, image(), format!("{root} rw"))
        .disk(recipe.disk("A"), Bus::VirtioBlk)
        .disk(recipe.disk("B"), Bus::VirtioBlk);
    let alone = Boot::new(KERNEL, image(), format!("{root} rw rootward.degraded=1"))
        .disk(recipe.disk("A"), Bus::VirtioBlk)
        .shows("is clean and starts without it");
    let boots = [both, alone].map(|boot| root_is(handed_over(boot), "bcache0", "ext4", true)).into();
    Scenario { boots, ..Scenario::new("bcache", Boot::new(KERNEL, Image::universal(), "")) }
}
