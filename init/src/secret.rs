//! Passphrases and keys: where they live, and that they are wiped.
//!
//! The pages are not locked with mlock(2): nothing can be swapped out before the real root switches swap on, and by then
//! this program's memory is gone with execve(2). What matters here is that a secret is wiped as soon as it has served,
//! that it is never moved about by a growing buffer, and that it cannot be printed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use engine::SecretId;
use zeroize::Zeroize;

/// Most bytes of a passphrase that cryptsetup reads from a terminal (`MAX_PASSPHRASE` is 512; systemd allows 1 KiB).
pub const PASSPHRASE_MAX: usize = 1024;

/// Most bytes of a key file that cryptsetup reads (its compiled-in `DEFAULT_KEYFILE_SIZE_MAXKB`, 8 MiB).
pub const KEY_FILE_MAX: usize = 8 << 20;

/// Bytes that open something; wiped when dropped, never printed.
pub struct Secret(Vec<u8>, Option<u32>);

impl Secret {
    /// An empty secret whose buffer takes `capacity` bytes and never grows, so that no copy is left behind.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Secret {
        Secret(Vec::with_capacity(capacity), None)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be filled by a read.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// The same bytes, known to be for this key slot of a LUKS container.
    #[must_use]
    pub fn for_keyslot(mut self, keyslot: Option<u32>) -> Secret {
        self.1 = keyslot;
        self
    }

    /// The key slot of a LUKS container that it is for, if that is known.
    #[must_use]
    pub fn keyslot(&self) -> Option<u32> {
        self.1
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends as much as fits; says whether all of it did.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let room = self.0.capacity().saturating_sub(self.0.len());
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.0.extend_from_slice(taken);
        taken.len() == bytes.len()
    }

    /// Removes the last byte.
    pub fn pop(&mut self) -> Option<u8> {
        let last = self.0.last_mut()?;
        let byte = *last;
        last.zeroize();
        self.0.pop()?;
        Some(byte)
    }

    /// Wipes what was gathered and starts over.
    pub fn clear(&mut self) {
        self.0.zeroize();
    }

    /// Takes the bytes, which become the new owner's to wipe; an equally large empty buffer stays.
    #[must_use]
    pub fn take(&mut self) -> Secret {
        let capacity = self.0.capacity();
        std::mem::replace(self, Secret::with_capacity(capacity))
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Secret {
        Secret(bytes, None)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The secrets that the engine refers to by number.
#[derive(Debug, Default)]
pub struct Vault {
    last: u64,
    kept: BTreeMap<SecretId, Arc<Secret>>,
}

impl Vault {
    /// Keeps a secret and names it.
    pub fn keep(&mut self, secret: Secret) -> SecretId {
        self.last = self.last.saturating_add(1);
        let id = SecretId(self.last);
        self.kept.insert(id, Arc::new(secret));
        id
    }

    /// The secret of this number; shared, so that a worker can hold it while it works.
    #[must_use]
    pub fn get(&self, id: SecretId) -> Option<Arc<Secret>> {
        self.kept.get(&id).cloned()
    }

    /// Drops everything; each secret is wiped as soon as no worker holds it.
    pub fn clear(&mut self) {
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_never_moves() {
        let mut secret = Secret::with_capacity(8);
        let before = secret.bytes().as_ptr();
        assert!(secret.push(b"1234567"));
        assert!(!secret.push(b"89"));
        assert_eq!(secret.bytes(), b"12345678");
        assert_eq!(secret.bytes().as_ptr(), before);
    }

    #[test]
    fn popping_and_clearing() {
        let mut secret = Secret::with_capacity(8);
        secret.push(b"ab");
        assert_eq!((secret.pop(), secret.bytes()), (Some(b'b'), &b"a"[..]));
        secret.clear();
        assert!(secret.is_empty() && secret.pop().is_none());
        assert!(secret.push(b"12345678"), "the room is still there");
    }

    #[test]
    fn never_printed() {
        let mut vault = Vault::default();
        let id = vault.keep(Secret::from(b"hunter2".to_vec()));
        let text = format!("{vault:?} {:?}", vault.get(id));
        assert!(!text.contains("hunter2") && !text.contains("104"), "{text}");
        assert_eq!(vault.get(id).map(|secret| secret.bytes().to_vec()), Some(b"hunter2".to_vec()));
        vault.clear();
        assert!(vault.get(id).is_none());
    }
}
