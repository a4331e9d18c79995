//! What the image and the machine bring along besides the command line.

use std::collections::BTreeSet;

use cmdline::crypttab::CrypttabEntry;
use cmdline::integritytab::IntegrityVolume;
use cmdline::mdadm_conf::MdadmConf;
use cmdline::multipath;
use cmdline::verity::VerityVolume;

use crate::assemble::lvm::LvmConf;

/// Facts that are read once at start.
#[derive(Debug, Clone, Default)]
pub struct ImageFacts {
    /// The image's `/etc/crypttab`.
    pub crypttab: Vec<CrypttabEntry>,
    /// The image's `/etc/veritytab`.
    pub veritytab: Vec<VerityVolume>,
    /// The image's `/etc/integritytab`.
    pub integritytab: Vec<IntegrityVolume>,
    /// Key files of the image that are used without being named as such: those that a key on any device may turn out to
    /// be, and those of `/etc/cryptsetup-keys.d`.
    pub key_files: BTreeSet<String>,
    /// The image's `/etc/lvm/lvm.conf` and `/etc/lvm/lvmlocal.conf`.
    pub lvm: LvmConf,
    /// Major and minor number of the kernel's version; 0.0 when unknown.
    pub kernel: (u32, u32),
    /// The image's mdadm.conf; empty where it is not to be used.
    pub mdadm: MdadmConf,
    /// The machine's host name, as far as it is known this early; empty where it is not.
    pub hostname: String,
    /// The image's multipath configuration; `None` means that there is no multipathing.
    pub multipath: Option<Box<multipath::Config>>,
}
