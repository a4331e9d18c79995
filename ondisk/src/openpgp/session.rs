//! From a passphrase to the data: S2K, the session key, CFB and the integrity check (RFC 9580, sections 3.7, 5.3, 5.13).

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::packets::Packet;
use super::{OpenPgpError, Result};

const BLOCK: usize = 16;
/// The modification detection code: its packet's header, then a SHA-1.
const MDC: [u8; 2] = [0xd3, 0x14];
const DIGEST: usize = 20;

const SHORT: OpenPgpError = OpenPgpError::Damaged("its key packet is too short");

#[derive(Debug, Clone, Copy)]
enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Debug, Clone, Copy)]
struct Cipher {
    /// Length of its key in bytes.
    key: usize,
}

impl Cipher {
    fn of(number: u8) -> Result<Cipher> {
        match number {
            7 => Ok(Cipher { key: 16 }),
            8 => Ok(Cipher { key: 24 }),
            9 => Ok(Cipher { key: 32 }),
            _ => Err(OpenPgpError::Unsupported("a cipher other than AES")),
        }
    }

    /// Decrypts in CFB mode, with nothing in the shift register.
    fn decrypt(self, key: &[u8], data: &mut [u8]) -> Result<()> {
        let wrong = |_| OpenPgpError::Damaged("the length of its key");
        match self.key {
            16 => cfb(&Aes128::new_from_slice(key).map_err(wrong)?, data),
            24 => cfb(&Aes192::new_from_slice(key).map_err(wrong)?, data),
            _ => cfb(&Aes256::new_from_slice(key).map_err(wrong)?, data),
        }
        Ok(())
    }
}

fn cfb<C>(cipher: &C, data: &mut [u8])
where
    C: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>,
{
    let mut register = [0_u8; BLOCK];
    for chunk in data.chunks_mut(BLOCK) {
        let mut stream = register.into();
        cipher.encrypt_block(&mut stream);
        for ((byte, held), mask) in chunk.iter_mut().zip(&mut register).zip(stream.iter()) {
            *held = *byte;
            *byte ^= mask;
        }
    }
}

/// How the session key is had from a passphrase.
#[derive(Debug)]
pub(super) struct SessionKey {
    cipher: Cipher,
    hash: Hash,
    salt: Vec<u8>,
    /// How many bytes of salt and passphrase are hashed; once at least.
    count: usize,
    /// The key itself, encrypted; empty where the passphrase gives it directly.
    encrypted: Vec<u8>,
}

/// A key with its cipher.
pub(super) struct Unlocked {
    cipher: Cipher,
    key: Zeroizing<Vec<u8>>,
}

impl SessionKey {
    pub(super) fn read(packet: &Packet) -> Result<SessionKey> {
        let body = packet.body.as_slice();
        let (head, rest) = body.split_first_chunk::<4>().ok_or(SHORT)?;
        let [version, cipher, kind, hash] = *head;
        if version != 4 {
            return Err(OpenPgpError::Unsupported("a key packet of this version"));
        }
        let (salt, count, encrypted) = match kind {
            0 => (&[][..], 0, rest),
            1 => {
                let (salt, rest) = rest.split_at_checked(8).ok_or(SHORT)?;
                (salt, 0, rest)
            }
            3 => {
                let (salt, rest) = rest.split_at_checked(8).ok_or(SHORT)?;
                let (coded, rest) = rest.split_first().ok_or(SHORT)?;
                let count = usize::from(coded & 15).saturating_add(16) << (coded >> 4).saturating_add(6);
                (salt, count, rest)
            }
            _ => return Err(OpenPgpError::Unsupported("this way to make a key of a passphrase")),
        };
        let hash = match hash {
            2 => Hash::Sha1,
            8 => Hash::Sha256,
            9 => Hash::Sha384,
            10 => Hash::Sha512,
            11 => Hash::Sha224,
            _ => return Err(OpenPgpError::Unsupported("a hash other than SHA-1 and SHA-2")),
        };
        Ok(SessionKey {
            cipher: Cipher::of(cipher)?,
            hash,
            salt: salt.to_vec(),
            count,
            encrypted: encrypted.to_vec(),
        })
    }

    pub(super) fn unlock(&self, passphrase: &[u8]) -> Result<Unlocked> {
        let key = self.derive(passphrase);
        if self.encrypted.is_empty() {
            return Ok(Unlocked { cipher: self.cipher, key });
        }
        let mut inner = Zeroizing::new(self.encrypted.clone());
        self.cipher.decrypt(&key, &mut inner)?;
        // A wrong passphrase gives noise, which is no cipher with a key of its length.
        let (number, key) = inner.split_first().ok_or(SHORT)?;
        let cipher = Cipher::of(*number).map_err(|_| OpenPgpError::WrongPassphrase)?;
        if key.len() == cipher.key {
            Ok(Unlocked { cipher, key: Zeroizing::new(key.to_vec()) })
        } else {
            Err(OpenPgpError::WrongPassphrase)
        }
    }

    fn derive(&self, passphrase: &[u8]) -> Zeroizing<Vec<u8>> {
        let derive = match self.hash {
            Hash::Sha1 => derive::<Sha1>,
            Hash::Sha224 => derive::<Sha224>,
            Hash::Sha256 => derive::<Sha256>,
            Hash::Sha384 => derive::<Sha384>,
            Hash::Sha512 => derive::<Sha512>,
        };
        derive(&self.salt, passphrase, self.count, self.cipher.key)
    }
}

/// S2K: as many hashes as the key needs, each over one zero byte more than the one before, then over salt and passphrase
/// again and again.
fn derive<D: Digest>(salt: &[u8], passphrase: &[u8], count: usize, length: usize) -> Zeroizing<Vec<u8>> {
    let once = Zeroizing::new([salt, passphrase].concat());
    let count = count.max(once.len());
    // Long stretches are hashed faster than the few bytes of a passphrase.
    let repeats = (1_usize << 12).checked_div(once.len()).unwrap_or(0).max(1);
    let stretch = Zeroizing::new(once.repeat(repeats));
    let mut key = Zeroizing::new(Vec::with_capacity(length.saturating_add(64)));
    let mut zeros = 0_usize;
    while key.len() < length {
        let mut hash = D::new();
        hash.update(vec![0; zeros]);
        let mut left = count;
        while left > 0 && !stretch.is_empty() {
            let part = stretch.get(..left).unwrap_or(&stretch);
            hash.update(part);
            left = left.saturating_sub(part.len());
        }
        key.extend_from_slice(&hash.finalize());
        zeros = zeros.saturating_add(1);
    }
    key.truncate(length);
    key
}

impl Unlocked {
    /// Decrypts a packet of data with integrity protection; gives the packets in it.
    pub(super) fn open(&self, body: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (version, data) = body.split_first().ok_or(OpenPgpError::Damaged("an empty data packet"))?;
        if *version != 1 {
            return Err(OpenPgpError::Unsupported("a data packet of this version"));
        }
        let mut plain = Zeroizing::new(data.to_vec());
        self.cipher.decrypt(&self.key, &mut plain)?;
        // Noise whose last two bytes come twice: the quick test of the key.
        let short = OpenPgpError::Damaged("its data is too short");
        let repeated = plain.get(BLOCK - 2..BLOCK).zip(plain.get(BLOCK..BLOCK + 2)).ok_or(short.clone())?;
        if repeated.0 != repeated.1 {
            return Err(OpenPgpError::WrongPassphrase);
        }
        let end = plain.len().checked_sub(DIGEST).ok_or(short.clone())?;
        let (checked, digest) = plain.split_at_checked(end).ok_or(short.clone())?;
        if !checked.ends_with(&MDC) || Sha1::digest(checked).as_slice() != digest {
            return Err(OpenPgpError::Damaged("its integrity check"));
        }
        let inside = checked.get(BLOCK + 2..end.saturating_sub(MDC.len())).ok_or(short)?;
        Ok(Zeroizing::new(inside.to_vec()))
    }
}
