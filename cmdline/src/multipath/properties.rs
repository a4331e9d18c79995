//! The names of udev's properties by which multipath.conf(5) filters disks. There is no udev here: what is known of a disk
//! says which ones its rules would have set (systemd's 60-persistent-storage.rules and the rules of sg3-utils, which
//! Debian's multipath-tools depend on). Properties of other rules are not known.

use super::{Disk, Invertible};

enum Of {
    All,
    Ata,
    Usb,
    Wwn,
    /// Stands for one of [`IDENTS`].
    Ident,
}

/// In the order in which libudev goes through them.
const NAMES: [(&str, Of); 33] = [
    ("DEVLINKS", Of::All),
    ("DEVNAME", Of::All),
    ("DEVPATH", Of::All),
    ("DEVTYPE", Of::All),
    ("ID_ATA", Of::Ata),
    ("ID_BUS", Of::All),
    ("ID_MODEL", Of::All),
    ("ID_MODEL_ENC", Of::All),
    ("ID_PATH", Of::All),
    ("ID_PATH_TAG", Of::All),
    ("ID_REVISION", Of::All),
    ("ID_SCSI", Of::All),
    ("ID_SCSI_INQUIRY", Of::All),
    ("ID_SERIAL", Of::All),
    ("ID_SERIAL_SHORT", Of::All),
    ("ID_TYPE", Of::All),
    ("ID_USB_DRIVER", Of::Usb),
    ("ID_VENDOR", Of::All),
    ("ID_VENDOR_ENC", Of::All),
    ("ID_WWN", Of::Wwn),
    ("ID_WWN_WITH_EXTENSION", Of::Wwn),
    ("MAJOR", Of::All),
    ("MINOR", Of::All),
    ("SCSI_IDENT", Of::Ident),
    ("SCSI_MODEL", Of::All),
    ("SCSI_MODEL_ENC", Of::All),
    ("SCSI_REVISION", Of::All),
    ("SCSI_TYPE", Of::All),
    ("SCSI_VENDOR", Of::All),
    ("SCSI_VENDOR_ENC", Of::All),
    ("SUBSYSTEM", Of::All),
    ("TAGS", Of::All),
    ("USEC_INITIALIZED", Of::All),
];

/// By how a world-wide id begins, which tells where it was found.
const IDENTS: [(&str, &str); 9] = [
    ("36", "SCSI_IDENT_LUN_NAA_REGEXT"),
    ("35", "SCSI_IDENT_LUN_NAA_REG"),
    ("33", "SCSI_IDENT_LUN_NAA_LOCAL"),
    ("32", "SCSI_IDENT_LUN_NAA_EXT"),
    ("2", "SCSI_IDENT_LUN_EUI64"),
    ("1", "SCSI_IDENT_LUN_T10"),
    ("0", "SCSI_IDENT_LUN_VENDOR"),
    ("ATA", "SCSI_IDENT_LUN_ATA"),
    ("", "SCSI_IDENT_SERIAL"),
];

/// The names of the properties of a disk that has an id.
fn of(disk: Disk<'_>) -> impl Iterator<Item = &'static str> {
    let usb = disk.protocol == "scsi:usb";
    let ata = !usb && disk.vendor == "ATA";
    let start = if ata {
        "ATA"
    } else if usb {
        ""
    } else {
        disk.wwid
    };
    NAMES.iter().filter_map(move |(name, of)| match of {
        Of::Ident => IDENTS.iter().find(|(prefix, _)| start.starts_with(prefix)).map(|(_, name)| *name),
        Of::All => Some(*name),
        Of::Ata => ata.then_some(*name),
        Of::Usb => usb.then_some(*name),
        Of::Wwn => disk.wwn.then_some(*name),
    })
}

/// What multipath-tools except by themselves: `(SCSI_IDENT_|ID_WWN)`.
fn is_usual(name: &str) -> bool {
    name.contains("SCSI_IDENT_") || name.contains("ID_WWN")
}

fn fits(list: &[Invertible], name: &str) -> bool {
    list.iter().any(|(pattern, not)| pattern.is_in(name) != *not)
}

/// Whether the disk is left alone, as `filter_property` in their blacklist.c decides: by the first name that fits either
/// list; one that has no property of the exceptions is left alone too.
pub(super) fn is_blacklisted(disk: Disk<'_>, no: &[Invertible], yes: &[Invertible]) -> bool {
    let verdict =
        |name| if is_usual(name) || fits(yes, name) { Some(false) } else { fits(no, name).then_some(true) };
    of(disk).find_map(verdict).unwrap_or(true)
}

/// Whether a disk may have a property that it fits.
pub(super) fn is_known(one: &Invertible) -> bool {
    let names = NAMES.iter().map(|(name, _)| *name).chain(IDENTS.map(|(_, name)| name));
    names.into_iter().any(|name| fits(std::slice::from_ref(one), name))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Pattern};
    use super::*;

    fn disk<'a>(wwid: &'a str, vendor: &'a str, protocol: &'a str) -> Disk<'a> {
        Disk { name: "sda", wwid, vendor, protocol, ..Disk::default() }
    }

    #[test]
    fn names_follow_from_the_disk() {
        let names = |disk| of(disk).collect::<Vec<_>>();
        for (disk, has, lacks) in [
            (disk("3600140", "LIO", "scsi:iscsi"), "SCSI_IDENT_LUN_NAA_REGEXT", "ID_ATA"),
            (disk("0QEMU", "QEMU", "scsi:unspec"), "SCSI_IDENT_LUN_VENDOR", "ID_WWN"),
            (disk("SQEMU", "QEMU", "scsi:unspec"), "SCSI_IDENT_SERIAL", "SCSI_IDENT_LUN_VENDOR"),
            (disk("300Disk", "ATA", "scsi:ata"), "ID_ATA", "SCSI_IDENT_LUN_NAA_EXT"),
            (disk("300Disk", "ATA", "scsi:usb"), "ID_USB_DRIVER", "ID_ATA"),
            (Disk { wwn: true, ..disk("36", "LIO", "scsi:fcp") }, "ID_WWN", "SCSI_IDENT"),
        ] {
            let names = names(disk);
            assert!(names.contains(&has) && !names.contains(&lacks), "{disk:?}: {names:?}");
            assert!(names.is_sorted(), "{names:?}");
        }
    }

    #[test]
    fn filters() {
        let plain = disk("0QEMU", "QEMU", "scsi:unspec");
        let ata = disk("Disk_1", "ATA", "scsi:ata");
        for (no, yes, text, of_plain, of_ata) in [
            ("", "", "", false, false),
            ("ID_ATA", "", "", false, true),
            ("ID_ATA", "^ID_ATA$", "", false, false),
            // The built-in exception comes after the names with ID_ and before these.
            ("SCSI_VENDOR", "", "", false, false),
            (".*", "", "", true, true),
            ("!ID_", "", "", true, true),
            ("ID_SERIAL", "ID_MODEL", "", false, false),
            (
                "MY_FLAG",
                "",
                "property: fits no property that is known without udev, and so no disk",
                false,
                false,
            ),
            (
                "",
                "MY_FLAG",
                "property: fits no property that is known without udev, and so no disk",
                false,
                false,
            ),
            ("(", "", "property: the value cannot be used", false, false),
        ] {
            let line =
                |text: &str| if text.is_empty() { String::new() } else { format!("property \"{text}\"") };
            let file =
                format!("blacklist {{\n{}\n}}\nblacklist_exceptions {{\n{}\n}}\n", line(no), line(yes));
            let (config, remarks) = Config::read([file.as_str()]);
            assert_eq!(remarks.len(), usize::from(!text.is_empty()), "{remarks:?}");
            assert!(remarks.concat().ends_with(text), "{remarks:?}");
            assert_eq!(
                (config.is_blacklisted(plain), config.is_blacklisted(ata)),
                (of_plain, of_ata),
                "{file}"
            );
        }
        assert!(is_known(&(Pattern::new("(SCSI_IDENT_|ID_WWN)").expect("a pattern"), false)));
    }
}
