//! One container: its state, its keys, what was tried on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use cmdline::plan::KeyDevice;

use super::header::Header;
use super::tokens::Wanted;
use crate::command::{CryptFormat, CryptOptions, HeaderSource, SealedKey, Token, TokenKind};
use crate::event::{CommandId, DevName, SecretId};
use crate::time::Moment;

/// A key file that may open a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) path: String,
    pub(super) device: KeyDevice,
    /// Devices on which it was looked for.
    pub(super) looked_on: BTreeSet<DevName>,
    pub(super) offset: u64,
    pub(super) size: Option<u64>,
    /// It is a LUKS image or encrypted by gpg, and its plaintext is the key.
    pub(super) sealed: bool,
}

/// A key that was found and has to be unlocked itself: a file, or a token's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) key: SealedKey,
    /// Passphrases or PINs that do not open it.
    pub(super) tried: BTreeSet<SecretId>,
}

impl Image {
    pub(super) fn new(key: SealedKey) -> Self {
        Self { key, tried: BTreeSet::new() }
    }

    /// What it is, for an operator.
    pub(super) fn name(&self) -> &str {
        match &self.key {
            SealedKey::File(HeaderSource::File(path) | HeaderSource::FileOn { path, .. }) => path,
            SealedKey::File(HeaderSource::Device(device)) => &device.0,
            SealedKey::Token(token) => token.kind.name(),
        }
    }

    /// The kind of token that it is, if it is one.
    pub(super) fn token(&self) -> Option<TokenKind> {
        match &self.key {
            SealedKey::File(_) => None,
            SealedKey::Token(token) => Some(token.kind),
        }
    }

    /// Whether it lies on this device.
    fn is_on(&self, name: &DevName) -> bool {
        match &self.key {
            SealedKey::File(place) | SealedKey::Token(Token { header: Some(place), .. }) => {
                matches!(place, HeaderSource::FileOn { device, .. } if device == name)
            }
            SealedKey::Token(_) => false,
        }
    }
}

impl Key {
    /// Whether it lies on a device as such, without a file system (crypttab's `/dev/...` as key).
    pub(super) fn is_raw(&self) -> bool {
        self.device == KeyDevice::Initramfs && self.path.starts_with("/dev/")
    }

    /// Whether its device may still have to come.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.device != KeyDevice::Initramfs || self.is_raw()
    }

    /// Whether there is something to wait for: its device was not seen yet, or may be any.
    pub(super) fn may_come(&self) -> bool {
        self.device == KeyDevice::Any || self.looked_on.is_empty()
    }
}

/// On what a secret is tried next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    Container(SecretId),
    Image(Image, SecretId),
}

/// What is being tried on a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attempt {
    KeyFile(String),
    Held(SecretId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for its turn, for its header, for a key device or for somebody to type.
    Locked,
    ReadingKey(CommandId, String),
    /// Its key is looked for in an image, or taken out of it with this secret.
    Unsealing(CommandId, Image, Option<SecretId>),
    Opening(CommandId, Attempt),
    Open,
    /// It held key files, which are not needed any more.
    Closing(CommandId),
    Closed,
    Failed(String),
    /// Failed for a reason that is not its secret's.
    Broken(String),
}

#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) uuid: String,
    pub(super) order: u64,
    pub(super) options: CryptOptions,
    /// Where its header lies, if not before the data.
    pub(super) header: Option<Header>,
    /// Cipher of a header that cannot be looked at beforehand.
    pub(super) cipher: Option<String>,
    /// Only holds key files.
    pub(super) keysource: bool,
    /// Named explicitly: the root waits until it is open.
    pub(super) holds_root: bool,
    pub(super) tries: Option<u32>,
    /// How long its passphrase is asked for.
    pub(super) prompt_limit: Option<Duration>,
    pub(super) keys: VecDeque<Key>,
    /// What holds its key and wants a passphrase or a PIN, once it was found.
    pub(super) images: Vec<Image>,
    /// Tokens that are still to be asked.
    pub(super) tokens: Vec<Wanted>,
    /// A PIN that was typed for its token.
    pub(super) pin: Option<SecretId>,
    pub(super) wrong_pins: u32,
    /// Until when a key device may still appear before somebody is asked.
    pub(super) keys_until: Option<Moment>,
    /// Passphrases that had been typed before it was known: those do not count as wrong.
    pub(super) known_from: usize,
    pub(super) tried: BTreeSet<SecretId>,
    /// Secrets read from key devices for this container.
    pub(super) read: Vec<SecretId>,
    /// Secrets typed for this container alone.
    pub(super) typed: Vec<SecretId>,
    pub(super) state: State,
    pub(super) note: Option<String>,
}

impl Container {
    pub(super) fn is_hopeless(&self) -> bool {
        matches!(self.state, State::Failed(_) | State::Broken(_))
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self.options.format, CryptFormat::Plain(_))
    }

    /// The next secret at hand that was not tried; `shared` are the passphrases typed for several.
    ///
    /// Keys that were read come before passphrases, and an image is opened before a passphrase is tried on the container
    /// itself. Plain mappings open with anything, so that they are never given the passphrase of their key.
    ///
    /// A token gets the PIN that was typed for it, or one that another token of its kind took: never a passphrase, since
    /// it counts its tries.
    pub(super) fn next_held(
        &mut self,
        shared: &[SecretId],
        pins: &BTreeMap<TokenKind, SecretId>,
        key_is_busy: bool,
    ) -> Option<Next> {
        if let Some(key) = self.read.iter().find(|key| !self.tried.contains(key)) {
            return Some(Next::Container(*key));
        }
        for (index, image) in self.images.iter().enumerate() {
            let found = match image.token() {
                // It gets its PIN once it has served the other container.
                Some(TokenKind::Fido2) if key_is_busy => None,
                Some(kind) => {
                    self.pin.take().or(pins.get(&kind).copied()).filter(|pin| !image.tried.contains(pin))
                }
                None => {
                    let mut typed = self.typed.iter().chain(shared);
                    typed.find(|secret| !image.tried.contains(secret)).copied()
                }
            };
            if let Some(secret) = found {
                return Some(Next::Image(self.images.remove(index), secret));
            }
        }
        let shared = if self.is_plain() { &[] } else { shared };
        let own = if self.is_plain() && !self.images.is_empty() { &[] } else { self.typed.as_slice() };
        own.iter().chain(shared).find(|secret| !self.tried.contains(secret)).copied().map(Next::Container)
    }

    /// Whether its token waits for its turn with a PIN that is there.
    pub(super) fn has_pin(&self, pins: &BTreeMap<TokenKind, SecretId>) -> bool {
        self.images.iter().any(|image| {
            image.token().is_some_and(|kind| {
                self.pin.or(pins.get(&kind).copied()).is_some_and(|pin| !image.tried.contains(&pin))
            })
        })
    }

    /// A key has come out of an image; what has been found need not be waited for any more.
    pub(super) fn take_key(&mut self, image: &Image, key: SecretId) {
        self.note = Some(format!("key {} read", image.name()));
        self.read.push(key);
        self.keys_until = Some(Moment::default());
    }

    /// The image was looked for, or tried, and may be of use yet.
    pub(super) fn keep(&mut self, mut image: Image, tried: Option<SecretId>) {
        image.tried.extend(tried);
        self.images.push(image);
    }

    /// systemd's rule for plain mappings: a passphrase is hashed with RIPEMD-160 and a key file is not, unless `hash=`
    /// says otherwise.
    pub(super) fn settle_hash(&self, attempt: &Attempt, options: &mut CryptOptions) {
        let CryptFormat::Plain(plain) = &mut options.format else { return };
        let typed = matches!(attempt, Attempt::Held(secret) if self.typed.contains(secret));
        match plain.hash.as_deref() {
            Some("plain") => plain.hash = None,
            None if typed => plain.hash = Some("ripemd160".to_owned()),
            _ => {}
        }
    }

    /// A device is gone: another one of its name is another one.
    pub(super) fn forget(&mut self, name: &DevName) {
        for key in &mut self.keys {
            key.looked_on.remove(name);
        }
        self.images.retain(|image| !image.is_on(name));
    }
}
