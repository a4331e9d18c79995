//! What the assembler does as members come and go.

use std::time::Duration;

use cmdline::Plan;
use cmdline::mdadm_conf;
use ondisk::md::{Role, Superblock};
use ondisk::{Content, Kind, Member, Signature};

use super::super::judge::{Seen, judge};
use super::judging::few;
use super::member;
use crate::command::ArrayRequest;
use crate::event::{DevName, Event, Failure, MdFacts, Outcome};
use crate::script::{Script, content, mounted, plan, uuid};
use crate::{Action, DeviceFacts, ImageFacts};

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

/// Facts of the array as it runs from these members.
fn array_facts(slaves: &[&str]) -> DeviceFacts {
    DeviceFacts {
        major: 9,
        minor: 127,
        size: 1 << 30,
        md: Some(MdFacts { path: "/dev/md/data".into(), ..MdFacts::default() }),
        slaves: slaves.iter().map(|name| (*name).into()).collect(),
        ..DeviceFacts::default()
    }
}

/// Lets the array show up.
fn runs(script: &mut Script, slaves: &[&str], holds: Content) -> Vec<Action> {
    script.add("md127", array_facts(slaves), holds)
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

/// mdadm.conf(5), `devices=`.
#[test]
fn an_array_line_that_names_devices() {
    for (words, number) in [
        ("devices=/dev/sd[ab]", Some(7)),
        ("devices=/dev/sdc,/dev/sdb", Some(7)),
        ("devices=/dev/sdc", None),
        ("devices=/dev/*/sda", None),
        ("name=other devices=/dev/sda", None),
    ] {
        let conf = mdadm_conf::parse(&format!("ARRAY /dev/md7 {words}\n")).0;
        let mut script = Script::with_image(eager(), ImageFacts { mdadm: conf, ..ImageFacts::default() });
        script.disk("sda", on_disk(member(1, 2, 0)));
        let requests = assembled(&script.disk("sdb", on_disk(member(1, 2, 1))));
        assert_eq!(requests.len(), 1, "{words}");
        assert_eq!(requests[0].number, number, "{words}");
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
        ("AUTO", with(|_| {}), "AUTO no", 0),
        ("DEVICE", with(|_| {}), "DEVICE partitions", 1),
        ("DEVICE", with(|_| {}), "DEVICE /dev/sd[ab]", 1),
        ("DEVICE", with(|_| {}), "DEVICE /dev/mapper/*", 0),
        ("DEVICE", with(|_| {}), "DEVICE /dev/mapper/*\nDEVICE /dev/s*", 1),
        ("DEVICE", with(|_| {}), "DEVICE /*", 0),
        ("AUTO", with(|_| {}), "AUTO yes\nAUTO -all", 1),
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
    // One that runs and is heard of anew, by another `diskseq`, does not hold it again.
    let mut script = Script::new(plan.clone());
    script.disk("sda", on_disk(member(1, 2, 0)));
    script.disk("sdb", on_disk(member(1, 2, 1)));
    script.answer(is_assembly, Ok(Outcome::Made { major: 9, minor: 127 }));
    for diskseq in [3, 4] {
        let facts = DeviceFacts { diskseq, ..array_facts(&["sda", "sdb"]) };
        script.add("md127", facts, content(Kind::Swap, "swap"));
    }
    assert_eq!(mounted(&script.disk("sdr", content(Kind::Ext4, "root"))), ["sdr"]);
    // One that does not come holds it for a while only.
    let mut script = Script::new(plan);
    script.disk("sdr", content(Kind::Ext4, "root"));
    assert!(mounted(&script.wait(9_900)).is_empty());
    assert_eq!(mounted(&script.wait(200)), ["sdr"]);
}

/// What went is judged anew, in whatever order its loss and the kernel's answer are heard of.
#[test]
fn a_member_that_goes_while_its_array_is_being_started() {
    let refused = || Failure::Member { device: "sdb".into(), what: "add sdb to md127".into(), errno: 6 };
    let stuck = || Failure::Os { what: "start md127".into(), errno: 5 };
    for failure in [refused(), stuck(), Failure::Gone] {
        for heard_first in [true, false] {
            let mut script = Script::new(eager());
            script.disk("sda", on_disk(member(1, 2, 0)));
            script.disk("sdb", on_disk(member(1, 2, 1)));
            let mut actions = Vec::new();
            if heard_first {
                actions.extend(script.tell(Event::Gone("sdb".into())));
            }
            actions.extend(script.answer(is_assembly, Err(failure.clone())));
            if !heard_first {
                actions.extend(script.tell(Event::Gone("sdb".into())));
            }
            assert!(assembled(&actions).is_empty(), "{failure:?}, {heard_first}: {actions:?}");
            // It is back before the grace is over, and nothing is held against it.
            script.wait(3_000);
            let actions = script.disk("sdb", on_disk(member(1, 2, 1)));
            let requests = assembled(&actions);
            assert_eq!(requests.len(), 1, "{failure:?}, {heard_first}: {actions:?}");
            assert_eq!(devices(&requests[0]), ["sda", "sdb"]);
            // It goes again, and stays away.
            script.tell(Event::Gone("sdb".into()));
            script.answer(is_assembly, Err(failure.clone()));
            let requests = assembled(&script.wait(11_000));
            assert_eq!(requests.len(), 1, "{failure:?}, {heard_first}");
            assert_eq!((devices(&requests[0]), requests[0].read_auto), (vec!["sda"], true));
        }
    }
}

/// Went after the kernel had taken it: the array runs without, and it is not taken for one that is inside.
#[test]
fn a_member_that_went_is_named_when_it_comes_back() {
    let mut script = Script::new(eager());
    script.disk("sda", on_disk(member(1, 2, 0)));
    script.disk("sdb", on_disk(member(1, 2, 1)));
    script.tell(Event::Gone("sdb".into()));
    script.answer(is_assembly, Ok(Outcome::Made { major: 9, minor: 127 }));
    runs(&mut script, &["sda"], content(Kind::Ext4, "other"));
    let actions = script.disk("sdb", on_disk(member(1, 2, 1)));
    assert!(assembled(&actions).is_empty(), "{actions:?}");
    let named =
        |action: &Action| matches!(action, Action::Say(_, text) if text.starts_with("sdb came too late"));
    assert!(actions.iter().any(named), "{actions:?}");
}
