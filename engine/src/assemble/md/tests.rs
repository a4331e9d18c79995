//! Every decision of the MD assembler, on members as their superblocks describe them.

use std::time::Duration;

use cmdline::Plan;
use cmdline::mdadm_conf;
use ondisk::md::{Reshape, Role, Superblock, Version};
use ondisk::{Content, Kind, Member, Signature};

use super::judge::{Readiness, Seen, judge};
use super::naming;
use crate::command::ArrayRequest;
use crate::event::{DevName, Event, Failure, MdFacts, Outcome};
use crate::script::{Script, content, mounted, plan, uuid};
use crate::{Action, DeviceFacts, ImageFacts};

/// A member of a clean array of this level in this slot.
fn member(level: i32, disks: u32, slot: u16) -> Superblock {
    Superblock {
        version: Version::V1_2,
        minor: 2,
        big_endian: false,
        uuid: [0x11; 16],
        name: "box:data".into(),
        level,
        layout: if level == 10 { 0x102 } else { 2 },
        chunk: 65536,
        raid_disks: disks,
        size: 1 << 20,
        created: 0,
        updated: 0,
        events: 10,
        clean: true,
        slots: "A".repeat(disks as usize),
        number: slot.into(),
        role: Role::Active(slot),
        replacement: false,
        write_mostly: false,
        failfast: false,
        device_uuid: Some([slot as u8; 16]),
        data_offset: 2048,
        data_size: 1 << 20,
        recovery_offset: None,
        bitmap_offset: None,
        nodes: 0,
        journal: false,
        ppl: false,
        bad_block_log: 0,
        reshape: None,
    }
}

fn all(level: i32, disks: u32) -> Vec<Superblock> {
    (0..disks).map(|slot| member(level, disks, slot as u16)).collect()
}

/// Readiness, what is used and what is left out, of members named a, b, c ... in their order.
fn judged(members: &[Superblock]) -> (Readiness, String, String) {
    let names: Vec<DevName> =
        (0..members.len()).map(|index| DevName(char::from(b'a' + index as u8).to_string())).collect();
    let mut seen: Vec<Seen<'_>> = members
        .iter()
        .zip(&names)
        .map(|(superblock, name)| Seen { name, superblock, doubt: None, refused: None })
        .collect();
    let mut results = Vec::new();
    // Whatever the order in which they come, the judgement is the same.
    for _ in 0..seen.len() {
        seen.rotate_left(1);
        let judged = judge(&seen).expect("a judgement");
        let used: String = judged.used.iter().map(|one| one.name.0.as_str()).collect();
        let left: String = judged.left_out.iter().map(|(name, _)| name.0.as_str()).collect();
        results.push((judged.readiness, used, left));
    }
    results.dedup();
    assert_eq!(results.len(), 1, "the order matters: {results:?}");
    results.remove(0)
}

fn few(readiness: &Readiness) -> bool {
    matches!(readiness, Readiness::TooFew(_))
}

#[test]
fn how_many_members_each_level_can_do_without() {
    for (level, disks, without) in
        [(-1, 2, 0), (0, 2, 0), (1, 3, 2), (4, 4, 1), (5, 4, 1), (6, 5, 2), (10, 4, 1)]
    {
        let members = all(level, disks);
        assert_eq!(judged(&members).0, Readiness::Complete, "level {level}");
        for missing in 1..disks as usize {
            let readiness = judged(&members[missing..]).0;
            if missing <= without {
                assert_eq!(readiness, Readiness::Degraded, "level {level} without {missing}");
            } else {
                assert!(few(&readiness), "level {level} without {missing}: {readiness:?}");
            }
        }
    }
}

#[test]
fn raid10_needs_one_copy_of_each_stripe() {
    // Layout near=2 on four: 0 and 1 mirror each other, so do 2 and 3.
    let members = all(10, 4);
    let with =
        |slots: &[usize]| judged(&slots.iter().map(|slot| members[*slot].clone()).collect::<Vec<_>>()).0;
    assert_eq!(with(&[0, 2]), Readiness::Degraded);
    assert_eq!(with(&[1, 3]), Readiness::Degraded);
    assert!(few(&with(&[0, 1])));
    assert!(few(&with(&[2, 3])));
}

#[test]
fn raid10_with_more_copies_than_members_is_judged_at_once() {
    let hostile = |slots: &[u16], disks: u32| {
        let of = |slot: &u16| Superblock { layout: 0xffff, ..member(10, disks, *slot) };
        judged(&slots.iter().map(of).collect::<Vec<_>>()).0
    };
    let begun = std::time::Instant::now();
    assert_eq!(hostile(&[0], 1), Readiness::Complete);
    assert_eq!(hostile(&[1919], 1920), Readiness::Degraded, "everybody has a copy of everything");
    let mut rebuilding = Superblock { layout: 0xffff, ..member(10, 1, 0) };
    rebuilding.recovery_offset = Some(5);
    assert!(few(&judged(&[rebuilding]).0));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn dirty_and_degraded_is_only_started_with_a_log() {
    for (level, ppl, may) in
        [(5, false, false), (6, false, false), (4, false, false), (5, true, true), (1, false, true)]
    {
        let mut members = all(level, 4);
        for one in &mut members {
            one.clean = false;
            one.ppl = ppl;
        }
        let readiness = judged(&members[1..]).0;
        assert_eq!(readiness == Readiness::Degraded, may, "level {level}, ppl {ppl}: {readiness:?}");
        assert_eq!(judged(&members).0, Readiness::Complete, "whole it may start");
    }
    // Only the parity disk of RAID 4 may be missing.
    let mut members = all(4, 4);
    members.iter_mut().for_each(|one| one.clean = false);
    assert_eq!(judged(&members[..3]).0, Readiness::Degraded);
}

#[test]
fn stale_members_are_left_out() {
    for (behind, used) in [(0, "ab"), (1, "ab"), (2, "a"), (9, "a")] {
        let mut members = all(1, 2);
        members[1].events -= behind;
        assert_eq!(judged(&members).1, used, "{behind} events behind");
    }
}

#[test]
fn of_a_split_brain_the_fresher_half_is_used() {
    let halves = |events: [u64; 2]| {
        let mut members = all(1, 2);
        for (index, one) in members.iter_mut().enumerate() {
            one.events = events[index];
            one.slots = if index == 0 { "A.".into() } else { ".A".into() };
        }
        judged(&members)
    };
    for (events, used, left) in
        [([12, 10], "a", "b"), ([10, 12], "b", "a"), ([11, 10], "a", "b"), ([10, 10], "a", "b")]
    {
        let (readiness, seen, out) = halves(events);
        assert_eq!((readiness, seen.as_str(), out.as_str()), (Readiness::AsItWas, used, left), "{events:?}");
    }
}

#[test]
fn a_member_whose_failure_was_the_last_event_is_left_out() {
    let with = |slots: &str| {
        let mut members = all(1, 2);
        members[1].events -= 1;
        members[0].slots = slots.into();
        members
    };
    for slots in ["AA", "AR"] {
        assert_eq!(judged(&with(slots)), (Readiness::Complete, "ab".into(), String::new()), "{slots}");
    }
    assert_eq!(judged(&with("A.")), (Readiness::AsItWas, "a".into(), "b".into()));
    assert!(left_out(&with("A."), "b").contains("a, says that it has failed"));
    // A replacement, and a member that is being rebuilt, are known to the freshest one.
    let mut members = all(5, 3);
    members.push(Superblock { replacement: true, recovery_offset: Some(5), number: 3, ..member(5, 3, 1) });
    members.iter_mut().for_each(|one| one.slots = "ARA".into());
    members[1].events -= 1;
    members[3].events -= 1;
    members[2].events -= 1;
    members[2].recovery_offset = Some(5);
    assert_eq!(judged(&members).1, "abdc");
    // Nor does a crash while a reshape adds members make any of them suspect.
    let reshape = Reshape {
        position: 100,
        level: 5,
        layout: 2,
        chunk: 65536,
        delta_disks: 1,
        new_offset: true,
        backwards: false,
    };
    let mut members = all(5, 4);
    members.iter_mut().for_each(|one| one.reshape = Some(reshape.clone()));
    members[3].events -= 1;
    assert_eq!(judged(&members).0, Readiness::Complete);
}

/// Why the member of this name is left out.
fn left_out(members: &[Superblock], of: &str) -> String {
    let names: Vec<DevName> =
        (0..members.len()).map(|index| DevName(char::from(b'a' + index as u8).to_string())).collect();
    let seen: Vec<Seen<'_>> = members
        .iter()
        .zip(&names)
        .map(|(superblock, name)| Seen { name, superblock, doubt: None, refused: None })
        .collect();
    let judged = judge(&seen).expect("a judgement");
    judged.left_out.into_iter().find(|(name, _)| name.0 == of).map(|(_, why)| why).unwrap_or_default()
}

#[test]
fn a_half_that_was_used_apart_is_told_from_a_stale_one() {
    let mut members = all(1, 2);
    members[0].slots = "A.".into();
    members[0].events = 90;
    let why = left_out(&members, "b");
    assert!(why.contains("out of date"), "it knows nothing of a failure: {why}");
    members[1].slots = ".A".into();
    for events in [10, 88, 89, 90] {
        members[1].events = events;
        let why = left_out(&members, "b");
        assert!(why.contains("used apart") && why.contains("writes that a lacks"), "{events}: {why}");
    }
}

#[test]
fn copies_spares_faulty_ones_and_other_shapes() {
    let mut members = all(1, 2);
    members.push(members[0].clone());
    assert_eq!(judged(&members).1, "ab", "the copy is not used");
    members[2].role = Role::Spare;
    assert_eq!(judged(&members).1, "abc");
    members[2].events = 11;
    assert_eq!(judged(&members).2, "c", "a stray spare");
    members[2].role = Role::Faulty;
    assert_eq!(judged(&members).2, "c");
    members[2] = Superblock { raid_disks: 3, ..member(1, 2, 1) };
    assert_eq!(judged(&members).2, "c", "another shape");
    members[2] = Superblock { big_endian: true, ..member(1, 2, 1) };
    assert_eq!(judged(&members).2, "c");
    members.remove(2);
    members[1].recovery_offset = Some(100);
    assert_eq!(judged(&members).0, Readiness::Complete, "the kernel goes on rebuilding it");
    assert!(few(&judged(&members[1..]).0), "half rebuilt is no copy");
}

#[test]
fn a_replacement_stands_beside_the_one_it_replaces() {
    let mut members = all(1, 2);
    members.push(Superblock { replacement: true, recovery_offset: Some(5), number: 2, ..member(1, 2, 1) });
    members.iter_mut().for_each(|one| one.slots = "AR".into());
    assert_eq!(judged(&members), (Readiness::Complete, "abc".into(), String::new()));
}

#[test]
fn a_journal_is_never_done_without() {
    let mut members = all(5, 3);
    members.iter_mut().for_each(|one| one.journal = true);
    assert!(few(&judged(&members).0));
    members.push(Superblock { role: Role::Journal, journal: true, number: 3, ..member(5, 3, 0) });
    assert_eq!(judged(&members).0, Readiness::Complete);
    members[3].events = 8;
    assert!(few(&judged(&members).0), "a stale one is none");
    members.iter_mut().for_each(|one| one.journal = false);
    assert_eq!(judged(&members).2, "d", "an array without a journal takes none");
}

#[test]
fn what_is_not_for_an_initramfs() {
    let reshape = Reshape {
        position: 100,
        level: 5,
        layout: 2,
        chunk: 65536,
        delta_disks: 1,
        new_offset: false,
        backwards: false,
    };
    let mut members = all(5, 4);
    members.iter_mut().for_each(|one| one.reshape = Some(reshape.clone()));
    assert!(matches!(judged(&members).0, Readiness::Refused(why) if why.contains("--backup-file")));
    members.iter_mut().for_each(|one| one.reshape = Some(Reshape { new_offset: true, ..reshape.clone() }));
    assert_eq!(judged(&members).0, Readiness::Complete, "the kernel goes on by itself");
    let mut members = all(1, 2);
    members.iter_mut().for_each(|one| one.nodes = 2);
    assert!(matches!(judged(&members).0, Readiness::Refused(why) if why.contains("cluster")));
    let hostile = Superblock { raid_disks: u32::MAX, ..member(1, 2, 0) };
    assert!(matches!(judged(&[hostile]).0, Readiness::Refused(_)));
    assert!(matches!(judged(&all(-4, 2)).0, Readiness::Refused(_)));
}

/// Path, number, foreign.
fn named(conf: &str, host: &str, name: &str) -> (Option<String>, Option<u32>, bool) {
    let image =
        ImageFacts { mdadm: mdadm_conf::parse(conf).0, hostname: host.to_owned(), ..ImageFacts::default() };
    let superblock = Superblock { name: name.to_owned(), ..member(1, 2, 0) };
    let line = naming::line(&image.mdadm, &superblock).expect("one line at most");
    let name = naming::name(&image, line, &superblock, |path| path == "/dev/md/taken");
    (name.path, name.number, name.foreign)
}

#[test]
fn names_are_mdadms() {
    let uuid = "UUID=11111111:11111111:11111111:11111111";
    let array = |device: &str| format!("ARRAY {device} {uuid}");
    for (conf, host, name, path, number, foreign) in [
        (String::new(), "box", "box:root", "/dev/md/root", None, false),
        (String::new(), "box", "box:0", "/dev/md/0", Some(0), false),
        (String::new(), "box", "box:md7", "/dev/md/md7", Some(7), false),
        (String::new(), "box", "any:x", "/dev/md/x", None, false),
        (String::new(), "box", "else:root", "/dev/md/else:root", None, true),
        (String::new(), "box", "else:0", "/dev/md/else:0", None, true),
        (String::new(), "box", "root", "/dev/md/root_0", None, true),
        (String::new(), "", "box:root", "/dev/md/box:root", None, true),
        (String::new(), "box", "box:taken", "/dev/md/taken_0", None, false),
        (String::new(), "box", "box:a b/c", "/dev/md/a_b-c", None, false),
        ("HOMEHOST other".into(), "box", "other:x", "/dev/md/x", None, false),
        ("HOMEHOST <none>".into(), "box", "box:x", "/dev/md/box:x", None, true),
        ("HOMEHOST <ignore>".into(), "box", "else:x", "/dev/md/x", None, false),
        (array("/dev/md0"), "box", "else:x", "/dev/md0", Some(0), false),
        (array("/dev/md/7"), "box", "else:x", "/dev/md/7", Some(7), false),
        (array("/dev/md/data"), "box", "else:x", "/dev/md/data", None, false),
        (array("/dev/md/data"), "box", "else:3", "/dev/md/data", Some(3), false),
        (array("data"), "box", "else:x", "/dev/md/data", None, false),
    ] {
        let seen = named(&conf, host, name);
        assert_eq!(seen, (Some(path.to_owned()), number, foreign), "{conf:?} on {host:?}: {name:?}");
    }
}

/// Content of a member.
fn on_disk(superblock: Superblock) -> Content {
    let mut signature = Signature::new(Kind::MdMember);
    signature.uuid = Some("11111111-1111-1111-1111-111111111111".into());
    Content {
        signatures: vec![signature],
        member: Some(Box::new(Member::Md(superblock))),
        ..Content::default()
    }
}

fn assembled(actions: &[Action]) -> Vec<ArrayRequest> {
    let request = |action: &Action| match action {
        Action::AssembleArray(request) => Some(request.clone()),
        _ => None,
    };
    actions.iter().filter_map(request).collect()
}

fn devices(request: &ArrayRequest) -> Vec<&str> {
    request.members.iter().map(|member| member.device.0.as_str()).collect()
}

fn is_assembly(action: &Action) -> bool {
    matches!(action, Action::AssembleArray(_))
}

fn eager() -> Plan {
    Plan { auto: Some(true), ..plan(uuid("root")) }
}

/// Lets the array show up.
fn runs(script: &mut Script, slaves: &[&str], holds: Content) -> Vec<Action> {
    let facts = DeviceFacts {
        major: 9,
        minor: 127,
        size: 1 << 30,
        md: Some(MdFacts { path: "/dev/md/data".into() }),
        slaves: slaves.iter().map(|name| (*name).into()).collect(),
        ..DeviceFacts::default()
    };
    script.add("md127", facts, holds)
}

#[test]
fn a_mirror_is_assembled_and_mounted() {
    let mut script = Script::new(eager());
    let actions = script.disk("sda", on_disk(member(1, 2, 0)));
    assert!(assembled(&actions).is_empty());
    assert!(actions.contains(&Action::LoadModules(vec!["md-level-1".into()])));
    let actions = script.disk("sdb", on_disk(member(1, 2, 1)));
    let requests = assembled(&actions);
    assert_eq!(requests.len(), 1, "{actions:?}");
    assert_eq!(devices(&requests[0]), ["sda", "sdb"]);
    assert_eq!(
        (requests[0].metadata.as_str(), requests[0].read_auto),
        ("1.2", true),
        "nobody knows the host"
    );
    assert_eq!(requests[0].map_uuid, "11111111:11111111:11111111:11111111");
    script.answer(is_assembly, Ok(Outcome::Made { major: 9, minor: 127 }));
    let actions = runs(&mut script, &["sda", "sdb"], content(Kind::Ext4, "root"));
    assert_eq!(mounted(&actions), ["md127"]);
    let links = &script.engine.table().get(&"md127".into()).expect("md127").links;
    for link in
        ["md/data", "disk/by-id/md-name-box:data", "disk/by-id/md-uuid-11111111:11111111:11111111:11111111"]
    {
        assert!(links.iter().any(|known| known == link), "{link}: {links:?}");
    }
}

#[test]
fn an_array_that_does_not_run_is_not_read() {
    let mut script = Script::new(eager());
    let facts = DeviceFacts { major: 9, minor: 127, size: 1 << 30, ..DeviceFacts::default() };
    let actions = script.add("md127", facts, content(Kind::Ext4, "root"));
    assert!(mounted(&actions).is_empty() && !actions.iter().any(|one| matches!(one, Action::Identify(_))));
}

#[test]
fn a_degraded_start_waits_for_the_grace_from_the_last_change() {
    for (grace, wait) in [(Some(10), 10_000), (Some(0), 0), (None, u64::MAX)] {
        let plan = Plan { degraded: grace.map(Duration::from_secs), ..eager() };
        let mut script = Script::new(plan);
        let mut actions = script.disk("sda", on_disk(member(1, 2, 0)));
        if wait == u64::MAX {
            assert!(assembled(&script.wait(1_000_000)).is_empty());
            let text = script.engine.explain(crate::Moment(1)).to_string();
            assert!(text.contains("rootward.degraded=never"), "{text}");
            continue;
        }
        if wait > 0 {
            assert!(assembled(&actions).is_empty());
            script.wait(5_000);
            let text = script.engine.explain(crate::Moment(4_000)).to_string();
            assert!(text.contains("1 of 2 members seen, missing slot 1, degraded start in 6 s"), "{text}");
            script.disk("sdc", content(Kind::Swap, "x"));
            assert!(assembled(&script.wait(wait - 1)).is_empty(), "the change starts it over");
            actions = script.wait(2);
        }
        let requests = assembled(&actions);
        assert_eq!(requests.len(), 1, "grace {grace:?}: {actions:?}");
        assert!(requests[0].read_auto);
        let loud =
            |action: &Action| matches!(action, Action::Say(_, text) if text.contains("starts degraded"));
        assert!(actions.iter().any(loud));
    }
}

#[test]
fn what_is_wanted() {
    let mirror = |plan: Plan, conf: &str| {
        let image = ImageFacts { mdadm: mdadm_conf::parse(conf).0, ..ImageFacts::default() };
        let mut script = Script::with_image(plan, image);
        let mut actions = script.disk("sda", on_disk(member(1, 2, 0)));
        actions.extend(script.disk("sdb", on_disk(member(1, 2, 1))));
        assembled(&actions).len()
    };
    let with = |change: fn(&mut Plan)| {
        let mut plan = plan(uuid("root"));
        change(&mut plan);
        plan
    };
    let ignore = "ARRAY <ignore> UUID=11111111:11111111:11111111:11111111";
    for (what, plan, conf, wanted) in [
        ("on demand", with(|_| {}), "", 1),
        ("rd.auto", with(|plan| plan.auto = Some(true)), "", 1),
        ("rd.auto=0", with(|plan| plan.auto = Some(false)), "", 0),
        ("rd.md=0", with(|plan| plan.md.enabled = false), "", 0),
        ("this one", with(|plan| plan.md.uuids = vec![[0x11; 16]]), "", 1),
        ("another", with(|plan| plan.md.uuids = vec![[0x12; 16]]), "", 0),
        (
            "this one, rd.auto=0",
            with(|plan| {
                plan.md.uuids = vec![[0x11; 16]];
                plan.auto = Some(false);
            }),
            ignore,
            1,
        ),
        ("ignored", with(|plan| plan.auto = Some(true)), ignore, 0),
        ("AUTO", with(|_| {}), "AUTO -all", 0),
        ("AUTO", with(|_| {}), "AUTO +1.x -all", 1),
        ("AUTO", with(|_| {}), "AUTO homehost -all", 0),
    ] {
        assert_eq!(mirror(plan, conf), wanted, "{what} {conf}");
    }
}

#[test]
fn on_demand_nothing_is_assembled_while_the_root_is_there() {
    let mut script = Script::new(plan(uuid("root")));
    script.disk("sdc", content(Kind::Ext4, "root"));
    script.disk("sda", on_disk(member(1, 2, 0)));
    assert!(assembled(&script.disk("sdb", on_disk(member(1, 2, 1)))).is_empty());
}

#[test]
fn a_failed_start_is_tried_again_with_other_members_only() {
    let mut script = Script::new(eager());
    script.disk("sda", on_disk(member(5, 3, 0)));
    script.disk("sdb", on_disk(member(5, 3, 1)));
    script.disk("sdc", on_disk(member(5, 3, 2)));
    let refused = Failure::Os { what: "start md127".into(), errno: 5 };
    let actions = script.answer(is_assembly, Err(refused));
    assert!(assembled(&actions).is_empty());
    let text = script.engine.explain(crate::Moment(1)).to_string();
    assert!(text.contains("could not be started: cannot start md127"), "{text}");
    script.tell(Event::Gone("sdc".into()));
    let actions = script.disk("sdc", on_disk(member(5, 3, 2)));
    assert_eq!(assembled(&actions).len(), 1);
}

#[test]
fn a_member_that_the_kernel_refuses_is_done_without() {
    let refuses = |device: &str| {
        Err(Failure::Member { device: device.into(), what: format!("add {device} to md127"), errno: 22 })
    };
    for (grace, level, starts) in [(Some(10), 5, true), (None, 5, false), (Some(10), 0, false)] {
        let plan = Plan { degraded: grace.map(Duration::from_secs), ..eager() };
        let mut script = Script::new(plan);
        for (slot, name) in ["sda", "sdb", "sdc"].into_iter().enumerate() {
            script.disk(name, on_disk(member(level, 3, slot as u16)));
        }
        let mut actions = script.answer(is_assembly, refuses("sdb"));
        assert!(assembled(&actions).is_empty());
        let text = script.engine.explain(crate::Moment(1)).to_string();
        assert!(
            text.contains("left out: the kernel refused it (cannot add sdb to md127: errno 22)"),
            "{text}"
        );
        actions.extend(script.wait(20_000));
        let requests = assembled(&actions);
        assert_eq!(requests.len(), usize::from(starts), "{grace:?} {level}: {actions:?}");
        if starts {
            assert_eq!(devices(&requests[0]), ["sda", "sdc"]);
            let says =
                |action: &Action| matches!(action, Action::Say(_, text) if text.contains("sdb is left out"));
            assert!(actions.iter().any(says), "{actions:?}");
        } else {
            // The operator may have mended it.
            let again = assembled(&script.tell(Event::Retry));
            assert_eq!(again.iter().map(|one| devices(one).len()).collect::<Vec<_>>(), [3]);
            script.answer(is_assembly, refuses("sdb"));
            script.tell(Event::Gone("sdb".into()));
            let again = assembled(&script.disk("sdb", on_disk(member(level, 3, 1))));
            assert_eq!(again.iter().map(|one| devices(one).len()).collect::<Vec<_>>(), [3]);
        }
    }
}

/// A stale half must not become the better one because the fresh one cannot be added.
#[test]
fn a_refused_member_still_speaks_for_the_array() {
    let (fresh, mut stale) = (DevName("sda".into()), member(1, 2, 1));
    let best = member(1, 2, 0);
    for (behind, used) in [(0, 1), (1, 1), (5, 0)] {
        stale.events = best.events - behind;
        let name = DevName("sdb".into());
        let seen = [
            Seen { name: &fresh, superblock: &best, doubt: None, refused: Some("it was refused") },
            Seen { name: &name, superblock: &stale, doubt: None, refused: None },
        ];
        let judged = judge(&seen).expect("a judgement");
        assert_eq!((judged.used.len(), few(&judged.readiness)), (used, used == 0), "{behind} behind");
    }
}

#[test]
fn a_spare_that_comes_late_is_added_and_a_late_member_is_named() {
    let mut script = Script::new(Plan { degraded: Some(Duration::ZERO), ..eager() });
    script.disk("sda", on_disk(member(1, 2, 0)));
    script.answer(is_assembly, Ok(Outcome::Made { major: 9, minor: 127 }));
    runs(&mut script, &["sda"], content(Kind::Ext4, "other"));
    let spare = Superblock { role: Role::Spare, number: 2, ..member(1, 2, 0) };
    let actions = script.disk("sdc", on_disk(spare));
    assert!(
        actions.iter().any(
            |one| matches!(one, Action::AddSpare(array, spare) if array.0 == "md127" && spare.slot == -1)
        )
    );
    let actions = script.disk("sdb", on_disk(member(1, 2, 1)));
    assert!(assembled(&actions).is_empty());
    let named =
        |action: &Action| matches!(action, Action::Say(_, text) if text.contains("--re-add /dev/sdb"));
    assert!(actions.iter().any(named), "{actions:?}");
}

fn is_stop(action: &Action) -> bool {
    matches!(action, Action::StopArray(_))
}

/// A mirror whose half sda, with ten events, runs with this content, and then sdb comes with so many.
fn outrun_by(events: u64, holds: Content) -> (Script, Vec<Action>) {
    let mut script = Script::new(Plan { degraded: Some(Duration::ZERO), ..eager() });
    script.disk("sda", on_disk(Superblock { slots: "A.".into(), ..member(1, 2, 0) }));
    script.wait(10_000);
    script.answer(is_assembly, Ok(Outcome::Made { major: 9, minor: 127 }));
    runs(&mut script, &["sda"], holds);
    let fresh = Superblock { slots: ".A".into(), events, ..member(1, 2, 1) };
    let actions = script.disk("sdb", on_disk(fresh));
    (script, actions)
}

fn outrun_warnings(actions: &[Action]) -> usize {
    let warns = |action: &&Action| {
        matches!(action, Action::Say(crate::Loudness::Warning, text)
            if text.contains("runs as md127 from sda, and sdb") && text.contains("do not write to it; mdadm --stop"))
    };
    actions.iter().filter(warns).count()
}

#[test]
fn an_array_that_runs_from_its_stale_half_is_started_again_from_the_fresh_one() {
    let (mut script, mut actions) = outrun_by(20, content(Kind::Ext4, "other"));
    assert_eq!((outrun_warnings(&actions), actions.iter().filter(|one| is_stop(one)).count()), (1, 1));
    let text = script.engine.explain(crate::Moment(20_000)).to_string();
    assert!(text.contains("runs as md127 from sda, and sdb is fresher"), "{text}");
    // The answer does not tell whether it was stopped: the array's end does.
    actions = script.answer(is_stop, Ok(Outcome::Done));
    actions.extend(script.wait(5_000));
    assert!(assembled(&actions).is_empty() && outrun_warnings(&actions) == 0);
    assert!(!actions.iter().any(is_stop), "asked for once");
    actions = script.tell(Event::Gone("md127".into()));
    actions.extend(script.wait(5_000));
    let requests = assembled(&actions);
    assert_eq!(requests.len(), 1, "{actions:?}");
    assert_eq!(devices(&requests[0]), ["sdb"]);
    script.answer(is_assembly, Ok(Outcome::Made { major: 9, minor: 127 }));
    let actions = runs(&mut script, &["sdb"], content(Kind::Ext4, "root"));
    assert_eq!((mounted(&actions), outrun_warnings(&actions)), (vec!["md127".to_owned()], 0));
}

#[test]
fn a_root_is_not_mounted_from_an_array_that_is_being_stopped() {
    let (mut script, actions) = outrun_by(20, content(Kind::Ext4, "other"));
    assert!(actions.iter().any(is_stop));
    assert!(mounted(&script.disk("sdr", content(Kind::Ext4, "root"))).is_empty());
    assert_eq!(mounted(&script.answer(is_stop, Ok(Outcome::Done))), ["sdr"]);
}

#[test]
fn an_array_that_was_outrun_goes_on_where_it_is_used_or_no_staler() {
    // Its root is being mounted: the warning comes once that is done.
    let (mut script, actions) = outrun_by(20, content(Kind::Ext4, "root"));
    assert!(!actions.iter().any(is_stop));
    let actions = script.answer(crate::script::is_mount, Ok(Outcome::Done));
    assert!(outrun_warnings(&actions) == 1 && !actions.iter().any(is_stop), "{actions:?}");
    // Both halves were used as much: neither is the better one.
    let (_, actions) = outrun_by(11, content(Kind::Ext4, "other"));
    assert!(outrun_warnings(&actions) == 1 && !actions.iter().any(is_stop), "{actions:?}");
    // Something is built on it.
    let mut script = Script::new(Plan { degraded: Some(Duration::ZERO), ..eager() });
    script.disk("sda", on_disk(Superblock { slots: "A.".into(), ..member(1, 2, 0) }));
    script.wait(10_000);
    script.answer(is_assembly, Ok(Outcome::Made { major: 9, minor: 127 }));
    runs(&mut script, &["sda"], content(Kind::Swap, "x"));
    script.mapping("dm-0", "data", "md127", content(Kind::Ext4, "other"));
    let fresh = Superblock { slots: ".A".into(), events: 20, ..member(1, 2, 1) };
    let actions = script.disk("sdb", on_disk(fresh));
    assert!(outrun_warnings(&actions) == 1 && !actions.iter().any(is_stop), "{actions:?}");
}

#[test]
fn members_that_are_whole_disks_are_kept_from_others() {
    let mut script = Script::new(eager());
    script.disk("sda", on_disk(member(1, 2, 0)));
    assert!(script.engine.table().get(&"sda".into()).is_some_and(|device| device.claimed.is_some()));
}

#[test]
fn waiting_for_clean_arrays_holds_the_mount() {
    let mut plan = eager();
    plan.md.wait_clean = true;
    let mut script = Script::new(plan);
    let actions = runs(&mut script, &[], content(Kind::Ext4, "root"));
    assert!(mounted(&actions).is_empty() && actions.contains(&Action::WaitClean));
    let actions = script.answer(|action| *action == Action::WaitClean, Ok(Outcome::Done));
    assert_eq!(mounted(&actions), ["md127"]);
}

/// `rd.md.conf=0`: as dracut stops what is left over before it leaves.
#[test]
fn without_mdadm_conf_unused_arrays_are_stopped() {
    for conf in [true, false] {
        let mut plan = eager();
        plan.md.conf = conf;
        let mut script = Script::new(plan);
        runs(&mut script, &[], content(Kind::Ext4, "root"));
        let actions = script.answer(crate::script::is_mount, Ok(Outcome::Done));
        assert_eq!(actions.iter().any(is_stop), !conf);
        if !conf {
            assert!(!actions.iter().any(crate::script::is_switch));
            let actions = script.answer(is_stop, Ok(Outcome::Done));
            assert!(actions.iter().any(crate::script::is_switch) && !actions.iter().any(is_stop));
        }
    }
}

/// As dracut waits for the link `md-uuid-...` of every array that is named.
#[test]
fn named_arrays_hold_the_root() {
    let mut plan = plan(uuid("root"));
    plan.md.uuids = vec![[0x11; 16]];
    let mut script = Script::new(plan.clone());
    let actions = script.disk("sdr", content(Kind::Ext4, "root"));
    assert!(mounted(&actions).is_empty());
    script.disk("sda", on_disk(member(1, 2, 0)));
    let actions = script.disk("sdb", on_disk(member(1, 2, 1)));
    assert!(mounted(&actions).is_empty() && actions.iter().any(is_assembly));
    let actions = script.answer(is_assembly, Ok(Outcome::Made { major: 9, minor: 127 }));
    assert_eq!(mounted(&actions), ["sdr"]);
    // One that does not come holds it for a while only.
    let mut script = Script::new(plan);
    script.disk("sdr", content(Kind::Ext4, "root"));
    assert!(mounted(&script.wait(9_900)).is_empty());
    assert_eq!(mounted(&script.wait(200)), ["sdr"]);
}
