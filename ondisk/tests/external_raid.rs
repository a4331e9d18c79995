//! Intel's and DDF's metadata as mdadm writes them, against what `mdadm --examine` says of them, and marked dirty.

mod sparse;

use std::fs;
use std::path::PathBuf;

use ondisk::ata_raid::{self, Disk, Format};
use ondisk::{Kind, Member, identify};
use sparse::Sparse;

fn file(name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/raid").join(name)).unwrap()
}

fn member(disk: &Sparse, kind: Kind) -> Disk {
    let content = identify(disk).unwrap();
    assert_eq!(content.only().map(|signature| signature.kind), Some(kind), "{content:?}");
    content.member.as_deref().and_then(Member::ata_raid).unwrap().clone()
}

/// Applies the first writes of marking a volume dirty, and disks of it missing.
fn marked(disk: &Sparse, format: Format, missing: &[u32], writes: usize) -> Sparse {
    let all = ata_raid::dirty(disk, format, 0, missing).unwrap().unwrap();
    let mut disk = disk.clone();
    disk.runs.extend(all.into_iter().take(writes));
    disk
}

fn examined(name: &str) -> String {
    String::from_utf8(file(name)).unwrap()
}

/// What mdadm prints after a word and a colon.
fn value<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find(|line| line.split(" : ").next().unwrap().trim() == name);
    line.unwrap_or_else(|| panic!("{name}")).split(" : ").nth(1).unwrap().trim()
}

fn words(uuid: [u8; 16]) -> String {
    uuid.chunks(4)
        .map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect::<Vec<String>>()
        .join(":")
}

#[test]
fn intels_are_what_mdadm_says() {
    for name in ["imsm-a.bin", "imsm-b.bin"] {
        let Disk::Imsm(anchor) = member(&Sparse::fixture(name), Kind::ImsmMember) else { panic!("{name}") };
        let text = examined("imsm-a.txt");
        assert_eq!(format!("{:08x}", anchor.family), value(&text, "Family"));
        assert_eq!(format!("{:08x}", anchor.generation), value(&text, "Generation"));
        assert_eq!(format!("{:08x} (supported)", anchor.attributes), value(&text, "Attributes"));
        assert_eq!(words(anchor.uuid(None).unwrap()), value(&text, "UUID"));
        let volume = &anchor.volumes[0];
        assert!(text.contains(&format!("[{}]:", volume.name)));
        assert!(text.contains(&words(anchor.uuid(Some(0)).unwrap())));
        assert!(value(&text, "Array Size").starts_with(&format!("{} ", volume.sectors)));
        assert_eq!(volume.map.offset.to_string(), value(&text, "Sector Offset"));
        assert_eq!(volume.map.stripes.to_string(), value(&text, "Num Stripes"));
        assert_eq!(volume.level(), Some((1, 0)));
        assert_eq!(volume.dirty, value(&text, "Dirty State") == "dirty");
        let serials: Vec<&str> = anchor.disks.iter().map(|disk| disk.serial.as_str()).collect();
        assert_eq!(serials, [value(&text, "Disk00 Serial"), value(&text, "Disk01 Serial")]);
    }
}

#[test]
fn ddfs_are_what_mdadm_says() {
    for name in ["ddf-a.bin", "ddf-b.bin"] {
        let Disk::Ddf(group) = member(&Sparse::fixture(name), Kind::DdfMember) else { panic!("{name}") };
        let text = examined("ddf-a.txt");
        let guid = |guid: [u8; 24]| {
            let words = guid.chunks(4).map(|word| word.iter().map(|byte| format!("{byte:02X}")).collect());
            words.collect::<Vec<String>>().join(":")
        };
        assert_eq!(guid(group.guid), value(&text, "Container GUID"));
        assert_eq!(format!("{:08x}", group.sequence), value(&text, "Seq"));
        let set = &group.sets[0];
        assert_eq!(
            (guid(set.guid).as_str(), set.name.as_str()),
            (value(&text, "VD GUID[0]"), value(&text, "Name[0]"))
        );
        assert_eq!((set.state, value(&text, "state[0]")), (0, "Optimal, Consistent"));
        assert_eq!((set.initialised, value(&text, "init state[0]")), (2, "Fully Initialised"));
        let part = &group.parts[0];
        assert_eq!((part.level(), value(&text, "Raid Level[0]")), (Some((1, 0, 2)), "RAID1"));
        assert_eq!((part.sectors / 2).to_string(), value(&text, "Device Size[0]"));
        assert_eq!((part.total / 2).to_string(), value(&text, "Array Size[0]"));
        assert_eq!(group.disks.len(), 2);
        for disk in &group.disks {
            assert!(text.contains(&format!("{:08x}", disk.reference)), "{disk:?}");
        }
    }
}

#[test]
fn intels_are_marked_dirty() {
    let clean = Sparse::fixture("imsm-a.bin");
    let Disk::Imsm(before) = member(&clean, Kind::ImsmMember) else { panic!() };
    let dirty = marked(&clean, Format::Imsm, &[], usize::MAX);
    let Disk::Imsm(after) = member(&dirty, Kind::ImsmMember) else { panic!() };
    assert_eq!((after.generation, after.volumes[0].dirty), (before.generation + 1, true));
    assert_eq!(ata_raid::dirty(&dirty, Format::Imsm, 0, &[]).unwrap(), Some(Vec::new()));
    assert_eq!(ata_raid::dirty(&clean, Format::Imsm, 1, &[]).unwrap(), None);
    // The other disk is gone: it is called so, and has another name when it comes back.
    let dirty = marked(&clean, Format::Imsm, &[1], usize::MAX);
    let Disk::Imsm(after) = member(&dirty, Kind::ImsmMember) else { panic!() };
    let mut expected = before.clone();
    expected.generation += 1;
    expected.volumes[0].dirty = true;
    expected.volumes[0].map.slots[1].1 = true;
    expected.disks[1].failed = true;
    expected.disks[1].serial = "dev/vde:0".into();
    assert_eq!(after, expected);
    assert_eq!(ata_raid::dirty(&clean, Format::Imsm, 0, &[2]).unwrap(), None, "no member");
}

/// After every write the metadata are whole: those of before, until they are those of after.
#[test]
fn ddfs_are_marked_without_a_moment_of_weakness() {
    let clean = Sparse::fixture("ddf-a.bin");
    let Disk::Ddf(before) = member(&clean, Kind::DdfMember) else { panic!() };
    let mut dirty = before.clone();
    dirty.sets[0].state = 0x10;
    let mut degraded = before.clone();
    degraded.sequence += 1;
    degraded.sets[0].state = 0x11;
    degraded.disks[1].state = 2 | 64;
    degraded.parts[0].sequence += 1;
    degraded.parts[0].members[1].0 = 0;
    let other = before.disks[1].reference;
    for (missing, expected, of_a_copy) in [(vec![], &dirty, 3), (vec![other], &degraded, 5)] {
        let all = ata_raid::dirty(&clean, Format::Ddf, 0, &missing).unwrap().unwrap();
        assert_eq!(all.len(), 2 * of_a_copy);
        for writes in 0..=all.len() {
            let disk = marked(&clean, Format::Ddf, &missing, writes);
            let is = |disk: &Sparse| {
                let Disk::Ddf(group) = member(disk, Kind::DdfMember) else { panic!("{missing:?} {writes}") };
                // When its header is closed the first copy is whole and new.
                let expected = if writes < of_a_copy { &before } else { expected };
                assert_eq!(group, *expected, "{missing:?} {writes}");
            };
            is(&disk);
            // A section that was written by half has no valid checksum.
            if let Some((at, bytes)) = all.get(writes).filter(|(_, bytes)| bytes.len() > 512) {
                let mut torn = disk.clone();
                torn.runs.push((*at, bytes[..256].to_vec()));
                is(&torn);
            }
        }
    }
    let marked = marked(&clean, Format::Ddf, &[], usize::MAX);
    assert_eq!(ata_raid::dirty(&marked, Format::Ddf, 0, &[]).unwrap(), Some(Vec::new()));
    assert_eq!(ata_raid::dirty(&clean, Format::Ddf, 1, &[]).unwrap(), None);
    assert_eq!(ata_raid::dirty(&clean, Format::Ddf, 0, &[7]).unwrap(), None, "no member");
}
