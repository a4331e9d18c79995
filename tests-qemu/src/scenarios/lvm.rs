//! Logical volumes: the root on one, and whole distributions on them.
//!
//! The builder VM makes the disks with lvm2, activates them with `vgchange -ay` and notes what device-mapper then shows;
//! what `/init` makes of the same disks has to be the same.

use std::sync::Arc;
use std::time::Duration;

use super::distribution::healthy;
use super::handoff::{handed_over, linked, root_is};
use super::root_forms::STORAGE;
use crate::bed::{LUKS_UUID, PASSPHRASE, Recipe, Tree};
use crate::disk::PLAIN_UUID;
use crate::image::Image;
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::rootfs::Release;
use crate::scenario::{Boot, Scenario, ensure, equal};
use crate::written::WROTE;

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = vec![debian(Release::Bookworm, Series::V6_1), debian(Release::Trixie, Series::V6_12)];
    all.extend(Series::ALL.map(linear));
    all.extend([degraded(), snapshot()]);
    all
}

/// `note DISK..` prints what device-mapper and lvm2 show, with names in place of numbers: disks are D1, D2 ...
pub(super) const NOTE: &str = "\
note() {
    local rules= number=1 line
    for disk in \"$@\"; do
        line=$(lsblk --nodeps --noheadings --output MAJ:MIN $disk | tr -d ' ')
        rules=\"$rules;s# $line # D$number #g;s# $line\\$# D$number#;s#$disk(#D$number(#g\"
        number=$((number + 1))
    done
    for line in $(dmsetup info -c --noheadings --separator '#' -o major,minor,name | sed 's/#/:/'); do
        rules=\"$rules;s# ${line%#*} # ${line#*#} #g;s# ${line%#*}\\$# ${line#*#}#\"
    done
    {
        dmsetup info -c --noheadings --separator ' ' -o name,uuid,readonly | sort
        dmsetup table | sort
        lvs -a --noheadings --separator ' ' -o vg_name,lv_name,seg_type,devices,lv_active | sed 's/^ *//' | sort
    } | sed \"$rules\"
}
";

pub(super) fn recipe(name: &str, tree: Tree, disks: &[(&str, u64)], script: &str) -> Arc<Recipe> {
    Arc::new(Recipe {
        name: format!("lvm-{name}"),
        script: format!("{NOTE}{script}"),
        tree,
        disks: disks.iter().map(|(variable, size)| ((*variable).to_owned(), *size)).collect(),
        release: match tree {
            Tree::Debian(release) => Some(release),
            _ => None,
        },
        ..Recipe::default()
    })
}

pub(super) fn image() -> Image {
    Image::modules(&[STORAGE, &["dm_mod", "dm_raid", "raid1"]].concat())
}

/// The devices that the builder noted, no more and no less, with names and UUIDs.
pub(super) fn as_lvm2_made(boot: Boot) -> Boot {
    boot.check("the devices have lvm2's names and UUIDs", |seen| {
        let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
        let noted = seen.dump.lines().filter(|line| line.contains(" LVM-"));
        let wanted: Vec<String> =
            noted.map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
        ensure(!wanted.is_empty(), || format!("the builder noted {:?}", seen.dump))?;
        let devices = verdict.block.iter().filter(|device| !device.dm_uuid.is_empty());
        let mut made: Vec<String> =
            devices.map(|device| format!("{} {}", device.dm_name, device.dm_uuid)).collect();
        made.sort();
        equal(&made, &wanted)
    })
}

/// A volume on two disks, of which the second comes late; dashes in every name, and one more volume that nobody needs.
fn linear(kernel: Series) -> Scenario {
    let script = "\
vgcreate my-vg $D1 $D2
lvcreate -y -Wn -n a-root -l 30 my-vg $D1
lvextend -l +20 my-vg/a-root $D2
fill /dev/my-vg/a-root
note $D1 $D2 >$DUMP
vgchange -an my-vg
vgchange -ay my-vg
lvcreate -y -Wn -an -n unneeded -l 1 my-vg
vgchange -an my-vg
";
    let recipe = recipe("linear", Tree::Probe, &[("D1", 160), ("D2", 160)], script);
    let boot = Boot::new(kernel, image(), "root=/dev/my-vg/a-root ro")
        .disk(recipe.disk("D1"), Bus::VirtioBlk)
        .absent_disk(recipe.disk("D2"), Bus::VirtioBlk)
        .expect("VG my-vg: 1 of 2 PVs seen, missing PV")
        .plug(1);
    let boot = as_lvm2_made(root_is(handed_over(boot), "dm-0", "ext4", false)).only_reads();
    let boot = linked(boot, "/dev/my-vg/a-root", "dm-0");
    let boot = linked(boot, "/dev/mapper/my--vg-a--root", "dm-0");
    Scenario::new("lvm-linear-late-disk", linked(boot, &format!("/dev/disk/by-uuid/{PLAIN_UUID}"), "dm-0"))
}

/// A snapshot has the UUID of its origin and is activated with it.
fn snapshot() -> Scenario {
    let script = "\
modprobe dm-snapshot
vgcreate vg $D1
lvcreate -y -Wn -n root -l 30 vg
fill /dev/vg/root
lvcreate -y -s -n before -l 4 vg/root
note $D1 >$DUMP
vgchange -an vg
";
    let recipe = recipe("snapshot", Tree::Probe, &[("D1", 192)], script);
    let image = Image::modules(&[STORAGE, &["dm_mod", "dm_snapshot"]].concat());
    let boot = Boot::new(Series::V6_12, image, format!("root=UUID={PLAIN_UUID} rw"))
        .disk(recipe.disk("D1"), Bus::VirtioBlk)
        .root("root is the origin", |verdict| {
            let device = super::handoff::root_device(verdict)?;
            equal(&verdict.block(&device).ok_or("no such device")?.dm_name, "vg-root")
        })
        .never_shows("also names");
    let boot = as_lvm2_made(handed_over(boot));
    // The origin's lower part was made before it, the snapshot and its store after it.
    Scenario::new("lvm-snapshot-of-root", linked(boot, &format!("/dev/disk/by-uuid/{PLAIN_UUID}"), "dm-1"))
}

/// `degraded DISK GONE..` notes what lvm2 writes to the disk of this name when it starts the root's mirror without the
/// others; the disk is as before afterwards.
pub(super) const DEGRADED: &str = "\
degraded() {
    local kept=$1 filter= gone
    shift
    for gone in \"$@\"; do filter+=\"\\\"r|$gone|\\\",\"; done
    local half=\"devices { filter = [ ${filter%,} ] }\"
    sync
    cp --sparse=always ${!kept} before
    vgchange -ay --activationmode degraded --config \"$half\" vg
    mount -o ro /dev/vg/root /new
    umount /new
    vgchange -an --config \"$half\" vg
    sync
    wrote degraded $kept before ${!kept} >>noted
    dd if=before of=${!kept} bs=1M conv=fsync
}
";

fn mirrored() -> Arc<Recipe> {
    let script = format!(
        "{WROTE}{DEGRADED}\
vgcreate vg $D1 $D2
lvcreate -y -Wn --type raid1 -m 1 -n root -l 40 vg
fill /dev/vg/root
while [ $(lvs --noheadings -o sync_percent vg/root | tr -d ' ') != 100.00 ]; do sleep 1; done
vgchange -an vg
vgchange -ay vg
note $D1 $D2 >noted
vgchange -an vg
degraded D1 $D2
cat noted >$DUMP
"
    );
    recipe("mirrored", Tree::Probe, &[("D1", 200), ("D2", 200)], &script)
}

/// Half of a mirror: started after the grace time, at once when told so, with both halves not degraded at all. Nothing is
/// written to the half but what lvm2 has written to it.
fn degraded() -> Scenario {
    let recipe = mirrored();
    let boot = |cmdline: &str| {
        let boot = Boot::new(Series::V6_12, image(), format!("{cmdline} ro"))
            .disk(recipe.disk("D1"), Bus::VirtioBlk);
        handed_over(boot).root("root is on the mirror", |verdict| {
            let device = super::handoff::root_device(verdict)?;
            equal(&verdict.block(&device).ok_or("no such device")?.dm_name, "vg-root")
        })
    };
    let whole =
        as_lvm2_made(boot(&format!("root=UUID={PLAIN_UUID}")).disk(recipe.disk("D2"), Bus::VirtioBlk))
            .never_shows("DEGRADED");
    let graceful = boot("root=/dev/vg/root rootward.degraded=4")
        .expect("degraded start")
        .shows("vg/root is started DEGRADED")
        .writes_as_the_tools("degraded");
    let at_once = boot("root=/dev/vg/root rootward.degraded=0")
        .shows("vg/root is started DEGRADED")
        .writes_as_the_tools("degraded");
    Scenario {
        name: "lvm-mirror-degraded-6.12".to_owned(),
        boots: vec![whole, graceful, at_once],
        comparison: None,
    }
}

/// What the real root does once it is up: first it notes what it found, then it works on the group.
const LIVE: &str = "\
udevadm settle
note /dev/vda /dev/vdb >/run/lvm-noted 2>&1
exec >/run/lvm-live 2>&1
set -ex
lvcreate -y -Wn -l 1 -n new debian-vg
lvextend -y -l +1 debian-vg/data
lvcreate -y -s -l 1 -n snap debian-vg/data
lvconvert -y --merge debian-vg/snap
lvconvert -y --type raid1 -m 1 debian-vg/new
lvremove -y debian-vg/new
lvchange -an debian-vg/data
lvchange -ay debian-vg/data
vgck debian-vg
vgs debian-vg
echo all well
";

const UNIT: &str = "\
[Unit]
Description=Works on the volume group
After=local-fs.target swap.target
[Service]
Type=oneshot
ExecStart=/bin/bash /live
[Install]
WantedBy=multi-user.target
";

/// A whole Debian on volumes, the newer one behind LUKS: the real root's tools see what they would have made themselves,
/// work with it, and systemd misses nothing.
fn debian(release: Release, kernel: Series) -> Scenario {
    let encrypted = release == Release::Trixie;
    let first = if encrypted {
        format!(
            "cryptsetup luksFormat --batch-mode --type luks2 --uuid {LUKS_UUID} --pbkdf argon2id \
             --pbkdf-memory 32768 --pbkdf-force-iterations 4 --pbkdf-parallel 1 --key-file passphrase $D1\n\
             cryptsetup open --key-file passphrase $D1 cryptlvm\nPV=/dev/mapper/cryptlvm\n"
        )
    } else {
        "PV=$D1\n".to_owned()
    };
    let crypttab = if encrypted { format!("cryptlvm UUID={LUKS_UUID} none luks\n") } else { String::new() };
    let script = format!(
        "{first}\
         modprobe dm-raid; modprobe raid1\n\
         vgcreate debian-vg $PV $D2\n\
         lvcreate -y -Wn -n root -L 1100M debian-vg $PV\n\
         lvcreate -y -Wn -n swap -L 32M debian-vg $D2\n\
         lvcreate -y -Wn -n data --type raid1 -m 1 -L 8M debian-vg\n\
         mkswap /dev/debian-vg/swap\n\
         cat >live <<'EOF'\n{NOTE}{LIVE}EOF\n\
         cat >unit <<'EOF'\n{UNIT}EOF\n\
         settings() {{\n\
             echo '/dev/mapper/debian--vg-root / ext4 defaults 0 1' >/new/etc/fstab\n\
             echo '/dev/debian-vg/swap none swap sw 0 0' >>/new/etc/fstab\n\
             printf '{crypttab}' >/new/etc/crypttab\n\
             cp live /new/live\n\
             cp unit /new/etc/systemd/system/live.service\n\
             ln -s ../live.service /new/etc/systemd/system/multi-user.target.wants/live.service\n\
         }}\n\
         fill /dev/debian-vg/root settings\n\
         while [ $(lvs --noheadings -o sync_percent debian-vg/data | tr -d ' ') != 100.00 ]; do sleep 1; done\n\
         vgchange -an debian-vg\n\
         vgchange -ay debian-vg\n\
         note $D1 $D2 >$DUMP\n\
         cat $DUMP | tr -d '\\0'\n\
         vgchange -an debian-vg\n"
    );
    let name = format!("debian{}", release.number());
    let recipe = recipe(&name, Tree::Debian(release), &[("D1", 1200), ("D2", 64)], &script);
    let (cmdline, name) = if encrypted {
        (
            format!("root=/dev/mapper/debian--vg-root ro rd.luks.name={LUKS_UUID}=cryptlvm"),
            format!("{name}-luks-lvm"),
        )
    } else {
        (format!("root=UUID={PLAIN_UUID} ro"), format!("{name}-lvm"))
    };
    let mut boot = Boot::new(kernel, Image::universal(), cmdline)
        .disk(recipe.disk("D1"), Bus::VirtioBlk)
        .disk(recipe.disk("D2"), Bus::VirtioBlk);
    if encrypted {
        boot = boot.expect("Passphrase for").types(PASSPHRASE);
    }
    let boot = healthy(boot)
        .check("lvs, dmsetup table and dmsetup info are what lvm2 itself makes of the disks", |seen| {
            let verdict = seen.verdict.as_ref().ok_or("no verdict arrived")?;
            let noted = verdict.run.iter().find(|entry| entry.path == "/run/lvm-noted");
            let noted = noted.and_then(|entry| entry.content.as_deref()).ok_or("nothing was noted")?;
            ensure(seen.dump.lines().count() > 10, || format!("the builder noted {:?}", seen.dump))?;
            let differs = seen.dump.lines().filter(|line| !noted.lines().any(|other| other == *line));
            let more = noted.lines().filter(|line| !seen.dump.lines().any(|other| other == *line));
            equal(&more.collect::<Vec<_>>(), &differs.collect::<Vec<_>>())
        })
        .root(
            "lvcreate, lvextend, snapshots, lvconvert, lvchange and vgck work on the live system",
            |verdict| {
                let live = verdict.run.iter().find(|entry| entry.path == "/run/lvm-live");
                let live = live.and_then(|entry| entry.content.as_deref()).unwrap_or_default();
                ensure(live.trim_end().ends_with("all well"), || live.to_owned())
            },
        )
        .patience(Duration::from_secs(180));
    Scenario::new(&name, boot)
}
