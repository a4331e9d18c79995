//! The USB device: its descriptors and its control requests (USB 2.0 chapter 9, HID 1.11 sections 6 and 7, and for
//! the FIDO interface CTAP 2.1 section 11.2.8).

use crate::ctaphid::REPORT;

/// idVendor and idProduct: pid.codes' number for private tests.
pub(crate) const VENDOR: u16 = 0x1209;
pub(crate) const PRODUCT: u16 = 0x0001;
/// bcdDevice.
pub(crate) const VERSION: u16 = 0x0100;
/// bInterfaceClass: HID.
pub(crate) const CLASS_HID: u8 = 3;
/// Interrupt endpoint to the host.
pub(crate) const IN: u8 = 0x81;
/// Interrupt endpoint from the host.
pub(crate) const OUT: u8 = 0x01;
/// bInterval of both: 5 ms at full speed.
pub(crate) const INTERVAL: u8 = 5;
/// wMaxPacketSize of both: a report.
pub(crate) const PACKET: u16 = REPORT as u16;

const DEVICE: [u8; 18] = {
    let [vendor, product, version] = [VENDOR.to_le_bytes(), PRODUCT.to_le_bytes(), VERSION.to_le_bytes()];
    [
        18, 1, // DEVICE
        0x00, 0x02, // USB 2.0
        0, 0, 0,  // class, subclass and protocol are the interface's
        64, // bMaxPacketSize0
        vendor[0], vendor[1], product[0], product[1], version[0], version[1], 1, 2,
        3, // iManufacturer, iProduct, iSerialNumber
        1, // bNumConfigurations
    ]
};

const REPORT_DESCRIPTOR: [u8; 34] = [
    0x06, 0xD0, 0xF1, // Usage Page (FIDO)
    0x09, 0x01, // Usage (CTAPHID)
    0xA1, 0x01, // Collection (Application)
    0x09, 0x20, //   Usage (Data In)
    0x15, 0x00, 0x26, 0xFF, 0x00, 0x75, 0x08, 0x95, 0x40, //   64 bytes
    0x81, 0x02, //   Input (Data, Var, Abs)
    0x09, 0x21, //   Usage (Data Out)
    0x15, 0x00, 0x26, 0xFF, 0x00, 0x75, 0x08, 0x95, 0x40, //   64 bytes
    0x91, 0x02, //   Output (Data, Var, Abs)
    0xC0, // End Collection
];

const HID: [u8; 9] = [
    9,
    0x21, // HID
    0x11,
    0x01, // HID 1.11
    0,    // no country
    1,
    0x22,
    REPORT_DESCRIPTOR.len() as u8,
    0, // one report descriptor
];

const CONFIGURATION: [u8; 9] = [
    9,
    2, // CONFIGURATION
    9 + 9 + 9 + 7 + 7,
    0,    // wTotalLength
    1,    // bNumInterfaces
    1,    // bConfigurationValue
    0,    // iConfiguration
    0x80, // bus powered
    50,   // 100 mA
];

const INTERFACE: [u8; 9] = [
    9, 4, // INTERFACE
    0, 0, // number, alternate setting
    2, // bNumEndpoints
    CLASS_HID, 0, 0, // neither boot subclass nor boot protocol
    0,
];

const fn endpoint(address: u8) -> [u8; 7] {
    let [low, high] = PACKET.to_le_bytes();
    // ENDPOINT, interrupt
    [7, 5, address, 3, low, high, INTERVAL]
}

/// iManufacturer, iProduct and iSerialNumber.
const STRINGS: [&str; 3] = ["Rootward", "Security Key", "0"];

/// The setup packet of a control transfer (USB 2.0 section 9.3).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// bmRequestType.
    pub(crate) kind: u8,
    /// bRequest.
    pub(crate) request: u8,
    /// wValue.
    pub(crate) value: u16,
}

/// The device's data for a control request, none for one that it stalls. Requests that a redirection protocol has
/// packets of its own for, such as SET_CONFIGURATION, do not come here.
pub(crate) fn control(setup: Setup) -> Option<Vec<u8>> {
    let [index, kind] = setup.value.to_le_bytes();
    match (setup.kind, setup.request) {
        // GET_STATUS of device, interface and endpoint: nothing to say.
        (0x80..=0x82, 0x00) => Some(vec![0, 0]),
        // CLEAR_FEATURE and SET_FEATURE: an endpoint of this device never halts.
        (0x00..=0x02, 0x01 | 0x03) => Some(Vec::new()),
        // GET_DESCRIPTOR
        (0x80 | 0x81, 0x06) => descriptor(kind, index),
        // HID GET_REPORT
        (0xA1, 0x01) => Some(vec![0; REPORT]),
        // HID GET_IDLE
        (0xA1, 0x02) => Some(vec![0]),
        // HID SET_IDLE
        (0x21, 0x0A) => Some(Vec::new()),
        _ => None,
    }
}

fn descriptor(kind: u8, index: u8) -> Option<Vec<u8>> {
    match (kind, index) {
        (0x01, _) => Some(DEVICE.to_vec()),
        (0x02, 0) => Some([&CONFIGURATION[..], &INTERFACE, &HID, &endpoint(IN), &endpoint(OUT)].concat()),
        // The languages of strings: English (United States).
        (0x03, 0) => Some(vec![4, 3, 0x09, 0x04]),
        (0x03, _) => {
            let text = STRINGS.get(usize::from(index) - 1)?;
            let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let length = u8::try_from(units.len() + 2).ok()?;
            Some([vec![length, 3], units].concat())
        }
        (0x21, _) => Some(HID.to_vec()),
        (0x22, _) => Some(REPORT_DESCRIPTOR.to_vec()),
        // Such as DEVICE_QUALIFIER, which a device of full speed has not.
        _ => None,
    }
}
