//! LUKS 1 and 2 containers (LUKS1 On-Disk Format 1.2.3; LUKS2 On-Disk Format 1.1): what can be known of one without a
//! passphrase.

mod header;
mod luks1;
mod metadata;

use crate::bytes::Bytes as _;
use crate::probe::{Found, Probe};
use crate::{Kind, ReadAt, ReadError, Signature};

/// Magic of a LUKS1 header and of the primary LUKS2 header.
const PRIMARY: &[u8] = b"LUKS\xba\xbe";

/// What the header of a container says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Luks {
    /// 1 or 2.
    pub version: u8,
    /// UUID as text.
    pub uuid: Option<String>,
    /// Label (LUKS2).
    pub label: Option<Vec<u8>>,
    /// Subsystem label (LUKS2).
    pub subsystem: Option<Vec<u8>>,
    /// Where the data begins, in bytes from the start of the data device; 0 means that the header is detached.
    pub data_offset: u64,
    /// dm-crypt's name for the cipher of the data, such as `aes-xts-plain64`.
    pub cipher: Option<String>,
    /// Integrity protection of the data, such as `hmac(sha256)`.
    pub integrity: Option<String>,
    /// Sector size of the encryption in bytes.
    pub sector_size: u32,
    /// Key slots in use, ascending.
    pub keyslots: Vec<KeySlot>,
    /// Tokens, ascending.
    pub tokens: Vec<Token>,
    /// Flags that the container asks to be opened with, such as `allow-discards`.
    pub flags: Vec<String>,
    /// Features without which the container must not be opened, such as `online-reencrypt-v2`.
    pub requirements: Vec<String>,
    /// Why the header should be met with doubt, if so.
    pub doubt: Option<String>,
}

/// One key slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySlot {
    /// Number.
    pub id: u32,
    /// How a passphrase becomes a key; `None` for slots that hold no key (reencryption).
    pub kdf: Option<Kdf>,
    /// Cipher that the slot itself is encrypted with.
    pub cipher: Option<String>,
    /// 0 = only when asked for, 1 = normal, 2 = first.
    pub priority: u8,
}

/// Key derivation function of a key slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kdf {
    /// `pbkdf2`, `argon2i` or `argon2id`.
    pub name: String,
    /// PBKDF2: the hash.
    pub hash: Option<String>,
    /// PBKDF2: iterations; Argon2: passes.
    pub iterations: u64,
    /// Memory in KiB; 0 for PBKDF2.
    pub memory: u64,
    /// Threads; 1 for PBKDF2.
    pub threads: u32,
}

/// One token: a way to get at a key without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Number.
    pub id: u32,
    /// Type, such as `systemd-tpm2` or `clevis`.
    pub kind: String,
    /// Key slots that it unlocks.
    pub keyslots: Vec<u32>,
    /// The whole object; what else is in it is its type's business.
    pub object: serde_json::Value,
}

impl Luks {
    /// Whether this is a header without data behind it.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        self.data_offset == 0
    }

    /// Memory in KiB that the most expensive key slot needs, for derivations that run at the same time.
    #[must_use]
    pub fn kdf_memory(&self) -> u64 {
        self.keyslots.iter().filter_map(|slot| slot.kdf.as_ref()).map(|kdf| kdf.memory).max().unwrap_or(0)
    }

    fn signature(self) -> Signature {
        let mut tokens: Vec<String> = Vec::new();
        for Token { kind, .. } in &self.tokens {
            if kind.bytes().all(|byte| byte.is_ascii_graphic()) && !tokens.contains(kind) {
                tokens.push(kind.clone());
            }
        }
        Signature {
            kdf_memory: self.kdf_memory(),
            uuid: self.uuid,
            label: self.label,
            version: Some(self.version.to_string()),
            cipher: self.cipher,
            integrity: self.integrity,
            tokens,
            doubt: self.doubt,
            ..Signature::new(if self.version == 1 { Kind::Luks1 } else { Kind::Luks2 })
        }
    }
}

/// Reads the header at the start of `dev`, which is a container or a detached header; `None` if there is none.
///
/// Reads at most the two copies of the header, 8 MiB in all, normally nothing beyond the first 68 KiB.
///
/// # Errors
/// The device's read error.
pub fn read(dev: &dyn ReadAt) -> Result<Option<Luks>, ReadError> {
    find(&Probe::new(dev)?)
}

pub(crate) fn probe(probe: &Probe<'_>) -> Result<Found, ReadError> {
    Ok(find(probe)?.map(Luks::signature).into())
}

/// A LUKS2 container whose primary header is gone: the secondary is looked for only in what is read anyway and only
/// when nothing else claims the device, because it outlives a later mkfs.
pub(crate) fn orphan(probe: &Probe<'_>) -> Result<Option<Signature>, ReadError> {
    Ok(header::orphan(probe)?.map(Luks::signature))
}

fn find(probe: &Probe<'_>) -> Result<Option<Luks>, ReadError> {
    let head = probe.head();
    if !head.has(0, PRIMARY) {
        return Ok(None);
    }
    match head.be16(6) {
        Some(1) => Ok(luks1::parse(head)),
        Some(2) => header::find(probe),
        _ => Ok(None),
    }
}
