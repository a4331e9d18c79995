//! Key files that were encrypted with a passphrase by `gpg --symmetric` (RFC 9580, which includes RFC 4880).
//!
//! As far as such files go: a session key from a passphrase (packet 3), data with integrity protection (packet 18,
//! version 1), compressed or not, armoured or not. What was encrypted to a public key needs gpg and its keys.

mod packets;
mod session;

use std::fmt;
use std::io::Read as _;

use flate2::bufread::{DeflateDecoder, ZlibDecoder};
use zeroize::Zeroizing;

use packets::{Packet, Tag};
use session::SessionKey;

/// Compressed data inside compressed data makes no sense beyond this.
const MAX_DEPTH: usize = 4;

/// Why a file gives no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenPgpError {
    /// It is no OpenPGP message.
    Foreign,
    /// It ends too early or contradicts itself.
    Damaged(&'static str),
    /// The passphrase is wrong.
    WrongPassphrase,
    /// It is encrypted to a public key.
    PublicKey,
    /// It uses something that is not known here.
    Unsupported(&'static str),
    /// What is in it is longer than this many bytes.
    TooLarge(usize),
}

impl fmt::Display for OpenPgpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenPgpError::Foreign => f.write_str("it is not encrypted by gpg"),
            OpenPgpError::Damaged(what) => write!(f, "it is damaged: {what}"),
            OpenPgpError::WrongPassphrase => f.write_str("the passphrase is wrong"),
            OpenPgpError::PublicKey => f.write_str(
                "it is encrypted to a public key, which needs gpg; encrypt it with a passphrase: gpg --symmetric",
            ),
            OpenPgpError::Unsupported(what) => {
                write!(f, "{what} is not known here; encrypt it again: gpg --symmetric --cipher-algo AES256")
            }
            OpenPgpError::TooLarge(limit) => write!(f, "it holds more than {limit} bytes"),
        }
    }
}

impl std::error::Error for OpenPgpError {}

type Result<T> = std::result::Result<T, OpenPgpError>;

/// Whether [`decrypt`] may succeed with the right passphrase.
///
/// # Errors
/// Why it cannot.
pub fn check(file: &[u8]) -> Result<()> {
    let (keys, _) = message(file)?;
    keys.iter().map(SessionKey::read).next().unwrap_or(Err(OpenPgpError::PublicKey)).map(drop)
}

/// What was encrypted, at most `limit` bytes of it.
///
/// # Errors
/// See [`OpenPgpError`].
pub fn decrypt(file: &[u8], passphrase: &[u8], limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    let (keys, data) = message(file)?;
    let mut outcome = Err(OpenPgpError::PublicKey);
    for key in keys {
        outcome = SessionKey::read(&key)
            .and_then(|key| key.unlock(passphrase))
            .and_then(|key| key.open(&data.body))
            .and_then(|plain| literal(&plain, limit, 0));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// The packets that hold the session key, if a passphrase gives it, and the one with the data.
fn message(file: &[u8]) -> Result<(Vec<Packet>, Packet)> {
    let bare = packets::without_armour(file)?;
    let mut keys = Vec::new();
    let mut public = false;
    for packet in packets::read(&bare)? {
        match packet.tag {
            Tag::PassphraseKey => keys.push(packet),
            Tag::PublicKey => public = true,
            Tag::Protected if keys.is_empty() && public => return Err(OpenPgpError::PublicKey),
            // Without a session key packet the passphrase is hashed with MD5: nothing writes that any more.
            Tag::Protected if keys.is_empty() => {
                return Err(OpenPgpError::Unsupported("a message without a session key packet"));
            }
            Tag::Protected => return Ok((keys, packet)),
            Tag::Unprotected => return Err(OpenPgpError::Unsupported("data without integrity protection")),
            Tag::Aead => return Err(OpenPgpError::Unsupported("AEAD encryption (OCB, EAX)")),
            Tag::Marker | Tag::Padding => {}
            _ => return Err(OpenPgpError::Foreign),
        }
    }
    Err(if keys.is_empty() && !public {
        OpenPgpError::Foreign
    } else {
        OpenPgpError::Damaged("the encrypted data is missing")
    })
}

/// The data of the literal packet, out of compressed ones.
fn literal(plain: &[u8], limit: usize, depth: usize) -> Result<Zeroizing<Vec<u8>>> {
    if depth > MAX_DEPTH {
        return Err(OpenPgpError::Damaged("compressed too often"));
    }
    for packet in packets::read(plain)? {
        let body = &packet.body;
        match packet.tag {
            Tag::Literal => {
                // Format, file name with its length, date.
                let name = body.get(1).copied().map_or(0, usize::from);
                let data = body
                    .get(name.saturating_add(6)..)
                    .ok_or(OpenPgpError::Damaged("the data packet is too short"))?;
                return if data.len() > limit {
                    Err(OpenPgpError::TooLarge(limit))
                } else {
                    Ok(Zeroizing::new(data.to_vec()))
                };
            }
            Tag::Compressed => {
                let (algorithm, data) =
                    body.split_first().ok_or(OpenPgpError::Damaged("an empty compressed packet"))?;
                let inner = match algorithm {
                    0 => Zeroizing::new(data.to_vec()),
                    1 => inflate(DeflateDecoder::new(data), limit)?,
                    2 => inflate(ZlibDecoder::new(data), limit)?,
                    _ => return Err(OpenPgpError::Unsupported("compression other than ZIP and ZLIB")),
                };
                return literal(&inner, limit, depth.saturating_add(1));
            }
            Tag::Marker | Tag::Padding | Tag::Signature => {}
            _ => return Err(OpenPgpError::Unsupported("what lies in the encrypted data")),
        }
    }
    Err(OpenPgpError::Damaged("nothing is in it"))
}

fn inflate(decoder: impl std::io::Read, limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    // Room for packet headers and file names around the data; never grown, so that no copy stays behind.
    let most = limit.saturating_add(1 << 10);
    let mut plain = Zeroizing::new(Vec::with_capacity(most));
    let mut decoder = decoder.take(u64::try_from(most).unwrap_or(u64::MAX));
    decoder.read_to_end(&mut plain).map_err(|_| OpenPgpError::Damaged("the compressed data"))?;
    if plain.len() >= most { Err(OpenPgpError::TooLarge(limit)) } else { Ok(plain) }
}

#[cfg(test)]
mod tests;
