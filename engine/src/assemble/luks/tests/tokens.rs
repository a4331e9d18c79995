//! Tokens: a TPM that answers, wants a PIN or refuses; a security key that is waited for.

use super::*;
use crate::{SealedKey, Token, TokenKind};

fn with_option(option: &str) -> Plan {
    let mut plan = explicit(ID);
    plan.luks.options.push((None, vec![option.to_owned()]));
    plan
}

/// What tokens are asked, and with which PIN.
fn asked(actions: &[Action]) -> Vec<(TokenKind, Option<u64>)> {
    let one = |action: &Action| match action {
        Action::UnsealKey(SealedKey::Token(Token { kind, .. }), pin) => Some((*kind, pin.map(|pin| pin.0))),
        _ => None,
    };
    actions.iter().filter_map(one).collect()
}

fn is_unseal(action: &Action) -> bool {
    matches!(action, Action::UnsealKey(..))
}

fn said(actions: &[Action]) -> Vec<String> {
    let one = |action: &Action| match action {
        Action::Say(_, text) => Some(text.clone()),
        _ => None,
    };
    actions.iter().filter_map(one).collect()
}

fn held(actions: &[Action]) -> Vec<u64> {
    let one = |action: &Action| match action {
        Action::OpenCrypt { secret: SecretSource::Held(id), .. } => Some(id.0),
        _ => None,
    };
    actions.iter().filter_map(one).collect()
}

const NOT_YET: &str = "no security key is plugged in";

#[test]
fn a_tpm_that_gives_its_key() {
    let mut script = Script::new(with_option("tpm2-device=auto"));
    let actions = script.disk("sda", luks());
    assert!(!actions.iter().any(is_ask), "{actions:?}");
    assert_eq!(asked(&actions), [(TokenKind::Tpm2, None)]);
    let actions = script.answer(is_unseal, Ok(Outcome::Secret(SecretId(9))));
    assert_eq!((held(&actions), asks(&actions)), (vec![9], vec![]));
    // A key that opens nothing leaves the passphrase.
    assert_eq!(asks(&wrong(&mut script))[0].0, format!("Passphrase for sda (luks-{ID})"));
}

#[test]
fn a_tpm_that_refuses_leaves_the_passphrase() {
    let mut script = Script::new(with_option("tpm2-device=auto"));
    script.disk("sda", luks());
    let actions = script.answer(is_unseal, Err(Failure::BadKey("PCR 7 differs".into())));
    assert_eq!(said(&actions), [format!("the TPM 2.0 does not open luks-{ID}: PCR 7 differs")]);
    assert_eq!(
        asks(&actions),
        [(format!("Passphrase for sda (luks-{ID})"), Some("PCR 7 differs".to_owned()))]
    );
    assert_eq!(typed(&mut script, 1).len(), 1);
}

#[test]
fn a_pin_is_asked_for_and_given_to_the_token_alone() {
    let mut script = Script::new(with_option("tpm2-device=auto"));
    script.disk("sda", luks());
    let actions = script.answer(is_unseal, Ok(Outcome::Done));
    let prompt = format!("PIN of the TPM 2.0 for sda (luks-{ID}), or nothing for its passphrase");
    assert_eq!(asks(&actions), [(prompt.clone(), None)]);
    let actions = script.types(SecretId(1));
    assert_eq!((asked(&actions), held(&actions)), (vec![(TokenKind::Tpm2, Some(1))], vec![]));
    let actions = script.answer(is_unseal, Err(Failure::WrongSecret));
    assert_eq!(asks(&actions), [(prompt, Some("wrong PIN, 2 tries left".to_owned()))]);
    assert_eq!(asked(&script.types(SecretId(2))), [(TokenKind::Tpm2, Some(2))]);
    assert_eq!(held(&script.answer(is_unseal, Ok(Outcome::Secret(SecretId(3))))), [3]);
}

#[test]
fn after_three_wrong_pins_or_none_the_passphrase_is_asked_for() {
    for empty in [false, true] {
        let mut script = Script::new(with_option("tpm2-device=auto"));
        script.disk("sda", luks());
        let mut actions = script.answer(is_unseal, Ok(Outcome::Done));
        let failure = if empty { Failure::NoPin } else { Failure::WrongSecret };
        for pin in 0..if empty { 1 } else { 3 } {
            assert!(asks(&actions)[0].0.starts_with("PIN of the"), "{actions:?}");
            script.types(SecretId(pin));
            actions = script.answer(is_unseal, Err(failure.clone()));
            assert_eq!((held(&actions), said(&actions)), (vec![], vec![]));
        }
        let note = (!empty).then(|| "3 wrong PINs".to_owned());
        assert_eq!(asks(&actions), [(format!("Passphrase for sda (luks-{ID})"), note)]);
        assert_eq!(held(&script.types(SecretId(7))), [7]);
    }
}

#[test]
fn an_answer_to_an_earlier_question_is_never_a_pin() {
    let mut plan = explicit("aaaa");
    plan.luks.selectors.push(selector(LuksIdKind::Uuid, ID));
    plan.luks.options.push((Some(ID.to_owned()), vec!["fido2-device=auto".to_owned()]));
    let mut script = Script::new(plan);
    let passphrase = number(&script.disk("sda", content(Kind::Luks2, "aaaa")));
    script.disk("sdb", luks());
    let actions = script.answer(is_unseal, Ok(Outcome::Done));
    assert!(asks(&actions)[0].0.starts_with("PIN of the security key for sdb"), "{actions:?}");
    let pin = number(&actions);
    assert_ne!(passphrase, pin);
    // The passphrase was complete before the question changed, and is told after it.
    let actions = script.tell(Event::Typed(SecretId(1), passphrase));
    assert_eq!((asked(&actions), held(&actions), asks(&actions)), (vec![], vec![], vec![]));
    let actions = script.tell(Event::Typed(SecretId(2), pin));
    assert_eq!((asked(&actions), held(&actions)), (vec![(TokenKind::Fido2, Some(2))], vec![]));
}

#[test]
fn a_token_that_wants_the_pin_it_was_given_is_not_asked_again() {
    let mut script = Script::new(with_option("fido2-device=auto"));
    script.disk("sda", luks());
    script.answer(is_unseal, Ok(Outcome::Done));
    assert_eq!(asked(&script.types(SecretId(1))), [(TokenKind::Fido2, Some(1))]);
    let actions = script.answer(is_unseal, Ok(Outcome::Done));
    assert_eq!((asked(&actions), said(&actions).len()), (vec![], 1));
    assert!(asks(&actions)[0].0.starts_with("Passphrase for sda"), "{actions:?}");
}

#[test]
fn a_key_that_was_pulled_out_before_its_pin_came_is_asked_for() {
    let mut script = Script::new(with_option("fido2-device=auto"));
    script.disk("sda", luks());
    let prompt = asks(&script.answer(is_unseal, Ok(Outcome::Done)));
    script.types(SecretId(1));
    let actions = script.answer(is_unseal, Err(Failure::NoKeyFile(NOT_YET.into())));
    assert_eq!(asked(&actions), []);
    assert_eq!(asks(&actions), [(prompt[0].0.clone(), Some(NOT_YET.to_owned()))]);
    assert_eq!(asked(&script.types(SecretId(2))), [(TokenKind::Fido2, Some(2))]);
}

#[test]
fn one_pin_for_all_tokens_of_a_kind() {
    let mut plan = with_option("fido2-device=auto");
    plan.luks.selectors.push(selector(LuksIdKind::Uuid, "aaaa"));
    let mut script = Script::new(plan);
    script.disk("sda", luks());
    script.answer(is_unseal, Ok(Outcome::Done));
    script.types(SecretId(1));
    script.answer(is_unseal, Ok(Outcome::Secret(SecretId(2))));
    script.answer(is_open, Ok(Outcome::Done));
    assert_eq!(asked(&script.disk("sdb", content(Kind::Luks2, "aaaa"))), [(TokenKind::Fido2, None)]);
    let actions = script.answer(is_unseal, Ok(Outcome::Done));
    assert_eq!((asked(&actions), asks(&actions)), (vec![(TokenKind::Fido2, Some(1))], vec![]));
    let actions = script.answer(is_unseal, Err(Failure::WrongSecret));
    assert!(asks(&actions)[0].0.contains("sdb"), "{actions:?}");
}

#[test]
fn a_security_key_is_waited_for() {
    let mut plan = with_option("fido2-device=auto");
    plan.luks.options.push((None, vec!["token-timeout=5".to_owned()]));
    let mut script = Script::new(plan);
    let actions = script.disk("sda", luks());
    assert!(actions.contains(&Action::LoadInputDrivers), "{actions:?}");
    let absent = || Err(Failure::NoKeyFile(NOT_YET.into()));
    let actions = script.answer(is_unseal, absent());
    assert_eq!(said(&actions), [format!("waiting for the security key that opens luks-{ID}: {NOT_YET}")]);
    assert_eq!(asks(&actions), []);
    for _ in 0..4 {
        let actions = script.wait(1_000);
        assert_eq!(asked(&actions), [(TokenKind::Fido2, None)], "it is looked for every second");
        let actions = script.answer(is_unseal, absent());
        assert_eq!((said(&actions), asks(&actions)), (vec![], vec![]));
    }
    script.wait(1_000);
    let actions = script.answer(is_unseal, absent());
    assert_eq!(said(&actions), [format!("the security key does not open luks-{ID}: {NOT_YET}")]);
    assert_eq!(asks(&actions).len(), 1);
    assert_eq!(asked(&script.wait(5_000)), []);
}

#[test]
fn others_are_opened_while_somebody_looks_for_the_key() {
    let mut plan = explicit(ID);
    plan.luks.options.push((Some(ID.to_owned()), vec!["fido2-device=auto".to_owned()]));
    plan.luks.selectors.push(selector(LuksIdKind::Uuid, "aaaa"));
    let mut script = Script::new(plan);
    assert_eq!(asked(&script.disk("sda", luks())), [(TokenKind::Fido2, None)]);
    // The security key waits to be touched.
    let actions = script.disk("sdb", content(Kind::Luks2, "aaaa"));
    assert_eq!(asks(&actions)[0].0, "Passphrase for sdb (luks-aaaa)");
    assert_eq!(typed(&mut script, 1), [("sdb".to_owned(), "luks-aaaa".to_owned())]);
}

#[test]
fn a_security_key_serves_one_container_at_a_time() {
    let mut plan = with_option("fido2-device=auto");
    plan.luks.selectors.push(selector(LuksIdKind::Uuid, "aaaa"));
    let mut script = Script::new(plan);
    assert_eq!(asked(&script.disk("sda", luks())), [(TokenKind::Fido2, None)]);
    let actions = script.disk("sdb", content(Kind::Luks2, "aaaa"));
    assert_eq!((asked(&actions), asks(&actions)), (vec![], vec![]), "sda's waits to be touched");
    assert_eq!(asked(&script.wait(60_000)), []);
    // Now it is sdb's turn, and it wants a PIN.
    let actions = script.answer(is_unseal, Ok(Outcome::Done));
    assert_eq!(asked(&actions), [(TokenKind::Fido2, None)]);
    assert!(asks(&actions)[0].0.contains("sda"), "{actions:?}");
    // The PIN waits until the key is free, and is not asked for again meanwhile.
    let actions = script.types(SecretId(1));
    assert_eq!((asked(&actions), asks(&actions)), (vec![], vec![]));
    let actions = script.answer(is_unseal, Ok(Outcome::Done));
    assert_eq!(asked(&actions), [(TokenKind::Fido2, Some(1))]);
    assert_eq!(held(&script.answer(is_unseal, Ok(Outcome::Secret(SecretId(2))))), [2]);
}

#[test]
fn a_token_in_the_header_is_used_unasked_and_not_waited_for() {
    let mut enrolled = luks();
    enrolled.signatures[0].tokens = vec!["systemd-fido2".to_owned(), "systemd-tpm2".to_owned()];
    let mut script = Script::new(explicit(ID));
    assert_eq!(asked(&script.disk("sda", enrolled)), [(TokenKind::Tpm2, None)]);
    let actions = script.answer(is_unseal, Err(Failure::NoKeyFile("the TPM is not there".into())));
    assert_eq!((said(&actions), asks(&actions).len()), (vec![], 1));
}
