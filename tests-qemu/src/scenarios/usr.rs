//! A `/usr` of its own: without it most roots have no init.

use std::sync::Arc;

use super::distribution::healthy;
use super::handoff::root_is;
use super::root_forms::STORAGE;
use crate::bed::{Recipe, Tree};
use crate::dialogue::PROMPT;
use crate::disk::PLAIN_UUID;
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::rootfs::Release;
use crate::scenario::{Boot, Scenario, equal};

const KERNEL: Series = Series::V6_12;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![debian(), verified()]
}

/// What `/usr` is: the mapping's name, the type, `ro` or `rw`.
fn usr_is(boot: Boot, mapping: &'static str, access: &'static str) -> Boot {
    boot.root(format!("/usr is ext4 on {mapping}, {access}"), move |verdict| {
        let usr = verdict.mount("/usr").ok_or("/usr is not a mount")?;
        let device = verdict.block_by_number(&usr.device).ok_or("its device is not there")?;
        equal(&device.dm_name, mapping)?;
        equal(&usr.fstype, "ext4")?;
        equal(usr.options.split(',').next().unwrap_or_default(), access)
    })
}

/// A Debian 13 whose `/usr` is a logical volume that its fstab alone names; merged as it is, it has no `/sbin` without.
fn debian() -> Scenario {
    let recipe = Arc::new(Recipe {
        name: "usr-on-lvm".to_owned(),
        script: format!(
            "\
cat >/etc/lvm/lvm.conf <<'CONF'
activation {{ udev_sync = 0 udev_rules = 0 monitoring = 0 }}
backup {{ backup = 0 archive = 0 }}
CONF
vgcreate -q sys $POOL
lvcreate -q -y -Wn -l 100%FREE -n usr sys
apart() {{
    mke2fs -q -t ext4 -m 0 /dev/sys/usr
    mkdir -p /apart
    mount /dev/sys/usr /apart
    cp -a /new/usr/. /apart/
    umount /apart
    rm -rf /new/usr/*
    echo 'UUID={PLAIN_UUID} / ext4 defaults 0 1' >/new/etc/fstab
    echo '/dev/sys/usr /usr ext4 defaults,nodev 0 2' >>/new/etc/fstab
}}
fill $DISK apart
vgchange -q -an sys
"
        ),
        tree: Tree::Debian(Release::Trixie),
        disks: vec![("DISK".to_owned(), 560), ("POOL".to_owned(), 560)],
        kernel: Some(KERNEL),
        release: Some(Release::Trixie),
        ..Recipe::default()
    });
    let boot = Boot::new(KERNEL, Image::universal(), format!("root=UUID={PLAIN_UUID} ro"))
        .disk(recipe.disk("DISK"), Bus::VirtioBlk)
        .disk(recipe.disk("POOL"), Bus::VirtioScsi);
    // systemd-remount-fs has made it what the fstab says.
    Scenario::new("debian13-usr", usr_is(healthy(boot), "sys-usr", "rw"))
}

/// `/usr` is checked against `usrhash=`; then one that never comes, which root is not booted without.
fn verified() -> Scenario {
    let recipe = Arc::new(Recipe {
        name: "usr-verity".to_owned(),
        script: "\
printf 'label: gpt\\nsize=60M\\nsize=40M\\nsize=8M\\n' | sfdisk -q $DISK
place() { mkdir -p /new/usr; }
fill ${DISK}1 place
mke2fs -q -t ext4 -b 4096 ${DISK}2
veritysetup format ${DISK}2 ${DISK}3 >said
HASH=$(sed -n 's/^Root hash:[ \\t]*//p' said)
uuid() { echo ${1:0:8}-${1:8:4}-${1:12:4}-${1:16:4}-${1:20:12}; }
sfdisk -q --part-uuid $DISK 2 $(uuid ${HASH:0:32})
sfdisk -q --part-uuid $DISK 3 $(uuid ${HASH:32:32})
echo hash=$HASH >$DUMP
"
        .to_owned(),
        tree: Tree::Probe,
        disks: vec![("DISK".to_owned(), 120)],
        ..Recipe::default()
    });
    let image = || Image::modules(&[STORAGE, &["dm_verity", "sha256_generic"]].concat());
    let words = format!("root=UUID={PLAIN_UUID} ro rd.retry=5");
    let boot = |more: &str| {
        Boot::new(KERNEL, image(), format!("{words} {more}")).disk(recipe.disk("DISK"), Bus::VirtioBlk)
    };
    let reached = root_is(boot("usrhash=${hash}"), "vda1", "ext4", false);
    let missing = boot("mount.usr=LABEL=elsewhere")
        .expect("rootward: cannot reach /usr: LABEL=elsewhere")
        .expect(PROMPT)
        .types("poweroff")
        .stops_before_root();
    Scenario {
        boots: vec![usr_is(reached, "usr", "ro"), missing],
        ..Scenario::new("usr-verity", Boot::new(KERNEL, image(), ""))
    }
}
