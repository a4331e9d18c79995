//! `root=` values: the forms of dracut and systemd and the kernel's own (`init/do_mounts.c`).

use crate::plan::RootSpec;

/// Reads a `root=` value. A form that nothing handles comes back as [`RootSpec::Unsupported`].
///
/// Links below `/dev/disk` that name a content are read as what they name, so that nothing has to wait for
/// the link.
pub fn root_spec(value: &str) -> RootSpec {
    let device = value.strip_prefix("block:").unwrap_or(value);
    device_spec(device).unwrap_or_else(|| RootSpec::Unsupported(value.to_owned()))
}

/// Why a `root=` value is [`RootSpec::Unsupported`].
pub(crate) fn unsupported_reason(value: &str) -> &'static str {
    let device = value.strip_prefix("block:").unwrap_or(value);
    let scheme = device.split([':', '=']).next().unwrap_or("");
    match scheme {
        "UUID" | "LABEL" | "PARTUUID" | "PARTLABEL" => "nothing usable follows the `=`",
        "uuid" | "label" | "partuuid" | "partlabel" => "write the tag in capitals, e.g. UUID=",
        "/dev/nfs" | "/dev/cifs" | "nfs" | "nfs4" | "cifs" | "dhcp" | "dhcp6" | "iscsi" | "nbd" | "http"
        | "https" | "ftp" | "tftp" => "roots on the network are not implemented yet",
        "live" => "live media are not implemented yet",
        "zfs" | "ZFS" => "ZFS is not supported",
        "virtiofs" | "virtfs" => "shared file systems of a virtual machine are not implemented yet",
        _ if is_discovery(value) => {
            "partitions are not found by their GPT type yet, only by a root hash (roothash=, usrhash=); name the device, e.g. by UUID="
        }
        "fstab" | "tmpfs" | "bind" | "off" => {
            "this form of systemd is not implemented yet; name the device, e.g. by UUID="
        }
        "/dev/root" => "no handler publishes /dev/root yet; name the device itself",
        "mtd" | "ubi0" => "flash file systems are not supported",
        _ if device.contains('/') || device.contains(':') => {
            "write /dev/..., UUID=, LABEL=, PARTUUID= or PARTLABEL="
        }
        _ => "a kernel name needs /dev/ in front; otherwise write UUID=, LABEL=, PARTUUID= or PARTLABEL=",
    }
}

/// Whether a value asks for the partition that the GPT knows as root or `/usr`: systemd-gpt-auto-generator(8); all but
/// the first since systemd 258.
pub(crate) fn is_discovery(value: &str) -> bool {
    matches!(value, "gpt-auto" | "gpt-auto-force" | "dissect" | "dissect-force")
}

/// A block device by any of the forms that `root=`, `rd.luks.data=`, `resume=` and crypttab share.
pub(crate) fn device_spec(device: &str) -> Option<RootSpec> {
    if let Some((tag, id)) = device.split_once('=') {
        let id = unquote(id);
        return match tag {
            "UUID" => filled(id).map(RootSpec::Uuid),
            "LABEL" => filled(&unescape(id)).map(RootSpec::Label),
            "PARTUUID" => partuuid(id),
            "PARTLABEL" => filled(&unescape(id)).map(RootSpec::PartLabel),
            _ => path_spec(device),
        };
    }
    path_spec(device)
}

fn path_spec(device: &str) -> Option<RootSpec> {
    let Some(below) = device.strip_prefix("/dev/") else { return devnum(device) };
    // The kernel and mount(8) do not mind doubled slashes; a look-up by name would.
    let below =
        below.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/");
    if below.split('/').any(|part| part == "..") {
        return None;
    }
    match below
        .split_once('/')
        .and_then(|(first, rest)| rest.split_once('/').map(|(dir, name)| (first, dir, name)))
    {
        Some(("disk", "by-uuid", id)) => return filled(&unescape(id)).map(RootSpec::Uuid),
        Some(("disk", "by-label", id)) => return filled(&unescape(id)).map(RootSpec::Label),
        Some(("disk", "by-partuuid", id)) => {
            return filled(&unescape(id)).map(|uuid| RootSpec::PartUuid { uuid, offset: 0 });
        }
        Some(("disk", "by-partlabel", id)) => return filled(&unescape(id)).map(RootSpec::PartLabel),
        _ => {}
    }
    match below.as_str() {
        "" | "root" | "nfs" | "cifs" => None,
        _ => Some(RootSpec::Path(format!("/dev/{below}"))),
    }
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Takes off a pair of quotes around a tag's value (`UUID="..."` as copied from blkid); the tokeniser only
/// removes quotes that open the whole value.
fn unquote(text: &str) -> &str {
    text.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(text)
}

/// `PARTUUID=`: `XXXX...` with an optional `/PARTNROFF=N`.
fn partuuid(id: &str) -> Option<RootSpec> {
    let (uuid, offset) = match id.split_once('/') {
        None => (id, 0),
        Some((uuid, rest)) => (uuid, rest.strip_prefix("PARTNROFF=")?.parse().ok()?),
    };
    filled(uuid).map(|uuid| RootSpec::PartUuid { uuid, offset })
}

/// `MAJ:MIN` in decimal, or the kernel's hexadecimal device number (`new_decode_dev`: 12 bits of major number
/// within 32 bits, the minor number's low 8 bits below and its high 12 bits above them).
fn devnum(text: &str) -> Option<RootSpec> {
    const MAJOR_MAX: u32 = 0xfff;
    const MINOR_MAX: u32 = 0xf_ffff;
    let all = |text: &str, digit: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|b| digit(&b));
    let (major, minor) = match text.split_once(':') {
        Some((major, minor)) => {
            if !all(major, u8::is_ascii_digit) || !all(minor, u8::is_ascii_digit) {
                return None;
            }
            (major.parse().ok()?, minor.parse().ok()?)
        }
        None => {
            let digits = text.strip_prefix("0x").unwrap_or(text);
            if !all(digits, u8::is_ascii_hexdigit) {
                return None;
            }
            let number = u32::from_str_radix(digits, 16).ok()?;
            ((number & 0xf_ff00) >> 8, (number & 0xff) | ((number >> 12) & 0xf_ff00))
        }
    };
    (major != 0 && major <= MAJOR_MAX && minor <= MINOR_MAX).then_some(RootSpec::DevNum { major, minor })
}

/// Decodes `\xNN`, udev's encoding of bytes in link names.
pub(crate) fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        let code = after.get(..2).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or("");
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(p: &str) -> RootSpec {
        RootSpec::Path(p.into())
    }
    fn uuid(u: &str) -> RootSpec {
        RootSpec::Uuid(u.into())
    }
    fn label(l: &str) -> RootSpec {
        RootSpec::Label(l.into())
    }
    fn part(uuid: &str, offset: i32) -> RootSpec {
        RootSpec::PartUuid { uuid: uuid.into(), offset }
    }
    fn dev(major: u32, minor: u32) -> RootSpec {
        RootSpec::DevNum { major, minor }
    }

    #[test]
    fn forms() {
        for (value, expected) in [
            ("/dev/sda1", path("/dev/sda1")),
            ("block:/dev/sda1", path("/dev/sda1")),
            ("/dev//mapper/vg-root", path("/dev/mapper/vg-root")),
            ("/dev/./sda", path("/dev/sda")),
            ("/dev/disk/by-id/ata-X=Y", path("/dev/disk/by-id/ata-X=Y")),
            ("/dev/disk/by-path/pci-0000:00:1f.2-ata-1", path("/dev/disk/by-path/pci-0000:00:1f.2-ata-1")),
            ("UUID=ABCD-1234", uuid("ABCD-1234")),
            ("block:UUID=x", uuid("x")),
            ("UUID=\"a-b\"", uuid("a-b")),
            ("/dev/disk/by-uuid/ABCD-1234", uuid("ABCD-1234")),
            ("LABEL=root", label("root")),
            ("LABEL=a\\x2fb\\x20c", label("a/b c")),
            ("LABEL=a/b", label("a/b")),
            ("LABEL=a=b", label("a=b")),
            ("LABEL=\\x\\xz1\\x4", label("\\x\\xz1\\x4")),
            ("LABEL=\\xc3\\xa9t\\xc3\\xa9", label("été")),
            ("/dev/disk/by-label/a\\x20b", label("a b")),
            ("PARTUUID=1234abcd-01", part("1234abcd-01", 0)),
            ("PARTUUID=x/PARTNROFF=1", part("x", 1)),
            ("PARTUUID=x/PARTNROFF=-2", part("x", -2)),
            ("/dev/disk/by-partuuid/x", part("x", 0)),
            ("PARTLABEL=Linux root", RootSpec::PartLabel("Linux root".into())),
            ("/dev/disk/by-partlabel/a\\x2fb", RootSpec::PartLabel("a/b".into())),
            ("254:3", dev(254, 3)),
            ("8:1048575", dev(8, 1_048_575)),
            ("fe03", dev(254, 3)),
            ("0803", dev(8, 3)),
            ("0x0803", dev(8, 3)),
            ("FE03", dev(254, 3)),
            ("10fe03", dev(254, 0x103)),
        ] {
            assert_eq!(root_spec(value), expected, "{value}");
        }
    }

    #[test]
    fn forms_that_nothing_handles() {
        for value in [
            "",
            "block:",
            "UUID=",
            "LABEL=",
            "PARTUUID=",
            "PARTUUID=x/PARTNROFF=",
            "PARTUUID=x/PARTNROFF=y",
            "PARTUUID=x/y",
            "PARTLABEL=\"\"",
            "/dev/",
            "/dev/root",
            "/dev/nfs",
            "/dev/../etc/passwd",
            "nfs:server:/path",
            "live:LABEL=x",
            "uuid=x",
            "sda1",
            "0",
            "0:1",
            "4096:1",
            "8:1048576",
            "8:1:0:",
            "8:+1",
            "1fffffffff",
            "gpt-auto",
            "dissect-force",
            "block:gpt-auto",
            "ubi0:rootfs",
        ] {
            assert_eq!(root_spec(value), RootSpec::Unsupported(value.into()), "{value}");
            assert!(!unsupported_reason(value).is_empty());
        }
    }

    #[test]
    fn the_kernels_hexadecimal_form_is_its_own_inverse() {
        for (major, minor) in [(1u32, 0u32), (8, 1), (254, 3), (259, 255), (259, 256), (0xfff, 0xf_ffff)] {
            let encoded = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
            assert_eq!(root_spec(&format!("{encoded:x}")), dev(major, minor));
        }
    }

    proptest! {
        #[test]
        fn any_value_is_answered(value in "\\PC{0,40}|(UUID|LABEL|PARTUUID)=[\\\\x0-9a-f/\"=]{0,20}|/dev/[a-z/.]{0,20}") {
            let spec = root_spec(&value);
            if let RootSpec::Path(path) = spec {
                prop_assert!(path.starts_with("/dev/") && !path.contains("//"));
            }
        }

        #[test]
        fn escaping_every_byte_is_undone(label in "\\PC{1,12}") {
            let escaped: String = label.bytes().map(|b| format!("\\x{b:02x}")).collect();
            prop_assert_eq!(root_spec(&format!("LABEL={escaped}")), RootSpec::Label(label));
        }
    }
}
