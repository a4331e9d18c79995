//! What an operator should try, most likely first.

use cmdline::plan::RootSpec;
use ondisk::{Kind, Signature};

use crate::assemble::View;
use crate::command::Mountpoint;
use crate::event::{DriverFacts, Failure};
use crate::matching;
use crate::root::Goal;
use crate::table::Device;

/// Remedies that follow from the goal and the drivers.
pub fn for_goal(view: View<'_>, goal: &Goal, drivers: &DriverFacts) -> Vec<String> {
    let mut remedies = Vec::new();
    if let Some(failure) = &goal.handover_failure {
        remedies.push(match failure {
            Failure::NoInit(_) => {
                "name the init of this root with init=, or check that this is the right root".to_owned()
            }
            _ => "check that this is the right root; retry hands over to it, mount DEVICE names another"
                .to_owned(),
        });
        return remedies;
    }
    match goal.spec(view.plan) {
        None => remedies
            .push("add root=UUID=... to the command line; the devices seen are listed above".to_owned()),
        Some(RootSpec::Unsupported(_)) => {
            remedies.push(
                "name the root by UUID=, LABEL=, PARTUUID=, PARTLABEL= or a path below /dev".to_owned(),
            );
        }
        Some(spec) => remedies.extend(mistaken(view, &spec, goal.mountpoint)),
    }
    let driverless = drivers.driverless.iter().filter(|device| storage_kind(&device.modalias).is_some());
    for device in driverless {
        remedies.push(format!(
            "build the image with the driver of {} (rootward build --universal, or --modules with its name)",
            device.modalias
        ));
    }
    for device in view.table.iter() {
        let pool = device.content().and_then(|content| content.member.as_deref()?.zfs());
        let text = match (device.signature().map(|signature| signature.kind), pool) {
            (Some(Kind::ZfsMember), Some(pool)) => format!(
                "{} is a member of the ZFS pool {}: importing a pool needs OpenZFS' own tools, which no part of this program replaces; boot such a root with an initramfs that brings zpool and the zfs module",
                device.name, pool.name
            ),
            _ => continue,
        };
        if !remedies.contains(&text) {
            remedies.push(text);
        }
    }
    for (name, failure) in &goal.failures {
        let device = view.table.get(name);
        let checked = device.and_then(|device| device.facts.dm.as_ref()).is_some_and(|dm| {
            dm.uuid.starts_with("CRYPT-VERITY-") || dm.uuid.starts_with("CRYPT-INTEGRITY-")
        });
        if checked {
            remedies.push(format!(
                "{name} reads only what its hashes or tags agree with; the kernel log names the corrupted blocks. Write its image anew"
            ));
            continue;
        }
        remedies.push(match failure {
            Failure::Os { .. } => match goal.mountpoint {
                Mountpoint::Root => format!("check {name} with fsck, and rootfstype= and rootflags="),
                Mountpoint::Usr => {
                    format!("check {name} with fsck, and its line in the root's fstab or mount.usrflags=")
                }
            },
            _ => format!("check {name}: {failure}"),
        });
    }
    if remedies.is_empty() {
        remedies.push(if view.table.iter().next().is_none() {
            "check that the disk is connected and that the image has its driver".to_owned()
        } else {
            let source = match goal.mountpoint {
                Mountpoint::Root => "root=",
                Mountpoint::Usr => "mount.usr=, or the line for /usr in the root's fstab,",
            };
            format!("compare {source} with the devices listed above, and check that no disk is missing")
        });
    }
    remedies
}

/// Ids that were given under the wrong name, or nearly right.
fn mistaken(view: View<'_>, spec: &RootSpec, mountpoint: Mountpoint) -> Vec<String> {
    let word = mountpoint.word();
    let mut remedies = Vec::new();
    for device in view.table.iter() {
        let signature = device.signature();
        let entry = view.table.partition_entry(device);
        let uuid = signature.and_then(|signature| signature.uuid.as_deref());
        let label = signature.and_then(label_text);
        let partuuid = entry.map(|entry| entry.uuid.as_str());
        let partlabel = entry.and_then(|entry| entry.name.as_deref());
        let same =
            |seen: Option<&str>, typed: &str| seen.is_some_and(|seen| seen.eq_ignore_ascii_case(typed));
        let hint = match spec {
            RootSpec::Uuid(_) | RootSpec::Label(_) if matching::carries(spec, device) => {
                remedies.extend(unfit(device));
                continue;
            }
            RootSpec::Uuid(typed) if same(partuuid, typed) => Some(format!("{word}PARTUUID={typed}")),
            RootSpec::PartUuid { uuid: typed, .. } if same(uuid, typed) => {
                Some(format!("{word}UUID={typed}"))
            }
            RootSpec::Label(typed) if same(partlabel, typed) => {
                partlabel.map(|label| format!("{word}PARTLABEL={label}"))
            }
            RootSpec::PartLabel(typed) if same(label.as_deref(), typed) => {
                label.as_deref().map(|label| format!("{word}LABEL={label}"))
            }
            RootSpec::Label(typed) if same(label.as_deref(), typed) && label.as_deref() != Some(typed) => {
                label.as_deref().map(|label| format!("{word}LABEL={label}"))
            }
            RootSpec::Uuid(typed) => {
                uuid.filter(|seen| is_near(seen, typed)).map(|seen| format!("{word}UUID={seen}"))
            }
            RootSpec::PartUuid { uuid: typed, .. } => {
                partuuid.filter(|seen| is_near(seen, typed)).map(|seen| format!("{word}PARTUUID={seen}"))
            }
            _ => None,
        };
        remedies.extend(hint.map(|hint| format!("{hint} ({} is that device)", device.name)));
    }
    if remedies.is_empty() {
        if let RootSpec::Path(path) = spec {
            remedies.push(format!(
                "name the root by UUID= instead of {path}: names change with the order of discovery"
            ));
        }
        remedies.extend(only_file_system(view).map(|device| {
            match device.signature().and_then(|one| one.uuid.as_ref()) {
                Some(uuid) => format!("{word}UUID={uuid} ({} holds the only file system seen)", device.name),
                None => format!("{word}/dev/{} (it holds the only file system seen)", device.name),
            }
        }));
    }
    remedies
}

/// What helps when a device carries the wanted id, but not as a file system that can be mounted.
fn unfit(device: &Device) -> Option<String> {
    let name = &device.name;
    let content = device.content()?;
    if content.is_ambiguous() {
        return Some(format!("wipefs {name} from a rescue system shows its signatures; erase the stale one"));
    }
    let Some(signature) = content.only() else {
        return Some(format!("check {name} with fsck from a rescue system"));
    };
    match (signature.kind, &signature.uuid) {
        (Kind::Luks1 | Kind::Luks2, Some(uuid)) => Some(format!(
            "{name} is the container; name what lies in it: rd.luks.uuid={uuid} root=/dev/mapper/luks-{uuid}"
        )),
        (kind, _) if !kind.is_filesystem() => {
            Some(format!("{name} holds {}; name the root's file system instead", kind.name()))
        }
        _ => None,
    }
}

fn label_text(signature: &Signature) -> Option<String> {
    signature.label.as_ref().map(|label| String::from_utf8_lossy(label).into_owned())
}

fn only_file_system<'a>(view: View<'a>) -> Option<&'a Device> {
    let mut found = view.table.iter().filter(|device| {
        device.signature().is_some_and(|one| one.kind.is_filesystem() && one.kind != Kind::Vfat)
    });
    match (found.next(), found.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// Whether two ids of one length differ in at most two places: a typing error.
fn is_near(seen: &str, typed: &str) -> bool {
    let differing =
        seen.bytes().zip(typed.bytes()).filter(|(seen, typed)| !seen.eq_ignore_ascii_case(typed)).count();
    seen.len() == typed.len() && seen.len() >= 8 && (1..=2).contains(&differing)
}

/// What kind of storage a modalias announces, if it does.
///
/// Sources: PCI class codes (`include/linux/pci_ids.h`), virtio device ids (`include/uapi/linux/virtio_ids.h`).
#[must_use]
pub fn storage_kind(modalias: &str) -> Option<&'static str> {
    let (bus, rest) = modalias.split_once(':')?;
    match bus {
        "virtio" => match rest.get(..9)? {
            "d00000002" => Some("virtio disk"),
            "d00000008" => Some("virtio SCSI controller"),
            _ => None,
        },
        "pci" => {
            let class = rest.split_once("bc")?.1;
            match (class.get(..2)?, class.get(2..6)?) {
                ("01", "sc08") => Some("NVMe controller"),
                ("01", "sc06") => Some("SATA controller"),
                ("01", "sc04") => Some("RAID controller"),
                ("01", _) => Some("storage controller"),
                // Without virtio_pci the device's own kind stays hidden; 1af4 is its vendor.
                _ => None,
            }
        }
        "usb" => rest.contains("ic08").then_some("USB storage"),
        "scsi" => rest.starts_with("t-0x00").then_some("SCSI disk"),
        "nvme" => Some("NVMe namespace"),
        "mmc" => Some("memory card"),
        _ => None,
    }
}
