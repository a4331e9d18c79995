//! The authenticator API (CTAP 2.1 section 6).

use ciborium::Value;

use crate::cbor;
use crate::client_pin::ClientPin;
use crate::credential::{Credential, ES256, Seed, sha256};
use crate::ctaphid::MESSAGE;
use crate::status::{OK, Status};

/// Model of the authenticator (WebAuthn section 6.5.1), freely chosen.
const AAGUID: [u8; 16] = *b"rootward-testkey";

/// Flags of authenticator data (WebAuthn section 6.1).
mod flag {
    /// User present.
    pub(super) const UP: u8 = 0x01;
    /// User verified.
    pub(super) const UV: u8 = 0x04;
    /// Attested credential data follow.
    pub(super) const AT: u8 = 0x40;
    /// Extension data follow.
    pub(super) const ED: u8 = 0x80;
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Status and CBOR, as on the wire.
    pub(crate) message: Vec<u8>,
    /// Must not be given before the user has touched the key.
    pub(crate) touch: bool,
}

/// What a command comes to.
struct Outcome {
    /// The CBOR after the status.
    result: Result<Option<Value>, Status>,
    /// As in [`Answer`].
    touch: bool,
}

impl Outcome {
    fn at_once(result: Value) -> Self {
        Self { result: Ok(Some(result)), touch: false }
    }

    fn after_touch(result: Result<Option<Value>, Status>) -> Self {
        Self { result, touch: true }
    }
}

/// A credential that is found without its id.
#[derive(Debug)]
struct Discoverable {
    relying_party: [u8; 32],
    user: Vec<u8>,
    credential: Credential,
}

/// The authenticator.
#[derive(Debug)]
pub(crate) struct Authenticator {
    /// PIN and key agreement.
    pub(crate) pin: ClientPin,
    pub(crate) seed: Seed,
    /// One for each relying party: there is no authenticatorGetNextAssertion.
    discoverable: Vec<Discoverable>,
}

impl Authenticator {
    pub(crate) fn new(seed: &[u8], pin: Option<&str>) -> Self {
        let seed = Seed::new(seed);
        Self { pin: ClientPin::new(seed.clone(), pin), seed, discoverable: Vec::new() }
    }

    /// Answers a command: its byte and its parameters in CBOR (section 8.1).
    pub(crate) fn answer(&mut self, request: &[u8]) -> Answer {
        let outcome =
            self.run(request).unwrap_or_else(|status| Outcome { result: Err(status), touch: false });
        let message = match outcome.result {
            Ok(None) => vec![OK],
            Ok(Some(value)) => [vec![OK], cbor::encode(&value)].concat(),
            Err(status) => vec![status as u8],
        };
        Answer { message, touch: outcome.touch }
    }

    fn run(&mut self, request: &[u8]) -> Result<Outcome, Status> {
        let (command, parameters) = request.split_first().ok_or(Status::InvalidLength)?;
        match command {
            // authenticatorMakeCredential
            0x01 => self.make_credential(&cbor::decode(parameters)?),
            // authenticatorGetAssertion
            0x02 => self.get_assertion(&cbor::decode(parameters)?),
            // authenticatorGetInfo
            0x04 => Ok(Outcome::at_once(self.info())),
            // authenticatorClientPIN
            0x06 => self.pin.answer(&cbor::decode(parameters)?).map(Outcome::at_once),
            // authenticatorReset, which a real key too refuses most of the time
            0x07 => Err(Status::NotAllowed),
            // authenticatorSelection
            0x0B => Ok(Outcome::after_touch(Ok(None))),
            _ => Err(Status::InvalidCommand),
        }
    }

    /// Section 6.4.
    fn info(&self) -> Value {
        let protocols = self.pin.protocols.iter().map(|protocol| Value::from(protocol.number()));
        let options = [("rk", true.into()), ("up", true.into()), ("clientPin", self.pin.is_set().into())];
        cbor::map([
            (1, Value::Array(vec!["FIDO_2_0".into()])),
            (2, Value::Array(vec!["hmac-secret".into()])),
            (3, cbor::bytes(&AAGUID)),
            (4, cbor::map(options)),
            (5, (MESSAGE as u64).into()),
            (6, Value::Array(protocols.collect())),
        ])
    }

    /// Whether the user is verified by the PIN (section 6.1.2 step 11, section 6.2.2 step 6), or what to answer when
    /// the client only wants to know whether this is the key that the user means.
    fn verified(
        &self,
        proof: Option<&[u8]>,
        protocol: Option<i64>,
        client_data: &[u8],
    ) -> Result<bool, Verdict> {
        match proof {
            None => Ok(false),
            Some([]) if self.pin.is_set() => Err(Verdict::AfterTouch(Status::PinInvalid)),
            Some([]) => Err(Verdict::AfterTouch(Status::PinNotSet)),
            Some(proof) => match self.pin.verify(protocol, client_data, proof) {
                Ok(()) => Ok(true),
                Err(status) => Err(Verdict::AtOnce(status)),
            },
        }
    }

    /// Section 6.1.
    fn make_credential(&mut self, parameters: &Value) -> Result<Outcome, Status> {
        let client_data = cbor::required_bytes(parameters, 1)?;
        let relying_party = cbor::field(parameters, 2).ok_or(Status::MissingParameter)?;
        let relying_party = sha256(cbor::required_text(relying_party, "id")?.as_bytes());
        let user = cbor::field(parameters, 3).ok_or(Status::MissingParameter)?;
        let user = cbor::required_bytes(user, "id")?;
        let algorithms = cbor::field(parameters, 4).ok_or(Status::MissingParameter)?;
        let options = cbor::field(parameters, 7);
        let proof = cbor::optional_bytes(parameters, 8)?;
        let protocol = cbor::optional_integer(parameters, 9)?;

        let user_verified = match self.verified(proof, protocol, client_data) {
            Ok(user_verified) => user_verified,
            Err(verdict) => return verdict.outcome(),
        };
        if !supports(algorithms)? {
            return Err(Status::UnsupportedAlgorithm);
        }
        // The key itself cannot verify its user, and never makes a credential behind the user's back.
        let up = cbor::option(options, "up")?.unwrap_or(true);
        if !up || cbor::option(options, "uv")?.unwrap_or(false) {
            return Err(Status::InvalidOption);
        }
        if self.pin.is_set() && !user_verified {
            return Err(Status::PuatRequired);
        }
        if !self.listed(cbor::field(parameters, 5), &relying_party)?.is_empty() {
            return Ok(Outcome::after_touch(Err(Status::CredentialExcluded)));
        }
        let credential = self.seed.make_credential(&relying_party, user, client_data);
        if cbor::option(options, "rk")?.unwrap_or(false) {
            self.discoverable.retain(|other| other.relying_party != relying_party);
            let (user, credential) = (user.to_vec(), credential.clone());
            self.discoverable.push(Discoverable { relying_party, user, credential });
        }
        let extensions = cbor::field(parameters, 6);
        let extensions = cbor::option(extensions, "hmac-secret")?
            .map(|wanted| cbor::encode(&cbor::map([("hmac-secret", wanted.into())])));

        let mut attested = AAGUID.to_vec();
        let length = u16::try_from(credential.id.len()).map_err(|_| Status::Other)?;
        attested.extend_from_slice(&length.to_be_bytes());
        attested.extend_from_slice(&credential.id);
        attested.extend_from_slice(&cbor::encode(&credential.public_key()?));
        let flags = flag::UP | if user_verified { flag::UV } else { 0 };
        let data = authenticator_data(&relying_party, flags, Some(&attested), extensions.as_deref());
        // Self attestation (WebAuthn section 8.2).
        let signature = credential.sign(&[&data, client_data].concat())?;
        let statement = cbor::map([("alg", ES256.into()), ("sig", cbor::bytes(&signature))]);
        let result = cbor::map([(1, "packed".into()), (2, cbor::bytes(&data)), (3, statement)]);
        Ok(Outcome::after_touch(Ok(Some(result))))
    }

    /// Section 6.2.
    fn get_assertion(&mut self, parameters: &Value) -> Result<Outcome, Status> {
        let relying_party = sha256(cbor::required_text(parameters, 1)?.as_bytes());
        let client_data = cbor::required_bytes(parameters, 2)?;
        let options = cbor::field(parameters, 5);
        let proof = cbor::optional_bytes(parameters, 6)?;
        let protocol = cbor::optional_integer(parameters, 7)?;

        let user_verified = match self.verified(proof, protocol, client_data) {
            Ok(user_verified) => user_verified,
            Err(verdict) => return verdict.outcome(),
        };
        if cbor::option(options, "uv")?.unwrap_or(false) || cbor::option(options, "rk")?.is_some() {
            return Err(Status::InvalidOption);
        }
        let up = cbor::option(options, "up")?.unwrap_or(true);
        let (credential, user) = match cbor::field(parameters, 3) {
            Some(list) => (self.listed(Some(list), &relying_party)?.into_iter().next(), None),
            None => self
                .discoverable
                .iter()
                .find(|found| found.relying_party == relying_party)
                .map(|found| (Some(found.credential.clone()), Some(found.user.clone())))
                .unwrap_or_default(),
        };
        let credential = credential.ok_or(Status::NoCredentials)?;
        let extensions = match cbor::field(parameters, 4).and_then(|map| cbor::field(map, "hmac-secret")) {
            // Section 12.5: not without the user.
            Some(_) if !up => return Err(Status::UnsupportedOption),
            Some(input) => {
                let output = self.hmac_secret(input, &credential.cred_random(user_verified))?;
                Some(cbor::encode(&cbor::map([("hmac-secret", cbor::bytes(&output))])))
            }
            None => None,
        };
        let flags = if up { flag::UP } else { 0 } | if user_verified { flag::UV } else { 0 };
        let data = authenticator_data(&relying_party, flags, None, extensions.as_deref());
        let signature = credential.sign(&[&data, client_data].concat())?;
        let descriptor = cbor::map([("id", cbor::bytes(&credential.id)), ("type", "public-key".into())]);
        let mut result =
            vec![(1.into(), descriptor), (2.into(), cbor::bytes(&data)), (3.into(), cbor::bytes(&signature))];
        if let Some(user) = user {
            result.push((4.into(), cbor::map([("id", cbor::bytes(&user))])));
        }
        Ok(Outcome { result: Ok(Some(Value::Map(result))), touch: up })
    }

    /// Output of hmac-secret for its input (section 12.5).
    fn hmac_secret(&mut self, input: &Value, cred_random: &[u8]) -> Result<Vec<u8>, Status> {
        let client = cbor::field(input, 1).ok_or(Status::MissingParameter)?;
        let encrypted = cbor::required_bytes(input, 2)?;
        let proof = cbor::required_bytes(input, 3)?;
        let protocol = cbor::optional_integer(input, 4)?.unwrap_or(1);
        let secret = self.pin.shared_secret(protocol, client)?;
        secret.verify(encrypted, proof)?;
        let salts = secret.decrypt(encrypted)?;
        let (salts, []) = salts.as_chunks::<32>() else {
            return Err(Status::InvalidLength);
        };
        if !matches!(salts, [_] | [_, _]) {
            return Err(Status::InvalidLength);
        }
        let outputs: Vec<u8> =
            salts.iter().flat_map(|salt| crate::credential::hmac_sha256(cred_random, &[salt])).collect();
        secret.encrypt(outputs, self.pin.nonce())
    }

    /// The credentials in this list of descriptors that are the key's own.
    fn listed(&self, list: Option<&Value>, relying_party: &[u8; 32]) -> Result<Vec<Credential>, Status> {
        let Some(list) = list else {
            return Ok(Vec::new());
        };
        let mut own = Vec::new();
        for descriptor in list.as_array().ok_or(Status::CborUnexpectedType)? {
            let id = cbor::required_bytes(descriptor, "id")?;
            own.extend(self.seed.open_credential(relying_party, id));
        }
        Ok(own)
    }
}

/// Why a command ends at its pinUvAuthParam.
enum Verdict {
    AtOnce(Status),
    AfterTouch(Status),
}

impl Verdict {
    fn outcome(self) -> Result<Outcome, Status> {
        match self {
            Self::AtOnce(status) => Err(status),
            Self::AfterTouch(status) => Ok(Outcome::after_touch(Err(status))),
        }
    }
}

/// Whether ES256 is among these pubKeyCredParams.
fn supports(algorithms: &Value) -> Result<bool, Status> {
    for parameters in algorithms.as_array().ok_or(Status::CborUnexpectedType)? {
        let kind = cbor::required_text(parameters, "type")?;
        if kind == "public-key" && cbor::optional_integer(parameters, "alg")? == Some(ES256) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Authenticator data (WebAuthn section 6.1).
fn authenticator_data(
    relying_party: &[u8; 32],
    mut flags: u8,
    attested: Option<&[u8]>,
    extensions: Option<&[u8]>,
) -> Vec<u8> {
    flags |= if attested.is_some() { flag::AT } else { 0 };
    flags |= if extensions.is_some() { flag::ED } else { 0 };
    let mut data = relying_party.to_vec();
    data.push(flags);
    // Zero says that there is no signature counter; one would need a memory.
    data.extend_from_slice(&[0; 4]);
    data.extend_from_slice(attested.unwrap_or_default());
    data.extend_from_slice(extensions.unwrap_or_default());
    data
}
