//! BIOS RAID members: metadata written here, judged by blkid and, in what they say, by dmraid.

use std::fmt::Write as _;

use crate::ata_writer::{DISK, Runs, sets};
use crate::bench::{Bench, agree, poke};
use ondisk::ata_raid::{Disk, Format, Level, Parity, State};
use ondisk::{Kind, Member};

fn written(bench: &Bench, name: &str, runs: &Runs) -> std::path::PathBuf {
    let path = bench.path(name);
    std::fs::File::create(&path).unwrap().set_len(DISK * 512).unwrap();
    for (at, bytes) in runs {
        poke(&path, *at, bytes);
    }
    path
}

/// `dmraid -r` prints a line for each disk: format, set, level, state, sectors, offset.
fn line(disk: &Disk) -> String {
    let Disk::Parts(format, parts) = disk else { panic!("{disk:?}") };
    let mut text = String::new();
    // It prints the first part only.
    let part = &parts[0];
    let level = match part.level {
        Level::Linear => "linear",
        Level::Raid0 => "stripe",
        Level::Raid1 => "mirror",
        Level::Raid5(Parity::LeftSymmetric) => "raid5_ls",
        Level::Spare => "spare",
        Level::Unsupported(_) => "unknown",
        other => panic!("{other:?}"),
    };
    // dmraid looks states up in a table that ends at the first code of 0, which for these two is the first entry.
    let blind = matches!(format, Format::Nvidia | Format::Silicon) && part.state != State::Broken;
    let state = match part.state {
        _ if blind => "ok",
        State::Ok => "ok",
        State::Unsynced => "nosync",
        State::Rebuilding => "inconsistent",
        State::Broken => "broken",
    };
    // Adaptec's disks are named after the upper set.
    let upper = part.above.as_ref().filter(|_| *format == Format::Adaptec).map(|above| &above.set);
    let set = upper.unwrap_or(&part.set);
    let (name, sectors, offset) = (format.name(), part.sectors, part.offset);
    write!(text, "{name}, \"{set}\", {level}, {state}, {sectors} sectors, data@ {offset}").unwrap();
    text
}

/// What dmraid says, and what it should say: it has RAID 3 for RAID 4, does not know Silicon Image's concatenated disks, and
/// makes up the sizes in sets of those and of RAID 5. It maps none of them.
const DIFFERENT: [(&str, &str, &str); 6] = [
    ("nvidia-raid3", "raid4", "unknown"),
    ("sil-linear", "31230", "30720"),
    ("sil-single", "31230", "30720"),
    ("sil-joined", "unknown, ok, 31230", "linear, ok, 30720"),
    ("sil-joined-freebsd", "31230", "30720"),
    ("sil-raid5", "31230", "30000"),
];

/// With `ROOTWARD_ATA_IMAGES=DIR` the disks are left there, a directory for each set, for dmraid to look at.
#[test]
fn blkid_and_dmraid_say_the_same() {
    let Some(bench) = Bench::new(&[]) else { return };
    let keep = std::env::var_os("ROOTWARD_ATA_IMAGES").map(std::path::PathBuf::from);
    let judged = include_str!("../fixtures/dmraid-r.txt");
    let mut seen = String::new();
    for set in sets() {
        for (index, runs) in set.disks.iter().enumerate() {
            let path = written(&bench, "disk", runs);
            let content = agree(&path);
            let disk = content.member.as_deref().and_then(Member::ata_raid).unwrap();
            assert_eq!(content.only().unwrap().kind, disk.format().kind());
            let letter = char::from(b"abcd"[index]);
            writeln!(seen, "{}: sd{letter}: {}", set.name, line(disk)).unwrap();
            if let Some(keep) = &keep {
                std::fs::create_dir_all(keep.join(set.name)).unwrap();
                std::fs::copy(&path, keep.join(set.name).join(format!("sd{letter}.img"))).unwrap();
            }
        }
    }
    if keep.is_none() {
        for (ours, theirs) in seen.lines().zip(judged.lines()) {
            match DIFFERENT.iter().find(|(set, ..)| ours.split(": ").next() == Some(set)) {
                Some((_, is, should)) => {
                    assert_ne!(ours, theirs);
                    assert_eq!(ours, theirs.replace(is, should));
                }
                None => assert_eq!(ours, theirs),
            }
        }
        assert_eq!(seen.lines().count(), judged.lines().count());
    }
}

/// blkid looks at a few of the checksums only; for the others the member is known but what it says is not.
#[test]
fn a_wrong_checksum_is_doubted() {
    let Some(bench) = Bench::new(&[]) else { return };
    for set in sets() {
        let mut runs = set.disks[0].clone();
        let (name, at) = (set.name, runs.len() - 1);
        let spoil = match name.split('-').next().unwrap() {
            "nvidia" => 24,
            "pdc" => 100,
            "jmicron" => 80,
            _ => continue,
        };
        let first = if name.starts_with("pdc") { 0 } else { at };
        runs[first].1[spoil] ^= 0x10;
        let content = agree(&written(&bench, "disk", &runs));
        let signature = content.only().unwrap();
        assert!(signature.doubt.as_ref().unwrap().contains("checksum"), "{name}");
        assert_eq!(content.member, None, "{name}");
    }
    let mut via = crate::ata_writer::via(0, 0, 2);
    via[0].1[20] ^= 1;
    assert_eq!(agree(&written(&bench, "disk", &via)).signatures, []);
    let nvidia = crate::ata_writer::nvidia(0x80, 0, 2, 2, 0);
    assert_eq!(agree(&written(&bench, "disk", &nvidia)).only().unwrap().kind, Kind::NvidiaMember);
}

/// mdadm reads what was written here, and what is written to mark a volume dirty.
#[test]
fn mdadm_reads_what_is_marked_dirty() {
    let Some(bench) = Bench::new(&["mdadm"]) else { return };
    let path = written(&bench, "disk", &crate::ata_writer::imsm(["one", "two"]));
    // mdadm wants a block device. Where there is none to be had, blkid and our own reading are left as judges.
    let examine = || {
        let run = |program: &str, args: &[&str]| {
            let mut command = crate::bench::command(program);
            command.env("IMSM_NO_PLATFORM", "1").env("IMSM_DEVNAME_AS_SERIAL", "1");
            let output = command.args(args).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let device = run("losetup", &["-f", "--show", path.to_str().unwrap()])?;
        let text = run("mdadm", &["--examine", &device]);
        run("losetup", &["-d", &device]);
        Some(text.expect("mdadm reads it"))
    };
    let anchor = || {
        let content = agree(&path);
        assert_eq!(content.only().unwrap().kind, Kind::ImsmMember);
        match content.member.as_deref().and_then(Member::ata_raid) {
            Some(Disk::Imsm(anchor)) => anchor.clone(),
            other => panic!("{other:?}"),
        }
    };
    let before = anchor();
    let names: Vec<_> = before
        .volumes
        .iter()
        .map(|volume| (&*volume.name, volume.level(), volume.component(), volume.dirty))
        .collect();
    assert_eq!(names, [("Root", Some((1, 0)), Some(8192), false), ("Fast", Some((0, 0)), Some(4096), false)]);
    // mdadm prints the UUIDs that it derives.
    let colons = |uuid: [u8; 16]| {
        let hex: Vec<String> = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        hex.chunks(4).map(<[String]>::concat).collect::<Vec<_>>().join(":")
    };
    let uuids =
        [before.uuid(None), before.uuid(Some(0)), before.uuid(Some(1))].map(|uuid| colons(uuid.unwrap()));
    assert_eq!(uuids[0], "d5e2fa97:d136e852:6acc3236:a1416146");
    match examine() {
        Some(text) => {
            assert!(
                text.contains("correct") && text.contains("[Root]") && !text.contains(": dirty"),
                "{text}"
            );
            uuids.iter().for_each(|uuid| assert!(text.contains(uuid), "{uuid} not in {text}"));
        }
        None => eprintln!("no loop device: mdadm was not asked"),
    }
    let mark = |volume| {
        let disk = crate::bench::Disk::open(&path, 512);
        let writes = ondisk::ata_raid::imsm::dirty(&disk, volume, &[]).unwrap().unwrap();
        writes.iter().for_each(|(at, bytes)| poke(&path, *at, bytes));
        writes.len()
    };
    assert_eq!(mark(0), 2);
    let after = anchor();
    assert_eq!((after.generation, after.volumes[0].dirty, after.volumes[1].dirty), (10, true, false));
    if let Some(text) = examine() {
        assert!(text.contains("correct"), "{text}");
        assert_eq!(text.matches("Dirty State : dirty").count(), 1, "{text}");
    }
    // Nothing else has changed, and it is done once.
    let mut expected = before.clone();
    expected.generation = 10;
    expected.volumes[0].dirty = true;
    assert_eq!(after, expected);
    assert_eq!(mark(0), 0);
}
