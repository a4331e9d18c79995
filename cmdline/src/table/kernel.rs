//! The kernel's own parameters and words for the real init.

use super::{Family, Kind, Row, Status, same};

const F: Family = Family::Kernel;

pub(super) static ROWS: &[Row] = &[
    Row::new(
        "single",
        Kind::InitWord,
        Status::Implemented,
        "A run-level word that the real init gets as an argument.",
    )
    .aliases(&[
        same("S"),
        same("s"),
        same("0"),
        same("1"),
        same("2"),
        same("3"),
        same("4"),
        same("5"),
        same("6"),
        same("7"),
        same("8"),
        same("9"),
        same("emergency"),
        same("rescue"),
        same("auto"),
        same("-b"),
        same("-s"),
    ])
    .family(F)
    .must(),
    Row::passed("debug", "The kernel's console level; see `rd.debug` for ours.").family(F).must(),
    Row::passed("ignore_loglevel", "The kernel's console level.").family(F).must(),
    Row::passed("printk.devkmsg", "The kernel's limit for the log of programs.")
        .syntax("on, off or ratelimit")
        .family(F),
    Row::passed("console", "The consoles; the last one is `/dev/console`.").family(F).must(),
    Row::passed("module_blacklist", "Modules that the kernel refuses to load.").family(F).must(),
    Row::passed("initcall_*", "The kernel's start-up.").family(F),
    Row::passed("nomodeset", "Graphics.").family(F).legacy(),
    Row::passed("vga", "Graphics.").family(F).legacy(),
    Row::passed("video", "Graphics.").family(F).legacy(),
    Row::passed("ima_*", "Integrity measurement.").family(F),
    Row::passed("evm", "Integrity measurement.").family(F),
    Row::passed("lsm", "Security modules.").family(F),
    Row::passed("security", "Security modules.").family(F),
    Row::passed("lockdown", "Security modules.").family(F),
    Row::passed("initrd", "Where the boot loader found the initramfs.").family(F),
];
