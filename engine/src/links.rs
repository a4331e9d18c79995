//! The links below `/dev` that udev would make for a device.
//!
//! Source: systemd's `rules.d/60-persistent-storage.rules` and lvm2's `13-dm-disk.rules`.

use std::collections::{BTreeMap, BTreeSet};

use ondisk::md::Version;
use ondisk::{Kind, udev_encode};

use crate::assemble::ata_raid::external;
use crate::event::{DevName, DmFacts};
use crate::matching::{self, Preference};
use crate::table::{Device, Table};

/// Every link that the device may claim, relative to `/dev`, sorted.
#[must_use]
pub fn claims(device: &Device, table: &Table) -> Vec<String> {
    let mut links = Vec::new();
    if let Some(dm) = &device.facts.dm {
        links.push(format!("mapper/{}", dm.name));
        links.push(format!("disk/by-id/dm-name-{}", dm.name));
        if !dm.uuid.is_empty() {
            links.push(format!("disk/by-id/dm-uuid-{}", dm.uuid));
        }
        of_multipath(&dm.uuid, &mut links);
    }
    if let Some(path) = device.facts.dm.as_ref().filter(|_| device.is_free()).and_then(volume_path) {
        links.push(path);
    }
    let part = device.facts.partn.filter(|_| device.facts.parent.is_some());
    let whole = device.facts.parent.as_ref().and_then(|parent| table.get(parent)).unwrap_or(device);
    if let Some(md) = &whole.facts.md {
        of_array(whole, &md.path, part, table, &mut links);
    }
    if device.is_free() {
        by_content(device, table, &mut links);
    }
    let suffix = device.facts.partn.map(|number| format!("-part{number}")).unwrap_or_default();
    links.extend(whole.facts.ids.iter().map(|id| format!("disk/by-id/{id}{suffix}")));
    links.extend(whole.facts.path.iter().map(|path| format!("disk/by-path/{path}{suffix}")));
    links.sort();
    links.dedup();
    links
}

/// `VG/LV` of a logical volume (lvm2: udev/11-dm-lvm.rules; layers and parts of volumes have none).
fn volume_path(dm: &DmFacts) -> Option<String> {
    if !dm.uuid.starts_with("LVM-") {
        return None;
    }
    let (group, volume) = split_name(&dm.name)?;
    Some(format!("{}/{}", group.replace("--", "-"), volume.replace("--", "-")))
}

/// Group and the rest of a device-mapper name, dashes still doubled (lvm2: libdm/libdm-string.c): they meet at the last
/// dash of the first run of an odd number of dashes, since no volume's name begins with one.
pub(crate) fn split_name(name: &str) -> Option<(&str, &str)> {
    let mut run = 0_u32;
    for (at, letter) in name.char_indices() {
        if letter == '-' {
            run = run.saturating_add(1);
        } else if run % 2 == 1 {
            return Some((name.get(..at.checked_sub(1)?)?, name.get(at..)?));
        } else {
            run = 0;
        }
    }
    None
}

/// mdadm's `63-md-raid-arrays.rules`: what `mdadm --detail --export` says of the array makes the names.
fn of_array(array: &Device, path: &str, part: Option<u32>, table: &Table, links: &mut Vec<String>) {
    let suffix = part.map(|number| format!("-part{number}")).unwrap_or_default();
    let member =
        array.facts.slaves.iter().find_map(|slave| table.get(slave)?.content()?.member.as_ref()?.md());
    if let Some(superblock) = member {
        links.push(format!("disk/by-id/md-uuid-{}{suffix}", superblock.array_uuid()));
        if superblock.version != Version::V0_90 && !superblock.name.is_empty() {
            // The rule has udev replace what it does not want in a link name.
            let kept = |letter: char| {
                !letter.is_ascii() || letter.is_ascii_alphanumeric() || "#+-.:=@_".contains(letter)
            };
            let name: String =
                superblock.name.chars().map(|letter| if kept(letter) { letter } else { '_' }).collect();
            links.push(format!("disk/by-id/md-name-{name}{suffix}"));
        }
    }
    if let Some(uuid) = external::uuid_of(table, array) {
        links.push(format!("disk/by-id/md-uuid-{uuid}{suffix}"));
    }
    if let Some(name) = path.strip_prefix("/dev/md/") {
        let between = if name.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
        let suffix = part.map(|number| format!("{between}{number}")).unwrap_or_default();
        links.push(format!("md/{name}{suffix}"));
    }
}

/// A multipath device and its partitions take the names of the paths over (multipath-tools' `11-dm-mpath.rules` and
/// `kpartx_id`).
fn of_multipath(uuid: &str, links: &mut Vec<String>) {
    let (part, whole) = match uuid.strip_prefix("part").and_then(|rest| rest.split_once('-')) {
        Some((number, whole)) => (format!("-part{number}"), whole),
        None => (String::new(), uuid),
    };
    let Some(wwid) = whole.strip_prefix("mpath-") else { return };
    links.push(format!("disk/by-id/scsi-{wwid}{part}"));
    if let Some(id) = wwid.get(1..) {
        links.push(format!("disk/by-id/wwn-0x{id}{part}"));
    }
}

/// Links named after what the device holds, or after its entry in a partition table.
fn by_content(device: &Device, table: &Table, links: &mut Vec<String>) {
    // Members of arrays and volume groups share ids, so that udev makes no links of content for them.
    let member = |kind| matches!(kind, Kind::Lvm2Pv | Kind::MdMember);
    if let Some(signature) = device.signature().filter(|signature| !member(signature.kind)) {
        if let Some(uuid) = &signature.uuid {
            links.push(format!("disk/by-uuid/{}", udev_encode::encode(uuid.as_bytes())));
        }
        if let Some(label) = &signature.label {
            links.push(format!("disk/by-label/{}", udev_encode::encode(label)));
        }
    }
    if let Some(entry) = table.partition_entry(device) {
        links.push(format!("disk/by-partuuid/{}", udev_encode::encode(entry.uuid.as_bytes())));
        if let Some(name) = &entry.name {
            links.push(format!("disk/by-partlabel/{}", udev_encode::encode(name.as_bytes())));
        }
    }
}

/// Who claims a link; the least owns it.
type Claim = (Preference, DevName);

/// Which devices claim which link.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    claimants: BTreeMap<String, BTreeSet<Claim>>,
    /// What each device entered, with the rank that it had then.
    entered: BTreeMap<DevName, (Preference, Vec<String>)>,
    doubtful: BTreeSet<DevName>,
}

impl Registry {
    /// Takes all claims of a device back.
    pub fn withdraw(&mut self, device: &Device) {
        let Some((rank, links)) = self.entered.remove(&device.name) else { return };
        let claim: Claim = (rank, device.name.clone());
        for link in links {
            if let Some(claims) = self.claimants.get_mut(&link) {
                claims.remove(&claim);
                match claims.first() {
                    Some((_, heir)) => {
                        self.doubtful.insert(heir.clone());
                    }
                    None => {
                        self.claimants.remove(&link);
                    }
                }
            }
        }
        self.doubtful.insert(device.name.clone());
    }

    /// Enters the claims of a device.
    pub fn enter(&mut self, device: &Device) {
        let rank = matching::preference(device);
        for link in &device.claims {
            let claims = self.claimants.entry(link.clone()).or_default();
            if let Some((_, owner)) = claims.first() {
                self.doubtful.insert(owner.clone());
            }
            claims.insert((rank, device.name.clone()));
        }
        self.entered.insert(device.name.clone(), (rank, device.claims.clone()));
        self.doubtful.insert(device.name.clone());
    }

    /// Devices whose links may have changed since the last call.
    pub fn take_doubtful(&mut self) -> BTreeSet<DevName> {
        std::mem::take(&mut self.doubtful)
    }

    /// The links that the device owns now.
    #[must_use]
    pub fn owned_by(&self, device: &Device) -> Vec<String> {
        let owns = |link: &&String| {
            self.claimants
                .get(*link)
                .and_then(BTreeSet::first)
                .is_some_and(|(_, owner)| *owner == device.name)
        };
        device.claims.iter().filter(owns).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::event::{DevName, DeviceFacts, Event};
    use crate::script::{Script, content, gpt, partition, plan, uuid};
    use crate::{Action, Moment};
    use ondisk::{Content, Kind};

    /// Plays the hands' part: who owns which link.
    #[derive(Default)]
    struct Links(BTreeMap<String, String>);

    impl Links {
        fn apply(&mut self, actions: &[Action]) {
            for action in actions {
                if let Action::Link(device, links) = action {
                    self.0.retain(|_, owner| *owner != device.0);
                    self.0.extend(links.iter().map(|link| (link.clone(), device.0.clone())));
                }
            }
        }

        fn owner(&self, link: &str) -> Option<&str> {
            self.0.get(link).map(String::as_str)
        }
    }

    #[test]
    fn links_are_those_of_udev() {
        let mut script = Script::new(plan(uuid("none")));
        let mut links = Links::default();
        let disk = DeviceFacts {
            major: 8,
            size: 1 << 30,
            ids: vec!["virtio-x".into()],
            path: Some("pci-0000:00:04.0".into()),
            ..DeviceFacts::default()
        };
        links.apply(&script.add("vda", disk, gpt(&[(1, "11-22", Some("a b"))])));
        let mut fs = content(Kind::Ext4, "33-44");
        fs.signatures[0].label = Some(b"x/y \xe9".to_vec());
        links.apply(&script.add("vda1", partition("vda", 1), fs));
        links.apply(&script.disk("sdb", content(Kind::Lvm2Pv, "pv")));
        links.apply(&script.disk("sdc", content(Kind::Swap, "sw")));
        let owned: Vec<(&str, &str)> = links.0.iter().map(|(link, owner)| (&**link, &**owner)).collect();
        assert_eq!(
            owned,
            [
                ("disk/by-id/virtio-x", "vda"),
                ("disk/by-id/virtio-x-part1", "vda1"),
                ("disk/by-label/x\\x2fy\\x20\\xe9", "vda1"),
                ("disk/by-partlabel/a\\x20b", "vda1"),
                ("disk/by-partuuid/11-22", "vda1"),
                ("disk/by-path/pci-0000:00:04.0", "vda"),
                ("disk/by-path/pci-0000:00:04.0-part1", "vda1"),
                ("disk/by-uuid/33-44", "vda1"),
                ("disk/by-uuid/sw", "sdc"),
            ]
        );
    }

    #[test]
    fn logical_volumes_have_their_own_directory() {
        for (name, uuid, path) in [
            ("vg-root", "LVM-x", Some("vg/root")),
            ("my--vg-a--b--c", "LVM-x", Some("my-vg/a-b-c")),
            ("vg---lv", "LVM-x", Some("vg-/lv")),
            ("vg-root", "CRYPT-x", None),
            ("vg", "LVM-x", None),
            ("vg--x", "LVM-x", None),
        ] {
            let dm = crate::DmFacts { name: name.into(), uuid: uuid.into() };
            assert_eq!(super::volume_path(&dm).as_deref(), path, "{name}");
        }
    }

    #[test]
    fn a_link_goes_to_the_mapping_and_back_to_the_first_disk() {
        let mut script = Script::new(plan(uuid("none")));
        let mut links = Links::default();
        let link = "disk/by-uuid/same";
        links.apply(&script.disk("sdb", content(Kind::Ext4, "same")));
        links.apply(&script.disk("sda", content(Kind::Ext4, "same")));
        assert_eq!(links.owner(link), Some("sdb"), "the first seen has it");
        links.apply(&script.mapping("dm-0", "x", "sdz", content(Kind::Ext4, "same")));
        assert_eq!(links.owner(link), Some("dm-0"), "a mapping takes it over");
        links.apply(&script.tell(Event::Gone("dm-0".into())));
        assert_eq!(links.owner(link), Some("sdb"));
        links.apply(&script.tell(Event::Gone("sdb".into())));
        assert_eq!(links.owner(link), Some("sda"));
    }

    #[test]
    fn an_event_that_changes_nothing_asks_for_nothing() {
        let mut script = Script::new(plan(uuid("none")));
        script.disk("sda", content(Kind::Ext4, "x"));
        let facts = script.engine.table().get(&DevName("sda".into())).expect("sda").facts.clone();
        for _ in 0..3 {
            assert!(script.engine.handle(Moment(0), Event::Device("sda".into(), facts.clone())).is_empty());
        }
    }

    #[test]
    fn a_partition_table_that_is_read_late_makes_the_links_of_its_partitions() {
        let mut script = Script::new(plan(uuid("none")));
        let mut links = Links::default();
        links.apply(&script.add("vda1", partition("vda", 1), Content::default()));
        assert_eq!(links.owner("disk/by-partuuid/11-22"), None);
        links.apply(&script.disk("vda", gpt(&[(1, "11-22", None)])));
        assert_eq!(links.owner("disk/by-partuuid/11-22"), Some("vda1"));
    }
}
