//! FIDO security keys among the kernel's raw HID devices (Documentation/hid/hidraw.rst).

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use engine::{Failure, Loudness};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use tokens::fido2::{Report, Wire, WireError};

use crate::kmsg;

/// How long somebody may look for the key and touch it. Most keys give up after half of it.
const TOUCH: Duration = Duration::from_secs(60);

/// A key that says nothing for so long is broken: while it waits, it says so ten times a second.
const SILENCE: Duration = Duration::from_secs(5);

/// Where the kernel lists raw HID devices.
const CLASS: &str = "/sys/class/hidraw";

/// An open security key.
#[derive(Debug)]
pub struct SecurityKey {
    node: String,
    file: File,
    until: Instant,
    on_touch: Option<String>,
}

impl SecurityKey {
    /// Nodes of the security keys that are plugged in; only this one, if it is named.
    #[must_use]
    pub fn nodes(named: Option<&str>) -> Vec<String> {
        if let Some(node) = named {
            return fs::exists(node).unwrap_or(false).then(|| node.to_owned()).into_iter().collect();
        }
        let entries = fs::read_dir(CLASS).into_iter().flatten().flatten();
        let mut nodes: Vec<String> = entries
            .filter(|entry| {
                fs::read(entry.path().join("device/report_descriptor")).is_ok_and(|bytes| is_fido(&bytes))
            })
            .map(|entry| format!("/dev/{}", entry.file_name().to_string_lossy()))
            .collect();
        nodes.sort();
        nodes
    }

    /// Opens a key.
    ///
    /// # Errors
    ///
    /// [`Failure::BadKey`]
    pub fn open(node: &str) -> Result<SecurityKey, Failure> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(node);
        let file = file.map_err(|error| Failure::BadKey(format!("cannot open {node}: {error}")))?;
        Ok(SecurityKey { node: node.to_owned(), file, until: later(TOUCH), on_touch: None })
    }

    /// What to say once the key waits to be touched.
    pub fn on_touch(&mut self, text: String) {
        self.on_touch = Some(text);
    }

    fn failed(&self, what: &str, error: &dyn std::fmt::Display) -> WireError {
        WireError::Failed(format!("cannot {what} {}: {error}", self.node))
    }
}

impl Wire for SecurityKey {
    fn send(&mut self, report: &Report) -> Result<(), WireError> {
        // In front of it goes its number, 0: the device has but one.
        let mut numbered = [0_u8; 65];
        for (place, byte) in numbered.iter_mut().skip(1).zip(report) {
            *place = *byte;
        }
        self.file.write_all(&numbered).map_err(|error| self.failed("write to", &error))
    }

    fn receive(&mut self) -> Result<Report, WireError> {
        let silent = later(SILENCE);
        loop {
            let now = Instant::now();
            if now >= self.until {
                return Err(WireError::TimedOut);
            }
            if now >= silent {
                return Err(WireError::Failed(format!("{} does not answer", self.node)));
            }
            let left = self.until.min(silent).saturating_duration_since(now);
            let left = Timespec::try_from(left).ok();
            let mut ready = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut ready, left.as_ref()) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(self.failed("wait for", &error)),
            }
            let mut report = [0_u8; 64];
            match self.file.read(&mut report) {
                Ok(64) => return Ok(report),
                Ok(length) => return Err(self.failed("read from", &format!("a report of {length} bytes"))),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(self.failed("read from", &error)),
            }
        }
    }

    fn touch_wanted(&mut self) {
        if let Some(text) = self.on_touch.take() {
            kmsg::say(Loudness::Warning, text);
        }
    }
}

fn later(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now)
}

/// Whether a report descriptor (Device Class Definition for HID 1.11, section 6.2.2) is that of a FIDO authenticator: the
/// usage page 0xf1d0 (CTAP 2.1, section 11.2.8).
fn is_fido(descriptor: &[u8]) -> bool {
    let mut rest = descriptor;
    while let Some((prefix, after)) = rest.split_first() {
        let length = match prefix {
            // A long item has its length in the next byte, and one more before its data.
            0xfe => after.first().map_or(0, |length| usize::from(*length).saturating_add(2)),
            _ => [0, 1, 2, 4].get(usize::from(prefix & 3)).copied().unwrap_or_default(),
        };
        let data = after.get(..length).unwrap_or(after);
        if prefix & 0xfc == 0x04 && data.first_chunk::<2>() == Some(&[0xd0, 0xf1]) {
            return true;
        }
        rest = after.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors() {
        // The example of CTAP 2.1, section 11.2.8.
        let fido = [
            0x06, 0xd0, 0xf1, 0x09, 0x01, 0xa1, 0x01, 0x09, 0x20, 0x15, 0x00, 0x26, 0xff, 0x00, 0x75, 0x08,
            0x95, 0x40, 0x81, 0x02, 0x09, 0x21, 0x15, 0x00, 0x26, 0xff, 0x00, 0x75, 0x08, 0x95, 0x40, 0x91,
            0x02, 0xc0,
        ];
        assert!(is_fido(&fido));
        // A keyboard; and the same bytes as data of another item.
        assert!(!is_fido(&[0x05, 0x01, 0x09, 0x06, 0xa1, 0x01]));
        assert!(!is_fido(&[0x27, 0x06, 0xd0, 0xf1, 0x00, 0xc0]));
        assert!(!is_fido(&[0xfe, 0x02, 0x00, 0x06, 0xd0, 0xf1]));
        assert!(!is_fido(&[0x06, 0xd0]));
    }

    #[test]
    fn what_is_not_there() {
        assert!(SecurityKey::nodes(Some("/dev/rootward-none")).is_empty());
        assert!(matches!(SecurityKey::open("/dev/rootward-none"), Err(Failure::BadKey(_))));
    }
}
