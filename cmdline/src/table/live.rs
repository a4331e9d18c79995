//! Live media and writable overlays.

use super::{Family, Kind, Row, means, old};

const F: Family = Family::Live;

pub(super) static ROWS: &[Row] = &[
    Row::later("rd.live.image", Kind::Flag(false, None), "Reads `root=X` as `root=live:X`.")
        .aliases(&[means("liveimg", "1")])
        .family(F)
        .must(),
    Row::later("rd.live.dir", Kind::Text(None), "Directory of the image on the medium.")
        .absent("`LiveOS`")
        .aliases(&[old("live_dir")])
        .family(F)
        .must(),
    Row::later("rd.live.squashimg", Kind::Text(None), "File name of the image.")
        .absent("`squashfs.img`")
        .family(F)
        .must(),
    Row::later("rd.live.ram", Kind::Flag(false, None), "Copies the image into memory.")
        .aliases(&[means("live_ram", "1")])
        .family(F)
        .must(),
    Row::later("rd.live.check", Kind::Presence(None), "Verifies the checksum of the medium.")
        .aliases(&[old("check")])
        .family(F),
    Row::later("rd.live.debug", Kind::Flag(false, None), "Traces the handling of live media.")
        .aliases(&[old("rdlivedebug")])
        .family(F)
        .legacy(),
    Row::later(
        "rd.minmem",
        Kind::Int { default: 1024, min: 0, max: 1 << 40, set: None },
        "Memory in MiB that has to stay free.",
    )
    .family(F),
    Row::later("rd.overlay", Kind::Text(None), "Puts a writable overlay on root.")
        .syntax("nothing, tmpfs:[OPTIONS], DEVICE[:{PATH,auto}] or none")
        .bare()
        .aliases(&[old("rd.live.overlay.overlayfs"), old("rd.live.overlay"), old("overlay")])
        .family(F)
        .must(),
    Row::later(
        "rd.overlay.readonly",
        Kind::Flag(false, None),
        "Uses the persistent overlay read-only below a temporary one.",
    )
    .aliases(&[
        old("rd.live.overlay.readonly"),
        old("rd.live.overlayfs.readonly"),
        means("readonly_overlay", "1"),
    ])
    .family(F),
    Row::later("rd.overlay.reset", Kind::Flag(false, None), "Empties the persistent overlay first.")
        .aliases(&[old("rd.live.overlay.reset"), means("reset_overlay", "1")])
        .family(F),
    Row::later("rd.overlay.crypt", Kind::Text(None), "An encrypted overlay.")
        .syntax("DEVICE[,OPTION=VALUE...]")
        .family(F),
    Row::later(
        "rd.live.overlay.size",
        Kind::Int { default: 32_768, min: 0, max: 1 << 40, set: None },
        "Size in MiB of a temporary snapshot.",
    )
    .family(F),
    Row::later("rd.live.overlay.thin", Kind::Flag(false, None), "Thin provisioning for the snapshot.")
        .family(F),
    Row::later("rd.live.overlay.cowfs", Kind::Text(None), "File system of the persistence partition.")
        .syntax("ext4, xfs or btrfs")
        .absent("ext4")
        .family(F),
    Row::later(
        "rd.live.overlay.nouserconfirmprompt",
        Kind::Flag(false, None),
        "Does not wait for Enter when the overlay is missing.",
    )
    .family(F)
    .must(),
    Row::later("rd.writable.fsimg", Kind::Flag(false, None), "Uses the image in memory without an overlay.")
        .aliases(&[old("writable_fsimg")])
        .family(F),
    Row::later("iso-scan/filename", Kind::Text(None), "An ISO file on some device.")
        .syntax("PATH")
        .family(F)
        .must(),
    Row::later("live.updates", Kind::Text(None), "An archive laid over the live root.")
        .syntax("URL")
        .family(F),
    Row::later("rd.systemd.pull", Kind::List(None), "Downloads an image as root.").family(F),
    Row::later("systemd.volatile", Kind::Text(None), "A volatile root.")
        .syntax("no, yes, state or overlay")
        .family(F),
];
