//! What the engine asks for.

use std::fmt;

use cmdline::plan::{Access, BreakPoint, EmergencyAction};

use crate::assemble::lvm::activation::PoolKind;
use crate::event::{CommandId, DevName, QuestionId, SecretId};
use crate::explain::Explanation;

mod crypt;
mod dm;
mod external;
mod md;

pub use crypt::{
    CryptFormat, CryptOptions, HeaderSource, PlainFormat, SealedKey, SecretSource, TcryptFormat, Token,
    TokenKind,
};
pub use dm::{DmDevice, DmKey, DmTarget, KeySource, ReadAhead};
pub use external::{ContainerRequest, MarkedVolume, VolumeRequest};
pub use md::{ArrayMember, ArrayRequest, disk_state};

/// A numbered request. The caller answers [`Action`]s that say so with exactly one `Identified`, `Done` or
/// `Failed` event that carries the number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its number.
    pub id: CommandId,
    /// What to do.
    pub action: Action,
}

/// How loud a line is (syslog priorities).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loudness {
    /// LOG_ERR
    Error,
    /// LOG_WARNING
    Warning,
    /// LOG_NOTICE
    Notice,
    /// LOG_INFO
    Info,
    /// LOG_DEBUG
    Debug,
}

/// What the boot is about to mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mountpoint {
    /// The root file system.
    Root,
    /// Its `/usr`, once it is mounted.
    Usr,
}

impl Mountpoint {
    /// The word of the command line that names its device.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Mountpoint::Root => "root=",
            Mountpoint::Usr => "mount.usr=",
        }
    }
}

impl fmt::Display for Mountpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mountpoint::Root => "root",
            Mountpoint::Usr => "/usr",
        })
    }
}

/// How the root file system is to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRequest {
    /// Where.
    pub mountpoint: Mountpoint,
    /// On what.
    pub device: DevName,
    /// All devices of a file system that has several, the one above among them; else empty.
    pub members: Vec<DevName>,
    /// How many of its devices are not there: it is mounted degraded, if every part of it survives that.
    pub missing: u64,
    /// Types to try, in order; never empty.
    pub fstypes: Vec<String>,
    /// `rootflags=`.
    pub flags: Option<String>,
    /// `ro`/`rw`.
    pub access: Option<Access>,
    /// Consult the root's own `/etc/fstab` for what the command line leaves open.
    pub fstab: bool,
    /// The kernel refuses writes to the device.
    pub device_read_only: bool,
    /// BIOS RAID volumes below it: their metadata have to call them not cleanly stopped before the first write.
    pub volumes: Vec<MarkedVolume>,
}

/// A request to the hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Report every device that is there, load its driver, and answer with the `Coldplugged` event.
    Coldplug,
    /// Read the device and answer `Identified`, or `Failed`.
    Identify(DevName),
    /// Load these modules or aliases with their dependencies; answer `Done` or `Failed`.
    LoadModules(Vec<String>),
    /// Load what typing needs (keyboards); no answer.
    LoadInputDrivers,
    /// Every urgent driver is loaded and root is still missing: load the rest too; no answer.
    LoadOtherDrivers,
    /// Make these links (paths relative to `/dev`) point at the device and drop others that point at it; no answer.
    Link(DevName, Vec<String>),
    /// Open an encrypted container; answer `Done` or `Failed`. The mapping shows up as a `Device` event; it is closed
    /// with [`Action::RemoveDm`].
    OpenCrypt {
        /// The container.
        device: DevName,
        /// Name below `/dev/mapper`.
        name: String,
        /// What opens it.
        secret: SecretSource,
        /// How.
        options: CryptOptions,
    },
    /// Make a device-mapper device; answer `Done(Made)` or `Failed`, with nothing left behind. It also shows up as a
    /// `Device` event.
    CreateDm(DmDevice),
    /// Resume a device that was made held, then give it this read-ahead; answer `Done` or `Failed`.
    ResumeDm(String, ReadAhead),
    /// Read the first block of the device with this number, a pool's metadata; answer `Done`, or `Failed` with the reason
    /// why the pool must not be made.
    CheckPool((u32, u32), PoolKind),
    /// As [`Action::CreateDm`], with a key that is part of the table.
    CreateKeyedDm(DmDevice, DmKey),
    /// Give a bcache device to the kernel, or (`true`) have one that it waits with start without its cache; answer
    /// `Done` or `Failed`. What is made shows up as a `Device` event. The BIOS RAID volumes below it are made writable first:
    /// the kernel takes no device that is read-only.
    StartBcache(DevName, bool, Vec<MarkedVolume>),
    /// Read the dm-verity superblock at this byte of the device; answer `Done(Member)` or `Failed`.
    ReadVerity(DevName, u64),
    /// Give the device-mapper device of this name another table, without waiting for I/O that is under way; answer
    /// `Done` or `Failed`, with the old table in force.
    ReloadDm(DmDevice),
    /// Send this message to the target of the device-mapper device of this name; answer `Done` or `Failed`.
    MessageDm(String, String),
    /// Make a container of disks with external metadata and start its volumes; answer `Done` or `Failed`. What was
    /// started shows up as `Device` events.
    StartContainer(ContainerRequest),
    /// Remove the device-mapper device of this name; answer `Done` or `Failed`.
    RemoveDm(String),
    /// Make an MD array of these members and start it; answer `Done(Made)` or `Failed`, with nothing left behind. It
    /// also shows up as a `Device` event.
    AssembleArray(ArrayRequest),
    /// Add a spare to the running array of this name; answer `Done` or `Failed`.
    AddSpare(DevName, ArrayMember),
    /// Take a running array apart unless it is in use; answer `Done` either way.
    StopArray(DevName),
    /// Wait until no array is being resynchronised, recovered or reshaped; answer `Done`.
    WaitClean,
    /// Have the kernel forget the partitions of a disk, which are those of the set that it belongs to; answer `Done`.
    RemovePartitions(DevName),
    /// Have the metadata of these running BIOS RAID volumes call them not cleanly stopped, and let the kernel write; answer
    /// `Done` or `Failed`.
    MakeWritable(Vec<MarkedVolume>),
    /// Mount the device read-only, read this file and keep it as a secret; answer `Done(Secret)` or `Failed`.
    ReadKey {
        /// Where the file lies.
        device: DevName,
        /// Its file system; `None`: the key lies on the device itself, without one.
        fstype: Option<String>,
        /// Path on that file system.
        path: String,
        /// The user named the device: only then may its journal be replayed, if it cannot be mounted without.
        named: bool,
        /// Bytes to skip.
        offset: u64,
        /// Bytes to use; `None` is all.
        size: Option<u64>,
    },
    /// Unlock a key with this secret, a passphrase or a PIN, keep it as a secret and answer `Done(Secret)` or `Failed`,
    /// with nothing left mapped. Without a secret: see whether it is there, and answer `Done` if it wants a secret,
    /// `Done(Secret)` if it needs none, [`Failure::NoKeyFile`](crate::Failure) if it may still come. With a token an empty
    /// PIN is answered by [`Failure::NoPin`](crate::Failure).
    UnsealKey(SealedKey, Option<SecretId>),
    /// Ask on every console, in place of any earlier question; the first answer ends it with a `Typed` event.
    AskPassphrase {
        /// The same as before if what is being typed may stay; another one if it would go to somebody whom it was not meant
        /// for, so that it is to be wiped.
        question: QuestionId,
        /// The question, without the trailing `: `.
        prompt: String,
        /// Why it is asked again, e.g. `wrong passphrase, 2 tries left`.
        note: Option<String>,
        /// The device that is opened first, for agents that look the answer up.
        device: Option<DevName>,
    },
    /// Take the question back; no answer.
    StopAsking,
    /// Mount root at `/sysroot`; answer `Done` or `Failed`.
    Mount(MountRequest),
    /// Check the init on `/sysroot`, then hand over. Answers only on failure, with nothing moved.
    SwitchRoot {
        /// `init=`; `None` is `/sbin/init`.
        init: Option<String>,
        /// Its arguments, without its name.
        args: Vec<String>,
    },
    /// Stop at a break point; answered by `Event::Continue`.
    Break(BreakPoint),
    /// Say a line; no answer.
    Say(Loudness, String),
    /// Print the tree; no answer.
    Explain(Loudness, Explanation),
    /// The boot cannot go on and an operator may look: prompt or shell. Answered by `Retry` or `UseRoot`, if at all.
    Rescue,
    /// The boot cannot go on and no shell is allowed.
    GiveUp(GiveUp),
}

impl Action {
    /// The device that is mounted for a moment.
    #[must_use]
    pub fn looks_into(&self) -> Option<&DevName> {
        match self {
            Action::ReadKey { device, fstype: Some(_), .. }
            | Action::UnsealKey(SealedKey::File(HeaderSource::FileOn { device, .. }), _) => Some(device),
            Action::UnsealKey(SealedKey::Token(Token { header, .. }), _)
            | Action::OpenCrypt { options: CryptOptions { header, .. }, .. } => match header {
                Some(HeaderSource::FileOn { device, .. }) => Some(device),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The end without a shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    /// `rd.emergency=`.
    Act(EmergencyAction),
    /// Leave it to the kernel's `panic=`.
    Panic,
}
