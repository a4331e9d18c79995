//! CTAPHID: messages in reports of 64 bytes (CTAP 2.1 section 11.2).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Touch;
use crate::ctap2::Authenticator;
use crate::status::Status;

/// Bytes of a report, in both directions.
pub(crate) const REPORT: usize = 64;
/// Bytes of the longest message: one initialization packet and 128 continuation packets (section 11.2.4).
pub(crate) const MESSAGE: usize = REPORT - 7 + 128 * (REPORT - 5);

/// A report.
pub(crate) type Report = [u8; REPORT];

/// CTAPHID commands, with the bit that tells an initialization packet (sections 11.2.9.1 and 11.2.9.2).
mod command {
    pub(super) const PING: u8 = 0x81;
    pub(super) const INIT: u8 = 0x86;
    pub(super) const WINK: u8 = 0x88;
    pub(super) const CBOR: u8 = 0x90;
    pub(super) const CANCEL: u8 = 0x91;
    pub(super) const KEEPALIVE: u8 = 0xBB;
    pub(super) const ERROR: u8 = 0xBF;
}

/// Codes of CTAPHID_ERROR (section 11.2.9.1.6).
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Error {
    InvalidCommand = 0x01,
    InvalidLength = 0x03,
    InvalidSequence = 0x04,
    Timeout = 0x05,
    ChannelBusy = 0x06,
    InvalidChannel = 0x0B,
}

/// CTAPHID_BROADCAST_CID.
const BROADCAST: u32 = 0xFFFF_FFFF;
/// CTAPHID protocol version identifier.
const VERSION: u8 = 2;
/// CAPABILITY_WINK, CAPABILITY_CBOR and CAPABILITY_NMSG.
const CAPABILITIES: u8 = 0x01 | 0x04 | 0x08;
/// STATUS_UPNEEDED of CTAPHID_KEEPALIVE.
const UPNEEDED: u8 = 2;
/// Time from one CTAPHID_KEEPALIVE to the next.
const KEEPALIVE: Duration = Duration::from_millis(100);
/// How long the key waits for a user who does not come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits for the rest of a message. At least half a second (section 11.2.5.2); emulated guests are slow.
const TRANSACTION: Duration = Duration::from_secs(3);

/// A message of which more is to come.
#[derive(Debug)]
struct Incoming {
    channel: u32,
    command: u8,
    length: usize,
    data: Vec<u8>,
    sequence: u8,
    until: Instant,
}

/// An answer that is ready except for the user.
#[derive(Debug)]
struct Waiting {
    channel: u32,
    /// What is said when `over` has come.
    answer: Vec<u8>,
    over: Instant,
    keepalive: Instant,
}

/// The HID side of the key.
#[derive(Debug)]
pub(crate) struct Hid {
    /// Behind it.
    pub(crate) authenticator: Authenticator,
    /// The user.
    pub(crate) touch: Touch,
    channels: u32,
    incoming: Option<Incoming>,
    waiting: Option<Waiting>,
    reports: VecDeque<Report>,
}

impl Hid {
    pub(crate) fn new(authenticator: Authenticator) -> Self {
        let (touch, reports) = (Touch::default(), VecDeque::new());
        Self { authenticator, touch, channels: 0, incoming: None, waiting: None, reports }
    }

    /// A report for the host, if there is one.
    pub(crate) fn report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// When [`Hid::tick`] has something to do.
    pub(crate) fn wakes(&self) -> Option<Instant> {
        let incoming = self.incoming.as_ref().map(|incoming| incoming.until);
        let waiting = self.waiting.as_ref().map(|waiting| waiting.over.min(waiting.keepalive));
        incoming.into_iter().chain(waiting).min()
    }

    /// The bus was reset.
    pub(crate) fn reset(&mut self) {
        (self.incoming, self.waiting) = (None, None);
        self.reports.clear();
    }

    /// The key was plugged.
    pub(crate) fn power_up(&mut self) {
        self.reset();
        self.channels = 0;
        self.authenticator.pin.power_up();
    }

    /// What time brings: the touch, its absence, keepalives, the end of a message that stays incomplete.
    pub(crate) fn tick(&mut self, now: Instant) {
        if let Some(incoming) = self.incoming.take_if(|incoming| incoming.until <= now) {
            self.error(incoming.channel, Error::Timeout);
        }
        if let Some(waiting) = self.waiting.take_if(|waiting| waiting.over <= now) {
            self.send(waiting.channel, command::CBOR, &waiting.answer);
        }
        let mut alive = None;
        if let Some(waiting) = self.waiting.as_mut().filter(|waiting| waiting.keepalive <= now) {
            waiting.keepalive = now + KEEPALIVE;
            alive = Some(waiting.channel);
        }
        if let Some(channel) = alive {
            self.send(channel, command::KEEPALIVE, &[UPNEEDED]);
        }
    }

    /// Takes a report of the host.
    pub(crate) fn receive(&mut self, report: &[u8], now: Instant) {
        // One that is too short is none.
        let Some((channel, rest)) = report.split_first_chunk() else {
            return;
        };
        let channel = u32::from_be_bytes(*channel);
        match rest {
            [command, high, low, data @ ..] if *command >= 0x80 => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                self.initialization(channel, *command, length, data, now);
            }
            [sequence, data @ ..] => self.continuation(channel, *sequence, data, now),
            [] => {}
        }
    }

    /// An initialization packet.
    fn initialization(&mut self, channel: u32, command: u8, length: usize, data: &[u8], now: Instant) {
        let init = command == command::INIT;
        let given = (1..=self.channels).contains(&channel);
        if !given && (!init || channel != BROADCAST) {
            return self.error(channel, Error::InvalidChannel);
        }
        if length > MESSAGE {
            return self.error(channel, Error::InvalidLength);
        }
        if command == command::CANCEL {
            if let Some(waiting) = self.waiting.take_if(|waiting| waiting.channel == channel) {
                self.send(waiting.channel, command::CBOR, &[Status::KeepaliveCancel as u8]);
            }
            return;
        }
        let incoming = self.incoming.as_ref().map(|incoming| incoming.channel);
        let busy = incoming.or(self.waiting.as_ref().map(|waiting| waiting.channel));
        match busy {
            // Resynchronization of the client's own channel (section 11.2.9.1.3).
            Some(own) if own == channel && init => (self.incoming, self.waiting) = (None, None),
            Some(own) if own == channel && incoming.is_some() => {
                self.incoming = None;
                return self.error(channel, Error::InvalidSequence);
            }
            // A new channel is given out at any time.
            Some(_) if init => {}
            Some(_) => return self.error(channel, Error::ChannelBusy),
            None => {}
        }
        match data.get(..length) {
            Some(data) => self.message(channel, command, data, now),
            None => {
                let (data, until) = (data.to_vec(), now + TRANSACTION);
                self.incoming = Some(Incoming { channel, command, length, data, sequence: 0, until });
            }
        }
    }

    /// A continuation packet.
    fn continuation(&mut self, channel: u32, sequence: u8, data: &[u8], now: Instant) {
        // Those of no message are ignored, as the section on transactions wants.
        let Some(mut incoming) = self.incoming.take_if(|incoming| incoming.channel == channel) else {
            return;
        };
        if incoming.sequence != sequence {
            return self.error(channel, Error::InvalidSequence);
        }
        incoming.sequence += 1;
        incoming.until = now + TRANSACTION;
        incoming.data.extend_from_slice(data);
        match incoming.data.get(..incoming.length) {
            Some(data) => self.message(channel, incoming.command, data, now),
            None => self.incoming = Some(incoming),
        }
    }

    /// A whole message.
    fn message(&mut self, channel: u32, command: u8, data: &[u8], now: Instant) {
        match command {
            command::INIT => self.init(channel, data),
            command::PING => self.send(channel, command, data),
            command::WINK => self.send(channel, command, &[]),
            command::CBOR if data.is_empty() => self.error(channel, Error::InvalidLength),
            command::CBOR => {
                let answer = self.authenticator.answer(data);
                match self.touch {
                    _ if !answer.touch => self.send(channel, command, &answer.message),
                    Touch::AtOnce => self.send(channel, command, &answer.message),
                    Touch::After(delay) => self.wait(channel, answer.message, now, delay),
                    Touch::Never => {
                        self.wait(channel, vec![Status::UserActionTimeout as u8], now, PATIENCE);
                    }
                }
            }
            // Among them CTAPHID_MSG: U2F, which this key does not speak (CAPABILITY_NMSG).
            _ => self.error(channel, Error::InvalidCommand),
        }
    }

    fn wait(&mut self, channel: u32, answer: Vec<u8>, now: Instant, time: Duration) {
        self.waiting = Some(Waiting { channel, answer, over: now + time, keepalive: now });
        self.tick(now);
    }

    /// Section 11.2.9.1.3.
    fn init(&mut self, channel: u32, nonce: &[u8]) {
        if nonce.len() != 8 {
            return self.error(channel, Error::InvalidLength);
        }
        let given = if channel == BROADCAST {
            self.channels += 1;
            self.channels
        } else {
            channel
        };
        let mut answer = nonce.to_vec();
        answer.extend_from_slice(&given.to_be_bytes());
        // The three numbers of the device's own version.
        answer.extend_from_slice(&[VERSION, 1, 0, 0, CAPABILITIES]);
        self.send(channel, command::INIT, &answer);
    }

    fn error(&mut self, channel: u32, error: Error) {
        self.send(channel, command::ERROR, &[error as u8]);
    }

    /// Queues the reports of a message.
    fn send(&mut self, channel: u32, command: u8, mut data: &[u8]) {
        // No answer is longer than a message may be.
        let Ok(length) = u16::try_from(data.len()) else {
            return;
        };
        let [high, low] = length.to_be_bytes();
        let mut header = vec![command, high, low];
        for sequence in 0_u8.. {
            let mut bytes = channel.to_be_bytes().to_vec();
            bytes.append(&mut header);
            let (now, later) = data.split_at_checked(REPORT - bytes.len()).unwrap_or((data, &[]));
            bytes.extend_from_slice(now);
            let mut report = [0; REPORT];
            report.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            self.reports.push_back(report);
            if later.is_empty() {
                return;
            }
            (header, data) = (vec![sequence], later);
        }
    }
}
