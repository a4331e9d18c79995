//! DDF through device-mapper.

use ondisk::ata_raid::ddf::{Config, Group, Physical, Virtual};
use ondisk::ata_raid::{Disk, Format};
use ondisk::{Member, Signature};

use super::*;
use crate::script::Script;

const SET: [u8; 24] = *b"Linux-MD0123456789abcdef";

/// Disk `number` of a set of two with this level.
pub(super) fn group(number: u32, level: (u8, u8)) -> Group {
    Group {
        guid: [7; 24],
        sequence: 5,
        disk: 10 + number,
        disks: [10, 11, 12]
            .map(|reference| Physical { reference, kind: 2, state: 1, sectors: 1 << 20 })
            .to_vec(),
        sets: vec![Virtual { index: 0, guid: SET, name: "data".into(), state: 0, initialised: 2 }],
        parts: vec![Config {
            guid: SET,
            sequence: 3,
            level,
            stride_shift: 7,
            secondary: (1, 0, 0),
            sectors: 1_000_000,
            total: 1_000_000,
            members: vec![(10, 0), (11, 64)],
        }],
        spare: false,
        fickle: false,
        host: None,
    }
}

pub(super) fn disk(group: Group) -> Content {
    Content {
        signatures: vec![Signature::new(Format::Ddf.kind())],
        member: Some(Box::new(Member::AtaRaid(Disk::Ddf(group)))),
        ..Content::default()
    }
}

fn no_md() -> cmdline::Plan {
    let mut plan = plan(uuid("inner"));
    plan.md.ddf = false;
    plan
}

/// What is made of these disks once all is quiet.
fn made(groups: Vec<Group>, wait: u64) -> (Vec<DmDevice>, Script) {
    let mut script = Script::new(no_md());
    let mut actions = Vec::new();
    for (group, name) in groups.into_iter().zip(["sda", "sdb", "sdc"]) {
        actions.extend(script.disk(name, disk(group)));
    }
    actions.extend(script.wait(wait));
    let one = |action: &Action| match action {
        Action::CreateDm(device) => Some(device.clone()),
        _ => None,
    };
    (actions.iter().filter_map(one).collect(), script)
}

fn lines(devices: &[DmDevice]) -> Vec<String> {
    let line = |device: &DmDevice| {
        let target = &device.targets[0];
        format!("{}: {} {} {}", device.uuid, target.length, target.kind, target.params)
    };
    devices.iter().map(line).collect()
}

/// What `dmraid -tay` (1.0.0.rc16-12) says of a mirror that mdadm made on two disks, and of the same disks with other
/// levels and without a name in their metadata; the GUID is this test's.
const JUDGED: [((u8, u8), &str, &[&str]); 6] = [
    ((1, 0), "root", &["ddf1_root: 0 327680 mirror core 2 256 nosync 2 sda 0 sdb 0 1 handle_errors"]),
    ((0, 0), "root", &["ddf1_root: 0 655360 striped 2 128 sda 0 sdb 0"]),
    ((0x1f, 0), "root", &["ddf1_root: 0 327680 linear sda 0", "ddf1_root: 327680 327680 linear sdb 0"]),
    ((5, 2), "root", &["ddf1_root: 0 327680 raid raid5_la 4 128 nosync region_size 128 2 - sda - sdb"]),
    // But for the layout, which is `raid5_rs` there: see `level`.
    ((5, 0), "root", &["ddf1_root: 0 327680 raid raid5_ra 4 128 nosync region_size 128 2 - sda - sdb"]),
    (
        (0, 0),
        "",
        &["ddf1_4c696e75782d4d4430313233343536373839616263646566: 0 655360 striped 2 128 sda 0 sdb 0"],
    ),
];

#[test]
fn tables_and_names_are_dmraids() {
    for (level, name, expected) in JUDGED {
        let groups = [0, 1, 2].map(|number| {
            let mut group = group(number, level);
            group.sets[0].name = name.into();
            group.parts[0].sectors = 327_680;
            group.parts[0].members[1].1 = 0;
            group
        });
        let (devices, script) = made(groups.to_vec(), 2_000);
        let [device] = &devices[..] else { panic!("{devices:?}") };
        assert_eq!(device.uuid, format!("DMRAID-{}", device.name));
        let member = |word: &str| {
            let known = ["sda", "sdb"].into_iter().find(|name| {
                let facts = &script.engine.table().get(&(*name).into()).unwrap().facts;
                word == format!("{}:{}", facts.major, facts.minor)
            });
            known.unwrap_or(word).to_owned()
        };
        let line = |target: &crate::DmTarget| {
            let params: Vec<String> = target.params.split(' ').map(member).collect();
            let (start, length, kind) = (target.start, target.length, &target.kind);
            format!("{}: {start} {length} {kind} {}", device.name, params.join(" "))
        };
        assert_eq!(device.targets.iter().map(line).collect::<Vec<_>>(), expected);
        // The third disk stands by, and is kept all the same.
        for name in ["sda", "sdb", "sdc"] {
            let device = script.engine.table().get(&name.into()).unwrap();
            assert!(device.claimed.as_deref().is_some_and(|owner| owner.contains("ddf1_")), "{name}");
        }
    }
}

#[test]
fn md_has_them_otherwise() {
    let mut script = Script::new(plan(uuid("inner")));
    script.disk("sda", disk(group(0, (1, 0))));
    let mut actions = script.disk("sdb", disk(group(1, (1, 0))));
    actions.extend(script.wait(2_000));
    assert!(actions.iter().any(|one| matches!(one, Action::StartContainer(_))), "{actions:?}");
    assert!(!actions.iter().any(|one| matches!(one, Action::CreateDm(_))), "{actions:?}");
}

/// mdadm reads a level for them and gives the kernel none; device-mapper has them, see [`JUDGED`].
#[test]
fn md_has_no_concatenated_ones() {
    let said = |level: (u8, u8), joined: u8| {
        let mut script = Script::new(plan(uuid("inner")));
        let mut actions = Vec::new();
        for (number, name) in [(0, "sda"), (1, "sdb")] {
            let mut group = group(number, level);
            group.parts[0].secondary.0 = joined;
            actions.extend(script.disk(name, disk(group)));
        }
        actions.extend(script.wait(30_000));
        assert!(!actions.iter().any(|one| matches!(one, Action::CreateDm(_))), "{actions:?}");
        let volumes = actions.iter().find_map(|one| match one {
            Action::StartContainer(container) => Some(container.volumes.len()),
            _ => None,
        });
        assert_eq!(volumes.unwrap_or(0), 0);
        script.engine.explain(crate::Moment(31_000)).to_string()
    };
    for level in [0x0f, 0x1f] {
        let text = said((level, 0), 1);
        assert!(text.contains("its disks are concatenated") && text.contains("with rd.md.ddf=0"), "{text}");
    }
    for (level, joined) in [((0x1f, 0), 2), ((0x15, 0), 1)] {
        let text = said(level, joined);
        assert!(text.contains("none that is started through md"), "{text}");
    }
}

#[test]
fn the_newest_metadata_say_who_belongs_to_it() {
    // The second disk was thrown out and knows nothing of that.
    let mut first = group(0, (1, 0));
    first.sequence = 9;
    first.disks[1].state = 3;
    let (devices, _) = made(vec![first.clone(), group(1, (1, 0))], 30_000);
    assert!(lines(&devices)[0].starts_with("DMRAID-ddf1_data: 1000000 linear "), "{devices:?}");
    assert_eq!(devices.len(), 1);
    // A stripe cannot do without.
    let stripe = Group { parts: group(0, (0, 0)).parts, ..first };
    assert!(made(vec![stripe, group(1, (0, 0))], 30_000).0.is_empty());
}

#[test]
fn what_is_not_in_order() {
    let with = |change: fn(&mut Group)| {
        let mut groups = vec![group(0, (1, 0)), group(1, (1, 0))];
        groups.iter_mut().for_each(change);
        lines(&made(groups, 30_000).0)
    };
    assert!(with(|group| group.sets[0].state = 0x10)[0].contains(" sync 2 "), "not cleanly stopped");
    assert!(with(|group| group.sets[0].initialised = 1)[0].contains(" sync 2 "));
    assert!(with(|group| group.sets[0].state = 4).is_empty(), "failed");
    assert!(with(|group| group.sets[0].state = 8).is_empty(), "morphing");
    for secondary in [(2, 0, 1), (2, 0, 2)] {
        let mut groups = vec![group(0, (1, 0)), group(1, (1, 0))];
        groups.iter_mut().for_each(|group| group.parts[0].secondary = secondary);
        assert!(made(groups, 30_000).0.is_empty(), "mirrored or concatenated mirrors");
    }
    assert!(with(|group| group.parts[0].level = (6, 0)).is_empty());
    assert!(with(|group| group.sets[0].name = "a/b".into()).is_empty());
    // One disk of a mirror is as good as itself, cleanly stopped or not.
    let mut one = group(0, (1, 0));
    one.sets[0].state = 0x11;
    assert!(lines(&made(vec![one], 30_000).0)[0].contains(" linear "));
}

/// Disk `number` of two mirrors that are joined by stripes.
fn group_of_four(number: u32) -> Group {
    let mut group = group(number, (1, 0));
    group.disks = [10, 11, 12, 13]
        .map(|reference| Physical { reference, kind: 2, state: 1, sectors: 1 << 20 })
        .to_vec();
    let basic = number / 2;
    group.parts[0].secondary = (2, u8::try_from(basic).unwrap(), 0);
    group.parts[0].members = vec![(10 + basic * 2, 0), (11 + basic * 2, 64)];
    group
}

/// What is made of these disks of a RAID 10, each mapping with the number `253:N` as it is made.
fn made_of_four(groups: Vec<Group>) -> Vec<String> {
    let mut script = Script::new(no_md());
    let mut actions = Vec::new();
    for (group, name) in groups.into_iter().zip(["sda", "sdb", "sdc", "sdd"]) {
        actions.extend(script.disk(name, disk(group)));
    }
    actions.extend(script.wait(30_000));
    let mut devices = Vec::new();
    for minor in 0.. {
        let Some(device) = created(&actions).first().map(|device| (*device).clone()) else { break };
        devices.push(device);
        actions = script.answer(is_create, Ok(Outcome::Made { major: 253, minor }));
    }
    let numbers: BTreeMap<String, &str> = ["sda", "sdb", "sdc", "sdd"]
        .into_iter()
        .filter_map(|name| {
            let facts = &script.engine.table().get(&name.into())?.facts;
            Some((format!("{}:{}", facts.major, facts.minor), name))
        })
        .collect();
    let named = |line: String| {
        let words = line.split(' ').map(|word| numbers.get(word).copied().unwrap_or(word).to_owned());
        words.collect::<Vec<_>>().join(" ")
    };
    lines(&devices).into_iter().map(named).collect()
}

#[test]
fn raid_10_is_a_stripe_of_mirrors() {
    let four = || (0..4).map(group_of_four).collect::<Vec<_>>();
    let first = "DMRAIDI-ddf1_data-0: 1000000 mirror core 2 512 nosync 2 sda 0 sdb 64 1 handle_errors";
    let second = "DMRAIDI-ddf1_data-1: 1000000 mirror core 2 512 nosync 2 sdc 0 sdd 64 1 handle_errors";
    let both = "DMRAID-ddf1_data: 1999872 striped 2 128 253:0 0 253:1 0";
    assert_eq!(made_of_four(four()), [first, second, both]);
    // Records have sequence numbers of their own.
    let mut groups = four();
    groups[0].parts[0].sequence = 9;
    assert_eq!(made_of_four(groups), [first, second, both]);
    // Not cleanly stopped.
    let sync = |line: &str| line.replace("nosync", "sync");
    let mut groups = four();
    groups.iter_mut().for_each(|group| group.sets[0].state = 0x10);
    assert_eq!(made_of_four(groups.clone()), [sync(first), sync(second), both.into()]);
    // One of each mirror is enough, and one that is alone needs no synchronisation.
    let alone = "DMRAIDI-ddf1_data-1: 1000000 linear sdc 0";
    groups.pop();
    assert_eq!(made_of_four(groups), [sync(first), alone.into(), both.into()]);
    assert_eq!(made_of_four(four()[..3].to_vec()), [first, alone, both]);
    assert!(made_of_four(four()[..2].to_vec()).is_empty(), "a whole mirror is missing");
    // The newest record of the second mirror has another disk, and the group calls this one failed.
    let mut groups = four();
    groups[2].parts[0].sequence = 9;
    groups[2].parts[0].members[1].0 = 99;
    assert_eq!(made_of_four(groups), [first, alone, both]);
    let mut groups = four();
    groups[0].sequence = 9;
    groups[0].disks[3].state = 3;
    assert_eq!(made_of_four(groups), [first, alone, both]);
    // What is below is no mirror.
    let mut groups = four();
    groups.iter_mut().for_each(|group| group.parts[0].level = (5, 2));
    assert!(made_of_four(groups).is_empty());
}

/// What is missing of a RAID 5 cannot be told from parity that was never built.
#[test]
fn without_parity_nothing_may_be_missing() {
    for (level, initialised, starts) in
        [((5, 2), 2, true), ((5, 2), 1, false), ((5, 2), 0, false), ((1, 1), 0, true)]
    {
        let mut script = Script::new(plan(uuid("inner")));
        let mut actions = Vec::new();
        for (number, name) in [(0, "sda"), (1, "sdb")] {
            let mut group = group(number, level);
            group.sets[0].initialised = initialised;
            group.parts[0].members.push((12, 0));
            actions.extend(script.disk(name, disk(group)));
        }
        actions.extend(script.wait(30_000));
        let started = actions.iter().any(|one| matches!(one, Action::StartContainer(_)));
        assert_eq!(started, starts, "{level:?} {initialised}");
    }
}

/// With an odd number of members the copies go on in the next row.
#[test]
fn of_three_members_of_a_raid_10_one_is_not_enough() {
    for (there, starts) in [(&[0][..], false), (&[0, 1], true), (&[0, 2], true), (&[1, 2], true)] {
        let mut script = Script::new(plan(uuid("inner")));
        let mut actions = Vec::new();
        for number in there {
            let mut group = group(*number, (0x11, 0));
            group.parts[0].members.push((12, 0));
            actions.extend(script.disk(["sda", "sdb", "sdc"][*number as usize], disk(group)));
        }
        actions.extend(script.wait(30_000));
        let started = actions.iter().any(|one| matches!(one, Action::StartContainer(_)));
        assert_eq!(started, starts, "{there:?}");
    }
}
