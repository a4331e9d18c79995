//! What the key derives from its seed.
//!
//! A credential's id is all there is to keep of it (CTAP 2.1 section 6.1.2 lets the id carry the credential): a nonce,
//! and a tag by which the key knows the pair of nonce and relying party for its own.

use hmac::{Hmac, KeyInit, Mac};
use p256::SecretKey;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::elliptic_curve::sec1::ToSec1Point;
use sha2::{Digest, Sha256};

use ciborium::Value;

use crate::cbor;
use crate::status::Status;

/// SHA-256.
pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    Sha256::digest(message).into()
}

/// HMAC-SHA-256 of the concatenation of these parts.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // A key that is longer than the block is hashed (RFC 2104); this spares the case that keys could be refused.
    let mut block = [0_u8; 64];
    let hashed = sha256(key);
    let key = if key.len() > block.len() { &hashed } else { key };
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Where everything comes from that a real key draws at random.
#[derive(Debug, Clone)]
pub(crate) struct Seed([u8; 32]);

impl Seed {
    pub(crate) fn new(seed: &[u8]) -> Self {
        Self(sha256(seed))
    }

    /// 32 bytes for this purpose.
    pub(crate) fn derive(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        // Hashes of the parts, as these have no common length.
        let hashes: Vec<u8> = parts.iter().flat_map(|part| sha256(part)).collect();
        hmac_sha256(&self.0, &[purpose.as_bytes(), &[0], &hashes])
    }

    /// A private key of P-256 for this purpose.
    pub(crate) fn private_key(&self, purpose: &str, parts: &[&[u8]]) -> Result<SecretKey, Status> {
        let mut scalar = self.derive(purpose, parts);
        // One of 2^32 scalars is out of range.
        for _ in 0..4 {
            if let Ok(key) = SecretKey::from_slice(&scalar) {
                return Ok(key);
            }
            scalar = sha256(&scalar);
        }
        Err(Status::Other)
    }

    /// A new credential of this user at the relying party with this hash.
    pub(crate) fn make_credential(
        &self,
        relying_party: &[u8; 32],
        user: &[u8],
        client_data: &[u8],
    ) -> Credential {
        let nonce = self.derive("nonce", &[relying_party, user, client_data]);
        let tag = self.derive("tag", &[relying_party, &nonce]);
        Credential { seed: self.clone(), id: [nonce, tag].concat() }
    }

    /// The credential with this id, if it is one of this key's at the relying party with this hash.
    pub(crate) fn open_credential(&self, relying_party: &[u8; 32], id: &[u8]) -> Option<Credential> {
        let (nonce, tag) = id.split_at_checked(32)?;
        let own = self.derive("tag", &[relying_party, nonce]);
        (own == tag).then(|| Credential { seed: self.clone(), id: id.to_vec() })
    }
}

/// A credential of this key.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    seed: Seed,
    /// Credential ID.
    pub(crate) id: Vec<u8>,
}

impl Credential {
    /// Its public key as a COSE_Key for ES256 (RFC 9053 section 7.1.1).
    pub(crate) fn public_key(&self) -> Result<Value, Status> {
        cose_key(&self.private_key()?, ES256)
    }

    /// An ES256 signature in the form of WebAuthn section 6.5.5: ASN.1 DER.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Status> {
        let key = SigningKey::from(self.private_key()?);
        let signature: DerSignature = key.try_sign(message).map_err(|_| Status::Other)?;
        Ok(signature.as_bytes().to_vec())
    }

    /// CredRandom of hmac-secret, one for verified users and one for others (CTAP 2.1 section 12.5).
    pub(crate) fn cred_random(&self, user_verified: bool) -> [u8; 32] {
        let purpose = if user_verified { "CredRandomWithUV" } else { "CredRandomWithoutUV" };
        self.seed.derive(purpose, &[&self.id])
    }

    fn private_key(&self) -> Result<SecretKey, Status> {
        self.seed.private_key("credential", &[&self.id])
    }
}

/// COSE algorithm: ECDSA with SHA-256.
pub(crate) const ES256: i64 = -7;
/// COSE algorithm that stands in key agreement keys (CTAP 2.1 section 6.5.6).
pub(crate) const ECDH_ES_HKDF_256: i64 = -25;

/// The public half of a key of P-256 as a COSE_Key (RFC 9053 section 7.1.1).
pub(crate) fn cose_key(key: &SecretKey, algorithm: i64) -> Result<Value, Status> {
    let point = key.public_key().to_sec1_point(false);
    let (Some(x), Some(y)) = (point.x(), point.y()) else {
        return Err(Status::Other);
    };
    Ok(cbor::map([
        (1, 2.into()),
        (3, algorithm.into()),
        (-1, 1.into()),
        (-2, cbor::bytes(x)),
        (-3, cbor::bytes(y)),
    ]))
}
