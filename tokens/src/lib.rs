//! Tokens of a LUKS2 container that stand for a device which gives its key: a TPM 2.0 or a FIDO2 security key, as
//! systemd-cryptenroll(1) writes them.
//!
//! Nothing here talks to a device: what is to be sent is handed to a function of the caller, which gives back the answer,
//! and another one gives random bytes.

#![forbid(unsafe_code)]

mod base64;
mod crypto;
pub mod fido2;
mod fields;
pub mod tpm2;

use zeroize::Zeroizing;

/// A key as libcryptsetup takes it: the text that systemd-cryptenroll enrolled as passphrase.
pub type Passphrase = Zeroizing<Vec<u8>>;

/// Fills a buffer with random bytes.
pub type Random<'a> = dyn FnMut(&mut [u8]) + 'a;

/// The secret as passphrase: systemd enrols it in base64.
fn passphrase(secret: &[u8]) -> Passphrase {
    Zeroizing::new(base64::encode(secret).into_bytes())
}
