use std::time::Duration;

use security_key::{PinProtocol, SecurityKey, Touch};
use serde_json::json;

use super::*;
use crate::base64;

const SALT: [u8; 32] = [7; 32];
const PIN: &[u8] = b"1234";

/// A key without a bus between.
struct Direct {
    key: SecurityKey,
    touches: usize,
}

impl Wire for Direct {
    fn send(&mut self, report: &Report) -> std::result::Result<(), WireError> {
        self.key.receive(report);
        Ok(())
    }

    fn receive(&mut self) -> std::result::Result<Report, WireError> {
        for _ in 0..200 {
            if let Some(report) = self.key.answer() {
                return Ok(report);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(WireError::TimedOut)
    }

    fn touch_wanted(&mut self) {
        self.touches += 1;
    }
}

fn direct(key: SecurityKey) -> Direct {
    Direct { key, touches: 0 }
}

fn plugged(seed: &[u8]) -> Direct {
    direct(SecurityKey::new(seed, Some("1234")))
}

fn random() -> impl FnMut(&mut [u8]) {
    let mut state = 1_u8;
    move |buffer: &mut [u8]| {
        for byte in buffer {
            state = state.wrapping_mul(5).wrapping_add(3);
            *byte = state;
        }
    }
}

/// A token of this key, and the passphrases that it stands for, without and with a PIN.
fn enrolled(key: &SecurityKey, pin: bool) -> (Fido2Token, [Vec<u8>; 2]) {
    let (id, secrets) = key.credential(RELYING_PARTY, &SALT);
    let token = Fido2Token::read(&json!({
        "type": KIND,
        "keyslots": ["1"],
        "fido2-credential": base64::encode(&id),
        "fido2-salt": base64::encode(&SALT),
        "fido2-rp": RELYING_PARTY,
        "fido2-clientPin-required": pin,
        "fido2-up-required": true,
        "fido2-uv-required": false,
    }));
    (token.expect("a token"), secrets.map(|secret| base64::encode(&secret).into_bytes()))
}

#[test]
fn with_and_without_a_pin_in_both_protocols() {
    for protocols in [&[PinProtocol::One][..], &[PinProtocol::Two], &[PinProtocol::Two, PinProtocol::One]] {
        let mut wire = direct(SecurityKey::new(b"a", Some("1234")).pin_protocols(protocols));
        for pin in [false, true] {
            let (token, wanted) = enrolled(&wire.key, pin);
            assert_eq!((token.wants_pin(), token.check(&mut wire, &mut random())), (pin, Ok(())));
            let seen = token.unseal(Some(PIN), &mut wire, &mut random());
            assert_eq!(
                seen.map(|key| key.to_vec()),
                Ok(wanted[usize::from(pin)].clone()),
                "{protocols:?} {pin}"
            );
        }
    }
}

#[test]
fn a_wrong_pin_and_a_locked_key() {
    let mut wire = plugged(b"a");
    let (token, [_, wanted]) = enrolled(&wire.key, true);
    let attempt = |wire: &mut Direct, pin: Option<&[u8]>| token.unseal(pin, wire, &mut random());
    assert_eq!(attempt(&mut wire, None), Err(Fido2Error::WantsPin));
    assert_eq!(attempt(&mut wire, Some(b"0000")), Err(Fido2Error::WrongPin(Some(7))));
    assert_eq!(attempt(&mut wire, Some(PIN)).map(|key| key.to_vec()), Ok(wanted));
    for left in [7, 6] {
        assert_eq!(attempt(&mut wire, Some(b"0000")), Err(Fido2Error::WrongPin(Some(left))));
    }
    // Three in a row: nothing more until it is pulled.
    for _ in 0..2 {
        assert!(matches!(attempt(&mut wire, Some(b"0000")), Err(Fido2Error::PinBlocked(_))));
    }
    assert!(matches!(attempt(&mut wire, Some(PIN)), Err(Fido2Error::PinBlocked(_))));
    wire.key.replug();
    for left in [4, 3] {
        assert_eq!(attempt(&mut wire, Some(b"0000")), Err(Fido2Error::WrongPin(Some(left))));
    }
    wire.key.replug();
    assert_eq!(attempt(&mut wire, Some(b"0000")), Err(Fido2Error::WrongPin(Some(2))));
    let seen = attempt(&mut wire, Some(PIN));
    assert!(matches!(seen, Err(Fido2Error::PinBlocked(why)) if why.contains("last tries")), "{seen:?}");
}

/// A key that wants a PIN for whatever needs a touch: `alwaysUv`.
struct WantsPin {
    direct: Direct,
    assertions: usize,
    refuses: bool,
    answer: Option<Report>,
}

impl Wire for WantsPin {
    fn send(&mut self, sent: &Report) -> std::result::Result<(), WireError> {
        let [one, two, three, four, command, _, _, ctap, ..] = *sent;
        if command & 0x80 != 0 {
            self.refuses = false;
        }
        if (command, ctap) == (0x90, MAKE_ASSERTION) {
            self.assertions += 1;
            // The first one only asks for the credential.
            self.refuses = self.assertions == 2;
        }
        if self.refuses {
            self.answer = Some(report(&[one, two, three, four, 0x90, 0, 1, PIN_REQUIRED]));
            return Ok(());
        }
        self.direct.send(sent)
    }

    fn receive(&mut self) -> std::result::Result<Report, WireError> {
        self.answer.take().map_or_else(|| self.direct.receive(), Ok)
    }

    fn touch_wanted(&mut self) {}
}

#[test]
fn a_pin_that_is_of_no_use_is_not_asked_for() {
    for pin in [None, Some(PIN)] {
        let mut wire = WantsPin { direct: plugged(b"a"), assertions: 0, refuses: false, answer: None };
        let (token, _) = enrolled(&wire.direct.key, false);
        let seen = token.unseal(pin, &mut wire, &mut random());
        assert!(
            matches!(seen, Err(Fido2Error::PinBlocked(why)) if why.contains("enrolled without")),
            "{seen:?}"
        );
    }
}

#[test]
fn another_key() {
    let (token, _) = enrolled(&plugged(b"a").key, false);
    let mut other = plugged(b"b");
    assert_eq!(token.check(&mut other, &mut random()), Err(Fido2Error::OtherKey));
    assert_eq!(token.unseal(None, &mut other, &mut random()), Err(Fido2Error::OtherKey));
    assert_eq!(other.touches, 0, "nobody was troubled");
}

#[test]
fn touches() {
    let key = SecurityKey::new(b"a", None).touch(Touch::After(Duration::from_millis(400)));
    let mut wire = direct(key);
    let (token, [wanted, _]) = enrolled(&wire.key, false);
    let seen = token.unseal(None, &mut wire, &mut random());
    assert_eq!((seen.map(|key| key.to_vec()), wire.touches), (Ok(wanted), 1));
}

/// A wire that gives these reports and then no more.
struct Script(Vec<Report>);

impl Wire for Script {
    fn send(&mut self, _: &Report) -> std::result::Result<(), WireError> {
        Ok(())
    }

    fn receive(&mut self) -> std::result::Result<Report, WireError> {
        if self.0.is_empty() { Err(WireError::Failed("gone".to_owned())) } else { Ok(self.0.remove(0)) }
    }

    fn touch_wanted(&mut self) {}
}

fn report(bytes: &[u8]) -> Report {
    let mut report = [0; 64];
    report[..bytes.len()].copy_from_slice(bytes);
    report
}

#[test]
fn keys_that_make_no_sense() {
    let (token, _) = enrolled(&plugged(b"a").key, false);
    let mut nonce = [0; 8];
    random()(&mut nonce);
    let channel =
        report(&[&[0xff, 0xff, 0xff, 0xff, 0x86, 0, 17][..], &nonce, &[0, 0, 0, 1, 2, 0, 0, 0, 4]].concat());
    for (after, wanted) in [
        // An error of the channel; a status; a message that is cut; no CBOR; a message whose parts are mixed up.
        (vec![report(&[0, 0, 0, 1, 0xbf, 0, 1, 6])], Fido2Error::Channel(6)),
        (vec![report(&[0, 0, 0, 1, 0x90, 0, 1, 0x14])], Fido2Error::Refused("authenticatorGetInfo", 0x14)),
        (vec![report(&[0, 0, 0, 1, 0x90, 0, 0])], Fido2Error::Garbled("authenticatorGetInfo")),
        (vec![report(&[0, 0, 0, 1, 0x90, 0, 2, 0, 0xff])], Fido2Error::Garbled("authenticatorGetInfo")),
        (
            vec![report(&[0, 0, 0, 1, 0x90, 1, 0, 0]), report(&[0, 0, 0, 1, 1, 0])],
            Fido2Error::Garbled("a message in parts"),
        ),
        (vec![report(&[9, 9, 9, 9, 0x90, 0, 1, 0])], Fido2Error::Unreachable("gone".to_owned())),
        // Keys of FIDO U2F alone, by what they say and by what they cannot do.
        (vec![report(&[0, 0, 0, 1, 0xbf, 0, 1, 1])], Fido2Error::OtherKey),
        (vec![report(&[0, 0, 0, 1, 0x90, 0, 2, 0, 0xa0])], Fido2Error::OtherKey),
    ] {
        let mut wire = Script([vec![channel], after].concat());
        assert_eq!(token.check(&mut wire, &mut random()), Err(wanted));
    }
    let mut capable = channel;
    capable[23] = 0x0b;
    assert_eq!(token.check(&mut Script(vec![capable]), &mut random()), Err(Fido2Error::OtherKey));
}

#[test]
fn a_key_that_says_nothing_is_not_listened_to_again_and_again() {
    struct Silent(WireError, usize);
    impl Wire for Silent {
        fn send(&mut self, _: &Report) -> std::result::Result<(), WireError> {
            Ok(())
        }

        fn receive(&mut self) -> std::result::Result<Report, WireError> {
            self.1 += 1;
            Err(self.0.clone())
        }

        fn touch_wanted(&mut self) {}
    }
    let (token, _) = enrolled(&plugged(b"a").key, false);
    for (error, wanted) in [
        (WireError::TimedOut, Fido2Error::TimedOut),
        (WireError::Failed("gone".to_owned()), Fido2Error::Unreachable("gone".to_owned())),
    ] {
        let mut wire = Silent(error, 0);
        assert_eq!(token.check(&mut wire, &mut random()), Err(wanted));
        assert_eq!(wire.1, 1);
    }
}

#[test]
fn tokens_that_cannot_be_used() {
    for (json, field) in [
        (json!({}), "fido2-credential"),
        (json!({ "fido2-salt": "AAAA", "fido2-credential": "AAAA" }), "fido2-salt"),
        (json!({ "fido2-salt": base64::encode(&SALT), "fido2-credential": 7 }), "fido2-credential"),
    ] {
        assert_eq!(Fido2Token::read(&json), Err(Fido2Error::BadToken(field)));
    }
    // systemd 248 wrote neither the relying party nor what it had asked for.
    let old = json!({ "fido2-salt": base64::encode(&SALT), "fido2-credential": "AAAA" });
    let token = Fido2Token::read(&old).expect("a token");
    assert_eq!((token.relying_party.as_str(), token.pin, token.touch), (RELYING_PARTY, None, None));
}
