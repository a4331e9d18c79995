//! PIN/UV auth protocols one and two (CTAP 2.1 sections 6.5.6 and 6.5.7), the authenticator's half.

use aes::Aes256;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use ciborium::Value;
use p256::{PublicKey, SecretKey};

use crate::cbor;
use crate::credential::{hmac_sha256, sha256};
use crate::status::Status;

/// How a client and the key agree on secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinProtocol {
    /// That of CTAP 2.0.
    One,
    /// The one that CTAP 2.1 adds.
    Two,
}

impl PinProtocol {
    /// Its number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// `authenticate`, whose result proves that the caller knows the key.
    pub(crate) fn authenticate(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        let mac = hmac_sha256(key, &[message]);
        match self {
            Self::One => mac.into_iter().take(16).collect(),
            Self::Two => mac.to_vec(),
        }
    }

    /// `decapsulate`: the secret that this client shares, given its public key as a COSE_Key.
    pub(crate) fn decapsulate(self, private: &SecretKey, client: &Value) -> Result<SharedSecret, Status> {
        let mut point = vec![4];
        point.extend_from_slice(cbor::required_bytes(client, -2)?);
        point.extend_from_slice(cbor::required_bytes(client, -3)?);
        let client = PublicKey::from_sec1_bytes(&point).map_err(|_| Status::InvalidParameter)?;
        let z = p256::ecdh::diffie_hellman(private.to_nonzero_scalar(), client.as_affine());
        let z = z.raw_secret_bytes();
        let (hmac, aes) = match self {
            Self::One => (sha256(z), sha256(z)),
            Self::Two => (hkdf_sha256(z, b"CTAP2 HMAC key"), hkdf_sha256(z, b"CTAP2 AES key")),
        };
        Ok(SharedSecret { protocol: self, hmac, aes })
    }
}

/// 32 bytes of HKDF-SHA-256 (RFC 5869) with a salt of zeros.
fn hkdf_sha256(input: &[u8], info: &[u8]) -> [u8; 32] {
    let pseudorandom = hmac_sha256(&[0; 32], &[input]);
    hmac_sha256(&pseudorandom, &[info, &[1]])
}

/// What both sides know after a key agreement.
#[derive(Debug)]
pub(crate) struct SharedSecret {
    protocol: PinProtocol,
    hmac: [u8; 32],
    aes: [u8; 32],
}

impl SharedSecret {
    /// `verify` of what the client has authenticated with this secret.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Status> {
        match self.protocol.authenticate(&self.hmac, message) == signature {
            true => Ok(()),
            false => Err(Status::PinAuthInvalid),
        }
    }

    /// `encrypt`, given 16 bytes that were never given before. Protocol one has no use for them.
    pub(crate) fn encrypt(&self, mut plain: Vec<u8>, nonce: [u8; 16]) -> Result<Vec<u8>, Status> {
        let vector = if self.protocol == PinProtocol::One { [0; 16] } else { nonce };
        let length = plain.len();
        let cipher = cbc::Encryptor::<Aes256>::new(&self.aes.into(), &vector.into());
        cipher.encrypt_padded::<NoPadding>(&mut plain, length).map_err(|_| Status::Other)?;
        Ok(match self.protocol {
            PinProtocol::One => plain,
            PinProtocol::Two => [&vector, plain.as_slice()].concat(),
        })
    }

    /// `decrypt`.
    pub(crate) fn decrypt(&self, encrypted: &[u8]) -> Result<Vec<u8>, Status> {
        let (vector, encrypted) = match self.protocol {
            PinProtocol::One => ([0; 16], encrypted),
            PinProtocol::Two => {
                let (vector, rest) = encrypted.split_first_chunk().ok_or(Status::InvalidLength)?;
                (*vector, rest)
            }
        };
        let mut plain = encrypted.to_vec();
        let cipher = cbc::Decryptor::<Aes256>::new(&self.aes.into(), &vector.into());
        cipher.decrypt_padded::<NoPadding>(&mut plain).map_err(|_| Status::InvalidLength)?;
        Ok(plain)
    }
}
