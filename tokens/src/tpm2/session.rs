//! A policy session whose answers are encrypted and authenticated (TPM 2.0 Library, Part 1, sections 17.6, 19.6 and 21).

use zeroize::Zeroizing;

use super::wire::{Answer, Code, Reader, Writer};
use super::{Result, Tpm2Error};
use crate::Random;
use crate::crypto::{Point, agree, cfb_decrypt, hmac_sha256, padded, sha256};

/// `TPM_RH_NULL`
const NULL: u32 = 0x4000_0007;
/// `TPM_SE_POLICY`
const POLICY: u8 = 1;
pub const ALG_AES: u16 = 0x0006;
pub const ALG_SHA256: u16 = 0x000b;
pub const ALG_NULL: u16 = 0x0010;
pub const ALG_CFB: u16 = 0x0043;
/// `TPMA_SESSION`: the first parameter of the answer is encrypted.
const ENCRYPT: u8 = 0x40;

/// A session in the making.
pub struct Start {
    nonce: [u8; 32],
    salt: Zeroizing<Vec<u8>>,
    parameters: Vec<u8>,
    handles: [u32; 2],
    encrypts: bool,
}

/// A session.
pub struct Session {
    pub handle: u32,
    nonce_tpm: Vec<u8>,
    /// Empty for a session that nothing was agreed on for: then nothing is encrypted.
    key: Zeroizing<Vec<u8>>,
    encrypts: bool,
    /// The password of what is unsealed, if the policy wants it.
    auth: Option<Zeroizing<Vec<u8>>>,
}

impl Start {
    /// `primary` is a storage key of the TPM with its public point, with which a key is agreed on; without a point the
    /// session protects nothing from somebody who listens on the bus.
    pub fn new(primary: u32, point: Option<&Point>, random: &mut Random<'_>) -> Result<Self> {
        let mut nonce = [0_u8; 32];
        random(&mut nonce);
        let (salt, encrypted, key) = match point {
            None => (Zeroizing::new(Vec::new()), Vec::new(), NULL),
            Some(point) => {
                let (own, shared) = agree(point, random)
                    .ok_or(Tpm2Error::Untrusted("its storage key is no point on the curve"))?;
                // KDFe (section 11.4.10.3): one round gives as many bits as are wanted.
                let parties = [padded(&own.x), padded(&point.x)];
                let [own_x, other_x] = &parties;
                let salt = sha256(&[&[0, 0, 0, 1], &shared[..], b"SECRET\0", own_x, other_x]);
                let encrypted = Writer::default().sized(&own.x).sized(&own.y).0;
                (Zeroizing::new(salt.to_vec()), encrypted, primary)
            }
        };
        let parameters = Writer::default().sized(&nonce).sized(&encrypted).u8(POLICY);
        let parameters = match point {
            Some(_) => parameters.u16(ALG_AES).u16(128).u16(ALG_CFB),
            None => parameters.u16(ALG_NULL),
        };
        let parameters = parameters.u16(ALG_SHA256).0;
        Ok(Self { nonce, salt, parameters, handles: [key, NULL], encrypts: point.is_some() })
    }

    pub fn handles(&self) -> &[u32] {
        &self.handles
    }

    pub fn parameters(&self) -> &[u8] {
        &self.parameters
    }

    pub fn finish(self, answer: &mut Answer<'_>) -> Result<Session> {
        let nonce = answer.parameters.sized().ok_or(Tpm2Error::Garbled(Code::StartAuthSession.name()))?;
        let key = match self.encrypts {
            true => kdfa(&self.salt, b"ATH\0", nonce, &self.nonce).to_vec(),
            false => Vec::new(),
        };
        Ok(Session {
            handle: answer.handle,
            nonce_tpm: nonce.to_vec(),
            key: Zeroizing::new(key),
            encrypts: self.encrypts,
            auth: None,
        })
    }
}

/// KDFa with SHA-256 for 256 bits (section 11.4.10.2): one round.
fn kdfa(key: &[u8], label: &[u8], u: &[u8], v: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(hmac_sha256(key, &[&[0, 0, 0, 1], label, u, v, &256_u32.to_be_bytes()]))
}

/// A command that was sent in the session.
pub struct Sent {
    nonce: [u8; 32],
    /// What goes into the command.
    pub area: Vec<u8>,
}

impl Session {
    /// From now on the password is part of the proof (after `TPM2_PolicyAuthValue`).
    pub fn wants_auth(&mut self, auth: &[u8]) {
        self.auth = Some(Zeroizing::new(auth.to_vec()));
    }

    fn attributes(&self) -> u8 {
        if self.encrypts { ENCRYPT } else { 0 }
    }

    /// Key of the proofs.
    fn proof_key(&self) -> Zeroizing<Vec<u8>> {
        let mut key = Zeroizing::new(Vec::with_capacity(64));
        key.extend_from_slice(&self.key);
        key.extend_from_slice(self.auth.as_deref().map_or(&[], Vec::as_slice));
        key
    }

    /// Authorizes a command without parameters on an object of this name.
    pub fn authorize(&self, code: Code, name: &[u8], random: &mut Random<'_>) -> Sent {
        let mut nonce = [0_u8; 32];
        random(&mut nonce);
        let key = self.proof_key();
        let proof = match key.is_empty() {
            true => Vec::new(),
            false => {
                let command = sha256(&[&code.number().to_be_bytes(), name]);
                hmac_sha256(&key, &[&command, &nonce, &self.nonce_tpm, &[self.attributes()]]).to_vec()
            }
        };
        let area = Writer::default().u32(self.handle).sized(&nonce).u8(self.attributes()).sized(&proof).0;
        Sent { nonce, area }
    }

    /// Checks an answer and decrypts its only parameter.
    pub fn open(&self, code: Code, sent: &Sent, answer: &Answer<'_>) -> Result<Zeroizing<Vec<u8>>> {
        let garbled = || Tpm2Error::Garbled(code.name());
        let mut sessions: Reader<'_> = answer.sessions;
        let nonce = sessions.sized().ok_or_else(garbled)?;
        let attributes = sessions.u8().ok_or_else(garbled)?;
        let proof = sessions.sized().ok_or_else(garbled)?;
        let key = self.proof_key();
        if !key.is_empty() {
            let hash = sha256(&[&0_u32.to_be_bytes(), &code.number().to_be_bytes(), answer.parameters.0]);
            let wanted = hmac_sha256(&key, &[&hash, nonce, &sent.nonce, &[attributes]]);
            if proof != wanted {
                return Err(Tpm2Error::Untrusted("the proof of its answer is wrong"));
            }
        }
        let mut parameters = answer.parameters;
        let mut data = Zeroizing::new(parameters.sized().ok_or_else(garbled)?.to_vec());
        if self.encrypts {
            let mut both = Zeroizing::new(Vec::with_capacity(64));
            both.extend_from_slice(&self.key);
            both.extend_from_slice(self.auth.as_deref().map_or(&[], Vec::as_slice));
            let keys = kdfa(&both, b"CFB\0", nonce, &sent.nonce);
            let (key, rest) = keys.split_first_chunk::<16>().ok_or_else(garbled)?;
            let iv = rest.first_chunk::<16>().ok_or_else(garbled)?;
            cfb_decrypt(key, iv, &mut data);
        }
        Ok(data)
    }
}
