//! Names of SCSI and ATA disks, by which udev links them and multipath-tools tell units apart.
//!
//! Source of the rules: systemd's `scsi_id`, `ata_id` and `udev_replace_whitespace`; the pages are those of SPC-4.

/// A name that a bus gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// `ata` or `scsi`, the beginning of the link's name.
    pub bus: &'static str,
    /// udev's `ID_SERIAL`.
    pub name: String,
    /// udev's `ID_SERIAL_SHORT`.
    pub serial: String,
}

/// VPD page 0x83 without its header: designators (SPC-4, 7.8.5).
#[derive(Debug, Clone, Copy)]
pub struct DeviceIds<'a>(pub &'a [u8]);

struct Designator<'a> {
    ascii: bool,
    kind: u8,
    value: &'a [u8],
}

const VENDOR_SPECIFIC: u8 = 0;
const T10_VENDOR: u8 = 1;
const EUI64: u8 = 2;
const NAA: u8 = 3;
/// NAA formats: IEEE registered, and the same with a vendor extension.
const REGISTERED: u8 = 5;
const REGISTERED_EXTENDED: u8 = 6;

impl<'a> DeviceIds<'a> {
    /// Those that name the logical unit, not a port or a group.
    fn designators(self) -> impl Iterator<Item = Designator<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let [code, kind, _, length, tail @ ..] = rest else { return None };
            let value = tail.get(..usize::from(*length))?;
            rest = tail.get(usize::from(*length)..)?;
            Some((*code & 0x0f, *kind, value))
        })
        .filter(|(code, kind, value)| matches!(code, 1 | 2) && kind & 0x30 == 0 && !value.is_empty())
        .map(|(code, kind, value)| Designator { ascii: code == 2, kind: kind & 0x0f, value })
    }

    /// The best NAA designator.
    fn naa(self) -> Option<Designator<'a>> {
        let format =
            |id: &Designator<'_>| if id.ascii { 0 } else { id.value.first().map_or(0, |byte| byte >> 4) };
        let rank = |id: &Designator<'_>| match format(id) {
            REGISTERED_EXTENDED => 0,
            REGISTERED => 1,
            _ => 2,
        };
        self.designators().filter(|id| id.kind == NAA).min_by_key(rank)
    }

    /// `ID_WWN_WITH_EXTENSION` without `0x`.
    #[must_use]
    pub fn wwn(self) -> Option<String> {
        let id = self.naa().filter(|id| !id.ascii)?;
        let extended = id.value.first().is_some_and(|byte| byte >> 4 == REGISTERED_EXTENDED);
        Some(hex(id.value.get(..if extended { 16 } else { 8 }).unwrap_or(id.value)))
    }

    /// libata puts model and serial number of IDENTIFY DEVICE into a T10 designator (SAT-3, 10.3.4.2).
    #[must_use]
    pub fn ata(self) -> Option<Named> {
        let mut ids = self.designators().filter(|id| id.kind == T10_VENDOR && id.ascii);
        let (model, serial) = ids.find_map(|id| Some((id.value.get(8..48)?, id.value.get(48..68)?)))?;
        let (model, serial) = (identified(model), identified(serial));
        let name = if serial.is_empty() { model } else { format!("{model}_{serial}") };
        Some(Named { bus: "ata", name, serial })
    }

    /// scsi_id's choice: NAA, EUI-64, T10, vendor specific; each name begins with the digit of its kind.
    #[must_use]
    pub fn scsi(self, vendor: &str, model: &str) -> Option<Named> {
        let of = |kind| {
            self.designators().filter(move |id: &Designator<'_>| id.kind == kind).min_by_key(|id| id.ascii)
        };
        let id =
            self.naa().or_else(|| of(EUI64)).or_else(|| of(T10_VENDOR)).or_else(|| of(VENDOR_SPECIFIC))?;
        let value = if id.ascii { lossy(id.value) } else { hex(id.value) };
        let before = if id.kind == VENDOR_SPECIFIC { padded(vendor, model) } else { String::new() };
        let name = identified(format!("{}{before}{value}", id.kind).as_bytes());
        Some(Named { bus: "scsi", name, serial: identified(value.as_bytes()) })
    }
}

/// VPD page 0x80, for devices without the other one.
#[must_use]
pub fn unit_serial(page: &[u8], vendor: &str, model: &str) -> Option<Named> {
    let serial = lossy(page.get(4..)?);
    let name = identified(format!("S{}{serial}", padded(vendor, model)).as_bytes());
    Some(Named { bus: "scsi", name, serial: identified(serial.as_bytes()) })
}

/// Vendor and model as INQUIRY has them, in 8 and 16 bytes.
fn padded(vendor: &str, model: &str) -> String {
    format!("{vendor:<8.8}{model:<16.16}")
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn lossy(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// As the programs do: white space trimmed and joined, odd characters replaced.
#[must_use]
pub fn identified(bytes: &[u8]) -> String {
    replaced(&joined(&lossy(bytes)), "")
}

/// A value that stands in a `SYMLINK+=`: as [`identified`], but a slash stays and makes a directory.
#[must_use]
pub fn linked(text: &str) -> String {
    replaced(&joined(text), "/")
}

/// `udev_replace_whitespace`: none at the ends, one `_` for each run inside.
fn joined(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join("_")
}

/// `udev_replace_chars`: everything but a few characters becomes `_`; `allowed` are more that stay.
#[must_use]
pub fn replaced(text: &str, allowed: &str) -> String {
    let keep = |c: char| {
        c.is_ascii_alphanumeric()
            || "#+-.:=@_".contains(c)
            || allowed.contains(c)
            || (!c.is_ascii() && c != '\u{fffd}')
    };
    text.chars()
        .map(|c| match c {
            c if keep(c) => c,
            c if c.is_ascii_whitespace() && allowed.contains(' ') => ' ',
            _ => '_',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(designators: &[(u8, u8, &[u8])]) -> Vec<u8> {
        designators
            .iter()
            .flat_map(|(code, kind, value)| {
                let mut bytes = vec![*code, *kind, 0, u8::try_from(value.len()).unwrap()];
                bytes.extend_from_slice(value);
                bytes
            })
            .collect()
    }

    /// The names that `udevadm info` shows in guests of QEMU 7.2 and on a SATA disk.
    #[test]
    fn scsi_names_are_those_of_scsi_id() {
        let qemu = page(&[(2, 0, b"drive-scsi0-0-0-0")]);
        let named = DeviceIds(&qemu).scsi("QEMU    ", "QEMU HARDDISK   ").unwrap();
        assert_eq!(named.name, "0QEMU_QEMU_HARDDISK_drive-scsi0-0-0-0");
        assert_eq!(named.serial, "drive-scsi0-0-0-0");
        assert_eq!(DeviceIds(&qemu).wwn(), None);

        let naa6 = [0x60, 0x01, 0x40, 0x5a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let target = page(&[
            (1, 0x14, &[0, 0, 0, 1]),
            (1, 0x93, &[0x50, 0, 0, 0, 0, 0, 0, 1]),
            (2, 1, b"LIO-ORG name:1234"),
            (1, 3, &[0x50, 1, 2, 3, 4, 5, 6, 7]),
            (1, 3, &naa6),
        ]);
        let named = DeviceIds(&target).scsi("LIO-ORG", "name").unwrap();
        assert_eq!(named.name, "36001405a0102030405060708090a0b0c");
        assert_eq!(named.serial, "6001405a0102030405060708090a0b0c");
        assert_eq!(DeviceIds(&target).wwn().unwrap(), "6001405a0102030405060708090a0b0c");

        let serial = b"\x00\x80\x00\x05 AB12".to_vec();
        let named = unit_serial(&serial, "ACME", "Disk 1").unwrap();
        assert_eq!(named.name, "SACME_Disk_1_AB12");
        assert_eq!(named.serial, "AB12");
    }

    #[test]
    fn ata_names_are_those_of_ata_id() {
        let t10 = format!("{:<8}{:<40}{:>20}", "ATA", "QEMU HARDDISK", "QM00005");
        let ids = page(&[
            (2, 0, b"QM00005             "),
            (2, 1, t10.as_bytes()),
            (1, 3, &[0x50, 1, 2, 3, 4, 5, 6, 7]),
        ]);
        let named = DeviceIds(&ids).ata().unwrap();
        assert_eq!((named.bus, named.name.as_str()), ("ata", "QEMU_HARDDISK_QM00005"));
        assert_eq!(named.serial, "QM00005");
        assert_eq!(DeviceIds(&ids).wwn().unwrap(), "5001020304050607");
    }

    #[test]
    fn cut_pages_give_what_is_whole() {
        let whole = page(&[(2, 0, b"first"), (1, 3, &[0x50; 8])]);
        for end in 0..whole.len() {
            let ids = DeviceIds(&whole[..end]);
            assert!(ids.wwn().is_none());
            assert_eq!(ids.designators().count(), usize::from(end >= 9));
        }
        assert!(DeviceIds(&[]).scsi("", "").is_none());
        assert!(DeviceIds(&page(&[(2, 1, b"too short")])).ata().is_none());
    }

    #[test]
    fn odd_characters() {
        assert_eq!(identified(b"  My  Disk\t(1)/2\0rest"), "My_Disk__1__2");
        assert_eq!(linked(" a/b  c "), "a/b_c");
        assert_eq!(replaced("größe\u{fffd}", ""), "größe_");
        assert_eq!(replaced("a $b", "/ $%?,"), "a $b");
    }
}
