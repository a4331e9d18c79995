//! Device-mapper devices as requests (kernel: include/uapi/linux/dm-ioctl.h).

use super::MarkedVolume;

/// One line of a device-mapper table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmTarget {
    /// First sector of the mapping, in 512-byte sectors.
    pub start: u64,
    /// Length in 512-byte sectors.
    pub length: u64,
    /// Target type, at most 15 bytes (`linear`, `raid`).
    pub kind: String,
    /// Parameters as the target's constructor takes them; devices are `MAJOR:MINOR`.
    pub params: String,
}

/// Read-ahead that a device gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadAhead {
    /// What the kernel chose.
    #[default]
    Kernel,
    /// So many 512-byte sectors unless the kernel chose more.
    AtLeast(u32),
    /// So many 512-byte sectors.
    Exactly(u32),
}

/// A device-mapper device that is to be made, loaded with its table and resumed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DmDevice {
    /// Name below `/dev/mapper`.
    pub name: String,
    /// UUID with the prefix of the subsystem that owns it (`LVM-`, `mpath-`); may be empty.
    pub uuid: String,
    /// The table, ascending by start.
    pub targets: Vec<DmTarget>,
    /// Map read-only.
    pub read_only: bool,
    /// Read-ahead; set when the device is resumed.
    pub read_ahead: ReadAhead,
    /// Do not resume it yet: [`super::Action::ResumeDm`] does, when all that must be loaded before is there.
    pub held: bool,
    /// The minor number to have, if it is free: one that the owner has chosen for good.
    pub minor: Option<u32>,
    /// BIOS RAID volumes below it, to be made writable first, as its targets write by themselves.
    pub volumes: Vec<MarkedVolume>,
}

/// Where the bytes of a [`DmKey`] are.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file of the initramfs.
    File(String),
    /// Here; nothing secret.
    Bytes(Vec<u8>),
}

impl std::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeySource::File(path) => f.write_str(path),
            KeySource::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// Bytes that a table needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DmKey {
    /// A `user` key of this description, in the thread's keyring while the table is loaded
    /// (`root_hash_sig_key_desc` of dm-verity).
    Keyring {
        /// The description.
        description: String,
        /// The key's payload.
        source: KeySource,
    },
    /// The file of the initramfs whose bytes, in hexadecimal, take the place of [`DmKey::PLACE`] in the parameters.
    Hex(String),
}

impl DmKey {
    /// Stands for the key in the parameters of a target.
    pub const PLACE: &str = "{key}";
}
