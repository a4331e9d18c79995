//! How an encrypted container is to be opened.

use super::MarkedVolume;
use crate::event::{DevName, SecretId};

/// Where the bytes that open a container come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A secret that the caller already holds.
    Held(SecretId),
    /// A file of the initramfs, with crypttab's `keyfile-offset=` and `keyfile-size=` (bytes).
    File {
        /// Absolute path in the initramfs.
        path: String,
        /// Bytes to skip.
        offset: u64,
        /// Bytes to use; `None` is all.
        size: Option<u64>,
    },
}

/// What the container is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CryptFormat {
    /// LUKS 1 or 2.
    #[default]
    Luks,
    /// No header at all.
    Plain(PlainFormat),
    /// BitLocker.
    BitLocker,
    /// TrueCrypt or VeraCrypt.
    Tcrypt(TcryptFormat),
}

/// A mapping about which the device itself says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainFormat {
    /// dm-crypt's cipher specification.
    pub cipher: String,
    /// How the secret becomes the key; `None`: the secret is the key.
    pub hash: Option<String>,
    /// Length of the key in bytes.
    pub key_size: u32,
    /// Sector size of the encryption in bytes.
    pub sector_size: u32,
    /// Where the data begins, in sectors of 512 bytes.
    pub offset: u64,
    /// Number of the first sector for the IV, in sectors of 512 bytes.
    pub skip: u64,
}

/// How a TrueCrypt volume is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TcryptFormat {
    /// The hidden volume in it.
    pub hidden: bool,
    /// A partition of an encrypted system disk.
    pub system: bool,
    /// VeraCrypt's key derivations too.
    pub veracrypt: bool,
    /// VeraCrypt's personal iterations multiplier.
    pub pim: Option<u32>,
    /// Key files of the initramfs that are mixed into the passphrase.
    pub keyfiles: Vec<String>,
}

/// A header that does not lie before its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderSource {
    /// A device.
    Device(DevName),
    /// A file of the initramfs.
    File(String),
    /// A file on a device that is mounted for as long as the opening takes.
    FileOn {
        /// The device.
        device: DevName,
        /// Its file system.
        fstype: String,
        /// Path on it.
        path: String,
        /// The user named the device: only then may its journal be replayed, if it cannot be mounted without.
        named: bool,
    },
}

/// A key that has to be unlocked itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealedKey {
    /// A file: a LUKS image whose plaintext is the key, or one that gpg has encrypted.
    File(HeaderSource),
    /// A token of a LUKS2 container.
    Token(Token),
}

/// A LUKS2 container's token, which stands for a device that gives its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Which device.
    pub kind: TokenKind,
    /// Its node, unless any will do.
    pub node: Option<String>,
    /// The container.
    pub container: DevName,
    /// Its header, if that lies elsewhere.
    pub header: Option<HeaderSource>,
}

/// What a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenKind {
    /// A TPM 2.0 (`systemd-tpm2`).
    Tpm2,
    /// A security key (`systemd-fido2`).
    Fido2,
}

impl TokenKind {
    /// For an operator, after "the".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TokenKind::Tpm2 => "TPM 2.0",
            TokenKind::Fido2 => "security key",
        }
    }
}

/// How a mapping is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CryptOptions {
    /// What the container is.
    pub format: CryptFormat,
    /// Its header, if that lies elsewhere.
    pub header: Option<HeaderSource>,
    /// Pass discards through.
    pub discard: bool,
    /// Map read-only.
    pub read_only: bool,
    /// Bypass dm-crypt's read work queue.
    pub no_read_workqueue: bool,
    /// Bypass dm-crypt's write work queue.
    pub no_write_workqueue: bool,
    /// Use the submitting CPU's crypto.
    pub same_cpu_crypt: bool,
    /// Submit from the crypt CPUs.
    pub submit_from_crypt_cpus: bool,
    /// Only this keyslot.
    pub keyslot: Option<u32>,
    /// BIOS RAID volumes below it, to be made writable first: over a device that is read-only libcryptsetup maps read-only
    /// (utils_device.c, `device_block_adjust`).
    pub volumes: Vec<MarkedVolume>,
}

impl HeaderSource {
    /// Whether it is a key that gpg has encrypted, by the ending that dracut gives that meaning.
    #[must_use]
    pub fn is_openpgp(&self) -> bool {
        match self {
            HeaderSource::File(path) | HeaderSource::FileOn { path, .. } => path.ends_with(".gpg"),
            HeaderSource::Device(_) => false,
        }
    }
}
