//! Intel's and DDF's containers.

use ondisk::ata_raid::{Disk, Level, imsm};
use ondisk::{Content, Kind, Member, Signature};

use super::{created, plan, uuid};
use crate::assemble::ata_raid::containers::{colons, containers};
use crate::assemble::ata_raid::external::volumes_below;
use crate::command::{Action, ContainerRequest};
use crate::event::{DeviceFacts, MdFacts, Outcome};
use crate::script::{Script, is_mount};

fn entry(serial: &str) -> imsm::Entry {
    imsm::Entry { serial: serial.into(), sectors: 1 << 20, spare: false, configured: true, failed: false }
}

fn map(level: u8, slots: &[(u32, bool)]) -> imsm::Map {
    imsm::Map {
        offset: 2048,
        sectors: 102_400,
        stripes: 400,
        stride: 128,
        state: 0,
        level,
        domains: 2,
        slots: slots.to_vec(),
    }
}

fn volume(name: &str, map: imsm::Map) -> imsm::Volume {
    imsm::Volume {
        name: name.into(),
        sectors: 102_400,
        dirty: false,
        migration: None,
        write_hole: 0,
        map,
        old_map: None,
    }
}

/// Two disks with a mirror and a stripe.
pub(super) fn anchor() -> imsm::Anchor {
    imsm::Anchor {
        family: 7,
        orig_family: 7,
        generation: 5,
        attributes: 3,
        disks: vec![entry("one"), entry("two")],
        volumes: vec![
            volume("Root", map(1, &[(0, false), (1, false)])),
            volume("Fast", map(0, &[(0, false), (1, false)])),
        ],
    }
}

/// What mdadm's map says of the running mirror.
pub(super) fn running(anchor: &imsm::Anchor) -> MdFacts {
    let uuid = anchor.uuid(Some(0)).unwrap();
    MdFacts { path: "/dev/md/Root_0".into(), uuid: colons(uuid) }
}

pub(super) fn content(anchor: &imsm::Anchor) -> Content {
    Content {
        signatures: vec![Signature::new(Kind::ImsmMember)],
        member: Some(Box::new(Member::AtaRaid(Disk::Imsm(anchor.clone())))),
        ..Content::default()
    }
}

pub(super) fn disk(script: &mut Script, name: &str, serial: &str, content: Content) -> Vec<Action> {
    let minor = u32::from(name.as_bytes()[2] - b'a') * 16;
    let facts = DeviceFacts {
        major: 8,
        minor,
        size: 1 << 29,
        diskseq: u64::from(minor) + 1,
        serial: Some(serial.into()),
        ..DeviceFacts::default()
    };
    script.add(name, facts, content)
}

pub(super) fn is_start(action: &Action) -> bool {
    matches!(action, Action::StartContainer(_))
}

pub(super) fn started(actions: &[Action]) -> Option<&ContainerRequest> {
    actions.iter().find_map(|action| match action {
        Action::StartContainer(request) => Some(request),
        _ => None,
    })
}

fn said(script: &Script) -> String {
    script.engine.explain(crate::Moment(script.now)).to_string()
}

#[test]
fn who_belongs_to_a_container() {
    let mut script = Script::new(plan(uuid("root")));
    // An older copy knows nothing of the second volume.
    let mut older = anchor();
    older.generation = 4;
    older.volumes.pop();
    assert!(!disk(&mut script, "sdb", "tw o", content(&older)).iter().any(is_start));
    let actions = disk(&mut script, "sda", "one", content(&anchor()));
    let request = started(&actions).unwrap();
    let disks: Vec<&str> = request.disks.iter().map(|disk| disk.0.as_str()).collect();
    assert_eq!(disks, ["sda", "sdb"]);
    let volumes: Vec<_> = request
        .volumes
        .iter()
        .map(|volume| (&*volume.path, volume.level, volume.component, volume.resync, volume.legs.len()))
        .collect();
    // The mirror keeps two copies of every stripe of data on the two disks together.
    assert_eq!(volumes, [("/dev/md/Fast_0", 0, 51_200, false, 2), ("/dev/md/Root_0", 1, 102_400, false, 2)]);
}

#[test]
fn with_one_disk_the_mirror_starts_and_the_stripe_does_not() {
    let mut script = Script::new(plan(uuid("root")));
    assert!(!disk(&mut script, "sda", "one", content(&anchor())).iter().any(is_start));
    let text = said(&script);
    assert!(text.contains("volume Root: 1 of 2 members seen, waiting 10 s more"), "{text}");
    assert!(text.contains("? volume Fast: 1 of 2 members seen"), "{text}");
    let actions = script.wait(11_000);
    assert_eq!(started(&actions).map(|request| request.volumes.len()), Some(1));
}

/// What is called dirty before the mount when the mirror runs with these disks: serial numbers and what is on them.
fn marked(disks: &[&str], anchor: &imsm::Anchor) -> Vec<(String, Vec<u32>)> {
    let mut script = Script::new(plan(uuid("root")));
    for (name, serial) in ["sda", "sdb"].iter().zip(disks) {
        disk(&mut script, name, serial, content(anchor));
    }
    script.wait(11_000);
    script.answer(is_start, Ok(Outcome::Done));
    let facts = |minor, parent: Option<&str>, slaves: &[&str]| DeviceFacts {
        major: 9,
        minor,
        size: 50 << 20,
        diskseq: 100,
        parent: parent.map(Into::into),
        partn: parent.map(|_| 1),
        slaves: slaves.iter().map(|name| (*name).into()).collect(),
        md: parent.is_none().then(|| running(anchor)),
        ..DeviceFacts::default()
    };
    let below: Vec<&str> = ["sda", "sdb"].into_iter().take(disks.len()).collect();
    script.add("md126", facts(126, None, &below), Content::default());
    let found = crate::script::content(Kind::Ext4, "root");
    let actions = script.add("md126p1", facts(127, Some("md126"), &[]), found);
    let mounts = actions.iter().find_map(|action| match action {
        Action::Mount(request) => Some(&request.volumes),
        _ => None,
    });
    let mounts = mounts.unwrap_or_else(|| panic!("{actions:?}"));
    mounts.iter().map(|volume| (volume.array.0.clone(), volume.missing.clone())).collect()
}

/// A member whose loss nobody has recorded would be taken for a good one when it comes back.
#[test]
fn what_is_missing_is_recorded_with_the_first_write() {
    assert_eq!(marked(&["one", "two"], &anchor()), [("md126".into(), vec![])]);
    assert_eq!(marked(&["one"], &anchor()), [("md126".into(), vec![1])]);
    let mut known = anchor();
    known.disks[1].failed = true;
    known.volumes.truncate(1);
    known.volumes[0].map.state = 2;
    known.volumes[0].map.slots[1].1 = true;
    assert_eq!(marked(&["one"], &known), [("md126".into(), vec![])]);
}

/// Two controllers may give their volumes the same name: what is missing of one is nothing to the other.
#[test]
fn a_volume_is_told_by_its_disks() {
    let mut script = Script::new(plan(uuid("root")));
    let mut other = anchor();
    (other.family, other.orig_family) = (8, 8);
    (other.disks[0].serial, other.disks[1].serial) = ("three".into(), "four".into());
    disk(&mut script, "sda", "one", content(&anchor()));
    disk(&mut script, "sdc", "three", content(&other));
    disk(&mut script, "sdd", "four", content(&other));
    script.wait(11_000);
    let facts = DeviceFacts {
        major: 9,
        minor: 126,
        size: 50 << 20,
        diskseq: 100,
        slaves: vec!["sdc".into(), "sdd".into()],
        md: Some(running(&other)),
        ..DeviceFacts::default()
    };
    script.add("md126", facts.clone(), Content::default());
    let missing = |script: &Script| {
        let table = script.engine.table();
        let plan = plan(uuid("root"));
        let all = volumes_below(&plan, table, [table.get(&"md126".into()).unwrap()]);
        all.into_iter().map(|volume| volume.missing).collect::<Vec<_>>()
    };
    assert_eq!(missing(&script), [Vec::<u32>::new()]);
    // Started without a disk that has shown up since.
    script.tell(crate::Event::Device("md126".into(), DeviceFacts { slaves: vec!["sdc".into()], ..facts }));
    assert_eq!(missing(&script), [vec![1]]);
}

/// A disk that was missing when others were written to has an older copy of the metadata, which still calls it good.
#[test]
fn a_disk_that_comes_back_is_left_out() {
    let mut newer = anchor();
    newer.generation += 1;
    newer.disks[1].failed = true;
    newer.disks[1].serial = "wo:0".into();
    newer.volumes.truncate(1);
    newer.volumes[0].map.slots[1].1 = true;
    let mut script = Script::new(plan(uuid("root")));
    let mut actions = disk(&mut script, "sdb", "two", content(&anchor()));
    actions.extend(disk(&mut script, "sda", "one", content(&newer)));
    actions.extend(script.wait(11_000));
    let request = started(&actions).unwrap();
    assert_eq!(request.disks, ["sda".into()]);
    assert_eq!(request.volumes[0].legs.len(), 1);
}

/// A spare that takes a disk's place changes the family's number, and the old disk knows nothing of that.
#[test]
fn a_replaced_disk_that_comes_back_is_left_out() {
    for old_family in [7, 9] {
        let mut old = anchor();
        old.family = old_family;
        let mut new = anchor();
        (new.family, new.generation) = (8, 9);
        new.disks[1].serial = "three".into();
        let mut script = Script::new(plan(uuid("root")));
        let mut actions = disk(&mut script, "sda", "two", content(&old));
        actions.extend(disk(&mut script, "sdb", "one", content(&new)));
        actions.extend(disk(&mut script, "sdc", "three", content(&new)));
        let request = started(&actions).unwrap();
        assert_eq!(request.disks, ["sdb".into(), "sdc".into()]);
        assert_eq!(request.volumes[0].legs.len(), 2);
        let all: Vec<&crate::table::Device> = script.engine.table().iter().collect();
        assert_eq!(containers(&all).len(), 1);
        assert!(containers(&all)[0].volumes[0].unrecorded.is_empty());
        assert!(said(&script).contains("sda has failed or left its RAID container"), "{}", said(&script));
    }
}

/// Neither half of a mirror is the right one when both were used alone.
#[test]
fn halves_that_contradict_each_other_are_refused() {
    let half = |failed: usize, family: u32, generation: u32| {
        let mut half = anchor();
        (half.family, half.generation) = (family, generation);
        half.disks[failed].failed = true;
        half.volumes[0].map.slots[failed].1 = true;
        half
    };
    for (first, second, why) in [
        (half(1, 7, 6), half(0, 7, 6), "different metadata of the same age"),
        (half(1, 8, 6), half(0, 7, 9), "used apart from each other"),
    ] {
        let mut script = Script::new(plan(uuid("root")));
        disk(&mut script, "sda", "one", content(&first));
        let mut actions = disk(&mut script, "sdb", "two", content(&second));
        actions.extend(script.wait(30_000));
        assert!(started(&actions).is_none(), "{actions:?}");
        assert!(said(&script).contains(why), "{}", said(&script));
    }
}

#[test]
fn what_cannot_be_started_says_why() {
    let mut moving = anchor();
    moving.volumes[0].migration = Some((3, 10));
    moving.volumes[1].map.level = 9;
    let mut script = Script::new(plan(uuid("root")));
    disk(&mut script, "sda", "one", content(&moving));
    assert!(!disk(&mut script, "sdb", "two", content(&moving)).iter().any(is_start));
    let text = said(&script);
    assert!(text.contains("migration") && text.contains("code 9"), "{text}");
    let all: Vec<&crate::table::Device> = script.engine.table().iter().collect();
    assert_eq!(containers(&all).len(), 1);
}

#[test]
fn a_container_that_is_named_holds_a_root_that_is_there_already() {
    let mut named = plan(uuid("root"));
    named.md.uuids = vec![anchor().uuid(None).unwrap()];
    let mut script = Script::new(named);
    disk(&mut script, "sdr", "three", crate::script::content(Kind::Ext4, "root"));
    disk(&mut script, "sda", "one", content(&anchor()));
    let text = said(&script);
    assert!(!text.contains("no member of MD array"), "{text}");
    let actions = disk(&mut script, "sdb", "two", content(&anchor()));
    assert!(actions.iter().any(is_start) && !actions.iter().any(is_mount), "{actions:?}");
    assert!(script.answer(is_start, Ok(Outcome::Done)).iter().any(is_mount));
}

#[test]
fn without_md_they_are_device_mappers_under_dmraids_names() {
    let mut plan = plan(uuid("root"));
    plan.md.imsm = false;
    let mut script = Script::new(plan);
    disk(&mut script, "sda", "one", content(&anchor()));
    let actions = disk(&mut script, "sdb", "two", content(&anchor()));
    let mut names: Vec<&str> = created(&actions).iter().map(|device| device.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["isw_h_Fast", "isw_h_Root"]);
}

/// By itself a disk that was left out still says that all is well.
#[test]
fn without_md_too_a_disk_that_comes_back_is_left_out() {
    for serial in ["two", "wo:0"] {
        let mut older = anchor();
        older.volumes.truncate(1);
        let mut newer = older.clone();
        newer.generation += 1;
        newer.disks[1].failed = true;
        newer.disks[1].serial = serial.into();
        newer.volumes[0].map.slots[1].1 = true;
        let mut plan = plan(uuid("root"));
        plan.md.imsm = false;
        let mut script = Script::new(plan);
        let mut actions = disk(&mut script, "sda", "one", content(&newer));
        actions.extend(disk(&mut script, "sdb", "two", content(&older)));
        assert!(created(&actions).is_empty(), "{actions:?}");
        let actions = script.wait(11_000);
        let [device] = created(&actions)[..] else { panic!("{actions:?}") };
        assert_eq!((&*device.targets[0].kind, &*device.targets[0].params), ("linear", "8:0 2048"));
        assert_eq!(device.targets.len(), 1);
    }
}

/// What the kernel sees on a mirror's half is not for anybody, whether or not the half's metadata can be understood.
#[test]
fn a_member_that_cannot_be_understood_is_kept() {
    let damaged = |kind: Kind| Content {
        signatures: vec![Signature { doubt: Some("wrong checksum".into()), ..Signature::new(kind) }],
        ..Content::default()
    };
    let all: [fn(&mut cmdline::Plan); 3] =
        [|_| (), |plan| plan.md.imsm = false, |plan| plan.md.enabled = false];
    for change in all {
        for (member, serial, why) in [
            (damaged(Kind::ImsmMember), "one", "wrong checksum"),
            (damaged(Kind::DdfMember), "one", "wrong checksum"),
            (damaged(Kind::NvidiaMember), "one", "wrong checksum"),
            (content(&anchor()), "another", "has failed or left its"),
        ] {
            let mut plan = plan(uuid("root"));
            change(&mut plan);
            let mut script = Script::new(plan.clone());
            disk(&mut script, "sda", serial, member.clone());
            let part = DeviceFacts {
                parent: Some("sda".into()),
                partn: Some(1),
                size: 1 << 20,
                ..DeviceFacts::default()
            };
            let mut actions = script.add("sda1", part, crate::script::content(Kind::Ext4, "root"));
            actions.extend(script.wait(30_000));
            assert!(!actions.iter().any(is_mount), "{actions:?}");
            assert!(said(&script).contains(why), "{}", said(&script));
        }
    }
}

#[test]
fn what_is_switched_off_is_an_ordinary_disk() {
    let mut plan = plan(uuid("root"));
    (plan.md.imsm, plan.dm.enabled) = (false, false);
    let mut script = Script::new(plan);
    disk(&mut script, "sda", "one", content(&anchor()));
    assert!(script.engine.table().get(&"sda".into()).unwrap().is_free());
}

/// mdadm 4.4 calls a RAID 10 of more than four disks by its number, not a mirror.
#[test]
fn raid_10_by_its_number() {
    let names = ["sda", "sdb", "sdc", "sdd", "sde", "sdf"];
    let mut six = anchor();
    six.disks = names.map(entry).to_vec();
    let slots: Vec<(u32, bool)> = (0..6).map(|disk| (disk, false)).collect();
    six.volumes = vec![volume("Root", map(10, &slots))];
    let mut script = Script::new(plan(uuid("root")));
    let actions: Vec<Action> =
        names.iter().flat_map(|name| disk(&mut script, name, name, content(&six))).collect();
    let volume = &started(&actions).unwrap().volumes[0];
    assert_eq!((volume.level, volume.layout, volume.members), (10, 0x102, 6));
    let parts = six.parts(3);
    assert_eq!((&*parts[0].set, parts[0].level, parts[0].members), ("isw_h_Root-1", Level::Raid1, 2));
    assert_eq!(parts[0].above.as_ref().map(|above| (above.order, above.members)), Some((1, 3)));
}

/// A disk that vanishes just before the start is one that is missing, whichever is told first.
#[test]
fn what_loses_a_disk_is_judged_again() {
    for md in [true, false] {
        for gone_first in [true, false] {
            let mut plan = plan(uuid("root"));
            plan.md.imsm = md;
            let mut one = anchor();
            one.volumes.truncate(1);
            let mut script = Script::new(plan);
            disk(&mut script, "sda", "one", content(&one));
            disk(&mut script, "sdb", "two", content(&one));
            let begins = |action: &Action| matches!(action, Action::StartContainer(_) | Action::CreateDm(_));
            let gone = crate::Event::Gone("sdb".into());
            if gone_first {
                script.tell(gone.clone());
            }
            let mut actions = script.answer(begins, Err(crate::Failure::Gone));
            if !gone_first {
                actions.extend(script.tell(gone));
            }
            assert!(!actions.iter().any(begins), "{actions:?}");
            assert!(script.wait(11_000).iter().any(begins), "{md} {gone_first}");
        }
    }
}
