//! What sysfs says of a SCSI disk as a path to a unit.

use engine::ScsiFacts;

use crate::sysfs::Attributes;

/// Reads the facts of a disk with this id (udev's `ID_SERIAL`), with or without a world-wide name, and this path below `/sys`.
pub(crate) fn facts(wwid: String, wwn: bool, link: &str, disk: &Attributes) -> ScsiFacts {
    let read = |name: &str| disk.read(name).map(|text| text.trim_end().to_owned()).unwrap_or_default();
    let set = |name: &str| Some(read(name)).filter(|text| !text.is_empty());
    ScsiFacts {
        wwid,
        wwn,
        vendor: read("device/vendor"),
        product: read("device/model"),
        revision: read("device/rev"),
        place: link.to_owned(),
        protocol: format!("scsi:{}", transport(link)),
        handler: set("device/dh_state").filter(|name| name != "detached"),
        access: set("device/access_state"),
        preferred: read("device/preferred_path") == "1",
        alua: disk.bytes("device/inquiry").is_some_and(|inquiry| has_alua(&inquiry)),
        running: read("device/state") == "running",
    }
}

/// Standard INQUIRY data: the TPGS field is not zero (SPC-4, 6.4.2).
fn has_alua(inquiry: &[u8]) -> bool {
    inquiry.get(5).is_some_and(|flags| flags & 0x30 != 0)
}

/// How multipath-tools name the transport, in their order (`sysfs_get_tgt_nodename` in discovery.c).
fn transport(link: &str) -> &'static str {
    let numbered = |prefix: &str| {
        link.split('/').any(|name| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| rest.bytes().next().is_some_and(|byte| byte.is_ascii_digit()))
        })
    };
    for (prefix, name) in
        [("end_device-", "sas"), ("usb", "usb"), ("rport-", "fcp"), ("session", "iscsi"), ("ata", "ata")]
    {
        if numbered(prefix) {
            return name;
        }
    }
    "unspec"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports() {
        for (link, name) in [
            ("devices/pci0000:00/0000:00:05.0/virtio2/host2/target2:0:1/2:0:1:3/block/sda", "unspec"),
            ("devices/pci0000:00/0000:00:05.0/ata3/host2/target2:0:0/2:0:0:0/block/sda", "ata"),
            ("devices/platform/host4/session1/target4:0:0/4:0:0:1/block/sdc", "iscsi"),
            ("devices/pci0000:00/0000:03:00.0/host1/rport-1:0-2/target1:0:0/1:0:0:0/block/sdb", "fcp"),
            (
                "devices/pci0000:00/0000:04:00.0/host0/port-0:0/end_device-0:0/target0:0:0/0:0:0:0/block/sda",
                "sas",
            ),
            ("devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0/host6/target6:0:0/6:0:0:0/block/sdd", "usb"),
        ] {
            assert_eq!(transport(link), name, "{link}");
        }
    }

    #[test]
    fn target_port_group_support() {
        assert!(!has_alua(&[]));
        assert!(!has_alua(&[0, 0, 5, 2, 31, 0x0f]));
        assert!(has_alua(&[0, 0, 5, 2, 31, 0x10]));
        assert!(has_alua(&[0, 0, 5, 2, 31, 0x30]));
    }
}
