//! What is agreed on with a security key, and what is sent under it (CTAP 2.1, sections 6.5.6 and 6.5.7).

use zeroize::Zeroizing;

use super::cbor::Value;
use super::{Fido2Error, Result};
use crate::Random;
use crate::crypto::{Point, agree, cbc_decrypt, cbc_encrypt, hmac_sha256, sha256};

/// PIN/UV auth protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    One,
    Two,
}

impl Protocol {
    pub fn number(self) -> i64 {
        match self {
            Protocol::One => 1,
            Protocol::Two => 2,
        }
    }

    /// Proves that whoever sends `message` has the key.
    pub fn authenticate(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        let proof = hmac_sha256(key, &[message]);
        match self {
            Protocol::One => proof.get(..16).unwrap_or_default().to_vec(),
            Protocol::Two => proof.to_vec(),
        }
    }
}

/// The secret that is shared with a key.
pub struct Shared {
    pub protocol: Protocol,
    /// Our public key (COSE_Key).
    pub public: Value,
    mac: Zeroizing<[u8; 32]>,
    aes: Zeroizing<[u8; 32]>,
}

impl Shared {
    /// Agrees with the owner of the key in the answer to `getKeyAgreement`.
    pub fn agree(protocol: Protocol, key: &Value, random: &mut Random<'_>) -> Result<Self> {
        let coordinate = |label| key.at(label).and_then(Value::bytes).filter(|bytes| bytes.len() == 32);
        let (Some(x), Some(y)) = (coordinate(-2), coordinate(-3)) else {
            return Err(Fido2Error::Garbled("its public key"));
        };
        let other = Point { x: x.to_vec(), y: y.to_vec() };
        let (own, secret) = agree(&other, random).ok_or(Fido2Error::Garbled("its public key"))?;
        let (mac, aes) = match protocol {
            Protocol::One => {
                let hash = Zeroizing::new(sha256(&[&secret[..]]));
                (hash.clone(), hash)
            }
            // HKDF with a salt of zeros; one round gives as much as is wanted.
            Protocol::Two => {
                let extracted = Zeroizing::new(hmac_sha256(&[0; 32], &[&secret[..]]));
                let expand = |info: &[u8]| Zeroizing::new(hmac_sha256(&extracted[..], &[info, &[1]]));
                (expand(b"CTAP2 HMAC key"), expand(b"CTAP2 AES key"))
            }
        };
        let pair = |label, value| (Value::Integer(label), value);
        // EC2, ECDH-ES+HKDF-256 (which it is not, but so the specification has it), P-256.
        let public = Value::Map(vec![
            pair(1, Value::Integer(2)),
            pair(3, Value::Integer(-25)),
            pair(-1, Value::Integer(1)),
            pair(-2, Value::Bytes(own.x)),
            pair(-3, Value::Bytes(own.y)),
        ]);
        Ok(Self { protocol, public, mac, aes })
    }

    /// Encrypts whole blocks.
    pub fn encrypt(&self, plain: &[u8], random: &mut Random<'_>) -> Vec<u8> {
        let mut iv = [0_u8; 16];
        let mut out = Vec::new();
        if self.protocol == Protocol::Two {
            random(&mut iv);
            out.extend(iv);
        }
        let start = out.len();
        out.extend_from_slice(plain);
        cbc_encrypt(&self.aes, &iv, out.get_mut(start..).unwrap_or_default());
        out
    }

    /// Decrypts whole blocks, one at least.
    pub fn decrypt(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let bad = Fido2Error::Garbled("what it encrypted");
        let (iv, data) = match self.protocol {
            Protocol::One => (&[0; 16], sealed),
            Protocol::Two => sealed.split_first_chunk::<16>().ok_or(bad.clone())?,
        };
        if data.is_empty() || !data.len().is_multiple_of(16) {
            return Err(bad);
        }
        let mut plain = Zeroizing::new(data.to_vec());
        cbc_decrypt(&self.aes, iv, &mut plain);
        Ok(plain)
    }

    /// Proves that whoever sends `message` shares the secret.
    pub fn authenticate(&self, message: &[u8]) -> Vec<u8> {
        self.protocol.authenticate(&self.mac[..], message)
    }
}
