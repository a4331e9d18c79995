//! Keys that a FIDO2 security key computes, after a touch and perhaps a PIN: tokens of the type `systemd-fido2`
//! (systemd-cryptenroll(1); src/shared/libfido2-util.c of systemd 257), by the `hmac-secret` extension of CTAP 2.1.

mod cbor;
mod hid;
mod pin;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::crypto::sha256;
use crate::{Passphrase, Random, fields};
use cbor::Value;
use hid::Channel;
pub use hid::{Report, Wire, WireError};
use pin::{Protocol, Shared};

/// Type of the token.
pub const KIND: &str = "systemd-fido2";

/// What a credential is for unless the token says otherwise.
const RELYING_PARTY: &str = "io.systemd.cryptsetup";

/// systemd signs nothing, so that there is nothing to be hashed.
const CLIENT_DATA_HASH: [u8; 32] = [0; 32];

/// Tries that are left to somebody who still knows the PIN: once a key has none left it must be reset, and its
/// credentials are gone.
const LAST_TRIES: i64 = 2;

/// Why a security key gives no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fido2Error {
    /// The token cannot be understood.
    BadToken(&'static str),
    /// It is another security key, or cannot do what is needed.
    OtherKey,
    /// A PIN has to be given.
    WantsPin,
    /// The PIN is wrong; so many tries are left.
    WrongPin(Option<i64>),
    /// No further PIN is tried, for this reason.
    PinBlocked(&'static str),
    /// It was not touched in time.
    TimedOut,
    /// It was touched, and refused.
    Denied,
    /// This answer makes no sense.
    Garbled(&'static str),
    /// The command failed with this status (CTAP 2.1, section 8.2).
    Refused(&'static str, u8),
    /// The channel failed with this number (section 11.2.9.1.6).
    Channel(u8),
    /// It could not be talked to.
    Unreachable(String),
}

impl fmt::Display for Fido2Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fido2Error::BadToken(what) => write!(f, "the token is damaged: {what}"),
            Fido2Error::OtherKey => f.write_str("it is not the security key that was enrolled"),
            Fido2Error::WantsPin => f.write_str("it wants a PIN"),
            Fido2Error::WrongPin(None) => f.write_str("the PIN is wrong"),
            Fido2Error::WrongPin(Some(left)) => {
                write!(f, "the PIN is wrong; the security key allows {left} more")
            }
            Fido2Error::PinBlocked(why) => f.write_str(why),
            Fido2Error::TimedOut => f.write_str("the security key was not touched in time"),
            Fido2Error::Denied => f.write_str("the security key refused"),
            Fido2Error::Garbled(what) => write!(f, "the security key's answer makes no sense: {what}"),
            Fido2Error::Refused(command, status) => write!(f, "{command} failed with {status:#04x}"),
            Fido2Error::Channel(number) => write!(f, "the security key's channel failed with {number:#04x}"),
            Fido2Error::Unreachable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Fido2Error {}

type Result<T> = std::result::Result<T, Fido2Error>;

/// What the token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fido2Token {
    credential: Vec<u8>,
    /// 32 or 64 bytes.
    salt: Vec<u8>,
    relying_party: String,
    /// Whether it was enrolled with a PIN, with a touch and with the key's own check of its user; systemd before 249 did
    /// not say.
    pin: Option<bool>,
    touch: Option<bool>,
    user_check: Option<bool>,
}

impl Fido2Token {
    /// Reads the token's JSON object.
    ///
    /// # Errors
    /// [`Fido2Error::BadToken`]
    pub fn read(token: &Json) -> Result<Self> {
        let bad = Fido2Error::BadToken;
        let salt = fields::bytes(token, "fido2-salt").filter(|salt| matches!(salt.len(), 32 | 64));
        Ok(Self {
            credential: fields::bytes(token, "fido2-credential").ok_or(bad("fido2-credential"))?,
            salt: salt.ok_or(bad("fido2-salt"))?,
            relying_party: fields::text(token, "fido2-rp").unwrap_or(RELYING_PARTY).to_owned(),
            pin: fields::flag(token, "fido2-clientPin-required"),
            touch: fields::flag(token, "fido2-up-required"),
            user_check: fields::flag(token, "fido2-uv-required"),
        })
    }

    /// Whether a PIN has to be asked for.
    #[must_use]
    pub fn wants_pin(&self) -> bool {
        self.pin == Some(true)
    }

    /// Whether this is the security key of the token. It needs no touch.
    ///
    /// # Errors
    /// [`Fido2Error::OtherKey`], or why it does not say.
    pub fn check(&self, wire: &mut dyn Wire, random: &mut Random<'_>) -> Result<()> {
        Session::open(self, wire, random).map(drop)
    }

    /// Has the security key compute the key.
    ///
    /// # Errors
    /// See [`Fido2Error`]; [`Fido2Error::WantsPin`] if a PIN is wanted and none is given.
    pub fn unseal(
        &self,
        pin: Option<&[u8]>,
        wire: &mut dyn Wire,
        random: &mut Random<'_>,
    ) -> Result<Passphrase> {
        let mut session = Session::open(self, wire, random)?;
        let pin = if self.pin == Some(false) { None } else { pin };
        if self.wants_pin() && pin.is_none() {
            return Err(Fido2Error::WantsPin);
        }
        match session.compute(self, pin, random) {
            // With a PIN the key computes another secret, so that asking for one would lead nowhere, again and again.
            Err(Fido2Error::WantsPin) if self.pin == Some(false) => Err(Fido2Error::PinBlocked(
                "the security key wants a PIN, and was enrolled without: with a PIN it computes another key",
            )),
            secret => Ok(crate::passphrase(&secret?)),
        }
    }
}

const MAKE_ASSERTION: u8 = 0x02;
const GET_INFO: u8 = 0x04;
const CLIENT_PIN: u8 = 0x06;
/// Subcommands of [`CLIENT_PIN`].
const GET_RETRIES: i64 = 1;
const GET_KEY_AGREEMENT: i64 = 2;
const GET_PIN_TOKEN: i64 = 5;

/// Status codes (section 8.2).
const INVALID_CREDENTIAL: u8 = 0x22;
const OPERATION_DENIED: u8 = 0x27;
const KEEPALIVE_CANCEL: u8 = 0x2d;
const NO_CREDENTIALS: u8 = 0x2e;
const USER_ACTION_TIMEOUT: u8 = 0x2f;
const PIN_INVALID: u8 = 0x31;
const PIN_BLOCKED: u8 = 0x32;
const PIN_AUTH_BLOCKED: u8 = 0x34;
const PIN_NOT_SET: u8 = 0x35;
const PIN_REQUIRED: u8 = 0x36;

/// A security key that has the token's credential.
struct Session<'a> {
    channel: Channel<'a>,
    protocol: Protocol,
    has_touch: bool,
    has_user_check: bool,
}

impl<'a> Session<'a> {
    fn open(token: &Fido2Token, wire: &'a mut dyn Wire, random: &mut Random<'_>) -> Result<Self> {
        let mut channel = Channel::open(wire, random)?;
        let info = call(&mut channel, "authenticatorGetInfo", GET_INFO, None)?;
        let extensions = info.at(2).map(Value::items).unwrap_or_default();
        if !extensions.iter().any(|name| name.text() == Some("hmac-secret")) {
            return Err(Fido2Error::OtherKey);
        }
        let option = |name| info.at(4)?.named(name)?.bool();
        let protocols = info.at(6).map(Value::items).unwrap_or_default();
        let mut session = Self {
            channel,
            // The key names the one that it likes best first; those of CTAP 2.0 know the first alone.
            protocol: protocols
                .iter()
                .find_map(|number| match number.integer() {
                    Some(1) => Some(Protocol::One),
                    Some(2) => Some(Protocol::Two),
                    _ => None,
                })
                .unwrap_or(Protocol::One),
            has_touch: option("up").unwrap_or(true),
            has_user_check: option("uv") == Some(true),
        };
        // Asking a key that checks its user by itself may already need the user.
        if !(session.has_user_check && token.user_check == Some(true)) {
            session.knows(token)?;
        }
        Ok(session)
    }

    /// Whether the key has the credential, without a touch (section 7.4).
    fn knows(&mut self, token: &Fido2Token) -> Result<()> {
        let options = self.has_touch.then(|| Value::Map(vec![named("up", Value::Bool(false))]));
        let mut fields = assertion(token);
        fields.extend(options.map(|options| numbered(5, options)));
        match call(&mut self.channel, "authenticatorGetAssertion", MAKE_ASSERTION, Some(Value::Map(fields))) {
            Err(Fido2Error::Refused(_, NO_CREDENTIALS | INVALID_CREDENTIAL)) => Err(Fido2Error::OtherKey),
            // It says nothing without its user.
            Err(Fido2Error::Refused(_, PIN_REQUIRED)) => Ok(()),
            other => other.map(drop),
        }
    }

    fn compute(
        &mut self,
        token: &Fido2Token,
        pin: Option<&[u8]>,
        random: &mut Random<'_>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let agreement = self.client_pin(GET_KEY_AGREEMENT, Vec::new())?;
        let key = agreement.at(1).ok_or(Fido2Error::Garbled("its public key"))?;
        let shared = Shared::agree(self.protocol, key, random)?;
        let salt = shared.encrypt(&token.salt, random);
        let proof = shared.authenticate(&salt);
        let mut extension = vec![
            numbered(1, shared.public.clone()),
            numbered(2, Value::Bytes(salt)),
            numbered(3, Value::Bytes(proof)),
        ];
        if self.protocol != Protocol::One {
            extension.push(numbered(4, Value::Integer(self.protocol.number())));
        }
        let mut fields = assertion(token);
        fields.push(numbered(4, Value::Map(vec![named("hmac-secret", Value::Map(extension))])));
        let mut options = Vec::new();
        if self.has_touch {
            options.push(named("up", Value::Bool(token.touch != Some(false))));
        }
        if self.has_user_check && pin.is_none() && token.user_check.is_some() {
            options.push(named("uv", Value::Bool(token.user_check == Some(true))));
        }
        if !options.is_empty() {
            fields.push(numbered(5, Value::Map(options)));
        }
        if let Some(pin) = pin {
            let granted = self.pin_token(&shared, pin, random)?;
            fields.push(numbered(6, Value::Bytes(self.protocol.authenticate(&granted, &CLIENT_DATA_HASH))));
            fields.push(numbered(7, Value::Integer(self.protocol.number())));
        }
        let command = "authenticatorGetAssertion";
        let answer = match call(&mut self.channel, command, MAKE_ASSERTION, Some(Value::Map(fields))) {
            Err(Fido2Error::Refused(_, status)) => return Err(self.why(command, status, pin.is_some())),
            other => other?,
        };
        let data = answer.at(2).and_then(Value::bytes).ok_or(Fido2Error::Garbled(command))?;
        let sealed =
            output(data, &token.relying_party).ok_or(Fido2Error::Garbled("it has no hmac-secret"))?;
        let secret = shared.decrypt(&sealed)?;
        // One HMAC per salt.
        if secret.len() == token.salt.len() {
            Ok(secret)
        } else {
            Err(Fido2Error::Garbled("its hmac-secret"))
        }
    }

    /// What stands for the PIN in further commands.
    fn pin_token(
        &mut self,
        shared: &Shared,
        pin: &[u8],
        random: &mut Random<'_>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let left = self.retries()?;
        if left.is_some_and(|left| left <= LAST_TRIES) {
            return Err(Fido2Error::PinBlocked(
                "the security key is about to lock for ever after wrong PINs: its last tries are left for a running system",
            ));
        }
        let hash = Zeroizing::new(sha256(&[pin]));
        let hash = shared.encrypt(hash.first_chunk::<16>().map_or(&[], |half| &half[..]), random);
        let fields = vec![numbered(3, shared.public.clone()), numbered(6, Value::Bytes(hash))];
        match self.client_pin(GET_PIN_TOKEN, fields) {
            Err(Fido2Error::Refused(command, status)) => Err(self.why(command, status, true)),
            answer => {
                let answer = answer?;
                let sealed =
                    answer.at(2).and_then(Value::bytes).ok_or(Fido2Error::Garbled("its PIN token"))?;
                shared.decrypt(sealed)
            }
        }
    }

    /// Wrong PINs that the key still allows, if it tells.
    fn retries(&mut self) -> Result<Option<i64>> {
        Ok(self.client_pin(GET_RETRIES, Vec::new())?.at(3).and_then(Value::integer))
    }

    fn client_pin(&mut self, subcommand: i64, more: Vec<(Value, Value)>) -> Result<Value> {
        let protocol = Value::Integer(self.protocol.number());
        let mut fields = vec![numbered(1, protocol), numbered(2, Value::Integer(subcommand))];
        fields.extend(more);
        call(&mut self.channel, "authenticatorClientPIN", CLIENT_PIN, Some(Value::Map(fields)))
    }

    /// What a status means for the user.
    fn why(&mut self, command: &'static str, status: u8, with_pin: bool) -> Fido2Error {
        match status {
            PIN_INVALID => Fido2Error::WrongPin(self.retries().ok().flatten()),
            PIN_REQUIRED if !with_pin => Fido2Error::WantsPin,
            PIN_AUTH_BLOCKED => Fido2Error::PinBlocked(
                "the security key takes no more PINs until it is pulled out and plugged in again",
            ),
            PIN_BLOCKED => Fido2Error::PinBlocked("the security key is locked after too many wrong PINs"),
            PIN_NOT_SET => Fido2Error::PinBlocked("the security key has no PIN any more"),
            USER_ACTION_TIMEOUT | KEEPALIVE_CANCEL => Fido2Error::TimedOut,
            OPERATION_DENIED => Fido2Error::Denied,
            NO_CREDENTIALS | INVALID_CREDENTIAL => Fido2Error::OtherKey,
            status => Fido2Error::Refused(command, status),
        }
    }
}

fn numbered(key: i64, value: Value) -> (Value, Value) {
    (Value::Integer(key), value)
}

fn named(key: &str, value: Value) -> (Value, Value) {
    (Value::Text(key.to_owned()), value)
}

/// What every request for an assertion begins with.
fn assertion(token: &Fido2Token) -> Vec<(Value, Value)> {
    let credential = Value::Map(vec![
        named("id", Value::Bytes(token.credential.clone())),
        named("type", Value::Text("public-key".to_owned())),
    ]);
    vec![
        numbered(1, Value::Text(token.relying_party.clone())),
        numbered(2, Value::Bytes(CLIENT_DATA_HASH.to_vec())),
        numbered(3, Value::Array(vec![credential])),
    ]
}

fn call(
    channel: &mut Channel<'_>,
    name: &'static str,
    command: u8,
    parameters: Option<Value>,
) -> Result<Value> {
    let mut message = vec![command];
    message.extend(parameters.map(|parameters| parameters.encode()).unwrap_or_default());
    let answer = channel.call(&message)?;
    match answer.split_first() {
        Some((0, [])) => Ok(Value::Nothing),
        Some((0, body)) => Value::decode(body).map(|(value, _)| value).ok_or(Fido2Error::Garbled(name)),
        Some((status, _)) => Err(Fido2Error::Refused(name, *status)),
        None => Err(Fido2Error::Garbled(name)),
    }
}

/// The extension's output in the authenticator data (WebAuthn, section 6.1): hash of the relying party, flags, counter,
/// extensions.
fn output(data: &[u8], relying_party: &str) -> Option<Vec<u8>> {
    /// Extension data is included.
    const EXTENSIONS: u8 = 0x80;
    /// So is a credential, which an assertion has no use for.
    const CREDENTIAL: u8 = 0x40;
    let (hash, rest) = data.split_first_chunk::<32>()?;
    let ([flags, ..], rest) = rest.split_first_chunk::<5>()?;
    if *hash != sha256(&[relying_party.as_bytes()]) || flags & (EXTENSIONS | CREDENTIAL) != EXTENSIONS {
        return None;
    }
    Some(Value::decode(rest)?.0.named("hmac-secret")?.bytes()?.to_vec())
}
