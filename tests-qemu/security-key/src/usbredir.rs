//! The usb-host side of USB redirection, for one connection: `docs/usb-redirection-protocol.md` of the usbredir
//! project, version 0.7. The usb-guest is QEMU's `hw/usb/redirect.c`.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::ctaphid::Hid;
use crate::usb;

/// Packet types.
mod kind {
    pub(super) const HELLO: u32 = 0;
    pub(super) const DEVICE_CONNECT: u32 = 1;
    pub(super) const RESET: u32 = 3;
    pub(super) const INTERFACE_INFO: u32 = 4;
    pub(super) const EP_INFO: u32 = 5;
    pub(super) const SET_CONFIGURATION: u32 = 6;
    pub(super) const GET_CONFIGURATION: u32 = 7;
    pub(super) const CONFIGURATION_STATUS: u32 = 8;
    pub(super) const SET_ALT_SETTING: u32 = 9;
    pub(super) const GET_ALT_SETTING: u32 = 10;
    pub(super) const ALT_SETTING_STATUS: u32 = 11;
    pub(super) const START_INTERRUPT_RECEIVING: u32 = 15;
    pub(super) const STOP_INTERRUPT_RECEIVING: u32 = 16;
    pub(super) const INTERRUPT_RECEIVING_STATUS: u32 = 17;
    pub(super) const FILTER_REJECT: u32 = 22;
    pub(super) const CONTROL_PACKET: u32 = 100;
    pub(super) const INTERRUPT_PACKET: u32 = 103;
}

/// Status codes.
const SUCCESS: u8 = 0;
const INVAL: u8 = 2;
const STALL: u8 = 4;

/// Capabilities, as bits. QEMU refuses the device at an xHCI controller without the last three; that of bulk lengths is
/// only a promise here, as the device has no bulk endpoint.
const CONNECT_DEVICE_VERSION: u32 = 1 << 1;
const EP_INFO_MAX_PACKET_SIZE: u32 = 1 << 4;
const IDS_64_BITS: u32 = 1 << 5;
const BULK_LENGTH_32_BITS: u32 = 1 << 6;
const CAPABILITIES: u32 =
    CONNECT_DEVICE_VERSION | EP_INFO_MAX_PACKET_SIZE | IDS_64_BITS | BULK_LENGTH_32_BITS;

/// `usb_redir_speed_full`.
const FULL_SPEED: u8 = 1;
/// `usb_redir_type_control`, `usb_redir_type_interrupt` and `usb_redir_type_invalid`.
const CONTROL: u8 = 0;
const INTERRUPT: u8 = 3;
const INVALID: u8 = 255;

/// Longer packets than this have no place with such a device.
const LONGEST: usize = 1 << 16;

/// A packet without the length in its header.
#[derive(Debug)]
struct Packet {
    kind: u32,
    id: u64,
    body: Vec<u8>,
}

/// The connection with a usb-guest.
#[derive(Debug)]
pub(crate) struct Connection<'key> {
    stream: UnixStream,
    hid: &'key mut Hid,
    /// What came and is not taken apart yet.
    input: Vec<u8>,
    /// Capabilities of both sides; none before the usb-guest's hello.
    common: u32,
    configuration: u8,
    /// Whether the usb-guest wants what comes from the interrupt endpoint. Until then it stays in the device.
    receiving: bool,
    /// Id of the next interrupt packet.
    next: u64,
}

impl<'key> Connection<'key> {
    pub(crate) fn new(stream: UnixStream, hid: &'key mut Hid) -> Self {
        hid.power_up();
        Self { stream, hid, input: Vec::new(), common: 0, configuration: 1, receiving: false, next: 0 }
    }

    /// Serves until the usb-guest closes the connection.
    pub(crate) fn serve(mut self) -> io::Result<()> {
        let mut hello = b"rootward-security-key".to_vec();
        hello.resize(64, 0);
        hello.extend_from_slice(&CAPABILITIES.to_le_bytes());
        self.send(kind::HELLO, 0, &hello)?;
        let mut buffer = [0; 4096];
        loop {
            // A timeout of zero would be none.
            let wait = self.hid.wakes().map(|wakes| wakes.saturating_duration_since(Instant::now()));
            self.stream.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => self.input.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {}
                    // A QEMU that is killed with something unread.
                    io::ErrorKind::ConnectionReset => return Ok(()),
                    _ => return Err(error),
                },
            }
            while let Some(packet) = self.packet()? {
                self.receive(&packet)?;
            }
            self.hid.tick(Instant::now());
            self.send_reports()?;
        }
    }

    /// The next whole packet of the input.
    fn packet(&mut self) -> io::Result<Option<Packet>> {
        let wide = self.common & IDS_64_BITS != 0;
        let mut fields = Fields(&self.input);
        let (Some(kind), Some(length)) = (fields.u32(), fields.u32()) else {
            return Ok(None);
        };
        let id = if wide { fields.u64() } else { fields.u32().map(u64::from) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(invalid(&format!("a packet of type {kind} has {length} bytes")));
        }
        let (Some(id), Some(body)) = (id, fields.0.get(..length)) else {
            return Ok(None);
        };
        let body = body.to_vec();
        let header = if wide { 16 } else { 12 };
        self.input.drain(..header + length);
        Ok(Some(Packet { kind, id, body }))
    }

    fn receive(&mut self, packet: &Packet) -> io::Result<()> {
        let &Packet { kind, id, ref body } = packet;
        match (kind, body.as_slice()) {
            (kind::HELLO, body) => {
                let capabilities = Fields(body.get(64..).unwrap_or_default()).u32();
                self.common = CAPABILITIES & capabilities.unwrap_or_default();
                self.endpoints()?;
                self.connect()
            }
            (kind::RESET, _) => {
                self.hid.reset();
                Ok(())
            }
            (kind::SET_CONFIGURATION, &[configuration @ (0 | 1)]) => {
                self.configuration = configuration;
                self.endpoints()?;
                self.send(kind::CONFIGURATION_STATUS, id, &[SUCCESS, configuration])
            }
            (kind::SET_CONFIGURATION, _) => {
                self.send(kind::CONFIGURATION_STATUS, id, &[STALL, self.configuration])
            }
            (kind::GET_CONFIGURATION, _) => {
                self.send(kind::CONFIGURATION_STATUS, id, &[SUCCESS, self.configuration])
            }
            (kind::SET_ALT_SETTING, &[0, 0]) => {
                self.endpoints()?;
                self.send(kind::ALT_SETTING_STATUS, id, &[SUCCESS, 0, 0])
            }
            (kind::GET_ALT_SETTING, &[0]) => self.send(kind::ALT_SETTING_STATUS, id, &[SUCCESS, 0, 0]),
            (kind::SET_ALT_SETTING | kind::GET_ALT_SETTING, &[interface, ..]) => {
                self.send(kind::ALT_SETTING_STATUS, id, &[STALL, interface, 0])
            }
            (kind::START_INTERRUPT_RECEIVING | kind::STOP_INTERRUPT_RECEIVING, &[usb::IN]) => {
                self.receiving = kind == kind::START_INTERRUPT_RECEIVING;
                self.next = 0;
                self.send(kind::INTERRUPT_RECEIVING_STATUS, id, &[SUCCESS, usb::IN])
            }
            (kind::START_INTERRUPT_RECEIVING | kind::STOP_INTERRUPT_RECEIVING, &[endpoint]) => {
                self.send(kind::INTERRUPT_RECEIVING_STATUS, id, &[INVAL, endpoint])
            }
            (kind::CONTROL_PACKET, body) => self.control(id, body),
            (kind::INTERRUPT_PACKET, body) => self.interrupt(id, body),
            (kind::FILTER_REJECT, _) => Err(invalid("the usb-guest rejects the device")),
            // What cancel_data_packet speaks of is answered already, as nothing here takes time. The rest is for
            // streams and bulk endpoints, which the device has not.
            _ => Ok(()),
        }
    }

    /// A control transfer.
    fn control(&mut self, id: u64, body: &[u8]) -> io::Result<()> {
        let mut fields = Fields(body);
        let (Some([endpoint, request, kind, _]), Some(value), Some(index), Some(length)) =
            (fields.take(), fields.u16(), fields.u16(), fields.u16())
        else {
            return Err(invalid("a control packet is too short"));
        };
        let to_host = kind & 0x80 != 0;
        let (status, data) = match usb::control(usb::Setup { kind, request, value }) {
            None => (STALL, Vec::new()),
            Some(mut data) => {
                data.truncate(length.into());
                (SUCCESS, data)
            }
        };
        let length = match status {
            SUCCESS if !to_host => length,
            _ => u16::try_from(data.len()).unwrap_or_default(),
        };
        let mut answer = vec![endpoint, request, kind, status];
        for field in [value, index, length] {
            answer.extend_from_slice(&field.to_le_bytes());
        }
        answer.extend_from_slice(&data);
        self.send(kind::CONTROL_PACKET, id, &answer)
    }

    /// A transfer on an interrupt endpoint of the usb-guest's output.
    fn interrupt(&mut self, id: u64, body: &[u8]) -> io::Result<()> {
        let mut fields = Fields(body);
        let (Some([endpoint, _]), Some(length)) = (fields.take(), fields.u16()) else {
            return Err(invalid("an interrupt packet is too short"));
        };
        let status = if endpoint == usb::OUT {
            self.hid.receive(fields.0, Instant::now());
            SUCCESS
        } else {
            INVAL
        };
        let [low, high] = length.to_le_bytes();
        self.send(kind::INTERRUPT_PACKET, id, &[endpoint, status, low, high])
    }

    /// Sends what the device has for its interrupt endpoint.
    fn send_reports(&mut self) -> io::Result<()> {
        while self.receiving {
            let Some(report) = self.hid.report() else {
                break;
            };
            let [low, high] = usb::PACKET.to_le_bytes();
            let body = [&[usb::IN, SUCCESS, low, high], report.as_slice()].concat();
            self.send(kind::INTERRUPT_PACKET, self.next, &body)?;
            self.next += 1;
        }
        Ok(())
    }

    /// `usb_redir_ep_info` and `usb_redir_interface_info`, in the order that the protocol wants.
    fn endpoints(&mut self) -> io::Result<()> {
        // Bit 7 of an endpoint's address, its direction, is bit 4 of its place.
        let table = |interrupt: u8, control: u8, other: u8| {
            (0..32).map(move |place| match place {
                0 | 16 => control,
                1 | 17 => interrupt,
                _ => other,
            })
        };
        let mut info: Vec<u8> = table(INTERRUPT, CONTROL, INVALID).collect();
        info.extend(table(usb::INTERVAL, 0, 0));
        // All belong to interface 0.
        info.extend(table(0, 0, 0));
        if self.common & EP_INFO_MAX_PACKET_SIZE != 0 {
            // The size that the descriptors give to all three.
            info.extend(table(1, 1, 0).flat_map(|used| (u16::from(used) * usb::PACKET).to_le_bytes()));
        }
        self.send(kind::EP_INFO, 0, &info)?;
        let mut info = 1_u32.to_le_bytes().to_vec();
        for first in [0, usb::CLASS_HID, 0, 0] {
            info.push(first);
            info.extend_from_slice(&[0; 31]);
        }
        self.send(kind::INTERFACE_INFO, 0, &info)
    }

    /// `usb_redir_device_connect`.
    fn connect(&mut self) -> io::Result<()> {
        let mut body = vec![FULL_SPEED, 0, 0, 0];
        body.extend_from_slice(&usb::VENDOR.to_le_bytes());
        body.extend_from_slice(&usb::PRODUCT.to_le_bytes());
        if self.common & CONNECT_DEVICE_VERSION != 0 {
            body.extend_from_slice(&usb::VERSION.to_le_bytes());
        }
        self.send(kind::DEVICE_CONNECT, 0, &body)
    }

    fn send(&mut self, kind: u32, id: u64, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).map_err(|_| invalid("a packet is too long"))?;
        let mut packet = kind.to_le_bytes().to_vec();
        packet.extend_from_slice(&length.to_le_bytes());
        packet.extend_from_slice(&id.to_le_bytes());
        if self.common & IDS_64_BITS == 0 {
            packet.truncate(12);
        }
        packet.extend_from_slice(body);
        match self.stream.write_all(&packet) {
            // QEMU has ended, which the next read sees too.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

/// Takes the fields of a packet, all little-endian, one after another.
struct Fields<'packet>(&'packet [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("USB redirection: {what}"))
}
