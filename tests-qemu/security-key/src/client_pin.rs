//! authenticatorClientPIN (CTAP 2.1 section 6.5), without what changes a PIN: this key's PIN comes with it.

use ciborium::Value;
use p256::SecretKey;

use crate::cbor;
use crate::credential::{ECDH_ES_HKDF_256, Seed, cose_key, sha256};
use crate::pin_protocol::{PinProtocol, SharedSecret};
use crate::status::Status;

/// maximum PIN retries (section 6.5.2).
const RETRIES: u8 = 8;
/// Misses in a row after which the key wants to be pulled and plugged again (section 6.5.5.7.1).
const MISSES: u8 = 3;

/// The PIN and what is agreed with its help.
#[derive(Debug)]
pub(crate) struct ClientPin {
    /// Those on offer, the preferred one first.
    pub(crate) protocols: Vec<PinProtocol>,
    seed: Seed,
    hash: Option<[u8; 16]>,
    retries: u8,
    misses: u8,
    /// How many secrets were drawn so far.
    drawn: u64,
    /// `pinUvAuthToken`.
    token: [u8; 32],
    /// Number of the current key agreement key.
    agreement: u64,
}

impl ClientPin {
    pub(crate) fn new(seed: Seed, pin: Option<&str>) -> Self {
        let hash = pin.and_then(|pin| sha256(pin.as_bytes()).first_chunk().copied());
        let protocols = vec![PinProtocol::Two, PinProtocol::One];
        let mut new = Self {
            protocols,
            seed,
            hash,
            retries: RETRIES,
            misses: 0,
            drawn: 0,
            token: [0; 32],
            agreement: 0,
        };
        new.token = new.draw();
        new
    }

    /// Whether there is a PIN.
    pub(crate) fn is_set(&self) -> bool {
        self.hash.is_some()
    }

    /// Pulled and plugged again.
    pub(crate) fn power_up(&mut self) {
        self.misses = 0;
    }

    /// Answers authenticatorClientPIN.
    pub(crate) fn answer(&mut self, parameters: &Value) -> Result<Value, Status> {
        match cbor::optional_integer(parameters, 2)?.ok_or(Status::MissingParameter)? {
            // getPINRetries
            0x01 if !self.is_set() => Err(Status::PinNotSet),
            0x01 => Ok(cbor::map([(3, self.retries.into()), (4, Value::Bool(self.misses == MISSES))])),
            // getKeyAgreement
            0x02 => {
                self.protocol(cbor::optional_integer(parameters, 1)?.ok_or(Status::MissingParameter)?)?;
                Ok(cbor::map([(1, cose_key(&self.private_key()?, ECDH_ES_HKDF_256)?)]))
            }
            // getPinToken
            0x05 => self.pin_token(parameters),
            _ => Err(Status::InvalidSubcommand),
        }
    }

    /// Whether this pinUvAuthParam proves that the client knows the PIN.
    pub(crate) fn verify(&self, protocol: Option<i64>, message: &[u8], proof: &[u8]) -> Result<(), Status> {
        let protocol = self.protocol(protocol.ok_or(Status::MissingParameter)?)?;
        match protocol.authenticate(&self.token, message) == proof {
            true => Ok(()),
            false => Err(Status::PinAuthInvalid),
        }
    }

    /// The secret shared with the client that has this key agreement key.
    pub(crate) fn shared_secret(&self, protocol: i64, client: &Value) -> Result<SharedSecret, Status> {
        self.protocol(protocol)?.decapsulate(&self.private_key()?, client)
    }

    /// 16 bytes that nobody had before.
    pub(crate) fn nonce(&mut self) -> [u8; 16] {
        self.draw().first_chunk().copied().unwrap_or_default()
    }

    /// Section 6.5.5.7.1.
    fn pin_token(&mut self, parameters: &Value) -> Result<Value, Status> {
        let protocol = cbor::optional_integer(parameters, 1)?.ok_or(Status::MissingParameter)?;
        let client = cbor::field(parameters, 3).ok_or(Status::MissingParameter)?;
        let encrypted = cbor::required_bytes(parameters, 6)?;
        let hash = self.hash.ok_or(Status::PinNotSet)?;
        if self.retries == 0 {
            return Err(Status::PinBlocked);
        }
        if self.misses == MISSES {
            return Err(Status::PinAuthBlocked);
        }
        let secret = self.shared_secret(protocol, client)?;
        self.retries -= 1;
        if secret.decrypt(encrypted).ok().as_deref() != Some(hash.as_slice()) {
            // A guess must not be possible offline, against the same secret.
            self.drawn += 1;
            self.agreement = self.drawn;
            self.misses += 1;
            return Err(match (self.retries, self.misses) {
                (0, _) => Status::PinBlocked,
                (_, MISSES) => Status::PinAuthBlocked,
                _ => Status::PinInvalid,
            });
        }
        (self.retries, self.misses) = (RETRIES, 0);
        self.token = self.draw();
        let nonce = self.nonce();
        Ok(cbor::map([(2, cbor::bytes(&secret.encrypt(self.token.to_vec(), nonce)?))]))
    }

    /// The protocol with this number, if it is on offer.
    fn protocol(&self, number: i64) -> Result<PinProtocol, Status> {
        let mut offered = self.protocols.iter().copied();
        offered.find(|protocol| i64::from(protocol.number()) == number).ok_or(Status::InvalidParameter)
    }

    fn private_key(&self) -> Result<SecretKey, Status> {
        self.seed.private_key("key agreement", &[&self.agreement.to_le_bytes()])
    }

    fn draw(&mut self) -> [u8; 32] {
        self.drawn += 1;
        self.seed.derive("drawn", &[&self.drawn.to_le_bytes()])
    }
}
