//! What the image and the machine bring along besides the command line.

use std::collections::BTreeSet;

use cmdline::crypttab::CrypttabEntry;
use cmdline::integritytab::IntegrityVolume;
use cmdline::mdadm_conf::MdadmConf;
use cmdline::multipath;
use cmdline::verity::VerityVolume;

use crate::assemble::lvm::LvmConf;

/// The image's crypttab(5). This path and the following ones are below the image's root, without the first slash;
/// `rootward build` brings what the machine has of them.
pub const CRYPTTAB: &str = "etc/crypttab";
/// Where systemd looks for keys that nobody names.
pub const KEY_DIRECTORY: &str = "etc/cryptsetup-keys.d";
/// The image's veritytab(5).
pub const VERITYTAB: &str = "etc/veritytab";
/// The image's integritytab(5).
pub const INTEGRITYTAB: &str = "etc/integritytab";
/// lvm.conf(5), and what goes before it.
pub const LVM_CONFS: [&str; 2] = ["etc/lvm/lvm.conf", "etc/lvm/lvmlocal.conf"];
/// mdadm.conf(5), where mdadm itself looks for it.
pub const MDADM_CONFS: [&str; 2] = ["etc/mdadm.conf", "etc/mdadm/mdadm.conf"];
/// Their drop-ins, `*.conf`.
pub const MDADM_DIRECTORIES: [&str; 2] = ["etc/mdadm.conf.d", "etc/mdadm/mdadm.conf.d"];
/// The machine's name, which decides whose arrays are its own.
pub const HOSTNAME: &str = "etc/hostname";
/// Where libsystemd looks for the machine's id, whatever lvm.conf says; with a slash, as lvm.conf has its paths.
pub const MACHINE_ID: &str = "/etc/machine-id";
/// multipath.conf(5).
pub const MULTIPATH_CONF: &str = "etc/multipath.conf";
/// Its drop-ins, `*.conf`.
pub const MULTIPATH_DIRECTORY: &str = "etc/multipath/conf.d";
/// Which map has which name.
pub const MULTIPATH_BINDINGS: &str = "etc/multipath/bindings";
/// Which devices have had several paths.
pub const MULTIPATH_WWIDS: &str = "etc/multipath/wwids";
/// Console keymaps, `NAME.bmap`, as `loadkeys --bkeymap` of kbd writes them.
pub const KEYMAP_DIRECTORY: &str = "etc/rootward/keymaps";
/// The keymap that is set when the command line names none; a link to one of the others.
pub const DEFAULT_KEYMAP: &str = "default";

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
