//! Root, its options, its init, and automatic assembly.

use super::{Expected, Family, Kind, Row, SetText, means, old};
use crate::plan::{Access, RootSpec};
use crate::root::{is_discovery, root_spec};

const F: Family = Family::Root;

const DEVICE: Expected = "/dev/NAME, UUID=, LABEL=, PARTUUID= or PARTLABEL=";

const ROOT: SetText = |plan, value| {
    plan.root.spec = (!value.is_empty()).then(|| root_spec(value));
    if value.is_empty() { Err(DEVICE) } else { Ok(()) }
};

const INIT: SetText = |plan, value| {
    plan.root.init = None;
    if !value.starts_with('/') {
        return Err("an absolute path inside the real root");
    }
    plan.root.init = Some(value.to_owned());
    Ok(())
};

const FSTYPE: SetText = |plan, value| {
    plan.root.fstype = fstypes(value);
    Ok(())
};

const USR: SetText = |plan, value| {
    // What a word of discovery means, the root hash tells.
    let usable = |spec: &RootSpec| !matches!(spec, RootSpec::Unsupported(_)) || is_discovery(value);
    plan.usr.spec = Some(root_spec(value)).filter(usable);
    if plan.usr.spec.is_none() { Err(DEVICE) } else { Ok(()) }
};

const USR_FSTYPE: SetText = |plan, value| {
    plan.usr.fstype = fstypes(value);
    Ok(())
};

const USR_FLAGS: SetText = |plan, value| {
    plan.usr.flags = Some(value.to_owned());
    Ok(())
};

fn fstypes(value: &str) -> Vec<String> {
    value.split(',').filter(|name| !name.is_empty() && *name != "auto").map(str::to_owned).collect()
}

const FLAGS: SetText = |plan, value| {
    plan.root.flags = Some(value.to_owned());
    Ok(())
};

pub(super) static ROWS: &[Row] = &[
    Row::done(
        "root",
        Kind::Text(Some(ROOT)),
        "The root file system. `block:` may stand in front; `MAJ:MIN`, the kernel's hexadecimal device numbers and `PARTUUID=.../PARTNROFF=N` are understood too, and links below `/dev/disk/by-uuid`, `by-label`, `by-partuuid` and `by-partlabel` mean what they name. With `roothash`, systemd's `gpt-auto`, `gpt-auto-force`, `dissect` and `dissect-force` mean `/dev/mapper/root`; without, partitions are not found by their GPT type yet. Network, live and shared roots are not implemented yet.",
    )
    .syntax(DEVICE)
    .absent("none: the boot stops with an explanation")
    .family(F)
    .must(),
    Row::done(
        "rootfstype",
        Kind::Text(Some(FSTYPE)),
        "File-system type of root, used only where probing finds none.",
    )
    .syntax("TYPE[,TYPE...]")
    .absent("what probing finds")
    .family(F)
    .must(),
    Row::done(
        "rootflags",
        Kind::Text(Some(FLAGS)),
        "Mount options of root; when present, even empty, the root's own fstab is not asked for options.",
    )
    .syntax("OPTION[,OPTION...]")
    .absent("the root's fstab")
    .family(F)
    .must(),
    Row::done(
        "ro",
        Kind::Flag(false, Some(|plan, on| plan.root.access = on.then_some(Access::ReadOnly))),
        "Root is mounted read-only.",
    )
    .family(F)
    .must(),
    Row::done(
        "rw",
        Kind::Flag(
            false,
            Some(|plan, on| {
                if on {
                    plan.root.access = Some(Access::ReadWrite);
                }
            }),
        ),
        "Root is mounted read-write; wins over `ro` wherever the two stand. With neither, the root's fstab decides.",
    )
    .family(F)
    .must(),
    Row::done(
        "rd.fstab",
        Kind::Flag(true, Some(|plan, on| plan.root.fstab = on)),
        "Whether the root's own `/etc/fstab` may supply the mount options of `/`.",
    )
    .aliases(&[means("rd_NO_FSTAB", "0")])
    .family(F)
    .must(),
    Row::done("init", Kind::Text(Some(INIT)), "The program that becomes the real init.")
        .syntax("an absolute path inside the real root")
        .absent("`/sbin/init`, then its usual places")
        .family(F)
        .must(),
    Row::done(
        "--",
        Kind::Grammar,
        "Ends the parameters. On the kernel command line every later word reaches the real init as it is; in a file later words are ignored.",
    )
    .family(F)
    .must(),
    Row::passed("rdinit", "The program of the initramfs; the kernel has used it by the time anything is read.")
        .syntax("PATH")
        .family(F),
    Row::done(
        "rd.auto",
        Kind::Tristate(Some(|plan, on| plan.auto = on)),
        "On: open and assemble everything. Off: only what is named by an explicit id. Absent: what the wanted root needs, when it needs it.",
    )
    .absent("on demand")
    .family(F)
    .must(),
    Row::done(
        "rd.hostonly",
        Kind::Flag(true, Some(|plan, on| plan.hostonly = on)),
        "Off: ignore the command line and configuration files that the image was built with, for a disk that moved to another machine.",
    )
    .family(F),
    Row::done(
        "rootward.degraded",
        Kind::Text(Some(|plan, value| {
            plan.degraded = match value {
                "never" | "infinity" => None,
                _ => Some(
                    crate::time::span(value).and_then(crate::time::Span::finite).ok_or("seconds, a time span, or never")?,
                ),
            };
            Ok(())
        })),
        "How long the device scan has to be quiet before an incomplete but safe array is started.",
    )
    .syntax("seconds, a time span, or never")
    .absent("10 s")
    .family(F)
    .must(),
    Row::later("rootfallback", Kind::List(None), "Devices to mount when root does not appear.")
        .syntax(DEVICE)
        .family(F),
    Row::later("root.journaldev", Kind::Text(None), "External journal device of an XFS root.")
        .syntax("/dev/NAME")
        .family(F),
    Row::done(
        "mount.usr",
        Kind::Text(Some(USR)),
        "Device of a separate `/usr`, which is mounted before the hand-over; `ro` and `rw` hold for it, too. With `usrhash`, `gpt-auto`, `gpt-auto-force`, `dissect` and `dissect-force` mean `/dev/mapper/usr`.",
    )
    .syntax(DEVICE)
    .absent("the verity device of `usrhash`, else what the root's fstab says")
    .family(F),
    Row::done("mount.usrfstype", Kind::Text(Some(USR_FSTYPE)), "File-system type of that `/usr`.")
        .syntax("TYPE[,TYPE...]")
        .absent("what probing finds")
        .family(F),
    Row::done("mount.usrflags", Kind::Text(Some(USR_FLAGS)), "Mount options of that `/usr`.")
        .syntax("OPTION[,OPTION...]")
        .absent("none")
        .family(F),
    Row::passed("rd.skipfsck", "No file system is checked in the initramfs, so there is nothing to skip.")
        .family(F)
        .must(),
    Row::passed("forcefsck", "The check is left to the real root.").family(F),
    Row::later("rd.convertfs", Kind::Flag(false, None), "Merges `/bin` and `/lib` into `/usr` once.").family(F).legacy(),
    Row::later("dm-mod.create", Kind::Text(None), "Device-mapper tables that the kernel builds by itself.")
        .syntax("kernel syntax")
        .family(F)
        .legacy(),
    Row::inert("real_init", "write init= instead.").syntax("PATH").aliases(&[old("rd.distroinit")]).family(F).legacy(),
];
