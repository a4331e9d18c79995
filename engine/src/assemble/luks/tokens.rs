//! Tokens of LUKS2 containers: which are asked for a key, when, and for how long their device is waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use cmdline::crypttab::{CryptOptions as RowOptions, TokenDevice};

use super::container::{Container, Image, State};
use super::{Modules, ready};
use crate::assemble::{Requests, View};
use crate::command::{Action, HeaderSource, Loudness, SealedKey, Token, TokenKind};
use crate::event::{DevName, Failure, SecretId};
use crate::table::Device;
use crate::time::Moment;

/// How long the device of a token is waited for, unless crypttab's `token-timeout=` says otherwise (systemd's time).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a device that is not there is looked for: neither a TPM nor a security key is announced to the engine.
const INTERVAL: Duration = Duration::from_secs(1);

/// Wrong PINs until the passphrase is asked for. A security key takes no fourth one until it is plugged in again.
const MAX_PINS: u32 = 3;

/// A token that is still to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    kind: TokenKind,
    /// Its device's node, unless any will do.
    node: Option<String>,
    /// When it is asked.
    at: Moment,
    /// How long its device is waited for; `None` is for ever.
    until: Option<Moment>,
    /// It was said that its device is waited for.
    said: bool,
}

/// The tokens of a container: those that the options name; and a TPM's that is in the header, as systemd's
/// libcryptsetup plug-in uses it without being told. That one is not waited for.
pub(super) fn wanted(now: Moment, device: &Device, options: &RowOptions) -> Vec<Wanted> {
    let until = match options.token_timeout {
        None => Some(now.after(DEFAULT_TIMEOUT)),
        Some(limit) if limit.is_zero() => None,
        Some(limit) => Some(now.after(limit)),
    };
    let named = |kind, device: &TokenDevice| {
        let node = match device {
            TokenDevice::Auto => None,
            TokenDevice::Node(node) => Some(node.clone()),
        };
        Wanted { kind, node, at: now, until, said: false }
    };
    let has_tpm2 =
        || device.signature().is_some_and(|one| one.tokens.iter().any(|kind| kind == "systemd-tpm2"));
    let tpm2 = match &options.tpm2 {
        Some(device) => Some(named(TokenKind::Tpm2, device)),
        None => has_tpm2().then(|| Wanted { until: Some(now), ..named(TokenKind::Tpm2, &TokenDevice::Auto) }),
    };
    // A security key waits for a touch, a TPM for nobody.
    tpm2.into_iter().chain(options.fido2.as_ref().map(|device| named(TokenKind::Fido2, device))).collect()
}

/// What comes next of a container's tokens.
pub(super) enum Next {
    /// One is asked.
    Asking,
    /// Its driver is being loaded.
    Loading,
    /// Nothing, for now.
    Nothing,
}

/// Asks the next token that is due.
pub(super) fn next(
    view: View<'_>,
    name: &DevName,
    container: &mut Container,
    header: Option<&HeaderSource>,
    key_is_busy: bool,
    modules: &mut BTreeMap<String, Modules>,
    requests: &mut Requests<'_>,
) -> Next {
    // A second session would disturb the first, and be refused.
    let is_free = |one: &&Wanted| !(key_is_busy && one.kind == TokenKind::Fido2);
    let due = container.tokens.iter().filter(is_free).find(|one| one.at <= view.now);
    let Some(due) = due else { return Next::Nothing };
    let (kind, node) = (due.kind, due.node.clone());
    match kind {
        // Many kernels have them built in.
        TokenKind::Tpm2 => {
            if !ready(modules, vec!["tpm_crb".to_owned(), "tpm_tis".to_owned()], requests) {
                return Next::Loading;
            }
        }
        TokenKind::Fido2 => {
            requests.ask(Action::LoadInputDrivers);
        }
    }
    let token = Token { kind, node, container: name.clone(), header: header.cloned() };
    let key = SealedKey::Token(token);
    let asked = requests.ask(Action::UnsealKey(key.clone(), None));
    container.state = State::Unsealing(asked, Image::new(key), None);
    Next::Asking
}

impl Container {
    /// When a token is asked next.
    pub(super) fn next_token(&self) -> Option<Moment> {
        self.tokens.iter().map(|token| token.at).min()
    }

    /// For an operator: the device of a token that is waited for.
    pub(super) fn awaited_token(&self) -> Option<&'static str> {
        self.tokens.first().map(|token| token.kind.name())
    }

    /// The token that waits for a PIN.
    pub(super) fn wants_pin(&self) -> Option<TokenKind> {
        self.images.iter().find_map(Image::token)
    }

    /// A token has given its key, or says by `None` that it wants a PIN for it.
    pub(super) fn token_answered(&mut self, image: Image, kind: TokenKind, key: Option<SecretId>) {
        self.tokens.retain(|token| token.kind != kind);
        match key {
            Some(key) => self.take_key(&image, key),
            None => self.keep(image, None),
        }
    }

    /// A token gives no key; what there is to say of it.
    pub(super) fn token_failed(
        &mut self,
        now: Moment,
        image: Image,
        kind: TokenKind,
        pin: Option<SecretId>,
        failure: &Failure,
    ) -> Option<(Loudness, String)> {
        let device = kind.name();
        match (failure, pin) {
            (Failure::WrongSecret, Some(_)) => {
                self.wrong_pins = self.wrong_pins.saturating_add(1);
                let left = MAX_PINS.saturating_sub(self.wrong_pins);
                self.note = Some(match left {
                    0 => format!("{MAX_PINS} wrong PINs"),
                    1 => "wrong PIN, 1 try left".to_owned(),
                    left => format!("wrong PIN, {left} tries left"),
                });
                if left > 0 {
                    self.keep(image, pin);
                }
                return None;
            }
            (Failure::NoPin, _) => {
                self.note = None;
                return None;
            }
            // It was pulled out meanwhile: whoever plugs it in again can type the PIN again.
            (Failure::NoKeyFile(why), Some(_)) => {
                self.note = Some(why.clone());
                self.keep(image, pin);
                return None;
            }
            _ => {}
        }
        if let (Failure::NoKeyFile(why), Some(token)) =
            (failure, self.tokens.iter_mut().find(|token| token.kind == kind))
            && token.until.is_none_or(|until| now < until)
        {
            token.at = now.after(INTERVAL);
            let said = std::mem::replace(&mut token.said, true);
            let text = || format!("waiting for the {device} that opens {}: {why}", self.name);
            return (!said).then(|| (Loudness::Warning, text()));
        }
        let quiet = matches!(failure, Failure::NoKeyFile(_))
            && self.tokens.iter().any(|one| one.kind == kind && !one.said);
        self.tokens.retain(|token| token.kind != kind);
        let why = match failure {
            Failure::NoKeyFile(why) => why.clone(),
            other => other.to_string(),
        };
        let text = format!("the {device} does not open {}: {why}", self.name);
        self.note = Some(why);
        // Nobody has named a token that is not waited for.
        (!quiet).then_some((Loudness::Error, text))
    }
}
