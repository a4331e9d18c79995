//! The drivers of a universal image: what dracut's generic image has, by directory.

use std::collections::BTreeSet;

use engine::modules::Class;

use crate::kernel::Kernel;

/// Directories below `kernel/` that are taken as a whole, besides those of storage and input ([`Class::of_path`]).
const DIRECTORIES: [&str; 10] = [
    "arch/x86/crypto/",
    "arch/arm64/crypto/",
    "arch/powerpc/crypto/",
    "arch/s390/crypto/",
    "crypto/",
    "drivers/char/tpm/",
    "drivers/firmware/",
    "drivers/usb/typec/",
    "drivers/watchdog/",
    "fs/nls/",
];

/// Directories of storage that never hold the root of this machine: targets that serve disks to others, file systems
/// that need user space or a cluster, test drivers, raw flash.
const LEFT_OUT: [&str; 31] = [
    "drivers/block/drbd/",
    "drivers/block/null_blk/",
    "drivers/block/rnbd/",
    "drivers/cxl/",
    "drivers/firmware/efi/test/",
    "drivers/hid/intel-ish-hid/",
    "drivers/input/gameport/",
    "drivers/input/joystick/",
    "drivers/input/mouse/",
    "drivers/input/tablet/",
    "drivers/input/touchscreen/",
    "drivers/mtd/",
    "drivers/nvme/target/",
    "drivers/scsi/cxgbi/",
    "drivers/scsi/pcmcia/",
    "drivers/tty/",
    "drivers/usb/host/isp",
    "drivers/xen/xen-pciback/",
    "fs/9p/",
    "fs/afs/",
    "fs/ceph/",
    "fs/coda/",
    "fs/dlm/",
    "fs/gfs2/",
    "fs/jffs2/",
    "fs/nfs",
    "fs/ocfs2/",
    "fs/orangefs/",
    "fs/smb/",
    "fs/ubifs/",
    "fs/lockd/",
];

/// All modules that a universal image starts from; dependencies are not among them.
#[must_use]
pub fn start(kernel: &Kernel) -> BTreeSet<String> {
    let wanted = |path: &str| {
        let inner = path.strip_prefix("kernel/").unwrap_or(path);
        let named = DIRECTORIES.iter().any(|dir| inner.starts_with(dir));
        (named || Class::of_path(path) != Class::Rest) && !LEFT_OUT.iter().any(|dir| inner.starts_with(dir))
    };
    kernel.paths.iter().filter(|(_, path)| wanted(path)).map(|(name, _)| name.clone()).collect()
}
