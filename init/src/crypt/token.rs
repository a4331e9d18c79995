//! Keys that a TPM or a security key gives, by the tokens in a LUKS2 header.

use engine::{Failure, HeaderSource, Loudness, Token, TokenKind};
use ondisk::luks::Luks;
use rustix::rand::{GetRandomFlags, getrandom};
use tokens::Passphrase;
use tokens::fido2::{self, Fido2Error, Fido2Token};
use tokens::tpm2::{self, Tpm2Error, Tpm2Token};

use super::with_header;
use crate::kmsg;
use crate::probe::Device;
use crate::secret::Secret;
use crate::security_key::SecurityKey;
use crate::tpm::Tpm;

/// Has the token's device give its key; `None` if it wants a PIN for that.
///
/// # Errors
///
/// [`Failure::NoKeyFile`] while the device is not there, [`Failure::NoPin`] if the PIN given is empty,
/// [`Failure::WrongSecret`] for a wrong one; otherwise [`Failure::BadKey`].
pub fn unseal(token: &Token, pin: Option<&Secret>) -> Result<Option<Secret>, Failure> {
    if pin.is_some_and(Secret::is_empty) {
        return Err(Failure::NoPin);
    }
    let header = read(token)?;
    let kind = match token.kind {
        TokenKind::Tpm2 => tpm2::KIND,
        TokenKind::Fido2 => fido2::KIND,
    };
    let found: Vec<&ondisk::luks::Token> = header.tokens.iter().filter(|one| one.kind == kind).collect();
    if found.is_empty() {
        return Err(Failure::BadKey(format!(
            "{} has no token of the type {kind}; add one with systemd-cryptenroll --{}-device=auto",
            token.container,
            kind.trim_start_matches("systemd-"),
        )));
    }
    let pin = pin.map(Secret::bytes);
    match token.kind {
        TokenKind::Tpm2 => ask_tpm(token, &found, pin),
        TokenKind::Fido2 => ask_security_keys(token, &found, pin),
    }
}

fn read(token: &Token) -> Result<Luks, Failure> {
    let luks = match &token.header {
        None | Some(HeaderSource::Device(_)) => {
            let device = match &token.header {
                Some(HeaderSource::Device(device)) => device,
                _ => &token.container,
            };
            read_at(&format!("/dev/{device}"))?
        }
        header => with_header(header.as_ref(), |path| read_at(path.unwrap_or_default()))?,
    };
    luks.ok_or_else(|| Failure::BadKey(format!("{} has no LUKS header", token.container)))
}

fn read_at(path: &str) -> Result<Option<Luks>, Failure> {
    let device = Device::open_path(path, 0, 512)?;
    ondisk::luks::read(&device)
        .map_err(|error| Failure::Os { what: format!("read {path}"), errno: error.errno })
}

/// The key, and the key slot that it is for: no other needs to be tried.
fn key(mut passphrase: Passphrase, token: &ondisk::luks::Token) -> Secret {
    Secret::from(std::mem::take(&mut *passphrase)).for_keyslot(token.keyslots.first().copied())
}

fn random(mut buffer: &mut [u8]) {
    while !buffer.is_empty() {
        // It fails for buffers and flags that are none, which these are not; with zeros there would be no session.
        let Ok(filled) = getrandom(&mut *buffer, GetRandomFlags::empty()) else { return };
        buffer = buffer.get_mut(filled..).unwrap_or_default();
    }
}

fn ask_tpm(
    token: &Token,
    found: &[&ondisk::luks::Token],
    pin: Option<&[u8]>,
) -> Result<Option<Secret>, Failure> {
    let mut tpm = Tpm::open(token.node.as_deref())?;
    let mut transmit = |command: &[u8]| tpm.transmit(command);
    ask_in_turn(found, pin, |sealed| {
        if sealed.is_unencrypted() {
            log::info!("the TPM's storage key is RSA: the key crosses its bus in the open");
        }
        sealed.unseal(pin, &mut random, &mut transmit)
    })
}

fn ask_in_turn(
    found: &[&ondisk::luks::Token],
    pin: Option<&[u8]>,
    mut unseal: impl FnMut(&Tpm2Token) -> Result<Passphrase, Tpm2Error>,
) -> Result<Option<Secret>, Failure> {
    let mut outcome = Err(Failure::BadKey("no token can be used".to_owned()));
    let (mut wants_pin, mut is_wrong) = (false, false);
    for one in found {
        let sealed = match Tpm2Token::read(&one.object) {
            Ok(sealed) => sealed,
            Err(error) => {
                outcome = Err(Failure::BadKey(format!("token {}: {error}", one.id)));
                continue;
            }
        };
        if sealed.wants_pin() != pin.is_some() {
            wants_pin |= sealed.wants_pin();
            continue;
        }
        outcome = match unseal(&sealed) {
            Ok(passphrase) => return Ok(Some(key(passphrase, one))),
            // The PIN may be that of another token; if it is not, whatever else ails the others does not make it right.
            Err(Tpm2Error::WrongPin) => {
                is_wrong = true;
                continue;
            }
            Err(error) => Err(Failure::BadKey(error.to_string())),
        };
    }
    match (is_wrong, wants_pin) {
        (true, _) => Err(Failure::WrongSecret),
        (false, true) => Ok(None),
        (false, false) => outcome,
    }
}

fn ask_security_keys(
    token: &Token,
    found: &[&ondisk::luks::Token],
    pin: Option<&[u8]>,
) -> Result<Option<Secret>, Failure> {
    let nodes = SecurityKey::nodes(token.node.as_deref());
    if nodes.is_empty() {
        return Err(Failure::NoKeyFile("no security key is plugged in".to_owned()));
    }
    // Another key's fault does not end the wait for the right one; what the right one says does.
    let mut fault = "no security key that is plugged in was enrolled".to_owned();
    let mut refusal = None;
    for node in nodes {
        let mut device = match SecurityKey::open(&node) {
            Ok(device) => device,
            Err(failure) => {
                fault = failure.to_string();
                continue;
            }
        };
        device.on_touch(format_args!("touch the security key to open {}", token.container).to_string());
        for one in found {
            let sealed = match Fido2Token::read(&one.object) {
                Ok(sealed) => sealed,
                Err(error) => {
                    refusal = Some(format!("token {}: {error}", one.id));
                    continue;
                }
            };
            match sealed.unseal(pin, &mut device, &mut random) {
                Ok(passphrase) => return Ok(Some(key(passphrase, one))),
                Err(Fido2Error::OtherKey) => {}
                Err(Fido2Error::WantsPin) => return Ok(None),
                Err(error @ Fido2Error::WrongPin(_)) => {
                    kmsg::say(Loudness::Warning, error);
                    return Err(Failure::WrongSecret);
                }
                Err(error) if may_be_another(&error) => fault = error.to_string(),
                Err(error) => refusal = Some(error.to_string()),
            }
        }
    }
    Err(refusal.map_or(Failure::NoKeyFile(fault), Failure::BadKey))
}

/// Whether the failure leaves open that the right key is still to come, or is in somebody else's use for now.
fn may_be_another(error: &Fido2Error) -> bool {
    matches!(error, Fido2Error::Garbled(_) | Fido2Error::Channel(_) | Fido2Error::Unreachable(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_pin_is_one_whatever_the_next_token_says() {
        let token = |id| ondisk::luks::Token {
            id,
            kind: tpm2::KIND.to_owned(),
            keyslots: vec![id],
            object: serde_json::json!({
                "tpm2-blob": "AAIBAgADBAUG",
                "tpm2-pcrs": [7],
                "tpm2-policy-hash": "0aff",
                "tpm2-pin": true,
            }),
        };
        let (one, two) = (token(1), token(2));
        let ask = |second: Result<Passphrase, Tpm2Error>| {
            let mut answers = vec![second, Err(Tpm2Error::WrongPin)];
            ask_in_turn(&[&one, &two], Some(b"1234"), |_| answers.pop().expect("two tokens"))
        };
        assert!(matches!(ask(Err(Tpm2Error::OtherTpm)), Err(Failure::WrongSecret)));
        let found = ask(Ok(Passphrase::new(b"key".to_vec()))).expect("a key").expect("no question");
        assert_eq!((found.bytes(), found.keyslot()), (&b"key"[..], Some(2)));
    }

    #[test]
    fn a_faulty_security_key_does_not_end_the_wait_for_the_right_one() {
        const BUSY: u8 = 6;
        for error in
            [Fido2Error::Garbled("x"), Fido2Error::Channel(BUSY), Fido2Error::Unreachable("x".to_owned())]
        {
            assert!(may_be_another(&error), "{error:?}");
        }
        for error in [Fido2Error::TimedOut, Fido2Error::Denied, Fido2Error::PinBlocked("x")] {
            assert!(!may_be_another(&error), "{error:?}");
        }
    }
}
