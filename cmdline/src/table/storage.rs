//! LVM, MD, BIOS RAID, multipath.

use crate::plan::Multipath;

use super::{Family, Kind, Row, means, old};
use crate::mdadm_conf;
use crate::verity;

const F: Family = Family::Storage;

pub(super) static ROWS: &[Row] = &[
    Row::done("rd.lvm", Kind::Flag(true, Some(|plan, on| plan.lvm.enabled = on)), "Whether LVM volumes are activated.")
        .aliases(&[means("rd_NO_LVM", "0")])
        .family(F)
        .must(),
    Row::done(
        "rd.lvm.vg",
        Kind::List(Some(|plan, value| {
            let name = value.strip_prefix("/dev/").unwrap_or(value);
            if name.is_empty() || name.contains('/') {
                return Err("the name of a volume group");
            }
            if !plan.lvm.vgs.iter().any(|known| known == name) {
                plan.lvm.vgs.push(name.to_owned());
            }
            Ok(())
        })),
        "Activates every volume of this group, and no others than those named.",
    )
    .syntax("VG")
    .aliases(&[old("rd_LVM_VG")])
    .absent("`rd.auto` decides")
    .family(F)
    .must(),
    Row::done(
        "rd.lvm.lv",
        Kind::List(Some(|plan, value| {
            let path = value.strip_prefix("/dev/").unwrap_or(value);
            let (vg, lv) = path
                .split_once('/')
                .filter(|(vg, lv)| !vg.is_empty() && !lv.is_empty() && !lv.contains('/'))
                .ok_or("VG/LV")?;
            let named = (vg.to_owned(), lv.to_owned());
            if !plan.lvm.lvs.contains(&named) {
                plan.lvm.lvs.push(named);
            }
            Ok(())
        })),
        "Activates this volume, and no others than those named.",
    )
    .syntax("VG/LV")
    .aliases(&[old("rd_LVM_LV")])
    .absent("`rd.auto` decides")
    .family(F)
    .must(),
    Row::done("rd.lvm.conf", Kind::Flag(true, Some(|plan, on| plan.lvm.conf = on)), "Whether the image's lvm.conf and lvmlocal.conf are used.")
        .aliases(&[means("rd_NO_LVMCONF", "0")])
        .family(F),
    Row::later("rd.lvm.mergetags", Kind::List(None), "Merges snapshots with this tag back.")
        .syntax("nothing, or TAG")
        .bare()
        .family(F)
        .legacy(),
    Row::done("rd.md", Kind::Flag(true, Some(|plan, on| plan.md.enabled = on)), "Whether MD arrays are assembled.")
        .aliases(&[means("rd_NO_MD", "0")])
        .family(F)
        .must(),
    Row::done(
        "rd.md.uuid",
        Kind::List(Some(|plan, value| {
            let uuid = mdadm_conf::uuid(value).ok_or("32 hexadecimal digits, with `:` or `-` anywhere")?;
            if !plan.md.uuids.contains(&uuid) {
                plan.md.uuids.push(uuid);
            }
            Ok(())
        })),
        "Assembles the array with this UUID, and no others than those named.",
    )
        .syntax("UUID")
        .aliases(&[old("rd_MD_UUID")])
        .absent("`rd.auto` decides")
        .family(F)
        .must(),
    Row::done("rd.md.imsm", Kind::Flag(true, Some(|plan, on| plan.md.imsm = on)), "Whether Intel RAID members are assembled by MD; if not, they are mapped as dmraid does it.")
        .aliases(&[means("rd_NO_MDIMSM", "0"), means("noiswmd", "0")])
        .family(F),
    Row::done("rd.md.ddf", Kind::Flag(true, Some(|plan, on| plan.md.ddf = on)), "Whether DDF RAID members are assembled by MD; if not, they are mapped as dmraid does it.")
        .aliases(&[means("rd_NO_MDDDF", "0"), means("noddfmd", "0")])
        .family(F),
    Row::done("rd.md.conf", Kind::Flag(true, Some(|plan, on| plan.md.conf = on)), "Whether the image's mdadm.conf is used.")
        .aliases(&[means("rd_NO_MDADMCONF", "0")])
        .family(F),
    Row::done("rd.md.waitclean", Kind::Flag(false, Some(|plan, on| plan.md.wait_clean = on)), "Waits until no array is being resynchronised before root is mounted.").family(F),
    Row::done("rd.dm", Kind::Flag(true, Some(|plan, on| plan.dm.enabled = on)), "Whether BIOS RAID is set up through device-mapper. With `0` its members are ordinary disks: for metadata left over from an earlier use.")
        .aliases(&[means("rd_NO_DM", "0")])
        .family(F),
    Row::done(
        "nodmraid",
        Kind::Presence(Some(|plan| {
            plan.dm.enabled = false;
            plan.md.imsm = false;
            plan.md.ddf = false;
        })),
        "No BIOS RAID at all: `rd.dm=0 rd.md.imsm=0 rd.md.ddf=0`.",
    )
        .family(F),
    Row::done(
        "rd.dm.uuid",
        Kind::List(Some(|plan, value| {
            if !value.is_empty() && !plan.dm.sets.iter().any(|known| known == value) {
                plan.dm.sets.push(value.to_owned());
            }
            Ok(())
        })),
        "Maps the BIOS RAID sets whose names begin so, and no others.",
    )
        .syntax("SET")
        .absent("`rd.auto` decides")
        .aliases(&[old("rd_DM_UUID")])
        .family(F),
    Row::done(
        "rd.multipath",
        Kind::Text(Some(|plan, value| {
            plan.multipath = match value {
                "0" | "no" | "off" => Multipath::Off,
                "default" => Multipath::Default,
                _ => Multipath::Configured,
            };
            Ok(())
        })),
        "Whether multipath maps are set up. They are if the image has an `/etc/multipath.conf`; `default` takes the usual configuration if it has none.",
    )
        .syntax("0, 1 or `default`")
        .bare()
        .absent("1")
        .aliases(&[means("rd_NO_MULTIPATH", "0")])
        .family(F)
        .must(),
    Row::done(
        "nompath",
        Kind::Presence(Some(|plan| plan.multipath = Multipath::Off)),
        "No multipath maps: the real root's multipathd does not start then either.",
    )
    .family(F),
    Row::done(
        "multipath",
        Kind::Text(Some(|plan, value| {
            if value == "off" {
                plan.multipath = Multipath::Off;
            }
            Ok(())
        })),
        "`off`: as `nompath`.",
    )
    .syntax("off")
    .family(F),
    Row::done(
        "roothash",
        Kind::Text(Some(|plan, value| verity::root_hash(&mut plan.verity.root, value))),
        "Root hash of a dm-verity root, which becomes `/dev/mapper/root`; that is the root if `root=` names none or leaves it to the GPT (`gpt-auto`). Devices that are not named are the partitions whose UUIDs are the first and the last 128 bits, whatever their GPT type.",
    )
    .syntax("hex digits")
    .family(F),
    Row::done(
        "roothashsig",
        Kind::Text(Some(|plan, value| verity::signature(&mut plan.verity.root, value))),
        "Signature of the root hash, which the kernel checks with the keys built into it.",
    )
    .syntax("PATH or base64:TEXT")
    .family(F),
    Row::done(
        "usrhash",
        Kind::Text(Some(|plan, value| verity::root_hash(&mut plan.verity.usr, value))),
        "As `roothash`, for `/usr`: `/dev/mapper/usr` is made and mounted at the root's `/usr`, unless `mount.usr` names another device.",
    )
    .syntax("hex digits")
    .family(F),
    Row::done(
        "usrhashsig",
        Kind::Text(Some(|plan, value| verity::signature(&mut plan.verity.usr, value))),
        "Signature of that hash.",
    )
    .syntax("PATH or base64:TEXT")
    .family(F),
    Row::done(
        "systemd.verity",
        Kind::Text(Some(|plan, value| { plan.verity.enabled = verity::switch(value)?; Ok(()) })),
        "Whether verity devices are set up.",
    )
    .syntax("yes or no")
    .bare()
    .absent("yes")
    .aliases(&[super::same("rd.systemd.verity")])
    .family(F),
    Row::done(
        "veritytab",
        Kind::Text(Some(|plan, value| { plan.verity.tab = verity::switch(value)?; Ok(()) })),
        "Whether the image's veritytab is used.",
    )
    .syntax("yes or no")
    .bare()
    .absent("yes")
    .aliases(&[super::same("rd.veritytab")])
        .family(F),
    Row::done(
        "systemd.verity_root_data",
        Kind::Text(Some(|plan, value| { plan.verity.root.data = verity::device(value)?; Ok(()) })),
        "Data device of that verity volume (root).",
    )
    .syntax("a device as in `root=`")
    .family(F),
    Row::done(
        "systemd.verity_root_hash",
        Kind::Text(Some(|plan, value| { plan.verity.root.hash = verity::device(value)?; Ok(()) })),
        "Hash device of that verity volume (root).",
    )
    .syntax("a device as in `root=`")
    .family(F),
    Row::done(
        "systemd.verity_root_options",
        Kind::Text(Some(|plan, value| verity::options(&mut plan.verity.root, value))),
        "Options of that verity volume (root), as in veritytab(5) and systemd-veritysetup@.service(8).",
    )
    .syntax("OPTION,...")
    .family(F),
    Row::done(
        "systemd.verity_usr_data",
        Kind::Text(Some(|plan, value| { plan.verity.usr.data = verity::device(value)?; Ok(()) })),
        "Data device of that verity volume (usr).",
    )
    .syntax("a device as in `root=`")
    .family(F),
    Row::done(
        "systemd.verity_usr_hash",
        Kind::Text(Some(|plan, value| { plan.verity.usr.hash = verity::device(value)?; Ok(()) })),
        "Hash device of that verity volume (usr).",
    )
    .syntax("a device as in `root=`")
    .family(F),
    Row::done(
        "systemd.verity_usr_options",
        Kind::Text(Some(|plan, value| verity::options(&mut plan.verity.usr, value))),
        "Options of that verity volume (usr), as in veritytab(5) and systemd-veritysetup@.service(8).",
    )
    .syntax("OPTION,...")
    .family(F),
];
