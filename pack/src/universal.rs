//! The drivers of a universal image: what dracut's generic image has for local disks and keyboards, by directory.

use std::collections::BTreeSet;

use engine::modules::Class;

use crate::kernel::Kernel;

/// Directories below `kernel/` that are taken as a whole, besides those of storage and input ([`Class::of_path`]).
const DIRECTORIES: [&str; 7] = [
    "arch/x86/crypto/",
    "arch/arm64/crypto/",
    "arch/powerpc/crypto/",
    "arch/s390/crypto/",
    "crypto/",
    "drivers/char/tpm/",
    "drivers/firmware/",
];

/// Directories of storage and input that never hold the root of this machine or a keyboard: drivers that serve disks
/// to others, file systems that need a network, a cluster or a virtual machine's host, raw flash, pointers and games.
const LEFT_OUT: [&str; 28] = [
    "drivers/block/drbd/",
    "drivers/block/null_blk/",
    "drivers/block/rnbd/",
    "drivers/cxl/",
    "drivers/firmware/efi/test/",
    "drivers/hid/amd-sfh-hid/",
    "drivers/hid/intel-ish-hid/",
    "drivers/mtd/",
    "drivers/nvme/target/",
    "drivers/scsi/cxgbi/",
    "drivers/scsi/pcmcia/",
    "drivers/xen/xen-pciback/",
    "fs/9p/",
    "fs/afs/",
    "fs/cachefiles/",
    "fs/ceph/",
    "fs/coda/",
    "fs/dlm/",
    "fs/gfs2/",
    "fs/jffs2/",
    "fs/lockd/",
    "fs/netfs/",
    "fs/nfs",
    "fs/ocfs2/",
    "fs/orangefs/",
    "fs/smb/",
    "fs/ubifs/",
    "fs/vboxsf/",
];

/// Single modules of the same kinds, tapes, and what only tests use. Those at the end do nothing without a network driver or
/// a daemon of their own, and would bring the largest network drivers along.
const LEFT_OUT_MODULES: [&str; 52] = [
    "ch",
    "hid_axff",
    "hid_betopff",
    "hid_bigbenff",
    "hid_cp2112",
    "hid_creative_sb0540",
    "hid_dr",
    "hid_emsff",
    "hid_ft260",
    "hid_gaff",
    "hid_gfrm",
    "hid_gt683r",
    "hid_holtekff",
    "hid_kye",
    "hid_lcpower",
    "hid_led",
    "hid_mcp2221",
    "hid_megaworld",
    "hid_mf",
    "hid_nintendo",
    "hid_picolcd",
    "hid_pl",
    "hid_playstation",
    "hid_prodikeys",
    "hid_sensor_custom",
    "hid_sensor_hub",
    "hid_sjoy",
    "hid_sony",
    "hid_steam",
    "hid_thrustmaster",
    "hid_tmff",
    "hid_u2fzero",
    "hid_uclogic",
    "hid_udraw_ps3",
    "hid_waltop",
    "hid_wiimote",
    "hid_zpff",
    "scsi_debug",
    "st",
    "tcrypt",
    "wacom",
    "cachefiles",
    "md_cluster",
    "rbd",
    "tcm_qla2xxx",
    "xen_scsiback",
    "bnx2fc",
    "bnx2i",
    "csiostor",
    "nvme_rdma",
    "qedf",
    "qedi",
];

/// Code pages that FAT and ISO 9660 are mounted with; the file systems bring the default ones themselves.
const CODE_PAGES: [&str; 6] =
    ["nls_cp850", "nls_cp852", "nls_cp932", "nls_cp936", "nls_cp1252", "nls_iso8859_15"];

/// All modules that a universal image starts from; dependencies are not among them.
#[must_use]
pub fn start(kernel: &Kernel) -> BTreeSet<String> {
    let wanted = |path: &str| {
        let inner = path.strip_prefix("kernel/").unwrap_or(path);
        let named = DIRECTORIES.iter().any(|dir| inner.starts_with(dir));
        (named || Class::of_path(path) != Class::Rest) && !LEFT_OUT.iter().any(|dir| inner.starts_with(dir))
    };
    let named = |name: &str, path: &str| match path.contains("/fs/nls/") {
        true => CODE_PAGES.contains(&name),
        false => wanted(path) && !LEFT_OUT_MODULES.contains(&name),
    };
    kernel.paths.iter().filter(|(name, path)| named(name, path)).map(|(name, _)| name.clone()).collect()
}
