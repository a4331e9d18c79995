//! What the engine is told.

use std::fmt;

use ondisk::{Content, Member};

use crate::fstab::Entry;

mod scsi;

pub use scsi::ScsiFacts;

/// A block device's kernel name (`vda1`, `dm-0`), with `!` already turned into `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DevName(pub String);

impl fmt::Display for DevName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for DevName {
    fn from(name: &str) -> Self {
        DevName(name.to_owned())
    }
}

/// What sysfs says of a block device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceFacts {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// The whole disk, for a partition.
    pub parent: Option<DevName>,
    /// Partition number.
    pub partn: Option<u32>,
    /// Size in bytes; 0 for a device without medium.
    pub size: u64,
    /// Logical sector size in bytes.
    pub sector_size: u32,
    /// The kernel refuses writes.
    pub read_only: bool,
    /// `diskseq`: tells a re-plugged disk from the one that had its name before; 0 when unknown.
    pub diskseq: u64,
    /// Device-mapper name and UUID; present only once the device has a live table and is not suspended.
    pub dm: Option<DmFacts>,
    /// MD identity; present only while the array runs.
    pub md: Option<MdFacts>,
    /// Devices below this one (sysfs `slaves/`).
    pub slaves: Vec<DevName>,
    /// Serial number as udev's `ID_SERIAL_SHORT`.
    pub serial: Option<String>,
    /// Link names below `/dev/disk/by-id` that need no content, e.g. `virtio-disk0`; without `-partN`.
    pub ids: Vec<String>,
    /// Link name below `/dev/disk/by-path`, without `-partN`.
    pub path: Option<String>,
    /// What multipath needs of a SCSI disk; read only where multipath is configured.
    pub scsi: Option<Box<ScsiFacts>>,
    /// What tables over an LVM physical volume depend on; read only of those, and kept by reports that lack it.
    pub queue: Option<QueueFacts>,
}

/// What sysfs says of the request queue of a device, or of a partition's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueFacts {
    /// `queue/read_ahead_kb`, in 512-byte sectors; 0 when unknown.
    pub read_ahead: u32,
    /// `queue/dax`: it is persistent memory.
    pub dax: bool,
}

/// Device-mapper identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmFacts {
    /// Name below `/dev/mapper`.
    pub name: String,
    /// `CRYPT-LUKS2-...`, `LVM-...`; empty when none.
    pub uuid: String,
}

/// A running MD array.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MdFacts {
    /// Path that mdadm's map gives it (`/dev/md/NAME`); empty when it is not listed there.
    pub path: String,
    /// UUID that the map gives it, as it is written there; empty when it is not listed.
    pub uuid: String,
}

/// Number of a command; unique within one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// Handle of a secret that the caller keeps; the engine never sees the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretId(pub u64);

/// Number of a question on the consoles, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct QuestionId(pub u64);

/// A device on some bus for which no driver was found in the image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Driverless {
    /// Path below `/sys`, e.g. `devices/pci0000:00/0000:00:04.0`.
    pub devpath: String,
    /// Its modalias.
    pub modalias: String,
}

/// State of driver loading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriverFacts {
    /// Modules that storage may need and that are not loaded yet.
    pub pending: usize,
    /// Devices that no packed or built-in module matches.
    pub driverless: Vec<Driverless>,
    /// Modules that could not be loaded: name and errno.
    pub failed: Vec<(String, i32)>,
}

/// What a finished command brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done; what it made shows up as events of its own.
    Done,
    /// A key was read; it can be tried on containers.
    Secret(SecretId),
    /// A superblock was read.
    Member(Box<Member>),
    /// Root is mounted, and its fstab has this entry for `/usr`.
    Usr(Box<Entry>),
    /// The size in 512-byte sectors that a volume's own metadata say.
    Length(u64),
    /// A block device was made and has this number.
    Made {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The operating system refused: what was attempted, on what, errno.
    Os {
        /// E.g. `mount /dev/vda1 as ext4`.
        what: String,
        /// Linux errno.
        errno: i32,
    },
    /// The operating system refused one of several devices: which, what was attempted, errno.
    Member {
        /// The device.
        device: DevName,
        /// E.g. `add sda1 to md127`.
        what: String,
        /// Linux errno.
        errno: i32,
    },
    /// The secret opens no keyslot of this container.
    WrongSecret,
    /// The device vanished while the command ran.
    Gone,
    /// The real init cannot be executed: each candidate with the reason.
    NoInit(Vec<(String, String)>),
    /// A named module is not in the image and not built in.
    NoModule(String),
    /// A key file is not where the command line says.
    NoKeyFile(String),
    /// Nothing was typed for a PIN: the operator wants to do without the token.
    NoPin,
    /// A key was found and cannot be used: why, as advice to an operator. The container is not to blame.
    BadKey(String),
    /// Anything else, as advice to an operator.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Os { what, errno } | Failure::Member { what, errno, .. } => {
                write!(f, "cannot {what}: errno {errno}")
            }
            Failure::WrongSecret => f.write_str("the passphrase or key opens no keyslot"),
            Failure::Gone => f.write_str("the device vanished"),
            Failure::NoInit(tried) => {
                f.write_str("the root file system has no init that can be executed")?;
                for (path, reason) in tried {
                    write!(f, "; {path}: {reason}")?;
                }
                Ok(())
            }
            Failure::NoModule(name) => write!(f, "module {name} is neither in the image nor built in"),
            Failure::NoKeyFile(path) => write!(f, "key file {path} does not exist"),
            Failure::NoPin => f.write_str("no PIN was given"),
            Failure::BadKey(text) | Failure::Other(text) => f.write_str(text),
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A block device was added or changed; these are its facts now.
    Device(DevName, DeviceFacts),
    /// A block device is gone.
    Gone(DevName),
    /// The first walk over /sys is finished: every device that was there has been reported.
    Coldplugged,
    /// Driver loading moved on.
    Drivers(DriverFacts),
    /// The content of a device, in answer to [`crate::Action::Identify`].
    Identified(CommandId, Content),
    /// A command is finished.
    Done(CommandId, Outcome),
    /// A command failed.
    Failed(CommandId, Failure),
    /// Somebody typed a passphrase or a PIN, in answer to the [`crate::Action::AskPassphrase`] of this number.
    Typed(SecretId, QuestionId),
    /// The operator asks to try again after a stop.
    Retry,
    /// The operator names the root by hand (a node below `/dev`).
    UseRoot(String),
    /// A break point's shell was left.
    Continue,
    /// A deadline may have passed.
    Tick,
}
