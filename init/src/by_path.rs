//! The name below `/dev/disk/by-path`: what udev's `path_id` makes of a device's place in `/sys`.
//!
//! Source of the rules: systemd's `src/udev/udev-builtin-path_id.c`. Left out are transports of mainframes and
//! PlayStations, and SAS and Fibre Channel, whose names need more than the path.

use std::path::Path;

/// What has been found while climbing.
#[derive(Default)]
struct Name {
    /// Parts from the device up.
    parts: Vec<String>,
    /// A bus whose names stay the same from boot to boot.
    known_parent: bool,
    /// A transport that numbers its devices in a fixed way; without one, several disks would share a name.
    known_transport: bool,
}

/// `ID_PATH` of a disk with this path below `/sys`; `None` for what hangs on no hardware or on an unknown transport.
pub(crate) fn path(link: &str, sys: &Path) -> Option<String> {
    if link.contains("/virtual/") {
        return None;
    }
    let mut name = Name::default();
    let mut at = parent(link)?;
    loop {
        let device = last(at);
        at = match subsystem(sys, at).as_deref() {
            Some("scsi") => scsi(sys, at, &mut name)?,
            Some("nvme") => {
                if let Some(number) = attribute(sys, link, "nsid") {
                    name.add(format!("nvme-{number}"), true, true);
                }
                top_of(sys, at, "nvme")
            }
            Some("usb") => usb(sys, at, &mut name),
            Some("virtio") => {
                name.known_transport = true;
                top_of(sys, at, "virtio")
            }
            Some("pci") => {
                name.add(format!("pci-{device}"), true, false);
                top_of(sys, at, "pci")
            }
            Some("platform") => {
                name.add(format!("platform-{device}"), true, true);
                top_of(sys, at, "platform")
            }
            Some("acpi") => {
                name.add(format!("acpi-{device}"), true, false);
                top_of(sys, at, "acpi")
            }
            Some("xen") => {
                name.add(format!("xen-{device}"), true, false);
                top_of(sys, at, "xen")
            }
            _ => at,
        };
        match parent(at) {
            Some(above) => at = above,
            None => break,
        }
    }
    let usable = name.known_parent && name.known_transport && !name.parts.is_empty();
    name.parts.reverse();
    usable.then(|| name.parts.join("-"))
}

impl Name {
    fn add(&mut self, part: String, known_parent: bool, known_transport: bool) {
        self.parts.push(part);
        self.known_parent |= known_parent;
        self.known_transport |= known_transport;
    }
}

/// A SCSI device, `HOST:CHANNEL:TARGET:LUN`, below `hostN/targetN:N:N`. Continues at the host.
fn scsi<'a>(sys: &Path, at: &'a str, name: &mut Name) -> Option<&'a str> {
    name.known_transport = true;
    let mut numbers = last(at).split(':').map(str::parse::<u64>);
    let mut number = || numbers.next()?.ok();
    let (Some(host), Some(channel), Some(target), Some(lun)) = (number(), number(), number(), number())
    else {
        // A target or the host itself.
        return Some(at);
    };
    if ["/rport-", "/end_device-", "/session"].iter().any(|transport| at.contains(transport)) {
        return None;
    }
    let host_path = parent(parent(at)?)?;
    let above = parent(host_path)?;
    if at.contains("/ata") {
        let port = attribute(sys, &format!("{above}/ata_port/{}", last(above)), "port_no")?;
        name.parts.push(match channel {
            0 => format!("ata-{port}.{target}"),
            // Behind a port multiplier.
            channel => format!("ata-{port}.{channel}.0"),
        });
    } else {
        // Host numbers depend on the order of discovery; those of one controller are counted from 0.
        let hosts = std::fs::read_dir(sys.join(above)).ok()?.flatten();
        let numbers =
            hosts.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("host")?.parse::<u64>().ok());
        let host = host.checked_sub(numbers.min()?)?;
        name.parts.push(format!("scsi-{host}:{channel}:{target}:{lun}"));
    }
    Some(host_path)
}

/// A USB interface, `BUS-PORT:CONFIGURATION.INTERFACE`. Bus numbers depend on the order of discovery, so 0 stands for
/// the controller's.
fn usb<'a>(sys: &Path, at: &'a str, name: &mut Name) -> &'a str {
    if let Some((_, port)) = last(at).split_once('-') {
        name.add(format!("usb-0:{port}"), false, true);
        return top_of(sys, at, "usb");
    }
    at
}

/// The highest ancestor that is still of this subsystem: bridges do not appear in the name.
fn top_of<'a>(sys: &Path, mut at: &'a str, wanted: &str) -> &'a str {
    while let Some(above) = parent(at).filter(|above| subsystem(sys, above).as_deref() == Some(wanted)) {
        at = above;
    }
    at
}

/// The device or class directory above; `None` at `devices/X`, which is no device.
fn parent(path: &str) -> Option<&str> {
    let (above, _) = path.rsplit_once('/')?;
    above.contains('/').then_some(above)
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn subsystem(sys: &Path, at: &str) -> Option<String> {
    let target = std::fs::read_link(sys.join(at).join("subsystem")).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}

fn attribute(sys: &Path, at: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(sys.join(at).join(name)).ok()?;
    Some(text.trim_end().to_owned())
}
