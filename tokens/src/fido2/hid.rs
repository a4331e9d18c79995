//! Messages to and from a security key in reports of 64 bytes (CTAP 2.1, section 11.2).

use super::{Fido2Error, Result};
use crate::Random;

/// A report in either direction, without its number, which is 0.
pub type Report = [u8; 64];

/// Why a report was not sent or did not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// The time that the user has is over.
    TimedOut,
    /// What the operating system said.
    Failed(String),
}

/// A security key's device node.
pub trait Wire {
    /// Sends a report.
    ///
    /// # Errors
    /// [`WireError::Failed`]
    fn send(&mut self, report: &Report) -> std::result::Result<(), WireError>;

    /// Waits for a report.
    ///
    /// # Errors
    /// See [`WireError`].
    fn receive(&mut self) -> std::result::Result<Report, WireError>;

    /// The key waits to be touched.
    fn touch_wanted(&mut self);
}

const BROADCAST: u32 = 0xffff_ffff;
const INIT: u8 = 0x86;
const CBOR: u8 = 0x90;
const CANCEL: u8 = 0x91;
const KEEPALIVE: u8 = 0xbb;
const ERROR: u8 = 0xbf;
/// Among the capabilities in the answer to `INIT`: it understands `CBOR`, that is CTAP2.
const CAPABILITY_CBOR: u8 = 0x04;
/// In `ERROR`: it does not know the command.
const INVALID_COMMAND: u8 = 1;
/// Status in `KEEPALIVE`.
const UP_NEEDED: u8 = 2;

/// Room for data in the first report of a message and in those that follow.
const FIRST: usize = 57;
const NEXT: usize = 59;

/// Reports of other channels and late ones that are passed over before the key counts as broken.
const MAX_FOREIGN: usize = 4096;

/// A channel of our own to a key.
pub struct Channel<'a> {
    wire: &'a mut dyn Wire,
    id: u32,
    said: bool,
}

impl<'a> Channel<'a> {
    /// Asks the key for a channel.
    pub fn open(wire: &'a mut dyn Wire, random: &mut Random<'_>) -> Result<Self> {
        let mut nonce = [0_u8; 8];
        random(&mut nonce);
        let mut channel = Self { wire, id: BROADCAST, said: false };
        channel.send(INIT, &nonce)?;
        for _ in 0..MAX_FOREIGN {
            let answer = match channel.receive(INIT) {
                Ok(answer) => answer,
                Err(error @ (Fido2Error::TimedOut | Fido2Error::Unreachable(_))) => return Err(error),
                // Other programs may have asked at the same time.
                Err(_) => continue,
            };
            if let Some((seen, rest)) = answer.split_first_chunk::<8>()
                && *seen == nonce
                && let Some(id) = rest.first_chunk::<4>()
            {
                // Behind the channel: versions of the protocol and of the device in four bytes, then the capabilities.
                if rest.get(8).is_none_or(|capabilities| capabilities & CAPABILITY_CBOR == 0) {
                    return Err(Fido2Error::OtherKey);
                }
                channel.id = u32::from_be_bytes(*id);
                return Ok(channel);
            }
        }
        Err(Fido2Error::Garbled("CTAPHID_INIT"))
    }

    /// Sends a command of CTAP2 and waits for its answer: a status and CBOR.
    pub fn call(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.send(CBOR, command)?;
        match self.receive(CBOR) {
            Err(Fido2Error::TimedOut) => {
                // Otherwise the key would go on blinking, and refuse the next command.
                let _ = self.send(CANCEL, &[]);
                Err(Fido2Error::TimedOut)
            }
            // It speaks U2F alone.
            Err(Fido2Error::Channel(INVALID_COMMAND)) => Err(Fido2Error::OtherKey),
            other => other,
        }
    }

    fn send(&mut self, command: u8, data: &[u8]) -> Result<()> {
        let (first, rest) = data.split_at(data.len().min(FIRST));
        let length =
            u16::try_from(data.len()).map_err(|_| Fido2Error::Garbled("a command that is too long"))?;
        let [high, low] = length.to_be_bytes();
        self.report(&[command, high, low], first)?;
        for (number, part) in (0_u8..0x80).zip(rest.chunks(NEXT)) {
            self.report(&[number], part)?;
        }
        Ok(())
    }

    fn report(&mut self, head: &[u8], data: &[u8]) -> Result<()> {
        let mut report = [0_u8; 64];
        let bytes = self.id.to_be_bytes().into_iter().chain(head.iter().copied()).chain(data.iter().copied());
        for (place, byte) in report.iter_mut().zip(bytes) {
            *place = byte;
        }
        self.wire.send(&report).map_err(failed)
    }

    fn receive(&mut self, wanted: u8) -> Result<Vec<u8>> {
        let mut message: Option<(usize, Vec<u8>, u8)> = None;
        for _ in 0..MAX_FOREIGN {
            if let Some((length, data, _)) = &mut message
                && data.len() >= *length
            {
                data.truncate(*length);
                return Ok(std::mem::take(data));
            }
            let report = self.wire.receive().map_err(failed)?;
            let Some((id, rest)) = report.split_first_chunk::<4>() else { continue };
            if u32::from_be_bytes(*id) != self.id {
                continue;
            }
            let Some((command, rest)) = rest.split_first() else { continue };
            match &mut message {
                // The next part of the message.
                Some((_, data, next)) if command == next => {
                    data.extend_from_slice(rest);
                    *next = next.saturating_add(1);
                }
                Some(_) => return Err(Fido2Error::Garbled("a message in parts")),
                None => {
                    let Some((length, data)) = rest.split_first_chunk::<2>() else { continue };
                    match *command {
                        KEEPALIVE if data.first() == Some(&UP_NEEDED) && !self.said => {
                            self.said = true;
                            self.wire.touch_wanted();
                        }
                        ERROR => return Err(Fido2Error::Channel(data.first().copied().unwrap_or_default())),
                        command if command == wanted => {
                            message = Some((usize::from(u16::from_be_bytes(*length)), data.to_vec(), 0));
                        }
                        // The end of what somebody else has begun.
                        _ => {}
                    }
                }
            }
        }
        Err(Fido2Error::Garbled("no end of reports"))
    }
}

fn failed(error: WireError) -> Fido2Error {
    match error {
        WireError::TimedOut => Fido2Error::TimedOut,
        WireError::Failed(why) => Fido2Error::Unreachable(why),
    }
}
