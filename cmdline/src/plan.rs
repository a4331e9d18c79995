//! The typed outcome of reading the command line: what is wanted, with every default made explicit.

use std::time::Duration;

use crate::verity::VerityPlan;

/// How the wanted root file system is named.
///
/// Source: systemd's and dracut's `root=` forms plus the kernel's own (`init/do_mounts.c`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootSpec {
    /// `/dev/PATH`: a node or one of the links below `/dev` (`/dev/mapper/NAME`, `/dev/disk/by-...`).
    Path(String),
    /// `UUID=`: file-system UUID as blkid prints it; compared without regard to case.
    Uuid(String),
    /// `LABEL=`: file-system label, byte for byte, decoded (no udev escapes).
    Label(String),
    /// `PARTUUID=`: GPT partition GUID, or `XXXXXXXX-NN` of an MBR; compared without regard to case.
    PartUuid {
        /// The UUID itself.
        uuid: String,
        /// `/PARTNROFF=N`: take the partition whose number is this much away from the named one's.
        offset: i32,
    },
    /// `PARTLABEL=`: GPT partition name.
    PartLabel(String),
    /// `MAJ:MIN` in decimal or the kernel's hexadecimal form.
    DevNum {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A form that no part of the program handles yet; kept so that the failure can name it.
    Unsupported(String),
}

/// Read-only or read-write, when the command line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `ro`
    ReadOnly,
    /// `rw`
    ReadWrite,
}

/// What is wanted of the root file system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RootPlan {
    /// `root=`; `None` when absent.
    pub spec: Option<RootSpec>,
    /// `rootfstype=`, split at commas; empty means: what probing finds.
    pub fstype: Vec<String>,
    /// `rootflags=`; `None` means that the root's own fstab may be asked for options.
    pub flags: Option<String>,
    /// `ro` and `rw`; `rw` wins when both are present. `None` means that fstab decides.
    pub access: Option<Access>,
    /// `rd.fstab`: whether the root's own `/etc/fstab` may supply options for `/`.
    pub fstab: bool,
    /// `init=`.
    pub init: Option<String>,
    /// Words for the real init, in order, without its own name.
    pub init_args: Vec<String>,
}

/// A separate `/usr` that the command line names (systemd-fstab-generator(8)).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsrPlan {
    /// `mount.usr=`, or the verity device of `usrhash=`; `None` leaves it to the root's own fstab.
    pub spec: Option<RootSpec>,
    /// `mount.usrfstype=`, as `rootfstype=`.
    pub fstype: Vec<String>,
    /// `mount.usrflags=`
    pub flags: Option<String>,
}

/// By what a `rd.luks.*` selector names a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LuksIdKind {
    /// `rd.luks.uuid=`: LUKS header UUID (substring, dashes and case ignored).
    Uuid,
    /// `rd.luks.partuuid=`: partition UUID (substring).
    PartUuid,
    /// `rd.luks.serial=`: short drive serial (substring).
    Serial,
}

/// One container that is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LuksSelector {
    /// What `id` is compared with.
    pub kind: LuksIdKind,
    /// The id as typed, without a `luks-` or `keysource:` prefix.
    pub id: String,
    /// `keysource:`: the container only holds key files; ask at once, close it before the hand-off.
    pub keysource: bool,
    /// Mapping name from `rd.luks.name=`; `None` means `luks-ID`.
    pub name: Option<String>,
}

/// Where a key file lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyDevice {
    /// In the initramfs itself.
    Initramfs,
    /// On the device with this kernel name or path below `/dev`.
    Path(String),
    /// On a file system with this UUID (prefix).
    Uuid(String),
    /// On a file system with this label.
    Label(String),
    /// In the initramfs if it is there, else on any device that appears.
    Any,
}

/// Which containers a key file is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyTarget {
    /// All of them.
    All,
    /// The one with this LUKS UUID (prefix).
    Uuid(String),
    /// The one with this label.
    Label(String),
    /// The one on this device.
    Path(String),
}

/// One `rd.luks.key=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LuksKey {
    /// Absolute path of the key file on its device.
    pub path: String,
    /// Where it lies.
    pub device: KeyDevice,
    /// What it opens.
    pub target: KeyTarget,
}

/// Which containers may pass discards through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Discards {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// Those whose LUKS UUID contains one of these.
    Some(Vec<String>),
}

/// `rd.luks.*` and its systemd aliases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LuksPlan {
    /// `rd.luks`; false means: leave every container alone.
    pub enabled: bool,
    /// Explicit containers; when not empty these and only these are opened.
    pub selectors: Vec<LuksSelector>,
    /// `rd.luks.name=` of LUKS UUIDs where partition UUIDs or serial numbers select: (UUID, name).
    pub names: Vec<(String, String)>,
    /// `rd.luks.key=`, in order.
    pub keys: Vec<LuksKey>,
    /// `rd.luks.key.tout=`: how long to wait for a key device before asking for a passphrase.
    pub key_timeout: Duration,
    /// `rd.luks.timeout=`: limit of the passphrase prompt; `None` is for ever.
    pub prompt_timeout: Option<Duration>,
    /// `rd.luks.allow-discards`.
    pub discards: Discards,
    /// `rd.luks.crypttab`: whether the image's crypttab is used.
    pub crypttab: bool,
    /// `rd.luks.options=`: (LUKS UUID or `None` for all, crypttab options; see
    /// [`CryptOptions::read`](crate::crypttab::CryptOptions::read)).
    pub options: Vec<(Option<String>, Vec<String>)>,
    /// `rd.luks.data=`: (LUKS UUID, device that holds the data of a detached header with that UUID).
    pub data: Vec<(String, RootSpec)>,
}

/// `rd.lvm.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LvmPlan {
    /// `rd.lvm`; false means: no volume is activated.
    pub enabled: bool,
    /// `rd.lvm.vg=`: groups to activate; with [`Self::lvs`] these and only these.
    pub vgs: Vec<String>,
    /// `rd.lvm.lv=`: volumes to activate, as (group, volume).
    pub lvs: Vec<(String, String)>,
    /// `rd.lvm.conf`: whether the image's lvm.conf and lvmlocal.conf are used.
    pub conf: bool,
}

/// `rd.md.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MdPlan {
    /// `rd.md`; false means: no array is assembled.
    pub enabled: bool,
    /// `rd.md.uuid=`: UUIDs of the only arrays to assemble, in the order in which they are printed.
    pub uuids: Vec<[u8; 16]>,
    /// `rd.md.conf`: whether the image's mdadm.conf is used.
    pub conf: bool,
    /// `rd.md.waitclean`: root is mounted once no array is being resynchronised.
    pub wait_clean: bool,
    /// `rd.md.imsm`: whether Intel's RAID members are md's; else they are device-mapper's.
    pub imsm: bool,
    /// `rd.md.ddf`: whether DDF members are md's.
    pub ddf: bool,
}

/// `rd.dm.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmPlan {
    /// `rd.dm`; false means: BIOS RAID members are ordinary disks.
    pub enabled: bool,
    /// `rd.dm.uuid=`: what the names of the only sets to map begin with.
    pub sets: Vec<String>,
}

/// `rd.multipath`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Multipath {
    /// If the image has a configuration.
    #[default]
    Configured,
    /// With the usual configuration if the image has none.
    Default,
    /// Never.
    Off,
}

/// How long to wait for the wanted root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// `rootwait`: never give up.
    Forever,
    /// Give up when nothing has changed for this long (`rd.retry=`, default 180 s).
    Quiet(Duration),
    /// Give up this long after start (`rd.timeout=`, `rootwait=SECONDS`), whatever happens.
    Total(Duration),
}

/// What to do when the boot cannot go on and no shell is allowed, or after the shell is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmergencyAction {
    /// `rd.emergency=reboot`
    Reboot,
    /// `rd.emergency=poweroff`
    PowerOff,
    /// `rd.emergency=halt`
    Halt,
}

/// `rd.break=` points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreakPoint {
    /// After the command line was read.
    Cmdline,
    /// Before the uevent socket is opened.
    PreUdev,
    /// Before coldplug.
    PreTrigger,
    /// When the first wait begins.
    Initqueue,
    /// Before root is mounted.
    PreMount,
    /// While root is being mounted: after the mount, before its init is checked.
    Mount,
    /// Before the hand-off begins.
    PrePivot,
    /// Just before switch_root.
    Cleanup,
}

/// What happens on failure and at break points.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailurePlan {
    /// `rd.shell`; `None` means absent: on for ordinary failures, off for fatal ones.
    pub shell: Option<bool>,
    /// `rd.emergency=`.
    pub emergency: Option<EmergencyAction>,
    /// `rd.break=`; sorted, without duplicates.
    pub breaks: Vec<BreakPoint>,
    /// `panic=` in seconds: 0 hangs, negative reboots at once; `None` when absent.
    pub panic: Option<i64>,
}

/// Drivers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModulePlan {
    /// `modprobe.blacklist=`, `rd.driver.blacklist=`; names normalised to `_`.
    pub blacklist: Vec<String>,
    /// `rd.driver.pre=`, `modules_load=`, `rd.modules_load=`: loaded first, in order; names or aliases.
    pub pre: Vec<String>,
    /// `rd.driver.post=`: held back until the devices have settled.
    pub post: Vec<String>,
    /// `MODULE.PARAM[=VALUE]`: (module, `param` or `param=value`), in order.
    pub params: Vec<(String, String)>,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogPlan {
    /// `rd.debug`
    pub debug: bool,
    /// `rd.info`
    pub info: bool,
    /// `quiet`
    pub quiet: bool,
    /// `loglevel=`; `None` when absent. The kernel acts on it by itself.
    pub loglevel: Option<u8>,
}

/// Everything the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The wanted root.
    pub root: RootPlan,
    /// Its `/usr`.
    pub usr: UsrPlan,
    /// Encrypted containers.
    pub luks: LuksPlan,
    /// MD arrays.
    pub md: MdPlan,
    /// BIOS RAID through device-mapper.
    pub dm: DmPlan,
    /// LVM volumes.
    pub lvm: LvmPlan,
    /// `roothash=` and its companions.
    pub verity: VerityPlan,
    /// `rd.multipath`
    pub multipath: Multipath,
    /// `rd.auto`: `None` is on demand, `Some(true)` everything eagerly, `Some(false)` only the explicit.
    pub auto: Option<bool>,
    /// `rd.retry=`, `rd.timeout=`, `rootwait`.
    pub patience: Patience,
    /// `rootward.degraded=`: grace before a degraded start; `None` is never.
    pub degraded: Option<Duration>,
    /// Failure handling.
    pub failure: FailurePlan,
    /// Drivers.
    pub modules: ModulePlan,
    /// Logging.
    pub log: LogPlan,
    /// `rd.vconsole.keymap=`; `None` is the image's own.
    pub keymap: Option<String>,
    /// `rd.hostonly`; false means: ignore every configuration file that the image was built with. The image's
    /// command line is left out already, and `luks.crypttab` is false then.
    pub hostonly: bool,
}

impl Default for LuksPlan {
    fn default() -> Self {
        LuksPlan {
            enabled: true,
            selectors: Vec::new(),
            names: Vec::new(),
            keys: Vec::new(),
            key_timeout: Duration::from_secs(10),
            prompt_timeout: None,
            discards: Discards::None,
            crypttab: true,
            options: Vec::new(),
            data: Vec::new(),
        }
    }
}

impl Default for MdPlan {
    fn default() -> Self {
        MdPlan { enabled: true, uuids: Vec::new(), conf: true, wait_clean: false, imsm: true, ddf: true }
    }
}

impl Default for DmPlan {
    fn default() -> Self {
        DmPlan { enabled: true, sets: Vec::new() }
    }
}

impl Default for LvmPlan {
    fn default() -> Self {
        LvmPlan { enabled: true, vgs: Vec::new(), lvs: Vec::new(), conf: true }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            root: RootPlan { fstab: true, ..RootPlan::default() },
            usr: UsrPlan::default(),
            luks: LuksPlan::default(),
            verity: VerityPlan::default(),
            multipath: Multipath::default(),
            md: MdPlan::default(),
            dm: DmPlan::default(),
            lvm: LvmPlan::default(),
            auto: None,
            patience: Patience::Quiet(Duration::from_secs(180)),
            degraded: Some(Duration::from_secs(10)),
            failure: FailurePlan::default(),
            modules: ModulePlan::default(),
            log: LogPlan::default(),
            keymap: None,
            hostonly: true,
        }
    }
}
