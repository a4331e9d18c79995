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
    let Some((parent, number)) = table.place(device) else { return false };
    let named = parent
        .content()
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

/// What [`preference`] compares; the least goes first.
pub type Preference = (bool, bool, u64);

/// A device's place in the choice among several that match: originals before copies, assembled devices before their raw
/// members' look-alikes, then in the order of appearance.
#[must_use]
pub fn preference(device: &Device) -> Preference {
    let assembled = device.facts.dm.is_some() || !device.facts.slaves.is_empty();
    (device.copy_of.is_some(), !assembled, device.order)
}

/// The names of `devices`, for a message.
#[must_use]
pub fn join_names<'a>(devices: impl Iterator<Item = &'a DevName>) -> String {
    let names: Vec<&str> = devices.map(|name| name.0.as_str()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, content, gpt, partition, plan, uuid};
    use cmdline::root_spec;
    use ondisk::Content;

    const ROOT: &str = "6e7410d5-90b8-e744-b233-a0e57b61cd0f";
    const PART: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

    /// A disk with three partitions, an MBR disk with one, a mapping, and things that only look alike.
    fn machine() -> Script {
        let mut script = Script::new(plan(uuid("none")));
        script.disk(
            "sda",
            gpt(&[(1, "aaaa-1", Some("EFI")), (2, PART, Some("root part")), (3, "aaaa-3", None)]),
        );
        let mut mbr = gpt(&[(1, "8b57ae8c-01", None)]);
        mbr.table.as_mut().expect("a table").gpt = false;
        script.disk("sdb", mbr);
        let mut root = content(Kind::Ext4, ROOT);
        root.signatures[0].label = Some(b"root".to_vec());
        let mut odd = content(Kind::Vfat, "ABCD-1234");
        odd.signatures[0].label = Some(b"a \xff/".to_vec());
        let mut both = content(Kind::Ext4, "both");
        both.signatures.push(Signature::new(Kind::Swap));
        script.add("sda1", partition("sda", 1), odd);
        script.add("sda2", partition("sda", 2), root);
        script.add("sda3", partition("sda", 3), both);
        script.add("sdb1", DeviceFacts { minor: 33, ..partition("sdb", 1) }, content(Kind::Luks2, "luks"));
        script.mapping("dm-0", "cr_root", "sdb1", content(Kind::Btrfs, "inner"));
        // A partition that the table does not have.
        let longer = DeviceFacts { size: 7 << 30, ..partition("sda", 9) };
        script.add("sda9", longer, Content::default());
        script
    }

    use crate::event::DeviceFacts;

    #[test]
    fn every_form_names_what_it_should() {
        let script = machine();
        let table = script.engine.table();
        for (text, expected) in [
            (&*format!("UUID={ROOT}"), &["sda2"][..]),
            (&format!("UUID={}", ROOT.to_uppercase()), &["sda2"]),
            ("UUID=abcd-1234", &["sda1"]),
            ("UUID=6e7410d5", &[]),
            // A container is not its content, and two signatures are no file system.
            ("UUID=luks", &[]),
            ("UUID=both", &[]),
            ("LABEL=root", &["sda2"]),
            ("LABEL=Root", &[]),
            // Bytes that are no UTF-8 cannot be typed, but must not match their replacement either.
            ("LABEL=a \u{fffd}/", &[]),
            (&format!("PARTUUID={PART}"), &["sda2"]),
            (&format!("PARTUUID={}", PART.to_uppercase()), &["sda2"]),
            (&format!("PARTUUID={PART}/PARTNROFF=1"), &["sda3"]),
            (&format!("PARTUUID={PART}/PARTNROFF=-1"), &["sda1"]),
            (&format!("PARTUUID={PART}/PARTNROFF=7"), &["sda9"]),
            (&format!("PARTUUID={PART}/PARTNROFF=2"), &[]),
            ("PARTUUID=8b57ae8c-01", &["sdb1"]),
            ("PARTUUID=8B57AE8C-01", &["sdb1"]),
            ("PARTLABEL=root part", &["sda2"]),
            ("PARTLABEL=root", &[]),
            ("/dev/sda2", &["sda2"]),
            ("/dev/mapper/cr_root", &["dm-0"]),
            ("/dev/dm-0", &["dm-0"]),
            (&format!("/dev/disk/by-uuid/{ROOT}"), &["sda2"]),
            ("/dev/disk/by-id/dm-name-cr_root", &["dm-0"]),
            ("/dev/sda", &["sda"]),
            ("/dev/sdaa", &[]),
            ("8:2", &["sda2"]),
            ("0x0802", &["sda2"]),
            ("8:4000", &[]),
            ("nfs:server:/path", &[]),
        ] {
            let spec = root_spec(text);
            let found: Vec<&str> = table
                .iter()
                .filter(|device| is_named_by(&spec, device, table))
                .map(|device| device.name.0.as_str())
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn mappings_go_before_raw_devices_then_the_first_seen() {
        let script = machine();
        let mut devices: Vec<&Device> = script.engine.table().iter().collect();
        devices.sort_by_key(|device| preference(device));
        let names: Vec<&str> = devices.iter().map(|device| device.name.0.as_str()).collect();
        assert_eq!(names, ["dm-0", "sda", "sdb", "sda1", "sda2", "sda3", "sdb1", "sda9"]);
    }

    #[test]
    fn ids_in_unfit_places_are_found_for_the_explanation() {
        let script = machine();
        let table = script.engine.table();
        let carriers = |text: &str| -> Vec<&str> {
            let spec = root_spec(text);
            let found = table.iter().filter(|device| carries(&spec, device));
            found.map(|device| device.name.0.as_str()).collect()
        };
        assert_eq!(carriers("UUID=both"), ["sda3"]);
        assert_eq!(carriers("UUID=LUKS"), ["sdb1"]);
        assert!(carriers("UUID=other").is_empty());
    }
}
