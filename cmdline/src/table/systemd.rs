//! Parameters of systemd, in the initramfs or in the real root.

use super::{Family, Kind, Row};

const F: Family = Family::Systemd;

pub(super) static ROWS: &[Row] = &[
    Row::passed("fsck.mode", "No file system is checked in the initramfs; the real root does it.")
        .syntax("auto, force or skip")
        .family(F)
        .must(),
    Row::passed("fsck.repair", "No file system is checked in the initramfs; the real root does it.")
        .syntax("preen, yes or no")
        .family(F)
        .must(),
    Row::inert("rd.systemd.*", "there is no systemd in this initramfs.").family(F),
    Row::passed("systemd.*", "Read by the real root's systemd.").family(F).must(),
    Row::later("systemd.gpt_auto", Kind::Flag(false, None), "Finds partitions by their GPT type.").family(F),
    Row::later(
        "rd.systemd.gpt_auto",
        Kind::Flag(false, None),
        "Finds partitions by their GPT type in the initramfs.",
    )
    .family(F),
    Row::later("rd.systemd.mount-extra", Kind::List(None), "A further mount in the initramfs.").family(F),
    Row::later("rd.systemd.swap-extra", Kind::List(None), "A further swap in the initramfs.").family(F),
    Row::passed("fstab", "Whether the real root's systemd reads fstab.").family(F),
    Row::passed("udev.*", "Read by the real root's udev.").family(F),
    Row::inert("rd.udev.*", "there is no udev in this initramfs.").family(F),
    Row::passed("quota.*", "Read by the real root.").family(F),
    Row::passed("quotacheck.*", "Read by the real root.").family(F),
    Row::passed("SYSTEMD_*", "Environment of the real root's systemd.").family(F),
];
