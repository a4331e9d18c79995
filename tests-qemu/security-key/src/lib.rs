//! A USB security key for guests of QEMU, in software.
//!
//! QEMU emulates no CTAP2 authenticator. It can however have a USB device redirected to it over a socket, and this
//! crate is the other end of that socket. Layers, from the socket up: `usbredir` (USB redirection), `usb`
//! (descriptors of a FIDO HID device), `ctaphid` (the framing of reports), `ctap2` with `client_pin` (the
//! authenticator), `credential` (what it knows of a relying party).
//!
//! Everything that real keys draw at random is derived from the seed here, so that a run can be repeated and so that
//! a key made again in another process is the same key. Nothing about it is secret.
//!
//! QEMU's side: `-chardev socket,id=key,path=SOCKET -device qemu-xhci,id=usb -device
//! usb-redir,chardev=key,bus=usb.0`.

mod cbor;
mod client_pin;
mod credential;
mod ctap2;
mod ctaphid;
mod pin_protocol;
mod status;
mod usb;
mod usbredir;

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use pin_protocol::PinProtocol;

/// When somebody touches the key that waits for it (user presence, CTAP 2.1 section 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Touch {
    /// Before anybody can ask.
    #[default]
    AtOnce,
    /// So long after the key began to wait.
    After(Duration),
    /// Never: the key gives up after ten seconds.
    Never,
}

/// A security key. What it keeps in memory only: how often the PIN was missed, and its discoverable credentials.
#[derive(Debug)]
pub struct SecurityKey {
    hid: ctaphid::Hid,
}

impl SecurityKey {
    /// The key that belongs to this seed, with this PIN or none. Credentials made by a key of the same seed are this
    /// key's own, whatever its PIN.
    #[must_use]
    pub fn new(seed: &[u8], pin: Option<&str>) -> Self {
        Self { hid: ctaphid::Hid::new(ctap2::Authenticator::new(seed, pin)) }
    }

    /// The same with another behaviour of its owner.
    #[must_use]
    pub fn touch(mut self, touch: Touch) -> Self {
        self.hid.touch = touch;
        self
    }

    /// The same with other PIN/UV auth protocols than two and one, the preferred one first.
    #[must_use]
    pub fn pin_protocols(mut self, protocols: &[PinProtocol]) -> Self {
        self.hid.authenticator.pin.protocols = protocols.to_vec();
        self
    }
}

impl SecurityKey {
    /// A report from the host, without a guest between.
    pub fn receive(&mut self, report: &[u8; 64]) {
        self.hid.receive(report, Instant::now());
    }

    /// The next report for the host, if there is one by now.
    pub fn answer(&mut self) -> Option<[u8; 64]> {
        self.hid.tick(Instant::now());
        self.hid.report()
    }

    /// Pulls the key out and plugs it in again.
    pub fn replug(&mut self) {
        self.hid.power_up();
    }

    /// A credential of the key at this relying party: its id, and what `hmac-secret` makes of the salt, without and with a
    /// verified user.
    #[must_use]
    pub fn credential(&self, relying_party: &str, salt: &[u8]) -> (Vec<u8>, [[u8; 32]; 2]) {
        let party = credential::sha256(relying_party.as_bytes());
        let credential = self.hid.authenticator.seed.make_credential(&party, b"user", b"");
        let secrets =
            [false, true].map(|verified| credential::hmac_sha256(&credential.cred_random(verified), &[salt]));
        (credential.id, secrets)
    }
}

/// Plugs the key into the guest whose QEMU connects to this socket; pulled when QEMU ends. The thread waits for that
/// connection as long as it takes.
pub fn plug(listener: UnixListener, mut key: SecurityKey) -> JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        serve(stream, &mut key)
    })
}

/// Plugs the key into the guest at the other end of this connection, until that end closes it.
pub fn serve(stream: UnixStream, key: &mut SecurityKey) -> io::Result<()> {
    usbredir::Connection::new(stream, &mut key.hid).serve()
}
