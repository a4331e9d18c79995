//! What goes wrong with physical volumes: missing, copied, pulled out, damaged, or made by a newer lvm2.

use serde_json::json;

use super::handoff::{handed_over, root_device, root_is};
use super::lvm::{DEGRADED, as_lvm2_made, image, recipe};
use crate::bed::Tree;
use crate::dialogue::{PROMPT, Step};
use crate::kernel::Series;
use crate::qemu::Bus;
use crate::scenario::{Boot, Scenario, ensure, equal};
use crate::written::WROTE;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![missing(), damaged(), duplicate(), unknown(), pulled_out()]
}

/// Without the redundancy that would cover it, no degraded start, however long.
fn missing() -> Scenario {
    let script = "\
vgcreate vg $D1 $D2
lvcreate -y -Wn -n root -l 40 vg $D2
fill /dev/vg/root
vgchange -an vg
";
    let recipe = recipe("missing", Tree::Probe, &[("D1", 200), ("D2", 200)], script);
    let boot = Boot::new(Series::V6_12, image(), "root=/dev/vg/root ro rd.retry=6 rootward.degraded=0")
        .disk(recipe.disk("D1"), Bus::VirtioBlk)
        .expect("rootward: cannot reach root: /dev/vg/root")
        .expect("VG vg: 1 of 2 PVs seen, missing PV")
        .expect("there is no redundancy that covers it")
        .expect("try: attach the disk with PV")
        .expect(PROMPT)
        .types("poweroff")
        .stops_before_root()
        .only_reads();
    Scenario::new("lvm-missing-pv", boot)
}

/// One PV has the newest metadata with a wrong checksum, the other the metadata from before: lvm2 uses that, and so do
/// we. On another disk every copy is damaged, which costs nothing while others know the group.
fn damaged() -> Scenario {
    let script = "\
pvcreate --metadatacopies 2 $D3
vgcreate vg $D1 $D2 $D3
lvcreate -y -Wn -n root -l 20 vg $D1
lvextend -l +20 vg/root $D3
fill /dev/vg/root
vgchange -an vg
sync
dd if=$D2 of=before bs=1M count=1
vgchange --addtag newer vg
sync
dd if=before of=$D2 bs=1M count=1 conv=notrunc
text() { echo $(($2 + $(od -A n -t u8 -j $(($2 + 40)) -N 8 $1))); }
end=$(($(blockdev --getsize64 $D3) - 1048576))
for place in \"$D1 4096\" \"$D3 4096\" \"$D3 $end\"; do
    set -- $place
    printf X | dd of=$1 bs=1 seek=$(($(text $1 $2) + 20)) conv=notrunc
done
sync
echo 3 >/proc/sys/vm/drop_caches
vgs -o +vg_seqno,vg_tags || true
vgchange -ay vg
note $D1 $D2 $D3 >$DUMP
vgchange -an vg
";
    let recipe = recipe("damaged", Tree::Probe, &[("D1", 160), ("D2", 64), ("D3", 160)], script);
    let boot = Boot::new(Series::V6_12, image(), "root=/dev/vg/root ro")
        .disk(recipe.disk("D1"), Bus::VirtioBlk)
        .disk(recipe.disk("D2"), Bus::VirtioBlk)
        .disk(recipe.disk("D3"), Bus::VirtioBlk);
    Scenario::new(
        "lvm-damaged-metadata",
        as_lvm2_made(root_is(handed_over(boot), "dm-0", "ext4", false)).only_reads(),
    )
}

/// A copy of a disk beside it: lvm2 activates nothing then. The operator pulls none, so the boot stops with advice.
fn duplicate() -> Scenario {
    let script = "\
vgcreate vg $D1
lvcreate -y -Wn -n root -l 30 vg
fill /dev/vg/root
vgchange -an vg
dd if=$D1 of=$D2 bs=1M
sync
vgchange -ay vg && exit 1
echo lvm2 refused
";
    let recipe = recipe("duplicate", Tree::Probe, &[("D1", 160), ("D2", 160)], script);
    let boot = Boot::new(Series::V6_12, image(), "root=/dev/vg/root ro rd.retry=30")
        .disk(recipe.disk("D1"), Bus::VirtioBlk)
        .disk(recipe.disk("D2"), Bus::VirtioBlk)
        .expect("rootward: cannot reach root: /dev/vg/root")
        .expect("VG vg is left alone")
        .expect("is on vda and vdb: one is a copy")
        .expect("try: detach one of vda and vdb")
        .expect(PROMPT)
        .types("poweroff")
        .stops_before_root()
        .only_reads();
    Scenario::new("lvm-duplicate-pv", boot)
}

/// A segment type that nobody knows, beside a disk whose metadata area is noise: lvm2 does not activate the volume either.
fn unknown() -> Scenario {
    let script = "\
vgcreate vg $D1
lvcreate -y -Wn -n root -l 30 vg
fill /dev/vg/root
vgchange -an vg
vgcfgbackup -f text vg
sed -i 's/\"striped\"/\"teleported\"/' text
vgcfgrestore -f text vg
vgchange -ay vg && exit 1
vgcreate noise $D2
dd if=/dev/urandom of=$D2 bs=512 seek=8 count=2040 conv=notrunc
sync
echo lvm2 refused
";
    let recipe = recipe("unknown", Tree::Probe, &[("D1", 160), ("D2", 64)], script);
    let boot = Boot::new(Series::V6_12, image(), "root=/dev/vg/root ro rd.retry=6")
        .disk(recipe.disk("D1"), Bus::VirtioBlk)
        .disk(recipe.disk("D2"), Bus::VirtioBlk)
        .expect("rootward: cannot reach root: /dev/vg/root")
        .expect("segments of the unknown type teleported; a newer lvm2 must have made it")
        .expect(PROMPT)
        .types("poweroff")
        .stops_before_root()
        .only_reads();
    Scenario::new("lvm-unknown-segment", boot)
}

/// A leg comes and is pulled out again before the volume could be made: the boot goes on with what is left. lvm2, which
/// does not have that leg either, has nothing to write to it.
fn pulled_out() -> Scenario {
    let script = format!(
        "{WROTE}{DEGRADED}\
vgcreate vg $D1 $D2 $D3
lvcreate -y -Wn --type raid1 -m 2 --nosync -n root -l 35 vg
fill /dev/vg/root
vgchange -an vg
degraded D1 $D2 $D3
echo wrote degraded D2 >>noted
cat noted >$DUMP
"
    );
    let disks = [("D1", 160), ("D2", 160), ("D3", 160)];
    let recipe = recipe("pulled-out", Tree::Probe, &disks, &script);
    let mut boot = Boot::new(Series::V6_12, image(), "root=/dev/vg/root ro rootward.degraded=10")
        .disk(recipe.disk("D1"), Bus::VirtioScsi)
        .absent_disk(recipe.disk("D2"), Bus::VirtioScsi)
        .expect("[sda] Attached SCSI disk")
        .plug(1)
        .expect("[sdb] Attached SCSI disk");
    boot.steps.push(Step::Monitor("device_del", json!({ "id": "late" })));
    let boot = handed_over(boot).shows("vg/root is started DEGRADED").root(
        "root is the volume, on the leg that is left",
        |verdict| {
            let device = verdict.block(&root_device(verdict)?).ok_or("no such device")?;
            equal(&device.dm_name, "vg-root")?;
            ensure(verdict.block("sdb").is_none(), || "sdb is still there".to_owned())
        },
    );
    Scenario::new("lvm-pulled-out", boot.writes_as_the_tools("degraded"))
}
