//! Tables judged by dmraid's, sets that are not complete, and partitions on mappings.

mod above;
mod ddf;
mod external;
mod naming;
mod silicon;

use std::collections::BTreeMap;

use ondisk::ata_raid::Level;
use ondisk::{Content, Kind, ReadAt, ReadError, identify};

use super::sets::{Leg, Readiness, Set, sets};
use super::tables;
use crate::script::{Script, content, is_mount, plan, uuid};
use crate::{Action, DevName, DeviceFacts, DmDevice, DmFacts, Event, Failure, Outcome};

#[path = "../../../../ondisk/tests/blkid_oracle/ata_writer.rs"]
#[allow(dead_code, reason = "what mdadm's formats are tested with elsewhere")]
mod ata_writer;

use ata_writer::{DISK, Runs};

/// A disk that is zero except for a few runs of bytes.
struct Sparse<'a>(&'a Runs);

impl ReadAt for Sparse<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        for (at, byte) in (offset..).zip(buf.iter_mut()) {
            let run = self.0.iter().find(|(start, bytes)| (*start..start + bytes.len() as u64).contains(&at));
            *byte = run.map_or(0, |(start, bytes)| bytes[usize::try_from(at - start).unwrap()]);
        }
        Ok(buf.len())
    }

    fn size(&self) -> u64 {
        DISK * 512
    }
}

fn read(runs: &Runs) -> Content {
    identify(&Sparse(runs)).unwrap()
}

fn disks(name: &str) -> Vec<Content> {
    let set = ata_writer::sets().into_iter().find(|set| set.name == name).unwrap();
    set.disks.iter().map(read).collect()
}

/// The sets of these disks; the disks are `/dev/sda` and so on.
fn assembled(contents: &[Content]) -> Vec<Set> {
    let legs = contents.iter().zip("abcd".chars()).flat_map(|(content, letter)| {
        let disk = content.member.as_deref().unwrap().ata_raid().unwrap();
        let ondisk::ata_raid::Disk::Parts(format, parts) = disk else { panic!("{disk:?}") };
        let name = format!("sd{letter}");
        let leg = move |part: &ondisk::ata_raid::Part| Leg {
            device: DevName(name.clone()),
            number: format!("/dev/{name}"),
            disk: DISK,
            part: part.clone(),
        };
        parts.iter().map(|part| (*format, leg(part))).collect::<Vec<_>>()
    });
    sets(legs)
}

/// All mappings of a set, in the order in which they are made, as `dmraid -tay` prints them.
fn printed(set: &Set) -> Vec<String> {
    let mut devices: Vec<DmDevice> =
        set.lower.iter().map(|lower| tables::lower(set, lower).unwrap()).collect();
    let numbers: Vec<(u32, u32)> = (0..).zip(&devices).map(|(minor, _)| (253, minor)).collect();
    let names: BTreeMap<String, String> = (0..)
        .zip(&devices)
        .map(|(minor, device): (u32, _)| (format!("253:{minor}"), format!("/dev/mapper/{}", device.name)))
        .collect();
    if set.upper.is_some() {
        devices.push(tables::upper(set, &numbers).unwrap());
    }
    let line = |device: &DmDevice| -> Vec<String> {
        let text = |target: &crate::DmTarget| {
            let params = target.params.split(' ').map(|word| names.get(word).map_or(word, |name| name));
            let params: Vec<&str> = params.collect();
            let (name, start, length, kind) = (&device.name, target.start, target.length, &target.kind);
            format!("{name}: {start} {length} {kind} {}", params.join(" "))
        };
        device.targets.iter().map(text).collect()
    };
    devices.iter().flat_map(line).collect()
}

#[test]
fn tables_are_dmraids() {
    let judged = include_str!("../../../../ondisk/tests/fixtures/dmraid-tay.txt");
    let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut set = "";
    for line in judged.lines() {
        match line.strip_prefix("# ") {
            Some(name) => {
                set = name;
                expected.entry(set).or_default();
            }
            None => expected.entry(set).or_default().push(line),
        }
    }
    let (mut compared, mut refused) = (0, 0);
    for set in ata_writer::sets() {
        let contents: Vec<Content> = set.disks.iter().map(read).collect();
        let sets = assembled(&contents);
        let mapped = sets.iter().filter(|set| matches!(set.readiness(), Readiness::Complete));
        let ours: Vec<String> = mapped.flat_map(printed).collect();
        let theirs: Vec<String> = expected[set.name].iter().map(|line| (*line).to_owned()).collect();
        match set.name {
            // Levels that nobody maps, several disks that each call themselves the only one, and a spare.
            "sil-linear" | "nvidia-raid3" | "hpt37x-raid3" | "hpt37x-raid5" | "hpt45x-raid5"
            | "jmicron-raid5" | "lsi-raid5" | "via-raid5" | "asr-raid5" => {
                assert!(theirs.is_empty() || theirs == ["no raid sets"], "{theirs:?}");
                assert!(matches!(sets[0].readiness(), Readiness::Refused(_)), "{}", set.name);
                refused += 1;
                continue;
            }
            "hpt37x-spare" => {
                assert_eq!(theirs, ["no raid sets"]);
                assert!(ours.is_empty() && sets[0].disks().all(|leg| leg.part.level == Level::Spare));
                refused += 1;
                continue;
            }
            // dmraid counts no members of these and maps nothing: see the head of `ondisk::ata_raid::silicon`.
            "sil-single" => {
                assert_eq!(theirs, ["no raid sets"]);
                assert_eq!(ours, ["sil_cffbccicdfifj: 0 30720 linear /dev/sda 0"]);
            }
            "sil-joined" | "sil-joined-freebsd" => {
                assert_eq!(theirs, ["no raid sets"]);
                let lines = ["0 30720 linear /dev/sda 0", "30720 30720 linear /dev/sdb 0"];
                assert_eq!(ours, lines.map(|line| format!("{}: {line}", sets[0].name)));
            }
            "sil-raid5" => {
                assert_eq!(theirs, ["sil_bgbccicdfifj: (null)"]);
                let line =
                    "0 59904 raid raid5_ls 4 128 nosync region_size 64 3 - /dev/sda - /dev/sdb - /dev/sdc";
                assert_eq!(ours, [format!("sil_bgbccicdfifj: {line}")]);
            }
            // dmraid expects four members in each half and maps them to /dev/zero.
            "lsi-raid10" => {
                assert!(theirs[0].contains("/dev/zero"));
                assert_eq!(ours[0], "lsi_hgfedcea-0: 0 65280 striped 2 128 /dev/sda 0 /dev/sdb 0");
            }
            // The same slip makes it take these mirrors for degraded, so that they are synchronised at each start.
            "jmicron-raid01" | "hpt37x-raid1-of-1" | "hpt37x-raid10-of-1" => {
                let theirs: Vec<String> =
                    theirs.iter().map(|line| line.replace(" sync ", " nosync ")).collect();
                assert_eq!(ours, theirs);
            }
            // See the head of `tables`.
            "nvidia-raid1-syncing" => {
                let theirs: Vec<String> =
                    theirs.iter().map(|line| line.replace(" nosync ", " sync ")).collect();
                assert_eq!(ours, theirs);
            }
            // dmraid has no order for the halves of Adaptec's: the one that it found last comes first.
            "asr-raid10" => {
                let sorted = |lines: &[String]| {
                    let mut lines = lines[..2].to_vec();
                    lines.sort();
                    lines
                };
                assert_eq!(sorted(&ours), sorted(&theirs));
                let mut words: Vec<&str> = theirs[2].split(' ').collect();
                words.swap(9, 11);
                assert_eq!(ours[2], words.join(" "));
            }
            _ => assert_eq!(ours, theirs, "{}", set.name),
        }
        for set in &sets {
            assert_eq!(set.readiness(), Readiness::Complete, "{}", set.name);
        }
        compared += 1;
    }
    assert_eq!((compared + refused, refused), (ata_writer::sets().len(), 10));
}

#[test]
fn what_may_start_without_a_disk() {
    for (name, missing, expected) in [
        ("nvidia-raid1", &[1][..], Some("0 32766 linear /dev/sda 0")),
        ("nvidia-raid1", &[0], Some("0 32766 linear /dev/sdb 0")),
        (
            "nvidia-raid5",
            &[1],
            Some("0 65280 raid raid5_ls 4 128 nosync region_size 64 3 - /dev/sda - - - /dev/sdc"),
        ),
        ("nvidia-raid5", &[1, 2], None),
        ("nvidia-raid0", &[0], None),
        ("nvidia-linear", &[1], None),
        // A mirror of stripes loses a half with any disk of it; a stripe of mirrors does not.
        ("nvidia-raid10", &[3], Some("0 65280 linear 253:0 0")),
        ("nvidia-raid10", &[0, 3], None),
        ("jmicron-raid01", &[1], Some("0 39936 striped 2 128 253:0 0 253:1 0")),
        ("jmicron-raid01", &[0, 1], None),
        ("pdc-raid10", &[0, 1], Some("0 39936 linear 253:0 0")),
        // Which half is right is not known while they are being synchronised.
        ("nvidia-raid1-syncing", &[1], None),
    ] {
        let contents = disks(name);
        let all = assembled(&contents);
        let mut sets = all.clone();
        for set in &mut sets {
            for lower in &mut set.lower {
                lower.legs.retain(|leg| {
                    let number = usize::from(leg.device.0.as_bytes()[2] - b'a');
                    !missing.contains(&number)
                });
            }
            set.lower.retain(|lower| !lower.legs.is_empty());
        }
        let Some(set) = sets.first() else { continue };
        match expected {
            None => assert!(
                matches!(set.readiness(), Readiness::Incomplete(_) | Readiness::Refused(_)),
                "{name} {:?}",
                set.readiness()
            ),
            Some(table) => {
                assert!(matches!(set.readiness(), Readiness::Degraded(_)), "{name}: {:?}", set.readiness());
                let usable = set.lower.iter().filter(|lower| lower.is_usable()).count();
                let made: Vec<(u32, u32)> =
                    (0..u32::try_from(usable).unwrap()).map(|minor| (253, minor)).collect();
                let device = match set.upper {
                    Some(_) => tables::upper(set, &made).unwrap(),
                    None => tables::lower(set, &set.lower[0]).unwrap(),
                };
                let target = &device.targets[0];
                let text = format!("{} {} {} {}", target.start, target.length, target.kind, target.params);
                assert_eq!(text, table, "{name}");
            }
        }
    }
}

#[test]
fn contradictions_are_refused() {
    let refused = |sets: &[Set], what: &str| match sets[0].readiness() {
        Readiness::Refused(why) => assert!(why.contains(what), "{why}"),
        other => panic!("{what}: {other:?}"),
    };
    let contents = disks("nvidia-raid1");
    refused(&assembled(&[contents[0].clone(), contents[0].clone()]), "both say");
    let mut sets = assembled(&contents);
    sets[0].lower[0].legs[1].part.stride = 64;
    refused(&sets, "disagree");
    let mut sets = assembled(&contents);
    sets[0].lower[0].legs[1].disk = 1000;
    refused(&sets, "does not fit");
    let rebuilding = [ata_writer::nvidia(0x81, 0, 1, 2, 3), ata_writer::nvidia(0x81, 1, 1, 2, 3)];
    refused(&assembled(&rebuilding.iter().map(read).collect::<Vec<_>>()), "firmware");
    let unknown = [ata_writer::nvidia(0x77, 0, 2, 2, 0), ata_writer::nvidia(0x77, 1, 2, 2, 0)];
    refused(&assembled(&unknown.iter().map(read).collect::<Vec<_>>()), "level");
}

fn created(actions: &[Action]) -> Vec<&DmDevice> {
    let mut devices = Vec::new();
    for action in actions {
        if let Action::CreateDm(device) = action {
            devices.push(device);
        }
    }
    devices
}

fn is_create(action: &Action) -> bool {
    matches!(action, Action::CreateDm(_))
}

fn member(script: &mut Script, name: &str, minor: u32, content: Content) -> Vec<Action> {
    let facts = DeviceFacts {
        major: 8,
        minor,
        size: DISK * 512,
        sector_size: 512,
        diskseq: u64::from(minor) + 1,
        ..DeviceFacts::default()
    };
    script.add(name, facts, content)
}

fn mapped(script: &mut Script, device: &DmDevice, minor: u32, content: Content) -> Vec<Action> {
    let facts = DeviceFacts {
        major: 253,
        minor,
        size: 16 << 20,
        sector_size: 512,
        dm: Some(DmFacts { name: device.name.clone(), uuid: device.uuid.clone() }),
        slaves: vec!["sda".into()],
        ..DeviceFacts::default()
    };
    script.add(&format!("dm-{minor}"), facts, content)
}

/// The whole way: members, mapping, partition on it, root on that.
#[test]
fn root_on_a_partition_of_a_mirror() {
    let mut script = Script::new(plan(uuid("root")));
    let contents = disks("nvidia-raid1");
    assert!(created(&member(&mut script, "sda", 0, contents[0].clone())).is_empty());
    // What the kernel sees on a member is not offered to anybody.
    let part =
        DeviceFacts { parent: Some("sda".into()), partn: Some(1), size: 1 << 20, ..DeviceFacts::default() };
    script.add("sda1", part, content(Kind::Ext4, "root"));
    let actions = member(&mut script, "sdb", 16, contents[1].clone());
    let [set] = created(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((&*set.name, &*set.uuid), ("nvidia_eeeeegdg", "DMRAID-nvidia_eeeeegdg"));
    assert_eq!(set.targets[0].params, "core 2 64 nosync 2 8:0 0 8:16 0 1 handle_errors");
    assert!(!script.engine.table().get(&"sda1".into()).unwrap().is_free());
    let set = set.clone();
    let actions = script.answer(is_create, Ok(Outcome::Made { major: 253, minor: 0 }));
    let cleared: Vec<&Action> =
        actions.iter().filter(|action| matches!(action, Action::RemovePartitions(_))).collect();
    assert_eq!(cleared, [&Action::RemovePartitions("sda".into())]);
    let mut table = crate::script::gpt(&[(1, "part", Some("root"))]);
    let partition = &mut table.table.as_mut().unwrap().partitions[0];
    (partition.start, partition.length) = (1 << 20, 8 << 20);
    let actions = mapped(&mut script, &set, 0, table);
    let [partition] = created(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((&*partition.name, &*partition.uuid), ("nvidia_eeeeegdg1", "part1-DMRAID-nvidia_eeeeegdg"));
    let target = &partition.targets[0];
    assert_eq!(
        (target.start, target.length, &*target.kind, &*target.params),
        (0, 16384, "linear", "253:0 2048")
    );
    let partition = partition.clone();
    script.answer(is_create, Ok(Outcome::Made { major: 253, minor: 1 }));
    let actions = mapped(&mut script, &partition, 1, content(Kind::Ext4, "root"));
    let mounts = actions.iter().filter_map(|action| match action {
        Action::Mount(request) => Some(request.device.0.as_str()),
        _ => None,
    });
    assert_eq!(mounts.collect::<Vec<_>>(), ["dm-1"]);
}

/// The kernel shows the partitions of a mirror's half, and reads end in any order.
#[test]
fn a_partition_is_nobodys_before_its_disk_was_read() {
    let half = disks("nvidia-raid1")[0].clone();
    let whole = crate::script::gpt(&[(1, "part", None)]);
    for (disk_first, holds, mounted) in [
        (true, &half, vec![]),
        (false, &half, vec![]),
        (true, &whole, vec!["sda1"]),
        (false, &whole, vec!["sda1"]),
    ] {
        let mut script = Script::new(plan(uuid("root")));
        let disk = DeviceFacts { major: 8, size: DISK * 512, sector_size: 512, ..DeviceFacts::default() };
        let part = DeviceFacts {
            parent: Some("sda".into()),
            partn: Some(1),
            size: 1 << 20,
            ..DeviceFacts::default()
        };
        let mut actions = Vec::new();
        if disk_first {
            actions.extend(script.tell(Event::Device("sda".into(), disk.clone())));
        }
        actions.extend(script.add("sda1", part, content(Kind::Ext4, "root")));
        if !disk_first {
            actions.extend(script.tell(Event::Device("sda".into(), disk)));
        }
        assert!(!actions.iter().any(is_mount), "{actions:?}");
        let is_read = |action: &Action| matches!(action, Action::Identify(name) if name.0 == "sda");
        let asked = script.asked(is_read).expect("the disk is read");
        let actions = script.tell(Event::Identified(asked, holds.clone()));
        assert_eq!(crate::script::mounted(&actions), mounted, "{actions:?}");
        assert_eq!(script.engine.table().get(&"sda1".into()).unwrap().is_free(), !mounted.is_empty());
    }
}

#[test]
fn a_mirror_waits_before_it_starts_degraded() {
    let mut script = Script::new(plan(uuid("root")));
    member(&mut script, "sda", 0, disks("nvidia-raid1")[0].clone());
    assert!(created(&script.wait(9000)).is_empty());
    let text = script.engine.explain(crate::Moment(script.now)).to_string();
    assert!(text.contains("1 of 2 disks seen, waiting 1 s more before a degraded start"), "{text}");
    let actions = script.wait(2000);
    assert_eq!(created(&actions).len(), 1, "{actions:?}");
    let mut never = plan(uuid("root"));
    never.degraded = None;
    let mut script = Script::new(never);
    member(&mut script, "sda", 0, disks("nvidia-raid1")[0].clone());
    assert!(created(&script.wait(100_000)).is_empty());
    // A stripe never does, and says so.
    let mut script = Script::new(plan(uuid("root")));
    member(&mut script, "sda", 0, disks("nvidia-raid0")[0].clone());
    assert!(created(&script.wait(100_000)).is_empty());
    let text = script.engine.explain(crate::Moment(script.now)).to_string();
    assert!(text.contains("1 of 2 disks seen") && text.contains("attach the missing disks"), "{text}");
}

#[test]
fn only_what_is_named() {
    for (sets, auto, count) in
        [(&["nvidia_eee"][..], None, 1), (&["pdc_"], None, 0), (&[], Some(false), 0), (&[], Some(true), 1)]
    {
        let mut plan = plan(uuid("root"));
        plan.dm.sets = sets.iter().map(|set| (*set).to_owned()).collect();
        plan.auto = auto;
        let mut script = Script::new(plan);
        let mut actions = Vec::new();
        for (minor, content) in (0..).zip(disks("nvidia-raid1")) {
            actions.extend(member(&mut script, ["sda", "sdb"][minor as usize], minor * 16, content));
        }
        assert_eq!(created(&actions).len(), count, "{sets:?} {auto:?}");
    }
    let mut off = plan(uuid("root"));
    off.dm.enabled = false;
    let mut script = Script::new(off);
    member(&mut script, "sda", 0, disks("nvidia-raid1")[0].clone());
    assert!(script.engine.table().get(&"sda".into()).unwrap().is_free());
}

/// A lower mapping whose upper one cannot be made is taken away again.
#[test]
fn nothing_is_left_of_what_failed() {
    let mut script = Script::new(plan(uuid("root")));
    let mut actions = Vec::new();
    for (minor, content) in (0..).zip(disks("nvidia-raid10")) {
        actions.extend(member(
            &mut script,
            ["sda", "sdb", "sdc", "sdd"][minor as usize],
            minor * 16,
            content,
        ));
    }
    assert_eq!(created(&actions)[0].uuid, "DMRAIDI-nvidia_eeegeadc-0");
    let actions = script.answer(is_create, Ok(Outcome::Made { major: 253, minor: 0 }));
    assert_eq!(created(&actions)[0].name, "nvidia_eeegeadc-1");
    let failure = Failure::Os { what: "load".into(), errno: 22 };
    let actions = script.answer(is_create, Err(failure));
    assert!(actions.contains(&Action::RemoveDm("nvidia_eeegeadc-0".into())), "{actions:?}");
    script.answer(|action| matches!(action, Action::RemoveDm(_)), Ok(Outcome::Done));
    let text = script.engine.explain(crate::Moment(script.now)).to_string();
    assert!(text.contains("not mapped: cannot load: errno 22"), "{text}");
}
