//! A security key for a guest: the crate `security_key` behind QEMU's USB redirection.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use security_key::{SecurityKey, Touch};

use crate::Error;

/// PIN of every security key of the bed.
pub const PIN: &str = "4711";

/// The key in which the builder VM enrols.
pub const ENROLLED: UsbKey = UsbKey { seed: b"enrolled", touched_after: Duration::ZERO, plugged: true };

/// A security key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsbKey {
    /// Which: keys of one seed are one key.
    pub seed: &'static [u8],
    /// How long it has to wait for a touch.
    pub touched_after: Duration,
    /// Plugged in at start; otherwise by [`plug`](Self::plug).
    pub plugged: bool,
}

impl UsbKey {
    /// Adds it and its controller to a machine; it answers at `socket` for as long as the guest runs.
    pub fn attach(&self, qemu: &mut Command, socket: &Path) -> Result<(), Error> {
        let listener = UnixListener::bind(socket).map_err(Error::io(socket))?;
        let touch = match self.touched_after {
            Duration::ZERO => Touch::AtOnce,
            after => Touch::After(after),
        };
        // The thread ends with the guest, which closes the connection.
        drop(security_key::plug(listener, SecurityKey::new(self.seed, Some(PIN)).touch(touch)));
        qemu.args(["-chardev", &format!("socket,id=usbkey,path={}", socket.display())]);
        qemu.args(["-device", "qemu-xhci,id=usb"]);
        if self.plugged {
            qemu.args(["-device", "usb-redir,chardev=usbkey,bus=usb.0"]);
        }
        Ok(())
    }

    /// Arguments of `device_add` that plug it in.
    #[must_use]
    pub fn plug() -> serde_json::Value {
        serde_json::json!({ "driver": "usb-redir", "chardev": "usbkey", "bus": "usb.0", "id": "key" })
    }
}
