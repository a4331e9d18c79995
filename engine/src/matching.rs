//! Which device a `root=` or a key-device reference means.

use cmdline::plan::RootSpec;
use ondisk::{Kind, Signature};

use crate::event::DevName;
use crate::table::{Device, Table};

/// Whether `device` is what `spec` names, going by what is known now.
#[must_use]
pub fn is_named_by(spec: &RootSpec, device: &Device, table: &Table) -> bool {
    match spec {
        RootSpec::Path(path) => is_path_of(path, device),
        RootSpec::Uuid(uuid) => {
            signature_of_file_system(device).and_then(|signature| signature.uuid.as_deref()).is_some_and(
                // Hexadecimal ids are typed in either case; blkid prints FAT and ISO ids in upper case.
                |seen| seen.eq_ignore_ascii_case(uuid),
            )
        }
        RootSpec::Label(label) => signature_of_file_system(device)
            .and_then(|signature| signature.label.as_deref())
            .is_some_and(|seen| seen == label.as_bytes()),
        RootSpec::PartUuid { uuid, offset } => is_partition(uuid, *offset, device, table),
        RootSpec::PartLabel(label) => table
            .partition_entry(device)
            .and_then(|partition| partition.name.as_deref())
            .is_some_and(|seen| seen == label),
        RootSpec::DevNum { major, minor } => device.facts.major == *major && device.facts.minor == *minor,
        RootSpec::Unsupported(_) => false,
    }
}

/// Whether the device carries what `spec` names, but in a form that [`is_named_by`] does not take: with other
/// signatures beside it, or in a container, a member or swap space instead of a file system.
#[must_use]
pub fn carries(spec: &RootSpec, device: &Device) -> bool {
    let Some(content) = device.content() else { return false };
    content.signatures.iter().chain(&content.rejected).any(|signature| match spec {
        RootSpec::Uuid(uuid) => signature.uuid.as_deref().is_some_and(|seen| seen.eq_ignore_ascii_case(uuid)),
        RootSpec::Label(label) => signature.label.as_deref() == Some(label.as_bytes()),
        _ => false,
    })
}

/// Whether two devices are members of one btrfs, rather than copies of each other.
#[must_use]
pub fn are_siblings(one: &Device, other: &Device) -> bool {
    match (one.signature(), other.signature()) {
        (Some(one), Some(other)) => {
            one.kind == Kind::Btrfs
                && other.kind == Kind::Btrfs
                && one.uuid == other.uuid
                && one.uuid_sub != other.uuid_sub
        }
        _ => false,
    }
}

/// The signature, if it is that of a file system.
fn signature_of_file_system(device: &Device) -> Option<&Signature> {
    device.signature().filter(|signature| signature.kind.is_filesystem())
}

fn is_partition(uuid: &str, offset: i32, device: &Device, table: &Table) -> bool {
    if offset == 0 {
        return table
            .partition_entry(device)
            .is_some_and(|partition| partition.uuid.eq_ignore_ascii_case(uuid));
    }
    let (Some(parent), Some(number)) = (device.facts.parent.as_ref(), device.facts.partn) else {
        return false;
    };
    let named = table
        .get(parent)
        .and_then(Device::content)
        .and_then(|content| content.table.as_ref())
        .and_then(|parts| parts.partitions.iter().find(|part| part.uuid.eq_ignore_ascii_case(uuid)));
    named.is_some_and(|part| i64::from(part.number) + i64::from(offset) == i64::from(number))
}

/// Whether `path` (`/dev/...`) is the device's node or one of its links.
#[must_use]
pub fn is_path_of(path: &str, device: &Device) -> bool {
    let Some(relative) = path.strip_prefix("/dev/") else { return false };
    relative == device.name.0 || device.claims.iter().any(|link| link == relative)
}

/// A device's place in the choice among several that match: assembled devices before their raw members' look-alikes,
/// then in the order of appearance.
#[must_use]
pub fn preference(device: &Device) -> (bool, u64) {
    let assembled = device.facts.dm.is_some() || !device.facts.slaves.is_empty();
    (!assembled, device.order)
}

/// The names of `devices`, for a message.
#[must_use]
pub fn join_names<'a>(devices: impl Iterator<Item = &'a DevName>) -> String {
    let names: Vec<&str> = devices.map(|name| name.0.as_str()).collect();
    names.join(", ")
}
